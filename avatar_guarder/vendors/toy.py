"""The vendor of mutants/honest: JSON lines over TCP, on loopback only.

A client sends {"hello": key}, then {"audio": hex, "id": n}, {"end": n} and
{"interrupt": n}; the service says {"ready": true} or {"error": reason}.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

API_KEY = "toy-Vq8sX2nLw5Rz"


class Vendor:
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._sessions: list[Any] = []
        # By session and id: audio, and the marks "end" and "interrupt".
        self._audio: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self._marks: list[tuple[str, tuple[int, int]]] = []
        self._faults: Counter[str] = Counter()

    @contextlib.contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        listener = socket.create_server(("127.0.0.1", 0))
        # Small, so that a client soon feels it when nothing is read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        opening = asyncio.start_server(self._serve, sock=listener)
        asyncio.run_coroutine_threadsafe(opening, self._loop).result()
        try:
            yield {"api_key": API_KEY, "port": listener.getsockname()[1]}
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def confirmed(self) -> int:
        return len(self._sessions)

    def received(self) -> list[bytes]:
        return [bytes(audio) for audio in list(self._audio.values())]

    def ends(self) -> list[int]:
        return self._numbers("end")

    def interrupts(self) -> list[int]:
        return self._numbers("interrupt")

    def fault(self, name: str) -> None:
        self._faults[name] = 2  # "refuse" counts down
        if name not in ("refuse", "hang", "stall"):
            self._loop.call_soon_threadsafe(self._drop, name)

    def _drop(self, name: str) -> None:
        for writer in self._sessions:
            if name in ("close", "credits"):
                writer.write(b'{"error": "%s"}\n' % name.encode())
            if name == "reset":
                writer.transport.abort()
            writer.close()

    async def _serve(self, reader: Any, writer: Any) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            hello = json.loads(await reader.readline())
            if self._faults["hang"]:
                await asyncio.Event().wait()
            elif self._faults["credits"]:
                writer.write(b'{"error": "credits"}\n')
            elif self._faults["refuse"]:
                self._faults["refuse"] -= 1
                writer.write(b'{"error": "busy"}\n')
            elif hello["hello"] == API_KEY:
                writer.write(b'{"ready": true}\n')
                self._sessions.append(writer)
                await self._record(reader, len(self._sessions))
        writer.close()

    async def _record(self, reader: Any, session: int) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            for kind in {"end", "interrupt"} & message.keys():
                self._marks.append((kind, (session, message[kind])))
            if "audio" in message:
                audio = self._audio[session, message["id"]]
                audio += bytes.fromhex(message["audio"])
            if self._faults["stall"]:
                await asyncio.Event().wait()

    def _numbers(self, kind: str) -> list[int]:
        known = list(self._audio)
        marks = [key for marked, key in list(self._marks) if marked == kind]
        return [known.index(key) if key in known else -1 for key in marks]
