"""One session: its states, deadlines, calls and events, with fakes of the SDK.

The errors that the SDKs really raise are in service/test_sdk.py.
"""

import asyncio
import enum
import gc
from collections.abc import Awaitable, Callable
from typing import Any, Optional
from unittest.mock import Mock

import pytest
from fakes import (
    LOST,
    FakeClock,
    FakeService,
    PlaybackState,
    count_of_tasks,
    logged_by_the_loop,
    run,
    settle,
)
from hypothesis import given
from hypothesis import strategies as st
from spatius_avatar_python.session.errors import (
    ConnectionEnded,
    Failure,
    SessionError,
    failure_of,
)
from spatius_avatar_python.session.session import (
    CLOSE_DEADLINE_S,
    CONFIRMATION_DEADLINE_S,
    CONNECTED_POLL_S,
    CONSOLE_DEADLINE_S,
    PEER_CLOSE_S,
    STALL_LIMIT_S,
    UPGRADE_DEADLINE_S,
    Session,
)
from spatius_avatar_python.session.state import (
    TRANSITIONS,
    PingAnswered,
    PlaybackSignal,
    ServiceError,
    SessionEvent,
    SessionState,
)
from spatius_avatar_python.transitions import IllegalTransition

REFUSED = Failure("the console is not available", code="connectionFailed")
SERVICE_ERROR = Failure("upstream", code="upstreamError", ends_session=False)
INF = float("inf")


class SocketState(enum.Enum):
    """Of a connection, by the names that the websocket library has."""

    OPEN = 1
    CLOSING = 2


class FakeTransport:
    """Drops a connection: calls that wait for it fail."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


class FakeConnection:
    """The websocket library's connection, as the SDK holds it."""

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
        self.capabilities: tuple[str, ...] = ()
        self.calls: list[str] = []
        self._connection: Optional[FakeConnection] = None
        self._session_token: Optional[str] = None
        self._hangs = hangs
        self._fails = fails

    async def init(self) -> None:
        await self._pass("init")
        self._session_token = f"token-{self.calls.count('init')}"

    async def start(self) -> str:
        if self._hangs != "upgrade":
            self._connection = FakeConnection()
        await self._pass("start" if self._connection else "upgrade")
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


class SessionStage:
    """A session, its SDK, and the SDK's session."""

    def __init__(
        self,
        hangs: str = "",
        fails: Optional[Exception] = None,
        explain: Callable[[BaseException], Failure] = failure_of,
    ) -> None:
        self.clock = FakeClock(now=100.0)
        self.secrets: list[str] = []
        self.wakes = 0
        self.preloads = 0
        self.problem: Optional[Failure] = None
        self.sdks: list[Any] = []
        self._hangs, self._fails, self._explain = hangs, fails, explain
        self._methods: dict[str, Any] = {}
        self.session = Session(
            self,
            wake=self._wake,
            sample_rate=24000,
            clock=self.clock,
            add_secrets=self.secrets.extend,
        )

    @property
    def sdk(self) -> Any:
        """The SDK's session."""
        return self.sdks[-1]

    @property
    def held(self) -> FakeConnection:
        """The websocket library's connection, as the SDK holds it."""
        assert self.sdk._connection is not None
        return self.sdk._connection

    @property
    def loss(self) -> Failure:
        assert self.session.loss is not None
        return self.session.loss

    async def prepared(self) -> "SessionStage":
        self.session.prepare()
        await settle()
        assert self.session.state is SessionState.PREPARED
        return self

    async def ready(self) -> "SessionStage":
        self.session.open()
        await settle()
        assert self.session.state is SessionState.READY
        return self

    def take_events(self) -> list[SessionEvent]:
        return self.session.take_events()

    def replace(self, **methods: Callable[..., Any]) -> None:
        """Have the next SDK session behave like this."""
        self._methods = methods

    # The SDK

    async def preload(self) -> Optional[Failure]:
        self.preloads += 1
        return self.problem

    def new_session(self, sample_rate_hz: int, **callbacks: Any) -> Any:
        sdk = FakeSdkSession(self._hangs, self._fails, **callbacks)
        for name, method in self._methods.items():
            setattr(sdk, name, method)
        self.sdks.append(sdk)
        return sdk

    def _wake(self) -> None:
        self.wakes += 1

    def request_of(self, data: bytes) -> tuple[str, str]:
        """Return the ids of request and connection in a message."""
        req_id, _, connection_id = data.decode().partition(" of ")
        return req_id, connection_id

    def explain(self, error: BaseException) -> Failure:
        return self._explain(error)


@pytest.fixture
async def stage() -> SessionStage:
    """A session that is ready."""
    return await SessionStage().ready()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def session(service: FakeService) -> Session:
    """A session of `service` that is ready."""
    return await opened(service)


async def failure_by(call: Awaitable[Any]) -> Failure:
    with pytest.raises(SessionError) as caught:
        await call
    return caught.value.failure


# The table


