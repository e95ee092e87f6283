"""The way back after a loss: at once, spread or backed off, and with a spare
session token."""

import asyncio

import pytest
from scene import Scene, scene, virtually

from devkit.motion_server import Close, Refuse, Reset

MINUTE_S = 60.0


def gaps_s(on: Scene) -> list[float]:
    """Return how long after the end of each session the next attempt came."""
    connections = on.server.record.connections
    return [
        after.opened_s - (before.closed_s or 0.0)
        for before, after in zip(connections, connections[1:])
    ]


async def ready_again(on: Scene, count: int) -> None:
    await on.until(
        lambda: (
            len(on.server.record.connections) == count
            and on.rig.states[-1] == "ready"
        ),
        60,
    )


def tokens_used(on: Scene) -> list[int]:
    return [one.session_token for one in on.server.record.connections]


@pytest.mark.wire
@virtually
async def test_a_loss_needs_no_call_of_the_console() -> None:
    """The spare is taken; it was made in a quiet moment, with one call."""
    async with scene() as on:
        await on.rig.state("ready")
        await on.until(lambda: len(on.server.record.token_requests) == 2)
        await asyncio.sleep(10)
        on.server.now(Reset())
        await ready_again(on, 2)
        assert len(on.server.record.token_requests) == 2
        assert tokens_used(on) == [1, 2]
        assert gaps_s(on)[0] <= 0.21


@virtually
async def test_a_loss_is_survived_while_the_console_is_down() -> None:
    """With a spare, in mid-speech: nothing is missing."""
    async with scene() as on:
        await on.rig.state("ready")
        await on.until(lambda: len(on.server.record.token_requests) == 2)
        await on.talk.utter(1, 5000)
        await asyncio.sleep(2)
        on.server.console_down()
        on.server.now(Reset())
        await on.silence()
        on.whole()
        assert on.ends == [("tts-1", 1)]
        assert gaps_s(on)[0] <= 0.21


@virtually
async def test_without_a_spare_the_console_has_to_come_back() -> None:
    """No spare is made while somebody speaks; the outage lasts until the
    console is up, and the speech goes on."""
    async with scene() as on:
        await on.talk.utter(1, 5000)
        await on.rig.state("ready")
        await asyncio.sleep(2)
        assert len(on.server.record.token_requests) == 1
        on.server.console_down()
        on.server.now(Reset())
        await asyncio.sleep(4)
        assert len(on.server.record.connections) == 1
        on.server.console_up()
        await on.silence()
        on.whole()


@pytest.mark.wire
@virtually
async def test_a_spare_that_is_refused_is_no_error() -> None:
    """Then the next attempt takes the long way, with one error in all, that
    of the loss."""
    async with scene() as on:
        await on.rig.state("ready")
        await on.until(lambda: len(on.server.record.token_requests) == 2)
        await asyncio.sleep(10)
        on.server.faults.upgrade(Refuse(401, detail="session token expired"))
        on.server.now(Reset())
        await ready_again(on, 2)
        assert [error["code"] for error in on.rig.errors] == [1000]
        assert on.rig.states.count("recovering") == 1
        assert len(on.server.record.token_requests) >= 3
        assert tokens_used(on) == [1, 3]
        # The long way begins at once: it is not another outage.
        assert gaps_s(on)[0] <= 0.45


@virtually
async def test_a_spare_whose_making_fails_is_no_error() -> None:
    """The console refuses it; the session that is there goes on, and the
    next loss is survived without one."""
    async with scene() as on:
        on.server.faults.console(Refuse(500), times=1)
        await on.rig.state("ready")
        # The first attempt met the fault; the next one is the session's.
        on.server.faults.console(Refuse(503), times=1)
        errors = len(on.rig.errors)
        await asyncio.sleep(10)
        assert len(on.rig.errors) == errors
        on.server.now(Reset())
        await ready_again(on, 2)


@virtually
async def test_no_token_is_used_twice() -> None:
    """In losses, renewals and refusals; the server would object."""
    async with scene(session_expire_minutes=2) as on:
        for turn_id in range(20):
            await on.rig.state("ready", 60)
            await on.talk.utter(turn_id, 1000)
            await asyncio.sleep(7)
            on.server.now(Reset() if turn_id % 2 else Close(1000))
            if turn_id % 3 == 0:
                on.server.faults.upgrade(Refuse(401))
        await on.rig.state("ready", 60)
        tokens = tokens_used(on)
        assert len(set(tokens)) == len(tokens)


@virtually
async def test_the_first_attempt_comes_at_once() -> None:
    """Within 100 ms of each loss of a session that lasted."""
    async with scene() as on:
        for count in range(1, 8):
            await ready_again(on, count)
            await asyncio.sleep(6)
            on.server.now(Reset())
        await ready_again(on, 8)
        assert max(gaps_s(on)) <= 0.11
        assert len(set(gaps_s(on))) > 1


@pytest.mark.wire
@pytest.mark.parametrize("code", [1001, 1012])
@virtually
async def test_a_restart_of_the_service_spreads_the_attempts(
    code: int,
) -> None:
    """Over 0 to 2 s: all its avatars are lost in one moment."""
    async with scene() as on:
        for count in range(1, 9):
            await ready_again(on, count)
            await asyncio.sleep(6)
            on.server.now(Close(code))
        await ready_again(on, 9)
        assert 0.4 < max(gaps_s(on)) <= 2.01
