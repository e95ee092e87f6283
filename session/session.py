"""One session with Spatius, from its tokens to its close, through any SDK.

Its states and their transitions stand in `state.py`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Optional, Protocol

from ..clock import Clock, Timer, wait_until
from ..messages import redact
from ..transitions import IllegalTransition, check
from .errors import ConnectionEnded, Failure, SessionError
from .state import (
    PLAYBACK_STATES,
    TRANSITIONS,
    PingAnswered,
    PlaybackSignal,
    ServiceError,
    SessionEvent,
    SessionState,
)

CONSOLE_DEADLINE_S = 10.0
"""For the session token; avatarkit waits 300 s for a silent console."""

UPGRADE_DEADLINE_S = 10.0
"""For the lookup, TCP, TLS and the upgrade of the websocket."""

CONFIRMATION_DEADLINE_S = 10.0
"""For the service's confirmation; avatarkit waits indefinitely."""

OWN_TIMEOUT_S = 0.3
"""Added to the deadlines that an SDK has itself: after an error of its own, and
not after a cancel, it may be started again."""

CONNECTED_POLL_S = 0.25
"""How often an opening is checked for its upgrade. No SDK reports it."""

CLOSE_DEADLINE_S = 3.0
"""For a close; the SDK waits up to 20 s for a silent peer."""

ABORTED_S = 0.2
"""How long a call may take to notice that its connection was dropped."""

PEER_CLOSE_S = 0.2
"""How long the peer may take to end TCP behind its close frame. The websocket
library waits 10 s, and meanwhile it makes no report."""

STALL_LIMIT_S = 30.0
"""How long one call may wait for the socket. The SDK's own keepalive cannot
notice a dead peer while the socket's buffer is full."""

_CONNECTED = (SessionState.READY, SessionState.RETIRED)
_ENDED = (SessionState.CLOSING, SessionState.CLOSED)


class Sdk(Protocol):
    """A Spatius SDK, configured; `session/sdk.py` has the real one."""

    async def preload(self) -> Optional[Failure]:
        """Do the blocking work of a first connection; return a failure to
        report."""
        ...

    def new_session(self, sample_rate_hz: int, **callbacks: Any) -> Any:
        """Return the SDK's session, with those of the callbacks that it has.
        Raises `SessionError`."""
        ...

    def request_of(self, data: bytes) -> tuple[str, str]:
        """Return the ids of request and connection in a
        ServerResponseAnimation."""
        ...

    def explain(self, error: BaseException) -> Failure:
        """Return the meaning of an exception of the SDK."""
        ...


