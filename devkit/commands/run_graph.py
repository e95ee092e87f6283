"""Runs a small graph of extensions without TEN, with a local Motion Server.

Each node gets a host of the stand-in's, on the one event loop that they
share, as in TEN; messages go the ways that the graph's connections give them.
"""

import contextlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import package

# As in stage.py: the stand-in can run without an App.
sys.path.insert(0, str(package.ROOT / "devkit"))

from ten_runtime import AudioFrame, Cmd, CmdResult, Data, StatusCode
from ten_runtime._host import CmdOutcome, ExtensionHost

from ..motion_server import Event, MotionServer, Record, event_line
from ..node import FileError, Graph, read

REPORTS = ("avatar_state", "error", "metrics")
QUIET_S = 1.5
"""With every utterance ended for that long, the graph has had its say."""


class GraphRun:
    """The running nodes of a graph; a context manager.

    `on_unwired` gets (node, message) for each data that no wire takes on.
    Raises `FileError` where an addon's package cannot be found.
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
        self._hosts: dict[str, ExtensionHost] = {}
        # The first node may send before the last one can receive.
        self._all_started = threading.Event()
        for node in graph.nodes:
            name, addon = str(node.get("name")), str(node.get("addon"))
            _load_addon(addon, folder)
            tree = dict(node.get("property") or {})
            if addon == package.NAME:
                # Whatever the graph says: no credentials, no network.
                tree["params"] = {
                    **tree.get("params", {}),
                    "console_endpoint_url": server.console_url,
                    "ingress_endpoint_url": server.ingress_url,
                }
            self._hosts[name] = self._host(name, addon, tree)
        for wire in self._wires:
            for end in (wire.source, wire.dest):
                if end not in self._hosts:
                    raise FileError(f"a connection names no node: {end!r}")

    def __enter__(self) -> "GraphRun":
        try:
            for host in self._hosts.values():
                host.start()
        finally:
            self._all_started.set()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for host in self._hosts.values():
            host.request_stop()
        for host in self._hosts.values():
            host.wait()

    def _host(self, name: str, addon: str, tree: Any) -> ExtensionHost:
        return ExtensionHost(
            addon,
            tree,
            name=name,
            on_data=lambda data: self._pass_data(name, data),
            on_cmd=lambda cmd: self._pass_cmd(name, cmd),
            on_audio_frame=lambda frame: self._pass_audio_frame(name, frame),
        )

    def _receivers(
        self, kind: str, message: str, source: str
    ) -> list[ExtensionHost]:
        # Starting a host does not need the loop that this holds up.
        self._all_started.wait()
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


def main(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A graph of few nodes.")
    ] = package.ROOT / "examples" / "wav-player" / "property.json",
    heard: Annotated[
        Path | None,
        typer.Option(help="Write what the Motion Server heard to this WAV."),
    ] = None,
    limit_s: Annotated[
        float, typer.Option(help="Stop after so many seconds in any case.")
    ] = 120,
) -> None:
    """Run a graph with a local Motion Server until all has been said.

    Addons are looked for beside FILE and in its ten_packages/extension.
    Relative paths in properties start at FILE's folder, as in a TEN app.

    Exit code: 0 something was said and heard, 1 nothing was, 2 the file
    cannot be used.
    """
    console = Console(highlight=False)
    heard = heard.absolute() if heard else None
    try:
        graphs = read(file).graphs
        if len(graphs) != 1:
            raise FileError(f"{file} holds {len(graphs)} graphs; expected one")
        with _folder(file.parent):
            said = _run(console, graphs[0], Path.cwd(), heard, limit_s)
    except FileError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if said else 1)


def _run(
    console: Console,
    graph: Graph,
    folder: Path,
    heard: Path | None,
    limit_s: float,
) -> bool:
    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    with MotionServer.in_thread() as server:
        started_s = server.record.started_s

        def tell(node: str, data: Data) -> None:
            if data.get_name() in REPORTS:
                at_s = time.monotonic() - started_s
                say(f"{at_s:9.3f} s  {node:<10}  {_in_words(data)}")

        def tell_event(event: Event) -> None:
            if event.kind != "audio":
                say(event_line(event, started_s))

        say(f"Motion Server at {server.ingress_url}")
        server.record.on_event(tell_event)
        with GraphRun(graph, folder, server, tell):
            _wait_until_said(server.record, limit_s)
        record = server.record
        audio_bytes = sum(request.audio_bytes for request in record.requests)
        say(
            f"The Motion Server heard {len(record.requests)} utterance(s), "
            f"{audio_bytes} bytes of audio."
        )
        if heard is not None and audio_bytes:
            heard.parent.mkdir(parents=True, exist_ok=True)
            record.write_wav(heard)
            say(f"What it heard: {heard}")
    return audio_bytes > 0


def _in_words(report: Data) -> str:
    text, _ = report.get_property_to_json(None)
    payload = json.loads(text)
    if report.get_name() == "avatar_state":
        return f"is {payload['state']} ({payload['reason']})"
    if report.get_name() == "error":
        return f"error {payload['code']}: {payload['message']}"
    return ", ".join(f"{k} {v}" for k, v in payload["metrics"].items())


def _wait_until_said(record: Record, limit_s: float) -> None:
    until_s = time.monotonic() + limit_s
    quiet_since_s = None
    while time.monotonic() < until_s:
        now_s = time.monotonic()
        requests = record.requests
        if not requests or not all(request.closed for request in requests):
            quiet_since_s = None
        elif quiet_since_s is None:
            quiet_since_s = now_s
        elif now_s - quiet_since_s >= QUIET_S:
            return
        time.sleep(0.05)


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
    spec.loader.exec_module(module)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    typer.run(main)
