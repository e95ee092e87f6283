"""One connection: deadlines, events and secrets, with a fake of the SDK."""

import asyncio
import enum
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Optional
from unittest.mock import Mock

import pytest
from fakes import FakeClock, count_of_tasks, logged_by_the_loop, settle
from spatius_avatar_python.session.closing import CLOSING_S
from spatius_avatar_python.session.connection import (
    CLOSE_DEADLINE_S,
    OPEN_DEADLINE_S,
    Connection,
)
from spatius_avatar_python.session.errors import (
    ConnectionEnded,
    Failure,
    SessionError,
    failure_of,
)
from spatius_avatar_python.session.link import PlaybackSignal


class SocketState(enum.Enum):
    """Of a connection, by the names that the websocket library has."""

    OPEN = 1
    CLOSING = 2


class FakeTransport:
    """Drops a connection: what waits for it fails."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


class FakeConnection:
    """What the SDK holds of the websocket library."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.close_code: Optional[int] = None
        self.close_reason = ""
        self.state = SocketState.OPEN
        self.pongs: list[asyncio.Future[float]] = []
        self.ping_fails: Optional[Exception] = None

    def process_event(self, event: object) -> None:
        """Called for each frame that was read."""

    async def ping(self) -> "asyncio.Future[float]":
        if self.ping_fails is not None:
            raise self.ping_fails
        self.pongs.append(asyncio.get_running_loop().create_future())
        return self.pongs[-1]


class FakeSdkSession:
    """The SDK's session: each call may hang until the transport is dropped."""

    def __init__(self, hangs: str, fails: Optional[Exception], **kwargs: Any):
        self.on_error: Callable[[Exception], None] = kwargs["on_error"]
        self.on_close: Callable[[], None] = kwargs["on_close"]
        self.transport_frames = kwargs["transport_frames"]
        self.on_playback_state = kwargs["on_playback_state"]
        self.calls: list[str] = []
        self._connection: Optional[FakeConnection] = None
        self._session_token: Optional[str] = None
        self._hangs = hangs
        self._fails = fails

    async def init(self) -> None:
        await self._pass("init")
        self._session_token = f"token-{self.calls.count('init')}"

    async def start(self) -> str:
        self._connection = FakeConnection()
        await self._pass("start")
        return "conn-1"

    async def send_audio(self, audio: bytes, end: bool) -> str:
        await self._pass(f"send {len(audio)} {end}")
        return "req-1"

    async def interrupt(self) -> str:
        await self._pass("interrupt")
        return "req-1"

    async def close(self) -> None:
        held, self._connection = self._connection, None
        if self._hangs == "close" and held is not None:
            await held.transport.aborted.wait()
        self.calls.append("close")
        self.on_close()

    async def _pass(self, name: str) -> None:
        self.calls.append(name)
        if self._hangs == name:
            if self._connection is None:
                await asyncio.get_running_loop().create_future()
            else:
                await self._connection.transport.aborted.wait()
                raise self._fails or ValueError("no connection")
        elif self._fails is not None:
            raise self._fails


def ids_in(data: bytes) -> tuple[str, str]:
    """Return the ids of request and connection in a message."""
    req_id, _, connection_id = data.decode().partition(" of ")
    return req_id, connection_id


class Stage:
    """A connection, its SDK session, and what came of it."""

    def __init__(
        self,
        hangs: str = "",
        fails: Optional[Exception] = None,
        explain: Callable[[BaseException], Failure] = failure_of,
    ) -> None:
        self.clock = FakeClock()
        self.failures: list[Failure] = []
        self.signals: list[PlaybackSignal] = []
        self.secrets: list[str] = []
        self.preloads = 0
        self.connection = Connection(
            lambda **kwargs: FakeSdkSession(hangs, fails, **kwargs),
            preload=self._preload,
            request_of=ids_in,
            explain=explain,
            events=self,
            clock=self.clock,
            add_secrets=self.secrets.extend,
        )
        self.sdk: FakeSdkSession = self.connection._session

    async def open(self) -> FakeConnection:
        """Open, and return what the SDK holds of the websocket library."""
        await self.connection.open()
        assert self.sdk._connection is not None
        return self.sdk._connection

    def failed(self, failure: Failure, /) -> None:
        self.failures.append(failure)

    def playback(self, signal: PlaybackSignal, /) -> None:
        self.signals.append(signal)

    async def _preload(self) -> None:
        self.preloads += 1


