"""The package's own rules, which the commands apply and do not repeat.

Each module is imported when it is asked for: an SDK takes its time.
"""

import importlib
from typing import Any

from .. import package

_MODULES = {
    "clock": "clock",
    "config": "config",
    "failures": "session.errors",
    "names": "settings.names",
    "opener": "session.opener",
    "params": "settings.params",
    "properties": "settings.properties",
    "redact": "messages.redact",
    "sdk": "session.sdk",
    "token": "token",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    package.find()
    return importlib.import_module(f".{_MODULES[name]}", package.NAME)