PATHS = {
    SessionState.NEW: (),
    SessionState.PREPARING: (SessionState.PREPARING,),
    SessionState.PREPARED: (SessionState.PREPARING, SessionState.PREPARED),
    SessionState.OPENING: (SessionState.OPENING,),
    SessionState.READY: (SessionState.OPENING, SessionState.READY),
    SessionState.RETIRED: (
        SessionState.OPENING,
        SessionState.READY,
        SessionState.RETIRED,
    ),
    SessionState.LOST: (SessionState.OPENING, SessionState.LOST),
    SessionState.CLOSING: (SessionState.CLOSING,),
    SessionState.CLOSED: (SessionState.CLOSING, SessionState.CLOSED),
}


@pytest.mark.parametrize("state", SessionState)
def test_transition_that_the_table_does_not_have(state):
    """It raises and keeps the state."""
    for following in SessionState:
        session = SessionStage().session
        for each in PATHS[state]:
            session._transition(each)
        if following in TRANSITIONS[state]:
            session._transition(following)
            assert session.state is following
        else:
            with pytest.raises(IllegalTransition):
                session._transition(following)
            assert session.state is state


def test_each_state_can_be_left_for_the_end():
    """From each state there is a way to CLOSED, and none back."""
    for state in SessionState:
        reached = {state}
        for _ in SessionState:
            reached |= {one for each in reached for one in TRANSITIONS[each]}
        assert SessionState.CLOSED in reached
    assert TRANSITIONS[SessionState.CLOSED] == frozenset()


CALLS = ("prepare", "open", "retire", "close", "abort", "ping", "take_events")
OUTCOMES = (None, REFUSED, REFUSED, LOST, SERVICE_ERROR, RuntimeError("odd"))


@given(st.lists(st.sampled_from((*CALLS, "lose", "audio", "settle", "stall"))))
def test_walk_over_the_table(calls: list[str]):
    """Whichever methods are called, in any order: the state is a legal one, the
    SDK is used as it must be, and a close ends it all."""
    run(walk(calls))


async def walk(calls: list[str]) -> None:
    service = FakeService()
    service.openings.extend([REFUSED, None])
    session = service.open_session(lambda: None, 24000)
    for call in calls:
        before = session.state
        fakes = service.sessions
        if call == "lose":
            if fakes:
                fakes[-1].on_failure(LOST)
        elif call == "audio":
            with_error = session.state is not SessionState.READY
            try:
                await session.send(b"\0\0", False)
                assert not with_error
            except SessionError:
                assert with_error
        elif call == "stall":
            session.give_up(20.0)
        elif call == "settle":
            await settle()
            continue
        else:
            try:
                getattr(session, call)()
            except IllegalTransition:
                assert session.state is before
        if session.state is not before:
            assert session.state in TRANSITIONS[before]
    session.close()
    await service.clock.advance(CLOSE_DEADLINE_S)
    assert session.state is SessionState.CLOSED
    assert service.violations == []
    assert service.clock.pending() == 0


# Opening


async def test_session_is_made_for_its_rate():
    """It is neither ready nor lost before it is opened."""
    stage = SessionStage()
    session = stage.session
    assert session.sample_rate == 24000
    assert session.state is SessionState.NEW
    assert (session.is_ready, session.was_ready) == (False, False)
    assert (session.loss, session.has_token) == (None, False)
    assert (session.began_at, session.ready_at) == (100.0, INF)


async def test_open_gets_a_token_first(stage):
    """Without `prepare`, opening makes the console call by itself."""
    assert stage.sdk.calls == ["init", "start"]
    assert stage.preloads == 1
    assert stage.clock.pending() == 0
    assert stage.session.connection_id == "conn-1"
    assert stage.wakes == 1


async def test_times_of_a_session():
    """A report needs them all."""
    stage = SessionStage()
    await stage.clock.advance(1.0)
    await stage.prepared()
    await stage.clock.advance(4.0)
    session = (await stage.ready()).session
    times = (session.began_at, session.opened_at, session.ready_at)
    assert times == (101.0, 105.0, 105.0)
    assert session.was_ready


async def test_id_of_a_connection_is_short_and_printable():
    """It is the service's, and goes into logs."""
    stage = SessionStage()

    async def start() -> str:
        return "conn\n" + 200 * "1"

    stage.replace(start=start)
    await stage.ready()
    assert stage.session.connection_id == "conn " + 95 * "1"


async def test_prepared_session_makes_no_second_console_call():
    """A session that was made ready costs one handshake."""
    stage = await SessionStage().prepared()
    assert stage.sdk.calls == ["init"]
    assert stage.session.has_token
    assert stage.wakes == 1
    await stage.ready()
    assert stage.sdk.calls == ["init", "start"]
    assert not stage.session.has_token


async def test_session_without_a_token_has_no_secrets():
    """The word for none is not redacted."""
    stage = SessionStage()

    async def init() -> None:
        """Leave the SDK's session without a token."""

    stage.replace(init=init)
    stage.session.prepare()
    await settle()
    assert stage.secrets == []
    stage.session.close()
    await settle()


async def test_session_token_is_secret_before_it_is_used():
    """The token is handed over before the service can repeat it."""
    stage = SessionStage(hangs="start")
    stage.session.open()
    await settle()
    assert stage.secrets == ["token-1"]
    stage.session.close(0.0)
    await settle()


async def test_session_that_cannot_be_made_is_lost(service):
    """All calls of it are harmless."""
    service.makings.append(REFUSED)
    session = service.open_session(lambda: None, 24000)
    session.open()
    await settle()
    assert (session.state, session.loss) == (SessionState.LOST, REFUSED)
    assert not session.ping()
    session.abort()
    session.close()
    await settle()
    assert session.state is SessionState.CLOSED


