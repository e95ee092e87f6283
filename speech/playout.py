"""What is audible: an estimate of what the listener hears, and until when."""

from collections import deque
from collections.abc import Iterator
from typing import Optional

from .turn import Turn
from .utterance import Utterance

PLAYBACK_MARGIN_S = 1.0
"""How much later than its length in audio an utterance may still be heard:
the service and the network hold it back by about as much."""

SENTENCE_GAP_S = 5.0
"""How long after its last audio was heard a turn may go on with its next
sentence: a flush in the gap is meant for it."""


class Playout:
    """What was written plays in real time from its first byte on.

    Times are monotonic seconds, handed in.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self.last_turn: Optional[Turn] = None
        """Of what was written last, whatever became of the connection."""
        self._bytes_per_s = bytes_per_s
        self._ends_at = float("-inf")
        # When the last turn's audio ends, had nothing come between: the turn
        # may go on, whatever became of the connection.
        self._last_turn_ends_at = float("-inf")
        self._written: deque[Utterance] = deque()  # all of it, not yet heard

    def wrote(self, utterance: Utterance, size: int, now: float) -> None:
        """Take note of audio that went to the service."""
        if size:
            self._ends_at = max(now, self._ends_at) + size / self._bytes_per_s
        utterance.playout_ends_at = self._ends_at
        self.last_turn = utterance.turn
        self._last_turn_ends_at = self._ends_at

    def add(self, utterance: Utterance) -> bool:
        """Keep a written utterance until it has been heard; return False
        where nothing of it is heard on this connection."""
        if not utterance.sent_bytes or self._ends_at == float("-inf"):
            return False
        self._written.append(utterance)
        return True

    def played(self, now: float) -> Iterator[Utterance]:
        """Remove and yield the utterances that have been heard by now."""
        while self._written and now >= self._written[0].playout_ends_at:
            yield self._written.popleft()

    def take_all(self) -> list[Utterance]:
        """Remove and return the utterances that have not been heard yet."""
        utterances = list(self._written)
        self._written.clear()
        return utterances

    def stop(self) -> None:
        """Nothing plays any more: interrupted, or the connection is lost."""
        self._ends_at = float("-inf")

    def may_be_audible(self, now: float) -> bool:
        return now < self._ends_at + PLAYBACK_MARGIN_S

    def may_go_on(self, now: float) -> bool:
        """Return whether the last turn may have another sentence to come."""
        return now < self._last_turn_ends_at + SENTENCE_GAP_S

    def deadline(self) -> Optional[float]:
        """Return when `played` has something next, None for never."""
        return self._written[0].playout_ends_at if self._written else None
