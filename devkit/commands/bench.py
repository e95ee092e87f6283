"""Measure the extension beside the bare SDK: `bin/bench`."""

import json
import os
import signal
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from ..bench import cpu, flush, latency, recovery, storm
from ..bench.runner import Outcome, Settings
from ..bench.service import Service, motion_server
from ..bench.table import as_json, machine, notes, received_line, table
from . import INTERRUPTED
from .output import NotWritten, print_whole, run, try_to_write

BENCHMARKS: dict[str, Callable[[Settings, Service], Outcome]] = {
    "cpu": cpu.run,
    "latency": latency.run,
    "flush": flush.run,
    "recovery": recovery.run,
    "storm": storm.run,
}


class Name(str, Enum):
    """The benchmarks, by name."""

    CPU = "cpu"
    LATENCY = "latency"
    FLUSH = "flush"
    RECOVERY = "recovery"
    STORM = "storm"


def main(
    short: Annotated[
        bool,
        typer.Option(
            "--short",
            help="Only check that everything runs; the figures mean nothing.",
        ),
    ] = False,
    json_to: Annotated[
        Optional[Path],
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the figures as JSON; - is stdout.",
        ),
    ] = None,
    only: Annotated[
        Optional[list[Name]],
        typer.Argument(metavar="NAME", help="All of them by default."),
    ] = None,
    runs: Annotated[
        Optional[int],
        typer.Option(min=1, help="How many rounds of each measurement."),
    ] = None,
    draw_to: Annotated[
        Optional[Path],
        typer.Option(
            "--pictures", metavar="FOLDER", help="Draw pictures into it."
        ),
    ] = None,
) -> None:
    """Measure the extension beside the bare SDK, in turn, on this machine.

    The table says which goals are met.

    Exit code: 0 all speech that was sent was received, 1 some was not, 2 an
    argument cannot be used, 130 stopped by Ctrl-C.
    """
    to_stdout = json_to is not None and str(json_to) == "-"
    try:
        if json_to is not None and not to_stdout:
            try_to_write(json_to)
        if draw_to is not None:
            try_to_write(draw_to / "figures.svg")
    except NotWritten as error:
        raise typer.BadParameter(str(error)) from None
    console = Console(highlight=False, stderr=to_stdout)
    settings = Settings(short, runs)
    names = [one.value for one in only] if only else list(BENCHMARKS)
    outcomes: dict[str, Outcome] = {}
    # From here on there is a process to end, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with motion_server() as service:
            for name in names:
                with console.status(f"measuring {name} ..."):
                    outcomes[name] = BENCHMARKS[name](settings, service)
                console.print(received_line(name, outcomes[name]))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        os._exit(INTERRUPTED)  # the shared event loop still runs
    console.print()
    print_whole(console, table(outcomes))
    for note in notes(outcomes):
        console.print(f"[dim]{note}[/]", soft_wrap=True)
    values = ", ".join(f"{k}: {v}" for k, v in machine().items())
    console.print(values, soft_wrap=True)
    if draw_to is not None:
        from ..bench import pictures  # takes long to import

        curves = {
            name: values
            for outcome in outcomes.values()
            for name, values in outcome.curves.items()
        }
        for path in pictures.draw(curves, draw_to):
            console.print(f"drew {path}")
    text = json.dumps(as_json(outcomes, short), indent=2)
    if to_stdout:
        print(text)
    elif json_to is not None:
        json_to.write_text(text + "\n", encoding="utf-8")
    is_whole = all(
        outcome.received_bytes == outcome.sent_bytes
        for outcome in outcomes.values()
    )
    raise typer.Exit(0 if is_whole else 1)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/bench")