@pytest.mark.parametrize(
    ("hangs", "call", "limit_s", "words", "phase"),
    [
        ("init", "prepare", CONSOLE_DEADLINE_S, "console", "session_token"),
        ("init", "open", CONSOLE_DEADLINE_S, "console", "session_token"),
        ("upgrade", "open", UPGRADE_DEADLINE_S, "ingress", "websocket_connect"),
        (
            "start",
            "open",
            CONFIRMATION_DEADLINE_S,
            "confirm",
            "websocket_handshake",
        ),
    ],
)
async def test_silent_service_ends_the_wait(hangs, call, limit_s, words, phase):
    """Each step has its deadline, and a message that names the step."""
    stage = SessionStage(hangs=hangs)
    getattr(stage.session, call)()
    await stage.clock.advance(limit_s - 0.1)
    assert stage.session.loss is None
    await stage.clock.advance(1.0)
    assert stage.session.state is SessionState.LOST
    assert (stage.loss.code, stage.loss.phase) == ("connectionFailed", phase)
    assert not stage.loss.fatal
    assert words in stage.loss.message
    assert f"within {limit_s:.0f} s" in stage.loss.message


async def test_each_step_has_a_deadline_of_its_own():
    """A console of 6 s, an upgrade of 9 s and a confirmation of 9 s connect:
    the bare SDK would, too."""
    stage = SessionStage()

    async def later(seconds: float) -> None:
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        at = stage.clock.monotonic() + seconds
        stage.clock.call_at(at, lambda: due.set_result(None))
        await due

    async def init() -> None:
        await later(6.0)

    async def start() -> str:
        await later(9.0)
        stage.sdk._connection = FakeConnection()
        await later(9.0)
        return "conn-1"

    stage.replace(init=init, start=start)
    stage.session.open()
    await stage.clock.advance(24.1)
    assert stage.session.is_ready
    assert stage.clock.pending() == 0


async def test_token_that_was_not_used_up_is_kept():
    """The upgrade failed on its way: the next attempt needs no console."""
    kept = Failure("no route", code="connectionFailed", keeps_token=True)
    service = FakeService()
    service.openings.extend([kept, None])
    session = service.open_session(lambda: None, 24000)
    session.open()
    await settle()
    assert (session.state, session.loss) == (SessionState.PREPARED, kept)
    assert session.has_token
    session.open()
    assert session.loss is None
    await settle()
    assert session.is_ready
    assert len(service.sessions) == 1
    assert service.violations == []


@pytest.mark.parametrize("method", ["prepare", "open"])
async def test_failure_without_a_token_keeps_none(method):
    """The console call has failed, or its words are those of another."""
    kept = Failure("no route", code="connectionFailed", keeps_token=True)
    stage = SessionStage(fails=RuntimeError("odd"), explain=lambda _: kept)
    getattr(stage.session, method)()
    await settle()
    assert (stage.session.state, stage.loss) == (SessionState.LOST, kept)


async def test_late_refusal_is_the_services():
    """A refusal that the SDK held back explains more than the deadline."""
    stage = await SessionStage(hangs="start").prepared()
    stage.sdk._fails = RuntimeError("credits exhausted")
    stage.session.open()
    await stage.clock.advance(CONFIRMATION_DEADLINE_S + 0.5)
    assert stage.loss.code == "creditsExhausted"


@pytest.mark.parametrize("words", ["odd", "no connection"])
async def test_late_error_that_says_nothing_is_the_deadlines(words):
    """The SDK raises it for a connection that was dropped."""
    stage = await SessionStage(hangs="start").prepared()
    stage.sdk._fails = ValueError(words)
    stage.session.open()
    await stage.clock.advance(CONFIRMATION_DEADLINE_S + 0.5)
    assert stage.loss.code == "connectionFailed"
    assert f"within {CONFIRMATION_DEADLINE_S:.0f} s" in stage.loss.message


