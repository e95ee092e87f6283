"""The rate of a session: given, or that of the frames."""

import pytest
from avatar_stage import (
    BYTES_PER_MS,
    FIRST,
    IDLE,
    RENEWED,
    SECOND,
    pcm,
    ready,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.plan import Lifetime
from spatius_avatar_python.speech.playout import PLAYBACK_MARGIN_S

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_given_rate_opens_a_session_at_once():
    """For any frames to come."""
    stage = await ready(sample_rate=16000)
    assert stage.session.sample_rate_hz == 16000


async def test_unknown_rate_waits_for_the_first_frame():
    """And is that of the frame; a start of speech says nothing of it."""
    stage = set_up(sample_rate=None)
    await stage.start()
    stage.speech_starts(FIRST)
    await stage.clock.advance(10.0)
    assert stage.service.sessions == []
    assert stage.outbox.states == ["connecting"]
    audio = pcm(20)
    stage.speak(audio, FIRST, 16000)
    await settle()
    assert stage.session.sample_rate_hz == 16000
    assert stage.session.received == audio


async def test_frame_from_before_the_start_gives_the_rate():
    """There is no wait then."""
    stage = set_up(sample_rate=None)
    stage.speak(pcm(20), FIRST, 16000)
    await stage.start()
    assert stage.session.sample_rate_hz == 16000


async def test_change_of_rate_renews_the_session():
    """Once the audio at the old rate has been played; no error."""
    stage = set_up(sample_rate=None)
    old, new = pcm(1000), pcm(100)
    stage.speak(old, FIRST, 24000)
    await stage.start()
    stage.speak(new, SECOND, 16000)
    await stage.clock.advance(0.9)
    assert len(stage.service.sessions) == 1
    await stage.clock.advance(1.0)
    first, second = stage.service.sessions
    assert (first.sample_rate_hz, second.sample_rate_hz) == (24000, 16000)
    assert (first.received, second.received) == (old, new)
    assert stage.outbox.errors == []
    assert stage.outbox.states[-2:] == ["connecting", "ready"]


async def test_change_of_rate_in_silence_renews_the_session_at_once():
    """Nothing else would wake the supervisor for seconds."""
    stage = set_up(sample_rate=None)
    stage.speak(pcm(20), FIRST, 24000)
    stage.speech_ends(FIRST)
    await stage.start()
    await stage.clock.advance(12.0)
    audio = pcm(20)
    stage.speak(audio, SECOND, 16000)
    await settle()
    assert stage.session.sample_rate_hz == 16000
    assert stage.session.received == audio


async def test_session_after_a_loss_has_the_rate_of_waiting_audio():
    """Not that of the session before."""
    stage = set_up(sample_rate=None)
    stage.speak(pcm(20), FIRST, 24000)
    stage.speech_ends(FIRST)
    await stage.start()
    await stage.clock.advance(10.0)
    stage.service.makings.clear()
    stage.session.on_failure(LOST)
    stage.speak(pcm(20), SECOND, 16000)
    await stage.clock.advance(1.0)
    assert stage.session.sample_rate_hz == 16000


async def test_change_of_rate_does_not_keep_an_interrupt_back():
    """A barge-in while the end of speech is written, and an answer at another
    rate: the playing audio is interrupted, and the answer is spoken."""
    stage = set_up(sample_rate=None)
    stage.speak(pcm(5000), FIRST, 24000)
    await stage.start()
    stage.service.calls.append("hold")
    stage.speech_ends(FIRST)
    await settle()
    assert stage.session.is_held
    stage.flush()
    answer = pcm(20)
    stage.speak(answer, SECOND, 16000)
    stage.speech_ends(SECOND)
    stage.session.release()
    await stage.clock.advance(1.0)
    first, second = stage.service.sessions
    assert len(first.interrupted) == 1
    assert second.received == answer
    assert stage.outbox.errors == []


@pytest.mark.parametrize("ends_by", ["loss", "renewal", "idleness"])
async def test_session_with_nothing_to_say_has_the_rate_of_the_one_before(
    ends_by,
):
    """The avatar stays in the channel without speech."""
    stage = set_up(sample_rate=None, lifetime=RENEWED)
    stage.speak(pcm(20), FIRST, 16000)
    stage.speech_ends(FIRST)
    await stage.start()
    await stage.clock.advance(10.0)
    if ends_by == "loss":
        await stage.lose(LOST)
    elif ends_by == "renewal":
        await stage.clock.advance(RENEWED.renew_after_s - 10.0)
    else:
        await stage.lose(IDLE)
        assert stage.avatar.state == "asleep"
        stage.connect()
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready"
    first, second = stage.service.sessions
    assert (first.is_live, second.is_live) == (False, True)
    assert second.sample_rate_hz == 16000


async def test_spare_of_another_rate_is_not_used():
    """It takes audio of its own rate only."""
    stage = set_up(
        sample_rate=None, lifetime=Lifetime(1e9, 1e9, spare_max_age_s=60.0)
    )
    stage.speak(pcm(20), FIRST, 24000)
    stage.speech_ends(FIRST)
    await stage.start()
    await stage.clock.advance(2.0 + PLAYBACK_MARGIN_S)
    assert stage.service.events[-1] == (2, "prepare")
    audio = pcm(20)
    stage.speak(audio, SECOND, 16000)
    await stage.clock.advance(2.0)
    assert stage.session.sample_rate_hz == 16000
    assert stage.session.received == audio
    assert stage.service.sessions[1].requests == {}


async def test_stop_while_the_rate_is_unknown():
    """There is no session to close."""
    stage = set_up(sample_rate=None)
    await stage.start()
    assert await stage.stopped() == 0
    assert stage.service.sessions == []


async def test_stop_of_an_unknown_rate_opens_nothing():
    """Also where a frame comes with the stop."""
    stage = set_up(sample_rate=None)
    await stage.start()
    stage.speak(bytes(20 * BYTES_PER_MS), FIRST, 16000)
    await stage.stopped()
    assert all(not session.is_live for session in stage.service.sessions)
