"""One attempt: its session, since when, why it is lost, which call hangs."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Protocol

from ..clock import Clock
from .errors import Failure, SessionError

STALL_LIMIT_S = 30.0
"""How long one call may wait for the socket. The SDK's own keepalive cannot
notice a dead peer while the socket's buffer is full."""

PLAYBACK_STATES = ("playing", "paused", "ended", "interrupted")


class PlaybackSignal(NamedTuple):
    """What the service says of the playback of one request."""

    req_id: str
    state: str
    """One of `PLAYBACK_STATES`."""
    played_ms: Optional[float]
    """None where the service does not say."""


class SessionEvents(Protocol):
    """What a session reports without being asked.

    Called on the event loop, never after its `close` has begun.
    """

    def failed(self, failure: Failure, /) -> None:
        """The connection ended, or the service reported an error."""
        ...

    def playback(self, signal: PlaybackSignal, /) -> None:
        """The service reported what it plays."""
        ...


class Session(Protocol):
    """One connection; `connection.Connection` is the real one.

    Its calls must come one after the other, and none may be cancelled but
    `prepare` and `open`. The first four raise `SessionError`.
    """

    async def prepare(self) -> None:
        """Get the session token, within a deadline. Optional: `open` does it
        where needed."""
        ...

    async def open(self) -> str:
        """Connect, within a deadline, and return the connection's id."""
        ...

    def send(self, audio: bytes, end: bool) -> Coroutine[Any, Any, str]:
        """Send audio and return its request's id."""
        ...

    def interrupt(self) -> Coroutine[Any, Any, str]:
        """Interrupt the latest request and return its id."""
        ...

    async def close(self) -> None:
        """Close, within a deadline."""
        ...

    def ping(self, on_answer: Callable[[], None]) -> bool:
        """Have `on_answer` called when the service has received all that was
        sent before; return False where it cannot be asked.

        It may be called while a call is in progress. `on_answer` is called
        once, and never after `close` or `abort` has begun.
        """
        ...

    def abort(self) -> None:
        """Make a call that waits for the socket fail."""
        ...

    def secrets(self) -> list[str]:
        """Return the secrets that came with this connection."""
        ...


OpenSession = Callable[[SessionEvents, int], Session]
"""Makes a session for audio of so many Hz; may raise `SessionError`."""


@dataclass(frozen=True)
class Lifetime:
    """How long a session may be used, in seconds from the begin of its opening.

    From `renew_after_s` on it is renewed in a quiet moment, at
    `renew_latest_s` in any. `token_expires_at_s` (epoch) is the end of a
    given Agora token, which cannot be renewed. A spare session is discarded
    at `spare_max_age_s` (0 = none is made).
    """

    renew_after_s: float
    renew_latest_s: float
    token_expires_at_s: Optional[float] = None
    spare_max_age_s: float = 0.0


def lifetime_of(
    session_expire_minutes: float, token_expires_at_s: Optional[float] = None
) -> Lifetime:
    """Return when to renew sessions that are valid for so many minutes.

    A renewal may take 13 s (3 to close, 10 to open); the last safe moment
    leaves 15.
    """
    whole_s = session_expire_minutes * 60
    return Lifetime(
        whole_s * 0.7, whole_s - 15.0, token_expires_at_s, whole_s * 0.35
    )


