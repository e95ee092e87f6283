"""Runs a small graph of extensions without TEN, with a local Motion Server."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import package
from ..graph import FileError, Graph, expand, read
from ..graph.tree import leaves
from ..harness.run_graph import GraphRun
from ..motion_server import Event, MotionServer, Record, event_line
from .output import NotWritten, print_line, run, try_to_write

package.use_ten_runtime()

from ten_runtime import Data  # noqa: E402

REPORTS = ("avatar_state", "error", "metrics")
QUIET_S = 1.5
"""With every utterance ended for that long, the graph has finished."""
IDLE_S = 5.0
"""So has one in which no utterance began and no message was sent so long."""


def main(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A graph of few nodes.")
    ] = package.ROOT / "examples" / "wav-player" / "property.json",
    heard: Annotated[
        Path | None,
        typer.Option(help="Write the audio that the Motion Server received."),
    ] = None,
    limit_s: Annotated[
        float,
        typer.Option(min=0, help="Stop after so many seconds in any case."),
    ] = 120,
) -> None:
    """Run a graph with a local Motion Server until all has been spoken.

    Addons are looked for beside FILE and in its ten_packages/extension.
    Relative paths in properties start at FILE's folder, as in a TEN app.

    Exit code: 0 speech was received, 1 none was or a node failed, 2 an
    argument cannot be used.
    """
    console = Console(highlight=False)
    heard = heard.absolute() if heard else None
    try:
        graphs = read(file).graphs
        if len(graphs) != 1:
            raise FileError(f"{file} holds {len(graphs)} graphs; expected one")
        if heard is not None:
            inputs = [file, *_files_of(graphs[0], file.parent)]
            try_to_write(heard, inputs, "a file that the graph reads")
        with _folder(file.parent):
            done = _run(console, graphs[0], Path.cwd(), heard, limit_s)
    except (FileError, NotWritten) as error:
        print_line(console, error, "red")
        raise typer.Exit(2) from None
    raise typer.Exit(0 if done else 1)


def _run(
    console: Console,
    graph: Graph,
    folder: Path,
    heard: Path | None,
    limit_s: float,
) -> bool:
    def say(text: str) -> None:
        print_line(console, text)

    with MotionServer.in_thread() as server:
        started_s = server.record.started_s

        def print_report(node: str, data: Data) -> None:
            if data.get_name() in REPORTS:
                at_s = time.monotonic() - started_s
                say(f"{at_s:9.3f} s  {node:<10}  {_in_words(data)}")

        def print_event(event: Event) -> None:
            if event.kind != "audio":
                say(event_line(event, started_s))

        say(f"Motion Server at {server.ingress_url}")
        server.record.on_event(print_event)
        with GraphRun(graph, folder, server, print_report) as graph_run:
            if not _wait_until_done(graph_run, server.record, limit_s):
                say(f"Stopped after {limit_s:g} s (--limit-s).")
        record = server.record
        audio_bytes = sum(request.audio_bytes for request in record.requests)
        say(
            f"The Motion Server received {len(record.requests)} utterance"
            f"{'' if len(record.requests) == 1 else 's'}, {audio_bytes} bytes "
            "of audio."
        )
        if heard is not None and audio_bytes:
            record.write_wav(heard)
            say(f"Written to {heard}")
    if graph_run.failure:
        print_line(console, graph_run.failure, "red")
    return audio_bytes > 0 and not graph_run.failure


def _in_words(report: Data) -> str:
    text, _ = report.get_property_to_json(None)
    payload = json.loads(text)
    if report.get_name() == "avatar_state":
        return f"is {payload['state']} ({payload['reason']})"
    if report.get_name() == "error":
        return f"error {payload['code']}: {payload['message']}"
    return ", ".join(f"{k} {v}" for k, v in payload["metrics"].items())


def _wait_until_done(run: GraphRun, record: Record, limit_s: float) -> bool:
    """Return whether the graph has finished within the limit."""
    now_s = time.monotonic()
    until_s = now_s + limit_s
    open_until_s = now_s
    while now_s < until_s and not run.failure:
        requests = record.requests
        if not all(request.closed for request in requests):
            open_until_s = now_s
        elif requests and now_s - open_until_s >= QUIET_S:
            return True
        elif now_s - max(open_until_s, run.last_message_s) >= IDLE_S:
            return True
        time.sleep(0.05)
        now_s = time.monotonic()
    return bool(run.failure)


def _files_of(graph: Graph, folder: Path) -> Iterator[Path]:
    """Yield the files that the nodes' properties may name."""
    for node in graph.extensions:
        for _, value in leaves(expand(node.property, os.environ, {})):
            if isinstance(value, str) and value:
                yield folder / value


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/run-graph")
