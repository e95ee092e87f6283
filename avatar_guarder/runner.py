#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Runs the suite on an extension and gives a verdict on each rule."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import isolation
from .loader import Unusable
from .rules import RULES
from .verdicts import (
    BROKEN,
    KEPT,
    NOT_APPLICABLE,
    NOT_TESTABLE,
    OUTCOMES,
    Verdict,
    plain,
)

__all__ = [
    "BROKEN",
    "JOBS",
    "KEPT",
    "LIMIT_S",
    "NOT_APPLICABLE",
    "NOT_TESTABLE",
    "OUTCOMES",
    "Subject",
    "Verdict",
    "command",
    "run",
]

SUITE = Path(__file__).resolve().parent
JOBS = 6
LIMIT_S = 40
POLL_S = 0.2


@dataclass(frozen=True)
class Subject:
    """The extension under test and the setup of the test."""

    folder: Path
    addon: str
    config_dir: Path | None = None
    vendor: str = "none"
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)
    ten_packages: Path | None = None


def run(
    subject: Subject,
    rules: Sequence[str] = tuple(RULES),
    *,
    jobs: int = JOBS,
    limit_s: int = LIMIT_S,
    on_done: Callable[[str], None] = lambda _: None,
) -> list[Verdict]:
    """Hold `subject` to `rules`; return the verdicts in their order.

    Behind them come rules that they need and that are broken.
    `jobs` tests run at a time, and beside them the slow ones, which mostly
    wait. `on_done` gets the name of each rule that is done. Raises `Unusable`
    where pytest does not start.
    """
    with tempfile.TemporaryDirectory(prefix="avatar_guarder-") as folder:
        results, stream = Path(folder, "results"), Path(folder, "stream")
        results.touch()
        with open(stream, "wb") as out:
            process = subprocess.Popen(
                command(
                    subject,
                    f"--rules={','.join(rules)}",
                    f"--results={results}",
                    f"--jobs={jobs}",
                    f"--limit={limit_s}",
                ),
                cwd=folder,
                env=environment(subject),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            at = 0
            while process.poll() is None:
                at = _announce(results, at, on_done)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        found = {
            verdict.rule: verdict
            for _, verdict in isolation.verdicts_in(
                iter(results.read_text(encoding="utf-8").splitlines())
            )
        }
        if any(name not in found for name in rules):
            raise Unusable(_last_line(stream) or "pytest does not start")
    needed = [
        verdict
        for name, verdict in found.items()
        if name not in rules and verdict.outcome == BROKEN
    ]
    return [*(found[name] for name in rules), *needed]


def command(subject: Subject, *options: str) -> list[str]:
    """Return the pytest call that tests `subject`."""
    arguments = [
        *(subject.python, "-m", "pytest"),
        *("-c", str(SUITE / "tests" / "pytest.ini"), "-p", "no:terminal"),
        str(SUITE / "tests"),
        # With "=": pytest takes a path that stands alone for one of tests,
        # and loads the conftest.py it finds there.
        f"--extension_name={subject.addon}",
        f"--folder={subject.folder}",
        f"--vendor={subject.vendor}",
        *options,
    ]
    if subject.config_dir is not None:
        arguments.append(f"--config_dir={subject.config_dir}")
    if subject.ten_packages is not None:
        arguments.append(f"--ten-packages={subject.ten_packages}")
    return arguments


def environment(subject: Subject) -> dict[str, str]:
    """Return the environment of that call."""
    values = dict(os.environ)
    # The suite finds itself; its own folder must hide no other module.
    values["PYTHONPATH"] = os.pathsep.join(
        part
        for part in values.get("PYTHONPATH", "").split(os.pathsep)
        if part and Path(part).resolve() != SUITE.parent
    )
    if subject.python != sys.executable:
        values.pop("TEN_STAND_IN_LOOP", None)  # uvloop may be missing there
    # Plugins of the environment are none of ours, and take their time.
    values["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return {**values, **subject.environment}


def _announce(results: Path, at: int, on_done: Callable[[str], None]) -> int:
    """Read what was added to `results`; return how far it was read."""
    with open(results, encoding="utf-8") as file:
        file.seek(at)
        for text in file:
            if not text.endswith("\n"):
                break
            at += len(text)  # json.dumps writes ASCII only
            line = json.loads(text)
            if line["event"] == "done":
                on_done(line["rule"])
    return at


def _last_line(stream: Path) -> str:
    """Return the last line that says something, no line of a traceback."""
    text = plain(stream.read_text(encoding="utf-8", errors="replace"))
    lines = [
        line.strip().removeprefix("ERROR: ")
        for line in text.splitlines()
        if line.strip() and not line.startswith((" ", "Traceback"))
    ]
    return lines[-1][:300] if lines else ""
