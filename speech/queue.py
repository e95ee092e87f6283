"""The queue between the frames that come in and the writer.

A pure state machine: no I/O, no clock of its own (`now` is a monotonic time
in seconds, handed in with each call). Audio is signed 16-bit mono PCM. The
rules that are quoted by number are the rules of speech in docs/design.md.

A *frame* is one pcm_frame. An *utterance* is the audio up to one end of
speech; it becomes one request of the service.

The writer asks `next_step` for a step, carries it out, and reports with
`written` or `write_failed` how it went; there is one step at a time.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Optional, Union

from .overflow import Overflow, OverflowEpisode
from .playout import Playout
from .staleness import Staleness, TurnIdReused
from .totals import BYTES_PER_SAMPLE, Totals
from .turn import Turn
from .utterance import Summary, Utterance

MESSAGE_MS = 100
"""The most audio that one message holds when it is cut or joined."""


class Send(NamedTuple):
    """Send `audio`; `end` closes the request behind it."""

    audio: bytes
    end: bool


class Interrupt(NamedTuple):
    """Interrupt the latest request."""


Step = Union[Send, Interrupt]

Event = Union[Summary, Overflow, TurnIdReused]


@dataclass(frozen=True)
class _Limits:
    """Sizes in bytes, times in seconds."""

    bytes_per_s: int
    max_waiting: int
    message: int
    first_message: int
    end_timeout_s: float


class Speech:
    """What has been said and what goes next.

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
        bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        self.totals = Totals()
        self._limits = _Limits(
            bytes_per_s=bytes_per_s,
            max_waiting=_whole_samples(max_buffered_s * bytes_per_s),
            message=_whole_samples(MESSAGE_MS / 1000 * bytes_per_s),
            first_message=_whole_samples(first_message_ms / 1000 * bytes_per_s),
            end_timeout_s=end_timeout_s,
        )
        self._events: list[Event] = []
        self._closed = False  # no avatar will ever speak
        self._queue: deque[Utterance] = deque()
        self._open: Optional[Utterance] = None  # the queue's last, or none
        # The step in progress, and whose audio the writer holds.
        self._step: Optional[Step] = None
        self._step_owner: Optional[Utterance] = None
        # The service holds an open request of the queue's first utterance.
        self._in_request = False
        self._interrupt_due = False
        self._playout = Playout(bytes_per_s)
        self._staleness = Staleness()
        self._overflow = OverflowEpisode(bytes_per_s)

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
        if utterance.odd_byte or len(pcm) & 1:
            pcm = utterance.join(pcm)
        if pcm:
            self._admit(utterance, pcm, now)

    def start(self, turn: Optional[Turn] = None) -> None:
        """Take a `tts_audio_start`: what follows is not stale (rule 5)."""
        if not self._staleness.is_flushed(turn):
            self._staleness.end()
            self._staleness.started_turn = turn

    def end(
        self, now: float, turn: Optional[Turn] = None, cut: bool = False
    ) -> None:
        """Take an end of speech; `cut` means reason 2 (rules 2, 3 and 5).

        The end of another turn than the open utterance's came late: that
        utterance has been ended already, and this one goes on.
        """
        staleness = self._staleness
        staleness.end()
        if turn is None or turn == staleness.started_turn:
            staleness.started_turn = None
        utterance = self._open
        if utterance is None or staleness.is_flushed(turn):
            return
        if turn and utterance.turn and not turn.matches(utterance.turn):
            return
        if cut:
            self.flush(now)
            staleness.end()  # no more of the cut speech will come
        else:
            self._end_open()

    def flush(self, now: float) -> None:
        """Drop what waits, and ask for an interrupt if there is something
        to interrupt (rules 4 and 5)."""
        self._end_overflow()
        staleness, playout = self._staleness, self._playout
        staleness.mark_flushed(staleness.started_turn, now)
        playing = self._may_be_playing(now)
        if playing or playout.may_go_on(now):
            staleness.mark_flushed(playout.last_turn, now)
        if not self._queue and not playing:
            return
        if playing:
            self._interrupt_due = not isinstance(self._step, Interrupt)
        if self._open is not None:
            self._open.ended = True
            self._open = None
            staleness.begin(now)
        for utterance in playout.take_all():
            utterance.flushed = True
            staleness.mark_flushed(utterance.turn, now)
            self._summarize(utterance)
        for utterance in self._queue:
            staleness.mark_flushed(utterance.turn, now)
            dropped = utterance.drop()
            utterance.flushed_bytes += dropped
            utterance.flushed = True
            self.totals.flush(dropped)
            # What the writer holds is known when it is written, or not.
            if utterance is not self._step_owner:
                self._summarize(utterance)
        self._queue.clear()

    def tick(self, now: float) -> None:
        """Do what is due by `now`: rule 9's end of speech, and reports."""
        utterance = self._open
        timeout_s = self._limits.end_timeout_s
        if (
            utterance is not None
            and timeout_s
            and now >= utterance.last_audio_at + timeout_s
        ):
            self._end_open()
        for played in self._playout.played(now):
            self._summarize(played)
        report_at = self._overflow.report_at
        if report_at is not None and now >= report_at:
            self._events.append(self._overflow.report())

    def deadline(self) -> Optional[float]:
        """Return when `tick` has something to do next, None for never."""
        soonest = self._overflow.report_at
        if self._open is not None and self._limits.end_timeout_s:
            at = self._open.last_audio_at + self._limits.end_timeout_s
            if soonest is None or at < soonest:
                soonest = at
        at = self._playout.deadline()
        if at is not None and (soonest is None or at < soonest):
            soonest = at
        return soonest

    # What goes out

    def next_step(self) -> Optional[Step]:
        """Return the writer's next step, None if there is none now."""
        assert self._step is None, "the step before is not settled"
        if self._interrupt_due:
            self._interrupt_due = False
            self._step = Interrupt()
            return self._step
        while self._queue:
            utterance = self._queue[0]
            if (
                utterance.waiting < self._limits.first_message
                and not self._in_request
                and not utterance.ended
            ):
                return None
            if utterance.waiting:
                audio = utterance.take(self._limits.message)
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

    def written(
        self, now: float, req_id: str = "", connection_id: str = ""
    ) -> None:
        """Settle the step: it is on the wire, as a part of `req_id`."""
        step, utterance = self._settle()
        if isinstance(step, Interrupt):
            self._in_request = False
            self._playout.stop()
            return
        assert utterance is not None
        size = len(step.audio)
        self.totals.send(size)
        utterance.sent_bytes += size
        utterance.req_id = req_id
        utterance.connection_id = connection_id
        if utterance.first_sent_at is None:
            utterance.first_sent_at = now
        self._playout.wrote(utterance, size, now)
        self._in_request = not step.end
        if utterance.flushed:
            # It was cut while the writer held a part of it.
            self._summarize(utterance)
        elif step.end:
            self._queue.popleft()
            self._finish(utterance)
        if (
            self._overflow.is_refusing
            and self._waiting_bytes <= self._limits.max_waiting // 2
        ):
            self._end_overflow()

    def write_failed(self) -> None:
        """Settle the step: it did not reach the wire.

        Its audio goes first on the next connection, unless it was flushed.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt) or utterance is None:
            return
        size = len(step.audio)
        if utterance.flushed:
            self.totals.flush(size)
            utterance.flushed_bytes += size
            self._summarize(utterance)
        elif size:
            utterance.put_back(step.audio)

    def connection_lost(self) -> None:
        """Reset what belonged to the lost connection: nothing plays, nothing
        is to be interrupted, and what is left goes into a new request."""
        self._in_request = False
        self._interrupt_due = False
        self._playout.stop()
        for utterance in self._playout.take_all():
            self._summarize(utterance)

    def close(self) -> None:
        """No avatar will ever speak: drop what waits, refuse all to come.

        To be called between steps.
        """
        assert self._step is None, "the step before is not settled"
        self._closed = True
        self._open = None
        self._overflow.cancel()
        for utterance in self._queue:
            dropped = utterance.drop()
            utterance.refused_bytes += dropped
            self.totals.refuse(dropped)
            self._summarize(utterance)
        self._queue.clear()
        self.connection_lost()

    # Queries

    def take_events(self) -> list[Event]:
        """Remove and return what is to be reported."""
        if not self._events:
            return self._events
        events, self._events = self._events, []
        return events

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is said, waits or plays."""
        return (
            not self._queue
            and self._step is None
            and not self._interrupt_due
            and not self._in_request
            and not self._playout.may_be_audible(now)
        )

    @property
    def waiting_s(self) -> float:
        """How much audio waits, the writer's part included, in seconds."""
        return self._waiting_bytes / self._limits.bytes_per_s

    @property
    def turn(self) -> Optional[Turn]:
        """The turn that is being said, None if none is known."""
        return self._queue[0].turn if self._queue else self._playout.last_turn

    def __repr__(self) -> str:
        return (
            f"<Speech {len(self._queue)} utterances, "
            f"{self.waiting_s:.2f} s waiting, {self.totals}>"
        )

    # Internals

    @property
    def _waiting_bytes(self) -> int:
        return self.totals.waiting * BYTES_PER_SAMPLE

    def _utterance_of(
        self, turn: Optional[Turn], pcm: bytes, now: float
    ) -> Optional[Utterance]:
        """Return where a frame belongs, None where it is not spoken."""
        if self._closed:
            self.totals.refuse_unqueued(len(pcm))
            return None
        if self._staleness.is_stale(turn, now):
            self.totals.flush_unqueued(len(pcm))
            self._events += self._staleness.reused(turn, now)
            return None
        utterance = self._open
        if utterance is not None and turn is not None:
            if utterance.turn is None:
                utterance.turn = turn
            elif not utterance.turn.matches(turn):
                self._end_open()
                utterance = None
        if utterance is None and pcm:
            utterance = self._open = Utterance(turn, now, now)
            self._queue.append(utterance)
        return utterance

    def _admit(self, utterance: Utterance, pcm: bytes, now: float) -> None:
        """Put `pcm` in the queue as far as there is room for it."""
        size = len(pcm)
        utterance.received_bytes += size
        room = self._limits.max_waiting - self._waiting_bytes
        if self._overflow.is_refusing:
            room = 0
        if size > room:
            refused = size - room
            utterance.refused_bytes += refused
            self.totals.refuse_unqueued(refused)
            self._overflow.refuse(refused, utterance.turn, now)
            pcm = pcm[:room]
        if pcm:
            utterance.add(pcm)
            self.totals.queue(len(pcm))

    def _end_overflow(self) -> None:
        event = self._overflow.end()
        if event is not None:
            self._events.append(event)

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
            self._summarize(utterance)

    def _may_be_playing(self, now: float) -> bool:
        return (
            self._in_request
            or isinstance(self._step, Send)
            or self._playout.may_be_audible(now)
        )

    def _settle(self) -> tuple[Step, Optional[Utterance]]:
        step, utterance = self._step, self._step_owner
        assert step is not None, "there is no step to settle"
        self._step = self._step_owner = None
        return step, utterance

    def _finish(self, utterance: Utterance) -> None:
        """All of it is written: report it when it has been heard."""
        if not self._playout.add(utterance):
            self._summarize(utterance)

    def _summarize(self, utterance: Utterance) -> None:
        if utterance.received_bytes:
            self._events.append(utterance.summary(self._limits.bytes_per_s))


def _whole_samples(size: float) -> int:
    return int(size) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
