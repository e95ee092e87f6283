"""What happened, in words for the timeline."""

import re
from typing import Any, Literal

from ..motion_server import Connection, Event

Kind = Literal[
    "speech",  # an utterance, with its waveform
    "session",  # a connection, and what it said of itself
    "good",  # it works (again)
    "interrupt",
    "gap",
    "loss",  # an outage that the extension recovers from
    "fatal",  # something went wrong for good
    "fault",  # the service was told to go wrong
    "broken",  # the client broke a rule of the protocol
    "report",  # what the extension says of itself
    "metrics",
    "note",
]

_FAULTS = {
    "Animate": "The service sent an animation",
    "Close": "The service is closing the connection",
    "Hang": "The service does not answer",
    "Malformed": "The console answers with something that is no JSON",
    "Refuse": "The console refuses a session token",
    "Reset": "The connection is being broken (TCP reset)",
    "Resume": "The service reads on",
    "ServerError": "The service reports an error",
    "Silence": "The service has fallen silent for good",
    "Slow": "The service answers late",
    "SlowReader": "The service reads slowly",
    "Stall": "The service has stopped reading",
}
_FAULT = re.compile(r"(?:console: )?(\w+)\((.*)\)")

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
    """A fault's title and detail, from how the record writes it."""
    match = _FAULT.fullmatch(detail)
    if match is None or match[1] not in _FAULTS:
        return f"The service {detail}", ""
    values = re.sub(r"\b(?:for_s=None|body=None|\w+='')(?:, )?", "", match[2])
    return _FAULTS[match[1]], values.rstrip(", ").replace("=", " ")


def closing(connection: Connection) -> str:
    """Who ended a connection, with which code."""
    code = connection.close_code or 0
    meaning = _CLOSE_CODES.get(code, connection.close_reason)
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


def report(name: str, payload: dict[str, Any]) -> tuple[Kind, str, str]:
    """Kind, title and detail of a message that the extension sent.

    Only what is named here is passed on.
    """
    if name == "avatar_state":
        state = payload.get("state", "?")
        kind: dict[str, Kind] = {
            "failed": "fatal",
            "recovering": "loss",
            "ready": "good",
        }
        return (
            kind.get(state, "report"),
            f"avatar_state: {state}",
            str(payload.get("reason", "")),
        )
    if name == "error":
        code = payload.get("code", 0)
        vendor = payload.get("vendor_info", {}).get("code", "")
        return (
            "fatal" if code < 0 else "loss",
            f"error {code}" + (f" ({vendor})" if vendor else ""),
            str(payload.get("message", "")),
        )
    # Zeros and noes would hide what there is to see.
    metrics = {k: v for k, v in payload.get("metrics", {}).items() if v}
    return (
        "metrics",
        name,
        ", ".join(_metric(*item) for item in metrics.items()),
    )


def _metric(name: str, value: Any) -> str:
    if name.endswith("_ms"):
        return f"{name[:-3].replace('_', ' ')} {value} ms"
    words = name.replace("_", " ")
    return words if value is True else f"{words} {value}"
