"""Speech that a lost connection cut off goes on, on the next session."""

from math import inf

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.avatar_output import Send
from spatius_avatar_python.speech.events import CUT, LOST, PLAYED
from speaking import TURN, Speaking, audio_of
from speech_steps import BYTES_PER_MS


def lost_at(speaking: Speaking, seconds: float) -> None:
    """Write all, and lose the connection after so long."""
    speaking.write("first")
    speaking.wait(seconds)
    speaking.lose()


# Resumed audio


def test_it_goes_on_where_the_listener_was(speaking):
    """The rest follows, rewound by half a second."""
    audio = speaking.speak(8000)
    lost_at(speaking, 2.0)
    assert audio_of(speaking.write("second")) == audio[1500 * BYTES_PER_MS :]
    assert speaking.speech.totals.resent == 6500 * BYTES_PER_MS // 2


def test_the_rewind_does_not_reach_before_the_begin(speaking):
    """An utterance that has just begun is said from its first byte."""
    audio = speaking.speak(8000)
    lost_at(speaking, 0.2)
    assert audio_of(speaking.write("second")) == audio


def test_the_rewind_starts_at_the_position_of_the_service(speaking):
    """Truth corrects the estimate before the loss."""
    audio = speaking.speak(8000)
    speaking.write("first")
    speaking.wait(3.0)
    speaking.speech.playback("first", "playing", 1000.0, "", speaking.now)
    speaking.lose()
    assert audio_of(speaking.write("second")) == audio[500 * BYTES_PER_MS :]


def test_unwritten_audio_follows_the_resumed_audio():
    """The order is kept over the loss."""
    speaking = Speaking(rewind_s=0.0)
    written = speaking.speak(1000, end=False)
    lost_at(speaking, 0.5)
    waiting = speaking.speak(1000)
    rest = written[500 * BYTES_PER_MS :] + waiting
    assert audio_of(speaking.write("second")) == rest


def test_several_utterances_are_said_again_in_order():
    """Those not yet begun follow whole, each with its end."""
    speaking = Speaking(rewind_s=0.0)
    first = speaking.speak(1000)
    second = speaking.speak(1000)
    third = speaking.speak(1000, end=False)
    lost_at(speaking, 0.5)
    steps = speaking.write("second")
    assert audio_of(steps) == first[500 * BYTES_PER_MS :] + second + third
    ends = [step.end for step in steps if isinstance(step, Send)]
    assert ends == [False] * 4 + [True] + [False] * 9 + [True] + [False] * 10


@pytest.mark.parametrize("ends", ["flush", "loss"])
def test_position_is_that_of_the_first_of_two_requests(ends: str):
    """The utterance paused while its first request was played: nothing of
    the second one has been heard."""
    on = Speaking(end_timeout_s=1.5, within_s=0)
    on.speak(10_000, end=False, request_id="tts")
    on.write("r1")
    on.wait(2.0)
    on.write("r1")  # its end
    on.speak(5000, end=False)
    on.write("r2")
    on.wait(1.0)
    if ends == "flush":
        on.speech.flush(on.now)
        on.write()
    else:
        on.lose()
        on.speech.end(on.now)
    assert on.end().playback_position_ms == 3000


def test_what_has_been_heard_in_full_is_not_said_again():
    """Only the second utterance goes on."""
    speaking = Speaking(rewind_s=0.0)
    speaking.speak(1000)
    second = speaking.speak(1000)
    lost_at(speaking, 1.5)
    rest = second[500 * BYTES_PER_MS :]
    assert audio_of(speaking.write("second")) == rest


def test_the_rewind_reaches_behind_an_estimated_end(speaking):
    """The listener may be a little behind the estimate."""
    audio = speaking.speak(1000)
    lost_at(speaking, 1.1)
    assert audio_of(speaking.write("second")) == audio[600 * BYTES_PER_MS :]


def test_an_end_that_the_service_reported_is_not_said_again(speaking):
    """It was heard in full, in spite of the estimate."""
    speaking.speak(5000)
    speaking.write("first")
    speaking.wait(1.0)
    speaking.speech.playback("first", "ended", None, "", speaking.now)
    speaking.lose()
    assert speaking.write("second") == []
    assert speaking.end().reason == PLAYED


