"""A local Spatius service: console and ingress on one port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from .console import Console, SessionTokens
from .faults import (
    ALLOWED,
    Faults,
    RuntimeFault,
    fault_from_json,
    trigger_from_json,
)
from .guard import refusal
from .ingress import SAMPLE_RATES, Ingress, Rules
from .record import Record

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

CONSOLE_PATH = "/v1/console"
INGRESS_PATH = "/v2/driveningress"

_BACKLOG = 512
# How long another thread waits for the server's loop to do something short.
_CALL_TIMEOUT_S = 5.0
# Handlers are cancelled before the library gets to wait for them; zero would
# mean "for ever" to it.
_SHUTDOWN_TIMEOUT_S = 0.1


class MotionServer:
    """A local Spatius service.

    On the current loop:

        async with MotionServer() as server:
            ...

    or on a loop and thread of its own:

        with MotionServer.in_thread() as server:
            ...

    `api_keys`, `app_ids` and `avatar_ids` are the known ones, None takes any
    that is not empty. `certificates` maps Agora App IDs to App Certificates,
    to check signatures of tokens with. `routes` are served beside the
    service's own. `receive_buffer_bytes` makes the kernel's buffer for what
    clients send small, so that back-pressure sets in early. `clock` gives
    the record's seconds, `now` the epoch seconds that tokens are held
    against. `record` and `faults` may be used from any thread.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_keys: Collection[str] | None = None,
        app_ids: Collection[str] | None = None,
        avatar_ids: Collection[str] | None = None,
        certificates: Mapping[str, str] | None = None,
        sample_rates: Collection[int] = SAMPLE_RATES,
        keep_audio: bool = True,
        receive_buffer_bytes: int | None = None,
        routes: Iterable[web.AbstractRouteDef] = (),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        # 0 until the port is open, where any free one was asked for.
        self.port = port
        self.record = Record(clock, keep_audio=keep_audio)
        self.faults = Faults()
        tokens = self._tokens = SessionTokens()
        self._console = Console(
            self.record, self.faults, tokens, api_keys=api_keys, now=now
        )
        self._ingress = Ingress(
            self.record,
            self.faults,
            tokens,
            rules=Rules(app_ids, avatar_ids, certificates, sample_rates),
            now=now,
        )
        self._routes = list(routes)
        self._receive_buffer_bytes = receive_buffer_bytes
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._acceptor: asyncio.Task[None] | None = None
        # Tasks that serve a request right now.
        self._handlers: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<MotionServer {self.host}:{self.port} {self.record!r}>"

    @property
    def console_url(self) -> str:
        """The SDK's `console_endpoint_url`."""
        return f"http://{self.host}:{self.port}{CONSOLE_PATH}"

    @property
    def ingress_url(self) -> str:
        """The SDK's `ingress_endpoint_url`."""
        return f"ws://{self.host}:{self.port}{INGRESS_PATH}"

    @property
    def control_url(self) -> str:
        """Where /record, /fault and /reset stand."""
        return f"http://{self.host}:{self.port}/control"

    def session_tokens(self) -> list[str]:
        """The session tokens that were handed out, for tests of leaks."""
        return self._tokens.texts()

    # Running.

    async def start(self) -> None:
        """Open the port on the current loop. Raises OSError."""
        if self._runner is not None:
            raise RuntimeError("already started")
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        app = web.Application(middlewares=[self._watched, self._guarded])
        app.router.add_post(
            f"{CONSOLE_PATH}/session-tokens", self._console.handle
        )
        app.router.add_get(f"{INGRESS_PATH}/websocket", self._ingress.handle)
        app.router.add_get("/control/record", self._get_record)
        app.router.add_post("/control/fault", self._post_fault)
        app.router.add_post("/control/reset", self._post_reset)
        app.router.add_routes(self._routes)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S
        )
        await runner.setup()
        self._runner = runner
        try:
            self._listen()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the port and every connection, whatever hangs."""
        if self._runner is None:
            return
        if self._acceptor is not None:
            await self._acceptor
        self._unlisten()
        await self._ingress.stop()
        handlers = list(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await self._runner.cleanup()
        self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, **options: Any) -> Iterator[MotionServer]:
        """Run a server on a thread and loop of its own.

        `options` are the constructor's. Raises OSError.
        """
        server = cls(**options)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=loop.run_forever, name="motion-server", daemon=True
        )
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(server.start(), loop).result()
            try:
                yield server
            finally:
                asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # Faults.

    def pause_listening(self) -> None:
        """Close the port: new connections are refused, open ones go on."""
        self._call(self._pause)

    def resume_listening(self) -> None:
        """Open the same port again. Raises OSError."""
        self._call(self._listen)

    def now(self, fault: RuntimeFault, connection: int | None = None) -> None:
        """Let a fault act now, on one open connection or on all of them.

        Reset, Stall, Silence, Resume and SlowReader have acted on return,
        the others have begun to. From any thread. Raises KeyError when the
        connection is not open.
        """
        self._call(lambda: self._ingress.now(fault, connection))

    # Waiting.

    def wait_for(
        self, predicate: Callable[[Record], T], timeout_s: float = 5.0
    ) -> T:
        """Block until `predicate(record)` is true; return its value.

        From any thread but the server's own, where `until` is the way.
        Raises Unmet, with the timeline in its text.
        """
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("would block the server: use until()")
        return self.record.wait_for(predicate, timeout_s)

    async def until(
        self, predicate: Callable[[Record], T], timeout_s: float = 5.0
    ) -> T:
        """Wait until `predicate(record)` is true; return its value.

        On any event loop. Raises Unmet, with the timeline in its text.
        """
        return await self.record.until(predicate, timeout_s)

    # Inside.

    def _call(self, action: Callable[[], None]) -> None:
        """Do something short on the server's loop, from any thread."""
        loop = self._loop
        if loop is None or self._runner is None:
            raise RuntimeError("the server does not run")
        if threading.get_ident() == self._thread_id:
            action()
            return

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), loop).result(_CALL_TIMEOUT_S)

    def _listen(self) -> None:
        if self._socket is not None:
            return
        assert self._runner is not None and self._loop is not None
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._receive_buffer_bytes is not None:
                # Accepted sockets inherit it.
                sock.setsockopt(
                    socket.SOL_SOCKET,
                    socket.SO_RCVBUF,
                    self._receive_buffer_bytes,
                )
            sock.bind((self.host, self.port))
            # From here on the kernel takes connections; the loop gets to
            # them a moment later.
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        self._socket = sock
        self._acceptor = self._loop.create_task(self._accept(sock))
        self.record.listening(True)

    def _reopen(self) -> None:
        if self._runner is not None:
            self._listen()

    async def _accept(self, sock: socket.socket) -> None:
        assert self._runner is not None and self._loop is not None
        factory = self._runner.server
        assert factory is not None
        server = await self._loop.create_server(
            factory, sock=sock, backlog=_BACKLOG
        )
        if self._socket is sock:
            self._server = server
        else:
            server.close()  # the port was closed meanwhile

    def _unlisten(self) -> None:
        if self._socket is None:
            return
        # Without a server yet, _accept() sees to the socket.
        self._socket = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _pause(self) -> None:
        if self._socket is not None:
            self._unlisten()
            self.record.listening(False)

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
        """Keep other web pages away from all but the service itself.

        The service's clients may call this machine by whatever name.
        """
        if not request.path.startswith((CONSOLE_PATH, INGRESS_PATH)):
            reason = refusal(request.headers, self.host)
            if reason is not None:
                return web.json_response({"error": reason}, status=403)
        return await handler(request)

    # Control over HTTP, for a server in a process of its own.

    async def _get_record(self, request: web.Request) -> web.Response:
        """GET /control/record[?events=0]."""
        events = request.query.get("events", "1") != "0"
        return web.json_response(self.record.as_json(events=events))

    async def _post_fault(self, request: web.Request) -> web.Response:
        """POST /control/fault.

        {"at": "console" | "upgrade" | "handshake", "fault": {...},
         "times": 1 | null}, {"at": "runtime", "fault": {...}, "after":
        "end" | "interrupt" | {"audio_messages": n} | {"audio_bytes": n},
        "connection": n, "times": 1 | null}, {"at": "now", "fault": {...},
        "connection": n}, or {"at": "port", "closed_for_s": s}. A fault is
        {"name": "close", "code": 1011} and the like.
        """
        if request.content_type != "application/json":
            # Any web page could send a form here, but not JSON.
            return web.json_response({"error": "not JSON"}, status=415)
        try:
            self._plan(await request.json())
        except (KeyError, TypeError, ValueError) as exc:
            return web.json_response({"error": str(exc)}, status=400)
        return web.json_response({})

    def _plan(self, spec: Any) -> None:
        at = spec["at"]
        if at == "port":
            # Nobody could ask to open it again: this port is the closed one.
            delay_s = float(spec["closed_for_s"])
            self._pause()
            asyncio.get_running_loop().call_later(delay_s, self._reopen)
            return
        point = "runtime" if at == "now" else at
        if point not in ALLOWED:
            raise ValueError(f"at must be one of {[*ALLOWED, 'now', 'port']}")
        fault: Any = fault_from_json(point, spec.get("fault") or {})
        times = spec.get("times", 1)
        connection = spec.get("connection")
        if at == "now":
            self._ingress.now(fault, connection)
        elif at == "runtime":
            self.faults.runtime(
                fault,
                after=trigger_from_json(spec.get("after")),
                connection=connection,
                times=times,
            )
        elif at == "console":
            self.faults.console(fault, times=times)
        elif at == "upgrade":
            self.faults.upgrade(fault, times=times)
        else:
            self.faults.handshake(fault, times=times)

    async def _post_reset(self, request: web.Request) -> web.Response:
        """POST /control/reset: no plans, no past."""
        self.faults.clear()
        self.record.clear()
        return web.json_response({})
