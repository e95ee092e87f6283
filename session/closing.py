"""A connection that closes ends soon, whatever its peer does.

The websocket library waits 10 s for the peer to end TCP behind a close frame.
Meanwhile it reports nothing, and a call waits as long; one that is not made in
a task fails for that alone, and hides why the connection closes.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Optional

from ..clock import Clock, wait_until

CLOSING_S = 0.2
"""How long a peer may take to end TCP behind its close frame."""


class Closing:
    """Watches `connection`, of the websocket library, for a close that the
    peer begins.

    Where TCP does not end in time, `abort` is called to end it. To be made on
    the event loop.
    """

    def __init__(
        self, connection: Any, clock: Clock, abort: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._abort = abort
        self._is_watching = True
        self._has_ended = asyncio.get_running_loop().create_future()
        self._ending: Optional[asyncio.Task[None]] = None
        self._watch()

    def ended(self) -> None:
        """The SDK has reported the end."""
        if not self._has_ended.done():
            self._has_ended.set_result(None)

    def stop(self) -> None:
        """Leave a close that begins from here on to itself: it is our own."""
        self._is_watching = False

    async def wait(self) -> None:
        """Wait until the SDK has reported the end of a close, not for long.

        Returns at once where the connection is open.
        """
        self._check()
        if self._ending is not None:
            await asyncio.wait({self._ending})

    # Internals

    def _watch(self) -> None:
        # Of all that the library does with a close frame this comes last, and
        # it is no part of a write.
        process = getattr(self._connection, "process_event", None)
        if process is not None:

            def process_and_check(event: Any) -> None:
                process(event)
                self._check()

            self._connection.process_event = process_and_check
        self._check()

    def _check(self) -> None:
        state = getattr(self._connection, "state", None)
        is_open = getattr(state, "name", "OPEN") == "OPEN"
        if self._is_watching and self._ending is None and not is_open:
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        await self._wait_for_end()
        if not self._has_ended.done():
            self._abort()
            await self._wait_for_end()

    async def _wait_for_end(self) -> None:
        deadline = self._clock.monotonic() + CLOSING_S
        await wait_until(self._clock, deadline, self._has_ended)
