"""Serves routes on ports of their own; hanging handlers do not block it."""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from .guard import refusal

# How long another thread waits for the server's loop to do something short.
_CALL_TIMEOUT_S = 30.0
# Handlers are cancelled before the library gets to wait for them; zero would
# mean "indefinitely" to it.
_SHUTDOWN_TIMEOUT_S = 0.1


_BACKLOG = 512
# Host -> family, an address in a range for documentation, and loopback.
_WILDCARDS = {
    "0.0.0.0": (socket.AF_INET, "192.0.2.1", "127.0.0.1"),
    "::": (socket.AF_INET6, "2001:db8::1", "::1"),
}


def netloc(host: str, number: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{number}" if _is_ipv6(host) else f"{host}:{number}"


def reachable_address(host: str) -> str:
    """Return an address at which others reach a server at `host`.

    For 0.0.0.0 and ::, which are no addresses of any machine, this is the one
    from which this machine reaches others, or loopback.
    """
    if host not in _WILDCARDS:
        return host
    family, elsewhere, loopback = _WILDCARDS[host]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            # Sends nothing: a datagram socket only chooses its own address.
            sock.connect((elsewhere, 9))
        except OSError:
            return loopback
        return sock.getsockname()[0]


def _is_ipv6(host: str) -> bool:
    return ":" in host


class Port:
    """Takes connections of a server while it is open.

    `number` is 0 until it is first open, if any free one was asked for.
    """

    def __init__(
        self,
        host: str,
        number: int,
        factory: Callable[[], Any],
        receive_buffer_bytes: int | None,
    ) -> None:
        self.number = number
        self._host = host
        self._factory = factory
        self._receive_buffer_bytes = receive_buffer_bytes
        self._socket: socket.socket | None = None
        # Bound but not listening, so that no other process gets the port
        # while it is closed. None if the system does not allow it.
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._acceptor: asyncio.Task[None] | None = None
        # Whether the acceptor has begun to make the server.
        self._is_accepting = False

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        """Open the port on the running loop. Raises OSError."""
        if self._socket is not None:
            return
        sock = self._reusable_socket()
        try:
            if self._receive_buffer_bytes is not None:
                # Accepted sockets inherit it.
                sock.setsockopt(
                    socket.SOL_SOCKET,
                    socket.SO_RCVBUF,
                    self._receive_buffer_bytes,
                )
            self._bind(sock)
            self.number = sock.getsockname()[1]
            self._reserve()
            # From here on the kernel takes connections; the loop gets to
            # them a moment later.
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self._socket = sock
        loop = asyncio.get_running_loop()
        self._acceptor = loop.create_task(self._accept(sock))

    def close(self) -> None:
        """Refuse new connections; open ones go on."""
        sock, self._socket = self._socket, None
        if self._server is not None:
            self._server.close()
            self._server = None
        elif sock is not None and not self._is_accepting:
            assert self._acceptor is not None
            self._acceptor.cancel()
            sock.close()
        # Else _accept() closes the socket.

    async def stop(self) -> None:
        """Close permanently."""
        if self._acceptor is not None:
            await asyncio.gather(self._acceptor, return_exceptions=True)
        self.close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _reserve(self) -> None:
        """Keep the port, unless another process listens there."""
        if self._reserved is not None:
            return
        sock = self._reusable_socket()
        try:
            self._bind(sock)
        except OSError:
            sock.close()
        else:
            self._reserved = sock

    async def _accept(self, sock: socket.socket) -> None:
        self._is_accepting = True
        try:
            server = await asyncio.get_running_loop().create_server(
                self._factory, sock=sock, backlog=_BACKLOG
            )
        finally:
            self._is_accepting = False
        if self._socket is sock:
            self._server = server
        else:
            server.close()  # the port was closed meanwhile

    def _reusable_socket(self) -> socket.socket:
        family = socket.AF_INET6 if _is_ipv6(self._host) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    def _bind(self, sock: socket.socket) -> None:
        try:
            sock.bind((self._host, self.number))
        except TypeError as exc:  # of a name that cannot be encoded
            raise OSError(errno.EINVAL, "not the name of a host") from exc


class Host:
    """An HTTP server on the loop that it was started on.

    `public_paths` are prefixes of paths that may be called under any name for
    this machine; pages of other sites are kept away from all other paths.
    """

    def __init__(
        self,
        name: str,
        *,
        public_paths: tuple[str, ...],
        receive_buffer_bytes: int | None,
    ) -> None:
        self.name = name
        self.ports: list[Port] = []
        self._public_paths = public_paths
        self._receive_buffer_bytes = receive_buffer_bytes
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        # Tasks that serve a request right now.
        self._handlers: set[asyncio.Task[Any]] = set()

    @property
    def is_running(self) -> bool:
        return self._runner is not None

    @property
    def is_on_own_thread(self) -> bool:
        return threading.get_ident() == self._thread_id

    async def start(
        self,
        routes: Iterable[web.AbstractRouteDef],
        port_numbers: Iterable[int],
    ) -> None:
        """Be ready to open the ports on the current loop."""
        if self._runner is not None:
            raise RuntimeError("already started")
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        app = web.Application(middlewares=[self._watched, self._guarded])
        app.router.add_routes(routes)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S
        )
        await runner.setup()
        self._runner = runner
        factory: Any = runner.server
        self.ports = [
            Port(self.name, number, factory, self._receive_buffer_bytes)
            for number in port_numbers
        ]

    async def stop(self) -> None:
        """Close the ports and every connection."""
        if self._runner is None:
            return
        for port in self.ports:
            await port.stop()
        handlers = list(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await self._runner.cleanup()
        self._runner = None

    def call(self, action: Callable[[], None]) -> None:
        """Do something short on the server's loop, from any thread.

        Raises RuntimeError when the server does not run.
        """
        if self._loop is None or self._runner is None:
            raise RuntimeError("the server does not run")
        if self.is_on_own_thread:
            action()
            return

        async def act() -> None:
            action()

        future = asyncio.run_coroutine_threadsafe(act(), self._loop)
        future.result(_CALL_TIMEOUT_S)

    @web.middleware
    async def _watched(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Any],
    ) -> web.StreamResponse:
        """Keep track of handlers: stop() must not wait for hung ones."""
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            return await handler(request)
        finally:
            self._handlers.discard(task)

    @web.middleware
    async def _guarded(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Any],
    ) -> web.StreamResponse:
        if not request.path.startswith(self._public_paths):
            reason = refusal(request.headers, self.name)
            if reason is not None:
                return web.json_response({"error": reason}, status=403)
        return await handler(request)
