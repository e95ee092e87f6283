"""The avatar extension that a test holds to a rule."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .graph import Graph, Payload, Script, play
from .vendor import Vendor

DEFAULT_RATE_HZ = 24000
SECRET_WORDS = ("key", "secret", "token", "cert", "password")
SHORTEST_SECRET = 8
"""Characters. A part of a secret that is shorter than this may be shown, as
TEN's own masking does."""

UNREACHABLE = "http://127.0.0.1:9"


class NoCase(LookupError):
    """The folder of configurations holds no such case."""


@dataclass
class Stream:
    """All that the process prints: log lines, with any runtime."""

    path: Path
    _begin: int = 0

    def mark(self) -> None:
        """Begin here."""
        self._begin = self.path.stat().st_size

    def text(self) -> str:
        """Return what was printed since `mark`."""
        with open(self.path, "rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")


@dataclass
class Avatar:
    """One extension, its configurations, and the vendor that it meets."""

    addon: str
    manifest: Payload
    base: Payload
    """The extension's own property.json."""
    config_dir: Path | None
    stream: Stream
    make_vendor: Callable[[], Vendor] | None = None
    vendor: Vendor | None = None
    _params: Payload | None = None

    def declares(self, message: str) -> bool:
        """Whether the manifest's api has it: `data_out/error`."""
        direction, name = message.split("/")
        if direction == "property":
            declared = self.manifest.get("api", {}).get("property", {})
            return name in declared.get("properties", declared)
        entries = self.manifest.get("api", {}).get(direction) or []
        return any(entry.get("name") == name for entry in entries)

    def case(self, name: str, **params: Any) -> Payload:
        """Return the node's property of a case.

        The vendor's params are merged over it, then `params`; one that is
        None is left out. Raises `NoCase`.
        """
        tree = self._read_case(name)
        merged = {**tree.get("params", {}), **(self._params or {}), **params}
        tree["params"] = {k: v for k, v in merged.items() if v is not None}
        return tree

    @property
    def is_configured(self) -> bool:
        """Whether `case("basic")` is one that was given."""
        folder = self.config_dir
        return folder is not None and (folder / "property_basic.json").is_file()

    def has_case(self, name: str) -> bool:
        """Whether `case(name)` can be had."""
        try:
            self._read_case(name)
        except NoCase:
            return False
        return True

    def rate_hz(self, tree: Payload) -> int:
        """Return the sample rate that the case is configured for."""
        for params in (tree.get("params", {}), self.base.get("params", {})):
            rate = params.get("sample_rate")
            if isinstance(rate, int):
                return rate
        return DEFAULT_RATE_HZ

    def play(
        self,
        script: Script,
        case: str = "basic",
        *,
        timeout_s: float = 20.0,
        tree: Payload | None = None,
        **params: Any,
    ) -> tuple[Graph, float]:
        """Run `script` against a new extension; see `graph.play`."""
        tree = tree or self.case(case, **params)
        return play(self.addon, tree, script, self.rate_hz(tree), timeout_s)

    def secrets(self, tree: Payload) -> list[str]:
        """Return the values in `tree` whose names say that they are secret."""
        return [
            value
            for name, value in _texts(tree)
            if len(value) >= SHORTEST_SECRET
            and any(word in name.lower() for word in SECRET_WORDS)
        ]

    @contextlib.contextmanager
    def with_vendor(self) -> Iterator["Avatar"]:
        """Serve a new fake; cases lead to it while the context lasts."""
        assert self.make_vendor is not None
        self.vendor = self.make_vendor()
        with self.vendor.listen() as self._params:
            try:
                yield self
            finally:
                self.vendor = self._params = None

    def _read_case(self, name: str) -> Payload:
        if self.config_dir is not None:
            path = self.config_dir / f"property_{name}.json"
            if path.is_file():
                return json.loads(path.read_text(encoding="utf-8"))
            basic = self.config_dir / "property_basic.json"
            if basic.is_file() and name == "empty":
                return _emptied(json.loads(basic.read_text(encoding="utf-8")))
        if name == "empty":
            return _emptied(self.base)
        if name == "basic":
            return {}
        raise NoCase(f"no property_{name}.json")


def _texts(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _texts(value, key)
    elif isinstance(tree, str):
        yield name, tree


def _emptied(tree: Payload) -> Payload:
    """Return the tree's params with each text in them empty."""
    params = tree.get("params", {})
    return {
        "params": {
            name: "" if isinstance(value, str) else value
            for name, value in params.items()
        }
    }
