"""The playout clock: the listener's position, and the reports."""

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.events import CUT, LOST, PLAYED, SpeechLost
from spatius_avatar_python.speech.playout import (
    END_MARGIN_S,
    PLAYBACK_MARGIN_S,
    SIGNALLED_MARGIN_S,
)
from speaking import BYTES_PER_MS, TURN, Speaking, audio_of, pcm


def position_ms(speaking: Speaking) -> float:
    """Return how much has been heard of the playing audio, by cutting it."""
    speaking.speech.flush(speaking.now)
    return speaking.ends[-1].playback_position_ms


# The estimate


def test_an_utterance_plays_in_real_time_from_its_first_byte(speaking):
    """The lead of the TTS does not count as heard."""
    speaking.speak(10_000, end=False)
    speaking.write()
    speaking.wait(3.0)
    assert position_ms(speaking) == 3000


def test_utterances_are_heard_one_behind_the_other(speaking):
    """The second begins when the first has been heard for sure."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write()
    speaking.wait(1.0)
    assert (len(speaking.starts), len(speaking.ends)) == (1, 0)
    speaking.wait(END_MARGIN_S)
    assert (len(speaking.starts), len(speaking.ends)) == (2, 1)
    assert position_ms(speaking) == 300


def test_what_a_slow_source_leaves_silent_is_not_heard(speaking):
    """The clock stands still while there is no audio to play."""
    speaking.speak(200, end=False)
    speaking.write()
    speaking.wait(2.0)
    speaking.speak(200, end=False)
    speaking.write()
    speaking.wait(0.1)
    assert position_ms(speaking) == 300


def test_no_more_is_heard_than_was_written(speaking):
    """An open utterance that falls silent stays where it is."""
    speaking.speak(200, end=False)
    speaking.write()
    speaking.wait(60.0)
    assert position_ms(speaking) == 200


@pytest.mark.parametrize("frame_ms", [1, 7, 10, 33])
def test_rounding_loses_no_sample(frame_ms, speaking):
    """The position at the end is exactly the end of the audio."""
    for _ in range(30):
        speaking.speak(frame_ms, end=False)
        speaking.write()
        speaking.wait(frame_ms / 1000)
    speaking.wait(1.0)
    assert position_ms(speaking) == 30 * frame_ms


# Playback signals


def test_a_start_that_comes_late_delays_all(speaking):
    """The utterance began when the service says, and so did the next."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write("first", most=10)
    speaking.write("second")
    speaking.wait(0.5)
    speaking.speech.playback("first", "playing", None, "", speaking.now)
    speaking.wait(0.9)
    assert not speaking.ends
    speaking.wait(0.6)
    assert len(speaking.ends) == 1
    assert position_ms(speaking) == 500


def test_a_start_that_comes_late_delays_each_of_those_behind(speaking):
    """By as much, one after the other."""
    for _ in range(3):
        speaking.speak(1000)
    speaking.write("first", most=10)
    speaking.write("others")
    speaking.wait(0.5)
    speaking.speech.playback("first", "playing", None, "", speaking.now)
    speaking.wait(2.4)
    assert (len(speaking.starts), len(speaking.ends)) == (3, 2)
    assert position_ms(speaking) == 400


@pytest.mark.parametrize("delay_s", [3.5, 5.0])
def test_a_service_that_begins_seconds_late_is_believed(delay_s, speaking):
    """Its audio is audible, and counts, from then on."""
    speaking.speak(6000)
    speaking.write()
    speaking.wait(delay_s)
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    speaking.wait(5.0)
    assert not speaking.ends
    assert position_ms(speaking) == 5000
    assert speaking.end().reason == CUT
    assert speaking.write() == [Interrupt()]


def test_a_start_that_comes_twice_counts_once(speaking):
    """The second one says that it goes on."""
    speaking.speak(10_000)
    speaking.write()
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    speaking.wait(2.0)
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    assert position_ms(speaking) == 2000


