"""The benchmarks run, and what they sent was heard. Nothing is timed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"cpu", "latency", "flush", "blocking", "scale", "startup", "memory"}

pytest.importorskip("matplotlib")
if not getattr(pytest.importorskip("ten_runtime"), "IS_STAND_IN", False):
    pytest.skip(
        "the benchmarks host extensions in the stand-in for ten_runtime, and "
        "the real one is installed",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """The result of one short run, and the folder of its pictures."""
    pictures = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, "-m", "devkit.bench", "--short", "--json", "-"]
    done = subprocess.run(
        [*command, "--pictures", str(pictures)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), pictures


def test_every_benchmark_runs(run):
    """Each has figures, and each goal was judged."""
    result, _ = run
    assert set(result["benchmarks"]) == NAMES
    for benchmark in result["benchmarks"].values():
        assert benchmark["rows"]
        for row in benchmark["rows"]:
            assert isinstance(row["ours"], float)
            assert (row["met"] is None) == (row["goal"] == "")


def test_what_was_sent_was_heard(run):
    """The Motion Server counted every byte that was handed to the SDK."""
    result, _ = run
    for name, benchmark in result["benchmarks"].items():
        assert benchmark["sent_bytes"] > 0, name
        assert benchmark["heard_bytes"] == benchmark["sent_bytes"], name


def test_the_machine_is_named(run):
    """Figures mean nothing without what they were measured on."""
    result, _ = run
    assert result["short"] is True
    assert {"cpu", "cores", "loop", "python", "sdk"} <= set(result["machine"])


def test_the_pictures_are_small_and_can_be_read_on_any_page(run):
    """They are SVG without a background of their own, under 200 KB."""
    _, folder = run
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["latency.svg", "scaling.svg"]
    for file in files:
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
