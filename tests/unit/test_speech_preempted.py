"""A service that interrupts a request by itself: the rest is said again."""

import pytest
from spatius_avatar_python.speech import Interrupt, Turn
from spatius_avatar_python.speech.avatar_output import Send
from spatius_avatar_python.speech.events import (
    LOST,
    PLAYED,
    Preempted,
    SpeechLost,
)
from speaking import BYTES_PER_MS, Speaking, audio_of


def sentences(speaking: Speaking, count: int, ms: float = 2000) -> list[bytes]:
    return [
        speaking.speak(
            ms, turn=Turn("session", 1), request_id=f"tts-{speaking.now}-{n}"
        )
        for n in range(count)
    ]


def write_each(speaking: Speaking) -> list[list]:
    """Write all that is due, each request under an id of its own."""
    requests: list[list] = []
    while True:
        steps = []
        while True:
            step = speaking.next()
            if step is None:
                break
            speaking.written(f"r{len(requests)}-{speaking.now}")
            steps.append(step)
            if not isinstance(step, Send) or step.end:
                break
        if not steps:
            return requests
        requests.append(steps)


def cut(speaking: Speaking, req_id: str, played_ms, reason="preempted"):
    speaking.speech.playback(
        req_id, "interrupted", played_ms, reason, speaking.now
    )


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("reason", ["preempted", "explicit", ""])
def test_what_a_newer_request_cut_is_said_again_in_order(
    count, reason, speaking
):
    """All sentences are heard whole; each has one start and one end."""
    audio = sentences(speaking, count)
    write_each(speaking)
    speaking.wait(0.3)
    cut(speaking, "r0-0.0", 300.0, reason)
    assert len(speaking.reports(Preempted)) == 1
    heard = audio[0][: 300 * BYTES_PER_MS]
    requests = write_each(speaking)
    assert requests[0] == [Interrupt()]
    while requests:
        heard += b"".join(audio_of(steps) for steps in requests)
        assert sum(bool(audio_of(steps)) for steps in requests) == 1
        speaking.wait(3.0)
        requests = write_each(speaking)
    assert heard == b"".join(audio)
    assert [end.reason for end in speaking.ends] == [PLAYED] * count
    assert len(speaking.starts) == count
    assert all(end.playback_position_ms == 2000 for end in speaking.ends)
    assert len(speaking.reports(Preempted)) == 1
    assert speaking.speech.totals.lost == 0


def test_the_next_request_waits_for_the_word_of_the_service():
    """Its end may come late, or early."""
    speaking = Speaking(one_request_at_a_time=True)
    sentences(speaking, 2)
    assert len(write_each(speaking)) == 1
    speaking.wait(1.0)
    assert not speaking.speech.avatar.has_step
    speaking.speech.playback("r0-0.0", "ended", None, "", speaking.now)
    assert speaking.speech.avatar.has_step
    assert len(write_each(speaking)) == 1


def test_the_next_request_waits_for_the_estimate_without_signals():
    """From the first on, where it is configured."""
    speaking = Speaking(one_request_at_a_time=True)
    sentences(speaking, 2)
    assert len(write_each(speaking)) == 1
    speaking.wait(2.0)
    assert write_each(speaking) == []
    speaking.wait(0.5)
    assert len(write_each(speaking)) == 1
    assert speaking.speech.totals.refused == 0


def test_what_waits_for_its_turn_is_not_refused():
    """The connection would take it."""
    speaking = Speaking(one_request_at_a_time=True, max_buffered_s=1.0)
    speaking.speech.connected()
    audio = []
    for _ in range(5):
        audio += sentences(speaking, 1, 1000)
        write_each(speaking)
    heard = b""
    for _ in range(20):
        speaking.wait(0.5)
        heard += b"".join(map(audio_of, write_each(speaking)))
    assert heard == b"".join(audio[1:])
    assert speaking.speech.totals.refused == 0


@pytest.mark.parametrize("setting", ["auto", False])
def test_a_service_that_queues_gets_all_at_once(setting):
    """No audio is held back as long as no request is cut."""
    speaking = Speaking(one_request_at_a_time=setting)
    audio = sentences(speaking, 5)
    requests = write_each(speaking)
    assert len(requests) == 5
    assert b"".join(map(audio_of, requests)) == b"".join(audio)


