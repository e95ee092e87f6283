"""What comes in: which utterance a frame belongs to, and what is dropped.

The rules that are quoted by number are the rules of speech in docs/design.md.
"""

from dataclasses import dataclass
from typing import Any, Optional

from .utterance import (
    BYTES_PER_SAMPLE,
    Limits,
    Totals,
    Turn,
    Utterance,
    size_of,
)

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
        self._until = float("-inf")
        self._flushed_turns: dict[Turn, float] = {}  # when, the latest last
        self._reuse_reported = False

    def is_stale(self, turn: Optional[Turn], now: float) -> bool:
        """Return whether audio of this turn must not be spoken."""
        if turn is not None:
            return self.is_flushed(turn)
        return now < self._until

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
        self._until = float("-inf")

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


MAX_PAUSE_S = 10.0
"""How long a pause in the middle of a sample may be. What comes later is
another answer, which would be noise with half a sample before it."""


class Intake:
    """Opens utterances and fills them (rules 1, 5, 6 and 9)."""

    def __init__(
        self, limits: Limits, totals: Totals, events: list[Any]
    ) -> None:
        self.open: Optional[Utterance] = None
        """The utterance that audio is added to."""
        self.woken_at: Optional[float] = None
        """When the request that has begun woke the avatar, None if it did not
        or has its utterance already."""
        self.staleness = Staleness()
        self.overflow = OverflowEpisode()
        self._events = events
        self._limits = limits
        self._totals = totals
        self.timed_out: Optional[Utterance] = None
        """The latest utterance, if it was ended for want of audio: its turn
        may go on in the middle of a sample."""
        self._request_id = ""  # of the TTS's request that has begun
        self._high = 0  # watermark, in bytes at the latest utterance's rate

    def is_stale(self, turn: Optional[Turn], now: float) -> bool:
        """Return whether audio of this turn must not be spoken (rule 5)."""
        return self.staleness.is_stale(turn, now)

    def drop_stale(self, turn: Optional[Turn], size: int, now: float) -> None:
        """Drop a frame's audio."""
        self._totals.flush_unqueued(size)
        self._events += self.staleness.reused(turn, now)

    def goes_on(self, turn: Optional[Turn], bytes_per_s: int) -> bool:
        """Return whether audio of this turn and rate belongs to the open
        utterance (rule 9)."""
        return self.open is not None and _goes_on(self.open, turn, bytes_per_s)

    def open_utterance(
        self, turn: Optional[Turn], now: float, bytes_per_s: int
    ) -> Utterance:
        """Open an utterance; the one before must have ended."""
        request_id, opened_at = "", now
        started = self.staleness.started_turn
        if turn is None or started is None or started.matches(turn):
            request_id = self._request_id
            if self.woken_at is not None:
                opened_at, self.woken_at = self.woken_at, None
        utterance = Utterance(turn, request_id, bytes_per_s, opened_at, now)
        before, self.timed_out = self.timed_out, None
        if (
            before is not None
            and now < before.last_audio_at + MAX_PAUSE_S
            and _goes_on(before, turn, bytes_per_s)
        ):
            utterance.odd_byte = before.odd_byte
        self._high = size_of(self._limits.max_buffered_s, bytes_per_s)
        self.open = utterance
        return utterance

    def add(
        self,
        utterance: Utterance,
        pcm: bytes,
        now: float,
        turn: Optional[Turn],
    ) -> None:
        """Add a frame's audio to the open utterance, as far as there is
        room."""
        if utterance.turn is None:
            utterance.turn = turn
        utterance.last_audio_at = now
        if utterance.odd_byte or len(pcm) & 1:
            pcm = utterance.join(pcm)
            if not pcm:
                return
        size = len(pcm)
        utterance.counts.received += size
        room = self._high - self._totals.waiting * BYTES_PER_SAMPLE
        if size > room or self.overflow.is_refusing:
            size = self._refuse(utterance, size, room, now)
            if not size:
                return
            pcm = pcm[:size]
        utterance.add(pcm)
        self._totals.queue(size)

    def start(
        self,
        turn: Optional[Turn],
        request_id: str,
        woken_at: Optional[float] = None,
    ) -> None:
        """Take a `tts_audio_start`: what follows is not stale (rule 5)."""
        self.timed_out = None
        if not self.staleness.is_flushed(turn):
            self.staleness.end()
            self.staleness.started_turn = turn
            self._request_id = request_id
            self.woken_at = woken_at

    def is_end_of_open(self, turn: Optional[Turn]) -> bool:
        """Return whether an end of speech is the open utterance's.

        The end of another turn came late: that utterance has been ended
        already, and this one goes on.
        """
        utterance = self.open
        if utterance is None or self.staleness.is_flushed(turn):
            return False
        return (
            turn is None
            or utterance.turn is None
            or turn.matches(utterance.turn)
        )

    def end(self, turn: Optional[Turn], request_id: str) -> None:
        """Take an end of speech: what follows is not stale (rule 5)."""
        self.timed_out = None
        self.staleness.end()
        if turn is None or self._is_of_begun(turn, request_id):
            self.staleness.started_turn = None
            self._request_id = ""
            self.woken_at = None
        utterance = self.open
        if (
            utterance is not None
            and not utterance.started
            and not utterance.request_id
            and self.is_end_of_open(turn)
        ):
            utterance.request_id = request_id

    def has_timed_out(self, now: float) -> bool:
        """Return whether the open utterance's end is overdue (rule 9)."""
        at = self._timeout_at()
        return at is not None and now >= at

    def end_overflow(self) -> None:
        event = self.overflow.end()
        if event is not None:
            self._events.append(event)

    def tick(self, now: float) -> None:
        if self.overflow.is_refusing:
            self._accept_again()
        report_at = self.overflow.report_at
        if report_at is not None and now >= report_at:
            self._events.append(self.overflow.report())

    def deadline(self) -> Optional[float]:
        at = self.overflow.report_at
        timeout_at = self._timeout_at()
        if at is None or (timeout_at is not None and timeout_at < at):
            return timeout_at
        return at

    def _is_of_begun(self, turn: Turn, request_id: str) -> bool:
        """Return whether an end is that of the request that has begun; start
        and end may each name less than the other."""
        started = self.staleness.started_turn
        if started is not None:
            # Not by the id: another session may count its requests alike.
            return turn.matches(started)
        return bool(request_id) and request_id == self._request_id

    def _refuse(
        self, utterance: Utterance, size: int, room: int, now: float
    ) -> int:
        """Refuse what finds no room of a frame; return how much does."""
        if self.overflow.is_refusing:
            self._accept_again()
        accepted = 0 if self.overflow.is_refusing else min(max(room, 0), size)
        refused = size - accepted
        if refused:
            utterance.counts.refused += refused
            self._totals.refuse_unqueued(refused)
            refused_s = refused / utterance.bytes_per_s
            self.overflow.refuse(refused_s, utterance.turn, now)
        return accepted

    def _accept_again(self) -> None:
        """End the overflow, if what waits is below the low watermark."""
        if self._totals.waiting * BYTES_PER_SAMPLE <= self._high // 2:
            self.end_overflow()

    def _timeout_at(self) -> Optional[float]:
        if self.open is None or not self._limits.end_timeout_s:
            return None
        return self.open.last_audio_at + self._limits.end_timeout_s


def _goes_on(
    utterance: Utterance, turn: Optional[Turn], bytes_per_s: int
) -> bool:
    """Return whether audio of this turn and rate goes on with an utterance."""
    return utterance.bytes_per_s == bytes_per_s and (
        turn is None or utterance.turn is None or utterance.turn.matches(turn)
    )