def test_a_start_of_the_second_ends_the_first(speaking):
    """One is heard behind the other: the estimate of the first is wrong."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write("first", most=10)
    speaking.write("second")
    speaking.wait(0.8)
    speaking.speech.playback("second", "playing", None, "", speaking.now)
    speaking.wait(END_MARGIN_S)
    assert speaking.end().reason == PLAYED
    assert speaking.end().source == "service"
    speaking.wait(0.5 - END_MARGIN_S)
    assert position_ms(speaking) == 500


def test_an_early_end_does_not_move_a_signal(speaking):
    """The second began at the service's signal, for any later one
    of the first."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write("first", most=10)
    speaking.write("second")
    speaking.wait(0.8)
    speaking.speech.playback("second", "playing", None, "", speaking.now)
    speaking.wait(0.1)
    speaking.speech.playback("first", "ended", None, "", speaking.now)
    speaking.wait(0.4)
    assert position_ms(speaking) == 500


@pytest.mark.parametrize("at_s", [0.4, 1.2])
def test_an_end_early_or_late_is_the_truth(at_s, speaking):
    """The service knows when its playout ended."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(at_s)
    assert not speaking.ends
    speaking.speech.playback("r", "ended", None, "", speaking.now)
    end = speaking.end()
    assert (end.reason, end.source) == (PLAYED, "service")
    assert end.playback_position_ms == end.total_ms == 1000


def test_an_end_that_comes_twice_counts_once(speaking):
    """The second one has no effect."""
    speaking.speak(1000)
    speaking.write()
    speaking.speech.playback("r", "ended", None, "", speaking.now)
    speaking.speech.playback("r", "ended", None, "", speaking.now)
    assert len(speaking.ends) == len(speaking.summaries) == 1


def test_an_end_before_ours_is_written_says_nothing(speaking):
    """More of the request is to come."""
    speaking.speak(1000, end=False)
    speaking.write()
    speaking.wait(0.5)
    speaking.speech.playback("r", "ended", None, "", speaking.now)
    assert not speaking.ends
    assert position_ms(speaking) == 500


@pytest.mark.parametrize("req_id", ["", "foreign"])
@pytest.mark.parametrize("state", ["playing", "ended"])
def test_signals_of_foreign_requests_say_nothing(req_id, state, speaking):
    """The clock stays an estimate."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(0.5)
    speaking.speech.playback(req_id, state, None, "", speaking.now)
    speaking.speech.playback(req_id, "playing", 900.0, "", speaking.now)
    assert position_ms(speaking) == 500
    assert speaking.end().source == "estimate"


def test_signals_of_an_older_connection_say_nothing(speaking):
    """Its audio is played again under another request."""
    speaking.speak(1000)
    speaking.write("first")
    speaking.lose()
    speaking.write("second")
    speaking.speech.playback("first", "ended", None, "", speaking.now)
    assert not speaking.ends
    speaking.wait(0.5)
    assert position_ms(speaking) == 500


def test_a_position_is_the_truth(speaking):
    """The service's position corrects the estimate."""
    speaking.speak(10_000)
    speaking.write()
    speaking.wait(2.0)
    speaking.speech.playback("r", "playing", 1200.0, "", speaking.now)
    speaking.wait(0.3)
    assert position_ms(speaking) == 1500
    assert speaking.end().source == "service"


def test_a_position_of_nothing_does_not_say_that_it_plays(speaking):
    """The one before is not ended by it."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write("first", most=10)
    speaking.write("second")
    speaking.speech.playback("second", "paused", 0.0, "", speaking.now)
    assert not speaking.ends


def test_the_position_does_not_go_back(speaking):
    """Heard audio stays heard, for any later signal."""
    speaking.speak(10_000)
    speaking.write(most=100)
    speaking.wait(2.0)
    speaking.lose()  # 2000 ms have been heard
    speaking.write("second")
    speaking.speech.playback("second", "playing", 10.0, "", speaking.now)
    assert position_ms(speaking) == 2000


def test_an_estimate_waits_a_margin_before_the_end(speaking):
    """The listener hears it a little later than it was written."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(1.0 + END_MARGIN_S - 0.01)
    assert not speaking.ends
    speaking.wait(0.02)
    assert speaking.end().source == "estimate"


# One start and one end


