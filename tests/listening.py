"""A model of the listener, with the writers and the service, for random
walks: the sound of the speaker, in time."""

import itertools
import struct
from dataclasses import dataclass, field
from typing import Optional

from spatius_avatar_python.speech import (
    Interrupt,
    Limits,
    Mark,
    Speech,
    Turn,
)
from spatius_avatar_python.speech.avatar_output import Send, Step
from spatius_avatar_python.speech.events import AudioEnd, AudioStart, Summary
from spatius_avatar_python.speech.voice_output import Say
from speech_steps import written

RATE = 100  # few samples per second, so that each has a number of its own
FRAME_SAMPLES = 10
EPSILON_S = 1e-6
NEVER = float("-inf")


@dataclass(eq=False)
class Said:
    """One utterance, as the model knows it; positions are in samples."""

    turn: Turn
    numbers: list[int] = field(default_factory=list)
    """The samples that were accepted, in order."""
    written: int = 0
    """Where in them the next write goes on."""
    first_here: Optional[int] = None
    """Where it began on this connection, None if it has not."""
    least: Optional[int] = None
    """After a loss, from where on it may be repeated."""
    speaker: str = ""


@dataclass(eq=False)
class Chunk:
    """Audio that one output plays, from a time on."""

    said: Said
    at: int
    numbers: list[int]
    begins_at: float

    def heard(self, now: float) -> int:
        """Return how many of its samples have come out by now."""
        count = int((now - self.begins_at + EPSILON_S) * RATE)
        return min(max(count, 0), len(self.numbers))


