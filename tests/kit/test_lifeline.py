"""Child processes end with their parent, even where that is killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Without the package's __init__, which loads an SDK.
PARENT = f"""
import sys, time, types
bench = types.ModuleType("devkit.bench")
bench.__path__ = [{str(ROOT / "devkit" / "bench")!r}]
sys.modules["devkit.bench"] = bench
from devkit.bench.service import motion_server
with motion_server() as service:
    print("started", flush=True)
    time.sleep(600)
"""


def test_children_end_when_their_parent_is_killed():
    """All that hold the parent's output are gone, so that it ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline() == "started\n"
            parent.kill()
            # stderr of every child is this pipe: it ends with the last one.
            parent.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def test_a_module_runs_with_its_own_arguments():
    """The exit code and the arguments are the module's, the output too."""
    with subprocess.Popen(
        [sys.executable, "-m", "devkit.lifeline", "devkit.commands.check", "x"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read()
        assert child.wait(120) == 2
    assert "x does not exist" in output
