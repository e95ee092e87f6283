"""Runs a small graph of extensions without TEN.

Each node gets a host of the stand-in's, on the one event loop that they
share, as in TEN; messages are routed by the graph's connections.
"""

import importlib.util
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from .. import package

# As in stage.py: the stand-in can run without an App.
sys.path.insert(0, str(package.ROOT / "devkit"))

from ten_runtime import AudioFrame, Cmd, CmdResult, Data, StatusCode, _log
from ten_runtime._host import CmdOutcome, ExtensionHost
from ten_runtime._log import LogLevel, LogLine
from ten_runtime._process import ProcessEnded

from ..graph import FileError, Graph
from ..motion_server import MotionServer


class GraphRun:
    """The running nodes of a graph; a context manager.

    `on_unwired` gets (node, message) for each data that is not connected.
    Raises `FileError` where an addon's package cannot be used.
    """

    def __init__(
        self,
        graph: Graph,
        folder: Path,
        server: MotionServer,
        on_unwired: Callable[[str, Data], None] = lambda node, data: None,
    ) -> None:
        self._wires = graph.wires()
        self._on_unwired = on_unwired
        self.last_message_s = time.monotonic()
        """When a node last sent something, in monotonic seconds."""
        self.failure: str = ""
        """Why the graph cannot go on: an error that a node other than
        the avatar has logged, or why the process would have ended."""
        self._avatars: set[str] = set()
        self._hosts: dict[str, ExtensionHost] = {}
        # The first node may send before the last one can receive.
        self._all_started = threading.Event()
        for node in graph.nodes:
            name, addon = str(node.get("name")), str(node.get("addon"))
            _load_addon(addon, folder)
            tree = node.get("property") or {}
            if not isinstance(tree, dict):
                raise FileError(f"property of the node {name} is no object")
            if addon == package.NAME:
                # For any graph: no credentials, no network.
                self._avatars.add(name)
                params = tree.get("params", {})
                if not isinstance(params, dict):
                    raise FileError(f"params of the node {name} is no object")
                params = {
                    **params,
                    "console_endpoint_url": server.console_url,
                    "ingress_endpoint_url": server.ingress_url,
                }
                tree = {**tree, "params": params}
            self._hosts[name] = self._host(name, addon, tree)
        for wire in self._wires:
            for end in (wire.source, wire.dest):
                if end not in self._hosts:
                    raise FileError(f"a connection names no node: {end!r}")

    def __enter__(self) -> "GraphRun":
        _log.observers.append(self._take_line)
        for host in self._hosts.values():
            host.start()
        self._all_started.set()
        return self

    def __exit__(self, *exc_info: object) -> None:
        _log.observers.remove(self._take_line)
        for host in self._hosts.values():
            host.request_stop()
        for host in self._hosts.values():
            host.wait()

    def _host(self, name: str, addon: str, tree: Any) -> ExtensionHost:
        def pass_audio_frame(frame: AudioFrame) -> None:
            self._pass_audio_frame(name, frame)

        has_audio = any(
            (wire.kind, wire.source) == ("audio_frame", name)
            for wire in self._wires
        )
        return ExtensionHost(
            addon,
            tree,
            name=name,
            on_data=lambda data: self._pass_data(name, data),
            on_cmd=lambda cmd: self._pass_cmd(name, cmd),
            # Without a callback the sender is told that nothing is connected.
            on_audio_frame=pass_audio_frame if has_audio else None,
            on_failure=self._take_end,
        )

    def _take_line(self, line: LogLine) -> None:
        if line.level == LogLevel.ERROR and line.source not in self._avatars:
            self.failure = self.failure or f"{line.source}: {line.message}"

    def _take_end(self, failure: ProcessEnded) -> None:
        self.failure = self.failure or str(failure).splitlines()[0]

    def _receivers(
        self, kind: str, message: str, source: str
    ) -> list[ExtensionHost]:
        # Starting a host does not need the event loop that this blocks.
        self._all_started.wait()
        self.last_message_s = time.monotonic()
        return [
            self._hosts[wire.dest]
            for wire in self._wires
            if (wire.kind, wire.source) == (kind, source)
            and wire.message in (message, "*")
        ]

    def _pass_data(self, source: str, data: Data) -> None:
        receivers = self._receivers("data", data.get_name(), source)
        for host in receivers:
            host.send_data(data.clone())
        if not receivers:
            self._on_unwired(source, data)

    def _pass_audio_frame(self, source: str, frame: AudioFrame) -> None:
        name = frame.get_name()
        for host in self._receivers("audio_frame", name, source):
            host.send_audio_frame(frame.clone())

    def _pass_cmd(self, source: str, cmd: Cmd) -> None:
        sender = self._hosts[source]
        receivers = self._receivers("cmd", cmd.get_name(), source)
        if not receivers:
            # The runtime tells the sender so by a TenError.
            sender.return_result(CmdResult.create(StatusCode.ERROR, cmd))
            return

        def answer(outcome: "Future[CmdOutcome]") -> None:
            result, _ = outcome.result()
            status = StatusCode.ERROR
            if result is not None:
                status = result.get_status_code()
            sender.return_result(CmdResult.create(status, cmd))

        # The first answer counts, as in the runtime.
        for host in receivers:
            host.submit_cmd(cmd.clone()).add_done_callback(answer)


def _load_addon(addon: str, folder: Path) -> None:
    """Import the package that registers `addon`. Raises `FileError`."""
    if addon == package.NAME:
        package.load()
        return
    if addon in sys.modules:
        return
    places = [folder / addon, folder / "ten_packages" / "extension" / addon]
    for place in places:
        if (place / "__init__.py").is_file():
            break
    else:
        raise FileError(
            f"the addon {addon} is neither in {places[0]} nor in {places[1]}"
        )
    spec = importlib.util.spec_from_file_location(
        addon,
        place / "__init__.py",
        submodule_search_locations=[str(place)],
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[addon] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[addon]
        raise FileError(f"{place} cannot be imported: {error!r}") from error
