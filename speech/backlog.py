"""The utterances that wait to be written, and the reports about all.

The rules that are quoted are those of docs/design.md.
"""

from collections import deque
from typing import Optional

from .events import LOST, PLAYED, SpeechEvent, SpeechLost, Turn
from .playout import Playout
from .utterance import KEPT_FACTOR, Limits, Totals, Utterance, size_of

STALLED_AFTER_S = 5.0
"""A connection takes no audio if one write waits for so long. A kernel makes
room in steps of megabytes, each of which takes a slow reader seconds."""


class Backlog:
    """The utterances that are not written yet, and the reports about all.

    Each utterance that begins to be heard has one `AudioStart` and one
    `AudioEnd` (rules of playout 2), each that came at all one `Summary`.
    """

    def __init__(self, limits: Limits) -> None:
        self.queue: deque[Utterance] = deque()
        self.totals = Totals()
        self.limits = limits
        self.events: list[SpeechEvent] = []
        self.stale_at: Optional[float] = None
        """When audio that was lost is too old to be said again."""
        self._unnamed = 0  # utterances that were given an id
        self._lost_s = 0.0  # since the last report
        self._lost_turn: Optional[Turn] = None
        self._max_kept_s = 0.0
        if limits.resume_within_s:
            self._max_kept_s = KEPT_FACTOR * limits.max_buffered_s

    def room_kept(self, utterance: Utterance, playout: Playout) -> int:
        """Return how much of an utterance may be kept for another session,
        in bytes: as much as all others that play leave free."""
        others = {id(one.utterance): one.utterance for one in playout.requests}
        others.pop(id(utterance), None)
        kept = sum(other.kept_bytes for other in others.values())
        return size_of(self._max_kept_s, utterance.bytes_per_s) - kept

    def update(self, playout: Playout, now: float) -> None:
        """Report the utterances that have begun or have been heard by now."""
        while playout.requests:
            request = playout.requests[0]
            if request.utterance.flushed:
                playout.requests.popleft()
                continue
            if playout.is_in_doubt or now < request.begins_at:
                return
            self.start_audio(request.utterance)
            if not playout.has_surely_been_heard(now):
                return
            self.pop(playout)

    def pop(self, playout: Playout) -> None:
        """Take the first request, which has been heard to its end."""
        utterance = playout.pop().utterance
        if utterance.is_written and not playout.plays(utterance):
            self.close(utterance)

    def close(self, utterance: Utterance) -> None:
        """Take an utterance that has been heard to its end."""
        self.end_audio(utterance, PLAYED)
        self.summarize(utterance)

    def start_audio(self, utterance: Utterance) -> None:
        if not utterance.started:
            utterance.started = True
            if not (utterance.tts_request_id or utterance.req_id):
                # The voice has begun it, which has no requests.
                self._unnamed += 1
                utterance.request_id = f"voice-{self._unnamed}"
            self.events.append(utterance.audio_start())

    def end_audio(self, utterance: Utterance, reason: int) -> None:
        if utterance.heard:
            self.start_audio(utterance)  # it was chained to the one before
        if utterance.started and not utterance.is_over:
            utterance.is_over = True
            counts = utterance.counts
            if reason == PLAYED and (counts.refused or counts.lost):
                reason = LOST
            self.events.append(utterance.audio_end(reason))

    def summarize(self, utterance: Utterance) -> None:
        if utterance.counts.received:
            self.events.append(utterance.summary())

    def lose(self, utterance: Utterance, size: int) -> None:
        """Count audio that was written and will not be heard."""
        if size:
            self.totals.lose(size)
            utterance.counts.lost += size
            self._lost_s += utterance.ms(size) / 1000
            self._lost_turn = self._lost_turn or utterance.turn

    def drop_held(self, utterance: Utterance, size: int) -> None:
        """Take the audio that a writer held of an utterance that was
        flushed, and did not write."""
        new = max(0, size - utterance.again)
        self.totals.flush(new)
        utterance.counts.flushed += new
        self.summarize(utterance)

    def discard_lost(self, utterance: Utterance) -> None:
        """Do not say again the audio of an utterance that was lost."""
        self.lose(utterance, utterance.skip_again())
        if utterance.ended and not utterance.left:
            self.queue.remove(utterance)
            self.close(utterance)

    def discard_all_lost(self) -> None:
        """Do not say again the audio that was lost."""
        self.stale_at = None
        for utterance in list(self.queue):
            self.discard_lost(utterance)

    def report_loss(self) -> None:
        """Report the audio that was lost since the last report, unless it
        was not to be said again."""
        if self._lost_s and self.limits.resume_within_s:
            self.events.append(SpeechLost(self._lost_s, self._lost_turn))
        self._lost_s = 0.0
        self._lost_turn = None