def test_nothing_of_a_flushed_turn_is_said_again(speaking):
    """A flush before the loss counts after it."""
    speaking.speak(5000, turn=TURN)
    speaking.write("first")
    speaking.speech.flush(speaking.now)
    speaking.lose()
    assert speaking.write("second") == []


def test_a_request_that_has_to_be_repeated_is_a_whole_one(speaking):
    """The end that was written before is written again."""
    speaking.speak(50)
    lost_at(speaking, 0.01)
    (step,) = speaking.write("second")
    assert isinstance(step, Send)
    assert step.end


def test_an_end_after_all_was_heard_makes_no_request(speaking):
    """An open utterance that is silent when the connection is lost."""
    speaking.speak(200, end=False)
    lost_at(speaking, 5.0)
    assert not speaking.ends
    speaking.speech.end(speaking.now)
    assert speaking.end().reason == PLAYED
    assert speaking.write("second") == []


def test_an_open_utterance_goes_on_after_its_loss():
    """Later audio joins the resumed audio in one request."""
    speaking = Speaking(rewind_s=0.0)
    first = speaking.speak(200, end=False)
    lost_at(speaking, 0.1)
    rest = first[100 * BYTES_PER_MS :]
    assert audio_of(speaking.write("second")) == rest
    more = speaking.speak(100)
    steps = speaking.write("second")
    assert audio_of(steps) == more
    assert [step.end for step in steps if isinstance(step, Send)] == [True]


# A second loss


def test_a_second_loss_goes_on_from_the_position_heard_since():
    """The clock of the second session counts."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(8000)
    lost_at(speaking, 2.0)
    lost_at(speaking, 3.0)
    assert audio_of(speaking.write("third")) == audio[5000 * BYTES_PER_MS :]


def test_a_second_loss_at_once_does_not_rewind_further(speaking):
    """No audio was heard in between."""
    audio = speaking.speak(8000)
    lost_at(speaking, 2.0)
    lost_at(speaking, 0.0)
    assert audio_of(speaking.write("third")) == audio[1500 * BYTES_PER_MS :]


def test_a_loss_in_the_middle_of_resumption_keeps_the_rest():
    """Audio not said again yet is neither lost nor repeated twice."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(8000)
    lost_at(speaking, 2.0)
    speaking.write("second", most=3)
    speaking.wait(0.1)
    speaking.lose()
    assert audio_of(speaking.write("third")) == audio[2100 * BYTES_PER_MS :]
    assert speaking.speech.totals.lost == 0


