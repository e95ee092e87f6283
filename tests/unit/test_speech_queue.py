"""The rules of speech in docs/design.md, with corner cases: the bound, the
sums, and a connection that is lost."""

from typing import Optional

import pytest
from spatius_avatar_python.speech.avatar_output import Send
from spatius_avatar_python.speech.backlog import STALLED_AFTER_S
from spatius_avatar_python.speech.events import Summary, Turn
from spatius_avatar_python.speech.intake import (
    OVERFLOW_LIMIT_S,
    OVERFLOW_PAUSE_S,
)
from spatius_avatar_python.speech.playout import END_MARGIN_S, PLAYBACK_MARGIN_S
from spatius_avatar_python.speech.utterance import MESSAGE_MS
from speech_steps import (
    BYTES_PER_MS,
    FIRST,
    RATE,
    SECOND,
    audio_of,
    check_sum,
    ends_of,
    make,
    overflows_of,
    pcm,
    summaries_of,
    write,
    written,
)

# Rule 6: the bound


def test_what_waits_is_bounded():
    """New audio is refused when the bound is reached, waiting audio is kept."""
    speech = make(max_buffered_s=1.0)
    audio = pcm(1500)
    speech.frame(audio, 0.0)
    assert speech.waiting_s == 1.0
    assert audio_of(write(speech)) == audio[: 1000 * BYTES_PER_MS]
    assert speech.totals.refused == 500 * BYTES_PER_MS // 2


def test_what_waits_may_be_more_than_the_bound_of_another_rate():
    """An utterance of a lower rate is refused whole, and nothing is cut off."""
    speech = make(max_buffered_s=1.0)
    first, second = pcm(1500), pcm(100)
    speech.frame(first, 0.0, FIRST, 48000)
    speech.frame(second, 0.0, SECOND, 8000)
    assert speech.totals.waiting == len(first) // 2
    assert speech.totals.refused == len(second) // 2
    check_sum(speech)


