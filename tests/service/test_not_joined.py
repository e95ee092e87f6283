"""An avatar that is ready and not in its channel, through the real SDK."""

import asyncio
from typing import Any

import pytest
from scene import Scene, scene, virtually
from ten_runtime import Cmd, StatusCode

AVATAR = "1001"
CLIENT = "176573"


async def report(on: Scene, name: str, uid: Any) -> Any:
    """Send the command of TEN's RTC extension; return the result."""
    cmd = Cmd.create(name)
    cmd.set_property_string("channel", "room")
    cmd.set_property_string("user_id", "1234")
    if isinstance(uid, int):
        cmd.set_property_int("remote_user_id", uid)
    elif uid is not None:
        cmd.set_property_string("remote_user_id", uid)
    await on.rig.extension.on_cmd(on.rig.env, cmd)
    return on.rig.env.last_result


@virtually
async def test_the_voice_takes_over_from_an_avatar_that_does_not_join() -> None:
    """One error, a state, and all that is said from then on is heard; an
    avatar that joins late is the one that speaks."""
    async with scene(voice_wired=True) as on:
        await on.rig.state("ready")
        await report(on, "on_user_joined", CLIENT)
        await asyncio.sleep(11)
        (error,) = on.rig.errors
        assert (error["code"], error["vendor_info"]["code"]) == (
            1000,
            "notJoined",
        )
        assert on.sent("avatar_state")[-1]["reason"] == "notJoined"
        await on.talk.utter(1, 2000)
        await on.silence()
        on.whole(max_repeat_ms=0)
        assert on.rig.totals.voice == on.rig.totals.received
        assert on.rig.states[-1] == "fallback"
        await report(on, "on_user_joined", AVATAR)
        await on.rig.state("ready")
        await on.talk.utter(2, 2000)
        await on.silence()
        verdict = on.whole(max_repeat_ms=0)
        assert verdict.overlap_ms == 0
        assert on.rig.totals.sent == on.rig.totals.voice
        assert len(on.rig.errors) == 1
        # The second attempt had new tokens; it is the last.
        assert len(on.server.record.connections) == 2


@pytest.mark.parametrize("uid", [AVATAR, int(AVATAR), f" {AVATAR} "])
@virtually
async def test_an_avatar_that_joins_is_no_error(uid: Any) -> None:
    """TEN's RTC extension sends the uid as text."""
    async with scene(voice_wired=True, idle_disconnect_s=0) as on:
        await on.rig.state("ready")
        await report(on, "on_user_joined", CLIENT)
        await report(on, "on_user_joined", uid)
        await report(on, "on_user_left", CLIENT)
        await asyncio.sleep(60)
        assert on.rig.errors == []
        assert on.rig.states == ["connecting", "ready"]


@pytest.mark.parametrize("uid", [None, "", "anyone", 2**63 - 1])
@pytest.mark.parametrize("name", ["on_user_joined", "on_user_left"])
@virtually
async def test_each_report_is_answered(name: str, uid: Any) -> None:
    """OK, without a detail, for any content."""
    async with scene() as on:
        result = await report(on, name, uid)
        assert result.get_status_code() == StatusCode.OK
        assert result.get_property_string("detail")[0] == ""
        assert on.rig.errors == []
