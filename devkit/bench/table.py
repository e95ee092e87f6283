"""The result of a run, for people and for machines."""

import os
import platform
from dataclasses import asdict
from typing import Any

import psutil
from rich.table import Table
from spatius_avatar_python.session import sdk

from .runner import Outcome, Row

COLUMNS = ("ours", "thinnest", "bare SDK", "ratio", "90 % interval")


def table(outcomes: dict[str, Outcome]) -> Table:
    """Return the rows of all benchmarks as a table for a terminal."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("what", no_wrap=True)
    for name in COLUMNS:
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("goal", no_wrap=True)
    drawn.add_column("met", no_wrap=True)
    for outcome in outcomes.values():
        for row in outcome.rows:
            drawn.add_row(*_cells(row))
        drawn.add_row()
    return drawn


def _cells(row: Row) -> list[str]:
    met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.met]
    interval = " to ".join(map(_number, row.interval or ()))
    figures = [_number(one) for one in (row.ours, row.thinnest, row.bare)]
    figures[0] += f" {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return [row.what, *figures, ratio, interval, row.goal, met]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def notes(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the notes of the rows."""
    return [
        f"{row.what}: {row.note}"
        for outcome in outcomes.values()
        for row in outcome.rows
        if row.note
    ]


def received_line(name: str, outcome: Outcome) -> str:
    """Return whether all that was sent in a benchmark was received."""
    if not outcome.sent_bytes:
        return f"{name}: a model, nothing was sent"
    if outcome.received_bytes == outcome.sent_bytes:
        return f"{name}: all {outcome.sent_bytes} bytes sent were received"
    return (
        f"[red]{name}: {outcome.sent_bytes} bytes were sent, and "
        f"{outcome.received_bytes} received[/]"
    )


def machine() -> dict[str, Any]:
    """Return the machine and the load that the figures depend on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load": round(psutil.getloadavg()[0], 1),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "loop": os.environ.get("TEN_STAND_IN_LOOP") or "uvloop",
        "sdk": sdk.package(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor()


def as_json(outcomes: dict[str, Outcome], short: bool) -> dict[str, Any]:
    """Return the whole result as JSON values, without the curves."""
    benchmarks = {name: asdict(one) for name, one in outcomes.items()}
    for one in benchmarks.values():
        del one["curves"]
    return {"machine": machine(), "short": short, "benchmarks": benchmarks}
