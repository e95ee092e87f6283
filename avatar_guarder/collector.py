"""Writes what becomes of each rule, line by line, to a file.

Each line is one JSON object: a rule begins, or a rule has an outcome. The
file holds what was done even where the process ends in the middle of a rule.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .loader import Unusable
from .rules import RULES


class Collector:
    """A pytest plugin; `results` is the file."""

    def __init__(self, results: Path) -> None:
        self._results = results

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Any:
        rule = rule_of(item)
        began_s = time.monotonic()
        self.write(rule=rule, event="begins", mutant=mutant_of(item))
        result = yield
        self.write(
            rule=rule,
            event="ends",
            took_s=time.monotonic() - began_s,
            mutant=mutant_of(item),
        )
        if nextitem is None or rule_of(nextitem) != rule:
            self.write(rule=rule, event="done")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Any:
        report = yield
        if call.excinfo is not None:
            if isinstance(call.excinfo.value, Unusable):
                self.write(event="unusable", how=str(call.excinfo.value))
            skipped = report.outcome == "skipped"
            self.write(
                rule=rule_of(item),
                event="not applicable" if skipped else "broken",
                how=one_line(call.excinfo.value),
                mutant=mutant_of(item),
            )
        return report

    def write(self, **line: Any) -> None:
        """Add a line; the file is whole after each."""
        with open(self._results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def rule_of(item: pytest.Item) -> str:
    """Return the rule that a test holds an extension to."""
    marker = item.get_closest_marker("rule")
    name = marker.args[0] if marker is not None and marker.args else ""
    if name not in RULES:
        raise pytest.UsageError(f"{item.nodeid} names no rule of rules.py")
    return name


def mutant_of(item: pytest.Item) -> str:
    """Return the mutant that a test is for, "" without mutants."""
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("mutant") if callspec is not None else None
    return value if isinstance(value, str) else ""


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    if isinstance(error, (AssertionError, pytest.skip.Exception)) and text:
        return text
    return f"{type(error).__name__}: {text}"
