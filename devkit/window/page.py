"""The page and its backend, as routes of a Motion Server.

The server itself keeps pages from elsewhere away, see its guard.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from ..motion_server import MotionServer, wire
from .button import Button, file_in, press
from .faults import FaultButtons
from .feed import Feed
from .viewers import Viewer

STATIC = Path(__file__).parent / "static"

# No other page may frame this one and have its buttons clicked.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Window:
    """Shows a Motion Server to a browser.

        window = Window()
        server = MotionServer(routes=window.routes)
        window.attach(server)

    The page is at `/` of the server.
    """

    def __init__(self, command: str = "bin/motion-server") -> None:
        """`command` starts the server again."""
        self.feed = Feed()
        self._command = command
        self._server: MotionServer | None = None
        self._buttons: dict[str, Button] = {}
        self._has_stage = False

    @property
    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The routes for the server to serve beside its own."""
        return [
            web.get("/", self._get_file),
            web.get("/window/live", self._live),
            web.post("/window/do/{name}", self._press),
            web.get("/window/{name}", self._get_file),
        ]

    def attach(self, server: MotionServer) -> None:
        """Show the events of this server, from its beginning."""
        self._server = server
        self._buttons |= FaultButtons(server, self.feed).buttons()
        self.feed.show(
            has_signals=server.playback_signals is not None,
            preempts=server.preempts,
        )
        self.feed.attach(server.record)

    def put_on_stage(self, buttons: dict[str, Button]) -> None:
        """Add the buttons of an extension that is hosted here."""
        self._has_stage = True
        self._buttons |= buttons

    # Handlers.

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        return file_in(STATIC, name, _HEADERS)

    async def _press(self, request: web.Request) -> web.Response:
        """POST /window/do/{button}."""
        return await press(
            request, self._buttons.get(request.match_info["name"])
        )

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """The websocket over which a page gets everything."""
        # Compression would cost more than it saves on one machine.
        websocket = web.WebSocketResponse(compress=False, heartbeat=20)
        await websocket.prepare(request)
        viewer = Viewer(websocket, asyncio.get_running_loop())
        self.feed.subscribe(viewer, self._about(request))
        sending = asyncio.create_task(viewer.serve())
        try:
            async for message in websocket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self.feed.unsubscribe(viewer)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending
        return websocket

    def _about(self, request: web.Request) -> dict[str, Any]:
        assert self._server is not None
        # By the name under which the page reaches it: the server may listen
        # on an address that is none, such as 0.0.0.0.
        console = urlsplit(self._server.console_url)
        ingress = urlsplit(self._server.ingress_url)
        return {
            "hasStage": self._has_stage,
            "command": self._command,
            "sdk": f"{wire.sdk_name} {metadata.version(wire.sdk_name)}",
            "urls": {
                "console_endpoint_url": f"http://{request.host}{console.path}",
                "ingress_endpoint_url": f"ws://{request.host}{ingress.path}",
            },
        }


def page_url(server: MotionServer) -> str:
    """Where the page of a running server is."""
    return f"{server.base_url}/"