class Link:
    """One session, from its making to its close, and what became of it.

    `on_change` is called when it was lost, or when a call has ended that
    somebody may wait for; `on_service_error` gets the non-fatal errors of
    the service, `on_playback` what it says of playback.
    """

    def __init__(
        self,
        open_session: OpenSession,
        sample_rate: int,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        on_service_error: Callable[[Failure], None],
        on_playback: Callable[[PlaybackSignal], None],
    ) -> None:
        self.sample_rate = sample_rate
        """Of the audio that it takes, in Hz."""
        self.began_at = clock.monotonic()
        """When its tokens were made."""
        self.opened_at = self.began_at
        self.ready_at = float("inf")
        self.is_ready = False
        """It may be written to."""
        self.connection_id = ""
        self.loss: Optional[Failure] = None
        """Why it cannot be used any more, None while it can."""
        self.call_since: Optional[float] = None
        """Since when a call has been in progress, None if none is."""
        self._clock = clock
        self._on_change = on_change
        self._on_service_error = on_service_error
        self._on_playback = on_playback
        self._is_retired = False
        self._is_closed = False
        self._session: Optional[Session] = None
        try:
            self._session = open_session(self, sample_rate)
        except SessionError as error:
            self.loss = error.failure

    @property
    def was_ready(self) -> bool:
        return self.ready_at != float("inf")

    def prepare(self) -> "asyncio.Task[None]":
        """Begin to get the session token; afterwards it has one or is lost."""
        return asyncio.ensure_future(self._attempt(self._prepare))

    def open(self) -> "asyncio.Task[None]":
        """Begin to connect; afterwards it is ready or lost."""
        self.opened_at = self._clock.monotonic()
        return asyncio.ensure_future(self._attempt(self._open))

    async def _attempt(
        self, call: Callable[[Session], Coroutine[Any, Any, None]]
    ) -> None:
        if self._session is None:
            return
        try:
            await call(self._session)
        except SessionError as error:
            self.lose(error.failure)
        except asyncio.CancelledError:
            self.lose(Failure("the opening was cancelled"))
        except Exception as error:
            self.lose(Failure(f"the session could not be opened: {error!r}"))

    async def _prepare(self, session: Session) -> None:
        await session.prepare()

    async def _open(self, session: Session) -> None:
        self.connection_id = await session.open()
        self.ready_at = self._clock.monotonic()
        self.is_ready = self.loss is None and not self._is_retired

    def send(self, audio: bytes, end: bool) -> Coroutine[Any, Any, str]:
        """Send audio and return its request's id. Raises `SessionError`."""
        assert self._session is not None
        return self._call(self._session.send(audio, end))

    def interrupt(self) -> Coroutine[Any, Any, str]:
        """Interrupt the latest request. Raises `SessionError`."""
        assert self._session is not None
        return self._call(self._session.interrupt())

    async def _call(self, call: Coroutine[Any, Any, str]) -> str:
        self.call_since = self._clock.monotonic()
        try:
            req_id = await call
        except SessionError as error:
            self.lose(error.failure)
            raise
        finally:
            self.call_since = None
        if self.loss is not None:
            # Lost meanwhile: nobody knows how much of it was sent.
            raise SessionError(self.loss)
        return req_id

    def retire(self) -> None:
        """Have nothing written any more: it is to be closed."""
        self._is_retired = True
        self.is_ready = False

    async def close(self) -> None:
        """Close the session; what it reports from here on is ignored."""
        self.retire()
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    def ping(self, on_answer: Callable[[], None]) -> bool:
        """Have `on_answer` called when the service has received all that was
        sent before; return False where it cannot be asked."""
        return self._session is not None and self._session.ping(on_answer)

    def abort(self) -> None:
        """Drop the connection: a call that waits for the socket fails."""
        if self._session is not None:
            self._session.abort()

    def secrets(self) -> list[str]:
        return self._session.secrets() if self._session is not None else []

    def watch_call(self, now: float) -> None:
        """End a call that has been waiting for the socket for too long."""
        since = self.call_since
        if since is not None and now >= since + STALL_LIMIT_S:
            self._abandon(
                f"Spatius has taken no data for {STALL_LIMIT_S:.0f} s",
                "websocket_send",
            )

    def silent_for(self, duration_s: float) -> None:
        """Give it up: the service has not answered for so long."""
        self._abandon(
            f"Spatius has not answered for {duration_s:.0f} s", "websocket_ping"
        )

    def _abandon(self, message: str, phase: str) -> None:
        self.lose(
            Failure(
                message,
                code="stalled",
                phase=phase,
                connection_id=self.connection_id,
            )
        )
        self.abort()
        self._on_change()

    def lose(self, failure: Failure) -> None:
        """Take note of why it is lost: the first reason is the cause."""
        self.is_ready = False
        if self.loss is None:
            self.loss = failure

    def failed(self, failure: Failure, /) -> None:
        """Take what the session reports without being asked."""
        if self._is_closed:
            return  # an older session; it no longer matters
        if not failure.ends_session:
            self._on_service_error(failure)
            return
        self.lose(failure)
        if self.call_since is not None:
            self.abort()  # it may wait for long
        self._on_change()

    def playback(self, signal: PlaybackSignal, /) -> None:
        """Take what the service reports of playback."""
        if not self._is_closed:
            self._on_playback(signal)