class UnderWay:
    """A call that was begun and may not have ended."""

    def __init__(self, call: Coroutine[Any, Any, Any]) -> None:
        self.task = asyncio.ensure_future(call)

    async def error(self) -> SessionError:
        await settle()
        assert self.task.done(), "the call goes on"
        error = self.task.exception()
        assert isinstance(error, SessionError)
        return error


# Opening


async def test_open_gets_a_token_first():
    """Without `prepare`, opening makes the console call by itself."""
    stage = Stage()
    assert await stage.connection.open() == "conn-1"
    assert stage.sdk.calls == ["init", "start"]
    assert stage.preloads == 1
    assert stage.clock.pending() == 0


async def test_id_of_a_connection_is_short_and_printable():
    """It is the service's, and goes into logs."""
    stage = Stage()

    async def start() -> str:
        return "conn\n" + 200 * "1"

    stage.sdk.start = start
    assert await stage.connection.open() == "conn " + 95 * "1"


async def test_prepared_session_makes_no_second_console_call():
    """A session that was made ready costs one handshake."""
    stage = Stage()
    await stage.connection.prepare()
    assert stage.sdk.calls == ["init"]
    assert await stage.connection.open() == "conn-1"
    assert stage.sdk.calls == ["init", "start"]


async def test_connection_without_a_token_has_no_secrets():
    """Not the word for none."""
    assert Stage().connection.secrets() == []


async def test_session_token_is_secret_before_it_is_used():
    """The token is handed over before the service can repeat it."""
    stage = Stage(hangs="start")
    opening = UnderWay(stage.connection.open())
    await settle()
    assert stage.secrets == ["token-1"]
    assert stage.connection.secrets() == ["token-1"]
    await stage.clock.advance(OPEN_DEADLINE_S + 1)
    await opening.error()


@pytest.mark.parametrize(
    ("hangs", "call"),
    [("init", "prepare"), ("init", "open"), ("start", "open")],
)
async def test_silent_service_ends_the_wait(hangs, call):
    """A service that never answers fails the call at the deadline."""
    stage = Stage(hangs=hangs)
    waiting = UnderWay(getattr(stage.connection, call)())
    await stage.clock.advance(OPEN_DEADLINE_S - 0.1)
    assert not waiting.task.done()
    await stage.clock.advance(0.5)
    failure = (await waiting.error()).failure
    assert failure.code == "connectionFailed"
    assert not failure.fatal
    assert f"within {OPEN_DEADLINE_S:.0f} s" in failure.message


async def test_late_refusal_is_the_services():
    """A refusal that the SDK held back explains more than the deadline."""
    error = RuntimeError("credits exhausted")
    stage = Stage(hangs="start", fails=None)
    stage.sdk._fails = error
    stage.connection._is_prepared = True
    opening = UnderWay(stage.connection.open())
    await stage.clock.advance(OPEN_DEADLINE_S + 0.1)
    assert (await opening.error()).failure.code == "creditsExhausted"


@pytest.mark.parametrize("words", ["odd", "no connection"])
async def test_late_error_that_says_nothing_is_the_deadlines(words):
    """It is what the SDK makes of a connection that was dropped."""
    stage = Stage(hangs="start", fails=None)
    stage.connection._is_prepared = True
    stage.sdk._fails = ValueError(words)
    opening = UnderWay(stage.connection.open())
    await stage.clock.advance(OPEN_DEADLINE_S + 0.1)
    failure = (await opening.error()).failure
    assert failure.code == "connectionFailed"
    assert f"within {OPEN_DEADLINE_S:.0f} s" in failure.message


@pytest.mark.parametrize("forgets", [False, True])
async def test_refusal_is_known_while_the_sdk_closes(forgets):
    """The peer does not answer the close, and the SDK may hold on to the
    connection meanwhile, or not."""
    error = RuntimeError("credits exhausted")
    stage = Stage(fails=error)

    async def start() -> str:
        stage.sdk._connection = held = FakeConnection()
        try:
            raise error
        except RuntimeError:
            if forgets:
                stage.sdk._connection = None
            await held.transport.aborted.wait()
            raise

    stage.sdk.start = start
    stage.connection._is_prepared = True
    opening = UnderWay(stage.connection.open())
    await stage.clock.advance(OPEN_DEADLINE_S + 1.0)
    assert (await opening.error()).failure.code == "creditsExhausted"
    await stage.connection.close()
    assert stage.sdk.calls == ["close"]


