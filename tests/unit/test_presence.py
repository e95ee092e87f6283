"""An avatar that is ready and not in its channel, as the RTC extension
reports it."""

import asyncio
from typing import Any

import pytest
from avatar_stage import (
    FALLBACK_AFTER_S,
    FIRST,
    RENEWED,
    SECOND,
    AvatarStage,
    ready,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.presence import JOIN_WITHIN_S
from spatius_avatar_python.messages import payloads as reports

pytestmark = pytest.mark.usefixtures("finished_stages")

UID = 1001
OTHER = "7"


async def watched(**options: Any) -> AvatarStage:
    """Return a stage that is ready, and hears who joins the channel."""
    given = {"has_voice": True, "fallback_after_s": FALLBACK_AFTER_S}
    stage = await ready(uid=UID, **{**given, **options})
    stage.avatar.user_joined(OTHER)
    await settle()
    return stage


async def absent(**options: Any) -> AvatarStage:
    """Return one whose avatar has not joined in time."""
    stage = await watched(**options)
    await stage.clock.advance(JOIN_WITHIN_S + 1.0)
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    assert stage.session.is_live
    return stage


def vendor_codes(stage: AvatarStage) -> list[str]:
    return [error["vendor_info"]["code"] for error in stage.outbox.errors]


async def test_avatar_that_does_not_join_is_one_error():
    """Ten seconds after the session is ready: error, state, and a new session
    with new tokens; however long it lasts."""
    stage = await watched()
    await stage.clock.advance(JOIN_WITHIN_S - 0.1)
    assert stage.outbox.errors == []
    await stage.clock.advance(3600.0)
    assert vendor_codes(stage) == ["notJoined"]
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    message = stage.outbox.errors[0]["message"]
    for cause in ("agora_appid", "agora_appcert", "agora_uid", "uid 1001"):
        assert cause in message
    assert stage.outbox.states == ["connecting", "ready", "recovering"]
    assert stage.outbox.payloads("avatar_state")[-1]["reason"] == "notJoined"
    assert len(stage.service.sessions) == 2
    assert stage.session.is_live


async def test_voice_speaks_for_an_avatar_that_does_not_join():
    """All of it, and nothing is sent to Spatius."""
    stage = await absent()
    audio = say(stage, 300)
    await stage.clock.advance(FALLBACK_AFTER_S + 1.0)
    assert stage.voice.said == audio
    assert stage.session.received == b""
    assert stage.avatar.state == "fallback"


async def test_speech_in_progress_goes_on_with_the_voice():
    """From where the listener would be."""
    stage = await watched(resume_within_s=15.0)
    await stage.clock.advance(JOIN_WITHIN_S - 1.0)
    audio = say(stage, 4000)
    await stage.clock.advance(1.0 + FALLBACK_AFTER_S + 4.0)
    assert audio.endswith(stage.voice.said)
    assert len(stage.voice.said) >= len(audio) * 0.7


async def test_avatar_that_joins_late_speaks():
    """From the next utterance on; the state says so."""
    stage = await absent()
    say(stage, 300)
    await stage.clock.advance(FALLBACK_AFTER_S + 1.0)
    stage.avatar.user_joined(str(UID))
    await settle()
    state = stage.outbox.payloads("avatar_state")[-1]
    assert (state["state"], state["reason"]) == ("ready", "joined")
    audio = say(stage, 300, SECOND)
    await stage.clock.advance(1.0)
    assert stage.session.received == audio
    assert vendor_codes(stage) == ["notJoined"]


async def test_avatar_that_leaves_has_to_come_back():
    """Within the same time, or it is another episode."""
    stage = await watched()
    stage.avatar.user_joined(str(UID))
    await stage.clock.advance(60.0)
    stage.avatar.user_left(str(UID))
    await stage.clock.advance(JOIN_WITHIN_S - 0.1)
    stage.avatar.user_joined(str(UID))
    await stage.clock.advance(60.0)
    assert stage.outbox.errors == []
    stage.avatar.user_left(str(UID))
    await stage.clock.advance(JOIN_WITHIN_S + 0.1)
    assert vendor_codes(stage) == ["notJoined"]
    assert "has left" in stage.outbox.errors[0]["message"]


@pytest.mark.parametrize(
    "reports_of", [[], [("joined", str(UID)), ("left", OTHER)]]
)
async def test_no_error_without_a_reason(reports_of):
    """Where no report is wired, or the avatar is in the channel."""
    stage = await ready(uid=UID, has_voice=True, fallback_after_s=1.5)
    for what, uid in reports_of:
        getattr(stage.avatar, f"user_{what}")(uid)
    await stage.clock.advance(100.0)
    assert stage.outbox.errors == []
    assert stage.avatar.state == "ready"


async def test_uid_that_agora_assigns_is_not_watched():
    """The avatar cannot be told from others."""
    stage = await ready(uid=0)
    stage.avatar.user_joined(OTHER)
    stage.avatar.user_left("0")
    await stage.clock.advance(100.0)
    assert stage.outbox.errors == []


async def test_time_counts_from_the_first_report():
    """The RTC extension may join later than the avatar, and reports the users
    it finds one after the other."""
    stage = await ready(uid=UID)
    await stage.clock.advance(100.0)
    stage.avatar.user_joined(OTHER)
    await stage.clock.advance(1.0)
    stage.avatar.user_joined(str(UID))
    await stage.clock.advance(100.0)
    assert stage.outbox.errors == []


@pytest.mark.parametrize(
    "options", [{"has_voice": False}, {"fallback_after_s": 0.0}]
)
async def test_without_a_voice_the_avatar_gets_the_speech(options):
    """It may be heard after all; nothing waits."""
    stage = await absent(**options)
    say(stage, 300)
    await stage.clock.advance(10.0)
    audio = say(stage, 300, SECOND)
    await stage.clock.advance(1.0)
    assert stage.session.received.endswith(audio)
    assert stage.outbox.payloads("avatar_state")[-1]["reason"] == "notJoined"


async def test_report_between_two_sessions():
    """An avatar that joins while the session is lost is ready with the next."""
    stage = await absent()
    stage.service.openings.append("hold")
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    stage.avatar.user_joined(str(UID))
    stage.session.release()
    await settle()
    assert stage.avatar.state == "ready"


async def test_report_that_comes_with_the_next_session():
    """Before the driver has seen that the session is ready."""
    stage = await absent()
    stage.service.openings.append("hold")
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    stage.session.release()
    for _ in range(20):
        if not stage.session.owner.is_ready:
            await asyncio.sleep(0)
    assert stage.avatar.state == "recovering"
    stage.avatar.user_joined(str(UID))
    await settle()
    assert stage.outbox.payloads("avatar_state")[-1]["state"] == "ready"
    assert reports.FATAL not in stage.outbox.error_codes


async def test_absent_avatar_is_renewed():
    """As any other; the state says all the while that it is not there."""
    stage = await absent(lifetime=RENEWED)
    await stage.clock.advance(300.0)
    assert len(stage.service.sessions) >= 4
    assert stage.outbox.states == ["connecting", "ready", "recovering"]
    assert vendor_codes(stage) == ["notJoined"]


async def test_absent_avatar_sleeps_and_wakes():
    """As any other; the state says again that it is not there."""
    stage = await absent(idle_disconnect_s=60.0)
    await stage.clock.advance(100.0)
    assert stage.avatar.state == "asleep"
    stage.connect()
    await settle()
    assert stage.avatar.state == "recovering"
    assert stage.outbox.payloads("avatar_state")[-1]["reason"] == "notJoined"
    assert vendor_codes(stage) == ["notJoined"]


async def test_reports_before_the_start():
    """All nodes of a graph start together."""
    stage = set_up(uid=UID)
    stage.avatar.user_joined(OTHER)
    stage.avatar.user_joined(str(UID))
    await stage.start()
    await stage.clock.advance(100.0)
    assert stage.outbox.errors == []
    say(stage, 100, FIRST)
