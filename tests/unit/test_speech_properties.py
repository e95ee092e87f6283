"""For any input in any order, the wire sees only steps that the rules allow.

A machine drives `Speech` at random, plays the writer, and keeps a model of
its own: the speech, as numbered samples, and the part on the wire.
"""

import struct
from dataclasses import dataclass, field
from typing import Optional

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from spatius_avatar_python.speech import Interrupt, Limits, Speech
from spatius_avatar_python.speech.avatar_output import (
    BEHIND_AFTER_S,
    JOIN_AHEAD_S,
    Send,
    Step,
)
from spatius_avatar_python.speech.backlog import STALLED_AFTER_S
from spatius_avatar_python.speech.events import (
    Overflow,
    Summary,
    Turn,
    TurnIdReused,
)
from spatius_avatar_python.speech.intake import (
    LONGEST_PAUSE_S,
    MAX_PAUSE_S,
    STALE_LIMIT_S,
    STALE_PAUSE_S,
    TURN_REUSE_LIMIT_S,
)
from spatius_avatar_python.speech.playout import (
    PLAYBACK_MARGIN_S,
    SENTENCE_GAP_S,
)
from speech_steps import check_sum, written

RATE = 100  # few samples per second, so that each has a number of its own
MESSAGE_SAMPLES = RATE // 10
REQUEST_IDS = st.sampled_from(["", "", "one", "two"])
TURNS = st.sampled_from([None, *(Turn("session", id_) for id_ in range(4))])


@dataclass(eq=False)
class Said:
    """One utterance, as the model knows it; counts are in samples."""

    turn: Optional[Turn]
    last_audio_at: float
    samples: list[int] = field(default_factory=list)
    """The audio accepted, in order; the rest was refused."""
    request_id: str = ""
    announced: bool = False
    """A start has announced it."""
    paused: bool = False
    """No audio came in time, and its end has not come."""
    was_paused: bool = False
    half: Optional[int] = None
    """The sample of which only the first byte came."""
    refused: int = 0
    flushed: bool = False
    ended: bool = False
    gone: bool = False
    """The writer is done with it."""
    taken: int = 0
    """How many of the samples are written, or held by the writer."""
    sent: int = 0
    requests: list["Request"] = field(default_factory=list)
    played_at: float = 0.0


@dataclass(eq=False)
class Flushed:
    """Speech that a flush cut, whose rest is stale."""

    at: float
    is_open: bool
    announced: bool
    request_ids: set[str]
    last_audio_at: float = float("-inf")

    def may_be(self, request_id: str) -> bool:
        known = self.request_ids - {""}
        return not request_id or not known or request_id in known


@dataclass(eq=False)
class Begun:
    """A request of the TTS that has begun and not ended."""

    turn: Optional[Turn]
    request_id: str
    is_cut: bool = False


@dataclass(eq=False)
class Request:
    """One request on the wire."""

    said: Said
    connection: int
    ended: bool = False
    interrupted: bool = False


