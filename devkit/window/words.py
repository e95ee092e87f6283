"""Events, in words for the timeline."""

import ast
import re
from dataclasses import dataclass
from typing import Any, Literal

from ..motion_server import Connection, Event, SessionConfig

Kind = Literal[
    "speech",  # an utterance, with its waveform
    "session",  # a connection, and its own words
    "good",  # it works (again)
    "interrupt",
    "gap",
    "loss",  # a problem that the extension recovers from
    "fatal",  # a problem that it does not recover from
    "fault",  # the service fails on demand
    "broken",  # the client broke a rule of the protocol
    "report",  # the extension's reports
    "metrics",
    "note",
]


@dataclass(frozen=True)
class Line:
    """The words of a line of the timeline."""

    kind: Kind
    title: str
    detail: str = ""
    raw: str = ""
    """The message itself, shown on demand."""

    is_raw: bool = False
    """All of the line is shown on demand only."""


# Class of the fault -> title, and detail made of the fault's values.
_FAULTS = {
    "Animate": ("The service sends an animation", ""),
    "BlackHole": ("The network loses all packets", ""),
    "Close": ("The service closes the connection", "code {code}"),
    "Hang": ("The service does not answer", ""),
    "Malformed": ("The console's answer is not JSON", ""),
    "Refuse": ("The console refuses a session token", "status {status}"),
    "Reset": ("The service breaks the connection", "TCP reset"),
    "Resume": ("The service reads again", ""),
    "ServerError": ("The service reports an error", "{message} (code {code})"),
    "Silence": ("The service has stopped reading permanently", ""),
    "Slow": ("The service answers late", "after {delay_s} s"),
    "SlowReader": ("The service reads slowly", "{bytes_per_s} bytes/s"),
    "Stall": ("The service has stopped reading", ""),
    "Unreachable": ("The console is down", "no new session tokens"),
}
_FAULT = re.compile(r"(?:console: )?(\w+)\((.*)\)", re.DOTALL)

_CLOSE_CODES = {
    1000: "normal",
    1001: "going away",
    1006: "abnormal close",
    1008: "policy violation",
    1009: "message too big",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    4001: "credits exhausted",
    4002: "session time limit",
}


def fault_name(detail: str) -> str:
    """The name of a fault's class, from how the record writes it."""
    match = _FAULT.fullmatch(detail)
    return "" if match is None else match[1]


def fault(detail: str) -> tuple[str, str]:
    """Return a fault's title and detail, from how the record writes it."""
    match = _FAULT.fullmatch(detail)
    if match is None or match[1] not in _FAULTS:
        if detail == "console: up again":
            return "The console answers again", ""
        return "The service fails on demand", detail
    title, form = _FAULTS[match[1]]
    call = ast.parse(match[0].removeprefix("console: "), mode="eval").body
    assert isinstance(call, ast.Call)
    values = {
        keyword.arg or "": ast.literal_eval(keyword.value)
        for keyword in call.keywords
    }
    return title, form.format(**values)


def publishing(config: SessionConfig) -> str:
    """The channel and the audio of a session."""
    return (
        f"channel {config.channel}, uid {config.uid}, "
        f"{config.sample_rate / 1000:g} kHz {config.audio_format}"
    )


def closing(connection: Connection) -> str:
    """Who ended a connection, with which code."""
    code = connection.close_code or 0
    meaning = _CLOSE_CODES.get(code, connection.close_reason)
    if code == 1000 and connection.closed_by == "server":
        meaning = connection.close_reason or meaning
    who = {"client": "the client", "server": "the service"}
    by = who.get(connection.closed_by or "", "nobody")
    return f"by {by}, code {code}" + (f" ({meaning})" if meaning else "")


def was_lost(connection: Connection) -> bool:
    """Whether a connection's end was not its client's own doing."""
    return (connection.closed_by, connection.close_code) not in (
        ("client", 1000),
        ("client", 1001),
    )


def refused_token(event: Event) -> bool:
    """Whether a token request was not granted."""
    return not event.detail.startswith("status 200")


_STATES: dict[str, tuple[Kind, str, str]] = {
    "asleep": (
        "report",
        "The avatar is asleep",
        "until there is something to say",
    ),
    "fallback": (
        "loss",
        "The voice takes over",
        "the agent is heard without the avatar",
    ),
    "failed": (
        "fatal",
        "The avatar has failed permanently",
        "Start again creates a new one",
    ),
}
_ENDS: dict[int, tuple[Kind, str]] = {
    1: ("good", "to its end"),
    2: ("interrupt", "cut by the barge-in"),
    3: ("loss", "the rest was lost"),
}
_SOURCES = {"service": "(as the service reports)", "estimate": "(estimated)"}


def report(name: str, payload: dict[str, Any]) -> Line:
    """Return a message of the extension in words; only those named here are
    passed on."""
    if name == "avatar_state":
        state = payload.get("state", "?")
        raw = f"avatar_state: {state} ({payload.get('reason', '')})"
        if state in _STATES:
            return Line(*_STATES[state], raw)
        return Line("report", raw, is_raw=True)
    if name == "error":
        code = payload.get("code", 0)
        vendor = payload.get("vendor_info", {}).get("code", "")
        return Line(
            "fatal" if code < 0 else "loss",
            "Fatal error" if code < 0 else "Problem reported",
            str(payload.get("message", "")),
            f"error {code}" + (f" ({vendor})" if vendor else ""),
        )
    if name == "avatar_audio_start":
        request = payload.get("request_id", "")
        return Line("report", name, f"request {request}", is_raw=True)
    if name == "avatar_audio_end":
        return _answer_end(payload)
    if name == "connection_status_changed":
        current = payload.get("current", "?")
        return Line("report", name, f"{current}", is_raw=True)
    # Zeros and noes would hide the other values.
    metrics = {k: v for k, v in payload.get("metrics", {}).items() if v}
    metrics.pop("connect_delay", None)  # connect_delay_ms, in TEN's words
    return Line(
        "metrics",
        name,
        ", ".join(_metric(*item) for item in metrics.items()),
        is_raw=True,
    )


def _answer_end(payload: dict[str, Any]) -> Line:
    reason = payload.get("reason", 0)
    kind, how = _ENDS.get(reason, ("report", ""))
    heard_s = payload.get("playback_position_ms", 0) / 1000
    total_s = payload.get("request_total_audio_duration_ms", 0) / 1000
    source = _SOURCES.get(payload.get("source", ""), "")
    return Line(
        kind,
        f"Heard {heard_s:.1f} of {total_s:.1f} s",
        " ".join(filter(None, (how, source))),
        f"avatar_audio_end: reason {reason}, "
        f"request {payload.get('request_id', '')}",
    )


def _metric(name: str, value: Any) -> str:
    if name.endswith("_ms"):
        return f"{name[:-3].replace('_', ' ')} {value} ms"
    words = name.replace("_", " ")
    return words if value is True else f"{words} {value}"
