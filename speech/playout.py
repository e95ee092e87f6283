"""The playout clock: what the listener has heard, and until when.

Pure: each write, the service's signals, interrupts and losses are reported to
it. Times are monotonic seconds, handed in. An estimate is corrected by the
service's signals where they come, never the other way round, and nothing waits
for a signal (rules of playout 1 in docs/design.md).
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Optional

from .utterance import Source, Turn, Utterance

PLAYBACK_MARGIN_S = 1.0
"""How much later than its length in audio an utterance may still be heard:
the service and the network hold it back by about as much."""

END_MARGIN_S = 0.3
"""How much later than its length in audio an utterance is taken for heard,
where the service does not say so."""

SENTENCE_GAP_S = 5.0
"""How long after its last audio was heard a turn may go on with its next
sentence: a flush in the gap is meant for it."""

MAX_START_DELAY_S = 3.0
"""A first signal that comes later than this says that a request goes on, not
that it begins."""


@dataclass(slots=True, eq=False)
class Request:
    """An utterance, or the rest of one, as one output plays it."""

    utterance: Utterance
    req_id: str
    base: int
    """Where in the utterance it begins, in bytes."""
    begins_at: float
    ends_at: float
    size: int = 0
    is_complete: bool = False
    """Nothing will be added: its end is written."""
    source: Source = "estimate"
    has_ended: bool = False
    """The service has said so."""
    arrived: int = 0
    """How much of it has reached the service."""
    is_in_doubt: bool = False
    """No more of it is taken for heard than has arrived."""

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been written, and has arrived."""
        return self.is_complete and self.arrived >= self.size

    @property
    def surely_ends_at(self) -> float:
        """When it has been heard for sure: even where the service has said
        when it began, each pause of the TTS may have delayed it."""
        if self.has_ended:
            return self.ends_at
        return self.ends_at + END_MARGIN_S

    def position(self, at: float) -> int:
        """Return how far the utterance has been heard at a time, in bytes."""
        left = round((self.ends_at - at) * self.utterance.bytes_per_s)
        heard = min(max(self.size - left, 0), self.size) & ~1
        if self.is_in_doubt:
            heard = min(heard, self.arrived)
        return self.base + heard

    def update_heard(self, now: float) -> None:
        """Note in the utterance how much of it has been heard."""
        utterance = self.utterance
        heard = min(self.position(now), utterance.reached)
        utterance.heard = max(heard, utterance.heard)
        utterance.source = self.source

    def shift(self, delta_s: float) -> None:
        self.begins_at += delta_s
        self.ends_at += delta_s


class Mark(NamedTuple):
    """How much had been written at some time."""

    request: Request
    size: int


