"""The voice speaks while the avatar cannot: one output at a time."""

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.events import CUT, LOST, PLAYED
from spatius_avatar_python.speech.playout import END_MARGIN_S
from speaking import TURN, Speaking, audio_of
from speech_steps import BYTES_PER_MS

FRAME_BYTES = 10 * BYTES_PER_MS


def test_the_voice_says_all_of_an_utterance(speaking):
    """In frames of 10 ms, and the last one with the rest."""
    audio = speaking.speak(35, turn=TURN)
    said = speaking.say()
    assert audio_of(said) == audio
    sizes = [len(say.audio) for say in said]
    assert sizes == [FRAME_BYTES] * 3 + [FRAME_BYTES // 2]
    assert {say.utterance.turn for say in said} == {TURN}


def test_a_frame_waits_until_it_is_full(speaking):
    """The end of speech does not wait for it."""
    speaking.speak(15, end=False)
    assert len(speaking.say()) == 1
    speaking.speech.end(speaking.now)
    assert len(speaking.say()) == 1


def test_what_the_voice_said_is_counted_and_reported(speaking):
    """One start, one end, and `voice_ms`."""
    speaking.speak(1000, turn=TURN, request_id="tts")
    speaking.wait(0.7)
    speaking.say()
    speaking.wait(5.0)
    assert [start.request_id for start in speaking.starts] == ["tts"]
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (PLAYED, 1000)
    summary = speaking.summary()
    assert (summary.voice_ms, summary.sent_ms) == (1000, 0)
    assert summary.voice_heard_ms == 1000
    assert summary.first_audio_delay_ms == pytest.approx(700)


def test_an_id_that_comes_after_the_start_does_not_part_start_and_end(speaking):
    """Both have the one that the utterance was given at its start."""
    speaking.speak(1000, end=False)
    speaking.say()
    speaking.speech.end(speaking.now, request_id="tts")
    speaking.say()
    speaking.wait(5.0)
    (start,), end = speaking.starts, speaking.end()
    assert start.request_id == end.request_id == "voice-1"


def test_each_utterance_of_the_voice_has_an_id_of_its_own(speaking):
    """Where the TTS gives none: the voice has no requests."""
    for request_id in ("", "tts", ""):
        speaking.speak(1000, request_id=request_id)
        speaking.say()
        speaking.wait(5.0)
    ids = ["voice-1", "tts", "voice-2"]
    assert [start.request_id for start in speaking.starts] == ids
    assert [end.request_id for end in speaking.ends] == ids


def test_the_id_of_the_voice_is_kept_where_the_avatar_takes_part(speaking):
    """Later: start and end name one utterance."""
    speaking.speak(1000)
    speaking.say(most=50)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.voice_failed(say)
    speaking.write("request")
    speaking.wait(5.0)
    (start,), end = speaking.starts, speaking.end()
    assert start.request_id == end.request_id == "voice-1"
    assert speaking.summary().req_id == "request"


def test_the_voice_keeps_the_id_of_the_avatars_request(speaking):
    """Speech that the avatar began and the voice goes on with is one
    utterance."""
    speaking.speak(1000)
    speaking.write("request", most=1)
    speaking.lose()
    speaking.say()
    speaking.wait(5.0)
    (start,), end = speaking.starts, speaking.end()
    assert start.request_id == end.request_id == "request"


def test_the_voice_goes_on_where_the_listener_was(speaking):
    """The avatar's speech is not said again, but for the rewind."""
    audio = speaking.speak(5000)
    speaking.write()
    speaking.wait(2.0)
    speaking.lose()
    assert audio_of(speaking.say()) == audio[1500 * BYTES_PER_MS :]
    speaking.wait(10.0)
    assert len(speaking.starts) == len(speaking.ends) == 1
    summary = speaking.summary()
    assert (summary.sent_ms, summary.voice_ms) == (2000, 3000)
    assert (summary.resent_ms, summary.lost_ms) == (3500, 0)


def test_an_utterance_stays_with_the_voice_to_its_end(speaking):
    """The avatar is back, and takes the next one."""
    speaking.speak(1000, end=False)
    assert len(speaking.say(most=10)) == 10
    assert speaking.speech.has_voice_step(may_begin=False)
    assert speaking.write() == []
    speaking.speak(100)
    assert speaking.write() == []
    assert len(speaking.say()) == 100
    assert not speaking.speech.has_voice_step(may_begin=False)


def test_the_avatar_waits_until_the_voice_has_been_heard(speaking):
    """One output at a time."""
    speaking.speak(1000)
    speaking.say()
    audio = speaking.speak(1000)
    speaking.wait(0.9)
    assert speaking.write() == []
    speaking.wait(0.2 + END_MARGIN_S)
    assert audio_of(speaking.write()) == audio


def test_the_voice_waits_until_the_avatar_has_been_heard(speaking):
    """A session that still plays is not drowned out."""
    speaking.speak(1000)
    speaking.write()
    audio = speaking.speak(1000)
    speaking.wait(0.9)
    assert speaking.say() == []
    speaking.wait(0.2 + END_MARGIN_S)
    assert audio_of(speaking.say()) == audio


def test_the_voice_does_not_enter_an_open_request(speaking):
    """The avatar has begun the utterance, and its session lives."""
    speaking.speak(100, end=False)
    speaking.write()
    speaking.wait(5.0)
    speaking.speak(100, end=False)
    assert speaking.say() == []


def test_the_voice_waits_for_a_call_in_flight(speaking):
    """Audio that the avatar's writer holds may still be heard."""
    speaking.speak(100)
    assert speaking.next() is not None
    assert speaking.say() == []


def test_the_voice_speaks_at_once_after_a_loss(speaking):
    """No audio of the avatar is heard any more."""
    speaking.speak(5000)
    speaking.write()
    speaking.wait(1.0)
    speaking.lose()
    assert speaking.say(most=1) != []


def test_what_the_voice_takes_is_not_stale(speaking):
    """It is said within the time, and goes on after it."""
    speaking.speak(30_000)
    speaking.write()
    speaking.lose()
    speaking.wait(14.0)
    speaking.say(most=100)
    speaking.wait(2.0)
    speaking.say()
    speaking.wait(60.0)
    assert speaking.summary().lost_ms == 0


# Barge-in


def test_a_flush_cuts_the_voice(speaking):
    """Heard audio counts, waiting audio is flushed."""
    speaking.speak(1000, turn=TURN)
    speaking.say(most=50)
    speaking.wait(0.2)
    speaking.speech.flush(speaking.now)
    assert speaking.say() == []
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (CUT, 200)
    summary = speaking.summary()
    assert (summary.voice_ms, summary.flushed_ms) == (500, 500)
    assert summary.voice_heard_ms == 200


def test_a_flush_of_the_voice_interrupts_no_request(speaking):
    """The avatar has nothing to interrupt, and may speak at once."""
    speaking.speak(1000)
    speaking.say()
    speaking.wait(0.1)
    speaking.speech.flush(speaking.now)
    audio = speaking.speak(100)
    steps = speaking.write()
    assert not any(isinstance(step, Interrupt) for step in steps)
    assert audio_of(steps) == audio


def test_a_flush_makes_the_voices_turn_stale(speaking):
    """Its late frames are not heard."""
    speaking.speak(1000, turn=TURN)
    speaking.say()
    speaking.speech.flush(speaking.now)
    speaking.speak(100, turn=TURN)
    assert speaking.say() == []


@pytest.mark.parametrize("is_said", [True, False])
def test_a_flush_while_the_voice_holds_a_frame(is_said, speaking):
    """It counts when its outcome is known."""
    speaking.speak(100)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.flush(speaking.now)
    assert not speaking.summaries
    if is_said:
        speaking.speech.said(say, speaking.now)
    else:
        speaking.speech.voice_failed(say)
    summary = speaking.summary()
    assert summary.voice_ms == (10 if is_said else 0)
    assert summary.voice_ms + summary.flushed_ms == 100
    assert speaking.speech.totals.waiting == 0
    assert speaking.speech.is_idle(speaking.now)


def test_the_stop_while_the_voice_holds_a_frame(speaking):
    """It is not waited for; it counts as stopped."""
    speaking.speak(100)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.close(speaking.now)
    speaking.speech.said(say, speaking.now)
    assert speaking.summary().stopped_ms == 100
    assert speaking.speech.totals.waiting == 0


def test_the_stop_ends_the_voice_as_lost(speaking):
    """Audio said and not heard yet is not in its position."""
    speaking.speak(1000)
    speaking.say()
    speaking.wait(0.3)
    speaking.speech.close(speaking.now)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (LOST, 300)


# No voice


def test_without_a_voice_the_audio_is_put_back(speaking):
    """The avatar says all of it, later."""
    audio = speaking.speak(1000)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.voice_failed(say)
    assert not speaking.speech.has_voice_step(may_begin=False)
    assert audio_of(speaking.write()) == audio


def test_without_a_voice_a_rewound_utterance_is_still_rewound():
    """The frame goes back in front of the resumed audio."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(1000)
    speaking.write("first")
    speaking.wait(0.5)
    speaking.lose()
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.voice_failed(say)
    rest = audio[500 * BYTES_PER_MS :]
    assert audio_of(speaking.write("second")) == rest
    speaking.wait(5.0)
    summary = speaking.summary()
    assert (summary.sent_ms, summary.voice_ms) == (1000, 0)


def test_a_voice_that_ends_in_mid_utterance_leaves_the_rest():
    """The avatar goes on where it stopped, with the same start and end, and
    its losses are not taken from the voice's audio."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(1000)
    speaking.say(most=50)
    speaking.wait(0.1)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.voice_failed(say)
    rest = audio[500 * BYTES_PER_MS :]
    assert audio_of(speaking.write("first")) == rest
    speaking.lose()
    assert audio_of(speaking.write("second")) == rest
    speaking.wait(5.0)
    summary = speaking.summary()
    assert (summary.voice_ms, summary.sent_ms) == (500, 500)
    assert summary.lost_ms == 0
    assert len(speaking.starts) == len(speaking.ends) == 1
