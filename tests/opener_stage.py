"""Sessions from `opener`, with the real SDK."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent import properties
from spatius_avatar_python import config
from spatius_avatar_python.clock import SystemClock
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.session.opener import opener
from spatius_avatar_python.session.session import Session
from spatius_avatar_python.session.state import SessionEvent, SessionState

from devkit.motion_server import MotionServer

NOW_S = SystemClock.epoch()
RATE_HZ = 24000
DEADLINE_S = 30.0


class MovedClock(SystemClock):
    """The machine's clock, with a date that a test moves."""

    ahead_s = 0.0

    def epoch(self) -> float:
        return NOW_S + self.ahead_s


class OpenerStage:
    """An opener for `server`, and the sessions that it makes."""

    def __init__(self, server: MotionServer, **changed: Any) -> None:
        self.clock = MovedClock()
        self.secrets: list[str] = []
        tree = properties(server, **changed)
        self.params = config.load(tree, NOW_S).params
        self._events: list[SessionEvent] = []
        self._woken = asyncio.Event()
        self._open_session = opener(
            self.params, self.clock, self.secrets.extend
        )

    def session(self) -> Session:
        return self._open_session(self._woken.set, RATE_HZ)

    async def opened(self, session: Session) -> Session:
        """Open a session, and wait for the outcome."""
        session.open()
        await self.until(lambda: session.state is not SessionState.OPENING)
        return session

    async def ready(self) -> Session:
        session = await self.opened(self.session())
        assert session.is_ready, session.loss
        return session

    async def failure(self) -> Failure:
        """Return why no session can be opened."""
        session = await self.opened(self.session())
        failure = session.loss
        await self.closed(session)
        assert failure is not None
        return failure

    async def lost(self, session: Session) -> Failure:
        await self.until(lambda: session.state is SessionState.LOST)
        assert session.loss is not None
        return session.loss

    async def closed(self, session: Session) -> None:
        session.close()
        await self.until(lambda: session.state is SessionState.CLOSED)

    async def event(self, session: Session) -> SessionEvent:
        """Return the next event."""

        def has_one() -> bool:
            self._events += session.take_events()
            return bool(self._events)

        await self.until(has_one)
        return self._events.pop(0)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait to be woken until it holds."""
        while not holds():
            await asyncio.wait_for(self._woken.wait(), DEADLINE_S)
            self._woken.clear()
