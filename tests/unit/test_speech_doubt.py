"""A service that does not answer: the audio heard, and the audio resumed."""

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.events import CUT, PLAYED
from speaking import BYTES_PER_MS, Speaking, audio_of


def in_doubt(proved_s: float, silent_s: float) -> tuple[Speaking, bytes]:
    """Return one whose service has half a minute of speech in hand, answered
    at a time, and was silent since."""
    speaking = Speaking()
    audio = speaking.speak(30_000)
    speaking.write("first")
    speaking.wait(proved_s)
    speaking.answer()
    speaking.wait(1.0)
    speaking.silent(silent_s)
    return speaking, audio


def test_pings_go_on_while_anything_is_to_be_played(speaking):
    """And not when all of it has been heard, or nothing was said."""
    assert not speaking.speech.is_playing_out(speaking.now)
    speaking.speak(5000)
    speaking.write()
    assert speaking.speech.mark() is None
    assert speaking.speech.is_playing_out(4.9)
    speaking.wait(6.0)
    assert not speaking.speech.is_playing_out(speaking.now)


def test_pings_do_not_go_on_while_an_open_utterance_is_silent(speaking):
    """Nothing of it is still to be heard."""
    speaking.speak(1000, end=False)
    speaking.write()
    speaking.wait(5.0)
    assert not speaking.speech.is_playing_out(speaking.now)


@pytest.mark.parametrize("silent_s", [0.1, 5.0, 40.0])
def test_in_doubt_nothing_more_counts_as_heard(silent_s):
    """Not even audio that had arrived: the service may be gone with it."""
    speaking, _ = in_doubt(3.0, silent_s)
    assert not speaking.ends
    assert not speaking.speech.is_idle(speaking.now)
    speaking.speech.flush(speaking.now)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (CUT, 3000)
    assert speaking.write() == [Interrupt()]


def test_nothing_is_due_in_doubt():
    """No end is reported, however long it lasts."""
    speaking, _ = in_doubt(3.0, 0.0)
    assert speaking.speech.due_at == float("inf")
    speaking.wait(100.0)
    assert not speaking.ends


@pytest.mark.parametrize("silent_s", [4.0, 21.0])
def test_answered_late_the_position_follows_the_clock(silent_s):
    """The service had the audio, and went on playing it."""
    speaking, _ = in_doubt(3.0, silent_s)
    speaking.answer()
    speaking.speech.flush(speaking.now)
    position_ms = (3.0 + 1.0 + silent_s) * 1000
    assert speaking.end().playback_position_ms == position_ms


def test_answered_late_an_end_is_reported():
    """Playback went on as before."""
    speaking, _ = in_doubt(3.0, 40.0)
    speaking.answer()
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (PLAYED, 30_000)


def test_what_was_in_doubt_is_said_again_after_a_loss():
    """From the latest answer on, less the rewind."""
    speaking, audio = in_doubt(3.0, 20.0)
    speaking.lose()
    rest = audio[2500 * BYTES_PER_MS :]
    assert audio_of(speaking.write("second")) == rest
    speaking.wait(40.0)
    assert speaking.end().playback_position_ms == 30_000


def test_several_utterances_in_doubt_are_all_said_again():
    """None of them is reported as played before it was."""
    speaking = Speaking(rewind_s=0.0)
    audio = b"".join(speaking.speak(1000) for _ in range(11))
    speaking.write("first")
    speaking.silent(20.0)
    assert not speaking.ends
    speaking.lose()
    assert audio_of(speaking.write("second")) == audio
    speaking.wait(30.0)
    assert [end.reason for end in speaking.ends] == [PLAYED] * 11


def test_a_doubt_ends_with_its_connection():
    """The next one is as good as any."""
    speaking, _ = in_doubt(3.0, 20.0)
    speaking.lose()
    speaking.write("second")
    speaking.wait(10.0)
    speaking.speech.flush(speaking.now)
    assert speaking.end().playback_position_ms == 2500 + 10_000


def test_a_signal_of_the_service_ends_a_doubt():
    """It is there, for any answers to pings."""
    speaking, _ = in_doubt(3.0, 2.0)
    speaking.speech.playback("first", "playing", 5500.0, "", speaking.now)
    speaking.wait(1.0)
    speaking.speech.flush(speaking.now)
    assert speaking.end().playback_position_ms == 6500


@pytest.mark.parametrize("flushed", ["before", "after"])
def test_what_has_not_arrived_when_the_connection_is_lost_is_not_heard(
    flushed, speaking
):
    """Not even for the time that a round trip takes."""
    speaking.speak(5000)
    speech = speaking.speech
    while speech.avatar.next(speaking.now) is not None:
        speech.avatar.written(speaking.now, "first")
    speaking.wait(0.338)
    if flushed == "before":
        speaking.lose()
        speech.flush(speaking.now)
        assert speaking.end().playback_position_ms == 0
    else:
        speech.flush(speaking.now)
        speaking.lose()
        assert speaking.end().playback_position_ms <= 338


def test_what_has_not_arrived_plays_from_a_late_answer_on(speaking):
    """Unless arrived audio is still playing then."""
    speaking.speak(1000, end=False)
    speaking.write()
    speaking.speak(9000)
    speech = speaking.speech
    while speech.avatar.next(speaking.now) is not None:
        speech.avatar.written(speaking.now, "r")
    speaking.silent(5.0)
    speaking.answer()
    speaking.wait(3.0)
    speech.flush(speaking.now)
    assert speaking.end().playback_position_ms == 4000


@pytest.mark.parametrize(
    ("is_closed", "after_s", "begin_ms"),
    [(True, 1.0, 1000), (False, 1.0, 100), (False, 0.2, 200)],
)
def test_what_was_not_acknowledged_yet_when_a_connection_ends(
    is_closed, after_s, begin_ms
):
    """It counts as heard if we closed it, or if an answer has just come."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(5000)
    speech = speaking.speech
    speech.avatar.next(speaking.now)
    speaking.written("first")
    while speech.avatar.next(speaking.now) is not None:
        speech.avatar.written(speaking.now, "first")
    speaking.wait(after_s)
    speech.connection_lost(speaking.now, is_closed)
    rest = audio[begin_ms * BYTES_PER_MS :]
    assert audio_of(speaking.write("second")) == rest


@pytest.mark.parametrize(
    ("is_asked_again", "from_ms"), [(False, 2500), (True, 8500)]
)
def test_a_loss_behind_a_late_answer(is_asked_again, from_ms):
    """The service may have ended before: only a ping that went out later
    proves that it was there."""
    speaking, audio = in_doubt(3.0, 5.0)
    speaking.answer()
    if is_asked_again:
        speaking.wait(0.0)
        speaking.speech.asked(speaking.now)
        speaking.answer()
    speaking.speech.connection_lost(speaking.now)
    assert audio_of(speaking.write("second")) == audio[from_ms * BYTES_PER_MS :]
