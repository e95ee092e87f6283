"""Spatius: a console that issues tokens, an ingress of protobuf messages.

Written from the wire alone, so that no SDK has to be installed beside the one
that the extension requires: a message is a few fields, see `Message`.
"""

import asyncio
import contextlib
import itertools
import secrets
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web

API_KEY = "Gk3vT9xQ2mLr7WzB"
APP_ID = "0123456789abcdef0123456789abcdef"
CERTIFICATE = "fedcba9876543210fedcba9876543210"

CONFIGURE, CONFIRM, AUDIO, ERROR, INTERRUPT = 1, 2, 3, 4, 7
"""Values of a message's field 1; the body of each has a field of its own."""
CONFIRM_BODY, AUDIO_BODY, ERROR_BODY, INTERRUPT_BODY = 3, 4, 5, 8

CREDITS = (4001, "credits exhausted")
# So small that an extension soon feels it when nothing is read.
RECEIVE_BUFFER_BYTES = 8192
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Utterance(NamedTuple):
    """The audio of one request, up to its end."""

    req_id: str
    audio: bytearray


class Vendor:
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._utterances: list[Utterance] = []
        self._open: dict[tuple[int, str], int] = {}
        """Session and request id -> utterance."""
        self._ends: list[int] = []
        self._interrupts: list[int] = []
        self._issued: list[str] = []
        self._sockets: dict[int, web.WebSocketResponse] = {}
        self._transports: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._attempts = self._confirmed = self._closed = 0
        self._faults: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        port = starting.result(10)
        try:
            yield {
                "spatius_api_key": API_KEY,
                "spatius_app_id": "guard-app",
                "spatius_avatar_id": "guard-avatar",
                "agora_appid": APP_ID,
                "agora_appcert": CERTIFICATE,
                "agora_channel": "guard",
                "agora_uid": 1001,
                "console_endpoint_url": f"http://127.0.0.1:{port}/v1/console",
                "ingress_endpoint_url": f"ws://127.0.0.1:{port}/v2/ingress",
            }
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def confirmed(self) -> int:
        return self._confirmed

    def received(self) -> list[bytes]:
        return [bytes(utterance.audio) for utterance in self._utterances]

    def ends(self) -> list[int]:
        return list(self._ends)

    def interrupts(self) -> list[int]:
        return list(self._interrupts)

    def attempts(self) -> int:
        return self._attempts

    def closed(self) -> int:
        return self._closed

    def secrets(self) -> list[str]:
        return list(self._issued)

    def fault(self, name: str) -> None:
        self._faults[name] = 2  # "refuse" counts down
        self._loop.call_soon_threadsafe(self._act, name)

    # On the loop's thread

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_post("/v1/console/session-tokens", self._issue)
        app.router.add_get("/v2/ingress/websocket", self._serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES
        )
        await web.SockSite(runner, listener).start()
        return listener.getsockname()[1]

    def _act(self, name: str) -> None:
        for number, link in list(self._sockets.items()):
            if name == "stall":
                self._transports[number].pause_reading()
            elif name == "reset":
                raw = self._transports[number].get_extra_info("socket")
                raw.setsockopt(
                    socket.SOL_SOCKET,
                    socket.SO_LINGER,
                    struct.pack("ii", 1, 0),
                )
                self._transports[number].abort()
            elif name in ("close", "leave", "credits"):
                self._keep(self._end(link, name))

    def _keep(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, link: web.WebSocketResponse, name: str) -> None:
        with contextlib.suppress(ConnectionError):
            if name == "credits":
                await link.send_bytes(error(*CREDITS))
                await link.close(code=CREDITS[0], message=CREDITS[1].encode())
            else:
                await link.close(code=1011 if name == "close" else 1000)

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        self._attempts += 1
        if self._faults["hang"]:
            await asyncio.Event().wait()
        if request.headers.get("X-Api-Key") != API_KEY:
            return refusal(401, "Unauthorized")
        token = secrets.token_urlsafe(24)
        self._issued.append(token)
        return web.json_response({"sessionToken": token})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._faults["hang"]:
            await asyncio.Event().wait()
        if self._faults["down"] or self._faults["refuse"]:
            self._faults["refuse"] = max(0, self._faults["refuse"] - 1)
            return refusal(503, "Service Unavailable")
        if request.headers.get("X-Session-Key") not in self._issued:
            return refusal(401, "Unauthorized")
        # Without compression: it only costs time on loopback.
        link = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, compress=False
        )
        await link.prepare(request)
        number = next(self._numbers)
        with contextlib.suppress(ConnectionError):
            await self._converse(link, number, request)
        if self._sockets.pop(number, None) is not None:
            self._closed += 1
        return link

    async def _converse(
        self, link: web.WebSocketResponse, number: int, request: web.Request
    ) -> None:
        async for frame in link:
            if frame.type is not WSMsgType.BINARY:
                continue
            message = read(frame.data)
            kind = message.number(1)
            if kind == CONFIGURE:
                egress = message.body(2).body(7)
                self._issued.append(egress.text(2))
                if self._faults["credits"]:
                    await self._end(link, "credits")
                    return
                await link.send_bytes(confirm(f"guard-{number}"))
                self._transports[number] = request.transport
                self._sockets[number] = link
                self._confirmed += 1
            elif kind == AUDIO:
                self._take(number, message.body(AUDIO_BODY))
            elif kind == INTERRUPT:
                req_id = message.body(INTERRUPT_BODY).text(1)
                self._interrupts.append(self._last(req_id))

    def _take(self, session: int, body: "Message") -> None:
        req_id, audio = body.text(1), body.data(3)
        key = (session, req_id)
        if audio:
            if key not in self._open:
                self._open[key] = len(self._utterances)
                self._utterances.append(Utterance(req_id, bytearray()))
            self._utterances[self._open[key]].audio.extend(audio)
        if body.number(2):
            self._ends.append(self._open.pop(key, self._last(req_id)))

    def _last(self, req_id: str) -> int:
        """Return the last utterance of a request, -1 for none."""
        numbers = [
            number
            for number, utterance in enumerate(self._utterances)
            if utterance.req_id == req_id
        ]
        return numbers[-1] if numbers else -1