@pytest.mark.parametrize("forgets", [False, True])
async def test_refusal_is_known_while_the_sdk_closes(forgets):
    """The peer does not answer the close, and the SDK may hold on to the
    connection meanwhile, or not."""
    stage = SessionStage()

    async def start() -> str:
        stage.sdk._connection = held = FakeConnection()
        await asyncio.sleep(0)
        try:
            raise RuntimeError("credits exhausted")
        except RuntimeError:
            if forgets:
                stage.sdk._connection = None
            await held.transport.aborted.wait()
            raise

    stage.replace(start=start)
    stage.session.open()
    await stage.clock.advance(CONFIRMATION_DEADLINE_S + 1.5)
    assert stage.loss.code == "creditsExhausted"
    stage.session.close()
    await settle()
    assert stage.sdk.calls == ["init", "close"]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (REFUSED, REFUSED.message),
        (RuntimeError("odd"), "odd"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
@pytest.mark.parametrize("step", ["makings", "preparations", "openings"])
async def test_attempt_that_fails_loses_the_session(
    step, outcome, message, service
):
    """For any exception, in each step."""
    getattr(service, step).append(outcome)
    session = service.open_session(lambda: None, 24000)
    (session.prepare if step == "preparations" else session.open)()
    await settle()
    assert session.state is SessionState.LOST
    assert session.loss is not None
    assert message in session.loss.message
    assert not session.was_ready


async def test_problem_of_the_preload_is_an_event():
    """The session goes on with it."""
    stage = SessionStage()
    stage.problem = SERVICE_ERROR
    await stage.ready()
    assert stage.take_events() == [ServiceError(SERVICE_ERROR, 100.0)]


@pytest.mark.parametrize("says_why", [False, True])
async def test_connection_that_ends_while_it_opens(says_why):
    """Between the service's confirmation and the end of `open`: the session
    is lost, and was never ready."""
    stage = SessionStage()

    async def start() -> str:
        if says_why:
            stage.sdk.on_error(ClosedForCredits())
        stage.sdk.on_close()
        return "conn-1"

    stage.replace(start=start)
    stage.session.open()
    await settle()
    assert stage.session.state is SessionState.LOST
    assert not stage.session.was_ready
    assert stage.loss.code == ("4001" if says_why else "connectionClosed")


async def test_an_error_is_explained_by_the_sdk():
    """Whichever call meets it: a 404 may be the fault of a URL."""
    meaning = Failure("the URL is wrong", code="wrongUrl")
    error = RuntimeError("odd")
    stage = SessionStage(fails=error, explain=lambda _: meaning)
    stage.session.prepare()
    await settle()
    assert stage.loss is meaning
    for call in ("send", "interrupt", "on_error"):
        stage = await SessionStage(explain=lambda _: meaning).ready()
        stage.sdk._fails = error
        if call == "send":
            assert await failure_by(stage.session.send(b"", True)) is meaning
        elif call == "interrupt":
            assert await failure_by(stage.session.interrupt()) is meaning
        else:
            stage.sdk.on_error(error)
        assert stage.loss is meaning


# Calls


async def test_audio_is_sent_with_its_end(stage):
    """And the request's id is returned."""
    assert await stage.session.send(b"12", False) == "req-1"
    assert await stage.session.send(b"", True) == "req-1"
    assert await stage.session.interrupt() == "req-1"
    assert stage.sdk.calls[2:] == ["send 2 False", "send 0 True", "interrupt"]


async def test_call_that_the_socket_takes_does_not_yield(stage):
    """A frame leaves in the handler that brings it."""
    with pytest.raises(StopIteration) as returned:
        stage.session.send(b"12", False).send(None)
    assert returned.value.value == "req-1"
    wakes = stage.wakes
    await settle()
    assert stage.wakes == wakes


async def opened(service: FakeService) -> Session:
    session = service.open_session(Mock(), 24000)
    session.open()
    await settle()
    assert session.is_ready
    return session


async def begin_call(session: Session, name: str) -> "asyncio.Task[str]":
    call = (
        session.send(b"\0\0", False)
        if name == "send"
        else (session.interrupt())
    )
    task = asyncio.ensure_future(call)
    await settle()
    return task


async def held(service: FakeService, name: str = "send") -> Any:
    """Return a session with a call that waits for the socket, and the call."""
    session = await opened(service)
    await session.send(b"\0\0", False)
    service.calls.append("hold")
    return session, await begin_call(session, name)


@pytest.mark.parametrize("name", ["send", "interrupt"])
async def test_call_is_in_progress_while_it_waits(name, service):
    """And is due to be given up as long as it does."""
    session, call = await held(service, name)
    assert session.is_calling
    assert session.due_at == service.clock.monotonic() + STALL_LIMIT_S
    service.session.release()
    assert await call == "request-1.0"
    assert not session.is_calling
    assert session.due_at == INF


@pytest.mark.parametrize("name", ["send", "interrupt"])
async def test_second_call_is_refused_while_one_waits(name, service):
    """It would go out under the wrong request's id."""
    session, call = await held(service)
    with pytest.raises(IllegalTransition):
        await (
            session.send(b"", True) if name == "send" else (session.interrupt())
        )
    service.session.release()
    assert await call == "request-1.0"
    assert session.is_ready
    assert service.violations == []


@pytest.mark.parametrize("name", ["send", "interrupt"])
async def test_call_that_fails_loses_the_session(name, service, session):
    """And raises the failure."""
    await session.send(b"\0\0", False)
    service.calls.append(LOST)
    with pytest.raises(SessionError):
        await (await begin_call(session, name))
    assert (session.state, session.loss) == (SessionState.LOST, LOST)
    assert session.was_ready
    assert not session.is_calling


@pytest.mark.parametrize("ends", ["retire", "close"])
async def test_no_call_is_made_of_a_session_that_takes_no_audio(
    ends, service, session
):
    """No more audio is written."""
    getattr(session, ends)()
    for call in (session.send(b"", True), session.interrupt()):
        with pytest.raises(SessionError):
            await call
    assert service.session.messages == []
    session.close()
    await settle()
    assert service.violations == []


@pytest.mark.parametrize("ends", ["retire", "lose"])
async def test_end_of_the_last_call_is_reported(ends, service):
    """The driver waits for it before it closes the session."""
    wakes: list[bool] = []
    session = service.open_session(
        lambda: wakes.append(session.is_calling), 24000
    )
    session.open()
    await settle()
    service.calls.append("hold")
    call = await begin_call(session, "send")
    if ends == "retire":
        session.retire()
        service.session.release()
        await settle()
        assert await call == "request-1.0"
        assert wakes == [False, False]
    else:
        session.give_up(20.0)
        await settle()
        with pytest.raises(SessionError):
            await call
        assert wakes == [False, True, False]


async def test_call_that_is_cancelled_loses_the_session(service):
    """The SDK's session is of no use after that."""
    session, call = await held(service)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert session.state is SessionState.LOST
    assert service.session.aborts == 1


async def test_loss_ends_a_call_that_waits(service):
    """It might wait for long; an idle connection needs no abort."""
    _, call = await held(service)
    service.session.on_failure(LOST)
    assert service.session.aborts == 1
    with pytest.raises(SessionError):
        await call
    idle = FakeService()
    await opened(idle)
    idle.session.on_failure(LOST)
    assert idle.session.aborts == 0


async def test_call_that_ends_well_on_a_lost_session(service):
    """It is unknown how much of it was sent."""
    _, call = await held(service)
    service.session.release()
    service.session.on_failure(LOST)
    with pytest.raises(SessionError) as caught:
        await call
    assert caught.value.failure == LOST


async def test_call_that_stalls_is_given_up_at_the_limit():
    """With a failure of its own; not a moment earlier."""
    service = FakeService(FakeClock(now=100.0))
    session, call = await held(service)
    session.tick(100.0 + STALL_LIMIT_S - 0.1)
    assert session.loss is None
    session.tick(100.0 + STALL_LIMIT_S)
    assert session.loss == Failure(
        "Spatius has taken no data for 30 s",
        code="stalled",
        phase="websocket_send",
        connection_id="connection-1",
    )
    assert service.session.aborts
    with pytest.raises(SessionError):
        await call
    assert session.due_at == INF


async def test_idle_session_never_stalls():
    """There is no call to be watched."""
    session = await opened(FakeService())
    session.tick(1e9)
    assert session.is_ready


async def test_silent_service_is_given_up(service, session):
    """A ping has found out that it no longer answers."""
    session.give_up(20.0)
    assert session.state is SessionState.LOST
    assert session.loss is not None
    assert session.loss.code == "stalled"
    assert "20 s" in session.loss.message
    assert service.session.aborts == 1


async def test_first_loss_is_the_cause(service, session):
    """Later ones are its consequences."""
    first = Failure("the key is wrong", fatal=True)
    service.session.on_failure(first)
    service.session.on_failure(LOST)
    session.give_up(20.0)
    assert session.loss == first


async def test_retired_session_notices_its_loss(service, session):
    """The audio written may still play."""
    session.retire()
    assert (session.state, session.is_ready) == (SessionState.RETIRED, False)
    service.session.on_failure(LOST)
    assert (session.state, session.loss) == (SessionState.LOST, LOST)
    session.retire()
    assert session.state is SessionState.LOST


async def test_driver_is_woken_on_a_turn_of_its_own(service, session):
    """Never from within a call: it would have to expect itself."""
    wakes = session._wake.call_count
    service.session.on_failure(LOST)
    assert session._wake.call_count == wakes
    await asyncio.sleep(0)
    assert session._wake.call_count == wakes + 1


# Closing


async def test_close_of_a_session_is_reported(stage):
    """It begins at once, and CLOSED is a change."""
    stage.session.close()
    assert stage.session.state is SessionState.CLOSING
    await settle()
    assert stage.session.state is SessionState.CLOSED
    assert stage.wakes == 2
    assert stage.clock.pending() == 0


@pytest.mark.parametrize("within_s", [CLOSE_DEADLINE_S, 1.0])
async def test_close_ends_in_time(within_s):
    """A silent peer holds the close back until it is dropped."""
    stage = await SessionStage(hangs="close").ready()
    connection = stage.held
    stage.session.close(within_s)
    await stage.clock.advance(within_s - 0.3)
    assert stage.session.state is SessionState.CLOSING
    assert not connection.transport.aborted.is_set()
    await stage.clock.advance(0.3)
    assert stage.session.state is SessionState.CLOSED
    assert connection.transport.aborted.is_set()
    assert stage.sdk.calls[-1] == "close"
    assert stage.clock.pending() == 0


async def test_close_ends_though_the_sdk_never_does(stage):
    """Not even after its connection was dropped."""

    async def close() -> None:
        await asyncio.get_running_loop().create_future()

    stage.sdk.close = close
    stage.session.close()
    await stage.clock.advance(CLOSE_DEADLINE_S - 0.1)
    assert stage.session.state is SessionState.CLOSING
    await stage.clock.advance(0.1)
    assert stage.session.state is SessionState.CLOSED


async def test_close_can_be_hurried():
    """A stop has less time than a renewal."""
    stage = await SessionStage(hangs="close").ready()
    stage.session.close(10.0)
    await stage.clock.advance(1.0)
    stage.session.close(1.0)
    await stage.clock.advance(1.0)
    assert stage.session.state is SessionState.CLOSED
    assert stage.clock.pending() == 0


async def test_close_is_one_close(stage):
    """However often it is asked for."""
    stage.session.close()
    stage.session.close()
    await settle()
    stage.session.close()
    await settle()
    assert stage.sdk.calls.count("close") == 1


async def test_close_drops_a_call_that_waits(service):
    """There is no close handshake behind a full socket, and no second call
    beside the one that waits."""
    session, call = await held(service)
    session.close()
    assert service.session.aborts == 1
    with pytest.raises(SessionError):
        await call
    await settle()
    assert session.state is SessionState.CLOSED
    assert service.violations == []
    assert service.clock.pending() == 0


async def test_close_waits_for_the_call_that_it_has_dropped(stage):
    """The SDK sees one call after the other, however slow the first."""
    may_end = asyncio.Event()

    async def send_audio(audio: bytes, end: bool) -> str:
        await may_end.wait()
        return "req-1"

    stage.sdk.send_audio = send_audio
    call = asyncio.ensure_future(stage.session.send(b"ab", False))
    await settle()
    stage.session.close()
    await settle()
    assert stage.sdk.calls == ["init", "start"]
    may_end.set()
    await settle()
    assert call.done()
    assert stage.sdk.calls == ["init", "start", "close"]


async def test_close_of_a_session_that_opens():
    """The SDK asks for a close after a start that was cancelled."""
    logged = logged_by_the_loop()
    stage = SessionStage(hangs="start")
    stage.session.open()
    await settle()
    stage.session.close()
    await settle()
    assert stage.session.state is SessionState.CLOSED
    assert stage.sdk.calls == ["init", "start", "close"]
    assert stage.session.loss is None
    assert stage.clock.pending() == 0
    del stage
    gc.collect()
    await settle()
    assert logged == []


async def test_close_waits_for_the_call_that_it_has_ended():
    """The SDK sees one call after the other."""
    stage = SessionStage()
    may_end = asyncio.Event()

    async def start() -> str:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            await may_end.wait()

    stage.replace(start=start)
    stage.session.open()
    await settle()
    stage.session.close()
    await settle()
    assert stage.sdk.calls == ["init"]
    may_end.set()
    await settle()
    assert stage.sdk.calls == ["init", "close"]
    assert stage.session.state is SessionState.CLOSED


async def test_session_that_opens_in_spite_of_its_close():
    """It is closed all the same: `asyncio.wait_for` may swallow a cancel up
    to Python 3.11. The close is our own, and its peer has its time."""
    stage = SessionStage(hangs="close")
    connection = FakeConnection()

    async def start() -> str:
        stage.sdk._connection = connection
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "conn-1"

    stage.replace(start=start)
    stage.session.open()
    await settle()
    stage.session.close()
    await settle()
    connection.state = SocketState.CLOSING
    connection.process_event("close frame")
    await stage.clock.advance(2 * PEER_CLOSE_S)
    assert not connection.transport.aborted.is_set()
    assert stage.session.state is SessionState.CLOSING
    await stage.clock.advance(CLOSE_DEADLINE_S)
    assert stage.session.state is SessionState.CLOSED
    assert stage.session.loss is None
    assert stage.sdk.calls == ["init", "close"]
    assert stage.clock.pending() == 0


async def test_tasks_of_the_background_are_forgotten():
    """Those of pings and of closes."""
    before = count_of_tasks()
    for _ in range(5):
        stage = await SessionStage().ready()
        stage.session.ping()
        await settle()
        stage.held.pongs[0].set_result(0.1)
        stage.session.close()
        await settle()
    del stage
    assert count_of_tasks() == before


async def test_abort_drops_the_connection(stage):
    """At once; the SDK's report is the loss."""
    stage.session.abort()
    assert stage.held.transport.aborted.is_set()
    stage.sdk.on_close()
    assert stage.session.state is SessionState.LOST


@pytest.mark.parametrize("is_late", [False, True])
async def test_close_that_raises_is_of_no_interest(is_late):
    """The connection is gone; nothing is logged by the event loop."""
    logged = logged_by_the_loop()
    stage = await SessionStage(hangs="close" if is_late else "").ready()
    stage.sdk.on_close = Mock(side_effect=RuntimeError("odd"))
    stage.session.close()
    await stage.clock.advance(2 * CLOSE_DEADLINE_S)
    assert stage.session.state is SessionState.CLOSED
    del stage
    gc.collect()
    await settle()
    assert logged == []


# A peer that closes


class ClosedForCredits(Exception):
    """The SDK's error for a close code."""

    code = "connectionClosed"
    phase = "websocket_runtime"
    close_code = 4001


async def closing(**options: Any) -> SessionStage:
    """Return a stage whose peer has sent a close frame, and nothing more.

    The SDK reports the loss only when TCP has ended.
    """
    stage = await SessionStage(**options).ready()
    stage.held.state = SocketState.CLOSING
    stage.held.process_event("close frame")
    return stage


async def report_end(stage: SessionStage) -> None:
    """Have the SDK report the loss when TCP ends."""
    await stage.held.transport.aborted.wait()
    stage.sdk.on_error(ClosedForCredits())
    stage.sdk.on_close()


async def test_connection_ends_soon_after_its_close_frame():
    """Also with a peer that does not answer: the library would wait for it for
    10 s, and report nothing."""
    stage = await closing()
    reporting = asyncio.ensure_future(report_end(stage))
    await stage.clock.advance(PEER_CLOSE_S / 2)
    assert stage.session.is_ready
    await stage.clock.advance(PEER_CLOSE_S)
    assert stage.session.state is SessionState.LOST
    assert (stage.loss.code, stage.loss.fatal) == ("4001", True)
    await reporting
    assert stage.clock.pending() == 0


async def test_peer_that_ends_tcp_behind_its_close_frame():
    """As most do: nothing is left to be dropped."""
    stage = await closing()
    stage.sdk.on_close()
    assert stage.session.state is SessionState.LOST
    assert stage.clock.pending() == 0
    assert not stage.held.transport.aborted.is_set()


async def test_close_that_the_peer_has_begun_before_it_was_watched():
    """It may do so as soon as it has confirmed the session."""
    stage = SessionStage()

    async def start() -> str:
        stage.sdk._connection = FakeConnection()
        stage.held.state = SocketState.CLOSING
        return "conn-1"

    stage.replace(start=start)
    await stage.ready()
    await stage.clock.advance(PEER_CLOSE_S)
    assert stage.held.transport.aborted.is_set()


@pytest.mark.parametrize("says_why", [False, True])
async def test_close_that_the_peer_has_begun_ends_soon(says_why):
    """The service may say why before it closes, and the session is closed at
    that; nothing is left to wait for."""
    stage = await closing(hangs="close")
    connection = stage.held
    if says_why:
        stage.sdk.on_error(ClosedForCredits())
    stage.session.close()
    await stage.clock.advance(1.5 * PEER_CLOSE_S)
    assert connection.transport.aborted.is_set()
    assert stage.session.state is SessionState.CLOSED
    assert stage.clock.pending() == 0


async def test_own_close_is_not_hurried():
    """The peer has its time to answer."""
    stage = await SessionStage(hangs="close").ready()
    connection = stage.held
    stage.session.close()
    await settle()
    connection.state = SocketState.CLOSING
    connection.process_event("close frame")
    await stage.clock.advance(2 * PEER_CLOSE_S)
    assert not connection.transport.aborted.is_set()
    await stage.clock.advance(CLOSE_DEADLINE_S)


async def test_call_that_fails_on_a_lost_session_says_why():
    """The service has said why it closes; the call's own error has not."""
    stage = await SessionStage(hangs="send 2 False").ready()
    call = asyncio.ensure_future(stage.session.send(b"ab", False))
    await settle()
    stage.sdk.on_error(ClosedForCredits())
    assert (await failure_by(call)).code == "4001"


# Pings


async def pinged(**options: Any) -> SessionStage:
    stage = await SessionStage(**options).ready()
    assert stage.session.ping()
    await settle()
    return stage


async def test_ping_is_answered_by_its_pong():
    """Not when it has been sent."""
    stage = await pinged()
    await stage.clock.advance(2.0)
    assert stage.take_events() == []
    stage.held.pongs[0].set_result(0.1)
    await settle()
    assert stage.take_events() == [PingAnswered(102.0)]
    assert stage.wakes == 2


@pytest.mark.parametrize("ends", ["close", "lose"])
async def test_ping_is_not_answered_after_the_end(ends):
    """A pong that is on its way then is of no interest."""
    stage = await pinged(hangs="close")
    pong = stage.held.pongs[0]
    if ends == "lose":
        stage.sdk.on_error(ClosedForCredits())
    else:
        stage.session.close()
    pong.set_result(0.1)
    await settle()
    assert stage.take_events() == []
    stage.session.close(0.0)
    await stage.clock.advance(1.0)


@pytest.mark.parametrize("is_sent", [False, True])
async def test_ping_of_a_connection_that_ends(is_sent):
    """It is not answered, and nothing is logged by the event loop."""
    logged = logged_by_the_loop()
    stage = await pinged()
    if is_sent:
        stage.held.pongs[0].set_exception(OSError("reset"))
    else:
        stage.held.ping_fails = OSError("reset")
        assert stage.session.ping()
    await settle()
    gc.collect()
    await settle()
    assert stage.take_events() == []
    assert logged == []


async def test_session_that_cannot_be_pinged():
    """It is not open, or the SDK's internals have changed."""
    stage = SessionStage()
    assert not stage.session.ping()
    await stage.ready()
    stage.session._connection = object()
    assert not stage.session.ping()
    stage.session._connection = FakeConnection()
    assert stage.session.ping()
    stage.session.close()
    assert not stage.session.ping()
    await settle()


# Events


async def test_loss_is_reported_once(stage):
    """The error says more than the close that follows it."""
    stage.sdk.on_error(ValueError("no connection"))
    stage.sdk.on_close()
    stage.sdk.on_close()
    assert stage.loss.code == "connectionClosed"
    await settle()
    assert stage.wakes == 2


@pytest.mark.parametrize(
    ("close_code", "code"),
    [(1001, "1001"), (1012, "1012"), (1000, "connectionClosed")],
)
async def test_code_of_a_clean_close_is_read(close_code, code, stage):
    """The SDK has discarded the connection by then, and reports no code."""
    stage.held.close_code = close_code
    await stage.sdk.close()
    assert (stage.loss.code, stage.loss.connection_id) == (code, "conn-1")


async def test_sdk_without_a_connection_to_read():
    """Should the SDK's internals change, a loss is still a loss."""
    stage = SessionStage()

    async def start() -> str:
        return "conn-1"

    stage.replace(start=start)
    await stage.ready()
    stage.sdk.on_close()
    assert stage.loss.code == "connectionClosed"


async def test_reason_of_a_clean_close_is_read(stage):
    """The service may say why."""
    stage.held.close_reason = "going away"
    await stage.sdk.close()
    assert stage.loss.vendor_message == "going away"


async def test_service_error_leaves_the_session_ready(service, session):
    """It is an event, and does not hide the loss that follows."""
    service.session.on_failure(SERVICE_ERROR)
    now = service.clock.monotonic()
    assert session.take_events() == [ServiceError(SERVICE_ERROR, now)]
    assert session.take_events() == []
    assert session.is_ready
    service.session.on_failure(LOST)
    assert session.loss == LOST
    service.session.on_failure(SERVICE_ERROR)
    assert session.take_events() == []


async def test_playback_is_an_event(stage):
    """A message of a request says that it plays, the last that it ended."""
    stage.sdk.transport_frames(b"req-1 of conn-1", False)
    await stage.clock.advance(1.0)
    stage.sdk.transport_frames(b"req-1", True)
    assert stage.take_events() == [
        PlaybackSignal("req-1", "playing", None, "", 100.0),
        PlaybackSignal("req-1", "ended", None, "", 101.0),
    ]


@pytest.mark.parametrize(
    "data", [b"", b" of conn-1", b"req-1 of conn-0", b"\xff\xff", None]
)
async def test_playback_of_no_request_is_dropped(data, stage):
    """A signal that cannot be read, or is an older connection's, changes
    nothing."""
    stage.sdk.transport_frames(data, True)
    assert stage.take_events() == []
    assert stage.session.is_ready


async def test_playback_state_is_an_event(stage):
    """How much was played is never negative, the service's words are short
    and printable."""
    for event in (
        PlaybackState("paused", 1200, "req-1"),
        PlaybackState("ended", -1, "req\n" + 200 * "1"),
        PlaybackState("interrupted", 1, "req-1", "conn-1", "pre\nempted"),
    ):
        stage.sdk.on_playback_state(event)
    assert stage.take_events() == [
        PlaybackSignal("req-1", "paused", 1200.0, "", 100.0),
        PlaybackSignal("req " + 96 * "1", "ended", 0.0, "", 100.0),
        PlaybackSignal("req-1", "interrupted", 1.0, "pre empted", 100.0),
    ]


@pytest.mark.parametrize(
    "event",
    [
        PlaybackState("unknown", 1, "req-1"),
        PlaybackState("playing", None, "req-1"),
        PlaybackState("playing", "soon", "req-1"),
        PlaybackState("playing", 1, ""),
        PlaybackState("playing", 1, "req-1", "conn-0"),
        None,
    ],
)
async def test_playback_state_that_says_nothing_is_dropped(event, stage):
    """It cannot be read, or is none that is known."""
    stage.sdk.on_playback_state(event)
    assert stage.take_events() == []
    assert stage.session.is_ready


async def test_playback_states_replace_the_messages_of_a_request():
    """A request that was cut may get a last message, as if it had ended."""
    stage = SessionStage()
    session = stage.session
    session.prepare()
    await settle()
    stage.sdk.capabilities = ("playback_state",)
    session.open()
    await settle()
    assert session.is_ready
    stage.sdk.transport_frames(b"req-1", False)
    stage.sdk.transport_frames(b"req-1", True)
    stage.sdk.on_playback_state(PlaybackState("interrupted", 300, "req-1"))
    [event] = stage.take_events()
    assert event.state == "interrupted"


async def test_error_that_ends_nothing_does_not_hide_the_loss():
    """A close that follows it is reported, too."""
    stage = await SessionStage(
        explain=lambda error: Failure(
            type(error).__name__,
            ends_session=isinstance(error, ConnectionEnded),
        )
    ).ready()
    stage.sdk.on_error(ValueError("odd"))
    stage.sdk.on_close()
    [event] = stage.take_events()
    assert isinstance(event, ServiceError)
    assert event.failure.message == "ValueError"
    assert stage.loss.message == "ConnectionEnded"


async def test_nothing_is_reported_after_close():
    """Late callbacks are of no interest, and neither are earlier ones."""
    stage = await SessionStage(hangs="close").ready()
    stage.sdk.transport_frames(b"req-1", False)
    stage.session.close()
    stage.sdk.on_error(ValueError("no connection"))
    stage.sdk.on_close()
    stage.sdk.transport_frames(b"req-1", True)
    stage.sdk.on_playback_state(PlaybackState("ended", 1, "req-1"))
    assert stage.take_events() == []
    assert stage.session.loss is None
    await stage.clock.advance(CLOSE_DEADLINE_S)
    assert stage.take_events() == []


def test_deadlines_are_those_of_the_rules():
    """Rule 3 of the session, in seconds."""
    steps = (CONSOLE_DEADLINE_S, UPGRADE_DEADLINE_S, CONFIRMATION_DEADLINE_S)
    assert steps == (10.0, 10.0, 10.0)
    assert CLOSE_DEADLINE_S == 3.0
    assert PEER_CLOSE_S + CONNECTED_POLL_S < 0.5
