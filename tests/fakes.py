"""Small fakes with the real interfaces: time, the SDK, an outbox."""

import asyncio
import gc
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Optional, TypeVar, Union

from spatius_avatar_python.session.errors import Failure, SessionError
from spatius_avatar_python.session.session import Session
from spatius_avatar_python.session.state import SessionState
from spatius_avatar_python.speech import Turn

Result = TypeVar("Result")

LOST = Failure("the connection was lost", code="connectionClosed")


class UnitLoop(asyncio.SelectorEventLoop):
    """The event loop of unit tests: it tells when no callback is ready."""

    _ready: "deque[asyncio.Handle]"  # asyncio's own

    @property
    def is_settled(self) -> bool:
        return not self._ready


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in a `UnitLoop` of its own."""
    loop = UnitLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


async def settle() -> None:
    """Let every task of the loop run until it waits for something else.

    A backlog of a minute is 600 messages, with a turn for others after each:
    other loops get as many turns.
    """
    loop = asyncio.get_running_loop()
    for _ in range(700):
        await asyncio.sleep(0)
        if isinstance(loop, UnitLoop) and loop.is_settled:
            return


def count_of_tasks() -> int:
    """Return how many tasks are in memory, done or not."""
    gc.collect()
    return sum(isinstance(each, asyncio.Task) for each in gc.get_objects())


def logged_by_the_loop() -> list[Any]:
    """Return the event loop's own log: errors that were not handled."""
    logged: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: logged.append(context)
    )
    return logged


class FakeTimer:
    """A timer of `FakeClock.call_at`."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, now: float = 1000.0, epoch: float = 1.8e9) -> None:
        self._now = now
        self._epoch_at_0 = epoch - now
        self._order = itertools.count()
        self.set_count = 0
        """How many timers have been set so far."""
        self.gone_off = 0
        """How many timers have gone off so far."""
        self._timers: list[
            tuple[float, int, FakeTimer, Callable[[], None]]
        ] = []

    def monotonic(self) -> float:
        return self._now

    def epoch(self) -> float:
        return self._epoch_at_0 + self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer()
        self.set_count += 1
        heapq.heappush(self._timers, (when, next(self._order), timer, callback))
        return timer

    def pending(self) -> int:
        """Return how many timers may still go off."""
        return sum(not timer.cancelled for _, _, timer, _ in self._timers)

    async def advance_to_timer(self) -> None:
        """Move on to the next timer, and let it go off."""
        await settle()
        due = [
            when for when, _, timer, _ in self._timers if not timer.cancelled
        ]
        assert due, "no timer is set"
        await self.advance(max(0.0, min(due) - self._now))

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at each timer for the tasks it starts."""
        until = self._now + seconds
        at_once = 0  # timers that were due when they were set, in a row
        await settle()
        while self._timers and self._timers[0][0] <= until:
            when, _, timer, callback = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            at_once = at_once + 1 if when <= self._now else 0
            assert at_once < 100, "a timer is set to go off at once, again"
            self._now = max(self._now, when)
            self.gone_off += 1
            callback()
            await settle()
        self._now = until
        await settle()

    def jump(self, seconds: float) -> None:
        """Move on without a timer going off, as where the process stood
        still."""
        self._now += seconds

    async def run(self, main: Awaitable[Result]) -> Result:
        """Run `main`, moving on whenever it waits for a timer."""
        task = asyncio.ensure_future(main)
        await settle()
        while not task.done():
            await self.advance_to_timer()
        return await task


