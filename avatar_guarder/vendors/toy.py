#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The vendor of mutants/honest: JSON lines over TCP, on loopback only.

A client sends {"hello": key}, then {"audio": hex, "id": n}, {"end": n} and
{"interrupt": n}; the service says {"ready": token} or {"error": reason}.
"""

import asyncio
import contextlib
import json
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

API_KEY = "toy-Vq8sX2nLw5Rz"


class Vendor:
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._sessions: list[Any] = []
        self._tokens: list[str] = []
        self._audio: list[bytearray] = []
        self._open: dict[Any, int] = {}  # an id of an utterance -> its number
        self._marks: list[tuple[str, int]] = []
        self._attempts = self._closed = 0
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
        return [bytes(audio) for audio in self._audio]

    def ends(self) -> list[int]:
        return [number for kind, number in list(self._marks) if kind == "end"]

    def interrupts(self) -> list[int]:
        return [number for kind, number in list(self._marks) if kind != "end"]

    def attempts(self) -> int:
        return self._attempts

    def closed(self) -> int:
        return self._closed

    def secrets(self) -> list[str]:
        return list(self._tokens)

    def fault(self, name: str) -> None:
        self._faults[name] = 2  # "refuse" counts down
        self._loop.call_soon_threadsafe(self._act, name)

    def _act(self, name: str) -> None:
        for writer in self._sessions:
            if name == "stall":
                writer.transport.pause_reading()
            elif name == "reset":
                writer.transport.abort()
            elif name in ("close", "leave", "credits"):
                if name != "leave":
                    writer.write(b'{"error": "%s"}\n' % name.encode())
                writer.close()

    async def _serve(self, reader: Any, writer: Any) -> None:
        self._attempts += 1
        with contextlib.suppress(ConnectionError, ValueError):
            hello = json.loads(await reader.readline())
            if self._faults["hang"]:
                await asyncio.Event().wait()
            if reason := self._refusal(hello):
                writer.write(b'{"error": "%s"}\n' % reason.encode())
            else:
                self._tokens.append(secrets.token_hex(8))
                writer.write(b'{"ready": "%s"}\n' % self._tokens[-1].encode())
                self._sessions.append(writer)
                await self._record(reader, len(self._sessions))
        self._closed += writer in self._sessions
        writer.close()

    def _refusal(self, hello: dict[str, Any]) -> str:
        if self._faults["credits"]:
            return "credits"
        if self._faults["down"] or self._faults["refuse"] > 0:
            self._faults["refuse"] -= 1
            return "busy"
        return "" if hello["hello"] == API_KEY else "key"

    async def _record(self, reader: Any, session: int) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "audio" in message:
                key = session, message["id"]
                if key not in self._open:
                    self._open[key] = len(self._audio)
                    self._audio.append(bytearray())
                audio = bytes.fromhex(message["audio"])
                self._audio[self._open[key]] += audio[: len(audio) // 2 * 2]
            for kind in {"end", "interrupt"} & message.keys():
                take = self._open.pop if kind == "end" else self._open.get
                self._marks.append((kind, take((session, message[kind]), -1)))
