"""The rules of speech in docs/design.md, with corner cases: flushes, and late
frames."""

import pytest
from spatius_avatar_python.speech import Interrupt, Limits, Speech
from spatius_avatar_python.speech.avatar_output import Send
from spatius_avatar_python.speech.events import Turn, TurnIdReused
from spatius_avatar_python.speech.intake import (
    STALE_LIMIT_S,
    STALE_PAUSE_S,
    TURN_REUSE_LIMIT_S,
)
from spatius_avatar_python.speech.playout import PLAYBACK_MARGIN_S
from spatius_avatar_python.speech.utterance import MESSAGE_MS
from speech_steps import (
    BYTES_PER_MS,
    FIRST,
    RATE,
    SECOND,
    THIRD,
    audio_of,
    check_sum,
    ends_of,
    interrupts_of,
    make,
    pcm,
    summaries_of,
    write,
    written,
)

# Rule 4: flush


def test_flush_of_a_message_in_flight_interrupts_it(speech):
    """Audio that the writer is just sending will have to be interrupted."""
    speech.frame(pcm(300), 0.0)
    speech.avatar.next(0.0)
    speech.flush(0.0)
    written(speech, 0.0)
    assert write(speech) == [Interrupt()]
    assert speech.totals.sent == MESSAGE_MS * BYTES_PER_MS // 2


def test_flush_of_a_message_in_flight_that_is_lost(speech):
    """A flushed message that did not reach the wire is not sent again."""
    speech.frame(pcm(300), 0.0)
    speech.avatar.next(0.0)
    speech.flush(0.0)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 300 * BYTES_PER_MS // 2
    [summary] = summaries_of(speech)
    assert (summary.sent_ms, summary.flushed_ms) == (0, 300)


@pytest.mark.parametrize(
    ("at", "interrupts"),
    [
        pytest.param(0.5, 1, id="playing"),
        pytest.param(1.0 + PLAYBACK_MARGIN_S - 0.1, 1, id="perhaps playing"),
        pytest.param(1.0 + PLAYBACK_MARGIN_S, 0, id="long over"),
    ],
)
def test_flush_of_an_ended_utterance(at, interrupts, speech):
    """An ended utterance is interrupted as long as it can be heard."""
    speech.frame(pcm(1000), 0.0)
    speech.end(0.0)
    write(speech)
    speech.flush(at)
    assert interrupts_of(write(speech, at)) == interrupts


def test_utterances_play_one_after_the_other(speech):
    """Audio sent faster than it plays can be heard for all its length."""
    for _ in range(5):
        speech.frame(pcm(1000), 0.0)
        speech.end(0.0)
    write(speech)
    assert not speech.is_idle(4.9)
    speech.flush(4.9)
    assert write(speech, 4.9) == [Interrupt()]


def test_many_flushes_are_one(speech):
    """Twenty flushes before the interrupt is out make one of it."""
    speech.frame(pcm(20), 0.0)
    write(speech)
    for _ in range(20):
        speech.flush(0.0)
    assert write(speech) == [Interrupt()]
    for _ in range(20):
        speech.flush(0.0)
    assert write(speech) == []


def test_flush_during_the_interrupt_adds_none(speech):
    """A flush while the interrupt is being written is that interrupt's."""
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    assert speech.avatar.next(0.0) == Interrupt()
    speech.frame(pcm(40), 0.0, SECOND)
    speech.flush(0.0)
    written(speech, 0.0)
    assert write(speech) == []
    assert speech.totals.flushed == 40 * BYTES_PER_MS // 2


# Rule 5: stale audio


def test_late_frames_of_a_flushed_turn_are_dropped(speech):
    """Frames with the flushed turn's id do not speak for a long time."""
    speech.frame(pcm(20), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.1, FIRST)
    speech.start(0.2, FIRST)
    speech.frame(pcm(20), TURN_REUSE_LIMIT_S - 0.1, FIRST)
    assert write(speech, 20.0) == [Interrupt()]
    assert speech.totals.flushed == 40 * BYTES_PER_MS // 2


