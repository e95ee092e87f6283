#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The common part of fakes of vendors with HTTP and a websocket."""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiohttp import web

# So small that an extension soon feels it when nothing is read.
RECEIVE_BUFFER_BYTES = 8192
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class WebVendor:
    """Serves HTTP on loopback, records, and fails on demand.

    A fake adds `routes` and `settings`, calls `serve` for its websocket, has
    `converse` read it, and calls the methods that record. Its handlers run on
    a loop of their own; the calls of `avatar_guarder.vendor` come from others.
    """

    def __init__(self) -> None:
        self.port = 0
        self.faults: Counter[str] = Counter()
        self.issued: list[str] = []
        """Tokens that were signed or issued."""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._audio: list[bytearray] = []
        self._open: dict[Any, int] = {}
        self._ends: list[int] = []
        self._interrupts: list[int] = []
        self._links: dict[int, tuple[web.WebSocketResponse, Any]] = {}
        self._numbers = itertools.count(1)
        self._attempts = self._confirmed = self._closed = 0

    # To be added by a fake

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the service."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the properties that lead an extension here."""
        raise NotImplementedError

    async def converse(
        self, link: web.WebSocketResponse, session: int, request: web.Request
    ) -> None:
        """Read a websocket to its end."""

    async def end_session(self, link: web.WebSocketResponse, why: str) -> None:
        """End a session for a fault: close, leave or credits."""
        await link.close(code=1000 if why == "leave" else 1011)

    # The calls of `avatar_guarder.vendor.Vendor`

    @contextlib.contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        try:
            yield self.settings()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def confirmed(self) -> int:
        return self._confirmed

    def received(self) -> list[bytes]:
        return [bytes(audio) for audio in self._audio]

    def ends(self) -> list[int]:
        return list(self._ends)

    def interrupts(self) -> list[int]:
        return list(self._interrupts)

    def attempts(self) -> int:
        return self._attempts

    def closed(self) -> int:
        return self._closed

    def secrets(self) -> list[str]:
        return list(self.issued)

    def fault(self, name: str) -> None:
        self.faults[name] = 2  # "refuse" counts down
        self._loop.call_soon_threadsafe(self._act, name)

    # Recording; called by a fake on the loop's thread

    async def attempt(self) -> web.Response | None:
        """Count an attempt to connect; return the refusal that is due."""
        self._attempts += 1
        if self.faults["down"] or self.faults["refuse"]:
            self.faults["refuse"] = max(0, self.faults["refuse"] - 1)
            return web.Response(status=503, text="overloaded")
        return None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take a websocket and serve it to its end."""
        # Without compression: it only costs time on loopback.
        link = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, compress=False
        )
        await link.prepare(request)
        session = next(self._numbers)
        with contextlib.suppress(ConnectionError):
            await self.converse(link, session, request)
        if self._links.pop(session, None) is not None:
            self._closed += 1
        return link

    def confirm(
        self, link: web.WebSocketResponse, session: int, request: web.Request
    ) -> None:
        self._links[session] = link, request.transport
        self._confirmed += 1

    def hear(self, utterance: Any, audio: bytes) -> None:
        """Record a message's audio; `utterance` names it among the open.

        Half a sample is lost: the next message begins with another one.
        """
        if utterance not in self._open:
            self._open[utterance] = len(self._audio)
            self._audio.append(bytearray())
        self._audio[self._open[utterance]] += audio[: len(audio) // 2 * 2]

    def end(self, utterance: Any) -> None:
        self._ends.append(self._open.pop(utterance, -1))

    def interrupt(self, utterance: Any) -> None:
        self._interrupts.append(self._open.get(utterance, -1))

    async def close(self, session: int, why: str) -> None:
        """End a session."""
        if session in self._links:
            with contextlib.suppress(ConnectionError):
                await self.end_session(self._links[session][0], why)

    @web.middleware
    async def _hang(
        self, request: web.Request, handler: Any
    ) -> web.StreamResponse:
        if self.faults["hang"]:
            await asyncio.Event().wait()
        return await handler(request)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._hang])
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES
        )
        await web.SockSite(runner, listener).start()
        self.port = listener.getsockname()[1]

    def _act(self, name: str) -> None:
        for session, (_, transport) in list(self._links.items()):
            if name == "stall":
                transport.pause_reading()
            elif name == "reset":
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()
            elif name in ("close", "leave", "credits"):
                task = self._loop.create_task(self.close(session, name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
