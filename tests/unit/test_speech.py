"""The rules of speech in docs/design.md, with corner cases: order, ends and
messages."""

from math import inf

import pytest
from spatius_avatar_python.speech import Interrupt, Limits, Speech
from spatius_avatar_python.speech.avatar_output import Send
from spatius_avatar_python.speech.intake import MAX_PAUSE_S
from spatius_avatar_python.speech.utterance import MESSAGE_MS
from speech_steps import (
    BYTES_PER_MS,
    FIRST,
    SECOND,
    audio_of,
    check_sum,
    ends_of,
    interrupts_of,
    make,
    pcm,
    write,
    written,
)

TIMEOUT_S = Limits().end_timeout_s

# Rule 1: order, and whole samples


def test_utterances_keep_their_order(speech):
    """A second utterance waits for the end of the first."""
    first, second = pcm(30), pcm(30)
    speech.frame(first, 0.0)
    speech.end(0.0)
    speech.frame(second, 0.0)
    speech.end(0.0)
    assert write(speech) == [Send(first, True), Send(second, True)]


def test_odd_byte_waits_for_the_next_frame(speech):
    """A sample that is split between two frames is put together again."""
    audio = pcm(10)
    speech.frame(audio[:101], 0.0)
    assert audio_of(write(speech)) == audio[:100]
    speech.frame(audio[101:], 0.0)
    assert audio_of(write(speech)) == audio[100:]
    assert speech.totals.sent == len(audio) // 2


@pytest.mark.parametrize("cut", ["flush", "close", "give_up"])
def test_a_sample_that_is_cut_in_half_counts(cut, speech):
    """Its other half comes when no output takes it any more."""
    audio = pcm(10)
    speech.frame(audio[:101], 0.0, FIRST)
    getattr(speech, cut)(0.0)
    speech.frame(audio[101:], 0.0, FIRST)
    assert speech.totals.received == len(audio) // 2
    check_sum(speech)


def test_odd_byte_does_not_reach_the_next_utterance(speech):
    """The half of a sample that an utterance ends on is discarded."""
    first, second = pcm(10), pcm(10)
    speech.frame(first + b"\xff", 0.0)
    speech.end(0.0)
    speech.frame(second, 0.0)
    assert audio_of(write(speech)) == first + second


def test_odd_byte_does_not_survive_a_flush(speech):
    """The half of a sample that was flushed does not shift later audio."""
    speech.frame(pcm(10) + b"\xff", 0.0, FIRST)
    speech.flush(0.0)
    audio = pcm(10)
    speech.frame(audio, 0.0, SECOND)
    assert audio_of(write(speech)) == audio


@pytest.mark.parametrize("turn", [None, FIRST])
def test_odd_byte_survives_a_timeout(turn, speech):
    """The rest of a turn that paused in the middle of a sample is no noise."""
    audio = pcm(10)
    speech.frame(audio[:101], 0.0, turn)
    sent = write(speech)
    speech.tick(TIMEOUT_S)
    speech.frame(audio[101:], 2 * TIMEOUT_S, turn)
    speech.end(2 * TIMEOUT_S)
    assert audio_of(sent + write(speech)) == audio
    assert speech.totals.sent == len(audio) // 2


@pytest.mark.parametrize(
    "between", ["start", "end", "flush", "turn", "rate", "time"]
)
def test_odd_byte_of_a_timeout_does_not_reach_other_speech(between, speech):
    """Later audio is another utterance, with samples of its own."""
    speech.frame(pcm(10) + b"\xff", 0.0, FIRST)
    write(speech)
    now = 2 * TIMEOUT_S
    speech.tick(now)
    if between == "start":
        speech.start(0.0, FIRST)
    elif between == "end":
        speech.end(now, FIRST)
    elif between == "flush":
        speech.flush(now)
        write(speech)
    turn = SECOND if between == "turn" else None
    audio = pcm(10)
    now = MAX_PAUSE_S if between == "time" else now + 1.0
    speech.frame(audio, now, turn, 16000 if between == "rate" else 0)
    assert audio_of(write(speech)) == audio


def test_odd_byte_of_a_timeout_is_used_once(speech):
    """The turn may be interrupted by another and go on again."""
    audio = pcm(30)
    speech.frame(audio[:101], 0.0, FIRST)
    speech.tick(TIMEOUT_S)
    now = 2 * TIMEOUT_S
    speech.frame(audio[101:200], now, FIRST)
    speech.frame(audio[200:300], now, SECOND)
    speech.frame(audio[300:], now, FIRST)
    assert audio_of(write(speech)) == audio


def test_half_a_sample_is_no_speech(speech):
    """An utterance of a single byte is neither sent nor summarized."""
    speech.frame(b"\x01", 0.0)
    speech.end(0.0)
    assert write(speech) == []
    assert speech.take_events() == []
    assert speech.is_idle(0.0)


def test_no_step_is_handed_out_twice(speech):
    """A second step before the first is settled is a mistake."""
    speech.frame(pcm(10), 0.0)
    speech.avatar.next(0.0)
    with pytest.raises(AssertionError):
        speech.avatar.next(0.0)


# Rule 2: the end of speech


def test_end_goes_with_the_last_audio(speech):
    """An end that comes before its audio left takes no message of its own."""
    audio = pcm(150)
    speech.frame(audio, 0.0)
    speech.end(0.0)
    cut = MESSAGE_MS * BYTES_PER_MS
    assert write(speech) == [Send(audio[:cut], False), Send(audio[cut:], True)]


def test_late_end_closes_the_request(speech):
    """An end that comes after its audio left is sent alone."""
    audio = pcm(20)
    speech.frame(audio, 0.0)
    assert write(speech) == [Send(audio, False)]
    speech.end(0.0)
    assert write(speech) == [Send(b"", True)]


