"""The limits of a Spatius plan: the length of a session, and their number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from agent import properties
from scene import Scene, scene, virtually

from devkit.harness.rig import Rig
from devkit.motion_server import PlanLimits

MINUTE_S = 60.0
MINUTES = 2
"""The length of a session."""
LIMIT_S = MINUTES * MINUTE_S
TIME_LIMIT = "4002"
AWAKE: dict[str, Any] = {"idle_disconnect_s": 0, "session_expire_minutes": 60}


def causes(on: Scene) -> list[str]:
    """Return the vendor codes of the outages so far, all of code 1000."""
    assert {error["code"] for error in on.rig.errors} <= {1000}
    return [
        error["vendor_info"]["code"]
        for error in on.rig.errors
        if "outage_s" not in error["metadata"]
    ]


def lasted_s(on: Scene) -> list[float]:
    return [
        connection.closed_s - connection.confirmed_s
        for connection in on.server.record.connections
        if connection.closed_s is not None
        and connection.confirmed_s is not None
    ]


async def talk(on: Scene, minutes: float, first_turn: int = 1) -> None:
    """Say 3 s of speech in each 20 s."""
    until_s = on.clock.monotonic() + minutes * MINUTE_S
    turn = first_turn
    while on.clock.monotonic() < until_s:
        await on.talk.utter(turn, 3000)
        turn += 1
        await asyncio.sleep(20)
    await on.silence()


@asynccontextmanager
async def other_agent(on: Scene, **params: Any) -> AsyncIterator[Rig]:
    """Have another agent of the same account take a session."""
    given = {"agora_channel": "elsewhere", **AWAKE, **params}
    rig = Rig(properties(on.server, **given), on.clock)
    await rig.start()
    try:
        await rig.state("ready")
        await asyncio.sleep(1)  # its token for the next session is fetched
        yield rig
    finally:
        await rig.stop()


@virtually
async def test_the_limit_of_a_session_is_learned_from_the_first_cut() -> None:
    """One session is cut; all later ones are renewed before, in a pause."""
    plan = PlanLimits(session_minutes=MINUTES)
    async with scene(server={"limits": plan}, **AWAKE) as on:
        await talk(on, 2.2 * MINUTES)
        on.whole()
        assert causes(on) == [TIME_LIMIT]
        first, *others = on.server.record.connections
        assert (first.close_code, first.closed_by) == (4002, "server")
        assert len(others) >= 2
        assert {one.closed_by for one in others[:-1]} == {"client"}
        # In a pause: only the cut had anything said twice.
        assert len(on.talk.verdict().repeats) <= 1
        assert max(lasted_s(on)[1:]) < 0.9 * LIMIT_S


@pytest.mark.parametrize("app_id", ["good-app", "other-app"])
@virtually
async def test_what_one_agent_learns_counts_for_the_others(app_id: str) -> None:
    """For those of the same app in the same worker, and no others."""
    server = {
        "limits": PlanLimits(session_minutes=MINUTES),
        "app_ids": {"good-app", "other-app"},
    }
    async with scene(server=server, **AWAKE) as on:
        await asyncio.sleep(1.1 * LIMIT_S)
        assert causes(on) == [TIME_LIMIT]
        async with other_agent(on, spatius_app_id=app_id) as other:
            await asyncio.sleep(2.5 * LIMIT_S)
            cuts = 0 if app_id == "good-app" else 1
            assert len(other.errors) == cuts
        assert len(on.rig.errors) == 1


@virtually
async def test_a_limit_that_is_configured_is_not_met() -> None:
    """Not even by the first session; a longer one of the plan's own does not
    extend it."""
    plan = PlanLimits(session_minutes=MINUTES)
    async with scene(
        server={"limits": plan}, max_session_minutes=MINUTES, **AWAKE
    ) as on:
        await talk(on, 2.5 * MINUTES)
        on.whole(max_repeat_ms=0)
        assert causes(on) == []
        assert max(lasted_s(on)) < 0.9 * LIMIT_S


@virtually
async def test_speech_without_a_pause_is_cut_at_the_last_moment() -> None:
    """By the extension, 15 s before the limit; it goes on in the next one."""
    plan = PlanLimits(session_minutes=MINUTES)
    async with scene(
        server={"limits": plan}, max_session_minutes=MINUTES, **AWAKE
    ) as on:
        await asyncio.sleep(80)  # it is renewed from 84 s on
        for turn in (1, 2):
            await on.talk.utter(turn, 20_000, 1)
        await on.silence()
        on.whole()
        assert causes(on) == []
        assert lasted_s(on)[0] == pytest.approx(LIMIT_S - 15, abs=2)


REFUSALS = pytest.mark.parametrize(
    ("refuses_tokens", "code"),
    [(False, "4003"), (True, "concurrencyLimit")],
    ids=["4003", "429"],
)
"""By the ingress, or by the console already."""


@pytest.mark.wire
@REFUSALS
@virtually
async def test_too_many_sessions_at_once(
    refuses_tokens: bool, code: str
) -> None:
    """One error that names the plan's limit as the likely cause; retries are
    slow, and the voice speaks until another session has ended."""
    plan = PlanLimits(sessions=1, refuses_tokens=refuses_tokens)
    async with scene(
        voice_wired=True,
        server={"limits": plan},
        node={"auto_connect": False},
        **AWAKE,
    ) as on:
        async with other_agent(on):
            record = on.server.record
            before = len(record.token_requests)
            await talk(on, 2)
            on.whole(max_repeat_ms=0)
            assert causes(on) == [code]
            message = on.rig.errors[0]["message"]
            assert "limit of concurrent sessions of your plan" in message
            assert on.rig.totals.sent == 0
            assert on.rig.totals.voice == on.rig.totals.received
            assert "fallback" in on.rig.states
            tried_s = [one.time_s for one in record.token_requests[before:]]
            assert len(tried_s) >= 8  # of which each needs a token
            waits_s = [b - a for a, b in zip(tried_s, tried_s[1:])]
            assert all(7.5 <= wait_s < 16 for wait_s in waits_s)
        await on.rig.state("ready", 20)
        await talk(on, 1, first_turn=100)
        on.whole(max_repeat_ms=0)
        assert on.rig.totals.sent > 0


@REFUSALS
@virtually
async def test_both_limits_at_once(refuses_tokens: bool, code: str) -> None:
    """A session that is cut for its length and one that finds no room are
    two causes with two names; a renewal closes first, so that it has room,
    and does so in a pause."""
    plan = PlanLimits(
        session_minutes=MINUTES, sessions=1, refuses_tokens=refuses_tokens
    )
    async with scene(voice_wired=True, server={"limits": plan}, **AWAKE) as on:
        await talk(on, 2.5 * MINUTES)
        on.whole()
        assert causes(on) == [TIME_LIMIT]
        assert len(on.talk.verdict().repeats) <= 1
        assert max(lasted_s(on)[1:]) < 0.9 * LIMIT_S
        on.server.limits = replace(plan, sessions=2)
        async with other_agent(on):
            # Its next session finds no room: the other has taken it.
            on.server.limits = plan
            await on.until(lambda: len(causes(on)) == 2, LIMIT_S)
            await talk(on, 1.5, first_turn=200)
            on.whole()
        await on.rig.state("ready", 20)
        assert causes(on) == [TIME_LIMIT, code]
        assert on.sent("avatar_state")[-1]["reason"] == "recovered"