class Speaker:
    """One output as the listener hears it, `delay_s` after the write."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.ends_at = NEVER
        self.chunks: list[Chunk] = []

    def play(
        self, said: Said, at: int, numbers: list[int], now: float
    ) -> float:
        begins_at = max(now + self.delay_s, self.ends_at)
        self.ends_at = begins_at + len(numbers) / RATE
        self.chunks.append(Chunk(said, at, numbers, begins_at))
        return begins_at

    def stop(self, now: float) -> list[Chunk]:
        """Fall silent; return the audio that was playing."""
        chunks, self.chunks = self.chunks, []
        self.ends_at = NEVER
        return chunks


class Walk:
    """The writers, the service and the listener, as a walk leads them.

    The listener hears the avatar `delay_s` after the write. The service's
    signals come `signal_delay_s` after the truth, twice where `doubled`;
    None means that there are none. It answers a ping `answer_delay_s` later.
    """

    def set_out(
        self,
        limits: Limits,
        delay_s: float,
        signal_delay_s: Optional[float],
        doubled: bool,
        answer_delay_s: float = 0.0,
    ) -> None:
        self.limits = limits
        self.speech = Speech(sample_rate=RATE, limits=limits)
        # Without a rewind, the estimate has to be right.
        self.delay_s = delay_s if limits.resume_rewind_s else 0.0
        self.signal_delay_s = signal_delay_s
        self.doubled = doubled
        self.answer_delay_s = answer_delay_s
        self.ping: Optional[tuple[float, Optional[Mark]]] = None
        """The one that is not answered: when it will be, and its mark."""
        self.now = 100.0
        self.numbers = itertools.count()
        self.received = 0
        self.turns = itertools.count(1)
        self.turn = Turn("session", 0)
        self.open: Optional[Said] = None
        self.whose: dict[int, Said] = {}
        self.all: list[Said] = []
        self.first_number = 0  # the audio before it was flushed
        self.heard: set[int] = set()  # or cut
        # The avatar's service
        self.connected = True
        self.avatar = Speaker(self.delay_s)
        self.request: Optional[Said] = None
        self.has_request = False  # to interrupt
        self.held: Optional[Step] = None
        self.held_at = 0
        self.req_ids = itertools.count()
        self.req_id = ""
        self.playing: set[str] = set()  # requests of this connection
        self.signals: list[tuple[float, str, str]] = []
        self.losses = 0
        # The voice
        self.voice = Speaker(0.0)
        self.say: Optional[Say] = None
        self.say_at = 0
        # Reports
        self.audible: Optional[AudioStart] = None
        self.summaries: list[Summary] = []

    # Inputs

    def frame(self, count):
        if not count:
            return
        if self.open is None:
            if any(said.turn == self.turn for said in self.all):
                self.turn = Turn("session", next(self.turns))
            self.open = Said(self.turn)
            self.all.append(self.open)
        numbers = list(itertools.islice(self.numbers, count))
        refused = self.speech.totals.refused
        pcm = struct.pack(f"<{count}H", *numbers)
        is_free = self.connected and self.held is None
        if not is_free or not self.speech.frame_in_request(
            pcm, self.now, self.turn, RATE
        ):
            self.speech.frame(pcm, self.now, self.turn)
        self.received += count
        accepted = count - (self.speech.totals.refused - refused)
        self.open.numbers += numbers[:accepted]
        for number in numbers[:accepted]:
            self.whose[number] = self.open
        if is_free and self.speech.avatar.step is not None:
            self.hold(self.speech.avatar.step)
            self.write()

    def begin_call(self):
        if self.connected:
            self.take()
        else:
            self.take_voice()

    def end_call(self, arrives: bool):
        if self.held is not None:
            if arrives:
                self.write()
            else:
                self.fail()
                self.lose_connection()
        if self.say is not None:
            if arrives:
                self.said()
            else:
                self.no_voice()

    def pump(self):
        """Carry out all steps due, as the writers do."""
        if self.connected:
            self.write_all(10_000)
        if self.speech.has_voice_step(may_begin=False):
            self.say_all(10_000)

    # The service

    def take(self):
        step = self.speech.avatar.next(self.now)
        if step is not None:
            self.hold(step)

    def hold(self, step: Step):
        """Begin a call of the avatar's writer."""
        self.held = step
        if isinstance(step, Interrupt):
            assert self.has_request, "nothing to interrupt"
            self.has_request = False
            return
        assert self.voice.ends_at <= self.now + EPSILON_S, "two speak"
        if not step.audio:
            assert self.request is not None, "an empty request"
            return
        said, self.held_at = self.take_audio(step.audio)
        assert said.speaker != "voice", "it stays with the voice"
        assert self.request in (None, said), "two in one request"
        assert len(step.audio) <= 2 * FRAME_SAMPLES

    def write(self):
        step, self.held = self.held, None
        assert step is not None
        if isinstance(step, Interrupt):
            self.written()
            self.cut(self.avatar)
            self.request = None
            return
        assert isinstance(step, Send)
        is_first = self.request is None
        if is_first:
            self.req_id = f"request-{next(self.req_ids)}"
            self.playing.add(self.req_id)
        self.written(self.req_id)
        self.has_request = True
        if step.audio:
            numbers = numbers_of(step.audio)
            said = self.request = self.whose[numbers[0]]
            said.speaker = "avatar"
            if said.first_here is None:
                said.first_here = self.held_at
            at = self.avatar.play(said, self.held_at, numbers, self.now)
            if is_first:
                self.signal(at, "playing")
        if step.end:
            self.request = None
            self.signal(self.avatar.ends_at, "ended")

    def written(self, req_id: str = ""):
        if not self.answer_delay_s:
            written(self.speech, self.now, req_id)
            return
        self.speech.avatar.written(self.now, req_id)
        self.ask()

    def ask(self):
        """Send a ping if one is due, one at a time."""
        mark = self.speech.mark()
        is_due = mark is not None or self.now >= self.speech.ask_at
        if self.answer_delay_s and self.connected and is_due and not self.ping:
            self.speech.asked(self.now)
            self.ping = self.now + self.answer_delay_s, mark

    def write_all(self, times):
        for _ in range(times):
            self.take()
            if self.held is None:
                return
            self.write()

    def black_hole(self, seconds: float, vanishes: bool):
        """The service answers no ping for so long, or never again: the
        listener hears it no more then."""
        self.speech.arrived(self.speech.mark(), self.now)
        self.ping = None
        since, until = self.now, self.now + seconds
        self.sleep_until(since + 1.0)
        self.collect()
        # An end within the second before the doubt is taken for true.
        reported = {summary.turn for summary in self.summaries}
        for chunk in self.avatar.chunks:
            if chunk.said.turn in reported:
                self.heard.update(chunk.numbers)
        self.speech.doubt()
        self.sleep_until(until)
        if vanishes or seconds > 20:
            self.lose_connection(since, vanishes)
        else:
            self.speech.arrived(self.speech.mark(), self.now)

    def lose_connection(
        self, proved_at: Optional[float] = None, vanished: bool = False
    ):
        self.losses += 1
        if proved_at is None:
            proved_at = self.now
        chunks = self.avatar.stop(self.now)
        self.listen(chunks, proved_at if vanished else self.now)
        for said in {chunk.said: None for chunk in chunks}:
            heard = sum(c.heard(proved_at) for c in chunks if c.said is said)
            first = said.first_here
            assert first is not None
            back_s = self.limits.resume_rewind_s + (self.signal_delay_s or 0)
            # The latest ping went out before the answer to the one before.
            back_s += 2 * self.answer_delay_s
            said.least = max(first, first + heard - round(back_s * RATE) - 1)
        for said in self.all:
            said.first_here = None
        self.speech.connection_lost(self.now)
        self.connected = self.has_request = False
        self.ping = None
        self.playing.clear()
        self.request = None

    # The voice

    def take_voice(self):
        self.say = self.speech.next_voice(self.now)
        if self.say is not None:
            assert self.held is None and self.request is None
            quiet_at = self.avatar.ends_at - self.delay_s
            assert quiet_at <= self.now + EPSILON_S, "two speak"
            said, self.say_at = self.take_audio(self.say.audio)
            said.speaker = "voice"

    def said(self):
        say, self.say = self.say, None
        assert say is not None
        self.speech.said(say, self.now)
        numbers = numbers_of(say.audio)
        if numbers[0] >= self.first_number:
            said = self.whose[numbers[0]]
            self.voice.play(said, self.say_at, numbers, self.now)

    def no_voice(self):
        say, self.say = self.say, None
        assert say is not None
        self.speech.voice_failed(say)
        said = self.whose[numbers_of(say.audio)[0]]
        said.written = self.say_at
        said.speaker = ""
        self.cut(self.voice)

    def say_all(self, times):
        for _ in range(times):
            self.take_voice()
            if self.say is None:
                return
            self.said()

    def judge(self):
        """Compare the sound with the reports."""
        totals = self.speech.totals
        for name, count in [
            ("audio_ms", totals.received),
            ("sent_ms", totals.sent),
            ("voice_ms", totals.voice),
            ("lost_ms", totals.lost),
            ("flushed_ms", totals.flushed),
            ("refused_ms", totals.refused),
            ("resent_ms", totals.resent),
        ]:
            sum_ms = sum(getattr(each, name) for each in self.summaries)
            assert round(sum_ms * RATE / 1000) == count, name
        summaries = {summary.turn: summary for summary in self.summaries}
        assert len(summaries) == len(self.summaries) == len(self.all)
        for said in self.all:
            summary = summaries[said.turn]
            if summary.interrupted:
                continue
            missing = len(set(said.numbers) - self.heard)
            lost = round(summary.lost_ms * RATE / 1000)
            if lost or not self.limits.resume_within_s:
                # How much is lost is as uncertain as the estimate.
                lost += round(self.losses * (self.delay_s * RATE + 1))
            assert missing <= lost, "the listener misses something"

    # The model

    def sleep_until(self, until: float):
        while True:
            due = [at for at, _, _ in self.signals]
            due += [self.speech.due_at, self.speech.avatar.join_due_at]
            if self.ping:
                due.append(self.ping[0])
            elif self.answer_delay_s and self.connected:
                due.append(self.speech.ask_at)
            if min(due) > until:
                break
            self.now = max(self.now, min(due))
            for signal in sorted(self.signals):
                if signal[0] <= self.now:
                    self.signals.remove(signal)
                    _, req_id, state = signal
                    self.speech.playback(req_id, state, None, "", self.now)
            if self.ping and self.now >= self.ping[0]:
                (_, mark), self.ping = self.ping, None
                self.speech.arrived(mark, self.now)
            self.ask()
            self.speech.tick(self.now)
            assert self.speech.due_at > self.now, "it stays due"
        self.now = until
        self.speech.tick(self.now)

    def signal(self, at: float, state: str):
        if self.signal_delay_s is not None:
            at += self.signal_delay_s
            self.signals.append((at, self.req_id, state))
            if self.doubled:
                self.signals.append((at + 0.05, self.req_id, state))

    def is_playing(self, req_id: str) -> bool:
        return req_id in self.playing

    def take_audio(self, audio: bytes) -> tuple[Said, int]:
        """Check that it goes on where it should; return where that is."""
        numbers = numbers_of(audio)
        assert numbers[0] >= self.first_number, "it was flushed"
        said = self.whose[numbers[0]]
        at = said.numbers.index(numbers[0])
        assert said.numbers[at : at + len(numbers)] == numbers or (
            self.speech.totals.lost
        ), "not in order"
        if at < said.written:
            assert said.least is not None and at >= said.least, "said again"
        elif at > said.written:
            assert self.speech.totals.lost, "it leaves out something"
        said.least = None
        said.written = at + len(numbers)
        for older in self.all[: self.all.index(said)]:
            if older.numbers and older.numbers[0] >= self.first_number:
                assert older.written == len(older.numbers) or (
                    self.speech.totals.lost
                ), "out of order"
        return said, at

    def fail(self):
        step, self.held = self.held, None
        assert step is not None
        self.speech.avatar.failed()
        if isinstance(step, Send) and step.audio:
            said = self.whose[numbers_of(step.audio)[0]]
            said.written = self.held_at

    def cut(self, speaker: Speaker):
        """Fall silent: the audio cut off is not missed."""
        for chunk in speaker.stop(self.now):
            self.heard.update(chunk.numbers)

    def listen(self, chunks: list[Chunk], at: Optional[float] = None):
        for chunk in chunks:
            heard = chunk.heard(self.now if at is None else at)
            self.heard.update(chunk.numbers[:heard])

    def collect(self):
        for event in self.speech.take_events():
            if isinstance(event, AudioStart):
                assert self.audible is None, "two at a time"
                self.audible = event
            elif isinstance(event, AudioEnd):
                assert self.audible is not None, "an end without a start"
                assert event.request_id == self.audible.request_id
                assert event.turn == self.audible.turn
                assert event.playback_position_ms <= event.total_ms
                self.audible = None
            elif isinstance(event, Summary):
                self.summaries.append(event)
                assert min(event.sent_ms, event.voice_ms, event.lost_ms) >= 0
                assert round(event.audio_ms, 6) == round(
                    event.sent_ms
                    + event.voice_ms
                    + event.flushed_ms
                    + event.refused_ms
                    + event.lost_ms,
                    6,
                )


def numbers_of(audio: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(audio) // 2}H", audio))