def test_a_start_is_reported_with_the_first_byte(speaking):
    """It does not wait for a signal."""
    speaking.speak(1000, turn=TURN, request_id="tts")
    assert not speaking.starts
    speaking.write(most=1)
    (start,) = speaking.starts
    assert (start.turn, start.request_id) == (TURN, "tts")


def test_without_an_id_of_the_tts_it_is_the_requests(speaking):
    """An end that names another one later does not part them."""
    speaking.speak(1000, end=False)
    speaking.write("request")
    speaking.speech.end(speaking.now, request_id="tts")
    speaking.write("request")
    speaking.wait(5.0)
    assert speaking.starts[0].request_id == "request"
    assert speaking.end().request_id == "request"


def test_an_id_that_comes_with_the_end_counts_before_the_start(speaking):
    """Speech that waits for a session has its TTS's id."""
    speaking.speak(1000, end=False)
    speaking.speech.end(speaking.now, request_id="tts")
    speaking.write("request")
    assert speaking.starts[0].request_id == "tts"


def test_an_id_names_no_speech_after_its_request(speaking):
    """Not even where the TTS names the turn at the end only."""
    speaking.speech.start(speaking.now, request_id="first")
    speaking.speak(1000, turn=TURN, end=False)
    speaking.speech.end(speaking.now, TURN, request_id="first")
    speaking.write("request")
    speaking.wait(2.0)
    speaking.speak(1000)
    speaking.write("another")
    assert [start.request_id for start in speaking.starts] == [
        "first",
        "another",
    ]


def test_a_flush_ends_audible_speech_as_cut(speaking):
    """And reports how much of it was heard."""
    speaking.speak(5000)
    speaking.write()
    speaking.wait(1.0)
    speaking.speech.flush(speaking.now)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (CUT, 1000)
    assert end.total_ms == 5000


def test_a_flush_reports_nothing_that_was_never_heard(speaking):
    """The second utterance has neither a start nor an end."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write()
    speaking.wait(0.5)
    speaking.speech.flush(speaking.now)
    assert len(speaking.starts) == len(speaking.ends) == 1


def test_what_was_heard_before_its_start_was_reported_has_both(speaking):
    """A flush just after the first utterance's estimated end."""
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write()
    speaking.wait(1.1)
    speaking.speech.flush(speaking.now)
    assert len(speaking.starts) == 2
    assert [end.reason for end in speaking.ends] == [PLAYED, CUT]
    assert speaking.ends[1].playback_position_ms == 100


def test_a_loss_without_resumption_ends_it_as_lost():
    """And reports how much of it was heard."""
    speaking = Speaking(within_s=0)
    speaking.speak(5000)
    speaking.write()
    speaking.wait(2.0)
    speaking.lose()
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (LOST, 2000)


def test_the_stop_ends_it_as_lost(speaking):
    """The rest will not be heard."""
    speaking.speak(5000, end=False)
    speaking.write()
    speaking.wait(2.0)
    speaking.speech.close(speaking.now)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (LOST, 2000)
    assert len(speaking.summaries) == 1


def test_the_stop_after_a_loss_ends_it_as_lost(speaking):
    """Audio to be said again counts as sent: the stop cuts it off."""
    speaking.speak(5000)
    speaking.write()
    speaking.wait(2.0)
    speaking.lose()
    speaking.speech.close(speaking.now)
    assert speaking.end().reason == LOST
    summary = speaking.summary()
    assert (summary.sent_ms, summary.lost_ms) == (5000, 0)
    assert summary.refused_ms == 0
    speaking.check_sum()


def test_an_utterance_that_overflowed_does_not_end_as_played():
    """The listener missed its refused part."""
    speaking = Speaking(max_buffered_s=1.0)
    speaking.speak(3000)
    speaking.write()
    speaking.wait(5.0)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (LOST, 1000)
    assert end.total_ms == 3000


def test_an_utterance_of_which_nothing_was_accepted_is_not_heard():
    """It has neither a start nor an end."""
    speaking = Speaking(max_buffered_s=1.0)
    speaking.speak(1000)
    speaking.speak(1000)
    speaking.write()
    speaking.wait(5.0)
    assert len(speaking.starts) == len(speaking.ends) == 1


