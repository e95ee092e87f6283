"""The benchmarks run, and what they sent was received. Nothing is timed."""

import json
import os
import signal
import subprocess
import sys
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

from devkit.commands.bench import BENCHMARKS  # noqa: E402

PICTURES = {
    "latency": "latency.svg",
    "scale": "scaling.svg",
    "storm": "storm.svg",
}
MODELS = ("storm",)
"""These send nothing."""

NAMES = list(BENCHMARKS)


@pytest.mark.takes_s(30)
@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2]], ids="-".join)
def test_benchmarks_run(names: list[str], tmp_path: Path) -> None:
    """Each has figures, each goal was judged, and every byte was received."""
    command = [sys.executable, "-m", "devkit.commands.bench", "--short"]
    done = subprocess.run(
        [*command, *names, "--json", "-", "--pictures", str(tmp_path)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["short"] is True
    # Figures mean nothing without what they were measured on.
    assert {"cpu", "cores", "loop", "python", "sdk"} <= set(result["machine"])
    assert list(result["benchmarks"]) == names
    for name, benchmark in result["benchmarks"].items():
        assert benchmark["rows"]
        for row in benchmark["rows"]:
            assert isinstance(row["ours"], float)
            assert (row["met"] is None) == (row["goal"] == "")
        # The Motion Server counted what was handed to the SDK.
        assert (benchmark["sent_bytes"] > 0) == (name not in MODELS), name
        assert benchmark["received_bytes"] == benchmark["sent_bytes"], name
    pictures = sorted(tmp_path.iterdir())
    assert {file.name for file in pictures} == {
        PICTURES[name] for name in names if name in PICTURES
    }
    for file in pictures:
        _check_picture(file)


def _check_picture(file: Path) -> None:
    """It is SVG without a background of its own, under 200 KB."""
    text = file.read_text()
    assert text.startswith("<?xml") and "<svg" in text
    assert len(text) < 200_000
    assert "#ffffff" not in text


def test_a_percentile_is_a_value_that_was_measured():
    """It is the smallest that so many percent do not exceed."""
    from devkit.bench.figures import percentile

    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile([7.0], 99) == 7


def test_a_frame_is_late_until_its_last_byte_has_come():
    """Frames that were joined arrive together; one cut up, with its end."""
    from devkit.bench.latency import latencies

    sent = [(1.0, 10), (2.0, 20), (3.0, 30)]
    received = [(2.5, 20), (3.25, 25), (3.5, 30)]
    assert latencies(sent, received) == [1500, 500, 500]


def test_ctrl_c_says_stopped_and_nothing_else() -> None:
    """No process that measures shows a traceback, and none stays."""
    bench = subprocess.Popen(
        [sys.executable, "-m", "devkit.commands.bench", "--short"]
        + ["storm", "workers"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with bench:
        assert bench.stdout is not None
        assert "storm" in bench.stdout.readline()
        os.killpg(bench.pid, signal.SIGINT)
        # Whoever still runs would hold the streams open.
        _, errors = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert errors == "stopped\n"
