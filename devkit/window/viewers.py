"""The pages that are open, each behind a queue of its own.

A page that reads too slowly is disconnected; it connects again and gets the
state of that moment. The service never waits for any of them.
"""

import asyncio
import contextlib
import json
import threading
from collections import deque
from typing import Any

from aiohttp import web

MAX_WAITING_BYTES = 3_000_000
"""About 40 s of speech at 24 kHz, in base64."""


class Viewer:
    """One open page. `put` may be called from any thread."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._websocket = websocket
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._woken = asyncio.Event()

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message; returns at once."""
        text = json.dumps(message)
        with self._lock:
            if self._waiting_bytes > MAX_WAITING_BYTES:
                return
            self._waiting.append(text)
            self._waiting_bytes += len(text)
        with contextlib.suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._woken.set)

    async def serve(self) -> None:
        """Send the queued messages, until the page is gone or too slow."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (text := self._next()) is not None:
                await self._websocket.send_str(text)
                if self._waiting_bytes > MAX_WAITING_BYTES:
                    await self._websocket.close(message=b"too slow")
                    return

    def _next(self) -> str | None:
        with self._lock:
            if not self._waiting:
                return None
            text = self._waiting.popleft()
            if self._waiting_bytes <= MAX_WAITING_BYTES:
                self._waiting_bytes -= len(text)
            return text
