#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""A forward proxy on loopback, as companies have it for their workers."""

import asyncio
import contextlib
import threading
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


class Proxy:
    """Serves CONNECT and plain requests to this machine only."""

    def __init__(self) -> None:
        self.port = 0
        self.count = 0
        """How many connections came."""
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        opening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(opening, self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.count += 1
        with contextlib.suppress(OSError, ValueError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, rest = head.split(b" ", 2)
            is_tunnel = method == b"CONNECT"
            url = urlsplit(("//" if is_tunnel else "") + target.decode())
            if url.hostname not in ("127.0.0.1", "localhost", "::1"):
                writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                writer.close()
                return
            peer, back = await asyncio.open_connection(
                url.hostname, url.port or 80
            )
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = url._replace(scheme="", netloc="").geturl() or "/"
                back.write(b" ".join((method, path.encode(), rest)))
            await asyncio.gather(_copy(reader, back), _copy(peer, writer))
        writer.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