async def test_failed_call_is_a_failure():
    """What the SDK raises comes out as a failure."""
    stage = Stage(fails=RuntimeError("avatar not found"))
    failure = (await UnderWay(stage.connection.open()).error()).failure
    assert failure.code == "avatarNotFound"
    assert failure.fatal
    assert stage.clock.pending() == 0


async def test_cancelled_open_is_followed_by_close():
    """The SDK asks for it; a socket would be left open."""
    logged = logged_by_the_loop()
    stage = Stage(hangs="start")
    opening = UnderWay(stage.connection.open())
    await settle()
    opening.task.cancel()
    await settle()
    assert opening.task.cancelled()
    assert stage.sdk.calls[-1] == "close"
    assert logged == []


async def test_error_after_a_cancelled_open_is_of_no_interest():
    """Nobody waits for it, and the event loop does not log it."""
    logged = logged_by_the_loop()
    stage = Stage()

    async def start() -> str:
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise RuntimeError("odd") from None

    stage.sdk.start = start
    opening = UnderWay(stage.connection.open())
    await settle()
    opening.task.cancel()
    await settle()
    assert stage.sdk.calls[-1] == "close"
    del stage, opening, start
    gc.collect()
    await settle()
    assert logged == []


async def test_an_error_means_what_the_connection_was_told():
    """Whichever call meets it: a 404 may be the fault of a URL."""
    meaning = Failure("the URL is wrong", code="wrongUrl")
    stage = Stage(explain=lambda error: meaning)
    await stage.connection.open()
    stage.sdk._fails = RuntimeError("odd")
    calls = (
        stage.connection.prepare(),
        stage.connection.send(b"", True),
        stage.connection.interrupt(),
    )
    for call in calls:
        assert (await UnderWay(call).error()).failure is meaning
    stage.sdk.on_error(RuntimeError("odd"))
    assert stage.failures == [meaning]


async def test_audio_is_sent_with_its_end():
    """And the request's id is returned."""
    stage = Stage()
    await stage.connection.open()
    assert await stage.connection.send(b"12", False) == "req-1"
    assert await stage.connection.send(b"", True) == "req-1"
    assert await stage.connection.interrupt() == "req-1"
    assert stage.sdk.calls[2:] == ["send 2 False", "send 0 True", "interrupt"]


# Closing


async def test_close_returns_at_its_deadline():
    """A silent peer holds the close back in the background only."""
    stage = Stage(hangs="close")
    held = await stage.open()
    closing = asyncio.ensure_future(stage.connection.close())
    await stage.clock.advance(CLOSE_DEADLINE_S - 0.1)
    assert not closing.done()
    await stage.clock.advance(0.2)
    assert closing.done()
    assert held.transport.aborted.is_set()
    assert stage.sdk.calls[-1] == "close"


async def test_abort_drops_the_connection():
    """An abort waits for nobody."""
    stage = Stage(hangs="close")
    held = await stage.open()
    stage.connection.abort()
    assert held.transport.aborted.is_set()
    await settle()
    assert stage.sdk.calls[-1] == "close"


async def test_close_returns_though_the_sdk_never_does():
    """Not even after its connection was dropped."""
    stage = Stage()
    await stage.connection.open()

    async def close() -> None:
        await asyncio.get_running_loop().create_future()

    stage.sdk.close = close
    closing = asyncio.ensure_future(stage.connection.close())
    await stage.clock.advance(CLOSE_DEADLINE_S + 0.4)
    assert not closing.done()
    await stage.clock.advance(0.2)
    assert closing.done()


async def test_close_waits_for_the_call_that_it_has_ended():
    """The SDK sees one call after the other."""
    stage = Stage()
    may_end = asyncio.Event()

    async def start() -> str:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            await may_end.wait()

    stage.sdk.start = start
    opening = UnderWay(stage.connection.open())
    await settle()
    opening.task.cancel()
    closing = asyncio.ensure_future(stage.connection.close())
    await settle()
    assert stage.sdk.calls == ["init"]
    may_end.set()
    await closing
    assert stage.sdk.calls == ["init", "close"]


async def begin_to_open(
    stage: Stage, held: Optional[FakeConnection] = None
) -> UnderWay:
    """Begin an opening that swallows its cancel, as `asyncio.wait_for` may up
    to Python 3.11."""

    async def start() -> str:
        stage.sdk._connection = held
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "conn-1"

    stage.sdk.start = start
    opening = UnderWay(stage.connection.open())
    await settle()
    return opening


