#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""HeyGen's streaming API: four calls of REST, then JSON over a websocket.

An extension may have the address of the service in its code; `prepare` leads
the calls of the requests library here.
"""

import base64
import json
import secrets
from types import ModuleType
from typing import Any

from aiohttp import WSMsgType, web

from .web import WebVendor

API_KEY = "heygen-Rt5kW8pLq2Zx"
HOST = "https://api.heygen.com"


class Vendor(WebVendor):
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, int] = {}  # its id -> that of its websocket

    def settings(self) -> dict[str, Any]:
        return {
            "heygen_api_key": API_KEY,
            "agora_appid": "0123456789abcdef0123456789abcdef",
            "agora_appcert": "fedcba9876543210fedcba9876543210",
            "channel": "guard",
            "agora_avatar_uid": 1001,
        }

    def prepare(self, package: ModuleType) -> None:
        from requests.sessions import Session

        call = Session.request
        here = f"http://127.0.0.1:{self.port}"

        def request(self: Any, method: str, url: Any, **options: Any) -> Any:
            url = str(url).replace(HOST, here)
            return call(self, method, url, **options)

        Session.request = request  # type: ignore[method-assign]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/streaming.create_token", self._token),
            web.post("/v1/streaming.new", self._new),
            web.post("/v1/streaming.start", self._begin),
            web.post("/v1/streaming.stop", self._stop),
            web.get("/ws/{session_id}", self.serve),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        refusal = await self.attempt()
        if refusal is not None:
            return refusal
        if request.headers.get("x-api-key") != API_KEY:
            return web.json_response({"message": "Unauthorized"}, status=401)
        if self.faults["credits"]:
            return web.json_response({"message": "quota exceeded"}, status=402)
        self.issued.append(secrets.token_urlsafe(24))
        return web.json_response({"data": {"token": self.issued[-1]}})

    async def _new(self, request: web.Request) -> web.StreamResponse:
        order = await request.json()
        self.issued.append(order.get("agora_settings", {}).get("token", ""))
        session_id = secrets.token_hex(8)
        address = f"ws://127.0.0.1:{self.port}/ws/{session_id}"
        data = {"session_id": session_id, "realtime_endpoint": address}
        return web.json_response({"data": data})

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": 100})

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        session = self._sessions.get((await request.json()).get("session_id"))
        if session is None:
            return web.json_response({"message": "no session"}, status=400)
        await self.close(session, "leave")
        return web.json_response({"code": 100})

    async def converse(
        self, link: web.WebSocketResponse, session: int, request: web.Request
    ) -> None:
        self._sessions[request.match_info["session_id"]] = session
        self.confirm(link, session, request)
        async for frame in link:
            if frame.type is not WSMsgType.TEXT:
                continue
            message = json.loads(frame.data)
            kind = message.get("type")
            if kind == "agent.speak":
                self.hear(session, base64.b64decode(message["audio"]))
            elif kind == "agent.speak_end":
                self.end(session)
            elif kind == "agent.interrupt":
                self.interrupt(session)
