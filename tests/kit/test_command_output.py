"""Commands whose output cannot be written, or is not read to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from agent import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")
COMMANDS = [
    ("check", "property.json"),
    ("check", "--help"),
    ("client_token", "--uid", "5"),
]


def run(output: int, name: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a command; its exit code and the lines of its error output."""
    done = subprocess.run(
        [sys.executable, "-m", f"devkit.commands.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, **VARIABLES, "AGORA_TOKEN": ""},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    advice = "For development only."  # of bin/client-token, before its output
    lines = done.stderr.splitlines()
    return done.returncode, [x for x in lines if not x.startswith(advice)]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_full_disk_is_said_in_one_line(command):
    """And in the exit code: the reader of the output has not all of it."""
    with FULL.open("wb") as full:
        code, errors = run(full.fileno(), *command)
    assert code == 1
    (line,) = errors
    assert line.startswith("the output cannot be written: No space left")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_reader_that_has_left_is_no_problem(command):
    """As `head` does when it has its lines: no word of it."""
    reader, writer = os.pipe()
    os.close(reader)
    _, errors = run(writer, *command)
    os.close(writer)
    assert errors == []
