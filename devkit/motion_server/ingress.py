"""The ingress: one websocket per avatar session."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from . import wire
from .agora import (
    AgoraTokenError,
    check_channel,
    check_token,
    parse_token,
)
from .console import SessionToken, SessionTokens, error_response, fill, refusal
from .faults import (
    Animate,
    Close,
    Faults,
    Hang,
    Refuse,
    Reset,
    Resume,
    RuntimeFault,
    ServerError,
    Silence,
    Slow,
    SlowReader,
    Stall,
)
from .record import Connection, Record, SessionConfig

# Hz; the list of the real service.
SAMPLE_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)

# gRPC's INVALID_ARGUMENT, which the real service sends for a configuration
# that it does not take.
INVALID_ARGUMENT = 3
# Close codes of RFC 6455.
UNSUPPORTED_DATA = 1003
ABNORMAL_CLOSURE = 1006
POLICY_VIOLATION = 1008

# How long the client may take to answer a close frame of ours.
CLOSE_REPLY_S = 2.0
# One message of the SDK holds what one send_audio() was given; this is five
# minutes of PCM at 24 kHz.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# RFC 6455 lets a control frame hold 125 bytes, two of which are the code.
MAX_CLOSE_REASON_BYTES = 123


class ConfigError(ValueError):
    """A session configuration that the service does not take."""


@dataclass(frozen=True)
class Rules:
    """What the service knows of its customers. None: takes anybody."""

    app_ids: Collection[str] | None = None
    avatar_ids: Collection[str] | None = None
    # Agora App ID -> App Certificate. Empty: tokens of other versions than
    # 006 are taken unread.
    certificates: Mapping[str, str] | None = None
    # Hz.
    sample_rates: Collection[int] = SAMPLE_RATES

    def __repr__(self) -> str:
        return f"<Rules certificates={len(self.certificates or {})}>"


def read_config(message: Any, rules: Rules, now_s: float) -> SessionConfig:
    """Check client_configure_session. Raises ConfigError.

    `now_s` is epoch seconds. The texts of the errors are worded so that the
    SDK classifies them like those of the real service.
    """
    body = message.client_configure_session
    if body.HasField("livekit_egress"):
        raise ConfigError("livekit_egress: only agora is served here")
    if not body.HasField("agora_egress") or body.egress_type != wire.AGORA:
        raise ConfigError("agora_egress: is missing")
    if body.sample_rate not in rules.sample_rates:
        raise ConfigError(f"unsupported sample rate {body.sample_rate}")
    egress = body.agora_egress
    certificates = rules.certificates or {}
    app_id = ""
    end_s = None
    try:
        check_channel(egress.channel_name)
        if egress.token.startswith("006") or certificates or not egress.token:
            token = parse_token(egress.token)
            check_token(
                token,
                channel=egress.channel_name,
                uid=egress.uid,
                now_s=now_s,
                certificate=certificates.get(token.app_id),
            )
            app_id, end_s = token.app_id, token.end_s
    except AgoraTokenError as exc:
        raise ConfigError(f"agora_egress: {exc}") from exc
    return SessionConfig(
        sample_rate=body.sample_rate,
        audio_format=wire.audio_format(body.audio_format),
        bitrate=body.bitrate,
        channel=egress.channel_name,
        uid=egress.uid,
        publisher_id=egress.publisher_id,
        agora_token=egress.token,
        agora_app_id=app_id,
        agora_token_end_s=end_s,
    )


class Ingress:
    """Answers websocket upgrades at {ingress}/websocket."""

    def __init__(
        self,
        record: Record,
        faults: Faults,
        tokens: SessionTokens,
        *,
        rules: Rules,
        now: Callable[[], float],
    ) -> None:
        self._record = record
        self._faults = faults
        self._tokens = tokens
        self._rules = rules
        self._now = now
        # Connection number -> the open connection.
        self._links: dict[int, _Link] = {}
        # Faults on their way; the loop itself holds tasks only weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Ingress links={len(self._links)}>"

    def now(self, fault: RuntimeFault, connection: int | None) -> None:
        """Begin a fault on one open connection, or on all of them.

        To be called on the server's loop. What needs no answer from the
        client (Reset, Stall, ...) is done on return. Raises KeyError.
        """
        if connection is None:
            links = list(self._links.values())
        elif connection in self._links:
            links = [self._links[connection]]
        else:
            raise KeyError(f"no open connection {connection}")
        for link in links:
            if link.act_at_once(fault):
                continue
            task = asyncio.get_running_loop().create_task(link.act(fault))
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

        def note(status: int | None, detail: str) -> None:
            self._record.upgrade_answered(
                status,
                detail,
                app_id=app_id,
                avatar_id=avatar_id,
                session_token=number,
            )

        fault = self._faults.next_upgrade()
        if isinstance(fault, Refuse):
            note(fault.status, fault.detail)
            api_key = "" if token is None else token.api_key
            return refusal(fault, session_token=key, api_key=api_key)
        if isinstance(fault, Hang):
            note(None, "hangs")
            await asyncio.Event().wait()
        if isinstance(fault, Slow):
            note(None, f"answers in {fault.delay_s} s")
            await asyncio.sleep(fault.delay_s)

        refused = self._refuse(app_id, avatar_id, key, token)
        if refused is not None:
            status, detail = refused
            note(status, detail)
            return error_response(status, detail=detail)
        assert token is not None

        # Taking up permessage-deflate would make the client pay many times
        # the CPU for audio that hardly compresses.
        websocket = web.WebSocketResponse(
            compress=False,
            autoclose=False,
            timeout=CLOSE_REPLY_S,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
        await websocket.prepare(request)
        connection = self._record.opened(
            app_id=app_id, avatar_id=avatar_id, session_token=token.number
        )
        link = _Link(request, websocket, connection, token, self._record)
        self._links[connection.number] = link
        try:
            await self._serve(link)
        finally:
            del self._links[connection.number]
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

    async def _serve(self, link: "_Link") -> None:
        """Handshake, then messages, until the websocket is closed."""
        if not await self._shake_hands(link):
            return
        number = link.connection.number
        while (message := await link.receive()) is not None:
            if message.type == wire.AUDIO:
                body = message.client_audio_input
                audio, end = body.audio, body.end
                self._record.audio(link.connection, body.req_id, audio, end)
                link.req_id = body.req_id
                await self._strike(link, "audio", len(audio))
                if end:
                    await self._strike(link, "end")
                await link.keep_pace(len(audio))
            elif message.type == wire.INTERRUPT:
                self._record.interrupt(
                    link.connection, message.client_interrupt.req_id
                )
                await self._strike(link, "interrupt")
            else:
                self._record.violation(
                    f"connection {number}: a message of type {message.type}",
                    number,
                )

    async def _strike(
        self, link: "_Link", seen: str, audio_bytes: int = 0
    ) -> None:
        number = link.connection.number
        for fault in self._faults.due(number, seen, audio_bytes):
            await link.act(fault)

    async def _shake_hands(self, link: "_Link") -> bool:
        """Take the configuration and confirm it; False: no session."""
        message = await link.receive()
        if message is None:
            return False
        number = link.connection.number
        if message.type != wire.CONFIGURE:
            self._record.violation(
                f"connection {number}: no configuration came first", number
            )
            await link.reject("expected ClientConfigureSession message")
            return False
        link.agora_token = message.client_configure_session.agora_egress.token
        try:
            config = read_config(message, self._rules, self._now())
        except ConfigError as exc:
            await link.reject(str(exc))
            return False
        self._record.configured(link.connection, config)

        fault = self._faults.next_handshake()
        if isinstance(fault, (Close, Reset)):
            await link.act(fault)
            return False
        if isinstance(fault, ServerError):
            await link.act(fault)
            if fault.then_silent:
                await link.act(Silence())
                while await link.receive() is not None:
                    pass
                return False
            await link.close(POLICY_VIOLATION)
            return False
        if isinstance(fault, Hang):
            self._record.fault("never confirms", number)
            # Still reads, so that the client's close gets its answer.
            while await link.receive() is not None:
                pass
            return False
        if isinstance(fault, Slow):
            self._record.fault(f"{fault}", number)
            await asyncio.sleep(fault.delay_s)

        connection_id = f"local-{number}-{secrets.token_hex(4)}"
        # Noted first: the client may act on the answer at once.
        self._record.confirmed(link.connection, connection_id)
        await link.send(wire.confirm(connection_id))
        return True


class _Link:
    """The socket of one connection, and the faults that act on it."""

    def __init__(
        self,
        request: web.Request,
        websocket: web.WebSocketResponse,
        connection: Connection,
        token: SessionToken,
        record: Record,
    ) -> None:
        self.connection = connection
        # The latest request's id.
        self.req_id = ""
        self.agora_token = ""
        self._request = request
        self._websocket = websocket
        self._token = token
        self._record = record
        # Set while the server reads from the socket.
        self._reading = asyncio.Event()
        self._reading.set()
        # Set when it will never do so again.
        self._silent = False
        # Stalls are numbered, so that the end of one that lasts `for_s`
        # does not end a later one.
        self._stalls = itertools.count(1)
        self._stall = 0
        self._bytes_per_s: float | None = None

    async def receive(self) -> Any:
        """The next protobuf message; None when there are no more."""
        while True:
            if not self._reading.is_set():
                await self._reading.wait()
            frame = await self._websocket.receive()
            if not self._reading.is_set():
                # A close frame may have slipped through just before.
                await self._reading.wait()
            if frame.type is WSMsgType.BINARY:
                try:
                    return wire.parse(frame.data)
                except wire.DecodeError:
                    await self._refuse_data("a message that is no protobuf")
            elif frame.type is WSMsgType.TEXT:
                await self._refuse_data("a text message")
            elif frame.type is WSMsgType.CLOSE:
                code = frame.data or 1000
                self._record.closed(
                    self.connection, "client", code, frame.extra or ""
                )
                with contextlib.suppress(ConnectionError):
                    await self._websocket.close(code=code)
                return None
            else:
                # TCP ended without a close frame, or we closed.
                self._record.closed(self.connection, "client", ABNORMAL_CLOSURE)
                return None

    async def send(self, data: bytes) -> None:
        """Send a message; a connection that is gone does not matter."""
        with contextlib.suppress(ConnectionError):
            await self._websocket.send_bytes(data)

    async def reject(self, text: str) -> None:
        """Refuse the session configuration, then close."""
        self._record.rejected(self.connection, INVALID_ARGUMENT, text)
        await self.send(wire.server_error(INVALID_ARGUMENT, text))
        await self.close(POLICY_VIOLATION)

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and wait a little for the answer."""
        self._resume()
        data = self._fill(reason).encode()[:MAX_CLOSE_REASON_BYTES]
        self._record.closed(self.connection, "server", code, reason)
        with contextlib.suppress(ConnectionError):
            await self._websocket.close(code=code, message=data)

    async def keep_pace(self, size: int) -> None:
        """Wait as long as a slow reader takes for `size` bytes."""
        if self._bytes_per_s:
            await asyncio.sleep(size / self._bytes_per_s)

    async def act(self, fault: RuntimeFault) -> None:
        """Let a fault act to its end."""
        if self.act_at_once(fault):
            return
        self._record.fault(f"{fault}", self.connection.number)
        if isinstance(fault, Close):
            await self.close(fault.code, fault.reason)
        elif isinstance(fault, ServerError):
            await self.send(
                wire.server_error(
                    fault.code,
                    self._fill(fault.message),
                    connection_id=self.connection.connection_id,
                    req_id=self.req_id,
                )
            )
        elif isinstance(fault, Animate):
            await self.send(
                wire.animation(
                    self.connection.connection_id,
                    self.req_id,
                    end=fault.end,
                )
            )

    def act_at_once(self, fault: RuntimeFault) -> bool:
        """Let a fault act that needs no sending; False: it is none."""
        if not isinstance(fault, (Reset, Stall, Silence, Resume, SlowReader)):
            return False
        self._record.fault(f"{fault}", self.connection.number)
        if isinstance(fault, Reset):
            self._reset()
        elif isinstance(fault, Stall):
            self._stop_reading()
            if fault.for_s is not None:
                asyncio.get_running_loop().call_later(
                    fault.for_s, self._resume, self._stall
                )
        elif isinstance(fault, Silence):
            self._silent = True
            self._stop_reading()
        elif isinstance(fault, SlowReader):
            self._bytes_per_s = fault.bytes_per_s
        else:
            self._bytes_per_s = None
            self._resume()
        return True

    def _stop_reading(self) -> None:
        self._stall = next(self._stalls)
        self._reading.clear()
        self._record.stalled(self.connection, True)
        transport = self._request.transport
        if transport is not None:
            # Without this the library would go on reading into a queue.
            transport.pause_reading()

    def _resume(self, stall: int | None = None) -> None:
        """Read on, unless for good silent or meanwhile in a later stall."""
        if self._silent or self._reading.is_set():
            return
        if stall is not None and stall != self._stall:
            return
        self._reading.set()
        self._record.stalled(self.connection, False)
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def _reset(self) -> None:
        self._record.closed(self.connection, "server", ABNORMAL_CLOSURE)
        transport = self._request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        # Linger on, for zero seconds: close() sends an RST and forgets what
        # was still to be sent.
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
        # A stalled handler has to see the end.
        self._silent = False
        self._reading.set()

    def _fill(self, text: str) -> str:
        return fill(
            text,
            api_key=self._token.api_key,
            session_token=self._token.text,
            agora_token=self.agora_token,
        )

    async def _refuse_data(self, what: str) -> None:
        number = self.connection.number
        self._record.violation(f"connection {number}: {what}", number)
        await self.close(UNSUPPORTED_DATA)
