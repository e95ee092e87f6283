#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Spatius: a console that issues tokens, an ingress of protobuf messages.

Written from the wire alone, so that no SDK has to be installed beside the one
that the extension requires: a message is a few fields, see `Message`.
"""

import secrets
from typing import Any

from aiohttp import WSMsgType, web

from .web import WebVendor

API_KEY = "Gk3vT9xQ2mLr7WzB"
APP_ID = "0123456789abcdef0123456789abcdef"
CERTIFICATE = "fedcba9876543210fedcba9876543210"

CONFIGURE, CONFIRM, AUDIO, ERROR, INTERRUPT = 1, 2, 3, 4, 7
"""Values of a message's field 1; the body of each has a field of its own."""
CONFIGURE_BODY, CONFIRM_BODY, AUDIO_BODY, ERROR_BODY = 2, 3, 4, 5
INTERRUPT_BODY, AGORA_EGRESS = 8, 7

CREDITS = 4001, "credits exhausted"


class Vendor(WebVendor):
    """See `avatar_guarder.vendor.Vendor`."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/console/session-tokens", self._issue),
            web.get("/v2/driveningress/websocket", self._upgrade),
        ]

    def settings(self) -> dict[str, Any]:
        at = f"127.0.0.1:{self.port}"
        return {
            "spatius_api_key": API_KEY,
            "spatius_app_id": "guard-app",
            "spatius_avatar_id": "guard-avatar",
            "agora_appid": APP_ID,
            "agora_appcert": CERTIFICATE,
            "agora_channel": "guard",
            "agora_uid": 1001,
            "console_endpoint_url": f"http://{at}/v1/console",
            "ingress_endpoint_url": f"ws://{at}/v2/driveningress",
        }

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        refusal = await self.attempt()
        if refusal is not None:
            return refusal
        if request.headers.get("X-Api-Key") != API_KEY:
            title = {"status": 401, "title": "Unauthorized"}
            return web.json_response({"errors": [title]}, status=401)
        self.issued.append(secrets.token_urlsafe(24))
        return web.json_response({"sessionToken": self.issued[-1]})

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-Session-Key") not in self.issued:
            return web.Response(status=401)
        return await self.serve(request)

    async def converse(
        self, link: web.WebSocketResponse, session: int, request: web.Request
    ) -> None:
        async for frame in link:
            if frame.type is not WSMsgType.BINARY:
                continue
            message = read(frame.data)
            kind = message.number(1)
            if kind == CONFIGURE:
                egress = message.body(CONFIGURE_BODY).body(AGORA_EGRESS)
                self.issued.append(egress.text(2))
                if self.faults["credits"]:
                    await self.end_session(link, "credits")
                    return
                await link.send_bytes(confirmation(f"guard-{session}"))
                self.confirm(link, session, request)
            elif kind == AUDIO:
                self._take(session, message.body(AUDIO_BODY))
            elif kind == INTERRUPT:
                self.interrupt((session, message.body(INTERRUPT_BODY).text(1)))

    def _take(self, session: int, body: "Message") -> None:
        utterance = session, body.text(1)
        if body.data(3):
            self.hear(utterance, body.data(3))
        if body.number(2):
            self.end(utterance)

    async def end_session(self, link: web.WebSocketResponse, why: str) -> None:
        if why == "credits":
            await link.send_bytes(error(*CREDITS))
            await link.close(code=CREDITS[0], message=CREDITS[1].encode())
        else:
            await super().end_session(link, why)


# Protobuf: a message is a sequence of numbered fields, whose values here are
# integers or bytes.


class Message:
    """The fields of a message; one that is absent is zero, or empty."""

    def __init__(self, fields: dict[int, int | bytes]) -> None:
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
    fields: dict[int, int | bytes] = {}
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


def confirmation(connection_id: str) -> bytes:
    """Return the message that confirms a session."""
    body = write((1, connection_id.encode()))
    return write((1, CONFIRM), (CONFIRM_BODY, body))


def error(code: int, text: str) -> bytes:
    """Return an error message."""
    body = write((3, code), (4, text.encode()))
    return write((1, ERROR), (ERROR_BODY, body))
