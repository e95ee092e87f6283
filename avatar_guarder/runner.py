"""Runs the suite in processes of its own and gives a verdict on each rule.

An extension may end its process or hang in it: such a rule is broken, and a
new process goes on with the next one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loader import Unusable
from .rules import RULES

SUITE = Path(__file__).resolve().parent

KEPT, BROKEN, NOT_APPLICABLE = "kept", "broken", "not applicable"

RULE_LIMIT_S = 30.0
SLOW_RULE_LIMIT_S = 90.0
POLL_S = 0.05

# Programs that honor these reach nothing but this machine: without a
# configuration an extension would connect to its real vendor.
PROXIES = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "all_proxy": "http://127.0.0.1:9",
    "no_proxy": "127.0.0.1,localhost,::1",
}


@dataclass(frozen=True)
class Verdict:
    """What became of one rule."""

    rule: str
    outcome: str
    """`KEPT`, `BROKEN` or `NOT_APPLICABLE`."""
    how: str = ""
    """One line: how it is broken, or why it does not apply."""
    took_s: float = 0.0


@dataclass(frozen=True)
class Subject:
    """The extension under test and what it is tested with."""

    folder: Path
    addon: str
    config_dir: Path | None = None
    vendor: str = "none"
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)


def run(
    subject: Subject,
    rules: Sequence[str] = tuple(RULES),
    *,
    jobs: int = 2,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Hold `subject` to `rules`; return the verdicts in their order.

    `jobs` processes share the quick rules; each slow one has its own, which
    mostly waits. `on_verdict` is called from other threads. Raises
    `Unusable` where the extension cannot be tested at all.
    """
    quick = [name for name in rules if not RULES[name].slow]
    slow = [name for name in rules if RULES[name].slow]
    batches = [[name] for name in slow]
    batches += [quick[n::jobs] for n in range(jobs) if quick[n::jobs]]
    stop = threading.Event()
    verdicts: dict[str, Verdict] = {}

    def serve(batch: list[str]) -> None:
        try:
            for verdict in _run_batch(subject, batch, stop):
                verdicts[verdict.rule] = verdict
                on_verdict(verdict)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(len(batches) or 1) as pool:
        try:
            for done in [pool.submit(serve, batch) for batch in batches]:
                done.result()
        finally:
            stop.set()
    return [verdicts[name] for name in rules]


def _run_batch(
    subject: Subject, batch: list[str], stop: threading.Event
) -> Iterator[Verdict]:
    while batch and not stop.is_set():
        with tempfile.TemporaryDirectory(prefix="avatar_guarder-") as folder:
            yield from _run_process(subject, batch, Path(folder), stop)


def _run_process(
    subject: Subject, batch: list[str], folder: Path, stop: threading.Event
) -> Iterator[Verdict]:
    """Run pytest once; what has a verdict leaves `batch`."""
    results, stream = folder / "results", folder / "stream"
    results.touch()
    process = _start(subject, batch, results, stream)
    book = _Book(batch)
    at = 0
    try:
        while True:
            gone = process.poll() is not None
            with open(results, encoding="utf-8") as file:
                file.seek(at)
                for line in file:
                    if not line.endswith("\n"):
                        break
                    at += len(line)  # json.dumps writes ASCII only
                    yield from book.read(json.loads(line))
            if gone or stop.is_set():
                break
            if book.is_late():
                process.kill()
                process.wait()
                yield book.end_rule(
                    f"did not end within {book.limit_s():g} s: the extension "
                    "or its stop hangs"
                )
                return
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if stop.is_set():
        return
    if book.current:
        yield book.end_rule(_end_of(process.returncode, stream))
    elif batch and not book.seen:
        raise Unusable(_last_line(stream) or "pytest does not start")
    elif batch:
        # Between two rules: whatever ended the process, the next one bears it.
        book.current = batch[0]
        yield book.end_rule(_end_of(process.returncode, stream))


