"""The benchmarks run, and their audio was received. No time is measured."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("matplotlib")
if not getattr(pytest.importorskip("ten_runtime"), "IS_STAND_IN", False):
    pytest.skip(
        "the benchmarks host extensions in the stand-in for ten_runtime, and "
        "the real one is installed",
        allow_module_level=True,
    )

from devkit.bench.frames import latencies  # noqa: E402
from devkit.bench.runner import (  # noqa: E402
    Goal,
    by_turns,
    compare,
    percentile,
)
from devkit.commands.bench import BENCHMARKS  # noqa: E402

PICTURES = {"cpu", "latency", "storm"}
MODELS = {"storm"}
"""These send nothing."""


@pytest.mark.takes_s(30)
def test_benchmarks_run(tmp_path: Path) -> None:
    """Each has figures, each goal was judged, and every byte was received."""
    command = [sys.executable, "-m", "devkit.commands.bench", "--short"]
    done = subprocess.run(
        [*command, "--json", "-", "--pictures", str(tmp_path)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "60"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["short"] is True
    # Figures need the facts of the machine.
    assert {"cpu", "cores", "load", "loop", "python", "sdk"} <= set(
        result["machine"]
    )
    assert list(result["benchmarks"]) == list(BENCHMARKS)
    for name, benchmark in result["benchmarks"].items():
        assert benchmark["rows"]
        for row in benchmark["rows"]:
            assert isinstance(row["ours"], float)
            assert (row["met"] is None) == (row["goal"] == "")
            # The table shows the row whole, however narrow the terminal.
            (line,) = (
                line
                for line in done.stderr.splitlines()
                if line.startswith(f"{row['what']} ")
            )
            assert line.split()[-1] in ("yes", "no") or row["met"] is None
        # The Motion Server counted the audio handed to the SDK.
        assert (benchmark["sent_bytes"] > 0) == (name not in MODELS), name
        assert benchmark["received_bytes"] == benchmark["sent_bytes"], name
    pictures = {file.stem: file.read_text() for file in tmp_path.iterdir()}
    assert set(pictures) == PICTURES
    for text in pictures.values():
        # SVG without a background of its own, for a dark page, too.
        assert text.startswith("<?xml") and "<svg" in text
        assert len(text) < 200_000
        assert "#ffffff" not in text


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """It is the smallest that so many percent do not exceed."""
    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile([7.0], 99) == 7


def test_a_frame_is_late_until_its_last_byte_has_come() -> None:
    """Frames that were joined arrive together; one cut up, with its end."""
    sent = [(1.0, 10), (2.0, 20), (3.0, 30)]
    received = [(2.5, 20), (3.25, 25), (3.5, 30)]
    assert latencies(sent, received) == [1500, 500, 500]


def test_sides_take_turns_and_all_see_each_round() -> None:
    """A round has each side once, in an order that changes."""
    calls: list[str] = []

    async def call(name: str) -> int:
        calls.append(name)
        return len(calls)

    sides = {name: partial(call, name) for name in ("ours", "bare")}
    results = asyncio.run(by_turns(sides, 50))
    rounds = [set(calls[at : at + 2]) for at in range(0, 100, 2)]
    assert rounds == [{"ours", "bare"}] * 50
    assert {calls[at] for at in range(0, 100, 2)} == {"ours", "bare"}
    assert [len(one) for one in results.values()] == [50, 50]


def test_the_interval_is_of_paired_rounds() -> None:
    """Noise that meets both sides of a round does not widen the ratio's."""
    noise = [1.0, 9.0, 3.0, 20.0, 5.0, 70.0]
    both = {"ours": [[3 * one] for one in noise], "bare": [[n] for n in noise]}
    row = compare("CPU", "us", both, reference="bare", goal=Goal(2, "ratio"))
    assert (row.ratio, row.interval, row.met) == (3.0, (3.0, 3.0), False)
    alone = compare("CPU", "us", {"ours": both["ours"]}, goal=Goal(30))
    assert alone.ratio is None and alone.met
    assert alone.interval is not None
    assert 3 <= alone.interval[0] < alone.ours < alone.interval[1] <= 210


def test_ctrl_c_says_stopped_and_nothing_else() -> None:
    """No process shows a traceback, and none stays."""
    bench = subprocess.Popen(
        [sys.executable, "-m", "devkit.commands.bench", "--short"]
        + ["storm", "latency"],
        cwd=ROOT,
        env={**os.environ, "TEN_STAND_IN_LOG": "error"},  # as bin/bench does
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with bench:
        assert bench.stdout is not None
        assert "storm" in bench.stdout.readline()
        os.killpg(bench.pid, signal.SIGINT)
        # A process that still runs would hold the streams open.
        _, errors = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert errors == "stopped\n"
