"""The page and its backend, as routes of a Motion Server.

The server itself keeps pages from elsewhere away, see its guard.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from ..motion_server import MotionServer, wire
from .button import Button, Refused
from .faults import FaultButtons
from .feed import Feed
from .viewers import Viewer

STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
}

# No other page may frame this one and have its buttons clicked.
_HEADERS = {
    "Cache-Control": "no-cache",
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
        faults = FaultButtons(server, self.feed)
        for name, press in faults.buttons().items():
            self._buttons[name] = _at_once(press)
        self.feed.show(
            has_signals=server.playback_signals is not None,
            preempts=server.preempts,
        )
        self.feed.attach(server.record)

    def put_on_stage(self, buttons: dict[str, Button]) -> None:
        """Add the buttons of an extension that is hosted here."""
        self._has_stage = True
        self._buttons.update(buttons)

    # Handlers.

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        path = STATIC / request.match_info.get("name", "index.html")
        if path.parent != STATIC or not path.is_file():
            raise web.HTTPNotFound
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        return web.FileResponse(
            path, headers={**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}
        )

    async def _press(self, request: web.Request) -> web.Response:
        """POST /window/do/{button}, answered with a sentence about it."""
        if request.content_type != "application/json":
            # Any web page could send a form here, but not JSON.
            return web.json_response({"said": "not JSON"}, status=415)
        button = self._buttons.get(request.match_info["name"])
        if button is None:
            return web.json_response({"said": "no such button"}, status=404)
        try:
            return web.json_response({"said": await button(), "done": True})
        except Refused as refused:
            # No error status: browsers log those as faults of the page.
            return web.json_response({"said": str(refused), "done": False})

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


def _at_once(press: Callable[[], str]) -> Button:
    async def button() -> str:
        return press()

    return button