async def test_connection_that_opens_in_spite_of_its_close():
    """It is closed all the same, and that is no loss."""
    stage = Stage()
    opening = await begin_to_open(stage)
    await stage.connection.close()
    await settle()
    assert opening.task.done()
    assert stage.sdk.calls == ["init", "close"]
    assert stage.failures == []


async def test_close_of_a_connection_that_opens_is_not_hurried():
    """The close is our own, and its peer has its time."""
    stage = Stage(hangs="close")
    held = FakeConnection()
    opening = await begin_to_open(stage, held)
    close = asyncio.ensure_future(stage.connection.close())
    await settle()
    assert opening.task.done()
    held.state = SocketState.CLOSING
    held.process_event("close frame")
    await stage.clock.advance(2 * CLOSING_S)
    assert not held.transport.aborted.is_set()
    await stage.clock.advance(CLOSE_DEADLINE_S)
    await close
    assert stage.clock.pending() == 0


async def test_tasks_of_the_background_are_forgotten():
    """Those of pings and of closes."""
    before = count_of_tasks()
    for _ in range(5):
        stage = Pinged()
        await stage.ping()
        stage.held.pongs[0].set_result(0.1)
        await stage.connection.close()
        await settle()
    del stage
    assert count_of_tasks() == before


async def test_close_is_one_close():
    """However often it is asked for."""
    stage = Stage()
    await stage.connection.open()
    stage.connection.abort()
    await stage.connection.close()
    await stage.connection.close()
    assert stage.sdk.calls.count("close") == 1


async def test_close_of_a_connection_that_does_not_open():
    """The call that opens it is ended first, and may take its time."""
    stage = Stage(hangs="init")
    opening = UnderWay(stage.connection.open())
    await settle()
    await stage.connection.close()
    await settle()
    assert opening.task.done()
    assert stage.sdk.calls == ["init", "close"]
    assert stage.clock.pending() == 0


# Pings


class Pinged(Stage):
    """A connection that was pinged."""

    async def ping(self) -> bool:
        self.held = await self.open()
        self.answers = 0
        is_sent = self.connection.ping(self._on_answer)
        await settle()
        return is_sent

    def _on_answer(self) -> None:
        self.answers += 1


async def test_ping_is_answered_by_its_pong():
    """Not when it has been sent."""
    stage = Pinged()
    assert await stage.ping()
    assert stage.answers == 0
    stage.held.pongs[0].set_result(0.1)
    await settle()
    assert stage.answers == 1


@pytest.mark.parametrize("ends", ["close", "abort"])
async def test_ping_is_not_answered_after_the_close(ends):
    """A pong that is on its way then is of no interest."""
    stage = Pinged(hangs="close")
    await stage.ping()
    if ends == "abort":
        stage.connection.abort()
    else:
        closing = asyncio.ensure_future(stage.connection.close())
        await settle()
        assert not closing.done()
    stage.held.pongs[0].set_result(0.1)
    await stage.clock.advance(2 * CLOSE_DEADLINE_S)
    assert stage.answers == 0


@pytest.mark.parametrize("is_sent", [False, True])
async def test_ping_of_a_connection_that_ends(is_sent):
    """It is not answered, and nothing is logged by the event loop."""
    logged = logged_by_the_loop()
    stage = Pinged()
    await stage.ping()
    if is_sent:
        stage.held.pongs[0].set_exception(OSError("reset"))
    else:
        stage.held.ping_fails = OSError("reset")
        assert stage.connection.ping(stage._on_answer)
    await settle()
    gc.collect()
    await settle()
    assert stage.answers == 0
    assert logged == []


async def test_connection_that_cannot_be_pinged():
    """It is not open, or the SDK's internals have changed."""
    stage = Stage()
    assert not stage.connection.ping(lambda: None)
    await stage.connection.open()
    stage.connection._connection = object()
    assert not stage.connection.ping(lambda: None)
    stage.connection._connection = FakeConnection()
    assert stage.connection.ping(lambda: None)
    await stage.connection.close()
    assert not stage.connection.ping(lambda: None)


# Events


async def test_loss_is_reported_once():
    """The error says more than the close that follows it."""
    stage = Stage()
    await stage.connection.open()
    stage.sdk.on_error(ValueError("no connection"))
    stage.sdk.on_close()
    stage.sdk.on_close()
    assert [failure.code for failure in stage.failures] == ["connectionClosed"]


