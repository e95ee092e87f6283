"""The fence behind a barge-in: which audio must not speak any more."""

from dataclasses import dataclass
from typing import Optional

from .utterance import Turn

STALE_LIMIT_S = 1.0
"""How long audio without a turn is taken for the rest of a flushed one."""

TURN_REUSE_LIMIT_S = 10.0
"""A turn that still speaks so long after its flush does not trail behind:
more likely all turns go by one id."""

_MAX_TURNS = 64  # a flushed turn's frames arrive within seconds or never


@dataclass(frozen=True)
class TurnIdReused:
    """A turn goes on long after its flush, and is dropped. Reported once."""

    turn: Turn


class Staleness:
    """Knows the flushed turns, and until when audio without one is stale.

    All times are monotonic seconds, handed in.
    """

    def __init__(self) -> None:
        self.started_turn: Optional[Turn] = None
        """Of a request that has begun and not ended since."""
        self._until: Optional[float] = None
        self._flushed_turns: dict[Turn, float] = {}  # when, the latest last
        self._reuse_reported = False

    def is_stale(self, turn: Optional[Turn], now: float) -> bool:
        """Return whether audio of this turn must not be spoken."""
        if turn is not None:
            return self.is_flushed(turn)
        if self._until is None:
            return False
        if now < self._until:
            return True
        self._until = None
        return False

    def is_flushed(self, turn: Optional[Turn]) -> bool:
        return self._flushed_at(turn) is not None

    def mark_flushed(self, turn: Optional[Turn], now: float) -> None:
        if turn is None:
            return
        self._flushed_turns.pop(turn, None)
        self._flushed_turns[turn] = now
        if len(self._flushed_turns) > _MAX_TURNS:
            del self._flushed_turns[next(iter(self._flushed_turns))]

    def begin(self, now: float) -> None:
        """An utterance was flushed before its end: the rest is to come."""
        self._until = now + STALE_LIMIT_S

    def end(self) -> None:
        """What comes from here on is not the rest of a flushed utterance."""
        self._until = None

    def reused(self, turn: Optional[Turn], now: float) -> list[TurnIdReused]:
        """Return the event for stale audio that cannot be a rest, once."""
        if turn is None or self._reuse_reported:
            return []
        at = self._flushed_at(turn)
        if at is None or now < at + TURN_REUSE_LIMIT_S:
            return []
        self._reuse_reported = True
        return [TurnIdReused(turn)]

    def _flushed_at(self, turn: Optional[Turn]) -> Optional[float]:
        if turn is None:
            return None
        if turn in self._flushed_turns:  # as nearly all that are asked for
            return self._flushed_turns[turn]
        for flushed, at in self._flushed_turns.items():
            if turn.matches(flushed):
                return at
        return None
