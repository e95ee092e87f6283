#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""A pytest plugin that runs each test in a process of its own.

An extension may end its process, hang in it, or leave something behind in it.
So this process loads neither an extension nor the runtime: it forks one for
each test, several at a time, and gathers what they report. A rule whose
baseline is broken is not run, and a break is confirmed by a second run, since
a busy machine may have caused it.
"""

import contextlib
import faulthandler
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from . import cases, preload, worker
from .avatar import NOWHERE, Avatar, set_proxies
from .graph import GAP_LIMIT_S, Late, WorkerEnded
from .loader import Unusable, read_api, read_manifest, read_object
from .rules import RULES
from .vendor import load_vendor
from .verdicts import (
    BROKEN,
    ENDED,
    KEPT,
    NOT_APPLICABLE,
    NOT_TESTABLE,
    Break,
    Verdict,
    break_of_hang,
    break_of_process,
    one_line,
)

POLL_S = 0.01
SLOW_FACTOR = 3
LOAD_FACTOR = 0.5
ORPHAN_S = 10
"""How long a test outlives its limit where no process is left to end it."""
LOOP_RULE = "keeps_the_loop_free"


def needs_of(rule: str) -> set[str]:
    """Return the rules that a rule needs, and those that they need."""
    found: set[str] = set()
    for need in (*RULES[rule].needs, *RULES[rule].after):
        found |= {need} | needs_of(need)
    return found


SLOW = {name for name in RULES if RULES[name].slow}
FIRST = SLOW.union(*(needs_of(name) for name in SLOW))
"""The slow rules and those that they need: nothing else begins before the
slow ones, since all others are done while these wait."""

Key = tuple[str, str]
"""A mutant, "" without mutants, and a rule."""


@dataclass
class Job:
    """A test, and its process while it has one."""

    item: pytest.Item
    key: Key
    repeats: bool = False
    """Whether it confirms an earlier run."""
    pid: int = 0
    folder: Path = Path()
    began_s: float = 0.0
    limit_s: float = 0.0

    @property
    def rule(self) -> str:
        return self.key[1]


@dataclass
class Progress:
    """The results for a rule so far."""

    left: int = 0
    """Tests that have no result yet."""
    kept: bool = False
    breaks: list[Break] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why tests were skipped."""
    untestable: str = ""
    """The cause."""
    see: str = ""
    """The rule that is broken for that cause."""
    took_s: float = 0.0

    def outcome(self) -> str:
        if self.untestable:
            return NOT_TESTABLE
        if self.breaks:
            return BROKEN
        if self.kept:
            return KEPT
        if any(reason.startswith(NOT_TESTABLE) for reason in self.reasons):
            return NOT_TESTABLE
        return NOT_APPLICABLE

    def how(self) -> str:
        if self.untestable:
            return f"{self.untestable} (see {self.see})"
        if self.breaks:
            return self.breaks[0].how
        if self.kept:
            return ""
        reasons = sorted(
            self.reasons, key=lambda text: not text.startswith(NOT_TESTABLE)
        )
        reason = reasons[0] if reasons else "no test"
        return reason.removeprefix(f"{NOT_TESTABLE}: ")


