"""The playout clock: how far the listener has heard each utterance.

Pure: each write, the service's signals, interrupts and losses are reported to
it. Times are monotonic seconds, handed in. An estimate is corrected by the
service's signals if they come, never the other way round, and no step waits for
a signal (rules of playout 1 in docs/design.md).
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Optional

from .events import Source, Turn
from .utterance import Utterance

PLAYBACK_MARGIN_S = 3.0
"""How much later than its length in audio an utterance may still be heard:
the service may begin late, and the network holds it back."""

SIGNALLED_MARGIN_S = 1.0
"""The same if the service has said that it has ended."""

END_MARGIN_S = 0.3
"""How much later than its length in audio an utterance counts as heard, if
the service does not say so."""

FRESH_S = 0.3
"""How long after an answer all audio counts as arrived: no ping is behind it
yet."""

SENTENCE_GAP_S = 5.0
"""How long after its last audio was heard a turn may go on with its next
sentence: a flush in the gap is meant for it."""

_MAX_PAST = 4  # requests that a late signal may be about


@dataclass(slots=True, eq=False)
class Request:
    """An utterance, or a part of one, as one output plays it."""

    utterance: Utterance
    req_id: str
    base: int
    """Its start in the utterance, in bytes."""
    begins_at: float
    ends_at: float
    size: int = 0
    is_complete: bool = False
    """Nothing will be added: its end is written."""
    source: Source = "estimate"
    is_playing: bool = False
    """The service has said so, and has not said that it ended."""
    has_ended: bool = False
    """The service has said so."""
    arrived: int = 0
    """How much of it has reached the service."""

    @property
    def end(self) -> int:
        """Its end in the utterance, in bytes."""
        return self.base + self.size

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been written, and has arrived."""
        return self.is_complete and self.arrived >= self.size

    @property
    def surely_ends_at(self) -> float:
        """When it has been heard for sure: even if the service has said
        when it began, each pause of the TTS may have delayed it."""
        if self.has_ended:
            return self.ends_at
        return self.ends_at + END_MARGIN_S

    def position(self, at: float) -> int:
        """Return how far the utterance has been heard at a time, in bytes."""
        left = round((self.ends_at - at) * self.utterance.bytes_per_s)
        return self.base + (min(max(self.size - left, 0), self.size) & ~1)

    def shift(self, delta_s: float) -> None:
        self.begins_at += delta_s
        self.ends_at += delta_s


class Mark(NamedTuple):
    """How much had been written at some time."""

    request: Request
    size: int


