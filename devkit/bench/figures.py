"""What a benchmark hands back: rows of figures, and what was heard."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    short: bool = False
    """Only see that it runs: the figures mean nothing."""
    runs: int | None = None
    """How often each measurement is repeated; None: its own number."""

    def choose(self, full: int, short: int) -> int:
        """Return the number of runs; `full` and `short` are the defaults."""
        if self.runs is not None:
            return self.runs
        return short if self.short else full


@dataclass(frozen=True)
class Row:
    """One line of the table. `ours` and `bare` are in `unit`."""

    what: str
    unit: str
    ours: float
    bare: float | None = None
    """The same with the SDK alone, None where it has no such thing."""
    ratio: float | None = None
    """Of ours to the bare SDK's."""
    spread: tuple[float, float] | None = None
    """Where the middle half of the runs lies: of `ratio`, else of `ours`."""
    goal: str = ""
    met: bool | None = None
    """None where there is no goal."""
    note: str = ""


@dataclass
class Outcome:
    """All that one benchmark found."""

    rows: list[Row] = field(default_factory=list)
    sent_bytes: int = 0
    """PCM that was handed to the SDK."""
    received_bytes: int = 0
    """PCM that the Motion Server has counted; the two must be equal."""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """Samples by name, for the pictures."""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def middle_half(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the quartiles, None of fewer than two values."""
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    at = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(at) - 1)]
