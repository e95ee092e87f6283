"""One driver calls its parts: calls between files have no circle."""

from avatar_stage import (
    BAD_KEY,
    FIRST,
    IDLE,
    REFUSED,
    RENEWED,
    SECOND,
    SERVICE_ERROR,
    AvatarStage,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.speech import Turn
from tracing import circle_in, traced


async def conversation() -> AvatarStage:
    """Play speech, a flush, a loss, the voice, a renewal and a failure."""
    stage = set_up(
        lifetime=RENEWED,
        has_voice=True,
        fallback_after_s=1.5,
        resume_within_s=15.0,
        idle_disconnect_s=1e6,
    )
    await stage.start()
    stage.speech_starts(FIRST, "tts")
    say(stage, 3000)
    await stage.clock.advance(1.0)
    stage.flush()
    await settle()
    say(stage, 3000, SECOND)
    await stage.clock.advance(1.0)
    stage.session.on_failure(SERVICE_ERROR)
    stage.session.play("request-1.1", "playing")
    stage.service.openings += [REFUSED] * 10
    await stage.lose(LOST)
    await stage.clock.advance(70.0)
    say(stage, 300, Turn("session", 3))
    await stage.clock.advance(30.0)
    stage.service.openings.clear()
    for number in (4, 5):
        await stage.clock.advance(50.0)
        say(stage, 300, Turn("session", number))
    await stage.clock.advance(90.0)
    await stage.lose(IDLE)
    reasons = [p["reason"] for p in stage.outbox.payloads("avatar_state")]
    assert "renewal" in reasons
    assert stage.avatar.state == "asleep"
    stage.connect()
    await stage.clock.advance(2.0)
    await stage.lose(BAD_KEY)
    say(stage, 300, Turn("session", 6))
    await stage.finish()
    return stage


async def test_calls_have_no_circle():
    """A part returns events; it does not call its driver."""
    with traced() as trace:
        stage = await conversation()
    calls = trace.between_modules()
    assert {"ready", "recovering", "fallback", "failed"} <= set(
        stage.outbox.states
    )
    assert len(calls["avatar/avatar"]) >= 6, "too little was traced"
    assert circle_in(calls) == set(), calls


def test_circles_are_found():
    """Also a long one, and not the modules around it."""
    calls = {"a": {"b"}, "b": {"c"}, "c": {"d", "x"}, "d": {"b"}}
    assert circle_in(calls) == {"b", "c", "d"}
    assert circle_in({"a": {"b", "c"}, "b": {"c"}}) == set()
