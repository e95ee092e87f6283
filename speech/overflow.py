"""One episode of overflow: audio that found no room in the queue."""

from dataclasses import dataclass
from typing import Optional

from .utterance import Turn

OVERFLOW_PAUSE_S = 1.0
OVERFLOW_LIMIT_S = 10.0
"""Refused audio is reported once none has come for a pause, or when it has
been coming for the limit: one report with most of it, yet not too late."""


@dataclass(frozen=True)
class Overflow:
    """Audio was refused because `max_buffered_s` of it already waited."""

    refused_s: float
    turn: Optional[Turn]
    is_continuation: bool = False
    """An earlier event has reported this episode; this is what came after."""


class OverflowEpisode:
    """Counts what is refused, from the high watermark down to the low one.

    Between them all is refused, so that what the listener hears has few gaps
    and there is one report for all of it.
    """

    def __init__(self) -> None:
        self.is_refusing = False
        self.report_at: Optional[float] = None
        """When `report` is due, None while there is nothing to report."""
        self._refused_s = 0.0
        self._since: Optional[float] = None
        self._turn: Optional[Turn] = None

    def refuse(
        self, refused_s: float, turn: Optional[Turn], now: float
    ) -> None:
        """Count so many seconds of audio as refused."""
        self.is_refusing = True
        self._refused_s += refused_s
        self._turn = turn
        if self._since is None:
            self._since = now
            self.report_at = now
        if self.report_at is not None:  # not reported yet
            self.report_at = min(
                now + OVERFLOW_PAUSE_S, self._since + OVERFLOW_LIMIT_S
            )

    def report(self) -> Overflow:
        """Return what has been refused since the last report."""
        event = Overflow(
            self._refused_s,
            self._turn,
            is_continuation=self.report_at is None,
        )
        self.report_at = None
        self._refused_s = 0.0
        return event

    def end(self) -> Optional[Overflow]:
        """End the episode; return what has not been reported yet."""
        event = self.report() if self._refused_s else None
        self.is_refusing = False
        self._since = None
        return event

    def cancel(self) -> None:
        """Report nothing any more."""
        self.report_at = None
