"""The pace of the TTS, the prebuffer, and the stop."""

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.events import LOST, SlowDelivery
from speaking import BYTES_PER_MS, TURN, Speaking, audio_of, pcm


def deliver(speaking: Speaking, ms: int, pace: float, turn=None) -> bytes:
    """Have an utterance come in at a pace, in frames of 10 ms."""
    audio = b""
    for _ in range(ms // 10):
        frame = pcm(10)
        audio += frame
        speaking.speech.frame(frame, speaking.now, turn)
        speaking.write()
        speaking.wait(0.01 / pace)
    speaking.speech.end(speaking.now, turn)
    speaking.write()
    return audio


@pytest.mark.parametrize("pace", [0.5, 1.0, 5.0, 20.0])
def test_the_pace_of_the_tts_is_measured(pace, speaking):
    """In seconds of audio a second."""
    deliver(speaking, 2000, pace)
    speaking.wait(10.0)
    assert speaking.summary().delivery_pace == pytest.approx(pace, rel=0.01)


def test_what_comes_at_once_has_no_pace(speaking):
    """A single frame, or several in one moment."""
    speaking.speak(1000, end=False)
    speaking.speak(1000)
    speaking.write()
    speaking.wait(5.0)
    assert speaking.summary().delivery_pace is None
    assert speaking.reports(SlowDelivery) == []


def test_a_slow_tts_is_reported_once_an_episode(speaking):
    """Until an utterance is faster again; a short one says nothing."""
    reported = []
    for pace, ms in [(1, 2000), (0.9, 2000), (1, 500), (5, 2000), (1, 2000)]:
        deliver(speaking, ms, pace)
        reported.append(len(speaking.reports(SlowDelivery)))
    assert reported == [1, 1, 1, 1, 2]
    assert speaking.reports(SlowDelivery)[0].pace == pytest.approx(1.0)


def test_a_pause_in_a_request_does_not_make_its_tts_slow():
    """A tool was called meanwhile."""
    speaking = Speaking(end_timeout_s=1.5)
    speaking.speak(2000, end=False, turn=TURN, request_id="tts")
    speaking.write()
    speaking.wait(10.0)
    speaking.write()
    speaking.speech.frame(pcm(1000), speaking.now, TURN)
    speaking.speech.end(speaking.now, TURN)
    assert speaking.reports(SlowDelivery) == []


@pytest.mark.parametrize("request_id", ["", "tts"])
def test_a_summary_names_the_request_of_the_tts(request_id, speaking):
    """As the metrics of the TTS do; the service's is another."""
    speaking.speak(100, request_id=request_id)
    speaking.write("r")
    speaking.wait(5.0)
    summary = speaking.summary()
    assert (summary.request_id, summary.req_id) == (request_id, "r")


def test_a_summary_names_a_request_that_its_end_names(speaking):
    """Though its start and end are reported under the service's."""
    speaking.speak(100, end=False)
    speaking.write("r")
    speaking.speech.end(speaking.now, request_id="tts")
    speaking.write("r")
    speaking.wait(5.0)
    assert speaking.summary().request_id == "tts"
    assert speaking.starts[0].request_id == speaking.end().request_id == "r"


# The prebuffer


def test_a_prebuffer_is_collected_before_the_first_byte():
    """The delay of the first audio counts it."""
    speaking = Speaking(prebuffer_ms=500)
    audio = speaking.speak(490, end=False, turn=TURN)
    assert not speaking.speech.avatar.has_step
    assert speaking.write() == []
    speaking.wait(0.3)
    audio += speaking.speak(10, end=False, turn=TURN)
    assert audio_of(speaking.write()) == audio
    frame = speaking.speak(10, turn=TURN)
    assert audio_of(speaking.write()) == frame
    speaking.wait(5.0)
    assert speaking.summary().first_audio_delay_ms == pytest.approx(300)


@pytest.mark.parametrize("by_timeout", [True, False])
def test_the_end_of_speech_ends_a_prebuffer(by_timeout):
    """An utterance may be shorter."""
    speaking = Speaking(prebuffer_ms=500, end_timeout_s=1.5)
    audio = speaking.speak(100, end=False, turn=TURN, request_id="tts")
    assert speaking.write() == []
    if by_timeout:
        speaking.wait(1.5)
    else:
        speaking.speech.end(speaking.now, TURN)
    assert audio_of(speaking.write()) == audio


def test_a_flush_drops_a_prebuffer():
    """Nothing is interrupted, and the next answer has its own."""
    speaking = Speaking(prebuffer_ms=500)
    speaking.speak(400, end=False, turn=TURN)
    speaking.speech.flush(speaking.now)
    assert speaking.write() == []
    speaking.speak(400, end=False)
    assert speaking.write() == []
    speaking.check_sum()


@pytest.mark.parametrize("turn", [TURN, None])
def test_a_turn_that_plays_has_no_prebuffer(turn):
    """Its next sentence follows at once."""
    speaking = Speaking(prebuffer_ms=500)
    speaking.speak(1000, turn=turn)
    speaking.write()
    audio = speaking.speak(10, end=False, turn=turn)
    assert audio_of(speaking.write()) == audio


def test_a_prebuffer_is_never_larger_than_the_room():
    """It would never be full."""
    speaking = Speaking(prebuffer_ms=500, max_buffered_s=0.1)
    audio = speaking.speak(200, end=False)
    assert audio_of(speaking.write()) == audio[: 100 * BYTES_PER_MS]


def test_what_is_resumed_needs_no_prebuffer():
    """Its first byte has been written."""
    speaking = Speaking(prebuffer_ms=500, rewind_s=0.0)
    audio = speaking.speak(600, end=False)
    speaking.write("first")
    speaking.wait(0.5)
    speaking.lose()
    assert audio_of(speaking.write("second")) == audio[500 * BYTES_PER_MS :]


# The stop


def test_what_waits_at_a_stop_has_a_reason_of_its_own(speaking):
    """It was not refused for want of room; nor is later audio."""
    speaking.speak(1000, end=False)
    speaking.write("r", most=5)
    speaking.speech.close(speaking.now)
    summary = speaking.summary()
    assert (summary.sent_ms, summary.stopped_ms) == (500, 500)
    assert (summary.refused_ms, summary.dropped_ms) == (0, 500)
    assert speaking.end().reason == LOST
    speaking.speech.frame(pcm(100), speaking.now)
    assert speaking.speech.totals.stopped == 600 * BYTES_PER_MS // 2
    speaking.check_sum()


def test_what_a_failed_avatar_cannot_say_is_refused(speaking):
    """There is no voice, either."""
    speaking.speak(1000)
    speaking.speech.give_up(speaking.now)
    speaking.speech.frame(pcm(100), speaking.now)
    assert speaking.speech.totals.refused == 1100 * BYTES_PER_MS // 2
    assert speaking.next() is None
    speaking.check_sum()


def test_a_voice_that_takes_audio_refuses_none():
    """It speaks in the avatar's place: the bound is for waiting audio."""
    speaking = Speaking(max_buffered_s=1.0)
    speaking.speak(100)
    speaking.say()
    audio = speaking.speak(5000)
    assert audio_of(speaking.say()) == audio
    speaking.speech.flush(speaking.now)
    assert not any(isinstance(step, Interrupt) for step in speaking.write())
    assert speaking.speech.totals.refused == 0