class Session:
    """One connection and the attempt to make it.

    `add_secrets` gets the session token before it can be logged. `wake` is
    called in a turn of its own of the event loop when the state has changed
    by itself, when there are events to take, and when the last call of a
    session that takes no more audio has ended.

    `prepare`, `open` and `close` begin and return at once. `send` and
    `interrupt` must be called one after the other, from a task, and must not
    be cancelled.
    """

    def __init__(
        self,
        sdk: Sdk,
        *,
        wake: Callable[[], None],
        sample_rate: int,
        clock: Clock,
        add_secrets: Callable[[list[str]], None],
    ) -> None:
        self.sample_rate = sample_rate
        """Of the audio that it takes, in Hz."""
        self.state = SessionState.NEW
        self.is_ready = False
        """Whether it may be written to: its state is READY."""
        self.connection_id = ""
        self.began_at = clock.monotonic()
        """When its tokens were made."""
        self.opened_at = self.began_at
        """When `open` was called for the last time."""
        self.ready_at = float("inf")
        self.loss: Optional[Failure] = None
        """Why it was lost, or why the latest opening failed."""
        self._sdk = sdk
        self._wake = wake
        self._clock = clock
        self._add_secrets = add_secrets
        self._events: list[SessionEvent] = []
        self._session: Any = None  # the SDK's
        self._connection: Any = None  # the SDK forgets it before its on_close
        self._has_token = False
        self._reports_states = False  # the service, of playback
        self._attempt: Optional[asyncio.Task[None]] = None
        self._step: Optional[asyncio.Task[Any]] = None  # init or start
        self._call_since: Optional[float] = None
        self._call_ended: Optional[asyncio.Future[None]] = None
        self._loss_in_opening: Optional[Failure] = None
        self._peer_timer: Optional[Timer] = None  # of a close by the peer
        self._close_timers: list[Timer] = []

    def __repr__(self) -> str:
        return f"<Session {self.state.value} {self.connection_id}>"

    @property
    def was_ready(self) -> bool:
        return self.ready_at != float("inf")

    @property
    def has_token(self) -> bool:
        """Whether it may be opened without a call of the console."""
        return self.state is SessionState.PREPARED

    @property
    def is_calling(self) -> bool:
        """Whether a call of `send` or `interrupt` is in progress."""
        return self._call_since is not None

    @property
    def due_at(self) -> float:
        """When `tick` has something to do, inf for never."""
        if self._call_since is None or self.state not in _CONNECTED:
            return float("inf")
        return self._call_since + STALL_LIMIT_S

    def take_events(self) -> list[SessionEvent]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def prepare(self) -> None:
        """Begin to get the session token: PREPARED or LOST follows."""
        self._transition(SessionState.PREPARING)
        self._begin(self._prepare())

    def open(self) -> None:
        """Begin to connect: READY, LOST, or PREPARED follows.

        PREPARED, with `loss` set, means that the token was not used up, and
        that `open` may be called again.
        """
        self._transition(SessionState.OPENING)
        self.loss = self._loss_in_opening = None
        self.opened_at = self._clock.monotonic()
        self._begin(self._open())

    def send(self, audio: bytes, end: bool) -> Coroutine[Any, Any, str]:
        """Send audio and return its request's id. Raises `SessionError`.

        Does not yield if the socket has room.
        """
        return self._call("send_audio", audio, end)

    def interrupt(self) -> Coroutine[Any, Any, str]:
        """Interrupt the latest request and return its id. Raises
        `SessionError`."""
        return self._call("interrupt")

    def ping(self) -> bool:
        """Send a ping (RFC 6455, 5.5.2), whose answer is an event; return
        False if the SDK's internals are not as expected."""
        if self.state not in _CONNECTED or not hasattr(
            self._connection, "ping"
        ):
            return False
        _keep(asyncio.ensure_future(self._ping()))
        return True

    def retire(self) -> None:
        """Have no more audio written. No effect if it is not ready."""
        if self.state is SessionState.READY:
            self._transition(SessionState.RETIRED)

    def close(self, within_s: float = CLOSE_DEADLINE_S) -> None:
        """Begin to close: CLOSED follows within that time.

        The rest of a slow close goes on in the background. A second call
        shortens the time.
        """
        if self.state is SessionState.CLOSED:
            return
        if self.state is not SessionState.CLOSING:
            self._transition(SessionState.CLOSING)
            self._events.clear()
            if self.is_calling:
                self.abort()
            closing = asyncio.ensure_future(self._close())
            _keep(closing)
            closing.add_done_callback(lambda _: self._closed())
        # The abort is for a peer that does not answer the close.
        now = self._clock.monotonic()
        abort_at = now + max(0.0, within_s - ABORTED_S)
        self._close_timers += [
            self._clock.call_at(abort_at, self.abort),
            self._clock.call_at(now + within_s, self._closed),
        ]

    def abort(self) -> None:
        """Drop TCP: a call that waits for the socket fails."""
        # The SDK has no call for it, and its own close waits for a silent
        # peer for 10 to 20 s; should its internals change, so do we.
        connection = getattr(self._session, "_connection", None)
        transport = getattr(connection or self._connection, "transport", None)
        if transport is not None:
            transport.abort()

    def lose(self, failure: Failure) -> None:
        """Lose the session; the first reason is the cause."""
        if self.state is SessionState.OPENING:
            self._loss_in_opening = self._loss_in_opening or failure
        if self.state not in _CONNECTED:
            return
        self.loss = failure
        self._became(SessionState.LOST)
        if self.is_calling:
            self.abort()  # the call may wait for long

    def give_up(self, silent_s: float) -> None:
        """Lose the session: the service has not answered for so long."""
        self._stalled(
            f"Spatius has not answered for {silent_s:g} s", "websocket_ping"
        )

    def tick(self, now: float) -> None:
        """Lose the session if a call has waited too long for the socket."""
        if now >= self.due_at:
            self._stalled(
                f"Spatius has taken no data for {STALL_LIMIT_S:.0f} s",
                "websocket_send",
            )

    # The state

    def _transition(self, state: SessionState) -> None:
        check(TRANSITIONS, self.state, state)
        self.state = state
        self.is_ready = state is SessionState.READY

    def _became(self, state: SessionState) -> None:
        """Make a transition that was not asked for, and report it."""
        self._transition(state)
        self._wake_later()

    def _stalled(self, message: str, phase: str) -> None:
        if self.state not in _CONNECTED:
            return
        self.lose(
            Failure(
                message,
                code="stalled",
                phase=phase,
                connection_id=self.connection_id,
            )
        )
        self.abort()

    def _report(self, event: SessionEvent) -> None:
        if self.state not in _ENDED:
            self._events.append(event)
            self._wake_later()

    def _wake_later(self) -> None:
        asyncio.get_running_loop().call_soon(self._wake)

    # Opening

    def _begin(self, attempt: Coroutine[Any, Any, SessionState]) -> None:
        self._attempt = asyncio.ensure_future(self._finish(attempt))

    async def _finish(self, attempt: Coroutine[Any, Any, SessionState]) -> None:
        """Run `prepare` or `open`, and make the transition that follows."""
        failure: Optional[Failure] = None
        state = SessionState.LOST
        try:
            state = await attempt
        except SessionError as error:
            failure = error.failure
        except asyncio.CancelledError:
            failure = Failure("the opening was cancelled")
        except Exception as error:
            failure = Failure(
                f"the session could not be opened: {redact.defect(error)}"
            )
        if self.state in _ENDED:
            return
        if failure is not None:
            self.loss = failure
            if self._has_token and failure.keeps_token:
                state = SessionState.PREPARED
        self._became(state)

    async def _prepare(self) -> SessionState:
        await self._get_token()
        return SessionState.PREPARED

    async def _open(self) -> SessionState:
        if not self._has_token:
            await self._get_token()
        connection_id = await self._within(
            self._start(), UPGRADE_DEADLINE_S, _NO_UPGRADE
        )
        # Before the loop runs on: the connection may be closed again at once.
        self._connection = getattr(self._session, "_connection", None)
        self._has_token = False
        if self._loss_in_opening is not None:
            raise SessionError(self._loss_in_opening)
        self.connection_id = redact.clean_id(connection_id)
        capabilities = getattr(self._session, "capabilities", ())
        self._reports_states = "playback_state" in capabilities
        self.ready_at = self._clock.monotonic()
        self._watch_peer()
        return SessionState.READY

    async def _get_token(self) -> None:
        failure = await self._sdk.preload()
        if failure is not None:
            self._report(ServiceError(failure, self._clock.monotonic()))
        self.began_at = self._clock.monotonic()
        self._session = self._sdk.new_session(
            self.sample_rate,
            on_error=self._on_error,
            on_close=self._on_close,
            transport_frames=self._on_frames,
            on_playback_state=self._on_playback_state,
        )
        await self._within(
            self._session.init(), CONSOLE_DEADLINE_S, _NO_CONSOLE
        )
        self._has_token = True
        token = getattr(self._session, "_session_token", None)
        if token:
            self._add_secrets([str(token)])

    async def _start(self) -> str:
        """Run the SDK's start; cancelled while it closes a connection that
        was refused, raise the refusal."""
        try:
            return await self._session.start()
        except asyncio.CancelledError as error:
            refusal = error.__context__
            if not isinstance(refusal, Exception):
                raise
        raise refusal

    async def _within(
        self, call: Coroutine[Any, Any, Any], limit_s: float, failure: Failure
    ) -> Any:
        """Await a call of the SDK, not beyond its deadline; raises `failure`
        then. Once its websocket is upgraded, the confirmation has another."""
        step = self._step = asyncio.ensure_future(call)
        step.add_done_callback(_retrieve_exception)
        until = self._clock.monotonic() + limit_s + OWN_TIMEOUT_S
        late: Optional[Failure] = None
        is_upgraded = False
        try:
            while not step.done() and late is None:
                now = self._clock.monotonic()
                connection = getattr(self._session, "_connection", None)
                if connection is not None and not is_upgraded:
                    is_upgraded = True
                    until = now + CONFIRMATION_DEADLINE_S
                    failure = _NO_CONFIRMATION
                if now >= until:
                    late = failure
                else:
                    poll_at = min(until, now + CONNECTED_POLL_S)
                    await wait_until(self._clock, poll_at, step)
            if late is not None:
                # The SDK raises the refusal of a handshake after its own
                # close, which waits for a peer that does not answer.
                self.abort()
                await self._wait_for(step, ABORTED_S)
        finally:
            if not step.done():
                # spatialreal has forgotten the connection by then; the
                # websocket library drops it within 20 s.
                step.cancel()
        if not step.done():
            await self._wait_for(step, ABORTED_S)
        if late is not None and not self._is_refused(step):
            raise SessionError(late)
        try:
            return await step
        except Exception as error:
            raise SessionError(self._sdk.explain(error)) from error

    def _is_refused(self, step: "asyncio.Task[Any]") -> bool:
        """Return whether a step failed for a reason that the service gave."""
        if not step.done() or step.cancelled():
            return False
        error = step.exception()
        return error is not None and self._sdk.explain(error).code not in (
            "connectionClosed",
            "connectionFailed",
            "",
        )

    async def _wait_for(
        self, future: "asyncio.Future[Any]", limit_s: float
    ) -> None:
        """Wait for a future, not for long, and not for its result."""
        await wait_until(self._clock, self._clock.monotonic() + limit_s, future)

    # Calls

    async def _call(self, name: str, *arguments: Any) -> str:
        if self._call_since is not None:
            raise IllegalTransition("a call of this session is in progress")
        if not self.is_ready:
            raise SessionError(self.loss or _NOT_READY)
        self._call_since = self._clock.monotonic()
        try:
            req_id: str = await getattr(self._session, name)(*arguments)
        except BaseException as error:
            self._call_since = None
            self._call_failed(error)
            raise SessionError(self.loss or self._sdk.explain(error)) from error
        self._call_since = None
        if not self.is_ready:
            self._last_call_ended()
            if self.loss is not None:
                # Lost meanwhile: it is unknown how much of it was sent.
                raise SessionError(self.loss)
        return req_id

    def _call_failed(self, error: BaseException) -> None:
        is_cancelled = not isinstance(error, Exception)
        if is_cancelled:
            # The SDK's session is of no use after that.
            self.lose(Failure("a call to Spatius was cancelled"))
            self.abort()
        else:
            self.lose(self._sdk.explain(error))
        self._last_call_ended()
        if is_cancelled:
            raise error

    def _last_call_ended(self) -> None:
        if self._call_ended is not None:
            self._call_ended.set_result(None)
        self._wake_later()

    async def _ping(self) -> None:
        try:
            await (await self._connection.ping())
        except Exception:  # the connection has ended, or is no websocket
            return
        if self.state in _CONNECTED:
            self._report(PingAnswered(self._clock.monotonic()))

    # Closing

    async def _close(self) -> None:
        attempt, step = self._attempt, self._step
        if attempt is not None and not attempt.done():
            attempt.cancel()
            await self._wait_for(attempt, CLOSE_DEADLINE_S)
        if step is not None and not step.done():
            await self._wait_for(step, CLOSE_DEADLINE_S)
        if self.is_calling:
            self._call_ended = asyncio.get_running_loop().create_future()
            await self._wait_for(self._call_ended, CLOSE_DEADLINE_S)
        if self._session is not None:
            # It may have opened in spite of its cancel.
            connection = getattr(self._session, "_connection", None)
            self._connection = connection or self._connection
            try:
                await self._session.close()
            except Exception:
                # The connection may be open still: the service would take it
                # for a publisher, beside the next.
                self.abort()

    def _closed(self) -> None:
        """Note that the close has ended, or has taken its time."""
        if self.state is SessionState.CLOSING:
            self._became(SessionState.CLOSED)
        for timer in self._close_timers:
            timer.cancel()
        self._close_timers.clear()
        self._cancel_peer_timer()

    def _watch_peer(self) -> None:
        """Notice a close that the peer begins.

        The library says nothing before TCP has ended. Of all that it does
        with a close frame, `process_event` comes last.
        """
        process = getattr(self._connection, "process_event", None)
        if process is not None:

            def process_and_check(event: Any) -> None:
                process(event)
                self._check_peer()

            self._connection.process_event = process_and_check
        self._check_peer()

    def _check_peer(self) -> None:
        state = getattr(self._connection, "state", None)
        is_open = getattr(state, "name", "OPEN") == "OPEN"
        if is_open or self._peer_timer is not None or self.state in _ENDED:
            return
        self._peer_timer = self._clock.call_at(
            self._clock.monotonic() + PEER_CLOSE_S, self.abort
        )

    def _cancel_peer_timer(self) -> None:
        if self._peer_timer is not None:
            self._peer_timer.cancel()

    # The SDK's callbacks

    def _on_error(self, error: Exception) -> None:
        if self.state in _ENDED:
            return
        failure = self._sdk.explain(error)
        if failure.ends_session:
            self.lose(failure)
        elif self.state is not SessionState.LOST:
            self._report(ServiceError(failure, self._clock.monotonic()))

    def _on_close(self) -> None:
        self._cancel_peer_timer()
        connection = self._connection
        # The SDK does not report the code of a clean close.
        code = getattr(connection, "close_code", None)
        reason = getattr(connection, "close_reason", None)
        ended = ConnectionEnded(code, reason, self.connection_id)
        self.lose(self._sdk.explain(ended))

    def _on_frames(self, data: bytes, is_last: bool) -> None:
        """Take the bytes of a ServerResponseAnimation: with Agora egress it
        says that a request plays, or (`is_last`) has been played out.

        Dropped where the service reports playback states: one of these may
        say of a request that was cut that it ended, too.
        """
        if self._reports_states:
            return
        try:
            req_id, connection_id = self._sdk.request_of(data)
        except Exception:  # of no use to us, and no reason to end a session
            return
        state = "ended" if is_last else "playing"
        self._on_playback(req_id, connection_id, state, None)

    def _on_playback_state(self, event: Any) -> None:
        """Take a ServerPlaybackState, which only `spatialreal` knows."""
        try:
            state = str(event.state.value)
            played_ms = max(0.0, float(event.played_ms))
            req_id, connection_id = event.req_id, event.connection_id
            reason = getattr(event.reason, "value", event.reason)
        except Exception:
            return
        if state in PLAYBACK_STATES:
            self._on_playback(req_id, connection_id, state, played_ms, reason)

    def _on_playback(
        self,
        req_id: str,
        connection_id: str,
        state: str,
        played_ms: Optional[float],
        reason: Any = "",
    ) -> None:
        """Report playback, unless it is an older connection's."""
        is_older = redact.clean_id(connection_id) not in (
            "",
            self.connection_id,
        )
        if self.state in _CONNECTED and req_id and not is_older:
            self._report(
                PlaybackSignal(
                    redact.clean_id(req_id),
                    state,
                    played_ms,
                    redact.clean_id(reason),
                    self._clock.monotonic(),
                )
            )