def test_late_frames_between_those_of_the_next_turn(speech):
    """The next answer loses no audio to the stale frames in between."""
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    frames = [pcm(20) for _ in range(3)]
    for frame in frames:
        speech.frame(frame, 0.0, SECOND)
        speech.frame(pcm(20), 0.0, FIRST)
    speech.end(0.0, FIRST)
    speech.end(0.0, SECOND)
    assert write(speech) == [Send(b"".join(frames), True)]


def test_late_frames_of_a_turn_that_had_ended_are_dropped(speech):
    """A turn's next sentence is stale when the one before is interrupted."""
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(0.2)
    speech.frame(pcm(500), 0.3, FIRST)
    assert write(speech, 0.3) == [Interrupt()]


def test_late_frames_of_a_turn_that_may_have_ended(speech):
    """Speech interrupted at the very end is a flushed turn like any."""
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.tick(1.0)
    speech.flush(1.0)
    speech.frame(pcm(20), 1.1, FIRST)
    assert write(speech, 1.1) == [Interrupt()]


def test_late_frames_of_all_flushed_turns_are_dropped(speech):
    """Every turn that waited is stale, not only the one that was heard."""
    for turn in (FIRST, SECOND):
        speech.frame(pcm(20), 0.0, turn)
        speech.end(0.0, turn)
    speech.flush(0.0)
    speech.frame(pcm(20), 0.0, FIRST)
    speech.frame(pcm(20), 0.0, SECOND)
    audio = pcm(20)
    speech.frame(audio, 0.0, THIRD)
    assert audio_of(write(speech)) == audio


def test_turns_of_another_session_are_others(speech):
    """The same turn id of another session is not stale."""
    speech.frame(pcm(20), 0.0, Turn("one", 1))
    speech.flush(0.0)
    audio = pcm(20)
    speech.frame(audio, 0.0, Turn("another", 1))
    assert audio_of(write(speech)) == audio


