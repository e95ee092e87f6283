"""Control over HTTP, for a service in a process of its own."""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

from aiohttp import web

from .clock import Clock
from .faults import (
    ALLOWED,
    Faults,
    HttpFault,
    RuntimeFault,
    fault_from_json,
    trigger_from_json,
)
from .ingress import PlanLimits
from .playback import PlaybackSignals
from .record import Record


class Controlled(Protocol):
    """The methods of `MotionServer` that control needs."""

    clock: Clock
    record: Record
    faults: Faults

    def pause_listening(self) -> None: ...

    def resume_listening(self) -> None: ...

    def console_down(self, fault: HttpFault = ...) -> None: ...

    def console_up(self) -> None: ...

    def now(
        self, fault: RuntimeFault, connection: int | None = None
    ) -> None: ...


class Control:
    """Answers /control/record, /control/fault, /control/set and /control/reset.

    On the server's own loop.
    """

    def __init__(self, server: Controlled) -> None:
        self._server = server

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/record", self._get_record),
            web.post("/control/fault", self._post_fault),
            web.get("/control/set", self._get_settings),
            web.post("/control/set", self._post_set),
            web.post("/control/reset", self._post_reset),
        ]

    async def _get_record(self, request: web.Request) -> web.Response:
        """GET /control/record[?events=0]."""
        events = request.query.get("events", "1") != "0"
        return web.json_response(self._server.record.as_json(events=events))

    async def _post_fault(self, request: web.Request) -> web.Response:
        """POST /control/fault.

        {"at": "console" | "upgrade" | "handshake", "fault": {...},
         "times": 1 | null}, {"at": "runtime", "fault": {...}, "after":
        "end" | "interrupt" | "confirm" | {"audio_messages": n} |
        {"audio_bytes": n} | {"quiet_s": s},
        "connection": n, "times": 1 | null}, {"at": "now", "fault": {...},
        "connection": n}, or {"at": "port", "closed_for_s": s}. A fault is
        {"name": "close", "code": 1011} and the like.
        """
        return await _act(request, self._plan)

    async def _get_settings(self, _: web.Request) -> web.Response:
        """GET /control/set: the settings, without `console_down`."""
        settings = {}
        for name in SETTINGS:
            value = getattr(self._server, name)
            settings[name] = (
                asdict(value) if is_dataclass(type(value)) else value
            )
        return web.json_response(settings)

    async def _post_set(self, request: web.Request) -> web.Response:
        """POST /control/set, with any of these.

        {"console_down": {"name": "unreachable"} | null, "playback_signals":
        {"late_ms": 500, ...} | null, "capabilities": ["playback_state"],
        "idle_timeout_s": 60 | null, "limits": {"session_minutes": 10,
        "sessions": 2, "refuses_tokens": true} | null, "preempts": true,
        "playback_delay_s": 3.5}.
        """
        return await _act(request, self._set)

    async def _post_reset(self, request: web.Request) -> web.Response:
        """POST /control/reset: no plans, no past."""
        self._server.faults.clear()
        self._server.record.clear()
        return web.json_response({})

    def _plan(self, spec: Any) -> None:
        server = self._server
        at = spec["at"]
        if at == "port":
            # A request to open it again would need the port that is closed.
            opens_s = server.clock.monotonic() + float(spec["closed_for_s"])
            server.pause_listening()
            server.clock.call_at(opens_s, self._reopen)
            return
        point = "runtime" if at == "now" else at
        if point not in ALLOWED:
            raise ValueError(f"at must be one of {[*ALLOWED, 'now', 'port']}")
        fault: Any = fault_from_json(point, spec.get("fault") or {})
        times = spec.get("times", 1)
        connection = spec.get("connection")
        if at == "now":
            server.now(fault, connection)
        elif at == "runtime":
            server.faults.runtime(
                fault,
                after=trigger_from_json(spec.get("after")),
                connection=connection,
                times=times,
            )
        else:
            getattr(server.faults, at)(fault, times=times)

    def _reopen(self) -> None:
        with contextlib.suppress(RuntimeError):  # stopped meanwhile
            self._server.resume_listening()

    def _set(self, spec: Any) -> None:
        for name, value in spec.items():
            if name == "console_down":
                if value is None:
                    self._server.console_up()
                else:
                    fault: Any = fault_from_json("console", value)
                    self._server.console_down(fault)
            elif name in SETTINGS:
                convert = SETTINGS[name]
                value = None if value is None else convert(value)
                setattr(self._server, name, value)
            else:
                raise ValueError(f"unknown setting {name!r}")


# Attributes of the server that may be set, and how to read their values.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "playback_signals": lambda fields: PlaybackSignals(**fields),
    "capabilities": tuple,
    "idle_timeout_s": float,
    "limits": lambda fields: PlanLimits(**fields),
    "preempts": bool,
    "playback_delay_s": float,
}


async def _act(
    request: web.Request, action: Callable[[Any], None]
) -> web.Response:
    if request.content_type != "application/json":
        # Any web page could send a form here, but not JSON.
        return web.json_response({"error": "not JSON"}, status=415)
    try:
        action(await request.json())
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        return web.json_response({"error": str(exc)}, status=400)
    return web.json_response({})