OpenSession = Callable[[Callable[[], None], int], Session]
"""Makes a session; takes its `wake` and the rate of its audio in Hz."""


def _no_answer(message: str, phase: str) -> Failure:
    return Failure(
        f"{message}; check the network, the region and the endpoints",
        code="connectionFailed",
        phase=phase,
    )


_NO_CONSOLE = _no_answer(
    f"the Spatius console did not answer within {CONSOLE_DEADLINE_S:.0f} s",
    "session_token",
)
_NO_UPGRADE = _no_answer(
    f"the Spatius ingress did not answer within {UPGRADE_DEADLINE_S:.0f} s",
    "websocket_connect",
)
_NO_CONFIRMATION = _no_answer(
    "the Spatius ingress did not confirm the session within "
    f"{CONFIRMATION_DEADLINE_S:.0f} s",
    "websocket_handshake",
)
_NOT_READY = Failure("the session takes no audio", code="notReady")


def _retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """Keep asyncio from logging an error that is not awaited any more: its
    text is the service's, and may repeat a secret."""
    if not task.cancelled():
        task.exception()


# The tasks of the background; the loop itself holds tasks weakly.
_unfinished: "set[asyncio.Task[None]]" = set()


def _keep(task: "asyncio.Task[None]") -> None:
    """Hold a task until it is done."""
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
