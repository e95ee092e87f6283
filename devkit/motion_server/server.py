"""A local Spatius service: console and ingress on one port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from .clock import Clock, ScaledClock
from .console import SPATIALREAL_TOKEN_PATH, TOKEN_PATH, Console, SessionTokens
from .control import Control
from .faults import Faults, HttpFault, RuntimeFault, Unreachable
from .guard import refusal
from .ingress import Ingress, ServiceSettings
from .playback import PlaybackSignals
from .port import Port
from .record import Record
from .session_config import SAMPLE_RATES, Rules

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

CONSOLE_PATH = "/v1/console"
INGRESS_PATH = "/v2/driveningress"

# How long another thread waits for the server's loop to do something short.
_CALL_TIMEOUT_S = 5.0
# Handlers are cancelled before the library gets to wait for them; zero would
# mean "indefinitely" to it.
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
    clients send small, so that back-pressure sets in early. The console has a
    port of its own, so that it can be down while the ingress is not;
    `console_port=None`: it has not. (`port` serves it in either case.)
    `clock` gives the record's seconds and times playback, idle sessions and
    slow answers; `ScaledClock(20)` runs them 20 times as fast. `now` gives the
    epoch seconds that tokens are held against. `record`, `faults` and what may
    be set while the server runs may be used from any thread.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        console_port: int | None = 0,
        api_keys: Collection[str] | None = None,
        app_ids: Collection[str] | None = None,
        avatar_ids: Collection[str] | None = None,
        certificates: Mapping[str, str] | None = None,
        sample_rates: Collection[int] = SAMPLE_RATES,
        keep_audio: bool = True,
        receive_buffer_bytes: int | None = None,
        routes: Iterable[web.AbstractRouteDef] = (),
        clock: Clock | None = None,
        now: Callable[[], float] = time.time,
        playback_signals: PlaybackSignals | None = None,
        capabilities: Collection[str] = (),
        idle_timeout_s: float | None = None,
    ) -> None:
        self.host = host
        # 0 until the port is open, where any free one was asked for.
        self.port = port
        # The port of `console_url`.
        self.console_port = port if console_port is None else console_port
        self.clock = ScaledClock() if clock is None else clock
        self.record = Record(self.clock.monotonic, keep_audio=keep_audio)
        self.faults = Faults()
        self._settings = ServiceSettings(
            playback_signals, tuple(capabilities), idle_timeout_s
        )
        tokens = self._tokens = SessionTokens()
        self._console = Console(
            self.record,
            self.faults,
            tokens,
            api_keys=api_keys,
            clock=self.clock,
            now=now,
        )
        self._ingress = Ingress(
            self.record,
            self.faults,
            tokens,
            rules=Rules(app_ids, avatar_ids, certificates, sample_rates),
            settings=self._settings,
            clock=self.clock,
            now=now,
        )
        self._routes = list(routes)
        self._receive_buffer_bytes = receive_buffer_bytes
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        self._has_console_port = console_port is not None
        # The main one, then the console's own.
        self._ports: list[Port] = []
        # Tasks that serve a request right now.
        self._handlers: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<MotionServer {self.host}:{self.port} {self.record!r}>"

    @property
    def console_url(self) -> str:
        """The SDK's `console_endpoint_url`."""
        return f"http://{self.host}:{self.console_port}{CONSOLE_PATH}"

    @property
    def ingress_url(self) -> str:
        """The SDK's `ingress_endpoint_url`."""
        return f"ws://{self.host}:{self.port}{INGRESS_PATH}"

    @property
    def control_url(self) -> str:
        """Where /record, /fault, /set and /reset stand."""
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
        for path in (TOKEN_PATH, SPATIALREAL_TOKEN_PATH):
            app.router.add_post(path, self._console.handle)
        app.router.add_get(f"{INGRESS_PATH}/websocket", self._ingress.handle)
        app.router.add_routes(Control(self).routes())
        app.router.add_routes(self._routes)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S
        )
        await runner.setup()
        self._runner = runner
        numbers = [self.port]
        if self._has_console_port:
            numbers.append(self.console_port)
        factory: Any = runner.server
        self._ports = [
            Port(self.host, number, factory, self._receive_buffer_bytes)
            for number in numbers
        ]
        try:
            self._listen()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the port and every connection, whatever hangs."""
        if self._runner is None:
            return
        for port in self._ports:
            await port.stop()
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

    def console_down(self, fault: HttpFault = Unreachable()) -> None:  # noqa: B008
        """Let every token request fail until `console_up`.

        Unreachable: connections are refused (broken, without a console port
        of its own); Hang: never answered; Refuse(503), Slow(0.3) ... as
        planned faults. Those go first. From any thread.
        """
        self._call(lambda: self._set_console(fault))

    def console_up(self) -> None:
        """Let the console answer again. From any thread."""
        self._call(lambda: self._set_console(None))

    @property
    def playback_signals(self) -> PlaybackSignals | None:
        """What clients are told of playback; None: nothing. May be set."""
        return self._settings.playback_signals

    @playback_signals.setter
    def playback_signals(self, signals: PlaybackSignals | None) -> None:
        self._settings.playback_signals = signals

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the next handshakes declare. May be set."""
        return self._settings.capabilities

    @capabilities.setter
    def capabilities(self, capabilities: tuple[str, ...]) -> None:
        self._settings.capabilities = capabilities

    @property
    def idle_timeout_s(self) -> float | None:
        """Sessions without audio for so long are ended. May be set."""
        return self._settings.idle_timeout_s

    @idle_timeout_s.setter
    def idle_timeout_s(self, timeout_s: float | None) -> None:
        self._settings.idle_timeout_s = timeout_s
        if self._runner is not None:
            self._call(self._ingress.settings_changed)

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
        Raises WaitTimeout, with the timeline in its text.
        """
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("would block the server: use until()")
        return self.record.wait_for(predicate, timeout_s)

    async def until(
        self, predicate: Callable[[Record], T], timeout_s: float = 5.0
    ) -> T:
        """Wait until `predicate(record)` is true; return its value.

        On any event loop. Raises WaitTimeout, with the timeline in its text.
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
        if self._runner is None or self._ports[0].is_open:
            return
        for port in self._ports:
            port.open()
        self.port, self.console_port = (
            self._ports[0].number,
            self._ports[-1].number,
        )
        if self._is_console_closed:
            self._ports[-1].close()
        self.record.listening(True)

    def _pause(self) -> None:
        if self._ports[0].is_open:
            for port in self._ports:
                port.close()
            self.record.listening(False)

    @property
    def _is_console_closed(self) -> bool:
        is_unreachable = isinstance(self._console.outage, Unreachable)
        return self._has_console_port and is_unreachable

    def _set_console(self, outage: HttpFault | None) -> None:
        self._console.outage = outage
        self.record.fault(f"console: {outage or 'up again'}")
        if self._ports[0].is_open:
            if self._is_console_closed:
                self._ports[-1].close()
            else:
                self._ports[-1].open()

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

        The service's clients may use any name for this machine.
        """
        if not request.path.startswith(
            (CONSOLE_PATH, INGRESS_PATH, SPATIALREAL_TOKEN_PATH)
        ):
            reason = refusal(request.headers, self.host)
            if reason is not None:
                return web.json_response({"error": reason}, status=403)
        return await handler(request)