class Isolation:
    """The plugin; in a forked process it only reports."""

    def __init__(self, config: pytest.Config) -> None:
        option: Any = config.getoption
        self.broken: frozenset[str] = frozenset()
        """Rules that are known to be broken when a test begins."""
        self.vendor_hz = 0
        self.stream = Path(os.devnull)
        self.escapes: Path | None = None
        self.libraries: Path | None = None
        """A file for the names of the libraries that the extension imports;
        None once they have been imported here."""
        self._config = config
        self._jobs: int = option("--jobs")
        self._limit_s: float = option("--limit")
        self._results: Path | None = option("--results")
        self._folder: Path | None = option("--folder")
        self._asked = [name for name in option("--rules").split(",") if name]
        self._takes_needs = not option("--matrix", None)
        self._progress: dict[Key, Progress] = {}
        self._reports: dict[str, list[Any]] = {}
        self._late: list[Job] = []
        self._inapplicable: dict[str, str] = {}
        self._temporary = Path()
        self._is_preloaded = False

    # In the process of a test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: "pytest.CallInfo[None]"
    ) -> Any:
        report = yield
        if call.excinfo is not None and report.outcome != "passed":
            error = call.excinfo.value
            found = {"how": one_line(error), "kind": "", "cause": ""}
            if isinstance(error, Late):
                # A gap in on_start delays nothing that comes after it.
                gaps_s = [
                    life.longest_gap_s(life.started_s) for life in worker.LIVES
                ]
                if max(gaps_s, default=0.0) > GAP_LIMIT_S:
                    found["cause"] = LOOP_RULE
            elif isinstance(error, WorkerEnded):
                found["kind"] = ENDED
                found["cause"] = (
                    error.escape.cause if error.escape else found["how"]
                )
                found["detail"] = str(error.__cause__ or "")[-4000:]
            elif isinstance(error, (pytest.skip.Exception, Unusable)):
                found["how"] = str(error).strip().partition("\n")[0]
            report.user_properties.append(("guard", found))
        return report

    # In the process that starts the others

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._inapplicable = self._find_inapplicable()
        if not self._asked:
            return
        wanted = set(self._asked)
        if unknown := sorted(wanted - RULES.keys()):
            raise pytest.UsageError(f"there is no rule {unknown[0]}")
        if self._takes_needs:
            for name in self._asked:
                if name not in self._inapplicable:
                    wanted |= needs_of(name)
        items[:] = [item for item in items if rule_of(item) in wanted]

    def _find_inapplicable(self) -> dict[str, str]:
        """Return why rules do not apply, by their names."""
        avatar = describe(self._config)
        reasons = {
            name: rule.inapplicable(avatar) for name, rule in RULES.items()
        }
        return {name: reason for name, reason in reasons.items() if reason}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.config.option.collectonly:
            return None
        if session.testsfailed:
            raise session.Interrupted("errors during collection")
        self._temporary = Path(tempfile.mkdtemp(prefix="avatar_guarder-"))
        os.environ.setdefault("TEN_STAND_IN_LOG", "debug")
        set_proxies(NOWHERE)
        # So that no process is left of a run that is stopped.
        before = signal.signal(signal.SIGTERM, _exit)
        try:
            self._run(session)
        finally:
            signal.signal(signal.SIGTERM, before)
            shutil.rmtree(self._temporary, ignore_errors=True)
        return True

    def _run(self, session: pytest.Session) -> None:
        waiting = [Job(item, key_of(item)) for item in session.items]
        order = {name: number for number, name in enumerate(RULES)}
        waiting.sort(key=lambda job: (job.rule not in FIRST, order[job.rule]))
        for job in waiting:
            self._progress.setdefault(job.key, Progress()).left += 1
        items = [job.item for job in waiting]
        running: list[Job] = []
        parent = os.getppid()
        try:
            changed = True
            while waiting or running or self._late:
                if not waiting and not running:
                    # Alone, so that this machine is as idle as it can be.
                    waiting, self._late, changed = self._late, [], True
                if changed:
                    before = len(waiting)
                    waiting = self._start_ready(waiting, running)
                    # Another rule may wait for one that was skipped.
                    changed = len(waiting) < before
                done = [job for job in running if self._is_done(job, waiting)]
                running = [job for job in running if job not in done]
                changed = changed or bool(done)
                if self._results is not None and os.getppid() != parent:
                    raise SystemExit("the command that reads this has ended")
                if not changed:
                    time.sleep(POLL_S)
        finally:
            for job in running:
                self._kill(job)
        self._merge_causes()
        for item in items:
            self._log(item)
        self._write_verdicts()

    def _start_ready(self, waiting: list[Job], running: list[Job]) -> list[Job]:
        left: list[Job] = []
        for job in waiting:
            reason = self._inapplicable.get(job.rule)
            if reason:
                self._skip(job, reason)
                continue
            cause = self._cause_of_needs(job.key)
            quick = [run for run in running if not RULES[run.rule].slow]
            few = job.repeats and self._takes_needs
            jobs = min(2, self._jobs) if few else self._jobs
            if cause is None:
                left.append(job)
            elif cause:
                progress = self._progress[job.key]
                progress.untestable, progress.see = cause
                progress.left -= 1
                self._announce(job.key)
            elif job.rule not in FIRST and any(
                RULES[other.rule].slow for other in left
            ):
                left.append(job)
            elif RULES[job.rule].slow or len(quick) < jobs:
                self._fork(job)
                running.append(job)
            else:
                left.append(job)
        return left

    def _skip(self, job: Job, reason: str) -> None:
        progress = self._progress[job.key]
        progress.left -= 1
        progress.reasons.append(reason)
        self._reports[job.item.nodeid] = [_skipped(job.item, reason)]
        self._announce(job.key)

    def _cause_of_needs(self, key: Key) -> tuple[str, ...] | None:
        """Return why a rule cannot be tested, and the rule that is broken.

        Empty where it can be, None where that is not known.
        """
        if not self._takes_needs:
            return ()
        mutant, rule = key
        unknown = False
        needs = RULES[rule].needs
        for need in (*needs, *RULES[rule].after):
            progress = self._progress.get((mutant, need))
            if progress is None:
                continue
            if progress.left:
                unknown = True
            elif need not in needs:
                continue
            elif progress.outcome() == BROKEN:
                return progress.how(), need
            elif progress.untestable:
                return progress.untestable, progress.see
        return None if unknown else ()

    def _fork(self, job: Job) -> None:
        job.folder = Path(tempfile.mkdtemp(dir=self._temporary))
        (job.folder / "stream").touch()
        job.began_s = time.monotonic()
        job.limit_s = self._limit_of(job.rule)
        mutant = job.key[0]
        self.broken = frozenset(
            rule
            for (other, rule), progress in self._progress.items()
            if other == mutant and not progress.left and progress.breaks
        )
        sys.stdout.flush()
        sys.stderr.flush()
        job.pid = os.fork()
        if job.pid:
            return
        code = 1
        try:
            self._be_worker(job)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _limit_of(self, rule: str) -> float:
        if rule == "loads":
            return LOAD_FACTOR * self._limit_s
        return self._limit_s * (SLOW_FACTOR if RULES[rule].slow else 1)

    def _be_worker(self, job: Job) -> None:
        """Run the test in the process that was forked for it."""
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(int(job.limit_s) + ORPHAN_S)
        stream = os.open(job.folder / "stream", os.O_WRONLY | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        preload.use_descriptors()
        faulthandler.enable(2)
        faulthandler.dump_traceback_later(job.limit_s - 0.7, file=2)
        self.stream = job.folder / "stream"
        self.escapes = job.folder / "escapes"
        if not self._is_preloaded:
            self.libraries = job.folder / "libraries"
        if self._folder is not None:
            os.chdir(job.folder)
        os.environ["TMPDIR"] = str(job.folder)
        tempfile.tempdir = None
        if job.key[0]:
            os.environ["AVATAR_MUTANT"] = job.key[0]
        if self._results is not None:
            # The command shows no source lines, and they take time to find.
            self._config.option.tbstyle = "native"
        reports = runtestprotocol(job.item, log=False, nextitem=None)
        hook = self._config.hook
        texts = [
            hook.pytest_report_to_serializable(
                config=self._config, report=report
            )
            for report in reports
        ]
        part = job.folder / "reports.part"
        part.write_text(json.dumps(texts), encoding="utf-8")
        part.rename(job.folder / "reports")

    def _is_done(self, job: Job, waiting: list[Job]) -> bool:
        found, status = os.waitpid(job.pid, os.WNOHANG)
        took_s = time.monotonic() - job.began_s
        hangs = not found and took_s > job.limit_s
        if not found and not hangs:
            return False
        if hangs:
            self._kill(job)
        progress = self._progress[job.key]
        progress.left -= 1
        progress.took_s += took_s
        reports = self._read_reports(job)
        failure = None
        if hangs or reports is None:
            escapes = worker.read_escapes(job.folder / "escapes")
            stream = job.folder / "stream"
            folder = folder_of(self._config)
            failure = (
                break_of_hang(job.limit_s, stream, folder)
                if hangs
                else break_of_process(
                    os.waitstatus_to_exitcode(status), stream, escapes, folder
                )
            )
            reports = [_failed(job.item, failure.how, stream)]
        else:
            failure = self._take(reports, progress)
        self._preload(job.folder / "libraries")
        self._reports[job.item.nodeid] = reports
        if failure is not None:
            is_certain = hangs or job.repeats or failure.kind == ENDED
            is_own = job.key[0] == job.rule  # a mutant that is to break it
            if not is_certain and not is_own:
                self._repeat(job, waiting)
            else:
                progress.breaks.append(failure)
        if not progress.left:
            self._announce(job.key)
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def _preload(self, libraries: Path) -> None:
        if not self._is_preloaded and libraries.is_file():
            self._is_preloaded = True
            preload.load(libraries)

    def _repeat(self, job: Job, waiting: list[Job]) -> None:
        self._progress[job.key].left += 1
        again = Job(job.item, job.key, repeats=True)
        if any(job.rule in needs_of(other.rule) for other in waiting):
            waiting.append(again)
        else:
            self._late.append(again)

    def _take(self, reports: list[Any], progress: Progress) -> Break | None:
        """Read the reports of a test that came to its end."""
        failure = None
        skipped = False
        for report in reports:
            properties = dict(report.user_properties)
            self.vendor_hz = properties.get("vendor_hz", self.vendor_hz)
            found = properties.get("guard", {})
            if report.failed and failure is None:
                failure = Break(
                    found.get("how", "") or str(report.longrepr)[:200],
                    found.get("kind", ""),
                    found.get("cause", ""),
                    found.get("detail", ""),
                )
            elif report.skipped:
                skipped = True
                progress.reasons.append(found.get("how", ""))
        progress.kept |= failure is None and not skipped
        return failure

    def _read_reports(self, job: Job) -> list[Any] | None:
        path = job.folder / "reports"
        if not path.is_file():
            return None
        hook = self._config.hook
        return [
            hook.pytest_report_from_serializable(config=self._config, data=data)
            for data in json.loads(path.read_text(encoding="utf-8"))
        ]

    def _kill(self, job: Job) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(job.pid, 0)

    # Verdicts

    def _merge_causes(self) -> None:
        """Leave one verdict for all workers that ended at the same line."""
        seen: dict[tuple[str, str], str] = {}
        for rule in RULES:
            for (mutant, name), progress in self._progress.items():
                if name != rule or progress.outcome() != BROKEN:
                    continue
                first = progress.breaks[0]
                blocking = self._progress.get((mutant, LOOP_RULE))
                if (
                    rule != LOOP_RULE
                    and first.cause == LOOP_RULE
                    and blocking is not None
                    and blocking.outcome() == BROKEN
                ):
                    # It was late because the event loop stood still.
                    progress.untestable = blocking.how()
                    progress.see = LOOP_RULE
                    self._point_to(mutant, rule, LOOP_RULE)
                    continue
                if first.kind != ENDED or not first.cause:
                    continue
                earlier = seen.setdefault((mutant, first.cause), rule)
                if earlier != rule and self._takes_needs:
                    progress.untestable, progress.see = first.how, earlier
                    self._point_to(mutant, rule, earlier)

    def _point_to(self, mutant: str, rule: str, earlier: str) -> None:
        """Have rules that are not testable for one rule name an earlier one."""
        for (other, _), progress in self._progress.items():
            if other == mutant and progress.see == rule:
                progress.see = earlier

    def _log(self, item: pytest.Item) -> None:
        """Report the result of a test to pytest."""
        progress = self._progress[key_of(item)]
        is_asked = not self._asked or rule_of(item) in self._asked
        if not is_asked and progress.outcome() != BROKEN:
            return
        reports = self._reports.get(item.nodeid, [])
        if progress.untestable:
            reason = f"{NOT_TESTABLE}: {progress.how()}"
            reports = [_skipped(item, reason)]
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(
            nodeid=item.nodeid, location=item.location
        )

    def _announce(self, key: Key) -> None:
        mutant, rule = key
        if not self._asked or rule in self._asked:
            self._write(event="done", rule=rule, mutant=mutant)

    def _write_verdicts(self) -> None:
        for (mutant, rule), progress in self._progress.items():
            detail = progress.breaks[0].detail if progress.breaks else ""
            verdict = Verdict(
                rule,
                progress.outcome(),
                progress.how(),
                detail,
                round(progress.took_s, 2),
            )
            self._write(event="verdict", mutant=mutant, **vars(verdict))

    def _write(self, **line: Any) -> None:
        if self._results is not None:
            with open(self._results, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def folder_of(config: pytest.Config) -> Path:
    """Return the folder of the extension that the options name."""
    option: Any = config.getoption
    given: Path | None = option("--folder")
    if given is not None:
        return given
    installed = Path("ten_packages/extension", option("--extension_name"))
    return Path(config.invocation_params.dir, installed).resolve()


def describe(config: pytest.Config) -> Avatar:
    """Return the extension as its files and the options describe it.

    Raises `Unusable`.
    """
    option: Any = config.getoption
    folder, config_dir = folder_of(config), option("--config_dir")
    manifest = read_manifest(folder)
    if config_dir is not None:
        cases.check_folder(config_dir)
    base = folder / "property.json"
    made = Avatar(
        addon=option("--extension_name"),
        api=read_api(folder, manifest),
        base=read_object(base) if base.is_file() else {},
        config_dir=config_dir,
    )
    if option("--vendor") != "none":
        made.make_vendor = load_vendor(option("--vendor"))
    return made


def _exit(number: int, frame: object) -> None:
    """End this process as a signal would, but with its clean-up."""
    raise SystemExit(128 + number)


def rule_of(item: pytest.Item) -> str:
    """Return the rule that a test holds an extension to."""
    marker = item.get_closest_marker("rule")
    name = marker.args[0] if marker is not None and marker.args else ""
    if name not in RULES:
        raise pytest.UsageError(f"{item.nodeid} names no rule of rules.py")
    return name


def key_of(item: pytest.Item) -> Key:
    """Return the mutant and the rule that a test is for."""
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("mutant") if callspec is not None else None
    return (value if isinstance(value, str) else "", rule_of(item))


def _failed(item: pytest.Item, how: str, stream: Path) -> pytest.TestReport:
    text = stream.read_text(encoding="utf-8", errors="replace")
    return pytest.TestReport(
        item.nodeid,
        item.location,
        {},
        "failed",
        how,
        "call",
        sections=[("what the worker printed", text[-8000:])],
    )


def _skipped(item: pytest.Item, reason: str) -> pytest.TestReport:
    path, line, _ = item.location
    return pytest.TestReport(
        item.nodeid,
        item.location,
        {},
        "skipped",
        (path, (line or 0) + 1, f"Skipped: {reason}"),
        "call",
    )


def verdicts_in(lines: Iterator[str]) -> Iterator[tuple[str, Verdict]]:
    """Yield the mutant and the verdict of each such line of `--results`."""
    for text in lines:
        line = json.loads(text)
        if line.pop("event") == "verdict":
            yield line.pop("mutant"), Verdict(**line)
