"""Frames are joined into fewer messages once the service is ahead (rule of
speech 7)."""

import pytest
from spatius_avatar_python.speech import Interrupt
from spatius_avatar_python.speech.avatar_output import (
    JOIN_AHEAD_S,
    JOIN_WAIT_S,
    Send,
)
from speaking import BYTES_PER_MS, TURN, Speaking, audio_of, pcm

FRAME_MS = 10


def deliver(
    speaking: Speaking, ms: int, pace: float, is_queued: bool = False
) -> tuple[bytes, list]:
    """Have speech come in at a pace, and write all steps due, in time.

    `is_queued`: each frame takes the long way.
    """
    audio, steps = b"", []
    for _ in range(ms // FRAME_MS):
        frame = pcm(FRAME_MS)
        audio += frame
        if is_queued:
            speaking.speech.frame(frame, speaking.now, TURN)
        else:
            speaking.frame(frame, TURN)
        until = speaking.now + FRAME_MS / 1000 / pace
        steps += speaking.write()
        while speaking.due_at < until:
            speaking.wait(speaking.due_at - speaking.now)
            steps += speaking.write()
        speaking.wait(until - speaking.now)
    return audio, steps


def ahead() -> Speaking:
    """Return one whose service is more than a second ahead, with a frame that
    waits for others."""
    speaking = Speaking(end_timeout_s=1.5)
    speaking.speak(1500, end=False, turn=TURN, request_id="tts")
    speaking.write()
    speaking.speak(FRAME_MS, end=False, turn=TURN)
    assert speaking.write() == []
    return speaking


@pytest.mark.parametrize("is_queued", [False, True])
@pytest.mark.parametrize(
    ("pace", "most"), [(1.0, 100.0), (1.3, 100.0), (5.0, 12.0), (20.0, 12.0)]
)
def test_speech_is_the_same_to_the_byte_in_fewer_messages(
    pace, most, is_queued, speaking
):
    """At the pace of speech nothing is joined, at others after a second."""
    audio, steps = deliver(speaking, 10_000, pace, is_queued)
    speaking.speech.end(speaking.now, TURN)
    steps += speaking.write()
    assert audio_of(steps) == audio
    if pace == 1.0:
        assert len(steps) == 10_000 / FRAME_MS + 1
    sent_ms = 0.0
    later = 0
    for step in steps:
        later += sent_ms >= 2000
        sent_ms += len(step.audio) / BYTES_PER_MS
    assert later / 8.0 <= most + 1
    speaking.check_sum()


@pytest.mark.parametrize("pace", [1.0, 5.0, 20.0])
def test_the_first_second_of_a_request_does_not_wait(pace, speaking):
    """Each frame of it is a message."""
    _, steps = deliver(speaking, int(JOIN_AHEAD_S * 1000), pace)
    assert len(steps) == JOIN_AHEAD_S * 1000 / FRAME_MS


def test_a_frame_waits_for_others_but_not_for_long():
    """The alarm is set for it; it is sent then, alone."""
    speaking = ahead()
    speech = speaking.speech
    assert speech.avatar.join_due_at == JOIN_WAIT_S
    assert not speech.avatar.has_step
    assert speech.has_waiting
    speaking.wait(JOIN_WAIT_S)
    assert speech.avatar.has_step
    (step,) = speaking.write()
    assert len(step.audio) == FRAME_MS * BYTES_PER_MS
    assert speech.avatar.join_due_at == float("inf")


def test_a_full_message_does_not_wait():
    """100 ms are the most that one holds."""
    speaking = ahead()
    for _ in range(9):
        assert speaking.write() == []
        speaking.speak(FRAME_MS, end=False, turn=TURN)
    (step,) = speaking.write()
    assert len(step.audio) == 100 * BYTES_PER_MS


@pytest.mark.parametrize("how", ["end", "timeout", "turn", "rate", "start"])
def test_the_end_of_a_request_does_not_wait(how):
    """However it ends."""
    speaking = ahead()
    speech = speaking.speech
    if how == "end":
        speech.end(speaking.now, TURN)
    elif how == "timeout":
        speech.tick(1.5)
    elif how == "turn":
        speech.frame(pcm(10), speaking.now, TURN._replace(id=2))
    elif how == "rate":
        speech.frame(pcm(10), speaking.now, TURN, 16000)
    else:
        speech.start(speaking.now, TURN, "next")
    step = speaking.write()[0]
    assert isinstance(step, Send)
    assert (len(step.audio), step.end) == (FRAME_MS * BYTES_PER_MS, True)


def test_an_interrupt_does_not_wait():
    """And the frame that waited is dropped."""
    speaking = ahead()
    speaking.speech.flush(speaking.now)
    assert speaking.write() == [Interrupt()]
    assert speaking.speech.totals.flushed == FRAME_MS * BYTES_PER_MS // 2
    assert speaking.speech.avatar.join_due_at == float("inf")


def test_what_is_resumed_does_not_wait_before_it_has_its_second():
    """The frame that waited follows it."""
    speaking = ahead()
    speaking.wait(0.01)
    speaking.speech.connection_lost(speaking.now)
    speaking.write("second", most=5)
    speaking.speak(FRAME_MS, end=False, turn=TURN)
    speaking.write("second")
    assert speaking.speech.totals.waiting == 0


def test_nothing_waits_in_doubt(speaking):
    """It is unknown how much the service has."""
    speaking.speak(1500, end=False, turn=TURN)
    speaking.write()
    speaking.speech.doubt()
    audio = speaking.speak(FRAME_MS, end=False, turn=TURN)
    assert audio_of(speaking.write()) == audio


def test_a_stop_counts_waiting_audio():
    """The sum holds, and nothing is due any more."""
    speaking = ahead()
    speaking.speech.close(speaking.now)
    assert speaking.speech.totals.stopped == FRAME_MS * BYTES_PER_MS // 2
    assert speaking.speech.due_at == float("inf")
    speaking.check_sum()


@pytest.mark.parametrize(
    ("signal_ms", "waits"), [(None, True), (100.0, True), (2000.0, False)]
)
def test_the_playout_clock_says_how_far_the_service_is_ahead(
    signal_ms, waits, speaking
):
    """As the service corrects it."""
    speaking.speak(2500, end=False, turn=TURN)
    speaking.write()
    speaking.wait(1.0)
    if signal_ms is not None:
        speaking.speech.playback("r", "playing", signal_ms, "", speaking.now)
    speaking.speak(FRAME_MS, end=False, turn=TURN)
    assert (speaking.write() == []) == waits
