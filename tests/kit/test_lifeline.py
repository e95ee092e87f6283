"""Child processes end with their parent, even where that is killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PARENTS = {
    "Motion Server of a benchmark": """
from devkit.bench.service import motion_server
with motion_server() as service:
    print("started", flush=True)
    time.sleep(600)
""",
    "benchmark's process": """
from devkit.bench.apart import apart
if __name__ == "__main__":
    apart(exec, "import time; print('started', flush=True); time.sleep(600)")
""",
    "process of a benchmark's process": """
from devkit.bench.apart import apart
if __name__ == "__main__":
    apart(exec, '''
import builtins, time
from devkit.bench.apart import apart
apart(builtins.exec,
      "import time; print('started', flush=True); time.sleep(600)")
''')
""",
}


def written(folder, code):
    """Write a script that has devkit.bench without its __init__, which loads
    an SDK."""
    script = folder / "parent.py"
    script.write_text(
        "import sys, time, types\n"
        "bench = types.ModuleType('devkit.bench')\n"
        f"bench.__path__ = [{str(ROOT / 'devkit' / 'bench')!r}]\n"
        f"sys.modules['devkit.bench'] = bench\n{code}"
    )
    return script


@pytest.mark.parametrize("code", PARENTS.values(), ids=PARENTS)
def test_children_end_when_their_parent_is_killed(code, tmp_path):
    """All that hold the parent's output are gone, so that it ends."""
    script = written(tmp_path, code)
    with subprocess.Popen(
        [sys.executable, str(script)],
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


CTRL_C = """
import os, signal, threading
from devkit.bench.apart import interrupts_blocked
signal.signal(signal.SIGINT, signal.default_int_handler)
arrived, arrives = os.pipe()
os.set_blocking(arrives, False)
signal.set_wakeup_fd(arrives)
may_end = threading.Event()
other = threading.Thread(target=may_end.wait, daemon=True)
other.start()
with interrupts_blocked():
    {send}
    print("not yet", flush=True)
print("never")
"""
SENDERS = {
    "main thread": "signal.pthread_kill(threading.get_ident(), signal.SIGINT)",
    "another thread": "signal.pthread_kill(other.ident, signal.SIGINT); "
    "os.read(arrived, 1)",
}


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_ctrl_c_while_a_process_starts_comes_afterwards(send, tmp_path):
    """Whichever thread of the process takes it: the start is not broken off,
    and the measurement does not run to its end."""
    done = subprocess.run(
        [sys.executable, str(written(tmp_path, CTRL_C.format(send=send)))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "not yet\n"
    assert "KeyboardInterrupt" in done.stderr


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
