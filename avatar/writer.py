"""Writing speech to the service: one call after the other, never two.

The handler that brings a frame writes it, so that it leaves in its own turn
of the event loop. Handlers that come while a call waits for the socket leave
their audio to the one that waits.
"""

import asyncio

from ..clock import Clock
from ..session import Session, SessionError
from ..speech import Interrupt, Speech


class Writer:
    """Writes the steps of `speech` to a session."""

    def __init__(self, speech: Speech, clock: Clock) -> None:
        self.is_writing = False
        self._speech = speech
        self._clock = clock

    def has_work(self, session: Session) -> bool:
        """Return whether `write` would write something."""
        return (
            not self.is_writing
            and session.is_ready
            and self._fits(session)
            and self._speech.has_step
        )

    async def write(self, session: Session) -> None:
        """Write all that is due, unless another task is writing."""
        if self.is_writing:
            return
        self.is_writing = True
        try:
            while session.is_ready and self._fits(session):
                step = self._speech.next(self._clock.monotonic())
                if step is None:
                    break
                if isinstance(step, Interrupt):
                    call = session.interrupt()
                else:
                    call = session.send(step.audio, step.end)
                try:
                    req_id = await call
                except SessionError:
                    self._speech.failed()
                    break
                except BaseException:  # a call that was cancelled
                    self._speech.failed()
                    raise
                has_more = self._speech.written(
                    self._clock.monotonic(), req_id, session.connection_id
                )
                if not has_more:
                    break
                if self._speech.has_backlog:
                    # Others have their turn after each message of a backlog.
                    await asyncio.sleep(0)
        finally:
            self.is_writing = False

    def _fits(self, session: Session) -> bool:
        """Return whether the next step can go to this session.

        A begun request and its interrupt have the session's rate.
        """
        speech = self._speech
        return (
            speech.is_mid_request
            or speech.interrupt_due
            or speech.next_sample_rate in (None, session.sample_rate)
        )