class FakeOutbox:
    """Keeps the reports of the avatar."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.lines: list[tuple[str, str]] = []
        self.fields: list[tuple[str, dict[str, Any]]] = []
        """Of the log lines that have any, with their categories."""

    def send(self, name: str, payload: dict[str, Any]) -> None:
        self.sent.append((name, payload))

    def log(
        self,
        level: str,
        text: str,
        category: str = "",
        fields: Optional[dict[str, Any]] = None,
    ) -> None:
        self.lines.append((level, text))
        if fields:
            self.fields.append((category, fields))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.sent]

    def payloads(self, name: str) -> list[dict[str, Any]]:
        """Return the payloads sent under this name."""
        return [payload for sent, payload in self.sent if sent == name]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self.payloads("error")

    @property
    def error_codes(self) -> list[int]:
        return [payload["code"] for payload in self.errors]

    @property
    def states(self) -> list[str]:
        return [payload["state"] for payload in self.payloads("avatar_state")]

    @property
    def utterances(self) -> list[dict[str, Any]]:
        return [
            payload
            for payload in self.payloads("metrics")
            if "audio_ms" in payload["metrics"]
        ]


class FakeVoice:
    """Keeps the audio it is given, as long as it is connected."""

    def __init__(self, is_connected: bool = False) -> None:
        self.is_connected = is_connected
        self.frames: list[tuple[bytes, int, Optional[Turn]]] = []
        self.errors: dict[int, BaseException] = {}
        """The exception that is raised in place of a frame, by its number."""

    async def say(
        self, pcm: bytes, sample_rate: int, turn: Optional[Turn]
    ) -> bool:
        if len(self.frames) in self.errors:
            raise self.errors[len(self.frames)]
        if self.is_connected:
            self.frames.append((pcm, sample_rate, turn))
        return self.is_connected

    @property
    def said(self) -> bytes:
        return b"".join(pcm for pcm, _, _ in self.frames)


class FakeTransport:
    """TCP of a fake session's connection."""

    def __init__(self, session: "FakeSession") -> None:
        self._session = session

    def abort(self) -> None:
        self._session.drop()


class FakeConnection:
    """The websocket library's connection, as the SDK holds it."""

    def __init__(self, session: "FakeSession") -> None:
        self.transport = FakeTransport(session)
        self._session = session

    @property
    def ping(self) -> Callable[[], Awaitable["asyncio.Future[float]"]]:
        return self._session.pinged()


