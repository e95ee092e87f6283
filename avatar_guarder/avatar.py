#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The avatar extension that a test holds to a rule."""

import contextlib
import copy
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from . import cases
from .graph import START_LIMIT_S, Graph, Payload, Played, Script, play
from .hearing import ENCODED, Hearing
from .loader import read_object
from .vendor import Vendor, ask, prepare, total
from .verdicts import NOT_TESTABLE

EMPTY = "guard_empty"
"""The addon of an extension that does nothing."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
NOWHERE = "http://127.0.0.1:9"
LOOPBACK = "127.0.0.1,localhost,::1"


class NoCase(LookupError):
    """The folder of configurations holds no such case."""


def set_proxies(address: str, exempt: str = LOOPBACK) -> None:
    """Lead the programs that honor these variables to an address.

    Otherwise an extension without a configuration would connect to its real
    vendor.
    """
    for name in PROXIES:
        value = exempt if name == "no_proxy" else address
        for spelling in (name, name.upper()):
            os.environ.pop(spelling, None)
            if value:
                os.environ[spelling] = value


@dataclass
class Stream:
    """All that the process prints: log lines, with any runtime."""

    path: Path
    _begin: int = 0

    def mark(self) -> None:
        """Begin here."""
        self._begin = self.path.stat().st_size

    def text(self) -> str:
        """Return the text that was printed since `mark`."""
        with open(self.path, "rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def lines(self) -> list[str]:
        return [line for line in self.text().splitlines() if line.strip()]


class Listener:
    """A port of loopback that takes connections and says nothing."""

    def __init__(self, *, closes: bool) -> None:
        self.count = 0
        """How many connections came."""
        self._closes = closes
        self._kept: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> "Listener":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for link in self._kept:
            link.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._socket.accept()
                self.count += 1
                if self._closes:
                    link.close()
                else:
                    self._kept.append(link)


@dataclass
class Avatar:
    """One extension, its configurations, and the vendor that it meets."""

    addon: str
    api: Payload
    """The manifest's, with the interfaces that it imports."""
    base: Payload
    """The extension's own property.json."""
    config_dir: Path | None
    stream: Stream = field(default_factory=lambda: Stream(Path(os.devnull)))
    package: ModuleType | None = None
    make_vendor: Callable[[], Vendor] | None = None
    vendor: Vendor | None = None
    vendor_hz: int = 0
    """The rate at which speech reaches the vendor; 0: as it was said."""
    broken: frozenset[str] = field(default_factory=frozenset)
    """The rules that are known to be broken."""
    _settings: Mapping[str, Any] = field(default_factory=dict)

    def declares(self, message: str) -> bool:
        """Whether the manifest's api has it: `data_out/error`."""
        direction, name = message.split("/")
        if direction == "property":
            declared = self.api.get("property") or {}
            known = declared.get("properties", declared)
            # Values filled from environment variables are often not declared.
            return name in known or name in self.base
        entries = self.api.get(direction) or []
        return any(entry.get("name") == name for entry in entries)

    @property
    def end_name(self) -> str:
        """The data message that ends speech for this extension."""
        only_finalize = self.declares("data_in/finalize") and not (
            self.declares("data_in/tts_audio_end")
        )
        return "finalize" if only_finalize else "tts_audio_end"

    # Configurations

    def case(self, name: str, **values: Any) -> Payload:
        """Return the node's property of a case.

        The vendor's settings are put into it, except where the case differs
        on purpose from the basic one, then `values`; one that is None is
        left out. Raises `NoCase`.
        """
        tree = self._read_case(name)
        own: set[str] = set()
        if name != "basic":
            own = set(cases.differences(tree, self._read_case("basic")))
        for key, value in self._settings.items():
            if isinstance(value, dict):
                tree[key] = {**tree.get(key, {}), **value}
            elif key not in own:
                cases.put(tree, self.base, key, value)
        for key, value in values.items():
            if value is None:
                cases.drop(tree, key)
            else:
                cases.put(tree, self.base, key, value)
        cases.set_placeholders(self.base, tree)
        return tree

    @property
    def is_configured(self) -> bool:
        """Whether `case("basic")` is one that was given."""
        return cases.find_file(self.config_dir, "basic") is not None

    def has_case(self, name: str) -> bool:
        """Whether `case(name)` can be had."""
        try:
            self._read_case(name)
        except NoCase:
            return False
        return True

    def required(self) -> list[str]:
        """Return the names of the properties that case `missing` lacks."""
        tree = self._read_case("missing")
        basic = self._read_case("basic")
        names = {
            *(
                name
                for name, value in cases.values(tree)
                if value in ("", None)
            ),
            *cases.differences(basic, tree),
            *(name for name, _ in cases.values(self.base.get("params", {}))),
        }
        declared = (self.api.get("property") or {}).get("properties", {})
        return sorted(names or set(declared) or {"params"})

    def rate_hz(self, tree: Payload) -> int:
        """Return the sample rate that the case is configured for."""
        return cases.rate_hz(tree, self.base)

    def _read_case(self, name: str) -> Payload:
        path = cases.find_file(self.config_dir, name)
        if path is not None:
            return read_object(path)
        if name == "basic":
            return {}
        if name == "missing":
            basic = self._read_case("basic")
            return cases.emptied(basic or self.base)
        if name == "dump" and self.is_configured:
            return self._read_case("basic")
        raise NoCase(f"no {cases.FILES[name][0]}")

    # Running it

    def play(
        self,
        script: Script,
        case: str = "basic",
        *,
        timeout_s: float = 25.0,
        tree: Payload | None = None,
        early: bool = False,
        addon: str = "",
        start_limit_s: float = START_LIMIT_S,
        **values: Any,
    ) -> Played:
        """Run `script` against a new extension; see `graph.play`.

        With `early` it begins before on_start has returned.
        """
        tree = tree if tree is not None else self.case(case, **values)
        graph = Graph(script, self.rate_hz(tree))
        graph.end_name = self.end_name
        graph.waits_for_start = not early
        graph.start_limit_s = start_limit_s
        if "stops_in_time" in self.broken:
            graph.stop_wait_s = 0.5  # that has its verdict
        vendor = self.vendor
        if vendor is not None:
            graph.progress = lambda: total(vendor)
        return play(addon or self.addon, tree, graph, timeout_s)

    def hearing(self, rate_hz: int) -> Hearing:
        """Return the comparison of received speech with sent speech.

        Raises NotImplementedError where the fake does not decode it.
        """
        if self.vendor_hz == ENCODED:
            raise NotImplementedError(
                f"{NOT_TESTABLE}: the vendor receives encoded speech, which "
                "its fake does not decode"
            )
        return Hearing(rate_hz, self.vendor_hz or rate_hz)

    @contextlib.contextmanager
    def with_vendor(self) -> Iterator["Avatar"]:
        """Serve a new fake; cases lead to it while the context lasts."""
        assert self.make_vendor is not None
        vendor = self.make_vendor()
        with vendor.listen() as settings:
            self.meet(vendor, settings)
            try:
                yield self
            finally:
                self.vendor = None
                self._settings = {}

    def meet(self, vendor: Vendor, settings: Mapping[str, Any]) -> None:
        """Have the cases lead to a fake that listens."""
        self.vendor, self._settings = vendor, settings
        if self.package is not None:
            prepare(vendor, self.package)

    def secrets(self, tree: Payload) -> list[str]:
        """Return the secrets, configured or issued in this run."""
        found = cases.secrets(tree)
        if self.vendor is not None:
            with contextlib.suppress(NotImplementedError):
                found += [
                    text
                    for text in ask(self.vendor, "secrets")
                    if len(text) >= cases.SHORTEST_SECRET
                ]
        return list(dict.fromkeys(found))

    @contextlib.contextmanager
    def facing(self, tree: Payload, *, closes: bool) -> Iterator[Any]:
        """Have a listener in the place of each address of nowhere.

        Yields the listener and the tree that leads to it; proxies of the
        environment lead to it, too.
        """
        with Listener(closes=closes) as listener:
            set_proxies(f"http://127.0.0.1:{listener.port}")
            try:
                yield (
                    listener,
                    cases.moved(copy.deepcopy(tree), listener.port),
                )
            finally:
                set_proxies(NOWHERE)