@pytest.mark.parametrize(
    ("close_code", "code"),
    [(1001, "1001"), (1012, "1012"), (1000, "connectionClosed")],
)
async def test_code_of_a_clean_close_is_read(close_code, code):
    """The SDK has discarded the connection by then, and reports no code."""
    stage = Stage()
    held = await stage.open()
    held.close_code = close_code
    await stage.sdk.close()
    (failure,) = stage.failures
    assert (failure.code, failure.connection_id) == (code, "conn-1")


async def test_sdk_without_a_connection_to_read():
    """Should the SDK's internals change, a loss is still a loss."""
    stage = Stage()
    await stage.connection.open()
    stage.connection._connection = None
    stage.sdk.on_close()
    assert [failure.code for failure in stage.failures] == ["connectionClosed"]


async def test_playback_is_passed_on():
    """A message of a request says that it plays, the last that it ended."""
    stage = Stage()
    await stage.connection.open()
    stage.sdk.transport_frames(b"req-1 of conn-1", False)
    stage.sdk.transport_frames(b"req-1", True)
    assert stage.signals == [
        PlaybackSignal("req-1", "playing", None),
        PlaybackSignal("req-1", "ended", None),
    ]


@pytest.mark.parametrize(
    "data", [b"", b" of conn-1", b"req-1 of conn-0", b"\xff\xff", None]
)
async def test_playback_of_no_request_is_dropped(data):
    """What cannot be read, or is an older connection's, changes nothing."""
    stage = Stage()
    await stage.connection.open()
    stage.sdk.transport_frames(data, True)
    assert stage.signals == []
    assert stage.failures == []


class State:
    """What `spatialreal` makes of a ServerPlaybackState."""

    def __init__(self, state: Any, played_ms: Any, req_id: str) -> None:
        self.state = Mock(value=state)
        self.played_ms = played_ms
        self.req_id = req_id
        self.connection_id = "conn-1"


async def test_playback_state_is_passed_on():
    """How much was played is never negative, ids are short and printable."""
    stage = Stage()
    await stage.connection.open()
    stage.sdk.on_playback_state(State("paused", 1200, "req-1"))
    stage.sdk.on_playback_state(State("ended", -1, "req\n" + 200 * "1"))
    assert stage.signals == [
        PlaybackSignal("req-1", "paused", 1200.0),
        PlaybackSignal("req " + 96 * "1", "ended", 0.0),
    ]


@pytest.mark.parametrize(
    "event",
    [
        State("unknown", 1, "req-1"),
        State("playing", None, "req-1"),
        State("playing", "soon", "req-1"),
        State("playing", 1, ""),
        None,
    ],
)
async def test_playback_state_that_says_nothing_is_dropped(event):
    """It cannot be read, or is none that is known."""
    stage = Stage()
    await stage.connection.open()
    stage.sdk.on_playback_state(event)
    assert stage.signals == []
    assert stage.failures == []


async def test_error_that_ends_nothing_does_not_hide_the_loss():
    """A close that follows it is reported, too."""
    stage = Stage(
        explain=lambda error: Failure(
            type(error).__name__,
            ends_session=isinstance(error, ConnectionEnded),
        )
    )
    await stage.connection.open()
    stage.sdk.on_error(ValueError("odd"))
    stage.sdk.on_close()
    messages = [failure.message for failure in stage.failures]
    assert messages == ["ValueError", "ConnectionEnded"]


async def test_reason_of_a_clean_close_is_read():
    """The service may say why."""
    stage = Stage()
    held = await stage.open()
    held.close_reason = "going away"
    await stage.sdk.close()
    (failure,) = stage.failures
    assert failure.vendor_message == "going away"


class ClosedForCredits(Exception):
    """What the SDK makes of a close code."""

    code = "connectionClosed"
    phase = "websocket_runtime"
    close_code = 4001


async def closing() -> Stage:
    """Return a stage whose peer has sent a close frame, and nothing more.

    The SDK reports the loss only when TCP has ended.
    """
    stage = Stage()
    connection = await stage.open()
    connection.state = SocketState.CLOSING
    connection.process_event("close frame")
    return stage


async def report_end(stage: Stage) -> None:
    """Have the SDK report the loss when TCP ends."""
    assert stage.sdk._connection is not None
    await stage.sdk._connection.transport.aborted.wait()
    stage.sdk.on_error(ClosedForCredits())
    stage.sdk.on_close()