class Playout:
    """What one output plays: one request behind the other, in real time.

    With `is_acknowledged`, audio has reached the output when `arrived` says
    so, else when it is written. Audio that has not reached it never counts as
    played to its end.
    """

    def __init__(self, is_acknowledged: bool) -> None:
        self._is_acknowledged = is_acknowledged
        self.last_turn: Optional[Turn] = None
        """Of what was written last, whatever became of the connection."""
        self.requests: deque[Request] = deque()
        """Not heard to the end, the oldest first."""
        self._ends_at = float("-inf")
        self.last_turn_ends_at = float("-inf")
        """When the last turn's audio ends, had nothing come between."""
        self._is_in_doubt = False

    def wrote(
        self,
        utterance: Utterance,
        size: int,
        req_id: str,
        now: float,
        end: bool,
    ) -> None:
        """Take note of `size` bytes that went out at `now`, after the
        utterance has counted them."""
        begins_at = self._ends_at if self._ends_at > now else now
        request = self.requests[-1] if self.requests else None
        if (
            request is None
            or request.utterance is not utterance
            or request.is_complete
        ):
            base = utterance.position - size
            request = Request(utterance, req_id, base, begins_at, begins_at)
            request.is_in_doubt = self._is_in_doubt
            self.requests.append(request)
        if size:
            request.size += size
            if not self._is_acknowledged:
                request.arrived = request.size
            request.ends_at = begins_at + size / utterance.bytes_per_s
            self._ends_at = request.ends_at
        request.is_complete = end
        self.last_turn = utterance.turn
        self.last_turn_ends_at = self._ends_at

    def plays_last(self, utterance: Utterance) -> bool:
        """Return whether an utterance is what was written last."""
        return bool(self.requests) and self.requests[-1].utterance is utterance

    def complete(self) -> None:
        """Nothing will be added to the utterance that was written last."""
        self.requests[-1].is_complete = True

    def leave(self, utterance: Utterance) -> None:
        """Another output goes on with an utterance, after this one."""
        if self.plays_last(utterance):
            self.requests.pop().update_heard(self._ends_at)
            self._ends_at = float("-inf")

    def mark(self) -> Optional[Mark]:
        """Return how much has been written, None if all of it has arrived."""
        request = self.requests[-1] if self.requests else None
        if request is None or request.arrived >= request.size:
            return None
        return Mark(request, request.size)

    def arrived(self, mark: Mark, now: float) -> None:
        """The service has all that had been written at `mark`."""
        if self._is_in_doubt:
            self._is_in_doubt = False
            self._delay(now)
        is_before = mark.request in self.requests
        for request in self.requests:
            request.is_in_doubt = False
            if request is mark.request:
                request.arrived = max(request.arrived, mark.size)
                is_before = False
            elif is_before:
                request.arrived = request.size

    def doubt(self) -> None:
        """The service does not answer: what has not arrived by now is not
        heard, until more is known."""
        self._is_in_doubt = True
        for request in self.requests:
            request.is_in_doubt = True

    def playback(
        self, req_id: str, state: str, played_ms: Optional[float], now: float
    ) -> None:
        """The service says that a request is "playing" or has "ended", or
        how much of it has been heard."""
        if played_ms is not None:
            self.played(req_id, played_ms / 1000, now)
        elif state == "playing":
            self.started(req_id, now)
        if state == "ended":
            self.ended(req_id, now)

    def started(self, req_id: str, now: float) -> None:
        """The service says that a request is playing."""
        request = self._find(req_id)
        if request is None:
            return
        is_first = request.source == "estimate"
        if is_first and now <= request.begins_at + MAX_START_DELAY_S:
            self._move(request, request.ends_at + now - request.begins_at)
        else:
            self._move(request, max(request.ends_at, now))

    def played(self, req_id: str, played_s: float, now: float) -> None:
        """The service says how much of a request has been heard."""
        request = self._find(req_id)
        if request is not None and played_s > 0:
            bytes_per_s = request.utterance.bytes_per_s
            heard = min(int(played_s * bytes_per_s) & ~1, request.size)
            request.arrived = max(request.arrived, heard)
            duration_s = request.size / bytes_per_s
            self._move(request, now + max(duration_s - played_s, 0.0))

    def ended(self, req_id: str, now: float) -> None:
        """The service says that a request has been heard to its end."""
        request = self._find(req_id)
        if request is not None and request.is_complete:
            request.has_ended = True
            request.arrived = request.size
            self._move(request, now)

    def take_all(self, now: float) -> list[Request]:
        """Nothing plays any more: remove and return all requests, with how
        much of each has been heard noted."""
        requests = list(self.requests)
        for request in requests:
            request.update_heard(now)
        self.requests.clear()
        self._ends_at = float("-inf")
        return requests

    @property
    def kept_s(self) -> float:
        """How much of the audio is kept, in seconds."""
        return sum(
            request.utterance.kept_bytes / request.utterance.bytes_per_s
            for request in self.requests
        )

    def is_over(self, now: float) -> bool:
        """Return whether all that was written has been heard."""
        return now >= self._ends_at

    def may_be_audible(self, now: float) -> bool:
        may_play_on = now < self._ends_at + PLAYBACK_MARGIN_S
        return may_play_on or self.mark() is not None

    def may_go_on(self, now: float) -> bool:
        """Return whether the last turn may have another sentence to come."""
        return now < self.last_turn_ends_at + SENTENCE_GAP_S

    def deadline(self) -> Optional[float]:
        """Return when the next request begins or has been heard."""
        if not self.requests:
            return None
        request = self.requests[0]
        if not request.utterance.started:
            return request.begins_at
        return request.surely_ends_at if request.is_whole else None

    def _find(self, req_id: str) -> Optional[Request]:
        for request in self.requests:
            if request.req_id == req_id:
                return request
        return None

    def _delay(self, now: float) -> None:
        """What had not arrived before the doubt plays from now on, unless
        what had arrived is still playing; each request behind the other."""
        plays_from = now
        for request in self.requests:
            if request.arrived < request.size:
                missing = request.size - request.arrived
                bytes_per_s = request.utterance.bytes_per_s
                ran_out_at = request.ends_at - missing / bytes_per_s
                request.shift(max(0.0, plays_from - ran_out_at))
            plays_from = max(plays_from, request.ends_at)
            self._ends_at = self.last_turn_ends_at = request.ends_at

    def _move(self, request: Request, ends_at: float) -> None:
        """Move a request in time, as the service has said, and with it the
        estimates of all others: one is heard behind the other."""
        requests = list(self.requests)
        at = requests.index(request)
        request.source = "service"
        request.shift(ends_at - request.ends_at)
        begins_at = request.begins_at
        for before in reversed(requests[:at]):
            before.has_ended = True
            before.arrived = before.size
            if before.ends_at > begins_at:
                before.source = "service"
                before.shift(begins_at - before.ends_at)
            begins_at = before.begins_at
        for before, after in zip(requests[at:], requests[at + 1 :]):
            if after.source == "service":
                break
            after.shift(before.ends_at - after.begins_at)
        self._ends_at = self.last_turn_ends_at = requests[-1].ends_at
