"""Writing speech to the service: one call after the other, never two.

Whoever brings the work writes it when nobody else is writing: a frame on an
idle connection leaves in its own handler. What the socket does not take at
once is written by a task.
"""

import asyncio
from collections.abc import Callable
from typing import Optional

from .clock import Clock
from .eager import run_eagerly
from .session.failures import Failure, SessionError
from .session.link import Link
from .speech import Interrupt, Speech


class Writer:
    """Writes to `link`, as long as it is ready. `on_end` is called when it
    stops before there is nothing left to write, `on_done` when it is done
    with what could not be written within `write`."""

    def __init__(
        self,
        speech: Speech,
        clock: Clock,
        *,
        on_end: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self.link: Optional[Link] = None
        self.is_writing = False
        self._speech = speech
        self._clock = clock
        self._on_end = on_end
        self._on_done = on_done
        # The link whose rate is not that of what is to be written.
        self._mismatched: Optional[Link] = None
        # Kept, since the loop itself holds tasks weakly.
        self._task: Optional[asyncio.Task[None]] = None

    def write(self) -> None:
        """Write what is due, unless somebody is writing already."""
        link = self.link
        if link is not None and link.is_ready and not self.is_writing:
            self._task = run_eagerly(self._write(link))
            if self._task is not None:
                self._task.add_done_callback(lambda _: self._on_done())

    async def _write(self, link: Link) -> None:
        steps = self._speech.steps
        self.is_writing = True
        try:
            while link.is_ready:
                if self._speech.next_sample_rate not in (
                    None,
                    link.sample_rate,
                ):
                    if self._mismatched is not link:
                        self._mismatched = link
                        self._on_end()  # another session is needed
                    break
                self._mismatched = None
                step = steps.next(self._clock.monotonic())
                if step is None:
                    break
                try:
                    if isinstance(step, Interrupt):
                        req_id = await link.interrupt()
                    else:
                        req_id = await link.send(step.audio, step.end)
                except SessionError:
                    steps.failed()
                    break
                except BaseException as error:  # nothing may go by in silence
                    steps.failed()
                    link.lose(Failure(f"a call to Spatius failed: {error!r}"))
                    break
                steps.written(
                    self._clock.monotonic(), req_id, link.connection_id
                )
                if self._speech.totals.waiting:
                    # In a backlog, others have their turn after each message.
                    await asyncio.sleep(0)
        finally:
            self.is_writing = False
            if not link.is_ready:
                self._on_end()
