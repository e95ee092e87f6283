"""The rules of speech in docs/design.md, one by one, with corner cases."""

import itertools
from typing import Optional

import pytest
from spatius_avatar_python.speech import (
    AudioEnd,
    AudioStart,
    Interrupt,
    Limits,
    Send,
    Speech,
    Step,
)
from spatius_avatar_python.speech.limits import MESSAGE_MS
from spatius_avatar_python.speech.overflow import (
    OVERFLOW_LIMIT_S,
    OVERFLOW_PAUSE_S,
    Overflow,
)
from spatius_avatar_python.speech.playout import END_MARGIN_S, PLAYBACK_MARGIN_S
from spatius_avatar_python.speech.staleness import STALE_LIMIT_S, TurnIdReused
from spatius_avatar_python.speech.turn import Turn
from spatius_avatar_python.speech.utterance import Summary

RATE = 24000
BYTES_PER_MS = 48

FIRST = Turn("session", 1)
SECOND = Turn("session", 2)
THIRD = Turn("session", 3)

_samples = itertools.count()


def pcm(ms: float) -> bytes:
    """Return so much audio, different from all that was made before."""
    return b"".join(
        (next(_samples) % 65536).to_bytes(2, "little")
        for _ in range(int(ms * BYTES_PER_MS) // 2)
    )


def make(max_buffered_s: float = 60.0, end_timeout_s: float = 1.5) -> Speech:
    return Speech(
        sample_rate=RATE,
        limits=Limits(
            max_buffered_s=max_buffered_s,
            end_timeout_s=end_timeout_s,
            resume_within_s=0,
        ),
    )


def write(
    speech: Speech,
    now: float = 0.0,
    req_id: str = "r",
    connection_id: str = "",
) -> list[Step]:
    """Carry out all steps that there are, and return them."""
    steps: list[Step] = []
    while (step := speech.steps.next(0.0)) is not None:
        speech.steps.written(now, req_id, connection_id)
        steps.append(step)
    check_sum(speech)
    return steps


def audio_of(steps: list[Step]) -> bytes:
    return b"".join(step.audio for step in steps if isinstance(step, Send))


def ends_of(steps: list[Step]) -> int:
    return sum(isinstance(step, Send) and step.end for step in steps)


def interrupts_of(steps: list[Step]) -> int:
    return sum(isinstance(step, Interrupt) for step in steps)


def check_sum(speech: Speech) -> None:
    totals = speech.totals
    assert totals.received == (
        totals.sent
        + totals.voice
        + totals.flushed
        + totals.refused
        + totals.lost
        + totals.waiting
    )


def take_events(speech: Speech) -> list:
    """Return the reports, without the starts and ends of playout."""
    return [
        event
        for event in speech.take_events()
        if not isinstance(event, (AudioStart, AudioEnd))
    ]


def summaries_of(speech: Speech) -> list[Summary]:
    return [
        event for event in take_events(speech) if isinstance(event, Summary)
    ]


def overflows_of(speech: Speech) -> list[Overflow]:
    return [
        event for event in take_events(speech) if isinstance(event, Overflow)
    ]


# Rule 1: order, and whole samples


def test_order_is_kept():
    """Frames leave in the order in which they came."""
    speech = make()
    frames = [pcm(10), pcm(250), pcm(1), pcm(20)]
    for frame in frames:
        speech.frame(frame, 0.0)
    assert audio_of(write(speech)) == b"".join(frames)


def test_utterances_keep_their_order():
    """A second utterance waits for the end of the first."""
    speech = make()
    first, second = pcm(30), pcm(30)
    speech.frame(first, 0.0)
    speech.end(0.0)
    speech.frame(second, 0.0)
    speech.end(0.0)
    assert write(speech) == [Send(first, True), Send(second, True)]


def test_odd_byte_waits_for_the_next_frame():
    """A sample that is split between two frames is put together again."""
    speech = make()
    audio = pcm(10)
    speech.frame(audio[:101], 0.0)
    assert audio_of(write(speech)) == audio[:100]
    speech.frame(audio[101:], 0.0)
    assert audio_of(write(speech)) == audio[100:]
    assert speech.totals.sent == len(audio) // 2


def test_odd_frames_go_on_and_on():
    """Frames of odd lengths in a row lose and repeat no byte."""
    speech = make()
    audio = pcm(100)
    for start in range(0, len(audio), 75):
        speech.frame(audio[start : start + 75], 0.0)
    assert audio_of(write(speech)) == audio


def test_frames_of_one_byte_make_samples():
    """Two frames of half a sample each are one sample."""
    speech = make()
    speech.frame(b"\x01", 0.0)
    assert speech.steps.next(0.0) is None
    speech.frame(b"\x02", 0.0)
    assert audio_of(write(speech)) == b"\x01\x02"


def test_odd_byte_does_not_reach_the_next_utterance():
    """The half of a sample that an utterance ends on is discarded."""
    speech = make()
    first, second = pcm(10), pcm(10)
    speech.frame(first + b"\xff", 0.0)
    speech.end(0.0)
    speech.frame(second, 0.0)
    assert audio_of(write(speech)) == first + second


def test_odd_byte_does_not_survive_a_flush():
    """The half of a sample that was flushed does not shift what follows."""
    speech = make()
    speech.frame(pcm(10) + b"\xff", 0.0, FIRST)
    speech.flush(0.0)
    audio = pcm(10)
    speech.frame(audio, 0.0, SECOND)
    assert audio_of(write(speech)) == audio


def test_half_a_sample_is_no_speech():
    """An utterance of a single byte is neither sent nor summarized."""
    speech = make()
    speech.frame(b"\x01", 0.0)
    speech.end(0.0)
    assert write(speech) == []
    assert speech.take_events() == []
    assert speech.is_idle(0.0)


def test_empty_frame_opens_nothing():
    """A frame without audio is no speech."""
    speech = make()
    speech.frame(b"", 0.0)
    speech.end(0.0)
    assert write(speech) == []
    assert speech.is_idle(0.0)


def test_no_step_is_handed_out_twice():
    """A second step before the first is settled is a mistake."""
    speech = make()
    speech.frame(pcm(10), 0.0)
    speech.steps.next(0.0)
    with pytest.raises(AssertionError):
        speech.steps.next(0.0)


# Rule 2: the end of speech


def test_end_goes_with_the_last_audio():
    """An end that comes before its audio left takes no message of its own."""
    speech = make()
    audio = pcm(150)
    speech.frame(audio, 0.0)
    speech.end(0.0)
    cut = MESSAGE_MS * BYTES_PER_MS
    assert write(speech) == [Send(audio[:cut], False), Send(audio[cut:], True)]


def test_late_end_closes_the_request():
    """An end that comes after its audio left is sent alone."""
    speech = make()
    audio = pcm(20)
    speech.frame(audio, 0.0)
    assert write(speech) == [Send(audio, False)]
    speech.end(0.0)
    assert write(speech) == [Send(b"", True)]


def test_end_while_the_last_audio_is_being_written():
    """An end that comes during the call is sent after it."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.steps.next(0.0)
    speech.end(0.0)
    speech.steps.written(0.0)
    assert write(speech) == [Send(b"", True)]


def test_second_end_counts_not():
    """tts_audio_end and finalize for one utterance end it once."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.end(0.0)
    speech.end(0.0)
    assert ends_of(write(speech)) == 1
    speech.end(0.0)
    assert write(speech) == []


@pytest.mark.parametrize("cut", [False, True])
def test_end_with_nothing_open_does_nothing(cut):
    """The end of a request that had no audio makes no request."""
    speech = make()
    speech.end(0.0, FIRST, cut)
    assert write(speech) == []
    assert speech.take_events() == []
    audio = pcm(20)
    speech.frame(audio, 0.0, FIRST)
    assert audio_of(write(speech)) == audio


def test_end_of_a_refused_utterance_makes_no_request():
    """An utterance of which nothing was kept has no end to send."""
    speech = make(max_buffered_s=0.1)
    first = pcm(100)
    speech.frame(first, 0.0)
    speech.end(0.0)
    speech.frame(pcm(50), 0.0)
    speech.end(0.0)
    assert write(speech) == [Send(first, True)]


# Rule 3: an end with reason 2


def test_cut_of_an_open_utterance_acts_as_a_flush():
    """The rest of a cut utterance is dropped and it is interrupted."""
    speech = make()
    sent = pcm(100)
    speech.frame(sent, 0.0, FIRST)
    speech.steps.next(0.0)
    speech.steps.written(0.0)
    speech.frame(pcm(300), 0.0, FIRST)
    speech.end(0.0, FIRST, cut=True)
    assert write(speech) == [Interrupt()]
    assert speech.totals.flushed == 300 * BYTES_PER_MS // 2


def test_cut_with_nothing_open_leaves_what_plays():
    """Reason 2 after the utterance's end interrupts nothing."""
    speech = make()
    audio = pcm(500)
    speech.frame(audio, 0.0, FIRST)
    speech.end(0.0, FIRST)
    speech.end(0.0, FIRST, cut=True)
    steps = write(speech)
    assert audio_of(steps) == audio
    assert interrupts_of(steps) == 0


def test_cut_before_its_flush_makes_one_interrupt():
    """A flush that follows the reason 2 of its own speech adds nothing."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.end(0.0, cut=True)
    speech.flush(0.0)
    assert write(speech) == [Interrupt()]
    speech.flush(0.0)
    assert write(speech) == []


def test_cut_after_its_flush_leaves_the_next_answer():
    """The reason 2 of a flushed turn does not touch the next one."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    audio = pcm(50)
    speech.frame(audio, 0.0, SECOND)
    speech.end(0.0, FIRST, cut=True)
    speech.end(0.0, SECOND)
    assert write(speech) == [Interrupt(), Send(audio, True)]


def test_cut_after_its_flush_ends_the_wait_for_stale_audio():
    """Without ids, what follows the reason 2 is the next answer."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.1)
    speech.end(0.1, cut=True)
    audio = pcm(20)
    speech.frame(audio, 0.2)
    assert audio_of(write(speech)) == audio


def test_after_a_cut_audio_without_turn_is_new():
    """Speech that was cut is over: nothing of it can come late."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.end(0.0, cut=True)
    audio = pcm(20)
    speech.frame(audio, 0.0)
    assert audio_of(write(speech)) == audio


# Rule 4: flush


def test_flush_with_nothing_sends_nothing():
    """A flush while nobody speaks is not seen on the wire, nor reported."""
    speech = make()
    speech.flush(0.0)
    assert write(speech) == []
    assert speech.take_events() == []


def test_flush_of_what_only_waits_interrupts_nothing():
    """What was never sent is dropped without an interrupt."""
    speech = make()
    speech.frame(pcm(500), 0.0)
    speech.flush(0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 500 * BYTES_PER_MS // 2
    assert speech.is_idle(0.0)


def test_flush_of_a_message_in_flight_interrupts_it():
    """What the writer is just sending will have to be interrupted."""
    speech = make()
    speech.frame(pcm(300), 0.0)
    speech.steps.next(0.0)
    speech.flush(0.0)
    speech.steps.written(0.0)
    assert write(speech) == [Interrupt()]
    assert speech.totals.sent == MESSAGE_MS * BYTES_PER_MS // 2


def test_flush_of_a_message_in_flight_that_is_lost():
    """A flushed message that did not reach the wire is not sent again."""
    speech = make()
    speech.frame(pcm(300), 0.0)
    speech.steps.next(0.0)
    speech.flush(0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 300 * BYTES_PER_MS // 2
    [summary] = summaries_of(speech)
    assert (summary.sent_ms, summary.flushed_ms) == (0, 300)


def test_flush_of_an_open_request_interrupts_it():
    """What was sent and not ended is interrupted."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.flush(30.0)
    assert write(speech, 30.0) == [Interrupt()]


@pytest.mark.parametrize(
    ("at", "interrupts"),
    [
        pytest.param(0.5, 1, id="playing"),
        pytest.param(1.0 + PLAYBACK_MARGIN_S - 0.1, 1, id="perhaps playing"),
        pytest.param(1.0 + PLAYBACK_MARGIN_S, 0, id="long over"),
    ],
)
def test_flush_of_what_was_ended(at, interrupts):
    """An ended utterance is interrupted as long as it can be heard."""
    speech = make()
    speech.frame(pcm(1000), 0.0)
    speech.end(0.0)
    write(speech)
    speech.flush(at)
    assert interrupts_of(write(speech, at)) == interrupts


def test_utterances_play_one_after_the_other():
    """What is sent faster than it plays can be heard for all its length."""
    speech = make()
    for _ in range(5):
        speech.frame(pcm(1000), 0.0)
        speech.end(0.0)
    write(speech)
    assert not speech.is_idle(4.9)
    speech.flush(4.9)
    assert write(speech, 4.9) == [Interrupt()]


def test_many_flushes_are_one():
    """Twenty flushes before the interrupt is out make one of it."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    for _ in range(20):
        speech.flush(0.0)
    assert write(speech) == [Interrupt()]
    for _ in range(20):
        speech.flush(0.0)
    assert write(speech) == []


def test_flush_during_the_interrupt_adds_none():
    """A flush while the interrupt is being written is that interrupt's."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    assert speech.steps.next(0.0) == Interrupt()
    speech.frame(pcm(40), 0.0, SECOND)
    speech.flush(0.0)
    speech.steps.written(0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 40 * BYTES_PER_MS // 2


def test_next_answer_goes_behind_the_interrupt():
    """What is said after a flush waits for the interrupt."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    audio = pcm(20)
    speech.frame(audio, 0.0, SECOND)
    assert write(speech) == [Interrupt(), Send(audio, False)]


def test_flush_of_the_next_answer_interrupts_again():
    """An interrupt that is out does not serve for what was sent later."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.0, SECOND)
    write(speech)
    speech.flush(0.0)
    assert write(speech) == [Interrupt()]


def test_flush_drops_every_utterance_that_waits():
    """All of the queue goes, not only its first utterance."""
    speech = make()
    for turn in (FIRST, SECOND, THIRD):
        speech.frame(pcm(100), 0.0, turn)
        speech.end(0.0, turn)
    speech.flush(0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 300 * BYTES_PER_MS // 2
    assert speech.waiting_s == 0


# Rule 5: stale audio


def test_late_frames_of_a_flushed_turn_are_dropped():
    """Frames with the flushed turn's id never speak, however late."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.1, FIRST)
    speech.start(FIRST)
    speech.frame(pcm(20), STALE_LIMIT_S + 10, FIRST)
    assert write(speech, 20.0) == [Interrupt()]
    assert speech.totals.flushed == 40 * BYTES_PER_MS // 2


def test_late_frames_between_those_of_the_next_turn():
    """The next answer loses nothing to the stale frames in between."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    frames = [pcm(20) for _ in range(3)]
    for frame in frames:
        speech.frame(frame, 0.0, SECOND)
        speech.frame(pcm(20), 0.0, FIRST)
    speech.end(0.0, FIRST)
    speech.end(0.0, SECOND)
    assert write(speech) == [Send(b"".join(frames), True)]


def test_late_frames_of_a_turn_that_had_ended_are_dropped():
    """A turn's next sentence is stale when the one before is interrupted."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(0.2)
    speech.frame(pcm(500), 0.3, FIRST)
    assert write(speech, 0.3) == [Interrupt()]


def test_late_frames_of_a_turn_that_may_have_ended():
    """What is interrupted at the very end is a flushed turn like any."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.tick(1.0)
    speech.flush(1.0)
    speech.frame(pcm(20), 1.1, FIRST)
    assert write(speech, 1.1) == [Interrupt()]


def test_late_frames_of_all_flushed_turns_are_dropped():
    """Every turn that waited is stale, not only the one that was heard."""
    speech = make()
    for turn in (FIRST, SECOND):
        speech.frame(pcm(20), 0.0, turn)
        speech.end(0.0, turn)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    speech.frame(pcm(20), 0.0, SECOND)
    audio = pcm(20)
    speech.frame(audio, 0.0, THIRD)
    assert audio_of(write(speech)) == audio


def test_turns_of_another_session_are_others():
    """The same turn id of another session is not stale."""
    speech = make()
    speech.frame(pcm(20), 0.0, Turn("one", 1))
    speech.flush(0.0)
    audio = pcm(20)
    speech.frame(audio, 0.0, Turn("another", 1))
    assert audio_of(write(speech)) == audio


def test_flush_after_a_lost_connection_means_the_turn_too():
    """The avatar froze in the midst of a turn: its next sentence is stale."""
    speech = make()
    speech.frame(pcm(2000), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.steps.connection_lost(0.0)
    speech.flush(1.0)
    speech.frame(pcm(20), 1.5, FIRST)
    assert write(speech, 1.5) == []


def test_turn_that_speaks_on_long_after_its_flush_is_reported():
    """Once, and not when frames only trail behind."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    speech.take_events()
    for now in (0.5, 9.0, 10.5, 11.0):
        speech.frame(pcm(20), now, FIRST)
        assert speech.take_events() == [TurnIdReused(FIRST)] * (now == 10.5)
    check_sum(speech)


def test_flushed_turns_are_forgotten_in_the_end():
    """Sessions that all count their turns from 1 do not pile up; a turn that
    is flushed again is kept again."""
    speech = make()
    speech.start(Turn("again", 1))  # each flush means it, too
    for number in range(64):
        speech.frame(pcm(20), 0.0, Turn(f"session {number}", 1))
        speech.flush(0.0)
    speech.frame(pcm(20), 0.0, Turn("session 63", 1))
    speech.frame(pcm(20), 0.0, Turn("again", 1))
    assert speech.steps.next(0.0) is None
    audio = pcm(20)
    speech.frame(audio, 0.0, Turn("session 0", 1))
    assert audio_of(write(speech)) == audio


@pytest.mark.parametrize("until", ["start", "end", "cut", "limit"])
def test_without_ids_audio_is_stale_until_something_tells(until):
    """Frames without ids after a flush are dropped until the first sign."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), STALE_LIMIT_S - 0.01)
    now = 0.5
    if until == "start":
        speech.start()
    elif until == "limit":
        now = STALE_LIMIT_S
    else:
        speech.end(now, cut=until == "cut")
    audio = pcm(20)
    speech.frame(audio, now)
    assert write(speech, now) == [Interrupt(), Send(audio, False)]


def test_start_of_the_flushed_turn_is_no_sign():
    """A late start of the flushed turn does not let its audio speak."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    speech.start(FIRST)
    speech.frame(pcm(20), 0.1)
    assert write(speech) == []


def test_without_ids_nothing_is_stale_after_an_ended_utterance():
    """When the flushed utterance had ended, the next frame is new."""
    speech = make()
    speech.frame(pcm(500), 0.0)
    speech.end(0.0)
    write(speech)
    speech.flush(0.1)
    audio = pcm(20)
    speech.frame(audio, 0.1)
    assert write(speech, 0.1) == [Interrupt(), Send(audio, False)]


def test_repeated_flushes_do_not_prolong_the_wait():
    """A flush with nothing to flush leaves the limit where it was."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.flush(0.0)
    speech.flush(0.9)
    audio = pcm(20)
    speech.frame(audio, STALE_LIMIT_S)
    assert audio_of(write(speech, STALE_LIMIT_S)) == audio


def test_flush_before_the_connection_makes_audio_stale_too():
    """What was never sent can have late frames as well."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.5)
    assert write(speech) == []


def test_next_answer_without_any_id_loses_nothing():
    """Start, frames, end: all of the next answer is spoken."""
    speech = make()
    speech.frame(pcm(100), 0.0)
    write(speech)
    speech.flush(0.1)
    speech.frame(pcm(100), 0.2)
    speech.end(0.2, cut=True)
    speech.start()
    audio = pcm(150)
    speech.frame(audio, 0.3)
    speech.end(0.4)
    steps = write(speech, 0.4)
    assert steps[0] == Interrupt()
    assert audio_of(steps) == audio


# Rule 6: the bound


def test_what_waits_is_bounded():
    """New audio is refused when the bound is reached, what waits is kept."""
    speech = make(max_buffered_s=1.0)
    audio = pcm(1500)
    speech.frame(audio, 0.0)
    assert speech.waiting_s == 1.0
    assert audio_of(write(speech)) == audio[: 1000 * BYTES_PER_MS]
    assert speech.totals.refused == 500 * BYTES_PER_MS // 2


def test_overflow_is_reported_once_with_its_amount():
    """One event for all that was refused, when no more comes."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1000), 0.0)
    for index in range(50):
        speech.frame(pcm(10), index / 100, FIRST)
    speech.tick(0.49)
    assert overflows_of(speech) == []
    deadline = speech.deadline()
    assert deadline is not None
    assert deadline <= 0.49 + OVERFLOW_PAUSE_S + 1e-6
    speech.tick(0.49 + OVERFLOW_PAUSE_S)
    [overflow] = overflows_of(speech)
    assert overflow.refused_s == pytest.approx(0.5)
    assert overflow.turn == FIRST
    speech.tick(100.0)
    assert overflows_of(speech) == []


def test_overflow_without_a_pause_is_reported_at_the_limit():
    """Refusal that goes on and on is reported meanwhile."""
    speech = make(max_buffered_s=1.0, end_timeout_s=0)
    speech.frame(pcm(1000), 0.0)
    reported = []
    for second in range(int(OVERFLOW_LIMIT_S) * 4):
        now = second * 0.5
        speech.tick(now)
        speech.frame(pcm(10), now)
        if overflows_of(speech):
            reported.append(now)
    assert reported == [OVERFLOW_LIMIT_S]


def test_overflow_ends_when_half_of_the_room_is_free():
    """Audio is accepted again, and the episode reported, at half the bound."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1500), 0.0)
    for _ in range(4):
        speech.steps.next(0.0)
        speech.steps.written(0.0)
    speech.frame(pcm(10), 0.0)
    assert overflows_of(speech) == []
    speech.steps.next(0.0)
    speech.steps.written(0.0)
    [overflow] = overflows_of(speech)
    assert overflow.refused_s == pytest.approx(0.51)
    refused = speech.totals.refused
    audio = pcm(10)
    speech.frame(audio, 0.0)
    assert speech.totals.refused == refused
    assert audio_of(write(speech)).endswith(audio)


def test_second_episode_is_reported_again():
    """Each episode has an event of its own, with its own amount."""
    speech = make(max_buffered_s=1.0)
    for lost_ms in (200, 300):
        speech.frame(pcm(1000 + lost_ms), 0.0)
        write(speech)
        [overflow] = overflows_of(speech)
        assert overflow.refused_s == pytest.approx(lost_ms / 1000)


def test_flush_ends_the_episode():
    """After a flush there is room, and the loss is reported."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1200), 0.0, FIRST)
    speech.flush(0.0)
    [overflow] = overflows_of(speech)
    assert overflow.refused_s == pytest.approx(0.2)
    audio = pcm(1000)
    speech.frame(audio, 0.0, SECOND)
    assert audio_of(write(speech)) == audio


def test_bound_holds_for_what_the_writer_puts_back():
    """A message that comes back finds its room, and nothing is counted
    twice or taken from the frames that come then."""
    speech = make(max_buffered_s=1.0)
    first = pcm(1000)
    speech.frame(first, 0.0)
    speech.steps.next(0.0)
    speech.frame(pcm(100), 0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    check_sum(speech)
    assert speech.waiting_s <= 1.0
    waiting_s = speech.waiting_s
    refused = speech.totals.refused
    speech.frame(pcm(200), 0.0)
    assert speech.waiting_s == waiting_s
    assert speech.totals.refused == refused + 200 * BYTES_PER_MS // 2
    assert audio_of(write(speech))[: len(first)] == first


def test_bound_that_is_reached_exactly_refuses_nothing():
    """The last sample that there is room for is taken."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1000), 0.0)
    assert speech.totals.refused == 0
    speech.tick(100.0)
    assert overflows_of(speech) == []


# Rule 7: messages


def test_large_frame_is_cut():
    """No message holds more than 100 ms of a longer frame."""
    speech = make()
    audio = pcm(250)
    speech.frame(audio, 0.0)
    cut = MESSAGE_MS * BYTES_PER_MS
    assert [len(s.audio) for s in write(speech) if isinstance(s, Send)] == [
        cut,
        cut,
        len(audio) - 2 * cut,
    ]


def test_small_frames_that_wait_are_joined():
    """A backlog of small frames leaves in messages of 100 ms."""
    speech = make()
    frames = [pcm(30) for _ in range(10)]
    for frame in frames:
        speech.frame(frame, 0.0)
    steps = write(speech)
    assert len(steps) == 3
    assert audio_of(steps) == b"".join(frames)


def test_frame_leaves_at_once():
    """With nothing waiting a frame is a message as it is."""
    speech = make()
    for _ in range(3):
        frame = pcm(10)
        speech.frame(frame, 0.0)
        assert write(speech) == [Send(frame, False)]


def test_single_frame_is_not_copied():
    """The usual message is the frame itself."""
    speech = make()
    frame = pcm(10)
    speech.frame(frame, 0.0)
    step = speech.steps.next(0.0)
    assert isinstance(step, Send)
    assert step.audio is frame


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_messages_hold_whole_samples(rate):
    """At every rate a message is at most 100 ms and of whole samples."""
    speech = Speech(sample_rate=rate)
    audio = bytes(range(256)) * 200
    speech.frame(audio, 0.0)
    steps = write(speech)
    sizes = [len(step.audio) for step in steps if isinstance(step, Send)]
    assert audio_of(steps) == audio
    assert all(size % 2 == 0 for size in sizes)
    assert max(sizes) <= rate * 2 * MESSAGE_MS / 1000


# Rule 8: accounting


def test_every_sample_is_accounted_for():
    """Received is sent, flushed, refused or waiting, at each moment."""
    speech = make(max_buffered_s=0.5)
    speech.frame(pcm(300) + b"\x00", 0.0, FIRST)
    check_sum(speech)
    speech.steps.next(0.0)
    check_sum(speech)
    speech.frame(b"\x00" + pcm(400), 0.0, FIRST)
    check_sum(speech)
    speech.steps.written(0.0)
    speech.flush(0.0)
    check_sum(speech)
    speech.frame(pcm(20), 0.0, FIRST)
    speech.frame(pcm(200), 0.0, SECOND)
    check_sum(speech)
    write(speech)
    totals = speech.totals
    assert totals.received == (700 + 220) * BYTES_PER_MS // 2 + 1
    assert totals.sent == 300 * BYTES_PER_MS // 2
    assert totals.waiting == 0


def test_stale_halves_of_samples_add_up():
    """Odd frames that come too late are counted to the sample."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    for _ in range(4):
        speech.frame(b"\x00" * 101, 0.0, FIRST)
    check_sum(speech)
    assert speech.totals.flushed == 20 * BYTES_PER_MS // 2 + 202


def test_close_drops_all_and_takes_no_more():
    """Without an avatar to come, speech is refused and counted."""
    speech = make()
    speech.frame(pcm(100), 0.0)
    speech.close(0.0)
    speech.frame(pcm(50), 0.0)
    speech.end(0.0)
    speech.flush(0.0)
    speech.tick(100.0)
    assert write(speech) == []
    assert speech.totals.refused == 150 * BYTES_PER_MS // 2
    assert speech.waiting_s == 0
    assert overflows_of(speech) == []


def test_close_summarizes_what_it_drops():
    """What waited and what played is summarized, and only once."""
    speech = make()
    speech.frame(pcm(100), 0.0)
    speech.end(0.0)
    write(speech)
    speech.frame(pcm(300), 0.0)
    speech.close(0.0)
    speech.close(0.0)
    played, dropped = sorted(summaries_of(speech), key=lambda s: s.audio_ms)
    assert (played.sent_ms, played.dropped_ms) == (100, 0)
    assert (dropped.sent_ms, dropped.refused_ms) == (0, 300)


# Rule 9: an end that never comes


def test_utterance_ends_by_itself():
    """With no new audio for the timeout, the request is closed."""
    speech = make(end_timeout_s=1.5)
    speech.frame(pcm(20), 0.0)
    speech.frame(pcm(20), 1.0)
    write(speech)
    assert speech.deadline() == 2.5
    speech.tick(2.4)
    assert write(speech) == []
    speech.tick(2.5)
    assert write(speech) == [Send(b"", True)]


def test_timeout_of_0_never_ends():
    """With a timeout of 0 an utterance waits for its end."""
    speech = make(end_timeout_s=0)
    speech.frame(pcm(20), 0.0)
    write(speech)
    assert speech.deadline() is None
    speech.tick(1e6)
    assert write(speech) == []


def test_empty_frame_is_no_new_audio():
    """A frame without audio does not put off the end of speech."""
    speech = make(end_timeout_s=1.5)
    speech.frame(pcm(20), 0.0)
    speech.frame(b"", 1.0)
    assert speech.deadline() == 1.5


def test_end_that_comes_after_the_timeout_counts_not():
    """A late end of what has ended by itself is not sent."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.tick(1.5)
    assert ends_of(write(speech)) == 1
    speech.end(1.6)
    assert write(speech) == []


def test_frame_of_another_turn_opens_its_own():
    """A turn that begins ends the one before."""
    speech = make()
    first, second = pcm(20), pcm(20)
    speech.frame(first, 0.0, FIRST)
    speech.frame(second, 0.0, SECOND)
    speech.end(0.0, SECOND)
    assert write(speech) == [Send(first, True), Send(second, True)]


def test_frame_without_turn_belongs_to_the_open_one():
    """Audio whose turn is not known goes on with what is being said."""
    speech = make()
    first, second = pcm(20), pcm(20)
    speech.frame(first, 0.0, FIRST)
    speech.frame(second, 0.0)
    assert write(speech) == [Send(first + second, False)]


def test_turn_that_is_known_later_is_the_utterances():
    """An utterance that began without a turn takes the first one."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    assert write(speech) == [Interrupt()]


def test_late_end_of_an_older_turn_leaves_the_open_one():
    """The end of a turn that is over does not cut the next short."""
    speech = make()
    first, second, third = pcm(20), pcm(20), pcm(20)
    speech.frame(first, 0.0, FIRST)
    speech.frame(second, 0.0, SECOND)
    speech.end(0.0, FIRST)
    speech.frame(third, 0.0, SECOND)
    assert write(speech) == [Send(first, True), Send(second + third, False)]


# A connection that is lost


def test_unwritten_message_goes_first_on_the_next_connection():
    """What did not reach the wire is sent, in order and once."""
    speech = make()
    audio = pcm(350)
    speech.frame(audio, 0.0)
    speech.end(0.0)
    speech.steps.next(0.0)
    speech.steps.written(0.0)
    speech.steps.next(0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    steps = write(speech)
    assert audio_of(steps) == audio[MESSAGE_MS * BYTES_PER_MS :]
    assert ends_of(steps) == 1


def test_unwritten_message_keeps_its_place_before_new_frames():
    """Frames that came during the call go behind what comes back."""
    speech = make()
    frames = [pcm(20), pcm(20), pcm(20)]
    speech.frame(frames[0], 0.0)
    speech.steps.next(0.0)
    speech.frame(frames[1], 0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    speech.frame(frames[2], 0.0)
    assert write(speech) == [Send(b"".join(frames), False)]


def test_unwritten_end_makes_no_request_of_its_own():
    """An end whose audio went with the old connection is discarded."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.end(0.0)
    assert speech.steps.next(0.0) == Send(b"", True)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    assert write(speech) == []
    assert len(summaries_of(speech)) == 1


def test_end_after_the_loss_makes_no_request_of_its_own():
    """An utterance that was all written ends without a word."""
    speech = make()
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.steps.connection_lost(0.0)
    speech.end(0.0)
    assert write(speech) == []
    [summary] = summaries_of(speech)
    assert summary.lost_ms == 20


def test_written_audio_is_not_repeated_without_resumption():
    """A whole utterance that was written is lost with its connection."""
    speech = make()
    speech.frame(pcm(500), 0.0)
    speech.end(0.0)
    write(speech)
    speech.steps.connection_lost(0.0)
    assert write(speech) == []
    [summary] = summaries_of(speech)
    assert (summary.lost_ms, summary.interrupted) == (500, False)


def test_nothing_is_interrupted_on_a_new_connection():
    """What played on a lost connection needs no interrupt."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.steps.connection_lost(0.0)
    assert write(speech) == []
    speech.frame(pcm(20), 0.0, SECOND)
    speech.steps.connection_lost(0.0)
    speech.flush(0.0)
    assert write(speech) == []


def test_interrupt_that_is_lost_is_not_repeated():
    """An interrupt dies with the connection that it was for."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.steps.next(0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    audio = pcm(20)
    speech.frame(audio, 0.0, SECOND)
    assert write(speech) == [Send(audio, False)]


def test_flushed_turn_is_stale_on_a_new_connection_too():
    """A flush is remembered beyond the connection."""
    speech = make()
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    speech.steps.connection_lost(0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    assert write(speech) == []


# Summaries, and what is known


def test_summary_comes_when_it_has_been_heard():
    """An utterance is summarized when its audio has been played."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech, 0.25, "request-7", "connection-7")
    speech.tick(0.75 + END_MARGIN_S - 0.01)
    assert summaries_of(speech) == []
    assert speech.deadline() == pytest.approx(0.75 + END_MARGIN_S)
    speech.tick(0.76 + END_MARGIN_S)
    assert summaries_of(speech) == [
        Summary(
            turn=FIRST,
            req_id="request-7",
            connection_id="connection-7",
            audio_ms=500,
            sent_ms=500,
            flushed_ms=0,
            refused_ms=0,
            first_audio_delay_ms=250,
            interrupted=False,
        )
    ]


def test_summary_of_a_flushed_utterance():
    """What was sent and what was dropped add up to what was received."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    speech.steps.next(0.0)
    speech.steps.written(0.0)
    speech.flush(0.0)
    [summary] = summaries_of(speech)
    assert summary.interrupted
    assert (summary.audio_ms, summary.sent_ms) == (500, 100)
    assert (summary.flushed_ms, summary.refused_ms) == (400, 0)


def test_summary_of_a_message_in_flight_waits_for_it():
    """A flushed utterance is summarized once its last message is settled."""
    speech = make()
    speech.frame(pcm(500), 0.0, FIRST)
    speech.steps.next(0.0)
    speech.flush(0.0)
    assert summaries_of(speech) == []
    speech.steps.written(0.0)
    [summary] = summaries_of(speech)
    assert (summary.sent_ms, summary.dropped_ms) == (100, 400)
    write(speech)
    speech.tick(100.0)
    assert summaries_of(speech) == []


def test_summary_of_a_refused_utterance():
    """Audio that found no room is in the summary as dropped."""
    speech = make(max_buffered_s=0.1)
    speech.frame(pcm(250), 0.0)
    speech.end(0.0)
    write(speech)
    speech.tick(10.0)
    [summary] = summaries_of(speech)
    assert (summary.audio_ms, summary.sent_ms) == (250, 100)
    assert (summary.refused_ms, summary.dropped_ms) == (150, 150)


def test_summary_of_what_was_never_sent():
    """An utterance that was flushed while it waited has no delay."""
    speech = make()
    speech.frame(pcm(50), 0.0)
    speech.flush(0.0)
    [summary] = summaries_of(speech)
    assert summary.first_audio_delay_ms is None
    assert (summary.sent_ms, summary.flushed_ms) == (0, 50)


def test_summary_of_an_utterance_over_two_connections():
    """An utterance that a loss has split is summarized once, in whole."""
    speech = make()
    speech.frame(pcm(300), 0.0)
    speech.end(0.0)
    speech.steps.next(0.0)
    speech.steps.written(0.0, "old")
    speech.steps.next(0.0)
    speech.steps.failed()
    speech.steps.connection_lost(0.0)
    write(speech, 1.0, "new")
    speech.tick(10.0)
    [summary] = summaries_of(speech)
    assert summary.req_id == "new"
    assert (summary.sent_ms, summary.lost_ms) == (200, 100)


def test_quiet_is_when_nothing_is_said_waits_or_plays():
    """Every stage of an utterance is not quiet, its end in sound too."""
    speech = make()
    assert speech.is_idle(0.0)
    speech.frame(pcm(500), 0.0)
    assert not speech.is_idle(0.0)
    write(speech)
    assert not speech.is_idle(5.0)
    speech.end(5.0)
    assert not speech.is_idle(5.0)
    write(speech, 5.0)
    assert speech.is_idle(5.0 + PLAYBACK_MARGIN_S + 0.5)


def test_what_can_still_be_heard_is_not_idle():
    """An avatar that may still be heard is not idle: a session closed now
    would swallow the end of the sentence."""
    speech = make()
    speech.frame(pcm(1000), 0.0)
    speech.end(0.0)
    write(speech)
    assert not speech.is_idle(1.0 + PLAYBACK_MARGIN_S - 0.1)
    assert speech.is_idle(1.0 + PLAYBACK_MARGIN_S)


@pytest.mark.parametrize(
    "turn", [FIRST, None], ids=["with a turn", "without a turn"]
)
def test_turn_is_that_of_what_is_said(turn: Optional[Turn]):
    """Reports can name the turn of the speech that they are about."""
    speech = make()
    assert speech.turn is None
    speech.frame(pcm(20), 0.0, turn)
    assert speech.turn == turn
    speech.end(0.0, turn)
    write(speech)
    assert speech.turn == turn


def test_repr_shows_state_and_counts():
    """The representation says what waits and what became of the rest."""
    speech = make()
    speech.frame(pcm(500), 0.0)
    assert "1 utterance" in repr(speech)
    assert "0.50 s waiting" in repr(speech)
    assert "received=12000" in repr(speech)


# What is under way when the user barges in


def test_a_request_that_has_begun_is_flushed_before_its_first_frame():
    """tts_audio_start names the turn; a late end of another changes nothing."""
    speech = make()
    speech.start(SECOND)
    speech.end(0.1, FIRST)
    speech.flush(0.2)
    speech.frame(pcm(100), 0.3, SECOND)
    assert write(speech, 0.3) == []
    speech.frame(pcm(100), 0.4, THIRD)
    assert len(write(speech, 0.4)) == 1


def test_a_turn_is_flushed_between_two_of_its_sentences():
    """The sentence has been heard, but its turn goes on: not after a flush."""
    speech = make()
    speech.frame(pcm(100), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(3.0)
    assert interrupts_of(write(speech, 3.0)) == 0
    speech.frame(pcm(100), 3.5, FIRST)
    assert write(speech, 3.5) == []


def test_a_turn_long_over_is_not_flushed():
    """A flush in silence concerns nobody."""
    speech = make()
    speech.frame(pcm(100), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(60.0)
    speech.frame(pcm(100), 61.0, FIRST)
    assert len(write(speech, 61.0)) == 1


@pytest.mark.parametrize(
    ("flushed", "late"), [(Turn(None, 1), FIRST), (FIRST, Turn(None, 1))]
)
def test_a_late_frame_is_stale_with_or_without_its_session(flushed, late):
    """Some messages of a turn name the session, others do not."""
    speech = make()
    speech.frame(pcm(100), 0.0, flushed)
    write(speech)
    speech.flush(0.1)
    speech.frame(pcm(100), 0.2, late)
    assert audio_of(write(speech, 0.2)) == b""


def test_a_request_is_not_begun_with_less_than_an_encoder_sends():
    """An interrupt would name a request that nobody has seen."""
    speech = Speech(sample_rate=RATE, limits=Limits(first_message_ms=20))
    speech.frame(pcm(10), 0.0)
    assert speech.steps.next(0.0) is None
    speech.flush(0.0)
    assert speech.steps.next(0.0) is None
    speech.start()
    speech.frame(pcm(10), 2.0)
    speech.frame(pcm(10), 2.0)
    assert len(write(speech, 2.0)) == 1
    speech.frame(pcm(5), 2.1)
    assert len(write(speech, 2.1)) == 1
    speech.end(2.2)
    write(speech, 2.2)
    speech.frame(pcm(10), 2.3)
    speech.end(2.3)
    assert ends_of(write(speech, 2.3)) == 1


def test_utterances_that_were_refused_do_not_pile_up():
    """A long outage leaves no more behind than what waits."""
    speech = make(max_buffered_s=0.1)
    speech.frame(pcm(100), 0.0)
    speech.end(0.0)
    for _ in range(100):
        speech.frame(pcm(100), 0.0)
        speech.end(0.0)
    assert len(summaries_of(speech)) == 100
    assert "1 utterances" in repr(speech)
    check_sum(speech)
