"""A local Spatius service: console and ingress on one port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiohttp import web

from .clock import Clock, MachineClock
from .console import SPATIALREAL_TOKEN_PATH, TOKEN_PATH, Console, SessionTokens
from .control import Control
from .faults import Faults, HttpFault, RuntimeFault, Unreachable
from .host import Host, netloc, reachable_address
from .ingress import Ingress, PlanLimits, ServiceSettings
from .playback import PlaybackSignals
from .record import Record
from .rules import SAMPLE_RATES, Rules

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

CONSOLE_PATH = "/v1/console"
INGRESS_PATH = "/v2/driveningress"


class ServiceSetting(Generic[T]):
    """One of a server's ServiceSettings, as an attribute that may be set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, server: MotionServer, owner: type | None = None) -> T:
        return getattr(server._settings, self._name)

    def __set__(self, server: MotionServer, value: T | None) -> None:
        """Set it, and hold open sessions to it; None for the default."""
        if value is None:
            value = getattr(ServiceSettings, self._name)
        setattr(server._settings, self._name, value)
        server._apply_settings()


class MotionServer:
    """A local Spatius service.

    On the current loop:

        async with MotionServer() as server:
            ...

    or on a loop and thread of its own:

        with MotionServer.in_thread() as server:
            ...

    `api_keys`, `app_ids` and `avatar_ids` are the known ones, None takes any
    that is not empty. `certificates` maps Agora App IDs to App Certificates, to
    check signatures of tokens with. `routes` are served beside the service's
    own. `receive_buffer_bytes` makes the kernel's receive buffer small, so that
    back-pressure sets in early. The console has a port of its own, so that it
    can be down while the ingress is not; `console_port=None`: it has not.
    (`port` serves it in either case.) `limits` are those of a plan. A service
    that `preempts` cuts the request that plays when a newer one begins; others
    let the newer one wait. It plays `playback_delay_s` later than it receives,
    and answers a ping `pong_delay_s` later.
    `clock` gives the record's seconds and times playback, idle sessions and
    slow answers. `now` gives the epoch seconds that tokens are held against.
    `record`, `faults` and the settings of a running server may be used from any
    thread.
    """

    playback_signals = ServiceSetting["PlaybackSignals | None"]()
    """How playback is reported to clients; None: not."""
    capabilities = ServiceSetting["tuple[str, ...]"]()
    """Capabilities that the next handshakes declare."""
    idle_timeout_s = ServiceSetting["float | None"]()
    """Sessions without audio for so long are ended; None: never."""
    limits = ServiceSetting["PlanLimits"]()
    """The plan's limits, for open sessions as well."""
    preempts = ServiceSetting["bool"]()
    """Whether a request cuts the one that plays."""
    playback_delay_s = ServiceSetting["float"]()
    """How much later the next requests are played."""

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
        limits: PlanLimits = PlanLimits(),  # noqa: B008
        preempts: bool = False,
        playback_delay_s: float = 0.0,
        pong_delay_s: float = 0.0,
    ) -> None:
        self.host = host
        # 0 until the port is open, if any free one was asked for.
        self.port = port
        # The port of `console_url`.
        self.console_port = port if console_port is None else console_port
        self.clock = MachineClock() if clock is None else clock
        self.record = Record(self.clock.monotonic, keep_audio=keep_audio)
        self.faults = Faults()
        self._settings = ServiceSettings(
            playback_signals,
            tuple(capabilities),
            idle_timeout_s,
            limits,
            preempts,
            playback_delay_s,
            pong_delay_s,
        )
        tokens = self._tokens = SessionTokens()
        self._console = Console(
            self.record,
            self.faults,
            tokens,
            api_keys=api_keys,
            clock=self.clock,
            now=now,
            refuses_tokens=self._is_full,
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
        self._has_console_port = console_port is not None
        # Its ports: the main one, then the console's own.
        self._http = Host(
            host,
            public_paths=(CONSOLE_PATH, INGRESS_PATH, SPATIALREAL_TOKEN_PATH),
            receive_buffer_bytes=receive_buffer_bytes,
        )

    def __repr__(self) -> str:
        return f"<MotionServer {netloc(self.host, self.port)} {self.record!r}>"

    @property
    def base_url(self) -> str:
        """The root URL of the main port."""
        return f"http://{self._netloc(self.port)}"

    @property
    def console_url(self) -> str:
        """The SDK's `console_endpoint_url`."""
        return f"http://{self._netloc(self.console_port)}{CONSOLE_PATH}"

    @property
    def ingress_url(self) -> str:
        """The SDK's `ingress_endpoint_url`."""
        return f"ws://{self._netloc(self.port)}{INGRESS_PATH}"

    @property
    def control_url(self) -> str:
        """The URL above /record, /fault, /set and /reset."""
        return f"{self.base_url}/control"

    def session_tokens(self) -> list[str]:
        """The session tokens that were handed out, for tests of leaks."""
        return self._tokens.texts()

    # Running.

    async def start(self) -> None:
        """Open the port on the current loop. Raises OSError."""
        routes = [
            *(
                web.post(path, self._console.handle)
                for path in (TOKEN_PATH, SPATIALREAL_TOKEN_PATH)
            ),
            web.get(f"{INGRESS_PATH}/websocket", self._ingress.handle),
            *Control(self).routes(),
            *self._routes,
        ]
        numbers = [self.port]
        if self._has_console_port:
            numbers.append(self.console_port)
        await self._http.start(routes, numbers)
        try:
            self._listen()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the port and every connection, even those that hang."""
        await self._ingress.stop()
        await self._http.stop()

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
        self._http.call(self._pause)

    def resume_listening(self) -> None:
        """Open the same port again. Raises OSError."""
        self._http.call(self._listen)

    def console_down(self, fault: HttpFault = Unreachable()) -> None:  # noqa: B008
        """Let every token request fail until `console_up`.

        Unreachable: connections are refused (broken, without a console port
        of its own); Hang: never answered; Refuse(503), Slow(0.3) ... as
        planned faults. Those go first. From any thread.
        """
        self._http.call(lambda: self._set_console(fault))

    def console_up(self) -> None:
        """Let the console answer again. From any thread."""
        self._http.call(lambda: self._set_console(None))

    def now(self, fault: RuntimeFault, connection: int | None = None) -> None:
        """Let a fault act now, on one open connection or on all of them.

        Close, ServerError and Animate have begun to act on return, the others
        have acted. From any thread. Raises KeyError when the
        connection is not open.
        """
        self._http.call(lambda: self._ingress.now(fault, connection))

    # Waiting.

    def wait_for(
        self, predicate: Callable[[Record], T], timeout_s: float = 30.0
    ) -> T:
        """Block until `predicate(record)` is true; return its value.

        From any thread but the server's own, which has `until`.
        Raises WaitTimeout, with the timeline in its text.
        """
        if self._http.is_on_own_thread:
            raise RuntimeError("would block the server: use until()")
        return self.record.wait_for(predicate, timeout_s)

    async def until(
        self, predicate: Callable[[Record], T], timeout_s: float = 30.0
    ) -> T:
        """Wait until `predicate(record)` is true; return its value.

        On any event loop. Raises WaitTimeout, with the timeline in its text.
        """
        return await self.record.until(predicate, timeout_s)

    # Inside.

    def _listen(self) -> None:
        if not self._http.is_running or self._http.ports[0].is_open:
            return
        for port in self._http.ports:
            port.open()
        self.port, self.console_port = (
            self._http.ports[0].number,
            self._http.ports[-1].number,
        )
        if self._is_console_closed:
            self._http.ports[-1].close()
        self.record.listening(True)

    def _pause(self) -> None:
        if self._http.ports[0].is_open:
            for port in self._http.ports:
                port.close()
            self.record.listening(False)

    def _netloc(self, port: int) -> str:
        return netloc(reachable_address(self.host), port)

    def _apply_settings(self) -> None:
        if self._http.is_running:
            self._http.call(self._ingress.settings_changed)

    def _is_full(self) -> bool:
        limits = self._settings.limits
        return (
            limits.refuses_tokens
            and limits.sessions is not None
            and len(self.record.live_connections) >= limits.sessions
        )

    @property
    def _is_console_closed(self) -> bool:
        is_unreachable = isinstance(self._console.outage, Unreachable)
        return self._has_console_port and is_unreachable

    def _set_console(self, outage: HttpFault | None) -> None:
        self._console.outage = outage
        self.record.fault(f"console: {outage or 'up again'}")
        if self._http.ports[0].is_open:
            if self._is_console_closed:
                self._http.ports[-1].close()
            else:
                self._http.ports[-1].open()
