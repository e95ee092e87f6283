"""Checks an avatar's configuration and graph before any agent is started."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import package
from ..graph import FileError, read
from ..graph.app import check_file
from ..graph.env_file import hint_at_env_file, read_env_file, warn_of_quotes
from ..graph.report import SEE_BELOW, NodeReport, examine
from .output import print_columns, print_line, run

PROBLEMS, UNUSABLE, NOT_CONNECTED = 1, 2, 3


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
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Read environment variables from this file, as TEN's "
            "Taskfile and docker compose read ai_agents/.env.",
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Check with this channel where TEN's agent server puts that "
            "of a session.",
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
    """Report all problems of the avatar's configuration and graph together.

    The extension's own property.json, ${env:...} and the types in
    manifest.json are applied as TEN does it, with the environment variables
    of this shell; $NAME stands for one of them. No secret is shown.

    Exit code: 0 no errors, 1 errors were found, 2 the file cannot be used,
    3 no session could be opened.
    """
    console = Console(highlight=False)
    try:
        environ, quoted = dict(os.environ), set[str]()
        if env_file is not None:
            values, quoted = read_env_file(env_file)
            environ.update(values)
        contents = read(file)
        if channel is not None:
            contents.start_in(channel)
        found = contents.nodes(package.NAME, node)
        whole = check_file(contents, found, environ)
        now_s = time.time()
        reports = [examine(each, [], environ, now_s) for each in found]
    except FileError as error:
        print_line(Console(stderr=True, highlight=False), error, "red")
        raise typer.Exit(UNUSABLE) from None
    if env_file is None:
        whole.notes += hint_at_env_file(file, reports)
    else:
        whole.warnings += warn_of_quotes(env_file, quoted, reports)
    reports[0].findings.add(whole)

    exit_code = refused = 0
    for report in reports:
        _print(console, file, report)
        if report.findings.errors or whole.errors:
            exit_code = exit_code or PROBLEMS
        elif connect and not _connect(console, report):
            exit_code = NOT_CONNECTED
            refused += 1
    if connect and exit_code == PROBLEMS:
        console.print("Not connected: correct the errors first.")
    _print_count(console, reports, refused)
    raise typer.Exit(exit_code)


def _connect(console: Console, report: NodeReport) -> bool:
    if report.resolved.is_channel_open:
        console.print(
            "No session: the channel is left to TEN's agent server. Name one "
            "with --channel NAME.",
            style="red",
        )
        return False
    from .probe import connect  # which imports an SDK

    return asyncio.run(connect(console, report))


def _print(console: Console, file: Path, report: NodeReport) -> None:
    print_line(console, f"{file}: {report.node}\n", "bold")
    rows = [[("property", "dim"), ("resolves to", "dim"), ("from", "dim")]]
    for row in report.rows:
        style = "red" if row.value.endswith(SEE_BELOW) else ""
        rows.append(
            [(row.name, style), (row.value, style), (row.source, "dim")]
        )
    print_columns(console, rows)
    if report.facts:
        console.print()
        print_columns(
            console, [[(name, ""), (text, "")] for name, text in report.facts]
        )
    console.print()
    found = report.findings
    _print_list(console, "error", "red", found.errors)
    _print_list(console, "warning", "yellow", found.warnings)
    _print_list(console, "note", "dim", found.notes)


def _print_list(
    console: Console, noun: str, style: str, texts: list[str]
) -> None:
    if not texts:
        return
    console.print(_counted(len(texts), noun), style=style)
    digits = len(str(len(texts)))
    rows = [
        [(f" {number:>{digits}}.", ""), (text, "")]
        for number, text in enumerate(texts, 1)
    ]
    print_columns(console, rows, gap=1)
    console.print()


def _print_count(
    console: Console, reports: list[NodeReport], refused: int
) -> None:
    """Print the last line; `refused` is the number of failed sessions."""
    errors = sum(len(report.findings.errors) for report in reports) + refused
    warnings = sum(len(report.findings.warnings) for report in reports)
    notes = sum(len(report.findings.notes) for report in reports)
    if errors or warnings or notes:
        counts = [_counted(errors, "error"), _counted(warnings, "warning")]
        if notes:
            counts.append(_counted(notes, "note"))
        style = "red" if errors else "yellow" if warnings else "none"
        console.print(", ".join(counts), style=style)
    else:
        console.print("No problems.", style="green")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/check")
