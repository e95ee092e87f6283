"""The ingress: one websocket per avatar session."""

import asyncio
import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from . import wire
from .client_socket import (
    ABNORMAL_CLOSURE,
    CLOSE_REPLY_S,
    MAX_MESSAGE_BYTES,
    POLICY_VIOLATION,
    ClientSocket,
)
from .clock import Clock, sleep
from .console import SessionToken, SessionTokens, error_response, refusal
from .faults import (
    AudioBytes,
    BlackHole,
    Close,
    Faults,
    Hang,
    OnConfirm,
    OnEnd,
    OnInterrupt,
    Quiet,
    Refuse,
    Reset,
    RuntimeFault,
    ServerError,
    Silence,
    Slow,
    Stall,
    Trigger,
)
from .playback import PlaybackReporter, PlaybackSignals
from .record import Record
from .rules import ConfigError, Rules, read_config

# Code of the server_error that ends an idle session (gRPC's
# DEADLINE_EXCEEDED); clients know it by its text.
IDLE = 4


# Close codes of the plan's limits.
SESSION_TIME_LIMIT = 4002
TOO_MANY_SESSIONS = 4003


@dataclass(frozen=True)
class PlanLimits:
    """Limits of the customer's plan, which no session can extend."""

    # Sessions end after this many of the clock's minutes with close 4002.
    session_minutes: float | None = None
    # So many sessions may be live at once; one more ends with close 4003.
    sessions: int | None = None
    # The console refuses one more already, with status 429.
    refuses_tokens: bool = False

    def __post_init__(self) -> None:
        for name in ("session_minutes", "sessions"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0")


@dataclass
class ServiceSettings:
    """Settings that may be changed while the service runs."""

    # None: it sends no playback signals.
    playback_signals: PlaybackSignals | None = None
    # Capabilities that the next handshakes declare.
    capabilities: tuple[str, ...] = ()
    # Sessions without audio for so long are ended; None: never.
    idle_timeout_s: float | None = None
    limits: PlanLimits = PlanLimits()
    # A request cuts the one that plays in place of following it.
    preempts: bool = False
    # How much later than they arrive the next requests are played.
    playback_delay_s: float = 0.0
    # How much later the pings of the next sessions are answered.
    pong_delay_s: float = 0.0


class Ingress:
    """Answers websocket upgrades at {ingress}/websocket."""

    def __init__(
        self,
        record: Record,
        faults: Faults,
        tokens: SessionTokens,
        *,
        rules: Rules,
        settings: ServiceSettings,
        clock: Clock,
        now: Callable[[], float],
    ) -> None:
        self._record = record
        self._faults = faults
        self._tokens = tokens
        self._rules = rules
        self._settings = settings
        self._clock = clock
        self._now = now
        # Connection number -> the open connection.
        self._clients: dict[int, ClientSocket] = {}
        # Faults on their way; the loop itself holds tasks only weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Ingress clients={len(self._clients)}>"

    def now(self, fault: RuntimeFault, connection: int | None) -> None:
        """Begin a fault on one open connection, or on all of them.

        To be called on the server's loop. Faults that need no answer
        from the client (Reset, Stall, ...) have acted on return. Raises
        KeyError.
        """
        if connection is None:
            clients = list(self._clients.values())
        elif connection in self._clients:
            clients = [self._clients[connection]]
        else:
            raise KeyError(f"no open connection {connection}")
        for client in clients:
            self._start(client, fault)

    def settings_changed(self) -> None:
        """Hold open sessions to the timeout and limits as they are now."""
        for client in self._clients.values():
            if client.playback is not None:
                self._watch_idle(client)
                self._watch_time_limit(client)

    def _start(self, client: ClientSocket, *faults: RuntimeFault) -> None:
        """Let faults act one after the other, without waiting for them."""

        async def act() -> None:
            for fault in faults:
                await client.act(fault)

        if len(faults) == 1 and client.act_at_once(faults[0]):
            return
        task = asyncio.get_running_loop().create_task(act())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up faults that are still on their way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one upgrade, and serve the websocket to its end."""
        query = request.query
        app_id = request.headers.get("X-App-ID") or query.get("appId", "")
        key = request.headers.get("X-Session-Key") or query.get(
            "sessionKey", ""
        )
        avatar_id = query.get("id", "")
        token = self._tokens.find(key)
        number = None if token is None else token.number
        self._record.token_shown(number)

        def answered(status: int | None, detail: str) -> None:
            self._record.upgrade_answered(
                status,
                detail,
                app_id=app_id,
                avatar_id=avatar_id,
                session_token=number,
            )

        fault = self._faults.next("upgrade")
        if isinstance(fault, Refuse):
            answered(fault.status, fault.detail)
            api_key = "" if token is None else token.api_key
            return refusal(fault, session_token=key, api_key=api_key)
        if isinstance(fault, Hang):
            answered(None, "hangs")
            await asyncio.Event().wait()
        if isinstance(fault, Slow):
            answered(None, f"answers in {fault.delay_s} s")
            await sleep(self._clock, fault.delay_s)

        refused = self._refuse(app_id, avatar_id, key, token)
        if refused is not None:
            status, detail = refused
            answered(status, detail)
            return error_response(status, detail=detail)
        assert token is not None

        # Taking up permessage-deflate would make the client pay many times
        # the CPU for audio that hardly compresses.
        websocket = web.WebSocketResponse(
            compress=False,
            autoclose=False,
            autoping=not self._settings.pong_delay_s,
            timeout=CLOSE_REPLY_S,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
        await websocket.prepare(request)
        connection = self._record.opened(
            app_id=app_id, avatar_id=avatar_id, session_token=token.number
        )
        client = ClientSocket(
            request,
            websocket,
            connection,
            token,
            self._record,
            self._clock,
            self._settings.pong_delay_s,
        )
        self._clients[connection.number] = client
        try:
            await self._serve(client)
        finally:
            del self._clients[connection.number]
            client.stop()
            # A cancelled handler: the server is being stopped.
            self._record.closed(connection, "server", ABNORMAL_CLOSURE)
        return websocket

    def _refuse(
        self,
        app_id: str,
        avatar_id: str,
        key: str,
        token: SessionToken | None,
    ) -> tuple[int, str] | None:
        """Status and detail with which an upgrade is refused, or None."""
        rules = self._rules
        if not app_id:
            return 400, "app id mismatch"
        if rules.app_ids is not None and app_id not in rules.app_ids:
            return 404, "app id unrecognized"
        if not key:
            return 401, "empty token"
        if token is None:
            return 401, "invalid session token"
        if token.end_s <= self._now():
            return 401, "token is expired"
        if not avatar_id or (
            rules.avatar_ids is not None and avatar_id not in rules.avatar_ids
        ):
            return 404, "avatar not found"
        return None

    async def _serve(self, client: ClientSocket) -> None:
        """Handshake, then messages, until the websocket is closed."""
        if not await self._handshake(client):
            return
        playback = client.playback
        assert playback is not None
        self._watch_idle(client)
        self._watch_time_limit(client)
        # uvloop writes at the end of a turn: the confirmation leaves now,
        # and a Reset comes behind it.
        await asyncio.sleep(0)
        await self._apply_faults(client, OnConfirm())
        settings = self._settings
        number = client.connection.number
        while (message := await client.receive()) is not None:
            if message.type == wire.AUDIO:
                body = message.client_audio_input
                audio, end = body.audio, body.end
                if audio and settings.preempts:
                    playback.supersede(body.req_id)
                delay_s = settings.playback_delay_s
                self._record.audio(
                    client.connection, body.req_id, audio, end, delay_s
                )
                client.req_id = body.req_id
                client.last_input_s = self._clock.monotonic()
                playback.audio(body.req_id, len(audio), end, delay_s)
                await self._apply_faults(client, AudioBytes(len(audio)))
                if end:
                    await self._apply_faults(client, OnEnd())
                await client.keep_pace(len(audio))
            elif message.type == wire.INTERRUPT:
                self._record.interrupt(
                    client.connection, message.client_interrupt.req_id
                )
                playback.interrupt()
                await self._apply_faults(client, OnInterrupt())
            else:
                self._record.violation(
                    f"connection {number}: a message of type {message.type}",
                    number,
                )
            self._watch_quiet(client)

    async def _apply_faults(self, client: ClientSocket, event: Trigger) -> None:
        for fault in self._faults.due(client.connection.number, event):
            await client.act(fault)

    def _watch_quiet(self, client: ClientSocket) -> None:
        """Let the faults act that wait for the client to fall silent."""
        number = client.connection.number
        now_s = self._clock.monotonic()

        def act(quiet: Quiet) -> None:
            for fault in self._faults.due(number, quiet):
                self._start(client, fault)

        for wait_s in self._faults.quiet_waits_s(number):
            client.set_timer(
                f"quiet {wait_s}",
                now_s + wait_s,
                functools.partial(act, Quiet(wait_s)),
            )

    async def _handshake(self, client: ClientSocket) -> bool:
        """Take the configuration and confirm it; False: no session."""
        message = await client.receive()
        if message is None:
            return False
        number = client.connection.number
        if message.type != wire.CONFIGURE:
            self._record.violation(
                f"connection {number}: no configuration came first", number
            )
            await client.reject("expected ClientConfigureSession message")
            return False
        client.agora_token = message.client_configure_session.agora_egress.token
        try:
            config = read_config(message, self._rules, self._now())
        except ConfigError as exc:
            await client.reject(str(exc))
            return False
        self._record.configured(client.connection, config)

        fault = self._faults.next("handshake")
        if isinstance(fault, (Close, Reset)):
            await client.act(fault)
            return False
        if isinstance(fault, ServerError):
            await client.act(fault)
            if fault.then_silent:
                await client.act(Silence())
                while await client.receive() is not None:
                    pass
                return False
            await client.close(POLICY_VIOLATION)
            return False
        if isinstance(fault, Hang):
            self._record.fault("never confirms", number)
            # Still reads, so that the client's close gets its answer.
            while await client.receive() is not None:
                pass
            return False
        if isinstance(fault, Slow):
            self._record.fault(f"{fault}", number)
            await sleep(self._clock, fault.delay_s)
        if isinstance(fault, (Stall, BlackHole)):
            await client.act(fault)
            await client.until_reading()
        if client.connection.closed_s is not None:
            return False  # meanwhile

        limit = self._settings.limits.sessions
        if limit is not None and len(self._record.live_connections) >= limit:
            await client.close(TOO_MANY_SESSIONS, f"limit of {limit} sessions")
            return False

        connection_id = f"local-{number}-{secrets.token_hex(4)}"
        capabilities = self._settings.capabilities
        client.playback = PlaybackReporter(
            client,
            config,
            self._record,
            self._clock,
            lambda: self._settings.playback_signals,
            states="playback_state" in capabilities
            and wire.knows_playback_state,
        )
        client.last_input_s = self._clock.monotonic()
        # Noted first: the client may act on the answer at once.
        self._record.confirmed(client.connection, connection_id)
        await client.send(wire.confirm(connection_id, capabilities))
        return True

    def _watch_idle(self, client: ClientSocket) -> None:
        """End a session that gets no audio for the idle timeout."""
        client.cancel_timer("idle")
        timeout_s = self._settings.idle_timeout_s
        if timeout_s is None or client.connection.closed_s is not None:
            return
        due_at_s = client.last_input_s + timeout_s
        if due_at_s > self._clock.monotonic():
            client.set_timer("idle", due_at_s, lambda: self._watch_idle(client))
            return
        text = f"no audio input for {timeout_s:g}s"
        self._start(client, ServerError(IDLE, text), Close(1000, text))

    def _watch_time_limit(self, client: ClientSocket) -> None:
        """End a session when its time is up."""
        client.cancel_timer("time limit")
        minutes = self._settings.limits.session_minutes
        confirmed_s = client.connection.confirmed_s
        if minutes is None or confirmed_s is None:
            return
        due_at_s = confirmed_s + 60 * minutes
        if due_at_s > self._clock.monotonic():
            client.set_timer(
                "time limit", due_at_s, lambda: self._watch_time_limit(client)
            )
            return
        text = f"session time limit of {minutes:g} minutes"
        self._start(client, Close(SESSION_TIME_LIMIT, text))
