"""Serves routes on ports of their own, whatever hangs."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from .guard import refusal
from .port import Port

# How long another thread waits for the server's loop to do something short.
_CALL_TIMEOUT_S = 30.0
# Handlers are cancelled before the library gets to wait for them; zero would
# mean "indefinitely" to it.
_SHUTDOWN_TIMEOUT_S = 0.1


class Host:
    """An HTTP server on the loop that it was started on.

    `public_paths`: what begins with one of them may be called under any name
    for this machine; other web pages are kept away from all else.
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
