#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Holds each mutant to its rule: the suite's own test.

`python -m avatar_guarder.mutants` runs it where the folder stands alone.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import isolation, runner
from ..rules import RULES

SUITE = Path(__file__).resolve().parents[1]
HONEST = runner.Subject(
    SUITE / "mutants" / "honest",
    "honest_avatar_python",
    SUITE / "configs" / "toy",
    "toy",
)
NEIGHBORS = 1
"""Other rules that each mutant is held to, none of them slow."""
JOBS = 12
"""Tests that run at a time; they mostly wait."""
BASELINE = ("loads", "starts")
"""Rules without which no other can be tested: their mutants break all."""


def plan(*, full: bool = False) -> dict[str, list[str]]:
    """Return the rules that each mutant is held to, its own first.

    Rules that need the broken one are left out: they are not testable.
    """
    result = {}
    names = list(RULES)
    for at, name in enumerate(names):
        others = [
            other
            for other in names[at + 1 :] + names[:at]
            if name not in isolation.needs_of(other) and name not in BASELINE
        ]
        if not full:
            quick = [other for other in others if not RULES[other].slow]
            others = quick[:NEIGHBORS]
        result[name] = [name, *others]
    return result


def hold(
    mutants: Mapping[str, Sequence[str]], jobs: int = JOBS
) -> dict[str, set[str]]:
    """Return the rules that each mutant breaks. Blocks."""
    with tempfile.TemporaryDirectory(prefix="avatar_guarder-") as folder:
        results, order = Path(folder, "results"), Path(folder, "plan")
        results.touch()
        order.write_text(json.dumps(mutants))
        done = subprocess.run(
            [
                *runner.command(HONEST, f"--results={results}"),
                *("-p", "avatar_guarder.mutants.matrix"),
                *(f"--matrix={order}", f"--jobs={jobs}"),
            ],
            cwd=folder,
            env={
                **runner.environment(HONEST),
                "PYTHONPATH": os.pathsep.join(
                    [
                        runner.environment(HONEST)["PYTHONPATH"],
                        str(SUITE.parent),
                    ]
                ).strip(os.pathsep),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        broken: dict[str, set[str]] = {name: set() for name in mutants}
        seen = 0
        with open(results, encoding="utf-8") as file:
            for mutant, verdict in isolation.verdicts_in(file):
                seen += 1
                if verdict.outcome != runner.KEPT:
                    broken[mutant].add(verdict.rule)
        if seen != sum(map(len, mutants.values())):
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        return broken


def judged_wrong(
    mutants: Mapping[str, Sequence[str]], attempts: int = 3
) -> dict[str, set[str]]:
    """Return the mutants that do not break their own rule alone.

    Rules have time limits, and this machine is busy here: a mutant that is
    judged wrong is held again, with fewer beside it.
    """
    left = dict(mutants)
    found: dict[str, set[str]] = {}
    for attempt in range(attempts):
        broken = hold(left, jobs=3 if attempt else JOBS)
        found = {
            name: rules for name, rules in broken.items() if rules != {name}
        }
        left = {name: mutants[name] for name in found}
        if not left:
            break
    return found