def test_audio_that_comes_after_a_flush_is_not_heard(speaking):
    """The rest of a cut utterance is dropped without a report."""
    speaking.speak(1000, end=False, turn=TURN)
    speaking.write()
    speaking.speech.flush(speaking.now)
    speaking.speech.frame(pcm(100), speaking.now, TURN)
    assert speaking.write()  # the interrupt
    speaking.wait(5.0)
    assert len(speaking.starts) == len(speaking.ends) == 1


def test_what_was_cut_during_its_first_call_is_not_reported(speaking):
    """It was interrupted before a byte of it was heard."""
    speaking.speak(50)
    assert speaking.next()
    speaking.speech.flush(speaking.now)
    speaking.written("r")
    speaking.wait(5.0)
    assert not speaking.starts
    assert not speaking.ends
    assert speaking.summary().sent_ms == 50


def test_a_long_utterance_keeps_only_audio_for_a_resumption(speaking):
    """A TTS in real time does not fill the memory."""
    for _ in range(600):
        speaking.speak(100, end=False)
        speaking.write()
        speaking.wait(0.1)
    assert 0.5 < speaking.speech.kept_s < 8.0


# The service's word


def test_a_request_signalled_as_playing_is_audible(speaking):
    """Its end was estimated and reported; a flush still interrupts it."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(5.0)
    assert speaking.end().reason == PLAYED
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    speaking.wait(20.0)
    speaking.speech.flush(speaking.now)
    assert speaking.write() == [Interrupt()]


@pytest.mark.parametrize("state", ["ended", "interrupted", "paused"])
def test_what_is_signalled_as_ended_is_not_audible(state, speaking):
    """A flush a moment later sends no interrupt."""
    speaking.speak(1000)
    speaking.write()
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    speaking.wait(1.4)
    speaking.speech.playback("r", state, None, "", speaking.now)
    speaking.wait(PLAYBACK_MARGIN_S)
    speaking.speech.flush(speaking.now)
    assert speaking.write() == []


def test_a_signalled_end_needs_a_smaller_margin(speaking):
    """The session may be closed soon after it."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(1.0)
    speaking.speech.playback("r", "ended", None, "", speaking.now)
    speaking.wait(SIGNALLED_MARGIN_S)
    assert speaking.speech.is_idle(speaking.now)


@pytest.mark.parametrize("after_s", [0.5, 2.9])
def test_without_signals_a_flush_soon_after_the_end_interrupts(
    after_s, speaking
):
    """The service may have begun late: one needless interrupt at most."""
    speaking.speak(5000)
    speaking.write()
    speaking.wait(5.0 + after_s)
    speaking.speech.flush(speaking.now)
    assert speaking.write() == [Interrupt()]
    speaking.speech.flush(speaking.now)
    assert speaking.write() == []


def test_the_latency_of_playback_is_measured(speaking):
    """From the first audio written to the service's word."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(0.25)
    speaking.speech.playback("r", "playing", None, "", speaking.now)
    speaking.wait(5.0)
    assert speaking.summary().playback_latency_ms == pytest.approx(250)


def test_a_position_tells_the_latency_too(speaking):
    """By as much as was played then, it began earlier."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(0.5)
    speaking.speech.playback("r", "playing", 300.0, "", speaking.now)
    speaking.wait(5.0)
    assert speaking.summary().playback_latency_ms == pytest.approx(200)


def test_without_signals_no_latency_is_known(speaking):
    """An estimate is no measurement."""
    speaking.speak(1000)
    speaking.write()
    speaking.wait(5.0)
    assert speaking.summary().playback_latency_ms is None


# Parts that the listener missed