async def test_connection_ends_soon_after_its_close_frame():
    """Whatever the peer does: the library would wait for it for 10 s, and
    report nothing."""
    stage = await closing()
    reporting = asyncio.ensure_future(report_end(stage))
    await stage.clock.advance(CLOSING_S / 2)
    assert stage.failures == []
    await stage.clock.advance(CLOSING_S)
    assert [failure.code for failure in stage.failures] == ["4001"]
    await reporting
    await settle()
    assert stage.clock.pending() == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda connection: connection.send(b"ab", False),
        lambda connection: connection.interrupt(),
    ],
)
async def test_call_into_a_connection_that_closes(call):
    """The library takes none from a callback then, and says no more than
    that; the failure says what the service said."""
    stage = await closing()
    stage.sdk._fails = RuntimeError("Timeout should be used inside a task")
    reporting = asyncio.ensure_future(report_end(stage))
    with pytest.raises(SessionError) as caught:
        await stage.clock.run(call(stage.connection))
    assert caught.value.failure.code == "4001"
    assert caught.value.failure.fatal
    await reporting


async def test_call_into_a_closing_connection_that_says_nothing():
    """The SDK may never say why: what is known is the call's own error."""
    stage = await closing()
    stage.sdk._fails = ValueError("no connection")
    began = stage.clock.monotonic()
    with pytest.raises(SessionError) as caught:
        await stage.clock.run(stage.connection.send(b"ab", False))
    assert "no connection" in str(caught.value)
    assert stage.clock.monotonic() < began + 3 * CLOSING_S


async def test_own_close_is_not_hurried():
    """The peer has its time to answer."""
    stage = Stage(hangs="close")
    held = await stage.open()
    close = asyncio.ensure_future(stage.connection.close())
    await settle()
    held.state = SocketState.CLOSING
    held.process_event("close frame")
    await stage.clock.advance(2 * CLOSING_S)
    assert not held.transport.aborted.is_set()
    await stage.clock.advance(CLOSE_DEADLINE_S)
    await close


@pytest.mark.parametrize("says_why", [False, True])
async def test_close_that_the_peer_has_begun_ends_soon(says_why):
    """The service may say why before it closes, and the session is closed at
    that; nothing is left to wait for."""
    stage = await closing()
    held = stage.sdk._connection
    assert held is not None
    if says_why:
        stage.sdk.on_error(ClosedForCredits())
    stage.sdk._hangs = "close"
    close = asyncio.ensure_future(stage.connection.close())
    await stage.clock.advance(1.5 * CLOSING_S)
    assert held.transport.aborted.is_set()
    await settle()
    assert close.done()
    assert stage.clock.pending() == 0


async def test_call_does_not_wait_for_a_reason_that_is_known():
    """The service has said why it closes."""
    stage = await closing()
    stage.sdk.on_error(ClosedForCredits())
    stage.sdk._fails = ValueError("no connection")
    call = UnderWay(stage.connection.send(b"ab", False))
    assert (await call.error()).failure.code == "4001"


async def test_nothing_is_reported_after_close():
    """Late callbacks are of no interest to anybody."""
    stage = Stage()
    await stage.connection.open()
    await stage.connection.close()
    stage.sdk.on_error(ValueError("no connection"))
    stage.sdk.on_close()
    stage.sdk.transport_frames(b"req-1", True)
    stage.sdk.on_playback_state(State("ended", 1, "req-1"))
    assert stage.failures == []
    assert stage.signals == []


@pytest.mark.parametrize("is_late", [False, True])
async def test_close_that_raises_is_of_no_interest(is_late):
    """The connection is gone; nothing is logged by the event loop."""
    stage = Stage(hangs="close" if is_late else "")
    logged = logged_by_the_loop()
    await stage.connection.open()
    stage.sdk.on_close = Mock(side_effect=RuntimeError("odd"))
    closing = asyncio.ensure_future(stage.connection.close())
    await stage.clock.advance(2 * CLOSE_DEADLINE_S)
    await closing
    await settle()
    del stage, closing
    gc.collect()
    await settle()
    assert logged == []


def test_deadlines_are_those_of_the_rules():
    """Rule 3 of the session, in seconds."""
    assert (OPEN_DEADLINE_S, CLOSE_DEADLINE_S) == (10.0, 3.0)
