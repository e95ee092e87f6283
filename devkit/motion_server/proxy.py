"""A network between client and service: forwards TCP, some time later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .clock import Clock, MachineClock, sleep

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK_BYTES = 64 * 1024
# Chunks on their way; beyond it the sender waits.
_MAX_CHUNKS = 256


class DelayingProxy:
    """Forwards to a port of this machine, every byte `delay_ms` later.

        async with DelayingProxy(server.port, delay_ms=50) as proxy:
            proxy.url(server.ingress_url)

    That is a round trip of 100 ms. A connection to the proxy itself is open at
    once, so the round trip that opens it is added to its first bytes. For a
    console that takes 300 ms more: `server.faults.console(Slow(0.3),
    times=None)`.
    """

    def __init__(
        self,
        target_port: int,
        *,
        delay_ms: float,
        host: str = "127.0.0.1",
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        # 0 until it is open.
        self.port = 0
        self.delay_ms = delay_ms
        self._target_port = target_port
        self._clock = MachineClock() if clock is None else clock
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, url: str) -> str:
        """The same URL by way of the proxy."""
        return (
            urlsplit(url)._replace(netloc=f"{self.host}:{self.port}").geturl()
        )

    async def start(self) -> None:
        """Open a free port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.get_running_loop().create_task(
            self._forward(reader, writer)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            target = await asyncio.open_connection(
                "127.0.0.1", self._target_port
            )
        except OSError:
            writer.transport.abort()
            return
        delay_s = self.delay_ms / 1000
        try:
            # A reset by either side ends the connection to the other one.
            await _together(
                self._pipe(reader, target[1], delay_s, extra_s=2 * delay_s),
                self._pipe(target[0], writer, delay_s),
            )
        except ConnectionError:
            pass
        finally:
            for one in (writer, target[1]):
                one.transport.abort()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay_s: float,
        *,
        extra_s: float = 0,
    ) -> None:
        """Pass on all data, then the end of it. Raises ConnectionError."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_CHUNKS)
        began_s = self._clock.monotonic()

        async def read() -> None:
            data = b"-"
            while data:
                data = await reader.read(_CHUNK_BYTES)
                now_s = self._clock.monotonic()
                due_s = max(now_s, began_s + extra_s) + delay_s
                await chunks.put((due_s, data))

        async def write() -> None:
            while True:
                due_s, data = await chunks.get()
                await sleep(self._clock, due_s - self._clock.monotonic())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        await _together(read(), write())


async def _together(*parts: Awaitable[None]) -> None:
    """Run parts to their ends; an error of one of them ends them all."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
