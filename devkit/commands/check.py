"""Says what is wrong with a configuration before any agent is started."""

import asyncio
import contextlib
import importlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import package
from ..node import (
    FileError,
    Graph,
    Node,
    Resolved,
    configure,
    expand,
    paths_of,
    read,
    resolve,
)

package.load()
config: Any = importlib.import_module(".config", package.NAME)
redact: Any = importlib.import_module(".redact", package.NAME)
sdk: Any = importlib.import_module(".session.sdk", package.NAME)
token: Any = importlib.import_module(".token", package.NAME)

PROBLEMS, UNUSABLE, NOT_CONNECTED = 1, 2, 3

SECRETS = ("spatius_api_key", "agora_token", "agora_appcert")
SILENCE_S = 1.0
MESSAGE_S = 0.1
LISTEN_S = 0.5
"""How long a complaint about the silence may take."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class PropertyRow:
    """One property: what it resolves to, and where that comes from."""

    name: str
    value: str
    source: str


@dataclass
class NodeReport:
    """What there is to say about one node."""

    node: Node
    resolved: Resolved
    config: Any = None
    """None where there are problems."""
    rows: list[PropertyRow] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def main(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An extension's property.json, a TEN app's property.json, "
            "or a graph file.",
            show_default=False,
        ),
    ],
    node: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Check this node only; otherwise every one with the addon.",
        ),
    ] = None,
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="Open a real session, send one second of silence, close. It "
            "joins the channel with the avatar's uid, so not while an agent "
            "runs with it.",
        ),
    ] = False,
) -> None:
    """Say what is wrong with the avatar's configuration, all at once.

    The extension's own property.json, ${env:...} and the types in
    manifest.json are applied as TEN does it, with the environment variables
    of this shell; $NAME stands for one of them. No secret is shown.

    Exit code: 0 all is well, 1 problems were found, 2 the file cannot be
    used, 3 no session could be opened.
    """
    console = Console(highlight=False)
    try:
        contents = read(file)
        reports = [
            examine(found, contents.nulls, os.environ, time.time())
            for found in contents.nodes(package.NAME, node)
        ]
    except FileError as error:
        Console(stderr=True, highlight=False).print(
            str(error), style="red", markup=False, soft_wrap=True
        )
        raise typer.Exit(UNUSABLE) from None

    exit_code = 0
    for report in reports:
        _print(console, file, report)
        if report.problems:
            exit_code = exit_code or PROBLEMS
        elif connect and not asyncio.run(_connect(console, report)):
            exit_code = NOT_CONNECTED
    if connect and exit_code == PROBLEMS:
        console.print("Not connected: the problems come first.")
    raise typer.Exit(exit_code)


def examine(
    node: Node, nulls: list[str], environ: Mapping[str, str], now_s: float
) -> NodeReport:
    """Return all there is to say about `node` without a connection."""
    resolved = resolve(node, package.ROOT, environ)
    report = NodeReport(node, resolved)
    for path in nulls:
        report.problems.append(
            f"{path}: null. TEN's official runtime ignores a whole "
            'property.json that holds a null anywhere; use "", or leave the '
            "property out"
        )
    try:
        report.config = configure(resolved, now_s)
    except config.ConfigError as error:
        report.problems += error.problems
    else:
        report.warnings += report.config.warnings
        report.facts = _facts(report, now_s)
        problem = sdk.problem(report.config.params.audio_format == "ogg_opus")
        if problem:
            report.problems.append(problem)
    if node.graph is not None:
        _look_at_graph(report, node.graph, environ)
    report.rows = _rows(report)
    return report


# What each value resolves to.


def _rows(report: NodeReport) -> list[PropertyRow]:
    tree = report.resolved.tree
    raw = tree.get("params")
    raw = raw if isinstance(raw, dict) else {}
    broken = {path for problem in report.problems for path in paths_of(problem)}
    loaded = report.config.summary() if report.config else None
    rows = []
    for name, model_field in config.Params.model_fields.items():
        path, given = f"params.{name}", raw.get(name)
        default = None if model_field.is_required() else model_field.default
        if name == "agora_channel" and not _is_missing(tree.get("channel")):
            path, given = "channel", tree["channel"]
        value = loaded["params"][name] if loaded else given
        if name == "agora_appid":
            value = given  # a log shortens it, but it is no secret
        rows.append(_row(report.resolved, path, given, value, default, broken))
    for name, default in (("dump", False), ("dump_path", None)):
        given = tree.get(name)
        value = loaded[name] if loaded else given
        rows.append(_row(report.resolved, name, given, value, default, broken))
    return rows


def _row(
    resolved: Resolved,
    path: str,
    given: Any,
    value: Any,
    default: Any,
    broken: set[str],
) -> PropertyRow:
    name = path.removeprefix("params.")
    missing = _is_missing(given)
    if path in broken:
        shown = "missing, see below" if missing else "wrong, see below"
    elif name in SECRETS:
        shown = "not set" if missing else "set"
    else:
        if missing and default is not None:
            value = default
        shown = _shown(value)
    return PropertyRow(name, shown, _source(resolved, path, missing, default))


def _source(resolved: Resolved, path: str, missing: bool, default: Any) -> str:
    origin = resolved.origins.get(path)
    if missing and default is not None:
        return "default"
    if origin is None:
        return ""
    if not origin.variable:
        return "" if missing else origin.layer
    if origin.is_set:
        return f"${origin.variable}" + (", empty" if missing else "")
    if missing:
        return f"${origin.variable}, unset"
    return f"default of ${origin.variable}"


def _shown(value: Any) -> str:
    if _is_missing(value):
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if "${env:" in text:
        return "a placeholder, see below"  # its default may be a secret
    if "://" in text:
        return config.bare_url(text)
    return text


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _facts(report: NodeReport, now_s: float) -> list[tuple[str, str]]:
    params = report.config.params
    console, ingress = _endpoints(params)
    return [
        ("SDK package", sdk.package() or "none"),
        ("console", console),
        ("ingress", ingress),
        ("Agora token", _agora_token(params, now_s)),
    ]


def _endpoints(params: Any) -> tuple[str, str]:
    urls = sdk.endpoints(params)
    if urls is None:
        nearest = "of the region that Spatius names (auto)"
        return nearest, nearest
    return config.bare_url(urls[0]), config.bare_url(urls[1])


def _agora_token(params: Any, now_s: float) -> str:
    if params.agora_token is None:
        minutes = params.session_expire_minutes
        ends_at = _clock_time(now_s + minutes * 60)
        return (
            f"signed for each session, for {minutes} min; signed now it "
            f"would end at {ends_at}"
        )
    facts = token.read(params.agora_token.get_secret_value())
    if facts is None or facts.ends_at_s is None:
        return "given; its end cannot be read"
    left_min = (facts.ends_at_s - now_s) / 60
    return (
        f"given; ends at {_clock_time(facts.ends_at_s)}, in {left_min:.0f} min"
    )


def _clock_time(epoch_s: float) -> str:
    moment = datetime.fromtimestamp(epoch_s, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# The graph around the node.


def _look_at_graph(
    report: NodeReport, graph: Graph, environ: Mapping[str, str]
) -> None:
    name = report.node.name
    if "channel" not in report.node.property:
        report.warnings.append(
            "channel: the node has no such property of its own. TEN's agent "
            "server puts a session's channel only into nodes that have it; "
            'add "channel": ""'
        )
    report.warnings += _wiring_warnings(graph, name)
    _look_at_rtc(report, graph, environ)
    _look_at_variables(report, graph, environ)


def _wiring_warnings(graph: Graph, name: str) -> list[str]:
    wires = graph.wires()
    if not wires:
        return []
    arriving = [wire for wire in wires if wire.dest == name]

    def is_wired(kind: str, *messages: str) -> bool:
        return any(
            wire.kind == kind and wire.message in (*messages, "*")
            for wire in arriving
        )

    warnings = []
    if not is_wired("audio_frame", "pcm_frame"):
        warnings.append(
            f"pcm_frame is not wired to {name}: the avatar gets nothing to "
            "say. Wire the audio_frame pcm_frame of the TTS to it"
        )
    if not is_wired("data", "tts_audio_end", "finalize"):
        warnings.append(
            f"tts_audio_end is not wired to {name}: speech is taken for "
            "finished only when no audio came for end_of_speech_timeout_ms. "
            "Wire the data tts_audio_end of the TTS to it"
        )
    if not is_wired("cmd", "flush"):
        warnings.append(
            f"flush is not wired to {name}: the avatar speaks on when the "
            "user barges in, unless the agent sends flush to this node by "
            "its name. Wire the cmd flush of the agent to it"
        )
    speakers = {
        wire.source
        for wire in arriving
        if wire.kind == "audio_frame" and wire.message in ("pcm_frame", "*")
    }
    for wire in wires:
        if (
            wire.kind == "audio_frame"
            and wire.source in speakers
            and wire.dest in _rtc_nodes(graph)
        ):
            warnings.append(
                f"pcm_frame of {wire.source} is wired to {wire.dest} as well: "
                "the speech is heard twice. The avatar brings the sound; "
                "take that wire away"
            )
    return warnings


def _rtc_nodes(graph: Graph) -> list[str]:
    return [
        str(node.get("name"))
        for node in graph.nodes
        if node.get("addon") == "agora_rtc"
    ]


def _look_at_rtc(
    report: NodeReport, graph: Graph, environ: Mapping[str, str]
) -> None:
    """Hold the avatar's uid and channel against the RTC node's."""
    tree = report.resolved.tree
    params = tree.get("params")
    params = params if isinstance(params, dict) else {}
    uid = str(params.get("agora_uid", "")).strip()
    own_channel = tree.get("channel") or params.get("agora_channel")
    for rtc in _rtc_nodes(graph):
        properties = expand(graph.property_of(rtc), environ, {})
        for key in ("stream_id", "remote_stream_id"):
            if uid and str(properties.get(key)) == uid:
                report.problems.append(
                    f"params.agora_uid: {uid} is also the {key} of {rtc}; "
                    "every participant of a channel needs a uid of its own"
                )
        channel = properties.get("channel")
        if channel and own_channel and channel != own_channel:
            report.warnings.append(
                f"{rtc} joins the channel {channel!r}, the avatar "
                f"{own_channel!r}; they meet only in the same one"
            )


def _look_at_variables(
    report: NodeReport, graph: Graph, environ: Mapping[str, str]
) -> None:
    """Tell what the other nodes miss: TEN would not start without it."""
    unset: dict[str, str] = {}
    for node in graph.nodes:
        if node.get("name") != report.node.name:
            name = str(node.get("name"))
            expand(node.get("property"), environ, unset, name)
    if unset:
        names = ", ".join(sorted(set(unset.values())))
        report.warnings.append(
            "other nodes need environment variables that are not set, and "
            f"TEN ends the process without them: {names}"
        )


# A real session.


async def _connect(console: Console, report: NodeReport) -> bool:
    """Open a session, send silence, close; say how it went."""
    params = report.config.params
    hide = redact.Redactor(report.config.secrets())

    def say(text: str, style: str = "", indent: int = 0) -> None:
        words = Text(hide(text), style=style)
        console.print(Padding(words, (0, 0, 0, indent)))

    say(
        f"Connecting as uid {params.agora_uid} in the channel "
        f"{params.agora_channel} ..."
    )
    began = time.monotonic()
    complaints: list[Any] = []
    complained = asyncio.Event()

    def note(failure: Any) -> None:
        complaints.append(failure)
        complained.set()

    session = None
    try:
        ends_at_s = int(time.time()) + params.session_expire_minutes * 60
        agora_token = params.issue_agora_token(ends_at_s)
        hide.add(agora_token)
        session = sdk.Session(params, agora_token, ends_at_s, note)
        connection_id = await session.open()
        took_s = time.monotonic() - began
        say(f"Session {connection_id} opened after {took_s:.2f} s.")
        await _send_silence(session, params.sample_rate)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(complained.wait(), LISTEN_S)
        ended = [item for item in complaints if item.ends_session]
        if ended:
            raise sdk.SessionError(ended[0])
    except sdk.SessionError as error:
        _explain(say, report, error.failure)
        return False
    finally:
        if session is not None:
            for secret in session.secrets():
                hide.add(secret)
            await session.close()
    for complaint in complaints:
        say(f"Spatius complained: {complaint.message}", "yellow")
    say(
        f"{SILENCE_S:.0f} s of silence sent, session closed: it works.", "green"
    )
    return True


async def _send_silence(session: Any, sample_rate: int) -> None:
    count = round(SILENCE_S / MESSAGE_S)
    message = bytes(2 * round(sample_rate * MESSAGE_S))
    for number in range(1, count + 1):
        await session.send(message, number == count)
        await asyncio.sleep(MESSAGE_S)


def _explain(
    say: Callable[..., None], report: NodeReport, failure: Any
) -> None:
    say(f"No session: {failure.message}", "red")
    for name in dict.fromkeys(re.findall(r"params\.(\w+)", failure.message)):
        row = next((row for row in report.rows if row.name == name), None)
        if row is not None and row.source:
            come_from = f"params.{name} ({row.value}) comes from {row.source}."
            say(come_from, indent=2)
    for line in _what_to_do(report, failure):
        say(line, indent=2)


def _what_to_do(report: NodeReport, failure: Any) -> list[str]:
    facts = dict(report.facts)
    if failure.code == "connectionFailed":
        is_ingress = failure.phase.startswith("websocket")
        target = facts["ingress" if is_ingress else "console"]
        host = urlsplit(target).hostname
        if host in LOOPBACK:
            port = urlsplit(facts["console"]).port or 80
            return [
                f"Nothing answers at {target}. Is the local Motion Server "
                "running? PYTHONPATH=. .venv/bin/python -m "
                f"devkit.commands.motion_server --port {port}"
            ]
        if not host:
            target = "https://console.us-west.spatius.ai"
        target = re.sub("^ws", "http", target)  # which curl knows better
        return [
            f"Try from this machine: curl -sv {target}",
            "No address: check the region's spelling and the DNS. No "
            "connection: a firewall or proxy must let HTTPS and secure "
            "WebSockets (port 443) out.",
        ]
    if failure.fatal:
        return [
            "An agent would stop here and not try again: correct it, then "
            "run this command once more."
        ]
    return [
        "An agent would go on trying by itself: run this command again in a "
        "minute, and look at Spatius's status if it stays so."
    ]


# How it looks.


def _print(console: Console, file: Path, report: NodeReport) -> None:
    console.print(
        f"{file}: {report.node}\n", style="bold", markup=False, soft_wrap=True
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("property", no_wrap=True)
    table.add_column("resolves to", overflow="fold")
    table.add_column("from", style="dim", overflow="fold")
    for row in report.rows:
        style = "red" if row.value.endswith("see below") else ""
        table.add_row(row.name, row.value, row.source, style=style)
    console.print(table, markup=False)
    if report.facts:
        console.print()
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in report.facts:
            grid.add_row(name, text)
        console.print(grid, markup=False)
    console.print()
    _print_list(console, "problem", "red", report.problems)
    _print_list(console, "warning", "yellow", report.warnings)
    if not report.problems:
        console.print("No problems.\n", style="green")


def _print_list(
    console: Console, noun: str, style: str, texts: list[str]
) -> None:
    if not texts:
        return
    plural = "" if len(texts) == 1 else "s"
    console.print(f"{len(texts)} {noun}{plural}", style=style)
    grid = Table.grid(padding=(0, 1, 0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, text in enumerate(texts, 1):
        grid.add_row(f"{number}.", text)
    console.print(grid, markup=False)
    console.print()


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="bin/check")
