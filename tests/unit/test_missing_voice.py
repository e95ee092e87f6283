"""The voice is not connected, or it fails."""

import asyncio

import pytest
from avatar_stage import BAD_KEY, SECOND, say, set_up, without_session
from fakes import settle
from spatius_avatar_python.messages import payloads as reports

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_missing_voice_is_noted_once():
    """One line at level info, no error; speech waits for the avatar."""
    stage = await without_session(has_voice=False)
    audio = say(stage, 300)
    await stage.clock.advance(5.0)
    say(stage, 300, SECOND)
    await stage.clock.advance(2.0)
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert [level for level, _ in lines] == ["info"]
    assert "fallback" not in stage.outbox.states
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    stage.session.release()
    await settle()
    assert stage.avatar.state == "ready"
    assert stage.session.received.startswith(audio)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
@pytest.mark.parametrize("at_frame", [0, 3, 12])
async def test_voice_that_raises_is_given_up(at_frame, error):
    """At once or later: one warning, and the avatar lives on."""
    stage = await without_session()
    stage.voice.errors[at_frame] = error("the runtime is closing")
    audio = say(stage, 300)
    await stage.clock.advance(3.0)
    assert len(stage.voice.frames) == at_frame
    [(level, _)] = [line for line in stage.outbox.lines if "closing" in line[1]]
    assert level == "warn"
    stage.session.release()
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready"
    assert stage.voice.said + stage.session.received == audio


async def test_failed_avatar_without_a_voice_discards_speech():
    """Speech that waits or comes is refused, and reported once."""
    stage = set_up(has_voice=False)
    stage.avatar.fail(BAD_KEY)
    for _ in range(3):
        say(stage, 100)
        await settle()
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert len(lines) == 1
    assert stage.speech.totals.refused == stage.speech.totals.received
    assert stage.speech.totals.waiting == 0


async def test_voice_that_turned_out_missing_before_the_failure():
    """Speech is refused from the failure on, without another line."""
    stage = await without_session(has_voice=False)
    say(stage, 100)
    await stage.clock.advance(2.0)
    stage.avatar.fail(BAD_KEY)
    say(stage, 100)
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert len(lines) == 1
    assert stage.speech.totals.refused == stage.speech.totals.received
    await stage.stopped("failed")
