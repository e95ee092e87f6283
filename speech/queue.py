"""What has been said, what is stale, and what goes to the service next.

A pure state machine: no I/O, no clock of its own (`now` is a monotonic time
in seconds, handed in with each call). Audio is signed 16-bit mono PCM.

A *frame* is one pcm_frame. An *utterance* is the audio up to one end of
speech; it becomes one request of the service. A *turn* is what the agent says
in answer to one thing that the user said; one that the user has cut short
must not speak again.

The writer asks `next` for a step, carries it out, and says with `wrote` or
`unwritten` how it went; there is one step at a time.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Union

BYTES_PER_SAMPLE = 2

MESSAGE_MS = 100
"""The most audio that one message holds when it is cut or joined."""

STALE_LIMIT_S = 1.0
"""How long audio without a turn is taken for the rest of a flushed one."""

PLAYBACK_MARGIN_S = 1.0
"""How much later than its length in audio an utterance may still be heard:
the service and the network hold it back by about as much."""

OVERFLOW_PAUSE_S = 1.0
OVERFLOW_LIMIT_S = 10.0
"""Refused audio is told of once none has come for a pause, or when it has
been coming for the limit: one report with most of it, yet not too late."""

SENTENCE_GAP_S = 5.0
"""How long after its last audio was heard a turn may go on with its next
sentence: a flush in the gap is meant for it."""

LATE_TURN_S = 10.0
"""A turn that still speaks so long after its flush does not trail behind:
more likely all turns go by one id."""

_TURNS_KEPT = 64  # a flushed turn's frames arrive within seconds or never


class Turn(NamedTuple):
    """Whose speech a frame is; `id` is unique within `session`."""

    session: Hashable
    id: Hashable


class Send(NamedTuple):
    """Send `audio`; `end` closes the request behind it."""

    audio: bytes
    end: bool


class Interrupt(NamedTuple):
    """Interrupt the latest request."""


Step = Union[Send, Interrupt]


@dataclass
class Totals:
    """Samples over the whole run: heard = sent + flushed + refused + waiting.

    `refused` found no room (or no avatar), `flushed` was cut by a barge-in.
    """

    heard: int = 0
    sent: int = 0
    flushed: int = 0
    refused: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Summary:
    """How one utterance went. Reported when it has been played or cut."""

    turn: Optional[Turn]
    req_id: str
    connection_id: str
    """Of the connection that its latest audio was sent on, "" if none was."""
    audio_ms: float
    sent_ms: float
    flushed_ms: float
    refused_ms: float
    first_audio_delay_ms: Optional[float]
    """From the first frame in to the first message out; None if none was."""
    interrupted: bool

    @property
    def dropped_ms(self) -> float:
        return self.flushed_ms + self.refused_ms


@dataclass(frozen=True)
class Overflow:
    """Audio was refused because `max_buffered_s` of it already waited."""

    refused_s: float
    turn: Optional[Turn]
    is_rest: bool = False
    """An earlier note has told of this episode; this is what came after."""


@dataclass(frozen=True)
class LateTurn:
    """A turn goes on long after its flush, unheard. Told once."""

    turn: Turn


Note = Union[Summary, Overflow, LateTurn]


@dataclass(slots=True, eq=False)
class _Utterance:
    """The audio up to one end of speech, and what became of it, in bytes."""

    turn: Optional[Turn]
    opened_at: float
    last_audio_at: float
    frames: deque[bytes] = field(default_factory=deque)
    offset: int = 0  # of the first frame, how much has been taken
    waiting: int = 0
    odd_byte: bytes = b""  # half a sample, until its other half comes
    ended: bool = False  # nothing more will be added
    flushed: bool = False
    heard_bytes: int = 0
    sent_bytes: int = 0
    flushed_bytes: int = 0
    refused_bytes: int = 0
    first_sent_at: Optional[float] = None
    played_at: float = 0.0  # when its audio has been heard to the end
    req_id: str = ""
    connection_id: str = ""

    def take(self, size: int) -> bytes:
        """Remove and return up to `size` bytes, without a copy if it can."""
        frame = self.frames[0]
        left = len(frame) - self.offset
        if not self.offset and (
            left == size or (left < size and len(self.frames) == 1)
        ):
            self.frames.popleft()
            self.waiting -= left
            return frame
        parts: list[Union[bytes, memoryview]] = []
        room = size
        while room and self.frames:
            frame = self.frames[0]
            part = memoryview(frame)[self.offset : self.offset + room]
            parts.append(part)
            room -= len(part)
            self.offset += len(part)
            if self.offset == len(frame):
                self.frames.popleft()
                self.offset = 0
        audio = b"".join(parts)
        self.waiting -= len(audio)
        return audio

    def put_back(self, audio: bytes) -> None:
        """Undo the latest `take`."""
        if self.offset:
            self.frames[0] = self.frames[0][self.offset :]
            self.offset = 0
        self.frames.appendleft(audio)
        self.waiting += len(audio)

    def drop(self) -> int:
        """Forget what waits and return how many bytes that was."""
        dropped = self.waiting
        self.frames.clear()
        self.offset = 0
        self.waiting = 0
        return dropped


class Speech:
    """The queue between the frames that come in and the writer.

    `sample_rate` is in Hz, `max_buffered_s` in seconds of audio,
    `end_timeout_s` in seconds (0 = never). No request is begun with less than
    `first_message_ms` of audio, unless there is no more of it.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        max_buffered_s: float = 60.0,
        end_timeout_s: float = 1.5,
        first_message_ms: int = 0,
    ) -> None:
        self.notes: list[Note] = []
        """What is to be reported; whoever reads it empties it."""
        self.totals = Totals()
        self._bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        self._max_bytes = _whole_samples(max_buffered_s * self._bytes_per_s)
        self._message_bytes = _whole_samples(
            MESSAGE_MS / 1000 * self._bytes_per_s
        )
        self._first_bytes = _whole_samples(
            first_message_ms / 1000 * self._bytes_per_s
        )
        self._end_timeout_s = end_timeout_s
        self._half_sample_bytes = (
            0  # bytes of a sample that was dropped by halves
        )
        self._deaf = False  # no avatar will ever speak: let audio go
        self._queue: deque[_Utterance] = deque()
        self._open: Optional[_Utterance] = None  # the queue's last, or none
        self._waiting_bytes = 0
        # The step that the writer is at, and whose audio it holds.
        self._step: Optional[Step] = None
        self._step_owner: Optional[_Utterance] = None
        # The service holds an open request of the queue's first utterance.
        self._in_request = False
        self._interrupt_due = False
        self._playing: deque[_Utterance] = deque()  # sent, not yet heard out
        self._playing_until = float("-inf")
        # What was written last, and when it is heard out, had nothing come
        # between: its turn may go on, whatever became of the connection.
        self._last_turn: Optional[Turn] = None
        self._last_turn_until = float("-inf")
        self._started_turn: Optional[Turn] = None  # and not ended since
        # When each was flushed, the latest last.
        self._flushed_turns: dict[Turn, float] = {}
        self._late_turn_told = False
        self._stale_until: Optional[float] = None
        # An episode of refusal: how much, since when, and when to tell.
        self._refusing = False
        self._refused_bytes = 0
        self._tell_overflow_at: Optional[float] = None
        self._refused_since: Optional[float] = None
        self._refused_turn: Optional[Turn] = None

    # What comes in

    def frame(
        self, pcm: bytes, now: float, turn: Optional[Turn] = None
    ) -> None:
        """Take the audio of one frame (rules 1, 5, 6 and 9)."""
        utterance = self._open
        if turn is None or utterance is None or turn is not utterance.turn:
            # Mostly it is the very turn that is open, and not flushed: a
            # flush leaves nothing open.
            utterance = self._utterance_of(turn, pcm, now)
            if utterance is None:
                return
        if pcm:
            utterance.last_audio_at = now
        if utterance.odd_byte:
            pcm = utterance.odd_byte + pcm
            utterance.odd_byte = b""
        if len(pcm) % BYTES_PER_SAMPLE:
            utterance.odd_byte = pcm[-1:]
            pcm = pcm[:-1]
        self._admit(utterance, pcm, now)

    def start(self, turn: Optional[Turn] = None) -> None:
        """Take a `tts_audio_start`: what follows is not stale (rule 5)."""
        if not self._is_flushed(turn):
            self._stale_until = None
            self._started_turn = turn

    def end(
        self, now: float, turn: Optional[Turn] = None, cut: bool = False
    ) -> None:
        """Take an end of speech; `cut` means reason 2 (rules 2, 3 and 5).

        The end of another turn than the open utterance's came late: that
        utterance has been ended already, and this one goes on.
        """
        self._stale_until = None
        if turn is None or turn == self._started_turn:
            self._started_turn = None
        utterance = self._open
        if utterance is None or self._is_flushed(turn):
            return
        if turn and utterance.turn and not _is_same(turn, utterance.turn):
            return
        if cut:
            self.flush(now)
            self._stale_until = None  # the cut speech is known to be over
        else:
            self._end_open()

    def flush(self, now: float) -> None:
        """Drop what waits, and ask for an interrupt if there is something
        to interrupt (rules 4 and 5)."""
        self._end_refusal()
        self._mark_flushed(self._started_turn, now)
        playing = self._may_be_playing(now)
        if playing or now < self._last_turn_until + SENTENCE_GAP_S:
            self._mark_flushed(self._last_turn, now)
        if not self._queue and not playing:
            return
        for utterance in self._queue:
            self._mark_flushed(utterance.turn, now)
            dropped = utterance.drop()
            utterance.flushed_bytes += dropped
            utterance.flushed = True
            self.totals.flushed += self._take_out(dropped)
        if playing:
            self._interrupt_due = not isinstance(self._step, Interrupt)
        if self._open is not None:
            self._open.ended = True
            self._open = None
            self._stale_until = now + STALE_LIMIT_S
        for utterance in self._playing:
            utterance.flushed = True
            self._mark_flushed(utterance.turn, now)
            self._summarise(utterance)
        self._playing.clear()
        for utterance in self._queue:
            # What the writer holds is known when it is written, or not.
            if utterance is not self._step_owner:
                self._summarise(utterance)
        self._queue.clear()

    def tick(self, now: float) -> None:
        """Do what is due by `now`: rule 9's end of speech, and reports."""
        utterance = self._open
        if (
            utterance is not None
            and self._end_timeout_s
            and now >= utterance.last_audio_at + self._end_timeout_s
        ):
            self._end_open()
        while self._playing and now >= self._playing[0].played_at:
            self._summarise(self._playing.popleft())
        if self._tell_overflow_at is not None and (
            now >= self._tell_overflow_at
        ):
            self._tell_overflow()

    def deadline(self) -> Optional[float]:
        """Return when `tick` has something to do next, None for never."""
        soonest = self._tell_overflow_at
        if self._open is not None and self._end_timeout_s:
            at = self._open.last_audio_at + self._end_timeout_s
            if soonest is None or at < soonest:
                soonest = at
        if self._playing:
            at = self._playing[0].played_at
            if soonest is None or at < soonest:
                soonest = at
        return soonest

    # What goes out

    def next(self) -> Optional[Step]:
        """Return the writer's next step, None if there is none now."""
        assert self._step is None, "the step before is not settled"
        if self._interrupt_due:
            self._interrupt_due = False
            self._step = Interrupt()
            return self._step
        while self._queue:
            utterance = self._queue[0]
            if (
                utterance.waiting < self._first_bytes
                and not self._in_request
                and not utterance.ended
            ):
                return None
            if utterance.waiting:
                audio = utterance.take(self._message_bytes)
                end = utterance.ended and not utterance.waiting
                self._step = Send(audio, end)
                self._step_owner = utterance
                return self._step
            if not utterance.ended:
                return None
            if self._in_request:
                self._step = Send(b"", True)
                self._step_owner = utterance
                return self._step
            # Its audio went out on a connection that is gone: an end of
            # its own would make an empty request.
            self._finish(self._queue.popleft())
        return None

    def wrote(
        self, now: float, req_id: str = "", connection_id: str = ""
    ) -> None:
        """Settle the step: it is on the wire, as a part of `req_id`."""
        step, utterance = self._settle()
        if isinstance(step, Interrupt):
            self._in_request = False
            self._playing_until = float("-inf")
            return
        assert utterance is not None
        size = len(step.audio)
        self.totals.sent += self._take_out(size)
        utterance.sent_bytes += size
        utterance.req_id = req_id
        utterance.connection_id = connection_id
        if utterance.first_sent_at is None:
            utterance.first_sent_at = now
        if size:
            self._playing_until = (
                max(now, self._playing_until) + size / self._bytes_per_s
            )
        utterance.played_at = self._playing_until
        self._last_turn = utterance.turn
        self._last_turn_until = self._playing_until
        self._in_request = not step.end
        if utterance.flushed:
            # It was cut while the writer held a part of it.
            self._summarise(utterance)
        elif step.end:
            self._queue.popleft()
            self._finish(utterance)
        if self._refusing and self._waiting_bytes <= self._max_bytes // 2:
            self._end_refusal()

    def unwritten(self) -> None:
        """Settle the step: it did not reach the wire.

        Its audio goes first on the next connection, unless it was flushed.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt) or utterance is None:
            return
        size = len(step.audio)
        if utterance.flushed:
            self.totals.flushed += self._take_out(size)
            utterance.flushed_bytes += size
            self._summarise(utterance)
        elif size:
            utterance.put_back(step.audio)

    def connection_lost(self) -> None:
        """Forget what the lost connection was at: nothing plays, nothing is
        to be interrupted, and what is left goes into a new request."""
        self._in_request = False
        self._interrupt_due = False
        self._playing_until = float("-inf")
        while self._playing:
            self._summarise(self._playing.popleft())

    def let_go(self) -> None:
        """No avatar will ever speak: drop what waits, refuse all to come.

        To be called between steps.
        """
        assert self._step is None, "the step before is not settled"
        self._deaf = True
        self._open = None
        self._tell_overflow_at = None
        for utterance in self._queue:
            dropped = utterance.drop()
            utterance.refused_bytes += dropped
            self.totals.refused += self._take_out(dropped)
            self._summarise(utterance)
        self._queue.clear()
        self.connection_lost()

    # What is known

    def is_quiet(self, now: float) -> bool:
        """Return whether nothing is said, waits or plays."""
        return (
            not self._queue
            and self._step is None
            and not self._interrupt_due
            and not self._in_request
            and now >= self._playing_until + PLAYBACK_MARGIN_S
        )

    @property
    def waiting_s(self) -> float:
        """How much audio waits, the writer's part included, in seconds."""
        return self._waiting_bytes / self._bytes_per_s

    @property
    def turn(self) -> Optional[Turn]:
        """The turn that is being said, None if none is known."""
        return self._queue[0].turn if self._queue else self._last_turn

    def __repr__(self) -> str:
        return (
            f"<Speech {len(self._queue)} utterances, "
            f"{self.waiting_s:.2f} s waiting, {self.totals}>"
        )

    # How it is done

    def _utterance_of(
        self, turn: Optional[Turn], pcm: bytes, now: float
    ) -> Optional[_Utterance]:
        """Return where a frame belongs, None where it is not spoken."""
        if self._deaf:
            self.totals.refused += self._hear(len(pcm))
            return None
        if self._is_stale(turn, now):
            self.totals.flushed += self._hear(len(pcm))
            self._tell_late_turn(turn, now)
            return None
        utterance = self._open
        if utterance is not None and turn is not None:
            if utterance.turn is None:
                utterance.turn = turn
            elif not _is_same(utterance.turn, turn):
                self._end_open()
                utterance = None
        if utterance is None and pcm:
            utterance = self._open = _Utterance(turn, now, now)
            self._queue.append(utterance)
        return utterance

    def _is_stale(self, turn: Optional[Turn], now: float) -> bool:
        if turn is not None:
            return self._is_flushed(turn)
        if self._stale_until is None:
            return False
        if now < self._stale_until:
            return True
        self._stale_until = None
        return False

    def _admit(self, utterance: _Utterance, pcm: bytes, now: float) -> None:
        """Put `pcm` in the queue as far as there is room for it."""
        size = len(pcm)
        if not size:
            return
        utterance.heard_bytes += size
        room = 0 if self._refusing else self._max_bytes - self._waiting_bytes
        if size > room:
            self._refuse(utterance, size - room, now)
            pcm = pcm[:room]
            size = room
        if size:
            utterance.frames.append(pcm)
            utterance.waiting += size
            self._waiting_bytes += size
            totals = self.totals
            totals.heard += size // BYTES_PER_SAMPLE
            totals.waiting += size // BYTES_PER_SAMPLE

    def _refuse(self, utterance: _Utterance, size: int, now: float) -> None:
        """Count audio that found no room.

        From here on all is refused until half of the room is free, so that
        what is heard has few gaps and there is one report for all of it.
        """
        utterance.refused_bytes += size
        self.totals.refused += self._hear(size)
        self._refusing = True
        self._refused_bytes += size
        self._refused_turn = utterance.turn
        if self._refused_since is None:
            self._refused_since = now
            self._tell_overflow_at = now
        if self._tell_overflow_at is not None:  # not told of yet
            self._tell_overflow_at = min(
                now + OVERFLOW_PAUSE_S, self._refused_since + OVERFLOW_LIMIT_S
            )

    def _end_refusal(self) -> None:
        if self._refused_bytes:
            self._tell_overflow()
        self._refusing = False
        self._refused_since = None

    def _tell_overflow(self) -> None:
        self.notes.append(
            Overflow(
                self._refused_bytes / self._bytes_per_s,
                self._refused_turn,
                is_rest=self._tell_overflow_at is None,
            )
        )
        self._tell_overflow_at = None
        self._refused_bytes = 0

    def _end_open(self) -> None:
        utterance, self._open = self._open, None
        if utterance is None:
            return
        utterance.ended = True
        if (
            not utterance.waiting
            and not utterance.sent_bytes
            and utterance is not self._step_owner
        ):
            # All of it was refused: nothing is left for the writer to do.
            self._queue.pop()
            self._summarise(utterance)

    def _may_be_playing(self, now: float) -> bool:
        return (
            self._in_request
            or isinstance(self._step, Send)
            or now < self._playing_until + PLAYBACK_MARGIN_S
        )

    def _mark_flushed(self, turn: Optional[Turn], now: float) -> None:
        if turn is None:
            return
        self._flushed_turns.pop(turn, None)
        self._flushed_turns[turn] = now
        if len(self._flushed_turns) > _TURNS_KEPT:
            del self._flushed_turns[next(iter(self._flushed_turns))]

    def _is_flushed(self, turn: Optional[Turn]) -> bool:
        return self._flushed_at(turn) is not None

    def _flushed_at(self, turn: Optional[Turn]) -> Optional[float]:
        if turn is None:
            return None
        if turn in self._flushed_turns:  # as nearly all that are asked for
            return self._flushed_turns[turn]
        for flushed, at in self._flushed_turns.items():
            if _is_same(turn, flushed):
                return at
        return None

    def _tell_late_turn(self, turn: Optional[Turn], now: float) -> None:
        if turn is None or self._late_turn_told:
            return
        at = self._flushed_at(turn)
        if at is not None and now >= at + LATE_TURN_S:
            self._late_turn_told = True
            self.notes.append(LateTurn(turn))

    def _settle(self) -> tuple[Step, Optional[_Utterance]]:
        step, utterance = self._step, self._step_owner
        assert step is not None, "there is no step to settle"
        self._step = self._step_owner = None
        return step, utterance

    def _finish(self, utterance: _Utterance) -> None:
        """All of it is written: report it when it has been heard."""
        if utterance.sent_bytes and self._playing_until > float("-inf"):
            self._playing.append(utterance)
        else:
            self._summarise(utterance)

    def _summarise(self, utterance: _Utterance) -> None:
        if not utterance.heard_bytes:
            return
        first = utterance.first_sent_at
        self.notes.append(
            Summary(
                turn=utterance.turn,
                req_id=utterance.req_id,
                connection_id=utterance.connection_id,
                audio_ms=self._ms(utterance.heard_bytes),
                sent_ms=self._ms(utterance.sent_bytes),
                flushed_ms=self._ms(utterance.flushed_bytes),
                refused_ms=self._ms(utterance.refused_bytes),
                first_audio_delay_ms=None
                if first is None
                else (first - utterance.opened_at) * 1000,
                interrupted=utterance.flushed,
            )
        )

    def _ms(self, size: int) -> float:
        return size * 1000 / self._bytes_per_s

    def _hear(self, size: int) -> int:
        """Count audio that never waits as heard, and return its samples;
        half samples add up."""
        samples, self._half_sample_bytes = divmod(
            size + self._half_sample_bytes, BYTES_PER_SAMPLE
        )
        self.totals.heard += samples
        return samples

    def _take_out(self, size: int) -> int:
        """Count audio as waiting no more, and return its samples."""
        samples = size // BYTES_PER_SAMPLE
        self._waiting_bytes -= size
        self.totals.waiting -= samples
        return samples


def _is_same(one: Turn, other: Turn) -> bool:
    """Return whether both name one turn; a session may be left out."""
    return one.id == other.id and (
        one.session == other.session
        or one.session is None
        or other.session is None
    )


def _whole_samples(size: float) -> int:
    return int(size) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
