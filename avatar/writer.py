"""Writing speech to the service: one call after the other, never two.

Whoever brings the work writes it when nobody else is writing: a frame on an
idle connection leaves in its own handler. What the socket does not take at
once is written by a task.
"""

import asyncio
from collections.abc import Callable
from typing import Optional

from ..clock import Clock
from ..eager import run_eagerly
from ..session.errors import Failure, SessionError
from ..session.link import Link
from ..speech import Interrupt, Speech


class Writer:
    """Writes to `link`, as long as it is ready.

    `on_end` is called when it stops before there is nothing left to write,
    `on_done` when a task has ended that wrote what `write` did not.
    """

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
        self._did_fit = True
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
        speech = self._speech
        self.is_writing = True
        try:
            while link.is_ready:
                # What goes on with a request has the rate of that, and an
                # interrupt has none.
                if not (
                    speech.is_mid_request
                    or speech.interrupt_due
                    or self._fits(link)
                ):
                    break
                step = speech.next(self._clock.monotonic())
                if step is None:
                    break
                try:
                    if isinstance(step, Interrupt):
                        req_id = await link.interrupt()
                    else:
                        req_id = await link.send(step.audio, step.end)
                except SessionError:
                    speech.failed()
                    break
                except BaseException as error:  # nothing may go by in silence
                    speech.failed()
                    link.lose(Failure(f"a call to Spatius failed: {error!r}"))
                    break
                if not speech.written(
                    self._clock.monotonic(), req_id, link.connection_id
                ):
                    break
                if speech.has_waiting:
                    # In a backlog, others have their turn after each message.
                    await asyncio.sleep(0)
        finally:
            self.is_writing = False
            if not link.is_ready:
                self._on_end()

    def _fits(self, link: Link) -> bool:
        """Return whether what is next has the rate of the session.

        Where it does not any more, another session is needed.
        """
        fits = self._speech.next_sample_rate in (None, link.sample_rate)
        if self._did_fit and not fits:
            self._on_end()
        self._did_fit = fits
        return fits
