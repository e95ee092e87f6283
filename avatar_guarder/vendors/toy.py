"""The vendor of mutants/honest: JSON lines over TCP, on loopback only.

A client sends {"hello": key}, then {"audio": hex, "id": n}, {"end": n} and
{"interrupt": n}; the service says {"ready": true} or {"error": reason}.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

API_KEY = "toy-Vq8sX2nLw5Rz"


class Vendor:
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._confirmed = 0
        self._audio: dict[tuple[int, int], bytearray] = {}
        self._ends: list[tuple[int, int]] = []
        self._interrupts: list[tuple[int, int]] = []
        self._refusals = 0
        self._hangs = self._stalled = self._credits_gone = False

    @contextlib.contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        listener = socket.create_server(("127.0.0.1", 0))
        # Small, so that a client soon feels it when nothing is read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        opening = asyncio.start_server(self._serve, sock=listener)
        asyncio.run_coroutine_threadsafe(opening, self._loop).result()
        yield {"api_key": API_KEY, "port": listener.getsockname()[1]}
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()

    def confirmed(self) -> int:
        return self._confirmed

    def received(self) -> list[bytes]:
        return [bytes(audio) for audio in list(self._audio.values())]

    def ends(self) -> list[int]:
        return self._numbers(self._ends)

    def interrupts(self) -> list[int]:
        return self._numbers(self._interrupts)

    def fault(self, name: str) -> None:
        self._refusals = 2 if name == "refuse" else self._refusals
        self._hangs = self._hangs or name == "hang"
        self._stalled = self._stalled or name == "stall"
        self._credits_gone = self._credits_gone or name == "credits"
        if name in ("reset", "close", "leave", "credits"):
            self._loop.call_soon_threadsafe(self._drop, name)

    def _drop(self, name: str) -> None:
        for writer in self._writers:
            if name in ("close", "credits"):
                self._say(writer, name)
            if name == "reset":
                writer.transport.abort()
            else:
                writer.close()

    def _say(self, writer: asyncio.StreamWriter, error: str) -> None:
        writer.write(json.dumps({"error": error}).encode() + b"\n")

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            hello = json.loads(await reader.readline())
            if self._hangs:
                await asyncio.Event().wait()
            if self._refusals or self._credits_gone:
                self._refusals = max(0, self._refusals - 1)
                self._say(writer, "credits" if self._credits_gone else "busy")
            elif hello["hello"] == API_KEY:
                writer.write(b'{"ready": true}\n')
                self._writers.add(writer)
                self._confirmed += 1
                await self._record(reader, self._confirmed)
        self._writers.discard(writer)
        writer.close()

    async def _record(self, reader: asyncio.StreamReader, session: int) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "end" in message:
                self._ends.append((session, message["end"]))
            elif "interrupt" in message:
                self._interrupts.append((session, message["interrupt"]))
            else:
                key = (session, message["id"])
                audio = self._audio.setdefault(key, bytearray())
                audio += bytes.fromhex(message["audio"])
            while self._stalled:
                await asyncio.sleep(0.01)

    def _numbers(self, seen: list[tuple[int, int]]) -> list[int]:
        known = list(self._audio)
        return [known.index(u) if u in known else -1 for u in list(seen)]
