"""The package's own rules, which the commands apply and do not repeat."""

import importlib
from typing import Any

from .. import package

package.load()


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", package.NAME)


clock = _module("clock")
config = _module("config")
failures = _module("session.errors")
opener = _module("session.opener").opener
names = _module("settings.names")
params = _module("settings.params")
properties = _module("settings.properties")
redact = _module("messages.redact")
sdk = _module("session.sdk")
token = _module("token")