class Playout:
    """The requests that one output plays, one behind the other, in real time.

    With `is_acknowledged`, audio has reached the output when `arrived` says
    so, else when it is written. Audio that has not reached it never counts as
    played to its end.
    """

    def __init__(self, is_acknowledged: bool) -> None:
        self._is_acknowledged = is_acknowledged
        self.last_turn: Optional[Turn] = None
        """Of the latest audio, also after the connection was lost."""
        self.last_request_id = ""
        """Of the TTS, for the same audio."""
        self.requests: deque[Request] = deque()
        """Not heard to the end, the oldest first."""
        self.last_turn_ends_at = float("-inf")
        """When the last turn's audio ends, had nothing come between."""
        self._past: deque[Request] = deque(maxlen=_MAX_PAST)
        """Heard to the end by the estimate; the service may know better."""
        self._ends_at = float("-inf")
        self._is_end_known = False  # the service has said it
        self._proved_at = float("-inf")  # the service lived
        self._asked_at: Optional[float] = None
        """When the ping went out that is not answered."""
        self._was_there_at = float("inf")
        """When the latest ping went out that was answered: the service was
        there after it. inf as long as none was."""
        self._doubted_at: Optional[float] = None
        """Since when no audio counts as heard, None without a doubt."""
        self._unproved_since: Optional[float] = None
        """The same of the latest doubt, until a ping is answered that went out
        after it: the answer that ended it came late, and the service may have
        ended meanwhile."""
        self._sure_again_at = float("-inf")  # when that answer came

    @property
    def is_in_doubt(self) -> bool:
        """Whether it is unknown if the service still plays."""
        return self._doubted_at is not None

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
            if request is None:
                self._proved_at = now
            base = utterance.position - size
            request = Request(utterance, req_id, base, begins_at, begins_at)
            self.requests.append(request)
        if size:
            request.size += size
            if not self._is_acknowledged:
                request.arrived = request.size
            request.ends_at = begins_at + size / utterance.bytes_per_s
            self._ends_at = request.ends_at
            self._is_end_known = False
        request.is_complete = end
        self.last_turn = utterance.turn
        self.last_request_id = utterance.tts_request_id
        self.last_turn_ends_at = self._ends_at

    def plays(self, utterance: Utterance) -> bool:
        """Return whether a part of an utterance is still to be heard."""
        return any(one.utterance is utterance for one in self.requests)

    def complete(self, utterance: Utterance) -> None:
        """Nothing will be added to an utterance."""
        if self._plays_last(utterance):
            self.requests[-1].is_complete = True

    def leave(self, utterance: Utterance) -> None:
        """Another output goes on with an utterance, after this one."""
        if self._plays_last(utterance):
            self._note_heard(self.requests.pop(), self._ends_at)
            self._ends_at = float("-inf")

    def pop(self) -> Request:
        """Remove and return the first request: all of it has been heard."""
        request = self.requests.popleft()
        utterance = request.utterance
        utterance.heard = max(utterance.heard, request.end)
        utterance.source = request.source
        if not request.has_ended:
            self._past.append(request)
        return request

    # Arrival

    def mark(self) -> Optional[Mark]:
        """Return how much has been written, None if all of it has arrived."""
        request = self.requests[-1] if self.requests else None
        if request is None or request.arrived >= request.size:
            return None
        return Mark(request, request.size)

    def asked(self, now: float) -> None:
        """The service is to answer: nothing has been heard to its end before
        a ping is answered that went out at that end, or later."""
        self._asked_at = now

    def arrived(self, mark: Optional[Mark], now: float) -> None:
        """The service has answered: it has all that had been written at
        `mark`, and goes on playing."""
        self._proved_at = now
        if self._asked_at is not None:
            self._was_there_at, self._asked_at = self._asked_at, None
        if self.is_in_doubt:
            self._unproved_since, self._doubted_at = self._doubted_at, None
            self._sure_again_at = now
            self._delay(now)
        elif self._was_there_at >= self._sure_again_at:
            self._unproved_since = None
        if mark is None:
            return
        is_before = mark.request in self.requests
        for request in self.requests:
            if request is mark.request:
                request.arrived = max(request.arrived, mark.size)
                is_before = False
            elif is_before:
                request.arrived = request.size

    def doubt(self) -> None:
        """The service does not answer: since its latest answer nothing
        counts as heard, until there is another."""
        self._doubted_at = self._proved_at

    # Signals

    def started(self, req_id: str, now: float) -> None:
        """The service says that a request is playing."""
        request = self._find(req_id)
        if request is None or request.has_ended:
            return
        self._signal(request, now)
        if request.source == "estimate":
            self._move(request, request.ends_at + now - request.begins_at)
        else:
            self._move(request, max(request.ends_at, now))

    def played(self, req_id: str, played_s: float, now: float) -> None:
        """The service says how much of a request has been heard."""
        request = self._find(req_id)
        if request is not None and not request.has_ended and played_s > 0:
            self._signal(request, now - played_s)
            bytes_per_s = request.utterance.bytes_per_s
            heard = min(int(played_s * bytes_per_s) & ~1, request.size)
            request.arrived = max(request.arrived, heard)
            duration_s = request.size / bytes_per_s
            self._move(request, now + max(duration_s - played_s, 0.0))

    def ended(self, req_id: str, now: float) -> None:
        """The service says that a request has been heard to its end."""
        request = self._find(req_id)
        if request is not None and request.is_complete:
            request.is_playing = False
            request.has_ended = True
            request.arrived = request.size
            if request in self._past:
                self._past.remove(request)
                self._is_end_known = not self.requests
            else:
                self._move(request, now)
                self._is_end_known = request is self.requests[-1]

    def is_next(self, req_id: str) -> bool:
        """Return whether a request is the first that is to be heard."""
        return bool(self.requests) and self.requests[0].req_id == req_id

    def silenced(self, req_id: str) -> None:
        """The service says that a request does not play any more."""
        request = self._find(req_id)
        if request is not None:
            request.is_playing = False

    def find(self, req_id: str) -> Optional[Request]:
        """Return the request of this id that is still to be heard."""
        for request in self.requests:
            if request.req_id == req_id:
                return request
        return None

    # Cuts

    def take_all(self, now: float) -> list[Request]:
        """Nothing plays any more: remove and return all requests, with how
        much of each has been heard noted."""
        requests = list(self.requests)
        for request in requests:
            self._note_heard(request, now)
        self.requests.clear()
        self._past.clear()
        self._ends_at = float("-inf")
        return requests

    def stop_at(self, request: Request, position: int, now: float) -> None:
        """The service has played a request up to a position of its utterance
        by now, and cut it there."""
        left = request.end - position
        self._move(request, now + left / request.utterance.bytes_per_s)
        request.is_playing = False

    def drop(self, request: Request, now: float) -> None:
        """Remove a request: the one behind it plays from now on."""
        self._note_heard(request, now)
        ends_at = request.ends_at
        self.requests.remove(request)
        for other in self.requests:
            other.shift(now - ends_at)
        self._ends_at = now
        if self.requests:
            self._ends_at = self.requests[-1].ends_at

    def doubt_arrival(self, now: float, is_closed: bool) -> None:
        """The connection is gone: audio counts as heard as far as it is
        known to have arrived, unless the latest answer has just come, or the
        connection was closed on purpose."""
        if self.is_in_doubt:
            return
        is_fresh = now < self._proved_at + FRESH_S
        for request in self.requests:
            if is_closed or (is_fresh and request.arrived):
                request.arrived = request.size
        self._doubted_at = now
        if self._unproved_since is not None and not is_closed:
            self._doubted_at = self._unproved_since

    def renew(self) -> None:
        """There will be another connection, which is not in doubt."""
        self._doubted_at = self._unproved_since = None

    def position(
        self, request: Request, at: float, rewind_s: float = 0.0
    ) -> int:
        """Return how far the utterance of a request was surely heard at a
        time, in bytes, less the rewind."""
        if self._doubted_at is None:
            if self._asked_at is not None and not request.arrived:
                return request.base  # the service may have been gone before
            return request.position(at - rewind_s)
        position = request.position(min(at, self._doubted_at) - rewind_s)
        return min(position, request.base + request.arrived)

    # Questions

    @property
    def kept_s(self) -> float:
        """How much of the audio is kept, in seconds."""
        utterances = {id(one.utterance): one.utterance for one in self.requests}
        return sum(
            utterance.kept_bytes / utterance.bytes_per_s
            for utterance in utterances.values()
        )

    def has_been_heard(self, now: float) -> bool:
        """Return whether the first request has been heard, by the estimate
        without its margin."""
        if not self.requests or self.is_in_doubt:
            return False
        request = self.requests[0]
        return (
            request.is_whole
            and now >= request.ends_at
            and not request.utterance.flushed
        )

    def has_surely_been_heard(self, now: float) -> bool:
        """Return whether the first request has been heard, with its margin."""
        return self._is_end_proved() and now >= self.requests[0].surely_ends_at

    def is_over(self, now: float) -> bool:
        """Return whether all that was written has been heard."""
        return now >= self._ends_at

    def is_playing_out(self, now: float) -> bool:
        """Return whether audio is still to be heard, by the estimate."""
        return bool(self.requests) and (
            now < self._ends_at + END_MARGIN_S or self.ask_at < float("inf")
        )

    def ahead_s(self, now: float) -> float:
        """Return how much of the latest request is surely still to be heard,
        in seconds, by the estimate: nothing in doubt."""
        if not self.requests or self._doubted_at is not None:
            return 0.0
        request = self.requests[-1]
        begins_at = request.begins_at  # without `max`: for each frame
        return request.ends_at - (begins_at if begins_at > now else now)

    def may_play_on(self, now: float) -> bool:
        """Return whether audio may be audible, by the estimate."""
        margin_s = PLAYBACK_MARGIN_S
        if self._is_end_known:
            margin_s = SIGNALLED_MARGIN_S
        return now < self._ends_at + margin_s or (
            self.is_in_doubt and bool(self.requests)
        )

    def may_be_audible(self, now: float) -> bool:
        """Return whether audio may be audible: the service has said so, and
        not that it ended, or it may be by the estimate."""
        return self.may_play_on(now) or any(
            request.is_playing for request in (*self._past, *self.requests)
        )

    def may_go_on(self, now: float) -> bool:
        """Return whether the last turn may have another sentence to come."""
        return now < self.last_turn_ends_at + SENTENCE_GAP_S

    @property
    def due_at(self) -> float:
        """When the next request begins or has been heard, inf for never."""
        if not self.requests or self.is_in_doubt:
            return float("inf")
        request = self.requests[0]
        if not request.utterance.started:
            return request.begins_at
        if not self._is_end_proved():
            return float("inf")
        return request.surely_ends_at

    @property
    def ask_at(self) -> float:
        """When the service is to be asked whether it has played the first
        request to its end: at that end, by the estimate. inf if it is not
        known, or was asked."""
        request = self.requests[0] if self.requests else None
        if (
            request is None
            or not request.is_complete
            or self._was_there_at >= request.ends_at
        ):
            return float("inf")
        return request.ends_at

    # Internals

    def _is_end_proved(self) -> bool:
        """Return whether all of the first request has arrived, and the
        service was still there at its end."""
        request = self.requests[0]
        return request.is_whole and (
            request.has_ended or self._was_there_at >= request.ends_at
        )

    def _plays_last(self, utterance: Utterance) -> bool:
        return bool(self.requests) and self.requests[-1].utterance is utterance

    def _note_heard(self, request: Request, now: float) -> None:
        utterance = request.utterance
        heard = min(self.position(request, now), utterance.reached)
        if request.base and heard <= request.base:
            return  # an earlier request knows how far it was heard
        utterance.heard = max(heard, utterance.heard)
        utterance.source = request.source

    def _find(self, req_id: str) -> Optional[Request]:
        for request in (*self.requests, *self._past):
            if request.req_id == req_id:
                return request
        return None

    def _signal(self, request: Request, began_at: float) -> None:
        """Take note that the service plays a request, as it says."""
        request.is_playing = True
        utterance = request.utterance
        if not request.base and utterance.first_heard_at is None:
            utterance.first_heard_at = began_at

    def _delay(self, now: float) -> None:
        """Audio that had not arrived before the doubt plays from now on,
        unless audio that had arrived is still playing; each request behind
        the other."""
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
        requests = [*self._past, *self.requests]
        at = requests.index(request)
        request.source = "service"
        request.shift(ends_at - request.ends_at)
        begins_at = request.begins_at
        for before in reversed(requests[:at]):
            # It has ended. The service may still say that it was cut.
            before.is_playing = False
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