def test_what_was_lost_is_not_reported_as_played():
    """The agent must not take unheard speech for said."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=0.0)
    for _ in range(8):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.speech.end(speaking.now)
    speaking.write("first")
    speaking.lose()
    speaking.write("second")
    speaking.wait(20.0)
    assert (speaking.end().reason, speaking.summary().lost_ms) == (LOST, 3000)
    (lost,) = speaking.reports(SpeechLost)
    assert lost.lost_s == pytest.approx(3.0)


# Pauses of a request that was announced


def announced(speaking: Speaking, ms: float) -> bytes:
    return speaking.speak(ms, end=False, turn=TURN, request_id="tts")


@pytest.mark.parametrize("pauses_s", [[2.0], [2.0, 30.0, 5.0]])
def test_a_request_is_one_pair_with_any_pauses(pauses_s):
    """The service gets its end at each; the position goes on."""
    speaking = Speaking(end_timeout_s=1.5)
    announced(speaking, 1000)
    ends = sum(step.end for step in speaking.write("r0"))
    for index, pause_s in enumerate(pauses_s):
        speaking.wait(pause_s)
        ends += sum(step.end for step in speaking.write("r0"))
        assert ends == index + 1
        speaking.wait(1.0)
        assert not speaking.ends
        speaking.speech.frame(pcm(1000), speaking.now, TURN)
        speaking.write(f"r{index + 1}")
    speaking.speech.end(speaking.now, TURN, request_id="tts")
    speaking.write("last")
    speaking.wait(5.0)
    (start,), end = speaking.starts, speaking.end()
    assert start.request_id == end.request_id == "tts"
    total_ms = 1000 * (len(pauses_s) + 1)
    assert (end.reason, end.playback_position_ms) == (PLAYED, total_ms)
    assert speaking.summary().sent_ms == total_ms


@pytest.mark.parametrize("ended_by", ["end", "start", "flush", "stop", "time"])
def test_a_pause_ends_with_its_request(ended_by):
    """Or with the next one, a flush, the stop, or after a minute."""
    speaking = Speaking(end_timeout_s=1.5)
    announced(speaking, 1000)
    speaking.write()
    speaking.wait(5.0)
    speaking.write()
    assert not speaking.ends
    if ended_by == "end":
        speaking.speech.end(speaking.now, TURN, request_id="tts")
    elif ended_by == "start":
        speaking.speech.start(speaking.now, TURN, "next")
    elif ended_by == "flush":
        speaking.speech.flush(speaking.now)
    elif ended_by == "stop":
        speaking.speech.close(speaking.now)
    else:
        speaking.wait(60.0)
    end = speaking.end()
    assert end.playback_position_ms == 1000
    reasons = {"flush": CUT, "stop": LOST}
    assert end.reason == reasons.get(ended_by, PLAYED)
    assert speaking.write() == []
    speaking.summary()


def test_a_session_may_be_renewed_in_a_pause():
    """No audio is said, waits or plays."""
    speaking = Speaking(end_timeout_s=1.5)
    announced(speaking, 1000)
    speaking.write()
    speaking.wait(5.0)
    speaking.write()
    assert speaking.speech.is_idle(speaking.now)
    assert speaking.speech.next_sample_rate is None
    speaking.lose()
    audio = pcm(500)
    speaking.speech.frame(audio, speaking.now, TURN)
    assert not speaking.speech.is_idle(speaking.now)
    assert audio_of(speaking.write("second")) == audio
    speaking.speech.end(speaking.now, TURN)
    speaking.write("second")
    speaking.wait(5.0)
    assert speaking.end().playback_position_ms == 1500


def test_a_loss_in_a_pause_resumes_unheard_audio():
    """The rest of the request follows it, in one pair."""
    speaking = Speaking(end_timeout_s=0.2, rewind_s=0.0)
    first = announced(speaking, 1000)
    speaking.write("first")
    speaking.wait(0.25)
    speaking.write("first")
    second = pcm(1000)
    speaking.speech.frame(second, speaking.now, TURN)
    speaking.write("second")
    speaking.wait(0.25)
    speaking.lose()
    speaking.speech.end(speaking.now, TURN)
    steps = speaking.write("third")
    assert audio_of(steps) == first[500 * BYTES_PER_MS :] + second
    assert sum(step.end for step in steps) == 1
    speaking.wait(5.0)
    assert speaking.end().playback_position_ms == 2000


def test_what_was_not_announced_ends_with_its_timeout():
    """Nothing tells that more is to come."""
    speaking = Speaking(end_timeout_s=1.5)
    speaking.speak(1000, end=False)
    speaking.write()
    speaking.wait(2.0)
    speaking.write()
    speaking.wait(2.0)
    assert speaking.end().reason == PLAYED