def test_second_end_counts_not(speech):
    """tts_audio_end and finalize for one utterance end it once."""
    speech.frame(pcm(20), 0.0)
    speech.end(0.0)
    speech.end(0.0)
    assert ends_of(write(speech)) == 1
    speech.end(0.0)
    assert write(speech) == []


@pytest.mark.parametrize("cut", [False, True])
def test_end_with_nothing_open_does_nothing(cut, speech):
    """The end of a request that had no audio makes no request."""
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


def test_cut_of_an_open_utterance_acts_as_a_flush(speech):
    """The rest of a cut utterance is dropped and it is interrupted."""
    sent = pcm(100)
    speech.frame(sent, 0.0, FIRST)
    speech.avatar.next(0.0)
    written(speech, 0.0)
    speech.frame(pcm(300), 0.0, FIRST)
    speech.end(0.0, FIRST, cut=True)
    assert write(speech) == [Interrupt()]
    assert speech.totals.flushed == 300 * BYTES_PER_MS // 2


def test_cut_without_an_open_utterance_leaves_playing_audio(speech):
    """Reason 2 after the utterance's end sends no interrupt."""
    audio = pcm(500)
    speech.frame(audio, 0.0, FIRST)
    speech.end(0.0, FIRST)
    speech.end(0.0, FIRST, cut=True)
    steps = write(speech)
    assert audio_of(steps) == audio
    assert interrupts_of(steps) == 0


def test_cut_before_its_flush_makes_one_interrupt(speech):
    """A flush that follows the reason 2 of its own speech has no effect."""
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.end(0.0, cut=True)
    speech.flush(0.0)
    assert write(speech) == [Interrupt()]
    speech.flush(0.0)
    assert write(speech) == []


def test_cut_after_its_flush_leaves_the_next_answer(speech):
    """The reason 2 of a flushed turn does not touch the next one."""
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    audio = pcm(50)
    speech.frame(audio, 0.0, SECOND)
    speech.end(0.0, FIRST, cut=True)
    speech.end(0.0, SECOND)
    assert write(speech) == [Interrupt(), Send(audio, True)]


def test_cut_after_its_flush_ends_the_wait_for_stale_audio(speech):
    """Without ids, audio behind the reason 2 is the next answer."""
    speech.frame(pcm(20), 0.0)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.1)
    speech.end(0.1, cut=True)
    audio = pcm(20)
    speech.frame(audio, 0.2)
    assert audio_of(write(speech)) == audio


def test_after_a_cut_audio_without_turn_is_new(speech):
    """Speech that was cut is over: nothing of it can come late."""
    speech.frame(pcm(20), 0.0)
    speech.end(0.0, cut=True)
    audio = pcm(20)
    speech.frame(audio, 0.0)
    assert audio_of(write(speech)) == audio


# Rule 7: messages


def test_large_frame_is_cut(speech):
    """No message holds more than 100 ms of a longer frame."""
    audio = pcm(250)
    speech.frame(audio, 0.0)
    cut = MESSAGE_MS * BYTES_PER_MS
    assert [len(s.audio) for s in write(speech) if isinstance(s, Send)] == [
        cut,
        cut,
        len(audio) - 2 * cut,
    ]


def test_small_frames_that_wait_are_joined(speech):
    """A backlog of small frames leaves in messages of 100 ms."""
    frames = [pcm(30) for _ in range(10)]
    for frame in frames:
        speech.frame(frame, 0.0)
    steps = write(speech)
    assert len(steps) == 3
    assert audio_of(steps) == b"".join(frames)


def test_single_frame_is_not_copied(speech):
    """The usual message is the frame itself."""
    frame = pcm(10)
    speech.frame(frame, 0.0)
    step = speech.avatar.next(0.0)
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


# Rule 9: an end that never comes


def test_utterance_ends_by_itself():
    """With no new audio for the timeout, the request is closed."""
    speech = make(end_timeout_s=1.5)
    speech.frame(pcm(20), 0.0)
    speech.frame(pcm(20), 1.0)
    write(speech)
    assert speech.due_at == 2.5
    speech.tick(2.4)
    assert write(speech) == []
    speech.tick(2.5)
    assert write(speech) == [Send(b"", True)]


def test_timeout_of_0_never_ends():
    """With a timeout of 0 an utterance waits for its end."""
    speech = make(end_timeout_s=0)
    speech.frame(pcm(20), 0.0)
    write(speech)
    assert speech.due_at == inf
    speech.tick(1e6)
    assert write(speech) == []


def test_empty_frame_is_no_new_audio():
    """A frame without audio does not put off the end of speech."""
    speech = make(end_timeout_s=1.5)
    speech.frame(pcm(20), 0.0)
    speech.frame(b"", 1.0)
    assert speech.due_at == 1.5


def test_frame_without_turn_belongs_to_the_open_one(speech):
    """Audio whose turn is not known continues the current utterance."""
    first, second = pcm(20), pcm(20)
    speech.frame(first, 0.0, FIRST)
    speech.frame(second, 0.0)
    assert write(speech) == [Send(first + second, False)]


def test_turn_that_is_known_later_is_the_utterances(speech):
    """An utterance that began without a turn takes the first one."""
    speech.frame(pcm(20), 0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    assert write(speech) == [Interrupt()]


def test_late_end_of_an_older_turn_leaves_the_open_one(speech):
    """The end of a turn that is over does not cut the next short."""
    first, second, third = pcm(20), pcm(20), pcm(20)
    speech.frame(first, 0.0, FIRST)
    speech.frame(second, 0.0, SECOND)
    speech.end(0.0, FIRST)
    speech.frame(third, 0.0, SECOND)
    assert write(speech) == [Send(first, True), Send(second + third, False)]