def _start(
    subject: Subject, batch: list[str], results: Path, stream: Path
) -> "subprocess.Popen[bytes]":
    arguments = [
        *("-m", "pytest", "-c", str(SUITE / "tests" / "pytest.ini")),
        *("--capture=no", "-p", "no:terminal", str(SUITE / "tests")),
        # With "=": pytest takes a path that stands alone for one of tests,
        # and loads the conftest.py it finds there.
        f"--extension_name={subject.addon}",
        f"--folder={subject.folder}",
        f"--vendor={subject.vendor}",
        f"--rules={','.join(batch)}",
        f"--results={results}",
        f"--stream={stream}",
    ]
    if subject.config_dir is not None:
        arguments.append(f"--config_dir={subject.config_dir}")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in PROXIES
    }
    environment.update(PROXIES)
    # The suite finds itself; its own folder must hide no other module.
    environment["PYTHONPATH"] = os.pathsep.join(
        part
        for part in environment.get("PYTHONPATH", "").split(os.pathsep)
        if part and Path(part).resolve() != SUITE.parent
    )
    # Plugins of the environment are none of ours, and take their time.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment["TEN_STAND_IN_LOG"] = "debug"
    environment["PYTHONFAULTHANDLER"] = "1"
    with open(stream, "wb") as out:
        return subprocess.Popen(
            [subject.python, *arguments],
            cwd=results.parent,
            env={**environment, **subject.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


class _Book:
    """What one process has done so far of the rules in `batch`."""

    def __init__(self, batch: list[str]) -> None:
        self.current = ""
        """The rule that is being tested."""
        self.seen = False
        self._batch = batch
        self._began_s = 0.0
        # Of the current rule, which may have several tests.
        self._broken = ""
        self._skipped = ""
        self._kept = False
        self._took_s = 0.0

    def read(self, line: dict[str, Any]) -> Iterator[Verdict]:
        self.seen = True
        event = line["event"]
        if event == "unusable":
            raise Unusable(line["how"])
        if event == "begins":
            self.current = line["rule"]
            self._began_s = time.monotonic()
            self._test_failed = False
        elif event == "broken":
            self._broken = self._broken or line["how"]
            self._test_failed = True
        elif event == NOT_APPLICABLE:
            self._skipped = line["how"]
            self._test_failed = True
        elif event == "ends":
            self._took_s += line["took_s"]
            self._kept = self._kept or not self._test_failed
            self.current = ""
        elif event == "done":
            self.current = line["rule"]
            yield self.end_rule()

    def end_rule(self, how: str = "") -> Verdict:
        """Close the current rule; `how` says what ended it."""
        rule, self.current = self.current, ""
        self._batch.remove(rule)
        broken = self._broken or how
        outcome = BROKEN if broken else KEPT
        if not broken and not self._kept:
            outcome = NOT_APPLICABLE
            broken = self._skipped or "no test"
        verdict = Verdict(rule, outcome, broken, round(self._took_s, 2))
        self._broken = self._skipped = ""
        self._kept, self._took_s = False, 0.0
        return verdict

    def limit_s(self) -> float:
        slow = self.current and RULES[self.current].slow
        return SLOW_RULE_LIMIT_S if slow else RULE_LIMIT_S

    def is_late(self) -> bool:
        return bool(self.current) and (
            time.monotonic() - self._began_s > self.limit_s()
        )


def _end_of(code: int, stream: Path) -> str:
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name
    said = _last_line(stream)
    return f"the worker ended ({how})" + (f": {said}" if said else "")


def _last_line(stream: Path) -> str:
    """Return the last line that says something, no line of a traceback."""
    text = stream.read_text(encoding="utf-8", errors="replace")
    # What Python's fault handler adds is about threads, not about the cause.
    text = text.partition("Fatal Python error")[0]
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith((" ", "Traceback"))
    ]
    return lines[-1][:200] if lines else ""