class SpeechMachine(RuleBasedStateMachine):
    """The model, the writer and the wire."""

    @initialize(
        max_buffered_s=st.sampled_from([0.3, 1.0, 5.0]),
        end_timeout_s=st.sampled_from([0.0, 1.5]),
    )
    def begin(self, max_buffered_s, end_timeout_s):
        self.speech = Speech(
            sample_rate=RATE,
            limits=Limits(
                max_buffered_s=max_buffered_s,
                end_timeout_s=end_timeout_s,
                resume_within_s=0,
            ),
        )
        self.room = round(max_buffered_s * RATE)
        self.end_timeout_s = end_timeout_s
        self.now = 100.0
        self.number = 0  # of the next sample
        self.all: list[Said] = []
        self.open: Optional[Said] = None
        self.timed_out: Optional[Said] = None  # its turn may go on
        self.whose: dict[int, Said] = {}
        self.received = self.sent = 0
        self.half = 0  # bytes of a sample that came too late by halves
        self.refusing = False
        self.flushed: dict[Optional[Turn], Flushed] = {}
        self.ever_flushed: set[Turn] = set()
        self.begun: Optional[Begun] = None
        # The wire
        self.connection = 0
        self.request: Optional[Request] = None  # open
        self.latest: Optional[Request] = None  # of this connection
        self.connected = False
        self.behind_since: Optional[float] = None
        self.step_at = 0.0  # when the call began
        self.most = self.room  # that may wait
        self.last_turn: Optional[Turn] = None
        self.last_request_id = ""
        self.last_number = -1
        self.audible_until = float("-inf")
        self.latest_until = float("-inf")  # had nothing come between
        self.interrupt_due = False
        self.held: Optional[Step] = None
        self.held_said: Optional[Said] = None
        self.summaries: list[Summary] = []
        self.overflow_samples = 0
        self.refused_by_overflow = 0

    # Inputs

    @rule(
        size=st.integers(0, 24) | st.integers(0, 130),
        turn=TURNS,
    )
    def frame(self, size, turn):
        if not size:
            self.speech.frame(b"", self.now, turn)  # does nothing
            return
        if self.is_stale(turn):
            before = self.speech.totals.flushed
            self.speech.frame(bytes(size), self.now, turn)
            if turn in self.flushed:
                self.flushed[turn].last_audio_at = self.now
            samples, self.half = divmod(size + self.half, 2)
            assert self.speech.totals.flushed == before + samples
            self.received += samples
            return
        said = self.open
        if said is not None and turn is not None:
            if said.turn is None:
                said.turn = turn
            elif said.turn != turn:
                self.end_said(said)
                self.open = said = None
        if said is None:
            said = self.open = Said(turn, self.now)
            self.all.append(said)
            begun = self.begun
            if begun is not None and not begun.is_cut:
                if turn is None or begun.turn in (None, turn):
                    said.request_id = begun.request_id
                    said.announced = True
            if turn is not None and turn in self.flushed:
                del self.flushed[turn]  # its time has passed
                self.flushed.pop(None, None)
            before, self.timed_out = self.timed_out, None
            if (
                before is not None
                and self.now < before.last_audio_at + MAX_PAUSE_S
                and (before.turn == turn or None in (before.turn, turn))
            ):
                said.half = before.half
        if said.paused:
            said.paused = False
            if self.now >= said.last_audio_at + MAX_PAUSE_S:
                said.half = None
        pcm, numbers = self.bytes_of(said, size)
        if size:
            said.last_audio_at = self.now

        is_taken = self.is_taken()
        refused_before = self.speech.totals.refused
        if self.held is not None or not self.speech.frame_in_request(
            pcm, self.now, turn, RATE
        ):
            self.speech.frame(pcm, self.now, turn)
        refused = self.speech.totals.refused - refused_before

        waiting = sum(len(s.samples) - s.taken for s in self.waiting_ones())
        held = len(self.held_audio()) // 2
        count = len(numbers)
        if is_taken and (not self.refusing or waiting + held <= self.room):
            self.refusing = False
            assert refused == 0
        elif self.refusing and waiting + held > self.room // 2:
            assert refused == count
        else:
            # Audio that the writer holds may come back, and may have its room.
            least = count - max(0, min(count, self.room - waiting))
            most = count - max(0, min(count, self.room - waiting - held))
            assert least <= refused <= most
        self.refusing = self.refusing or refused > 0
        self.most = max(self.room, waiting + held + count - refused)
        accepted = numbers[: count - refused]
        said.samples += accepted
        said.refused += refused
        self.refused_by_overflow += refused
        self.received += count
        for number in accepted:
            self.whose[number] = said
        step = self.speech.avatar.step
        if step is not None and self.held is None:
            self.hold(step)

    @rule(turn=TURNS, cut=st.booleans(), request_id=REQUEST_IDS)
    def end(self, turn, cut, request_id):
        self.speech.end(self.now, turn, cut, request_id)
        said, begun = self.open, self.begun
        is_end = (
            said is not None
            and not (turn is not None and self.is_stale(turn))
            and is_of(turn, request_id, said)
        )
        for flushed, rest in list(self.flushed.items()):
            if rest.may_be(request_id):
                if flushed is None:
                    del self.flushed[None]
                elif turn in (None, flushed):
                    rest.is_open = False
        known = {one.request_id for one in (said, begun) if one is not None}
        if not request_id or not known - {""} or request_id in known:
            self.timed_out = None
            if begun is not None and is_of(turn, request_id, begun):
                self.begun = None
            if said is not None and is_end:
                said.request_id = said.request_id or request_id
        if is_end and cut:
            self.refusing = False
            self.model_drop()
            self.flushed.pop(None, None)
        elif said is not None and is_end:
            self.end_said(said)
            self.open = None

    @rule(turn=TURNS, request_id=REQUEST_IDS)
    def start(self, turn, request_id):
        self.speech.start(self.now, turn, request_id)
        for flushed, rest in self.flushed.items():
            if not rest.is_open or self.now >= rest.at + TURN_REUSE_LIMIT_S:
                continue
            if None not in (turn, flushed) and turn != flushed:
                continue
            if request_id:
                is_stale = request_id in rest.request_ids
            else:
                is_stale = None not in (turn, flushed)
            if is_stale:
                self.timed_out = None
                return
        said = self.open
        if said is not None and said.announced:
            if not request_id or request_id != said.request_id:
                self.end_said(said)
                self.open = None
        self.timed_out = None
        self.begun = Begun(turn, request_id)
        self.flushed.pop(None, None)
        if turn is not None:
            self.flushed.pop(turn, None)
        elif request_id:
            self.flushed.clear()

    @rule(times=st.integers(1, 3))
    def flush(self, times):
        for _ in range(times):
            self.speech.flush(self.now)
        for _ in range(times):
            self.model_flush()

    @rule(
        seconds=st.sampled_from(
            [0.01, 0.2, 0.3, 0.5, 1.0, 1.6, 4.0, 11.0, 70.0]
        )
    )
    def wait(self, seconds):
        until = self.now + seconds
        while True:
            deadline = self.due_at
            if deadline > until:
                break
            assert deadline >= self.now - 20.0
            self.now = max(self.now, deadline)
            self.tick()
            assert self.due_at > self.now, "it never stops being due"
        self.now = until
        self.tick()

    @property
    def due_at(self) -> float:
        return min(self.speech.due_at, self.speech.avatar.join_due_at)

    # Outputs

    @precondition(lambda self: self.held is None)
    @rule()
    def take(self):
        step = self.speech.avatar.next(self.now)
        if step is None:
            assert not self.interrupt_due, "an interrupt is missing"
            waiting = self.speech.totals.waiting
            join_due_at = self.speech.avatar.join_due_at
            if join_due_at == float("inf"):
                assert waiting == 0, "it keeps audio back"
            else:
                assert 0 < waiting < MESSAGE_SAMPLES, "it waits for too much"
                assert self.now < join_due_at, "it waits for too long"
                assert self.audible_until >= self.now + JOIN_AHEAD_S - 1e-6
            if self.request is not None:
                said = self.request.said
                assert not (said.ended or said.paused), "an end is missing"
            self.discard_what_has_ended()
            return
        self.hold(step)

    def hold(self, step):
        """Begin a call of the writer."""
        self.held = step
        self.step_at = self.now
        if self.behind_since is None:
            self.behind_since = self.now
        if isinstance(step, Interrupt):
            assert self.interrupt_due, "an interrupt nobody asked for"
            self.interrupt_due = False
            return
        assert not self.interrupt_due, "audio overtakes the interrupt"
        self.take_send(step)

    @precondition(lambda self: self.held is not None)
    @rule()
    def write(self):
        self.settle()

    @precondition(lambda self: self.held is None)
    @rule()
    def take_and_write(self):
        for _ in range(5):
            self.take()
            if self.held is None:
                return
            self.settle()

    @precondition(lambda self: self.held is None)
    @rule(turn=TURNS)
    def flush_during_a_call(self, turn):
        self.take()
        self.flush(1)
        self.frame(10, turn)
        self.flush(1)

    @precondition(lambda self: self.held is None)
    @rule(before=st.integers(0, 60), during=st.integers(0, 24), turn=TURNS)
    def fail_after_frames(self, before, during, turn):
        self.frame(before, turn)
        if self.held is None:
            self.take()
        self.frame(during, turn)
        if self.held is not None:
            self.fail()

    @precondition(lambda self: self.held is not None)
    @rule()
    def fail(self):
        said = self.held_said
        self.speech.avatar.failed()
        if said is not None:
            said.taken -= len(self.held_audio()) // 2
        self.held = self.held_said = None
        self.lose()

    @precondition(lambda self: self.held is None)
    @rule()
    def lose(self):
        self.speech.connection_lost(self.now)
        self.connected = False
        if self.request is not None:
            # Only the end of it was missing, which nobody needs any more.
            said = self.request.said
            if said.ended and said.taken == len(said.samples):
                said.gone = True
        self.connection += 1
        self.request = self.latest = None
        self.interrupt_due = False
        self.audible_until = float("-inf")

    def teardown(self):
        if not hasattr(self, "speech"):
            return
        if self.held is not None:
            self.settle()
        self.speech.close(self.now)
        self.collect()
        self.account(waiting=0)
        assert self.speech.totals.sent + self.speech.totals.lost == self.sent
        assert sorted(map(summary_key, self.summaries)) == sorted(
            map(said_key, filter(said_something, self.all))
        )

    # Invariants

    @invariant()
    def nothing_is_lost_or_made_up(self):
        self.account(
            waiting=sum(
                len(said.samples) - said.sent
                for said in self.all
                if not said.flushed
            )
            + (
                len(self.held_audio()) // 2
                if self.held_said is not None and self.held_said.flushed
                else 0
            )
        )

    @invariant()
    def what_waits_is_bounded(self):
        # The writer holds one message more at the most.
        assert self.speech.totals.waiting <= self.most + MESSAGE_SAMPLES

    @invariant()
    def reports_are_right(self):
        self.collect()
        assert len(self.summaries) <= sum(map(said_something, self.all))
        assert self.overflow_samples <= self.refused_by_overflow

    # The model

    def is_stale(self, turn):
        rest = self.flushed.get(turn)
        if rest is None:
            return False
        if turn is not None:
            return self.now < rest.at + TURN_REUSE_LIMIT_S
        since = max(rest.at, rest.last_audio_at)
        return self.now < rest.at + STALE_LIMIT_S and (
            rest.announced or self.now < since + STALE_PAUSE_S
        )

    def is_taken(self):
        """Return whether the connection takes audio as fast as it comes."""
        if self.held is not None and self.now >= self.step_at + STALLED_AFTER_S:
            return False
        return self.connected and (
            self.behind_since is None
            or self.now < self.behind_since + BEHIND_AFTER_S
            or (self.held is None and not self.speech.avatar.has_step)
        )

    def waiting_ones(self):
        return [said for said in self.all if not said.flushed]

    def bytes_of(self, said: Said, size: int) -> tuple[bytes, list[int]]:
        """Return `size` bytes that go on with the utterance's samples, and
        the numbers of the samples that they complete."""
        pcm = b""
        numbers: list[int] = []
        if size and said.half is not None:
            numbers.append(said.half)
            pcm = struct.pack("<H", said.half)[1:]
            said.half = None
        while len(pcm) < size:
            numbers.append(self.number)
            pcm += struct.pack("<H", self.number)
            self.number += 1
        if len(pcm) > size:
            said.half = numbers.pop()
            pcm = pcm[:-1]
        return pcm, numbers

    def is_playing(self):
        return (
            self.request is not None
            or isinstance(self.held, Send)
            or self.now < self.audible_until + PLAYBACK_MARGIN_S
        )

    def model_flush(self):
        rest = self.open or self.timed_out
        self.timed_out = None
        if self.begun is not None:
            self.begun.is_cut = True
            self.mark(self.begun.turn, self.begun.request_id)
        if self.is_playing() or self.now < self.latest_until + SENTENCE_GAP_S:
            self.mark(self.last_turn, self.last_request_id)
        waiting = [said for said in self.waiting_ones() if not said.gone]
        self.refusing = False
        if not waiting and not self.is_playing():
            return
        for said in self.model_drop():
            self.mark(said.turn, said.request_id)
        if rest is not None:
            self.half += rest.half is not None
            ids = {rest.request_id}
            for turn in {rest.turn, None}:
                self.keep_out(turn, ids, True, rest.announced)

    def model_drop(self):
        waiting = [said for said in self.waiting_ones() if not said.gone]
        if self.is_playing() and not isinstance(self.held, Interrupt):
            self.interrupt_due = True
        dropped = []
        for said in self.all:
            audible = (
                said.requests
                and said.requests[-1].connection == self.connection
                and said.requests[-1].ended
                and not said.requests[-1].interrupted
                and self.now < said.played_at
            )
            if said in waiting or (audible and not said.flushed):
                said.flushed = True
                dropped.append(said)
        if self.open is not None:
            self.open.ended = True
            self.open = None
        return dropped

    def mark(self, turn, request_id):
        if turn is not None:
            begun = self.begun
            is_open = begun is not None and begun.turn in (None, turn)
            self.keep_out(turn, {request_id}, is_open, True)

    def keep_out(self, turn, request_ids, is_open, announced):
        before = self.flushed.pop(turn, None)
        ids = request_ids - {""}
        if before is not None:
            ids |= before.request_ids
            is_open = is_open or before.is_open
        self.flushed[turn] = Flushed(self.now, is_open, announced, ids)
        if turn is not None:
            self.ever_flushed.add(turn)

    def end_said(self, said: Said):
        said.ended = True
        in_request = self.request is not None and self.request.said is said
        if not in_request and self.held_said is not said:
            # Nothing of it was accepted, or is left after a loss: the writer
            # has nothing to do with it.
            said.gone = said.gone or said.taken == len(said.samples)

    def discard_what_has_ended(self):
        """Drop, as the writer comes by, utterances without a step."""
        for said in self.waiting_ones():
            if said.gone:
                continue
            in_request = self.request is not None and self.request.said is said
            if in_request or not said.ended or said.taken < len(said.samples):
                return
            said.gone = True

    def tick(self):
        is_taken = self.is_taken()
        before = self.speech.totals.refused
        self.speech.tick(self.now)
        self.trim(self.speech.totals.refused - before)
        waiting = self.speech.totals.waiting
        if (is_taken and waiting <= self.room) or waiting <= self.room // 2:
            self.refusing = False
        said = self.open
        if (
            said is not None
            and self.end_timeout_s
            and self.now >= said.last_audio_at + self.end_timeout_s
        ):
            if said.announced and not said.paused:
                said.paused = said.was_paused = True
                return
            if said.paused and self.now < (
                said.last_audio_at + self.end_timeout_s + LONGEST_PAUSE_S
            ):
                return
            self.end_said(said)
            self.timed_out, self.open = said, None

    def trim(self, size: int) -> None:
        """Refuse the newest samples that wait, as the socket takes none."""
        if not size:
            return
        assert not self.is_taken()
        self.refusing = True
        self.refused_by_overflow += size
        for said in reversed(self.waiting_ones()):
            cut = min(size, len(said.samples) - said.taken)
            if cut:
                del said.samples[-cut:]
                said.refused += cut
                size -= cut
        assert not size

    def held_audio(self) -> bytes:
        if self.held is None or isinstance(self.held, Interrupt):
            return b""
        return self.held.audio

    def take_send(self, step: Send):
        self.discard_what_has_ended()
        assert len(step.audio) % 2 == 0, "half a sample"
        assert len(step.audio) <= 2 * MESSAGE_SAMPLES, "too long a message"
        if not step.audio:
            assert step.end, "a message without a meaning"
            assert self.request is not None, "an empty request"
            said = self.request.said
        else:
            numbers = struct.unpack(f"<{len(step.audio) // 2}H", step.audio)
            said = self.whose[numbers[0]]
            expected = said.samples[said.taken : said.taken + len(numbers)]
            assert list(numbers) == expected, "not what was said next"
            assert not said.flushed, "stale audio"
            said.taken += len(numbers)
            if self.request is not None:
                assert self.request.said is said, "two in one request"
            older = self.all[: self.all.index(said)]
            assert all(s.flushed or s.gone for s in older), "out of order"
        if step.end:
            assert said.ended or said.paused
            assert said.taken == len(said.samples)
        self.held_said = said

    def settle(self):
        step, said = self.held, self.held_said
        written(self.speech, self.now, "request")
        if isinstance(step, Interrupt):
            assert self.latest is not None, "nothing to interrupt"
            assert not self.latest.interrupted, "interrupted twice"
            self.latest.interrupted = self.latest.ended = True
            self.request = None
            self.audible_until = float("-inf")
        elif isinstance(step, Send):
            assert said is not None
            self.write_send(step, said)
        self.held = self.held_said = None
        if not self.speech.avatar.has_step:
            self.behind_since = None
        left = sum(len(s.samples) - s.taken for s in self.waiting_ones())
        if isinstance(step, Send) and left <= self.room // 2:
            self.refusing = False

    def write_send(self, step: Send, said: Said):
        count = len(step.audio) // 2
        self.connected = True
        if self.request is None:
            assert count, "an empty request"
            assert said.was_paused or all(
                request.connection != self.connection
                for request in said.requests
            ), "a second request for one utterance"
            self.request = Request(said, self.connection)
            said.requests.append(self.request)
        self.latest = self.request
        assert not self.request.ended, "a request is used after its end"
        if count:
            numbers = struct.unpack(f"<{count}H", step.audio)
            assert numbers[0] > self.last_number, "said twice, or too late"
            self.last_number = numbers[-1]
        said.sent += count
        self.sent += count
        self.last_turn = said.turn
        self.last_request_id = said.request_id
        if count:
            begin = max(self.now, self.audible_until)
            self.audible_until = begin + count / RATE
            self.latest_until = self.audible_until
        said.played_at = self.audible_until
        if step.end:
            self.request.ended = True
            self.request = None
            said.gone = said.ended and said.taken == len(said.samples)

    def collect(self):
        for event in self.speech.take_events():
            if isinstance(event, TurnIdReused):
                assert event.turn in self.ever_flushed
            elif isinstance(event, Overflow):
                self.overflow_samples += round(event.refused_s * RATE)
            elif isinstance(event, Summary):
                self.summaries.append(event)

    def account(self, waiting: int):
        totals = self.speech.totals
        assert totals.received == self.received
        assert totals.sent + totals.lost == self.sent
        assert totals.waiting == waiting
        check_sum(self.speech)


def said_something(said: Said) -> bool:
    """Return whether at least one whole sample came."""
    return bool(said.samples or said.refused)


def summary_key(summary: Summary):
    return (
        repr(summary.turn),
        round(summary.audio_ms * RATE / 1000),
        round((summary.sent_ms + summary.lost_ms) * RATE / 1000),
        round(summary.flushed_ms * RATE / 1000),
        round(summary.refused_ms * RATE / 1000),
        round(summary.stopped_ms * RATE / 1000),
        summary.interrupted,
    )


def said_key(said: Said):
    rest = len(said.samples) - said.sent
    return (
        repr(said.turn),
        len(said.samples) + said.refused,
        said.sent,
        rest if said.flushed else 0,
        said.refused,
        0 if said.flushed else rest,
        said.flushed,
    )


def is_of(turn, request_id, one) -> bool:
    """Return whether an end may be that of speech that names a turn and a
    request, or less."""
    if request_id and one.request_id and request_id != one.request_id:
        return False
    return turn is None or one.turn is None or turn == one.turn


TestSpeech = SpeechMachine.TestCase
TestSpeech.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
