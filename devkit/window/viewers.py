"""The pages that are open, each behind a queue of its own.

A page that reads too slowly loses sound first and gets a notice; one that does
not read at all is disconnected. The service never waits for any of them.
"""

import asyncio
import json
import struct
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from aiohttp import web

MAX_WAITING_SOUND_BYTES = 1_000_000
"""About 20 s of speech at 24 kHz."""

MAX_WAITING_TEXTS = 2000

# Kind, number of peaks, utterance, sample rate in Hz, milliseconds of sound
# left out; then the peaks, an even number of bytes, then the PCM.
_HEADER = struct.Struct("<BxHIII")
_SOUND = 1


@dataclass(frozen=True)
class Sound:
    """One message's audio on its way to a page."""

    utterance: int
    sample_rate: int
    """Hz."""

    peaks: bytes
    pcm: bytes

    def frame(self, *, left_out: bool = False) -> bytes:
        """The bytes for the page; with the sound `left_out` the waveform
        and how much is missing."""
        missing_ms = 0
        pcm = self.pcm
        if left_out:
            missing_ms = len(pcm) * 500 // self.sample_rate
            pcm = b""
        header = _HEADER.pack(
            _SOUND,
            len(self.peaks),
            self.utterance,
            self.sample_rate,
            missing_ms,
        )
        padding = bytes(len(self.peaks) % 2)
        return header + self.peaks + padding + pcm


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
        self._waiting: deque[str | bytes] = deque()
        self._sound_bytes = 0
        self._texts = 0
        self._is_too_slow = False
        self._woken = asyncio.Event()

    def put(self, message: "dict[str, Any] | Sound") -> None:
        """Queue a message; returns at once, whatever the page does."""
        with self._lock:
            if self._is_too_slow:
                return
            if isinstance(message, Sound):
                self._put_sound(message)
            elif self._texts < MAX_WAITING_TEXTS:
                self._texts += 1
                self._waiting.append(json.dumps(message))
            else:
                self._is_too_slow = True
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:
            pass  # the server has stopped, and the page's handler with it

    async def serve(self) -> None:
        """Send what is put, until the page is gone or far too slow."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (message := self._next()) is not None:
                if isinstance(message, str):
                    await self._websocket.send_str(message)
                else:
                    await self._websocket.send_bytes(message)
            if self._is_too_slow:
                # It connects again, and gets the state of that moment.
                await self._websocket.close(message=b"too slow")
                return

    def _put_sound(self, sound: Sound) -> None:
        room = MAX_WAITING_SOUND_BYTES - self._sound_bytes
        frame = sound.frame(left_out=room < len(sound.pcm))
        self._sound_bytes += len(frame)
        self._waiting.append(frame)
        # Even frames without sound add up when nobody reads them.
        self._is_too_slow = self._sound_bytes > 2 * MAX_WAITING_SOUND_BYTES

    def _next(self) -> str | bytes | None:
        with self._lock:
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            if isinstance(message, str):
                self._texts -= 1
            else:
                self._sound_bytes -= len(message)
            return message
