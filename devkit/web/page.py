"""The web client's server: its files, its token, and the agent's buttons."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from ..motion_server.host import Host, netloc
from ..window.button import answer, file_in, press
from ..window.feed import Feed
from ..window.performer import Performer

ADDRESS = "127.0.0.1"
"""A browser gives the microphone to pages of this machine."""

MAX_ECHO_BYTES = 30 * 48000


class WebPage:
    """Serves the folder `site` and, under /demo, the page's data.

    `settings(uid)` returns the values to join with, signed anew for each
    call; None: for a uid that nobody has. Raises ValueError.
    """

    def __init__(
        self,
        site: Path,
        settings: Callable[[int | None], dict[str, Any]],
        performer: Performer,
        feed: Feed,
    ) -> None:
        self._site = site
        self._settings = settings
        self._performer = performer
        self._feed = feed

    @contextlib.contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Serve the page on a thread of its own; yields its URL.

        Raises OSError.
        """
        host = Host(ADDRESS, public_paths=(), receive_buffer_bytes=None)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="web")

        async def start() -> int:
            await host.start(self._routes(), [port])
            host.ports[0].open()
            return host.ports[0].number

        def run(work: Awaitable[Any]) -> Any:
            async def do() -> Any:
                return await work

            return asyncio.run_coroutine_threadsafe(do(), loop).result()

        thread.start()
        try:
            yield f"http://{netloc(ADDRESS, run(start()))}/"
        finally:
            run(host.stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _routes(self) -> list[web.AbstractRouteDef]:
        buttons = self._performer.buttons()
        return [
            web.get("/demo/settings", self._get_settings),
            web.get("/demo/agent", self._get_agent),
            web.post("/demo/echo", self._echo),
            *(
                web.post(f"/demo/{name}", partial(press, button=buttons[name]))
                for name in ("speak", "barge_in")
            ),
            web.get("/{path:.*}", self._get_file),
        ]

    async def _get_settings(self, request: web.Request) -> web.Response:
        """GET /demo/settings, with ?uid=N to renew a token."""
        uid = request.query.get("uid", "")
        try:
            given = self._settings(int(uid) if uid.isdecimal() else None)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(given)

    async def _get_agent(self, _: web.Request) -> web.Response:
        session = self._feed.session
        return web.json_response(
            {
                "state": session.state,
                "error": session.problem,
                "isSpeaking": session.is_busy,
            }
        )

    async def _echo(self, request: web.Request) -> web.Response:
        """POST /demo/echo: 16-bit mono PCM at 24 kHz, to be repeated."""
        if request.content_type != "application/octet-stream":
            return web.json_response({"said": "not audio"}, status=415)
        pcm = bytearray()
        async for chunk in request.content.iter_any():
            pcm += chunk
            if len(pcm) > MAX_ECHO_BYTES:
                return web.json_response({"said": "too long"}, status=413)
        if len(pcm) < 2:
            return web.json_response({"said": "Nothing was recorded."})
        speech = bytes(pcm[: len(pcm) // 2 * 2])
        return await answer(asyncio.to_thread(self._performer.speak, speech))

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        return file_in(self._site, request.match_info["path"] or "index.html")
