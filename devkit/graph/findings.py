"""What a check found."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Sentences for a reader; each begins with the path of what it is about."""

    errors: list[str] = field(default_factory=list)
    """The avatar stays silent, or the process ends."""
    warnings: list[str] = field(default_factory=list)
    """Allowed, and probably not intended."""
    notes: list[str] = field(default_factory=list)
    """What else could be configured."""

    def add(self, other: "Findings") -> None:
        """Append all of `other`."""
        self.errors += other.errors
        self.warnings += other.warnings
        self.notes += other.notes