# A call in flight


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_call_in_flight_keeps_its_place(is_resumed):
    """Audio that did not reach the wire follows the resumed audio."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(1000)
    if is_resumed:
        speaking.write("first")
        speaking.lose()
    speaking.write("second", most=3)
    assert speaking.next() is not None
    speaking.wait(0.1)
    speaking.speech.avatar.failed()
    speaking.lose()
    assert audio_of(speaking.write("third")) == audio[100 * BYTES_PER_MS :]


def test_a_flush_while_resent_audio_is_in_flight_counts_it_once(speaking):
    """It was sent before; only audio never written is flushed."""
    speaking.speak(1000, end=False)
    lost_at(speaking, 0.0)
    speaking.speak(500)
    assert speaking.next() is not None
    speaking.speech.flush(speaking.now)
    speaking.speech.avatar.failed()
    speaking.lose()
    summary = speaking.summary()
    assert (summary.sent_ms, summary.flushed_ms) == (1000, 500)
    assert speaking.speech.totals.waiting == 0


# Reports


def test_it_keeps_one_start_one_end_its_id_and_its_turn(speaking):
    """The graph does not notice the loss."""
    speaking.speak(5000, turn=TURN)
    lost_at(speaking, 1.0)
    speaking.write("second")
    speaking.wait(10.0)
    (start,) = speaking.starts
    end = speaking.end()
    assert start.request_id == end.request_id == "first"
    assert start.turn == end.turn == TURN
    assert (end.reason, end.playback_position_ms) == (PLAYED, 5000)


def test_what_is_written_twice_is_counted_apart(speaking):
    """The sum holds the input once."""
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    speaking.write("second")
    speaking.wait(10.0)
    summary = speaking.summary()
    assert (summary.audio_ms, summary.sent_ms) == (5000, 5000)
    assert (summary.resent_ms, summary.lost_ms) == (4500, 0)


# A flush during the outage


def test_a_flush_during_the_outage_drops_it_all(speaking):
    """Written audio stays sent; waiting audio is flushed."""
    speaking.speak(5000)
    speaking.speak(1000)
    speaking.write("first", most=50)
    speaking.wait(1.0)
    speaking.lose()
    speaking.wait(1.0)
    speaking.speech.flush(speaking.now)
    assert speaking.write("second") == []
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (CUT, 1000)
    totals = speaking.speech.totals
    assert totals.sent == 5000 * BYTES_PER_MS // 2
    assert totals.flushed == 1000 * BYTES_PER_MS // 2


def test_a_flush_during_the_outage_interrupts_nothing(speaking):
    """The next connection has no request to interrupt."""
    speaking.speak(5000, turn=TURN)
    lost_at(speaking, 1.0)
    speaking.speech.flush(speaking.now)
    audio = speaking.speak(100)
    steps = speaking.write("second")
    assert not any(isinstance(step, Interrupt) for step in steps)
    assert audio_of(steps) == audio


# Stale audio


def test_what_is_stale_is_lost():
    """After `resume_within_s` of outage the rest is not said again."""
    speaking = Speaking(within_s=15.0)
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    speaking.wait(14.9)
    assert not speaking.ends
    speaking.wait(0.2)
    end = speaking.end()
    assert (end.reason, end.playback_position_ms) == (LOST, 1000)
    summary = speaking.summary()
    assert (summary.sent_ms, summary.lost_ms) == (1000, 4000)
    assert speaking.write("second") == []


def test_what_was_never_written_does_not_get_stale(speaking):
    """Only written audio is lost; the rest is said."""
    speaking.speak(1000, end=False)
    lost_at(speaking, 0.0)
    waiting = speaking.speak(1000)
    speaking.wait(20.0)
    assert audio_of(speaking.write("second")) == waiting
    speaking.wait(20.0)
    summary = speaking.summary()
    assert (summary.lost_ms, summary.sent_ms) == (1000, 1000)
    assert speaking.end().playback_position_ms == 1000


def test_stale_unwritten_audio_does_not_block(speaking):
    """Its request was never begun: it needs no end, and the next can go."""
    speaking.speak(1000, end=False)
    lost_at(speaking, 0.0)
    assert speaking.next() is not None
    speaking.speech.avatar.failed()
    speaking.lose()
    speaking.wait(15.1)
    speaking.speech.end(speaking.now)
    audio = speaking.speak(50)
    (step,) = speaking.write("third")
    assert step == Send(audio, True)


def test_what_the_voice_could_not_say_gets_stale(speaking):
    """The outage goes on as without an attempt."""
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    say = speaking.speech.next_voice(speaking.now)
    assert say is not None
    speaking.speech.voice_failed(say)
    speaking.wait(15.1)
    assert speaking.end().reason == LOST
    assert speaking.write("second") == []


@pytest.mark.parametrize("by_voice", [False, True])
def test_nothing_gets_stale_while_it_is_being_said(by_voice, speaking):
    """A slow socket holds the first message of it: the rest follows."""
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    step = (
        speaking.speech.next_voice(speaking.now)
        if by_voice
        else speaking.next()
    )
    assert step is not None
    assert speaking.speech.due_at == inf
    speaking.wait(20.0)
    if by_voice:
        speaking.speech.said(step, speaking.now)
    else:
        speaking.written("second")
    speaking.wait(20.0)
    assert speaking.speech.has_waiting
    assert speaking.speech.totals.lost == 0


def test_all_that_was_lost_gets_stale_at_once(speaking):
    """Several utterances are of the same age."""
    speaking.speak(5000)
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    speaking.wait(15.1)
    assert sum(summary.lost_ms for summary in speaking.summaries) == 9000
    assert len(speaking.starts) == len(speaking.ends) == 1


def test_what_goes_on_is_not_stale(speaking):
    """The outage is over with the first audio that goes out."""
    speaking.speak(5000)
    lost_at(speaking, 1.0)
    speaking.wait(14.0)
    speaking.write("second", most=1)
    speaking.wait(2.0)
    speaking.write("second")
    speaking.wait(10.0)
    assert speaking.summary().lost_ms == 0


def test_a_second_loss_starts_a_new_outage(speaking):
    """Its time counts from then on."""
    speaking.speak(5000)
    lost_at(speaking, 0.0)
    speaking.wait(14.0)
    lost_at(speaking, 0.0)
    speaking.wait(14.0)
    assert speaking.write("third") != []


def test_0_means_that_nothing_is_said_again():
    """Unheard audio is lost with the connection."""
    speaking = Speaking(within_s=0)
    speaking.speak(5000)
    speaking.speak(1000)
    lost_at(speaking, 2.0)
    assert speaking.write("second") == []
    assert [summary.lost_ms for summary in speaking.summaries] == [3000, 1000]


# The bound of kept audio


def test_a_healthy_session_refuses_nothing_for_it():
    """Far more than five times the bound may be written ahead."""
    speaking = Speaking(max_buffered_s=1.0)
    for _ in range(20):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.speech.end(speaking.now)
    speaking.write("first")
    speaking.wait(30.0)
    assert speaking.summary().sent_ms == 20_000


def test_beyond_the_bound_the_newest_is_lost():
    """The five seconds that were kept are said again, and the rest."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=0.0)
    audio = b""
    for _ in range(8):
        audio += speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.lose()
    audio = audio[: 5000 * BYTES_PER_MS] + speaking.speak(1000)
    assert audio_of(speaking.write("second")) == audio
    speaking.wait(20.0)
    summary = speaking.summary()
    assert (summary.sent_ms, summary.lost_ms) == (6000, 3000)
    assert summary.resent_ms == 5000
    assert speaking.end().playback_position_ms == 6000


