"""The utterances that are not written yet, and what becomes of each.

The rules that are quoted are those of docs/design.md.
"""

from collections import deque
from typing import Optional, Union

from .intake import Overflow, TurnIdReused
from .playout import Playout, Request
from .utterance import (
    KEPT_FACTOR,
    LOST,
    PLAYED,
    AudioEnd,
    AudioStart,
    Limits,
    Summary,
    Totals,
    Utterance,
    size_of,
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
        self.stale_at: Optional[float] = None
        """When audio that was lost is too old to be said again."""
        self._unnamed = 0  # utterances that were given an id
        self._max_kept_s = 0.0
        if limits.resume_within_s:
            self._max_kept_s = KEPT_FACTOR * limits.max_buffered_s

    def room_kept(self, utterance: Utterance, playout: Playout) -> int:
        """Return how much of an utterance may be kept for another session,
        in bytes: what all else that plays leaves free."""
        kept = 0
        for request in playout.requests:
            if request.utterance is not utterance:
                kept += request.utterance.kept_bytes
        return size_of(self._max_kept_s, utterance.bytes_per_s) - kept

    def update(self, playout: Playout, now: float) -> None:
        """Report what has begun and what has been heard by now."""
        while playout.requests:
            request = playout.requests[0]
            utterance = request.utterance
            if not utterance.flushed:
                if now < request.begins_at:
                    return
                self.start_audio(utterance)
                if now < request.surely_ends_at or not request.is_whole:
                    return
                self.finish(request)
            playout.requests.popleft()

    def finish(self, request: Request) -> None:
        """Take a request that has been heard to its end."""
        utterance = request.utterance
        utterance.heard = utterance.reached
        utterance.source = request.source
        self.end_audio(utterance, PLAYED)
        self.summarize(utterance)

    def close(self, utterance: Utterance) -> None:
        """Take an utterance of which nothing is left to be written."""
        self.end_audio(utterance, LOST if utterance.counts.lost else PLAYED)
        self.summarize(utterance)

    def start_audio(self, utterance: Utterance) -> None:
        if not utterance.started:
            utterance.started = True
            if not (utterance.request_id or utterance.req_id):
                # The voice has begun it, which has no requests.
                self._unnamed += 1
                utterance.request_id = f"voice-{self._unnamed}"
            self.events.append(utterance.audio_start())

    def end_audio(self, utterance: Utterance, reason: int) -> None:
        if utterance.heard:
            self.start_audio(utterance)  # it was chained to the one before
        if utterance.started and not utterance.is_over:
            utterance.is_over = True
            self.events.append(utterance.audio_end(reason))

    def summarize(self, utterance: Utterance) -> None:
        if utterance.counts.received:
            self.events.append(utterance.summary())

    def lose(self, utterance: Utterance, size: int) -> None:
        """Count audio that was written and will not be heard."""
        if size:
            self.totals.lose(size)
            utterance.counts.lost += size

    def drop_held(self, utterance: Utterance, size: int) -> None:
        """Take what a writer held of an utterance that was flushed, and did
        not write."""
        new = max(0, size - utterance.again)
        self.totals.flush(new)
        utterance.counts.flushed += new
        self.summarize(utterance)

    def discard_lost(self, utterance: Utterance) -> None:
        """Do not say again what was lost of an utterance."""
        self.lose(utterance, utterance.skip_again())
        if utterance.ended and not utterance.left:
            self.queue.remove(utterance)
            self.close(utterance)

    def discard_all_lost(self) -> None:
        """Do not say again what was lost."""
        self.stale_at = None
        for utterance in list(self.queue):
            self.discard_lost(utterance)