def test_flush_after_a_lost_connection_means_the_turn_too(speech):
    """The avatar froze in the midst of a turn: its next sentence is stale."""
    speech.frame(pcm(2000), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.connection_lost(0.0)
    speech.flush(1.0)
    speech.frame(pcm(20), 1.5, FIRST)
    assert write(speech, 1.5) == []


def test_turn_that_speaks_on_long_after_its_flush_is_reported(speech):
    """Once, and not when frames only trail behind; then it is spoken."""
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    speech.take_events()
    for now in (0.5, 9.0):
        speech.frame(pcm(20), now, FIRST)
        assert speech.take_events() == []
    audio = pcm(20)
    speech.frame(audio, TURN_REUSE_LIMIT_S, FIRST)
    assert speech.take_events() == [TurnIdReused(FIRST, TURN_REUSE_LIMIT_S)]
    assert audio_of(write(speech, TURN_REUSE_LIMIT_S)) == audio
    speech.flush(TURN_REUSE_LIMIT_S)
    speech.take_events()
    speech.frame(audio, 300.0, FIRST)
    assert speech.take_events() == []
    assert audio_of(write(speech, 300.0)) == audio


def test_flushed_turns_are_forgotten_in_the_end(speech):
    """Sessions that all count their turns from 1 do not pile up; a turn that
    is flushed again is kept again."""
    speech.start(0.0, Turn("again", 1))  # each flush means it, too
    for number in range(64):
        speech.frame(pcm(20), 0.0, Turn(f"session {number}", 1))
        speech.flush(0.0)
    speech.frame(pcm(20), 0.0, Turn("session 63", 1))
    speech.frame(pcm(20), 0.0, Turn("again", 1))
    assert speech.avatar.next(0.0) is None
    audio = pcm(20)
    speech.frame(audio, 0.0, Turn("session 0", 1))
    assert audio_of(write(speech)) == audio


@pytest.mark.parametrize("until", ["start", "end", "cut", "limit"])
def test_without_ids_audio_is_stale_until_something_tells(until, speech):
    """Frames without ids after a flush are dropped until the first sign."""
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.flush(0.0)
    for tenth in range(1, 10):
        speech.frame(pcm(20), tenth / 10)
    now = 0.95
    if until == "start":
        speech.start(0.0)
    elif until == "limit":
        now = STALE_LIMIT_S
    else:
        speech.end(now, cut=until == "cut")
    audio = pcm(20)
    speech.frame(audio, now)
    assert write(speech, now) == [Interrupt(), Send(audio, False)]


def test_start_of_the_flushed_turn_is_no_sign(speech):
    """A late start of the flushed turn does not let its audio speak."""
    speech.frame(pcm(20), 0.0, FIRST)
    speech.flush(0.0)
    speech.start(0.0, FIRST)
    speech.frame(pcm(20), 0.1)
    assert write(speech) == []


def test_without_ids_nothing_is_stale_after_an_ended_utterance(speech):
    """When the flushed utterance had ended, the next frame is new."""
    speech.frame(pcm(500), 0.0)
    speech.end(0.0)
    write(speech)
    speech.flush(0.1)
    audio = pcm(20)
    speech.frame(audio, 0.1)
    assert write(speech, 0.1) == [Interrupt(), Send(audio, False)]


def test_repeated_flushes_do_not_prolong_the_wait(speech):
    """A flush without speech leaves the limit as it was."""
    speech.frame(pcm(20), 0.0)
    speech.flush(0.0)
    speech.flush(0.9)
    audio = pcm(20)
    speech.frame(audio, STALE_LIMIT_S)
    assert audio_of(write(speech, STALE_LIMIT_S)) == audio


def test_next_answer_without_any_id_loses_nothing(speech):
    """Start, frames, end: all of the next answer is spoken."""
    speech.frame(pcm(100), 0.0)
    write(speech)
    speech.flush(0.1)
    speech.frame(pcm(100), 0.2)
    speech.end(0.2, cut=True)
    speech.start(0.0)
    audio = pcm(150)
    speech.frame(audio, 0.3)
    speech.end(0.4)
    steps = write(speech, 0.4)
    assert steps[0] == Interrupt()
    assert audio_of(steps) == audio


# Audio under way when the user barges in


def test_a_request_that_has_begun_is_flushed_before_its_first_frame(speech):
    """tts_audio_start names the turn; a late end of another changes nothing."""
    speech.start(0.0, SECOND)
    speech.end(0.1, FIRST)
    speech.flush(0.2)
    speech.frame(pcm(100), 0.3, SECOND)
    assert write(speech, 0.3) == []
    speech.frame(pcm(100), 0.4, THIRD)
    assert len(write(speech, 0.4)) == 1


def test_a_turn_is_flushed_between_two_of_its_sentences(speech):
    """The sentence has been heard, but its turn goes on: not after a flush."""
    speech.frame(pcm(100), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(4.0)
    assert interrupts_of(write(speech, 4.0)) == 0
    speech.frame(pcm(100), 4.5, FIRST)
    assert write(speech, 4.5) == []


def test_a_turn_long_over_is_not_flushed(speech):
    """A flush in silence has no effect."""
    speech.frame(pcm(100), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech)
    speech.flush(60.0)
    speech.frame(pcm(100), 61.0, FIRST)
    assert len(write(speech, 61.0)) == 1


@pytest.mark.parametrize(
    ("begun", "ended"), [(Turn(None, 1), FIRST), (FIRST, Turn(None, 1))]
)
def test_a_request_has_ended_with_or_without_its_session(begun, ended, speech):
    """A flush in silence does not concern its turn any more."""
    speech.start(0.0, begun)
    speech.frame(pcm(100), 0.0, FIRST)
    speech.end(0.0, ended)
    write(speech)
    speech.flush(60.0)
    speech.frame(pcm(100), 61.0, FIRST)
    assert len(write(speech, 61.0)) == 1


def test_the_late_end_of_another_session_ends_no_request(speech):
    """Its ids may be the same: each session counts its turns from one."""
    speech.start(0.0, FIRST, "tts-request-1")
    late = FIRST._replace(session="before")
    speech.end(0.0, late, request_id="tts-request-1")
    speech.flush(0.1)
    speech.frame(pcm(100), 0.2, FIRST)
    assert write(speech, 0.2) == []


@pytest.mark.parametrize(
    ("flushed", "late"), [(Turn(None, 1), FIRST), (FIRST, Turn(None, 1))]
)
def test_a_late_frame_is_stale_with_or_without_its_session(
    flushed, late, speech
):
    """Some messages of a turn name the session, others do not."""
    speech.frame(pcm(100), 0.0, flushed)
    write(speech)
    speech.flush(0.1)
    speech.frame(pcm(100), 0.2, late)
    assert audio_of(write(speech, 0.2)) == b""


def test_a_request_is_not_begun_with_less_than_an_encoder_sends():
    """An interrupt would name an unknown request."""
    speech = Speech(sample_rate=RATE, limits=Limits(first_message_ms=20))
    speech.frame(pcm(10), 0.0)
    assert speech.avatar.next(0.0) is None
    speech.flush(0.0)
    assert speech.avatar.next(0.0) is None
    speech.start(0.0)
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
    """A long outage leaves no more behind than the waiting audio."""
    speech = make(max_buffered_s=0.1)
    speech.frame(pcm(100), 0.0)
    speech.end(0.0)
    for _ in range(100):
        speech.frame(pcm(100), 0.0)
        speech.end(0.0)
    assert len(summaries_of(speech)) == 100
    assert "1 utterances" in repr(speech)
    check_sum(speech)


# Rule 5: how a fence ends


CUT_ID, NEW_ID = "tts-cut", "tts-new"


def flushed(turn=FIRST, request_id=CUT_ID) -> Speech:
    """Return a Speech whose request was flushed in the middle."""
    speech = make()
    speech.start(0.0, turn, request_id)
    speech.frame(pcm(100), 0.0, turn)
    write(speech)
    speech.flush(0.1)
    assert write(speech, 0.1) == [Interrupt()]
    return speech


def say(speech: Speech, now: float, turn, request_id: str) -> bytes:
    """Have a request come in whole; return its audio."""
    speech.start(now, turn, request_id)
    audio = pcm(2000)
    speech.frame(audio, now, turn)
    speech.end(now, turn, request_id=request_id)
    return audio


@pytest.mark.parametrize("after_s", [0.5, 300.0])
@pytest.mark.parametrize("metadata", [FIRST, None])
def test_a_new_request_of_a_flushed_turn_is_spoken(after_s, metadata):
    """A turn id may grow more slowly than the user interrupts."""
    speech = flushed()
    speech.end(0.2, metadata, cut=True, request_id=CUT_ID)
    audio = say(speech, after_s, FIRST, NEW_ID)
    assert write(speech, after_s)[-1].end
    assert speech.totals.sent == (100 + 2000) * BYTES_PER_MS // 2
    assert speech.totals.flushed == 0
    assert len(audio) == 2000 * BYTES_PER_MS


def test_an_id_that_was_not_cut_is_new_before_the_end_of_the_cut_one():
    """The reason 2 may come late, or never."""
    speech = flushed()
    speech.frame(pcm(20), 0.2, FIRST)
    audio = say(speech, 0.3, FIRST, NEW_ID)
    speech.end(0.4, FIRST, cut=True, request_id=CUT_ID)
    assert audio_of(write(speech, 0.4)) == audio
    assert speech.totals.flushed == 20 * BYTES_PER_MS // 2


def test_a_start_without_an_id_is_new_behind_the_end_of_the_cut_request():
    """A TTS without request ids ends the speech it has cut, too."""
    speech = flushed(request_id="")
    speech.frame(pcm(20), 0.2, FIRST)
    speech.end(0.3, FIRST, cut=True)
    audio = say(speech, 0.4, FIRST, "")
    assert audio_of(write(speech, 0.4)) == audio


@pytest.mark.parametrize("request_id", ["", CUT_ID])
@pytest.mark.parametrize("turn", [FIRST, None])
def test_a_cut_request_that_trickles_in_stays_out(turn, request_id):
    """Its own start, repeated or late, lets nothing of it through."""
    speech = flushed()
    if turn is not None or request_id:
        speech.start(0.2, turn, request_id)
    for tenth in range(2, 90):
        speech.frame(pcm(20), tenth / 10, FIRST)
    assert audio_of(write(speech, 9.0)) == b""


def test_a_late_end_of_an_older_request_does_not_end_a_fence():
    """Only the end of the cut speech does."""
    speech = flushed(None)
    speech.end(0.15, None, request_id="tts-older")
    speech.frame(pcm(20), 0.2)
    assert write(speech, 0.2) == []


@pytest.mark.parametrize(
    ("gap_s", "is_spoken"), [(STALE_PAUSE_S + 0.05, True), (0.2, False)]
)
def test_a_pause_ends_the_fence_of_frames_without_turn_or_request(
    gap_s, is_spoken, speech
):
    """A speech-to-speech model answers quickly, and announces nothing."""
    speech.frame(pcm(300), 0.0)
    write(speech)
    speech.flush(0.1)
    speech.frame(pcm(20), 0.15)
    audio = b""
    for index in range(5):
        audio += pcm(30)
        speech.frame(audio[-30 * BYTES_PER_MS :], 0.15 + gap_s + index / 100)
    steps = write(speech, 0.6)
    assert audio_of(steps) == (audio if is_spoken else b"")


def test_a_pause_in_a_request_ends_no_fence():
    """It is announced: its end will be, too."""
    speech = flushed(None)
    speech.frame(pcm(20), 0.1 + STALE_LIMIT_S - 0.1)
    assert write(speech, 1.0) == []
    speech.frame(pcm(20), 0.1 + STALE_LIMIT_S)
    assert audio_of(write(speech, 1.1)) != b""


@pytest.mark.parametrize("announced", [False, True])
def test_what_timed_out_has_not_ended_for_a_flush(announced, speech):
    """The rest trails in behind a flush in the pause, without turn ids."""
    if announced:
        speech.start(0.0)
    speech.frame(pcm(1000), 0.0)
    write(speech)
    speech.tick(1.5)
    write(speech, 1.5)
    speech.flush(1.8)
    assert write(speech, 1.8) == [Interrupt()]
    for index in range(35):
        speech.frame(pcm(10), 1.9 + index / 100)
    assert write(speech, 2.3) == []
    assert speech.totals.flushed == 350 * BYTES_PER_MS // 2


# Ends of other requests


@pytest.mark.parametrize("cut", [True, False])
def test_an_end_of_another_request_does_not_touch_the_open_one(cut, speech):
    """It came late; its metadata may name no turn."""
    speech.start(0.0, SECOND, NEW_ID)
    first = pcm(1000)
    speech.frame(first, 0.0, SECOND)
    assert not speech.end(0.5, None, cut, CUT_ID)
    second = pcm(1000)
    speech.frame(second, 0.6, SECOND)
    speech.end(0.7, SECOND, request_id=NEW_ID)
    steps = write(speech, 0.7)
    assert audio_of(steps) == first + second
    assert ends_of(steps) == 1


def test_a_request_that_the_tts_replaces_does_not_condemn_its_turn(speech):
    """The reason 2 comes without a barge-in, and the next with one turn."""
    speech.start(0.0, FIRST, CUT_ID)
    speech.frame(pcm(500), 0.0, FIRST)
    write(speech)
    assert speech.end(0.1, FIRST, cut=True, request_id=CUT_ID)
    audio = say(speech, 0.2, FIRST, NEW_ID)
    steps = write(speech, 0.2)
    assert steps[0] == Interrupt()
    assert audio_of(steps) == audio


def test_a_start_of_another_request_ends_the_open_one(speech):
    """Its own end never comes: the next is no part of it."""
    speech.start(0.0, FIRST, CUT_ID)
    speech.frame(pcm(100), 0.0, FIRST)
    speech.start(0.5, FIRST, NEW_ID)
    speech.frame(pcm(100), 0.5, FIRST)
    speech.end(0.6, FIRST, request_id=NEW_ID)
    assert ends_of(write(speech, 0.6)) == 2
    speech.tick(10.0)
    assert [one.request_id for one in summaries_of(speech)] == [CUT_ID, NEW_ID]


def test_a_repeated_start_of_the_open_request_does_not_end_it(speech):
    """One request is one utterance."""
    speech.start(0.0, FIRST, CUT_ID)
    speech.frame(pcm(100), 0.0, FIRST)
    speech.start(0.1, FIRST, CUT_ID)
    speech.frame(pcm(100), 0.1, FIRST)
    speech.end(0.2, FIRST, request_id=CUT_ID)
    assert ends_of(write(speech, 0.2)) == 1