def test_what_was_heard_meanwhile_makes_room():
    """An utterance that began when little could be kept is kept whole."""
    speaking = Speaking(max_buffered_s=1.0)
    for _ in range(4):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.speech.end(speaking.now)
    speaking.write("first")
    speaking.wait(1.0)
    speaking.speak(20, end=False)
    speaking.write("second")
    speaking.wait(9.0)
    for _ in range(9):
        speaking.speak(500, end=False)
        speaking.write("second")
    speaking.lose()
    assert speaking.speech.totals.lost == 0


def test_what_is_heard_in_mid_request_makes_room():
    """Between two ticks, too: no tick follows each frame."""
    speaking = Speaking(max_buffered_s=1.0)
    for _ in range(5):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.now += 4.8
    speaking.speak(1000, end=False)
    speaking.write("first")
    speaking.lose()
    assert speaking.speech.totals.lost == 0


def test_the_bound_holds_over_several_utterances():
    """The sixth was not kept, and is lost whole."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=0.0)
    for _ in range(6):
        speaking.speak(1000)
        speaking.write("first")
    speaking.lose()
    assert [summary.lost_ms for summary in speaking.summaries] == [1000]
    speaking.write("second")
    speaking.wait(10.0)
    assert [end.reason for end in speaking.ends] == [PLAYED] * 5


def test_what_was_not_kept_but_heard_is_not_lost():
    """An utterance that was heard beyond the kept audio goes on from there."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=0.0)
    for _ in range(8):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.wait(6.0)
    speaking.lose()
    waiting = speaking.speak(1000)
    assert audio_of(speaking.write("second")) == waiting
    speaking.wait(10.0)
    summary = speaking.summary()
    assert (summary.sent_ms, summary.lost_ms) == (7000, 2000)


def test_the_rewind_does_not_jump_over_audio_not_kept():
    """A gap would be worse than no rewind."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=1.5)
    for _ in range(8):
        speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.wait(6.0)
    speaking.lose()
    waiting = speaking.speak(1000)
    assert audio_of(speaking.write("second")) == waiting


def test_what_is_kept_again_survives_a_second_loss():
    """Audio not kept the first time does not prevent it."""
    speaking = Speaking(max_buffered_s=1.0, rewind_s=0.0)
    audio = b""
    for _ in range(8):
        audio += speaking.speak(1000, end=False)
        speaking.write("first")
    speaking.lose()
    lost_at(speaking, 2.0)
    rest = audio[2000 * BYTES_PER_MS : 5000 * BYTES_PER_MS]
    assert audio_of(speaking.write("third")) == rest
