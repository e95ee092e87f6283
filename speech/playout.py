"""The playout clock: what the listener has heard, and until when.

Pure: it is told of each write, of the service's signals, of interrupts and
losses. Times are monotonic seconds, handed in. An estimate is corrected by
the service's signals where they come, never the other way round, and nothing
waits for a signal (rules of playout 1).
"""

from collections import deque
from dataclasses import dataclass
from typing import Optional

from .turn import Turn
from .utterance import Source, Utterance

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
    duration_s: float = 0.0
    is_complete: bool = False
    """Nothing will be added: its end is written."""
    source: Source = "estimate"

    def heard_s(self, now: float) -> float:
        """Return how much of it has been heard, in seconds."""
        left_s = self.ends_at - now
        return min(max(self.duration_s - left_s, 0.0), self.duration_s)

    @property
    def surely_ends_at(self) -> float:
        """When it has been heard for sure; `ends_at` may be an estimate."""
        margin_s = END_MARGIN_S if self.source == "estimate" else 0.0
        return self.ends_at + margin_s

    def update_heard(self, now: float) -> None:
        """Note in the utterance how much of it has been heard."""
        utterance = self.utterance
        heard = self.base + (
            int(self.heard_s(now) * utterance.bytes_per_s) & ~1
        )
        if heard > utterance.heard:
            utterance.heard = min(heard, utterance.reached)

    def resume_position(self, now: float, rewind_s: float) -> int:
        """Return from where in the utterance to say it again, in bytes.

        The rewind covers what the estimate is ahead of the truth, right after
        the end, too.
        """
        at_s = self.duration_s - (self.ends_at - now) - rewind_s
        at_s = min(max(at_s, 0.0), self.duration_s)
        return self.base + (int(at_s * self.utterance.bytes_per_s) & ~1)

    def shift(self, delta_s: float) -> None:
        self.begins_at += delta_s
        self.ends_at += delta_s


class Playout:
    """What one output plays: one request behind the other, in real time."""

    def __init__(self) -> None:
        self.last_turn: Optional[Turn] = None
        """Of what was written last, whatever became of the connection."""
        self.requests: deque[Request] = deque()
        """Not heard to the end, the oldest first."""
        self._ends_at = float("-inf")
        self.last_turn_ends_at = float("-inf")
        """When the last turn's audio ends, had nothing come between."""

    def wrote(
        self,
        utterance: Utterance,
        size: int,
        req_id: str,
        now: float,
        end: bool,
    ) -> Request:
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
            self.requests.append(request)
        if size:
            duration_s = size / utterance.bytes_per_s
            request.duration_s += duration_s
            request.ends_at = self._ends_at = begins_at + duration_s
        request.is_complete = end
        self.last_turn = utterance.turn
        self.last_turn_ends_at = self._ends_at
        return request

    def complete(self, utterance: Utterance) -> bool:
        """Nothing will be added to an utterance; return False where none of
        it is heard here."""
        request = self.requests[-1] if self.requests else None
        if request is None or request.utterance is not utterance:
            return False
        request.is_complete = True
        return True

    def started(self, req_id: str, now: float) -> None:
        """The service says that a request is playing."""
        request = self._find(req_id)
        if request is None:
            return
        if request.source == "estimate":
            request.source = "service"
            if now <= request.begins_at + MAX_START_DELAY_S:
                self._shift(request, now - request.begins_at)
        elif now > request.ends_at:
            self._shift(request, now - request.ends_at)  # it goes on

    def played(self, req_id: str, played_s: float, now: float) -> None:
        """The service says how much of a request has been heard."""
        request = self._find(req_id)
        if request is not None:
            request.source = "service"
            left_s = max(request.duration_s - played_s, 0.0)
            self._shift(request, now + left_s - request.ends_at)

    def ended(self, req_id: str, now: float) -> None:
        """The service says that a request has been heard to its end."""
        request = self._find(req_id)
        if request is not None and request.is_complete:
            request.source = "service"
            self._shift(request, now - request.ends_at)

    def take_played(self, now: float) -> list[Request]:
        """Remove and return the requests that have been heard by now."""
        played = []
        while self.requests and self.requests[0].is_complete:
            if now < self.requests[0].surely_ends_at:
                break
            played.append(self.requests.popleft())
        return played

    def take_all(self, now: float) -> list[Request]:
        """Nothing plays any more: remove and return all requests, with how
        much of each has been heard noted."""
        requests = list(self.requests)
        for request in requests:
            request.update_heard(now)
        self.requests.clear()
        self._ends_at = float("-inf")
        return requests

    def is_over(self, now: float) -> bool:
        """Return whether all that was written has been heard."""
        return now >= self._ends_at

    def may_be_audible(self, now: float) -> bool:
        return now < self._ends_at + PLAYBACK_MARGIN_S

    def may_go_on(self, now: float) -> bool:
        """Return whether the last turn may have another sentence to come."""
        return now < self.last_turn_ends_at + SENTENCE_GAP_S

    def deadline(self) -> Optional[float]:
        """Return when the next request begins or has been heard."""
        soonest = None
        for request in self.requests:
            utterance = request.utterance
            if not utterance.started and not utterance.flushed:
                if soonest is None or request.begins_at < soonest:
                    soonest = request.begins_at
                break
        if self.requests and self.requests[0].is_complete:
            at = self.requests[0].surely_ends_at
            if soonest is None or at < soonest:
                soonest = at
        return soonest

    def _find(self, req_id: str) -> Optional[Request]:
        # The service knows the latest request of an utterance only.
        for request in self.requests:
            if request.req_id == req_id:
                return request
        return None

    def _shift(self, request: Request, delta_s: float) -> None:
        """Move a request in time, and all that play behind it."""
        at = self.requests.index(request)
        for later in list(self.requests)[at:]:
            later.shift(delta_s)
        self._ends_at += delta_s
        self.last_turn_ends_at += delta_s
