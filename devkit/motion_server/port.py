"""A listening TCP port that can be closed and opened again."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

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
    """Return an address at which others reach what listens on `host`.

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

    `number` is 0 until it is first open, where any free one was asked for.
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
        # Bound but not listening: nobody else gets the port while it is
        # closed. None where the system does not allow for it.
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
        """Close for good."""
        if self._acceptor is not None:
            await asyncio.gather(self._acceptor, return_exceptions=True)
        self.close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _reserve(self) -> None:
        """Keep the port; impossible where somebody listens there."""
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