@pytest.mark.parametrize(
    ("options", "reported_s"),
    [({"one_request_at_a_time": False}, [1.7]), ({"within_s": 0.0}, [])],
)
def test_a_cut_is_admitted_where_nothing_is_said_again(options, reported_s):
    """The playing request goes on, and the rest of the other is lost."""
    speaking = Speaking(**options)
    sentences(speaking, 2)
    write_each(speaking)
    speaking.wait(0.3)
    cut(speaking, "r0-0.0", 300.0)
    assert write_each(speaking) == []
    (end,) = speaking.ends
    assert (end.reason, end.playback_position_ms) == (LOST, 300)
    losses = [lost.lost_s for lost in speaking.reports(SpeechLost)]
    assert losses == pytest.approx(reported_s)
    speaking.wait(2.4)
    assert [end.reason for end in speaking.ends] == [LOST, PLAYED]
    speaking.check_sum()


def test_a_cut_of_played_speech_is_an_end(speaking):
    """No audio is left to be said again."""
    sentences(speaking, 1)
    write_each(speaking)
    speaking.wait(1.9)
    cut(speaking, "r0-0.0", 2000.0)
    assert speaking.end().reason == PLAYED
    assert write_each(speaking) == []
    assert speaking.reports(Preempted) == []


def test_our_own_interrupt_is_no_cut(speaking):
    """The service confirms it, before or after the call has returned."""
    sentences(speaking, 1)
    write_each(speaking)
    speaking.wait(0.3)
    speaking.speech.flush(speaking.now)
    cut(speaking, "r0-0.0", 300.0, "explicit")
    assert speaking.next() == Interrupt()
    cut(speaking, "r0-0.0", 300.0, "explicit")
    speaking.written()
    cut(speaking, "r0-0.0", 300.0, "explicit")
    assert write_each(speaking) == []
    assert speaking.reports(Preempted) == []
    speaking.check_sum()


def test_a_cut_of_the_open_request_begins_another(speaking):
    """The SDK would go on with a request that is gone."""
    audio = speaking.speak(2000, end=False)
    speaking.write("r")
    speaking.wait(0.5)
    cut(speaking, "r", 500.0, "pause_timeout")
    audio += speaking.speak(1000)
    steps = speaking.write("s")
    assert steps[0] == Interrupt()
    assert audio_of(steps) == audio[500 * BYTES_PER_MS :]
    speaking.wait(5.0)
    assert speaking.end().playback_position_ms == 3000


@pytest.mark.parametrize("arrives", [True, False])
def test_a_cut_during_a_call_counts_behind_it(arrives):
    """The message in flight keeps its place."""
    speaking = Speaking(rewind_s=0.0)
    audio = speaking.speak(2000, end=False)
    speaking.write("r", most=10)
    speaking.wait(0.5)
    assert speaking.next() is not None
    cut(speaking, "r", 500.0)
    if arrives:
        speaking.written("r")
    else:
        speaking.speech.avatar.failed()
        speaking.lose()
    speaking.speech.end(speaking.now)
    assert audio_of(speaking.write("s")) == audio[500 * BYTES_PER_MS :]
    speaking.check_sum()


def test_a_cut_without_a_position_is_estimated(speaking):
    """By the playout clock."""
    audio = sentences(speaking, 1)
    write_each(speaking)
    speaking.wait(0.3)
    cut(speaking, "r0-0.0", None)
    (steps,) = write_each(speaking)
    assert audio_of(steps) == audio[0][300 * BYTES_PER_MS :]


def test_a_service_that_cuts_again_and_again_is_not_fed_for_ever(speaking):
    """Audio that it never plays is lost in the end."""
    sentences(speaking, 1)
    for _ in range(10):
        for steps in write_each(speaking):
            assert steps
        cut(speaking, f"r0-{speaking.now}", 0.0)
        speaking.wait(0.1)
    assert speaking.summary().lost_ms == 2000
    assert write_each(speaking) == []
    speaking.check_sum()


def test_a_flush_behind_a_cut_drops_the_rest(speaking):
    """No audio of a flushed turn is said again."""
    sentences(speaking, 3)
    write_each(speaking)
    speaking.wait(0.3)
    cut(speaking, "r0-0.0", 300.0)
    speaking.speech.flush(speaking.now)
    assert write_each(speaking) == [[Interrupt()]]
    (end,) = speaking.ends
    assert end.playback_position_ms == 300
    speaking.check_sum()
