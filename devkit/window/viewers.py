"""The pages that are open, each behind a queue of its own.

A page that reads too slowly is disconnected; it connects again and gets the
state of that moment. The service never waits for any of them.
"""

import asyncio
import contextlib
import json
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
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._waiting_bytes = 0
        self._is_too_slow = False

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message; returns at once."""
        with contextlib.suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._queue, json.dumps(message))

    async def serve(self) -> None:
        """Send the queued messages, until the page is gone or too slow."""
        while not self._is_too_slow:
            text = await self._waiting.get()
            await self._websocket.send_str(text)
            self._waiting_bytes -= len(text)
        await self._websocket.close(message=b"too slow")

    def _queue(self, text: str) -> None:
        self._is_too_slow |= self._waiting_bytes > MAX_WAITING_BYTES
        if not self._is_too_slow:
            self._waiting.put_nowait(text)
            self._waiting_bytes += len(text)
