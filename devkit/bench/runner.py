"""The runner of all benchmarks: sides take turns, and rows come of it.

Disturbances of the machine meet all sides of a round alike. The interval of a
figure is found by resampling whole rounds, the same ones of each side.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy

T = TypeVar("T")

Rounds = Sequence[Sequence[float]]
"""The values of each round, of one side."""
Statistic = Callable[[Any], float]
"""Of an array of values."""

RESAMPLES = 400
COVERAGE_PERCENT = 90


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    short: bool = False
    """Only check that everything runs: the figures mean nothing."""
    runs: int | None = None
    """How many rounds; None for the benchmark's own number."""

    def rounds(self, full: int) -> int:
        """Return the number of rounds; `full` is the benchmark's own."""
        return self.runs or (1 if self.short else full)


@dataclass(frozen=True)
class Goal:
    """An upper limit of a row."""

    limit: float
    of: str = "ours"
    """ours, ratio, or beyond: the excess of ours over the bare SDK."""

    def __str__(self) -> str:
        ends = {"ratio": " x", "beyond": " beyond bare"}
        return f"<= {self.limit:g}{ends.get(self.of, '')}"

    def is_met(self, row: "Row") -> bool:
        values = {
            "ours": row.ours,
            "ratio": row.ratio,
            "beyond": row.ours - (row.bare or 0.0),
        }
        value = values[self.of]
        return value is not None and value <= self.limit


@dataclass
class Row:
    """One line of the table. The figures of all sides are in `unit`."""

    what: str
    unit: str
    ours: float
    thinnest: float | None = None
    """The same with the thinnest extension that can do the work."""
    bare: float | None = None
    """The same with the SDK alone."""
    ratio: float | None = None
    """Ours to the thinnest extension's, or to the bare SDK's."""
    interval: tuple[float, float] | None = None
    """90 % interval of `ratio`, or of `ours` if there is no ratio."""
    goal: str = ""
    met: bool | None = None
    """None if there is no goal."""
    note: str = ""


@dataclass
class Outcome:
    """The result of one benchmark."""

    rows: list[Row] = field(default_factory=list)
    sent_bytes: int = 0
    """PCM that was handed to the SDK."""
    received_bytes: int = 0
    """PCM that the Motion Server has counted; the two must be equal."""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """Samples by name, for the pictures."""


async def by_turns(
    sides: Mapping[str, Callable[[], Awaitable[T]]], rounds: int
) -> dict[str, list[T]]:
    """Call each side once a round, in random order; return the results."""
    results: dict[str, list[T]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            results[name].append(await sides[name]())
    return results


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed."""
    return float(numpy.percentile(values, percent, method="inverted_cdf"))


def p(percent: float) -> Statistic:
    """Return the statistic that a row shows of all values of a side."""
    return partial(percentile, percent=percent)


def compare(
    what: str,
    unit: str,
    rounds: Mapping[str, Rounds],
    *,
    statistic: Statistic = numpy.median,
    reference: str = "",
    goal: Goal | None = None,
    note: str = "",
) -> Row:
    """Return the row of a figure; `rounds` has a key for each side.

    The ratio is to the side `reference`; without one there is no ratio.
    """

    values = {
        side: [numpy.array(one) for one in its] for side, its in rounds.items()
    }

    def figure(side: str, chosen: Sequence[int]) -> float:
        those = [values[side][at] for at in chosen]
        return float(statistic(numpy.concatenate(those)))

    def ratio_of(chosen: Sequence[int]) -> float:
        return figure("ours", chosen) / figure(reference, chosen)

    count = len(rounds["ours"])
    every = range(count)
    of = ratio_of if reference else partial(figure, "ours")
    row = Row(
        what,
        unit,
        figure("ours", every),
        figure("thinnest", every) if "thinnest" in rounds else None,
        figure("bare", every) if "bare" in rounds else None,
        ratio_of(every) if reference else None,
        _interval(of, count),
        note=note,
    )
    if goal is not None:
        row.goal, row.met = str(goal), goal.is_met(row)
    return row


def _interval(
    of: Callable[[Sequence[int]], float], count: int
) -> tuple[float, float] | None:
    """Return the bootstrap interval of a figure; None for a single round."""
    if count < 2:
        return None
    chosen = numpy.random.default_rng(1).integers(
        count, size=(RESAMPLES, count)
    )
    tail = (100 - COVERAGE_PERCENT) / 2
    low, high = numpy.percentile(
        [of(one.tolist()) for one in chosen], [tail, 100 - tail]
    )
    return float(low), float(high)