class PlannedError(Exception):
    """The SDK's error for a failure that a test has planned."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class FakeSession:
    """The SDK's session, as strict about its use as the real one needs it."""

    def __init__(
        self, service: "FakeService", number: int, sample_rate_hz: int
    ) -> None:
        self.number = number
        self.owner: Session
        """The session that calls this one."""
        self.sample_rate_hz = sample_rate_hz
        self.is_prepared = False
        self.requests: dict[str, bytearray] = {}
        """The audio received, by request id."""
        self.messages: list[bytes] = []
        self.ended: list[str] = []
        self.interrupted: list[str] = []
        self.closes = 0
        self.aborts = 0
        self.pings = 0
        self.is_live = False
        """Whether the service may still take it for a publisher."""
        self._service = service
        self._callbacks: dict[str, Callable[..., None]] = {}
        self._call = ""  # the one in progress
        self._request: Optional[str] = None  # the open one
        self._latest: Optional[str] = None
        self._held: Optional[asyncio.Future[None]] = None
        self._pong: Optional[asyncio.Future[float]] = None
        self._dropped: Optional[asyncio.Future[None]] = None
        self._pongs: list[asyncio.Future[float]] = []
        # Names of the SDK's, which are read for want of others.
        self._session_token: Optional[str] = None
        self._connection: Optional[FakeConnection] = None

    async def init(self) -> None:
        with self._one_call("prepare", may_be_cancelled=True):
            # An opening without a token makes one by the way.
            if self.owner.state is SessionState.PREPARING:
                self._service.note(self, "prepare")
                plan = self._service.preparations
                await self._pass(plan.popleft() if plan else None)
            self.is_prepared = True
            self._session_token = f"token-{self.number}"

    async def start(self) -> str:
        with self._one_call("open", may_be_cancelled=True):
            self._service.note(self, "open")
            if not self.is_prepared:
                self._service.violate("open without a token")
            others = [
                session.number
                for session in self._service.sessions
                if session is not self and session.is_live
            ]
            if others:
                self._service.violate(f"{others} are live beside {self.number}")
            self.is_live = True
            plan = self._service.openings
            outcome = plan.popleft() if plan else None
            if outcome == "hang":
                await asyncio.get_running_loop().create_future()
            await self._pass(outcome)
            self._connection = FakeConnection(self)
            return f"connection-{self.number}"

    async def send_audio(self, audio: bytes, end: bool) -> str:
        with self._one_call("send"):
            if self.closes:
                self._service.violate("send after close")
            if not audio and self._request is None:
                self._service.violate("an empty request")
            await self._pass(self._next_outcome())
            if self._request is None:
                self._latest = f"request-{self.number}.{len(self.requests)}"
                self._request = self._latest
                self.requests[self._request] = bytearray()
            req_id = self._request
            self.requests[req_id] += audio
            self.messages.append(audio)
            self._service.note(self, "send")
            if end:
                self.ended.append(req_id)
                self._request = None
                self._service.note(self, "end")
            return req_id

    async def interrupt(self) -> str:
        with self._one_call("interrupt"):
            if self.closes:
                self._service.violate("interrupt after close")
            await self._pass(self._next_outcome())
            if self._latest is None:
                self._service.violate("an interrupt before any audio")
                return ""
            if self._latest in self.interrupted:
                self._service.violate("a second interrupt of one request")
            self.interrupted.append(self._latest)
            self._request = None
            self._service.note(self, "interrupt")
            return self._latest

    async def close(self) -> None:
        self.closes += 1
        self._service.note(self, "close")
        with self._one_call("close", may_be_cancelled=True):
            if self._service.close_hangs:
                self._dropped = asyncio.get_running_loop().create_future()
                await self._dropped
            await self._pass(self._service.closing)
        self.is_live = False
        self._end_pings()
        self._service.note(self, "closed")
        self._callbacks["on_close"]()

    # Called by a test

    @property
    def received(self) -> bytes:
        return b"".join(bytes(audio) for audio in self.requests.values())

    @property
    def is_held(self) -> bool:
        """Whether a call waits for the socket."""
        return self._held is not None

    def answer(self) -> None:
        """Answer the latest ping."""
        assert self._pong is not None
        self._pong.set_result(0.0)

    def release(self) -> None:
        """The socket takes the data of the call that waits."""
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    def fail(self, failure: Failure) -> None:
        """The call that waits, if one does, meets the loss."""
        if self._held is not None and not self._held.done():
            self._held.set_exception(PlannedError(failure))

    def on_failure(self, failure: Failure) -> None:
        """The connection ends, or the service reports an error."""
        self._callbacks["on_error"](PlannedError(failure))

    def play(
        self,
        req_id: str,
        state: str,
        played_ms: Optional[float] = None,
        reason: str = "",
    ) -> None:
        """The service reports playback."""
        if played_ms is None:
            is_last = state == "ended"
            self._callbacks["transport_frames"](req_id.encode(), is_last)
        else:
            event = PlaybackState(state, played_ms, req_id, reason=reason)
            self._callbacks["on_playback_state"](event)

    # Called by the package

    def call_back(self, **callbacks: Callable[..., None]) -> None:
        self._callbacks = callbacks

    def drop(self) -> None:
        """TCP is dropped, by us or by the peer."""
        self.aborts += 1
        self.is_live = False
        self._end_pings()
        self.fail(LOST)
        if self._dropped is not None and not self._dropped.done():
            self._dropped.set_result(None)
        asyncio.get_running_loop().call_soon(self.on_failure, LOST)

    def pinged(self) -> Callable[[], Awaitable["asyncio.Future[float]"]]:
        """Return the connection's method, unless it has none."""
        if not self._service.takes_pings:
            raise AttributeError("ping")
        return self._take_ping

    async def _take_ping(self) -> "asyncio.Future[float]":
        self.pings += 1
        pong = self._pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        if self._service.answers_pings:
            pong.set_result(0.0)
        return pong

    def _end_pings(self) -> None:
        """The websocket library ends waiting calls when the connection ends."""
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(PlannedError(LOST))
        self._pongs.clear()

    # Internals

    def _next_outcome(self) -> "Outcome":
        return self._service.calls.popleft() if self._service.calls else None

    async def _pass(self, outcome: "Outcome") -> None:
        if outcome == "hold":
            self._held = asyncio.get_running_loop().create_future()
            await self._held
        elif isinstance(outcome, Failure):
            raise PlannedError(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome

    @contextmanager
    def _one_call(self, name: str, may_be_cancelled: bool = False):
        if self._call:
            self._service.violate(f"{name} during {self._call}")
        self._call = name
        try:
            yield
        except asyncio.CancelledError:
            # One that the call raised by itself was planned by the test.
            if not may_be_cancelled and self._held is not None:
                self._service.violate(f"{name} was cancelled")
            raise
        finally:
            self._held = None
            self._call = ""


class PlaybackState:
    """A ServerPlaybackState as `spatialreal` hands it over."""

    def __init__(
        self,
        state: Any,
        played_ms: Any,
        req_id: str,
        connection_id: str = "",
        reason: str = "",
    ) -> None:
        self.state = SimpleNamespace(value=state)
        self.played_ms = played_ms
        self.req_id = req_id
        self.connection_id = connection_id
        self.reason = reason


Outcome = Union[None, str, Failure, BaseException]
"""How a call goes: well, "hang" (open), "hold" (until it is released), or
with this failure or exception."""


class FakeSdk:
    """The SDK of one session."""

    owner: Session

    def __init__(self, service: "FakeService") -> None:
        self._service = service

    async def preload(self) -> None:
        return None

    def new_session(
        self, sample_rate_hz: int, **callbacks: Callable[..., None]
    ) -> FakeSession:
        fake = self._service.new_session(sample_rate_hz)
        fake.owner = self.owner
        fake.call_back(**callbacks)
        return fake

    def request_of(self, data: bytes) -> tuple[str, str]:
        return data.decode(), ""

    def explain(self, error: BaseException) -> Failure:
        if isinstance(error, PlannedError):
            return error.failure
        return Failure(f"the session failed: {error!r}")


class FakeService:
    """Makes the sessions and decides how their calls go."""

    def __init__(self, clock: Optional[FakeClock] = None) -> None:
        self.clock = clock or FakeClock()
        self.sessions: list[FakeSession] = []
        self.events: list[tuple[int, str]] = []
        """(session, event) in the order in which it happened. A session that
        is opened without being prepared has no "prepare"."""
        self.preparations: deque[Outcome] = deque()
        self.openings: deque[Outcome] = deque()
        self.calls: deque[Outcome] = deque()
        self.makings: deque[Outcome] = deque()
        self.close_hangs = False
        """Until TCP is dropped."""
        self.takes_pings = self.answers_pings = True
        self.closing: "Outcome" = None
        self.secrets: list[str] = []
        self.violations: list[str] = []
        """Uses of a session that would break the real SDK."""

    def open_session(
        self, wake: Callable[[], None], sample_rate_hz: int
    ) -> Session:
        """Make a real session around a fake of the SDK's."""

        sdk = FakeSdk(self)
        session = sdk.owner = Session(
            sdk,
            wake=wake,
            sample_rate=sample_rate_hz,
            clock=self.clock,
            add_secrets=self.secrets.extend,
        )
        return session

    def note(self, session: FakeSession, what: str) -> None:
        self.events.append((session.number, what))

    def violate(self, what: str) -> None:
        self.violations.append(what)

    @property
    def session(self) -> FakeSession:
        """The latest."""
        return self.sessions[-1]

    def new_session(self, sample_rate_hz: int) -> FakeSession:
        outcome = self.makings.popleft() if self.makings else None
        if isinstance(outcome, Failure):
            raise SessionError(outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        fake = FakeSession(self, len(self.sessions) + 1, sample_rate_hz)
        self.sessions.append(fake)
        return fake
