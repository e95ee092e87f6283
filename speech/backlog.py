"""The utterances that are not written yet, and what becomes of each."""

from collections import deque
from typing import Optional, Union

from .limits import Limits
from .overflow import Overflow
from .playout import Playout, Request
from .staleness import TurnIdReused
from .totals import BYTES_PER_SAMPLE, Totals
from .utterance import (
    LOST,
    PLAYED,
    AudioEnd,
    AudioStart,
    Source,
    Summary,
    Utterance,
)

Event = Union[Summary, AudioStart, AudioEnd, Overflow, TurnIdReused]


class Backlog:
    """The queue, the sum of what became of audio, and what is to be reported.

    Each utterance that begins to be heard has one `AudioStart` and one
    `AudioEnd` (rules of playout 2), each that came at all one `Summary`.
    """

    def __init__(self, limits: Limits) -> None:
        self.queue: deque[Utterance] = deque()
        self.totals = Totals()
        self.limits = limits
        self.events: list[Event] = []

    def may_keep(self, utterance: Utterance, playing: deque[Request]) -> bool:
        """Return whether to keep what is written now, for another session."""
        if not self.limits.resume_within_s:
            return False
        kept = sum(request.utterance.kept_bytes for request in playing)
        rate = utterance.bytes_per_s // BYTES_PER_SAMPLE
        return kept // BYTES_PER_SAMPLE < self.limits.max_kept_samples(rate)

    def note_starts(self, playout: Playout, now: float) -> None:
        """Report the utterances that have begun to be heard by now."""
        for request in playout.requests:
            utterance = request.utterance
            if now < request.begins_at:
                return
            if not utterance.started and not utterance.flushed:
                utterance.started = True
                self.events.append(utterance.audio_start())

    def update(self, playout: Playout, now: float) -> None:
        """Report what has begun and what has been heard by now."""
        self.note_starts(playout, now)
        for request in playout.take_played(now):
            if not request.utterance.flushed:
                self.finish(request)

    def finish(self, request: Request) -> None:
        """Take a request that has been heard to its end."""
        utterance = request.utterance
        utterance.heard = max(
            utterance.heard, utterance.reached - utterance.lost_bytes
        )
        self.end_audio(utterance, PLAYED, request.source)
        self.summarize(utterance)

    def close(self, utterance: Utterance) -> None:
        """Take an utterance of which nothing is left to be written."""
        is_heard = utterance.heard >= utterance.reached
        reason = PLAYED if is_heard else LOST
        self.end_audio(utterance, reason, "estimate")
        self.summarize(utterance)

    def end_audio(
        self, utterance: Utterance, reason: int, source: Source
    ) -> None:
        if utterance.started and not utterance.is_over:
            utterance.is_over = True
            self.events.append(utterance.audio_end(reason, source))

    def summarize(self, utterance: Utterance) -> None:
        if utterance.received_bytes:
            self.events.append(utterance.summary())

    def lose(self, utterance: Utterance, size: int) -> None:
        """Count audio that was written and will not be heard."""
        if size:
            self.totals.lose(size)
            utterance.lost_bytes += size
            utterance.sent_bytes -= size

    def discard_lost(self, utterance: Utterance) -> None:
        """Do not say again what was lost of the first utterance."""
        self.lose(utterance, utterance.skip_again())
        if utterance.ended and not utterance.left:
            self.queue.remove(utterance)
            self.close(utterance)

    def discard_stale(self, now: float) -> None:
        """Do not say again what was lost too long ago."""
        for utterance in list(self.queue):
            at = utterance.stale_at
            if at is not None and now >= at:
                self.discard_lost(utterance)

    def stale_deadline(self) -> Optional[float]:
        """Return when `discard_stale` has something to do."""
        return self.queue[0].stale_at if self.queue else None
