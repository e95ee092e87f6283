"""The frames that come in: the utterance that each belongs to, and the frames
that are dropped.

The rules that are quoted by number are the rules of speech in docs/design.md.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from .avatar_output import AvatarOutput
from .events import Overflow, SlowDelivery, SpeechEvent, Turn, TurnIdReused
from .utterance import BYTES_PER_SAMPLE, Limits, Totals, Utterance, size_of
from .voice_output import VoiceOutput

OVERFLOW_PAUSE_S = 1.0
OVERFLOW_LIMIT_S = 10.0
"""Refused audio is reported once none has come for a pause, or when it has
been coming for the limit: one report with most of it, yet not too late."""

STALE_LIMIT_S = 1.0
"""How long audio without a turn counts as the rest of a flushed utterance."""

STALE_PAUSE_S = 0.25
"""A pause in the frames after which audio that has neither turn nor request
is no rest of a flushed utterance. A quick answer follows after 0.3 s."""

TURN_REUSE_LIMIT_S = 10.0
"""The same for audio of a flushed turn: more likely, all turns have one id."""

MOST_UNSENT_S = 180.0
"""How much audio may wait in any case: the writer of a connection that takes
it had no turn yet."""

MAX_PAUSE_S = 10.0
"""How long a pause in the middle of a sample may be. Later audio belongs to
another answer, which would be noise with half a sample before it."""

LONGEST_PAUSE_S = 60.0
"""How long an utterance that was announced may pause. Its end will not come
any more."""

SLOW_PACE = 1.1
"""Seconds of audio in a second, below which the service runs short of it."""

SLOW_LEAST_S = 1.0
"""A shorter utterance does not show the pace of its TTS."""

NEVER = float("inf")

_MAX_TURNS = 64  # a flushed turn's frames arrive within seconds or never


class OverflowEpisode:
    """Counts refused audio, from the high watermark down to the low one.

    Between them all is refused, so that the listener hears few gaps and there
    is one report for all of it.
    """

    def __init__(self) -> None:
        self.is_refusing = False
        self.report_at = NEVER
        """When `report` is due."""
        self._refused_s = 0.0
        self._since: Optional[float] = None
        self._is_reported = False
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
            self._is_reported = False
        if not self._is_reported:
            self.report_at = min(
                now + OVERFLOW_PAUSE_S, self._since + OVERFLOW_LIMIT_S
            )

    def report(self) -> Overflow:
        """Return the event for the audio refused since the last report."""
        event = Overflow(self._refused_s, self._turn, self._is_reported)
        self._is_reported = True
        self.report_at = NEVER
        self._refused_s = 0.0
        return event

    def end(self, events: list[SpeechEvent]) -> None:
        """End the episode, and report the audio not reported yet."""
        if self._refused_s:
            events.append(self.report())
        self.is_refusing = False
        self._since = None

    def cancel(self) -> None:
        """Make no more reports."""
        self.report_at = NEVER


@dataclass(slots=True)
class Cut:
    """Speech that was flushed, of one turn or of none."""

    at: float
    is_open: bool
    """The end of its request has not come."""
    is_announced: bool
    """Its request has begun with a `tts_audio_start`."""
    request_ids: set[str] = field(default_factory=set)
    last_audio_at: float = float("-inf")

    def may_be(self, request_id: str) -> bool:
        """Return whether a request may be of this speech."""
        return (
            not request_id
            or not self.request_ids
            or request_id in self.request_ids
        )


class Fence:
    """The fence behind a barge-in: keeps the rest of flushed speech out.

    All times are monotonic seconds, handed in.
    """

    def __init__(self) -> None:
        # By the turn; None stands for audio without one. The latest last.
        self._cuts: dict[Optional[Turn], Cut] = {}
        self._reuse_reported = False

    def is_stale(self, turn: Optional[Turn], now: float) -> bool:
        """Return whether audio of this turn must not be spoken."""
        cut = self._find(turn)
        if cut is None:
            return False
        if turn is not None:
            return now < cut.at + TURN_REUSE_LIMIT_S
        since = max(cut.at, cut.last_audio_at)
        has_paused = not cut.is_announced and now >= since + STALE_PAUSE_S
        return now < cut.at + STALE_LIMIT_S and not has_paused

    def is_stale_start(
        self, turn: Optional[Turn], request_id: str, now: float
    ) -> bool:
        """Return whether a `tts_audio_start` is that of flushed speech: its
        request has not ended, and this may be it."""
        for flushed, cut in self._cuts.items():
            if not cut.is_open or now >= cut.at + TURN_REUSE_LIMIT_S:
                continue
            if turn is not None and flushed is not None:
                if not turn.matches(flushed):
                    continue
                if not request_id:
                    return True
            if request_id and request_id in cut.request_ids:
                return True
        return False

    def note_audio(self, turn: Optional[Turn], now: float) -> None:
        """Take note of a frame that was dropped."""
        cut = self._find(turn)
        if cut is not None:
            cut.last_audio_at = now

    def cut(
        self,
        turn: Optional[Turn],
        request_ids: set[str],
        is_open: bool,
        is_announced: bool,
        now: float,
    ) -> None:
        """Keep out the rest of a turn, or of speech without one."""
        before = self._cuts.pop(turn, None)
        ids = {one for one in request_ids if one}
        if before is not None:
            ids |= before.request_ids
            is_open = is_open or before.is_open
        self._cuts[turn] = Cut(now, is_open, is_announced, ids)
        if len(self._cuts) > _MAX_TURNS:
            del self._cuts[next(iter(self._cuts))]

    def start(self, turn: Optional[Turn], request_id: str) -> None:
        """Take a `tts_audio_start` of new speech."""
        self._cuts.pop(None, None)
        for flushed in list(self._cuts):
            if turn is None:
                if request_id:
                    del self._cuts[flushed]
            elif flushed is not None and turn.matches(flushed):
                del self._cuts[flushed]

    def end(self, turn: Optional[Turn], request_id: str) -> None:
        """Take an end of speech."""
        for flushed, cut in list(self._cuts.items()):
            if not cut.may_be(request_id):
                continue
            if flushed is None:
                del self._cuts[None]
            elif turn is None or turn.matches(flushed):
                cut.is_open = False

    def lift(self) -> None:
        """Keep out audio without a turn no more."""
        self._cuts.pop(None, None)

    def reuse(self, turn: Optional[Turn], events: list[SpeechEvent]) -> None:
        """Take audio of a turn that is not stale any more, and report once
        that its id is used again without a request."""
        if turn is None or self._find(turn) is None:
            return
        self.start(turn, "")
        if not self._reuse_reported:
            self._reuse_reported = True
            events.append(TurnIdReused(turn, TURN_REUSE_LIMIT_S))

    def _find(self, turn: Optional[Turn]) -> Optional[Cut]:
        cuts = self._cuts
        if turn is None or turn in cuts:  # as nearly all that are asked for
            return cuts.get(turn)
        for flushed, cut in cuts.items():
            if flushed is not None and turn.matches(flushed):
                return cut
        return None


class Begun(NamedTuple):
    """A request of the TTS that has begun and not ended."""

    turn: Optional[Turn]
    request_id: str
    is_cut: bool = False
    """It was flushed: no later audio is of it."""


class Intake:
    """Opens utterances and fills them (rules 1, 5, 6 and 9)."""

    def __init__(
        self,
        limits: Limits,
        totals: Totals,
        events: list[SpeechEvent],
        outputs: tuple[AvatarOutput, VoiceOutput],
    ) -> None:
        self.open: Optional[Utterance] = None
        """The utterance that audio is added to."""
        self.begun: Optional[Begun] = None
        self.woken_at: Optional[float] = None
        """When the request that has begun woke the avatar, None if it did not
        or has its utterance already."""
        self.timed_out: Optional[Utterance] = None
        """The latest utterance, if it was ended for want of audio: its turn
        may go on in the middle of a sample."""
        self.fence = Fence()
        self.overflow = OverflowEpisode()
        self._events = events
        self._outputs = outputs
        self._limits = limits
        self._totals = totals
        self.high = 0
        """How much may wait that cannot be sent, in bytes at the latest
        utterance's rate."""
        self._most = 0  # in any case
        self._is_slow = False  # the TTS, in the latest utterance

    # Questions

    def is_stale(self, turn: Optional[Turn], now: float) -> bool:
        """Return whether audio of this turn must not be spoken (rule 5)."""
        return self.fence.is_stale(turn, now)

    def goes_on(self, turn: Optional[Turn], bytes_per_s: int) -> bool:
        """Return whether audio of this turn and rate belongs to the open
        utterance (rule 9)."""
        return self.open is not None and _goes_on(self.open, turn, bytes_per_s)

    def starts_another(self, request_id: str) -> bool:
        """Return whether a `tts_audio_start` is that of another request than
        the open utterance's, whose end is missing."""
        utterance = self.open
        return (
            utterance is not None
            and utterance.is_begun
            and not (request_id and request_id == utterance.tts_request_id)
        )

    def is_end_of_open(
        self, turn: Optional[Turn], request_id: str, now: float
    ) -> bool:
        """Return whether an end of speech is the open utterance's.

        The end of another turn or request came late: that utterance has been
        ended already, and this one goes on.
        """
        utterance = self.open
        if utterance is None or (
            turn is not None and self.fence.is_stale(turn, now)
        ):
            return False
        return _is_of(
            turn, request_id, utterance.turn, utterance.tts_request_id
        )

    def has_timed_out(self, now: float) -> bool:
        """Return whether the open utterance's end is overdue (rule 9)."""
        return now >= self._timeout_at

    @property
    def due_at(self) -> float:
        """When `tick` has something to do, or the end of the open utterance
        is overdue, inf for never."""
        return min(self.overflow.report_at, self._timeout_at)

    # Commands

    def drop_stale(self, turn: Optional[Turn], size: int, now: float) -> None:
        """Drop a frame's audio."""
        self._totals.flush_unqueued(size)
        self.fence.note_audio(turn, now)

    def open_utterance(
        self, turn: Optional[Turn], size: int, now: float, bytes_per_s: int
    ) -> Utterance:
        """Open an utterance for a frame of `size` bytes; the one before must
        have ended."""
        self.fence.reuse(turn, self._events)
        request_id, opened_at = "", now
        begun = self.begun
        is_begun = (
            begun is not None
            and not begun.is_cut
            and (turn is None or begun.turn is None or begun.turn.matches(turn))
        )
        if begun is not None and is_begun:
            request_id = begun.request_id
            if self.woken_at is not None:
                opened_at, self.woken_at = self.woken_at, None
        utterance = Utterance(
            turn, request_id, is_begun, bytes_per_s, opened_at, now, size
        )
        before, self.timed_out = self.timed_out, None
        if (
            before is not None
            and now < before.last_audio_at + MAX_PAUSE_S
            and _goes_on(before, turn, bytes_per_s)
        ):
            utterance.odd_byte = before.odd_byte
        self.high = size_of(self._limits.max_buffered_s, bytes_per_s)
        self._most = max(self.high, size_of(MOST_UNSENT_S, bytes_per_s))
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
        if utterance.is_paused:
            utterance.is_paused = False
            if now >= utterance.last_audio_at + MAX_PAUSE_S:
                utterance.odd_byte = b""
        utterance.last_audio_at = now
        if utterance.turn is None:
            utterance.turn = turn
        if utterance.odd_byte or len(pcm) & 1:
            pcm = utterance.join(pcm)
            if not pcm:
                return
        size = len(pcm)
        utterance.counts.received += size
        room = self.high - self._totals.waiting * BYTES_PER_SAMPLE
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
        """Take a `tts_audio_start` that is not stale."""
        self.timed_out = None
        self.fence.start(turn, request_id)
        self.begun = Begun(turn, request_id)
        self.woken_at = woken_at

    def end(self, turn: Optional[Turn], request_id: str, now: float) -> None:
        """Take an end of speech, before the open utterance is ended."""
        self.fence.end(turn, request_id)
        utterance, begun = self.open, self.begun
        known = {begun.request_id} if begun is not None else set()
        if utterance is not None:
            known.add(utterance.tts_request_id)
        known.discard("")
        if request_id and known and request_id not in known:
            return  # it came late
        self.timed_out = None
        if begun is not None and _is_of(
            turn, request_id, begun.turn, begun.request_id
        ):
            self.begun = self.woken_at = None
        if (
            utterance is not None
            and not utterance.tts_request_id
            and self.is_end_of_open(turn, request_id, now)
        ):
            utterance.tts_request_id = request_id

    def cut_begun(self, now: float) -> None:
        """Take a flush: it is meant for the request that has begun, too."""
        begun = self.begun
        if begun is not None:
            self.begun = begun._replace(is_cut=True)
            self.keep_out(begun.turn, begun.request_id, now)

    def keep_out(
        self, turn: Optional[Turn], request_id: str, now: float
    ) -> None:
        """Keep out the rest of a turn that was flushed."""
        if turn is None:
            return
        begun = self.begun
        is_open = begun is not None and (
            begun.turn is None or begun.turn.matches(turn)
        )
        self.fence.cut(turn, {request_id}, is_open, True, now)

    def keep_out_rest(self, utterance: Utterance, now: float) -> None:
        """Keep out the rest of an utterance that was flushed before its end,
        also one without a turn."""
        request_ids = {utterance.tts_request_id}
        for turn in {utterance.turn, None}:
            self.fence.cut(turn, request_ids, True, utterance.is_begun, now)

    def end_overflow(self) -> None:
        """Report the refused audio: there is room now."""
        self.overflow.end(self._events)

    def pause(self, utterance: Utterance) -> None:
        """End the service's request, as no audio came in time; the TTS's goes
        on."""
        utterance.is_paused = utterance.was_paused = True

    def judge_pace(self, utterance: Utterance) -> None:
        """Report a TTS that delivers no faster than its speech is spoken,
        once until it is faster again."""
        pace, size = utterance.pace, utterance.counts.received
        if utterance.was_paused or size < SLOW_LEAST_S * utterance.bytes_per_s:
            return
        was_slow, self._is_slow = self._is_slow, (pace or NEVER) < SLOW_PACE
        if self._is_slow and not was_slow:
            assert pace is not None
            self._events.append(
                SlowDelivery(pace, utterance.turn, utterance.tts_request_id)
            )

    def tick(self, now: float) -> None:
        if self.overflow.is_refusing:
            self._accept_again(now)
        if now >= self.overflow.report_at:
            self._events.append(self.overflow.report())

    def _refuse(
        self, utterance: Utterance, size: int, room: int, now: float
    ) -> int:
        """Refuse the part of a frame that finds no room (rule 6); return the
        size of the other part."""
        if self.overflow.is_refusing:
            self._accept_again(now)
        if self.is_taken(now) and not self.overflow.is_refusing:
            room += self._most - self.high
        accepted = 0 if self.overflow.is_refusing else min(max(room, 0), size)
        refused = size - accepted
        if refused:
            self._totals.refuse_unqueued(refused)
            self.refuse(utterance, refused, now)
        return accepted

    def refuse(self, utterance: Utterance, size: int, now: float) -> None:
        """Note that `size` bytes of an utterance found no room."""
        utterance.counts.refused += size
        refused_s = size / utterance.bytes_per_s
        self.overflow.refuse(refused_s, utterance.turn, now)

    def _accept_again(self, now: float) -> None:
        """End the overflow if audio is taken again, or if the audio that
        waits is below the low watermark."""
        waiting = self._totals.waiting * BYTES_PER_SAMPLE
        is_taken = waiting <= self.high and self.is_taken(now)
        if waiting <= self.high // 2 or is_taken:
            self.overflow.end(self._events)

    def is_taken(self, now: float) -> bool:
        """Return whether an output takes audio as fast as it comes."""
        return any(output.takes_audio(now) for output in self._outputs)

    @property
    def _timeout_at(self) -> float:
        utterance = self.open
        timeout_s = self._limits.end_timeout_s
        if utterance is None or not timeout_s:
            return NEVER
        if utterance.is_paused:
            timeout_s += LONGEST_PAUSE_S
        return utterance.last_audio_at + timeout_s


def _goes_on(
    utterance: Utterance, turn: Optional[Turn], bytes_per_s: int
) -> bool:
    """Return whether audio of this turn and rate goes on with an utterance."""
    return utterance.bytes_per_s == bytes_per_s and (
        turn is None or utterance.turn is None or utterance.turn.matches(turn)
    )


def _is_of(
    turn: Optional[Turn],
    request_id: str,
    of_turn: Optional[Turn],
    of_request_id: str,
) -> bool:
    """Return whether an end may be that of a request; either may name less
    than the other. The id alone proves nothing: another session may count
    its requests alike."""
    if request_id and of_request_id and request_id != of_request_id:
        return False
    return turn is None or of_turn is None or turn.matches(of_turn)
