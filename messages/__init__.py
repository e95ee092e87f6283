"""TEN's messages: inbound, outbound, and without secrets.

Most names need `ten_runtime`: those are imported when they are first asked
for, so that the others can be used without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import payloads, redact
from .dump import Dump

if TYPE_CHECKING:
    from .downstream import Downstream
    from .inbox import (
        Connect,
        Frame,
        Inbox,
        Refused,
        SpeechEnd,
        SpeechStart,
        Unknown,
    )
    from .outbox import Outbox

__all__ = [
    "Connect",
    "Downstream",
    "Dump",
    "Frame",
    "Inbox",
    "Outbox",
    "Refused",
    "SpeechEnd",
    "SpeechStart",
    "Unknown",
    "payloads",
    "redact",
]

_NOT_INBOX = {"Downstream": "downstream", "Outbox": "outbox"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file = _NOT_INBOX.get(name, "inbox")
    return getattr(importlib.import_module(f".{file}", __name__), name)
