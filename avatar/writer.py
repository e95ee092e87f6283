"""Writing speech to the service: one call after the other, never two.

The handler that brings a frame writes it, so that it leaves in its own turn
of the event loop. Handlers that come while a call waits for the socket leave
their audio to the one that waits.
"""

import asyncio
from typing import Optional

from ..clock import Clock
from ..session import Session, SessionError
from ..speech import Interrupt, Speech, Step


class Writer:
    """Writes the steps of `speech` to a session."""

    def __init__(self, speech: Speech, clock: Clock) -> None:
        self.is_writing = False
        self._speech = speech
        self._output = speech.avatar
        self._clock = clock

    def has_work(self, session: Session) -> bool:
        """Return whether `write` would write something."""
        return (
            not self.is_writing
            and session.is_ready
            and self._fits(session)
            and self._output.has_step
        )

    async def write(
        self, session: Session, begun: Optional[Step] = None
    ) -> None:
        """Write all that is due, unless another task is writing; first the
        step that has `begun`, if any."""
        if self.is_writing:
            return
        self.is_writing = True
        output = self._output
        try:
            step = begun or self._next(session)
            while step is not None:
                if isinstance(step, Interrupt):
                    call = session.interrupt()
                else:
                    call = session.send(step.audio, step.end)
                try:
                    req_id = await call
                except SessionError:
                    output.failed()
                    break
                except BaseException:  # a call that was cancelled
                    output.failed()
                    raise
                has_more = output.written(
                    self._clock.monotonic(), req_id, session.connection_id
                )
                if not has_more:
                    break
                if output.has_backlog:
                    # Others have their turn after each message of a backlog.
                    await asyncio.sleep(0)
                step = self._next(session)
        finally:
            self.is_writing = False

    def _next(self, session: Session) -> Optional[Step]:
        """Return the next step for this session, None if there is none."""
        if session.is_ready and self._fits(session):
            return self._output.next(self._clock.monotonic())
        return None

    def _fits(self, session: Session) -> bool:
        """Return whether the next step can go to this session.

        A begun request and its interrupt have the session's rate.
        """
        return (
            self._output.in_request
            or self._output.interrupt_due
            or self._speech.next_sample_rate in (None, session.sample_rate)
        )