def refusal(status: int, title: str) -> web.Response:
    """Answer with the errors object of the service."""
    return web.json_response(
        {"errors": [{"status": status, "title": title}]}, status=status
    )


# Protobuf: a message is a sequence of (number, value), where a value is an
# integer or bytes.


class Message:
    """The fields of a message; what is absent is zero, or empty."""

    def __init__(self, fields: dict[int, Any]) -> None:
        self._fields = fields

    def number(self, field: int) -> int:
        value = self._fields.get(field, 0)
        return value if isinstance(value, int) else 0

    def data(self, field: int) -> bytes:
        value = self._fields.get(field, b"")
        return value if isinstance(value, bytes) else b""

    def text(self, field: int) -> str:
        return self.data(field).decode(errors="replace")

    def body(self, field: int) -> "Message":
        return read(self.data(field))


def read(data: bytes) -> Message:
    """Return the fields of a message."""
    fields: dict[int, Any] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            fields[tag >> 3], at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            fields[tag >> 3] = bytes(data[at : at + size])
            at += size
        else:
            at += 8 if kind == 1 else 4
    return Message(fields)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def write(*fields: tuple[int, int | bytes]) -> bytes:
    """Return a message of these fields."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, bytes):
            _put(out, number << 3 | 2)
            _put(out, len(value))
            out += value
        else:
            _put(out, number << 3)
            _put(out, value)
    return bytes(out)


def _put(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def confirm(connection_id: str) -> bytes:
    """Return the message that confirms a session."""
    body = write((1, connection_id.encode()))
    return write((1, CONFIRM), (CONFIRM_BODY, body))


def error(code: int, text: str) -> bytes:
    """Return an error message."""
    body = write((3, code), (4, text.encode()))
    return write((1, ERROR), (ERROR_BODY, body))