def test_overflow_is_reported_once_with_its_amount():
    """One event for all that was refused, when no more comes."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1000), 0.0)
    for index in range(50):
        speech.frame(pcm(10), index / 100, FIRST)
    speech.tick(0.49)
    assert overflows_of(speech) == []
    deadline = speech.due_at
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
    """Audio is accepted again, and the episode reported, at half the bound,
    where the connection is slow."""
    speech = make(max_buffered_s=1.0, end_timeout_s=0.0)
    speech.frame(pcm(1500), 0.0)
    for second in (0.0, 4.0, 8.0, 12.0):
        speech.avatar.next(second)
        written(speech, second)
    speech.frame(pcm(10), 12.0)
    assert overflows_of(speech) == []
    speech.avatar.next(12.0)
    written(speech, 12.0)
    refused = speech.totals.refused
    audio = pcm(10)
    speech.frame(audio, 12.0)
    assert speech.totals.refused == refused
    [overflow] = overflows_of(speech)
    assert overflow.refused_s == pytest.approx(0.51)
    assert audio_of(write(speech)).endswith(audio)


def test_second_episode_is_reported_again():
    """Each episode has an event of its own, with its own amount."""
    speech = make(max_buffered_s=1.0)
    for lost_ms in (200, 300):
        speech.connection_lost(0.0)
        speech.frame(pcm(1000 + lost_ms), 0.0)
        write(speech)
        speech.tick(0.0)
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


def test_bound_holds_for_audio_that_the_writer_puts_back():
    """A message that comes back finds its room, and nothing is counted
    twice or taken from the frames that come then."""
    speech = make(max_buffered_s=1.0)
    first = pcm(1000)
    speech.frame(first, 0.0)
    speech.avatar.next(0.0)
    speech.frame(pcm(100), 0.0)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    check_sum(speech)
    assert speech.waiting_s <= 1.0
    waiting_s = speech.waiting_s
    refused = speech.totals.refused
    speech.frame(pcm(200), 0.0)
    assert speech.waiting_s == waiting_s
    assert speech.totals.refused == refused + 200 * BYTES_PER_MS // 2
    assert audio_of(write(speech))[: len(first)] == first


@pytest.mark.parametrize(
    ("max_buffered_s", "ms"), [(60.0, 90_000), (2.0, 5000), (0.1, 150_000)]
)
def test_a_healthy_connection_refuses_nothing_that_comes_at_once(
    max_buffered_s, ms
):
    """The bound is for audio that cannot be sent."""
    speech = make(max_buffered_s)
    speech.connected()
    audio = pcm(ms)
    for start in range(0, len(audio), 1 << 20):
        speech.frame(audio[start : start + (1 << 20)], 100.0)
    speech.end(100.0)
    assert audio_of(write(speech, 100.0)) == audio
    assert speech.totals.refused == 0


def test_a_burst_after_a_long_time_is_no_slow_connection():
    """The writer is behind since the burst, not since the speech before."""
    speech = make(max_buffered_s=1.0)
    for now in (0.0, 100.0):
        speech.frame(pcm(100), now)
        write(speech, now)
        speech.frame(pcm(5000), now + 5)
        speech.frame(pcm(5000), now + 5)
        write(speech, now + 5)
        speech.end(now + 5)
        write(speech, now + 5)
    assert speech.totals.refused == 0


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_connection_that_takes_no_audio_has_the_bound(is_lost):
    """A call in progress for seconds, or no connection."""
    speech = make(max_buffered_s=1.0)
    speech.connected()
    speech.frame(pcm(100), 0.0)
    speech.avatar.next(0.0)
    if is_lost:
        speech.avatar.failed()
        speech.connection_lost(0.0)
    speech.frame(pcm(2000), STALLED_AFTER_S)
    assert speech.waiting_s == 1.0
    check_sum(speech)


@pytest.mark.parametrize(
    ("rate", "next_rate", "most_s"),
    [(RATE, RATE, 1.0), (48000, 800, MESSAGE_MS / 1000)],
    ids=["as ever", "the writer holds more"],
)
def test_a_stalled_connection_refuses_once(
    rate: int, next_rate: int, most_s: float
):
    """The older audio beyond the bound, too, though of the newest utterance
    nothing waits; no more is due then."""
    speech = make(max_buffered_s=1.0)
    speech.connected()
    speech.frame(pcm(9000), 0.0, FIRST, rate)
    speech.avatar.next(0.0)
    speech.frame(pcm(20), STALLED_AFTER_S, SECOND, next_rate)
    speech.tick(STALLED_AFTER_S)
    assert speech.totals.waiting == most_s * rate
    assert speech.due_at > STALLED_AFTER_S
    check_sum(speech)


def test_a_slow_reader_of_long_speech_loses_nothing():
    """Its kernel makes room in steps of megabytes: one call waits for
    seconds, and the rest follows at once."""
    speech = make(max_buffered_s=1.0)
    speech.connected()
    speech.frame(pcm(100), 0.0)
    speech.avatar.next(0.0)
    speech.frame(pcm(9000), 0.0)
    speech.tick(4.0)
    written(speech, 4.0)
    write(speech, 4.0)
    assert speech.totals.refused == 0


def test_the_overflow_ends_with_a_connection_that_takes_audio():
    """New audio is not refused for waiting audio."""
    speech = make(max_buffered_s=1.0)
    speech.frame(pcm(1500), 0.0)
    speech.connected()
    audio = pcm(1500)
    speech.frame(audio, 0.1)
    assert audio_of(write(speech, 0.1)).endswith(audio)
    assert speech.totals.refused == 500 * BYTES_PER_MS // 2


def test_a_call_that_waits_for_long_has_the_bound():
    """Audio that came before it was clear that the socket takes none is
    refused down to the bound, the newest of it."""
    speech = make(max_buffered_s=1.0, end_timeout_s=0.0)
    speech.connected()
    speech.frame(pcm(100), 0.0)
    speech.avatar.next(0.0)
    early = pcm(2000)
    speech.frame(early, 0.0)
    assert speech.waiting_s == pytest.approx(2.1)
    assert speech.due_at == STALLED_AFTER_S
    speech.tick(STALLED_AFTER_S)
    assert speech.waiting_s == pytest.approx(1.0)
    speech.frame(pcm(100), STALLED_AFTER_S)
    assert speech.totals.refused == RATE * 1.2
    written(speech, STALLED_AFTER_S)
    kept = early[: len(early) * 9 // 20]
    assert audio_of(write(speech)).endswith(kept)
    check_sum(speech)


# Rule 8: accounting


def test_close_drops_all_and_takes_no_more(speech):
    """Without an avatar to come, speech is dropped and counted."""
    speech.frame(pcm(100), 0.0)
    speech.close(0.0)
    speech.frame(pcm(50), 0.0)
    speech.end(0.0)
    speech.flush(0.0)
    speech.tick(100.0)
    assert write(speech) == []
    assert speech.totals.stopped == 150 * BYTES_PER_MS // 2
    assert speech.totals.refused == 0
    assert speech.waiting_s == 0
    assert overflows_of(speech) == []


def test_close_summarizes_dropped_audio(speech):
    """Waiting and playing audio is summarized, and only once."""
    speech.frame(pcm(100), 0.0)
    speech.end(0.0)
    write(speech)
    speech.frame(pcm(300), 0.0)
    speech.close(0.0)
    speech.close(0.0)
    played, dropped = sorted(summaries_of(speech), key=lambda s: s.audio_ms)
    assert (played.sent_ms, played.dropped_ms) == (100, 0)
    assert (dropped.sent_ms, dropped.stopped_ms) == (0, 300)
    assert (dropped.refused_ms, dropped.dropped_ms) == (0, 300)


# A connection that is lost


def test_unwritten_message_goes_first_on_the_next_connection(speech):
    """Audio that did not reach the wire is sent, in order and once."""
    audio = pcm(350)
    speech.frame(audio, 0.0)
    speech.end(0.0)
    speech.avatar.next(0.0)
    written(speech, 0.0)
    speech.avatar.next(0.0)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    steps = write(speech)
    assert audio_of(steps) == audio[MESSAGE_MS * BYTES_PER_MS :]
    assert ends_of(steps) == 1


def test_unwritten_end_makes_no_request_of_its_own(speech):
    """An end whose audio went with the old connection is discarded."""
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.end(0.0)
    assert speech.avatar.next(0.0) == Send(b"", True)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    assert write(speech) == []
    assert len(summaries_of(speech)) == 1


def test_end_after_the_loss_makes_no_request_of_its_own(speech):
    """An utterance that was all written ends without a word."""
    speech.frame(pcm(20), 0.0)
    write(speech)
    speech.connection_lost(0.0)
    speech.end(0.0)
    assert write(speech) == []
    [summary] = summaries_of(speech)
    assert summary.lost_ms == 20


def test_written_audio_is_not_repeated_without_resumption(speech):
    """A whole utterance that was written is lost with its connection."""
    speech.frame(pcm(500), 0.0)
    speech.end(0.0)
    write(speech)
    speech.connection_lost(0.0)
    assert write(speech) == []
    [summary] = summaries_of(speech)
    assert (summary.lost_ms, summary.interrupted) == (500, False)


def test_nothing_is_interrupted_on_a_new_connection(speech):
    """Audio on a lost connection needs no interrupt."""
    speech.frame(pcm(500), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.connection_lost(0.0)
    assert write(speech) == []
    speech.frame(pcm(20), 0.0, SECOND)
    speech.connection_lost(0.0)
    speech.flush(0.0)
    assert write(speech) == []


def test_interrupt_that_is_lost_is_not_repeated(speech):
    """An interrupt dies with the connection that it was for."""
    speech.frame(pcm(500), 0.0, FIRST)
    write(speech)
    speech.flush(0.0)
    speech.avatar.next(0.0)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    audio = pcm(20)
    speech.frame(audio, 0.0, SECOND)
    assert write(speech) == [Send(audio, False)]


# Summaries


def test_summary_comes_when_it_has_been_heard(speech):
    """An utterance is summarized when its audio has been played."""
    speech.frame(pcm(500), 0.0, FIRST)
    speech.end(0.0, FIRST)
    write(speech, 0.25, "request-7", "connection-7")
    speech.tick(0.75 + END_MARGIN_S - 0.01)
    assert summaries_of(speech) == []
    assert speech.due_at == pytest.approx(0.75 + END_MARGIN_S)
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


def test_summary_of_a_message_in_flight_waits_for_it(speech):
    """A flushed utterance is summarized once its last message is settled."""
    speech.frame(pcm(500), 0.0, FIRST)
    speech.avatar.next(0.0)
    speech.flush(0.0)
    assert summaries_of(speech) == []
    written(speech, 0.0)
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


def test_summary_of_speech_never_sent(speech):
    """An utterance that was flushed while it waited has no delay."""
    speech.frame(pcm(50), 0.0)
    speech.flush(0.0)
    [summary] = summaries_of(speech)
    assert summary.first_audio_delay_ms is None
    assert (summary.sent_ms, summary.flushed_ms) == (0, 50)


def test_summary_of_an_utterance_over_two_connections(speech):
    """An utterance that a loss has split is summarized once, in whole."""
    speech.frame(pcm(300), 0.0)
    speech.end(0.0)
    speech.avatar.next(0.0)
    written(speech, 0.0, "old")
    speech.avatar.next(0.0)
    speech.avatar.failed()
    speech.connection_lost(0.0)
    write(speech, 1.0, "new")
    speech.tick(10.0)
    [summary] = summaries_of(speech)
    assert summary.req_id == "new"
    assert (summary.sent_ms, summary.lost_ms) == (200, 100)


def test_quiet_is_when_nothing_is_said_waits_or_plays(speech):
    """Every stage of an utterance is not quiet, its end in sound too."""
    assert speech.is_idle(0.0)
    speech.frame(pcm(500), 0.0)
    assert not speech.is_idle(0.0)
    write(speech)
    assert not speech.is_idle(5.0)
    speech.end(5.0)
    assert not speech.is_idle(5.0)
    write(speech, 5.0)
    assert speech.is_idle(5.0 + PLAYBACK_MARGIN_S + 0.5)


def test_what_can_still_be_heard_is_not_idle(speech):
    """An avatar that may still be heard is not idle: a session closed now
    would swallow the end of the sentence."""
    speech.frame(pcm(1000), 0.0)
    speech.end(0.0)
    write(speech)
    assert not speech.is_idle(1.0 + PLAYBACK_MARGIN_S - 0.1)
    assert speech.is_idle(1.0 + PLAYBACK_MARGIN_S)


@pytest.mark.parametrize(
    "turn", [FIRST, None], ids=["with a turn", "without a turn"]
)
def test_turn_is_that_of_the_current_speech(turn: Optional[Turn], speech):
    """Reports can name the turn of the speech that they are about."""
    assert speech.turn is None
    speech.frame(pcm(20), 0.0, turn)
    assert speech.turn == turn
    speech.end(0.0, turn)
    write(speech)
    assert speech.turn == turn


def test_repr_shows_state_and_counts(speech):
    """The representation shows the waiting audio and the totals."""
    speech.frame(pcm(500), 0.0)
    assert "1 utterance" in repr(speech)
    assert "0.50 s waiting" in repr(speech)
    assert "received=12000" in repr(speech)
