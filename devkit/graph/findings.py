"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass
class Findings:
    """Sentences for a reader; each begins with the path of what it is about."""

    errors: list[str] = field(default_factory=list)
    """The avatar stays silent, or the process ends."""
    warnings: list[str] = field(default_factory=list)
    """Allowed, and probably not intended."""
    notes: list[str] = field(default_factory=list)
    """What else could be configured, or what another part provides."""

    def add(self, other: "Findings") -> None:
        """Append all of `other`."""
        self.errors += other.errors
        self.warnings += other.warnings
        self.notes += other.notes


def nearest(name: str, names: Iterable[str], cutoff: float = 0.5) -> str:
    """Return what a message says of the name most like `name`, or ""."""
    near = get_close_matches(name, sorted(names), 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""
