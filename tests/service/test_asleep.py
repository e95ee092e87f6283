"""No session while nobody speaks: ended by the service, by the extension, or
not made at all yet."""

import asyncio
from typing import Any

import pytest
from agent import RATE, Agent, play, properties
from scene import Scene, scene, virtually

from devkit.harness.messages import audio_frame
from devkit.motion_server import MotionServer, Refuse


async def asleep(on: Scene) -> None:
    await on.rig.state("asleep", 60)


@pytest.mark.wire
@virtually
async def test_an_idle_timeout_of_the_service_is_no_outage() -> None:
    """No error, no attempt until somebody speaks, and then all is said."""
    async with scene(server={"idle_timeout_s": 20}) as on:
        await on.talk.utter(1, 1000)
        await on.rig.state("ready")
        await asyncio.sleep(21)
        await asleep(on)
        attempts = (
            len(on.server.record.upgrades),
            len(on.server.record.token_requests),
        )
        await asyncio.sleep(60)
        assert attempts == (
            len(on.server.record.upgrades),
            len(on.server.record.token_requests),
        )
        assert on.rig.errors == []
        assert "recovering" not in on.rig.states
        await on.talk.utter(2, 2000)
        await on.silence()
        on.whole()
        assert on.rig.errors == []
        assert on.rig.states == [
            "connecting",
            "ready",
            "asleep",
            "connecting",
            "ready",
        ]
        (status,) = [
            one["last"]
            for one in on.sent("connection_status_changed")
            if one["current"] == "disconnected"
        ]
        assert status == "connected"


@virtually
async def test_idle_disconnect_counts_from_the_last_word() -> None:
    """The session is closed so long after the last audio was heard, by the
    extension, and not while it still speaks."""
    async with scene(idle_disconnect_s=10) as on:
        await on.talk.utter(1, 30_000, 20)
        await asyncio.sleep(38)
        assert on.rig.states[-1] == "ready"
        await asleep(on)
        (connection,) = on.server.record.connections
        assert connection.closed_by == "client"
        assert connection.closed_s == pytest.approx(40, abs=1)
        on.whole(max_repeat_ms=0)
        (connected,) = [
            one["metrics"]["connected_ms"]
            for one in on.sent("metrics")
            if "connected_ms" in one["metrics"]
        ]
        assert connected == pytest.approx(40_000, abs=1000)
        assert on.rig.errors == []
        await on.talk.utter(2, 1000)
        await on.silence()
        on.whole(max_repeat_ms=0)


@pytest.mark.wire
@virtually
async def test_speech_at_the_moment_of_falling_asleep() -> None:
    """A frame that comes while the session closes is not forgotten."""
    for offset_ms in range(-40, 41, 10):
        async with scene(server={"idle_timeout_s": 5}) as on:
            await on.rig.state("ready")
            await asyncio.sleep(5 + offset_ms / 1000)
            await on.talk.utter(1, 500, 1)
            await on.silence()
            on.whole(max_repeat_ms=500)
            assert on.rig.errors == []


def frames(
    seed: int, rate: int, duration_ms: int, turn_id: int
) -> tuple[bytes, list[Any]]:
    import random

    pcm = random.Random(seed).randbytes(rate * duration_ms // 1000 * 2)
    size = rate // 50 * 2
    return pcm, [
        audio_frame(pcm[at : at + size], turn_id, sample_rate=rate)
        for at in range(0, len(pcm), size)
    ]


@pytest.mark.wire
@virtually
async def test_auto_takes_the_rate_of_the_frames() -> None:
    """The session is made for the first frame's rate, and made anew between
    utterances where it changes."""
    async with scene(sample_rate="auto") as on:
        said = []
        for turn_id, rate in enumerate((16000, 16000, 24000, 48000, 16000)):
            pcm, messages = frames(turn_id, rate, 700, turn_id)
            said.append((rate, pcm))
            for message in messages:
                await on.rig.send_frame(message)
            await on.talk.end(turn_id)
        await on.silence()
        record = on.server.record
        rates = {
            connection.number: connection.config.sample_rate
            for connection in record.connections
            if connection.config is not None
        }
        assert list(rates.values()) == [16000, 24000, 48000, 16000]
        assert [
            (rates[request.connection], request.audio)
            for request in record.requests
        ] == said
        assert on.rig.errors == []
        assert "recovering" not in on.rig.states
        # Each was heard in full before the session changed.
        for before, after in zip(record.requests, record.requests[1:]):
            if before.connection != after.connection:
                assert after.opened_s - before.opened_s >= 0.7
        assert [end["reason"] for end in on.sent("avatar_audio_end")] == [1] * 5


@pytest.mark.wire
def test_auto_and_trigger_connect_through_ten(
    motion_server: MotionServer,
) -> None:
    """The same through TEN: asleep at first, awake on trigger_connect, the
    session at the rate of the first frame."""

    async def script(agent: Agent) -> None:
        await agent.state("asleep")
        assert motion_server.record.token_requests == []
        await agent.send_json("trigger_connect")
        pcm, messages = frames(1, 16000, 300, 1)
        for message in messages:
            await agent.send(message)
        await agent.end(1)
        end = await agent.report("avatar_audio_end")
        assert end["reason"] == 1
        assert motion_server.record.requests[0].audio == pcm

    node = properties(motion_server, sample_rate="auto")
    agent = play(script, {**node, "auto_connect": False})
    (connection,) = motion_server.record.connections
    assert connection.config is not None
    assert connection.config.sample_rate == 16000 != RATE
    assert agent.errors == []


@pytest.mark.parametrize("asleep_s", [20, 200])
@virtually
async def test_a_wake_up_is_one_handshake(asleep_s: float) -> None:
    """The console is not asked, and may be down: the token is at hand, and
    fresh however long the session sleeps."""
    async with scene(idle_disconnect_s=10, session_expire_minutes=2) as on:
        await on.talk.utter(1, 1000)
        await asleep(on)
        await asyncio.sleep(asleep_s)
        record = on.server.record
        requests, upgrades = len(record.token_requests), len(record.upgrades)
        on.server.faults.console(Refuse(503), times=None)
        await on.talk.start(2)
        await on.until(lambda: on.rig.states[-1] == "ready", 1)
        assert len(record.token_requests) == requests
        assert len(record.upgrades) == upgrades + 1
        await on.talk.say(2, 1000)
        await on.talk.end(2)
        await on.silence()
        on.whole()
        assert on.rig.errors == []


@virtually
async def test_the_bill_is_the_services() -> None:
    """The sum of `credits` is the price that the service has for the
    sessions; the last `credits_total`, at the stop, is that sum."""
    async with scene(idle_disconnect_s=11) as on:
        for turn in (1, 2, 3):
            await on.talk.utter(turn, 2000)
            await asleep(on)
            await asyncio.sleep(30)
        await on.talk.utter(4, 2000)
        await on.silence()
    metrics = [one["metrics"] for one in on.sent("metrics")]
    ends = [one for one in metrics if "credits" in one]
    assert len(ends) == len(on.server.record.connections) == 4
    assert sum(one["credits"] for one in ends) == on.server.record.credits
    assert ends[-1]["credits_total"] == on.server.record.credits
    usage = [
        line.fields for line in on.rig.env.lines if line.category == "usage"
    ]
    assert [one["credits"] for one in usage] == [one["credits"] for one in ends]
