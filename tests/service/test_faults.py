"""Faults of the service and the network, at each moment.

The verdict comes from the Motion Server's own record and from the extension's
reports.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websockets
from agent import Agent, play, play_here, properties, speech
from scene import virtual_server, virtually
from spatius_avatar_python.avatar.retry import MAX_BACKOFF_S

from devkit.motion_server import (
    AudioMessages,
    Close,
    Hang,
    Malformed,
    MotionServer,
    OnEnd,
    OnInterrupt,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    Stall,
)

pytestmark = pytest.mark.wire

# Start: no fault of the service ends the avatar, or loses speech

Plan = Callable[[MotionServer], None]

ECHO = "you sent {api_key} {session_token} {agora_token}"

START_OUTAGES: dict[str, Plan] = {
    "console 500": lambda s: s.faults.console(
        Refuse(500, detail=ECHO), times=2
    ),
    "console 503": lambda s: s.faults.console(Refuse(503, body=ECHO)),
    "console answers nonsense": lambda s: s.faults.console(Malformed()),
    "upgrade 503": lambda s: s.faults.upgrade(Refuse(503), times=2),
    "upgrade 401 twice": lambda s: s.faults.upgrade(
        Refuse(401, detail=f"token is expired: {ECHO}"), times=2
    ),
    "egress unavailable": lambda s: s.faults.handshake(
        ServerError(14, f"failed to create egress connection: {ECHO}")
    ),
    "time limit at the handshake": lambda s: s.faults.handshake(
        ServerError(4002, "session time limit reached")
    ),
    "closed at the handshake": lambda s: s.faults.handshake(Close(1011)),
    "reset at the handshake": lambda s: s.faults.handshake(Reset()),
}

# These take the avatar long: it waits for an answer, or because it is asked to.
SLOW_OUTAGES: dict[str, Plan] = {
    "console 429": lambda s: s.faults.console(Refuse(429)),
    "upgrade 429": lambda s: s.faults.upgrade(Refuse(429)),
    "console hangs": lambda s: s.faults.console(Hang()),
    "upgrade hangs": lambda s: s.faults.upgrade(Hang()),
    "never confirmed": lambda s: s.faults.handshake(Hang()),
}


class FromTheStart:
    """An agent that speaks while the first attempt fails."""

    def __init__(self, server: MotionServer) -> None:
        self.server = server
        self.pcm = speech(1000)

    async def script(self, agent: Agent) -> None:
        await agent.say(self.pcm, 1)
        await agent.end(1)
        await agent.state("ready")
        await self.server.until(lambda r: r.requests[-1].closed)

    def check(self, agent: Agent) -> None:
        """One error, one ready, and all of the speech arrived."""
        record = self.server.record
        assert record.received() == self.pcm
        assert agent.errors == [1000]
        assert agent.states[:3] == ["connecting", "recovering", "ready"]
        assert record.violations == []


@pytest.mark.parametrize("outage", START_OUTAGES)
def test_an_outage_at_the_start_is_overcome(
    motion_server: MotionServer, outage: str
) -> None:
    """One error, one ready, and all that was said meanwhile is received."""
    START_OUTAGES[outage](motion_server)
    agent = FromTheStart(motion_server)
    agent.check(play(agent.script, properties(motion_server)))


@pytest.mark.parametrize("outage", SLOW_OUTAGES)
@virtually
async def test_a_slow_outage_at_the_start_is_overcome(outage: str) -> None:
    """In the end: one error, then ready, and no speech is lost."""
    async with virtual_server() as (server, clock):
        SLOW_OUTAGES[outage](server)
        agent = FromTheStart(server)
        agent.check(await play_here(agent.script, properties(server), clock))


def test_a_service_that_cannot_be_reached_is_waited_for(
    motion_server: MotionServer,
) -> None:
    """Refused connections are tried again; speech waits."""
    motion_server.pause_listening()
    pcm = speech(500)

    async def script(agent: Agent) -> None:
        await agent.say(pcm, 1)
        await agent.end(1)
        await agent.report("error")
        motion_server.resume_listening()
        await motion_server.until(lambda r: r.requests[-1].closed)

    agent = play(script, properties(motion_server))
    assert motion_server.record.received() == pcm
    assert agent.errors == [1000]
    assert "cannot be reached" in agent.sent("error")[0]["message"]


@virtually
async def test_a_slow_start_is_no_outage() -> None:
    """Eight seconds to connect: no error, and speech that waited is
    received."""
    async with virtual_server() as (server, clock):
        server.faults.console(Slow(4))
        server.faults.upgrade(Slow(4))
        pcm = speech(500)

        async def script(agent: Agent) -> None:
            assert agent.states in ([], ["connecting"])  # nobody waited for it
            await agent.say(pcm, 1)
            await agent.end(1)
            await server.until(lambda r: r.requests[-1].closed)

        agent = await play_here(script, properties(server), clock)
        assert server.record.received() == pcm
        assert agent.errors == []


# Loss: a new session with new tokens, and the rest of the speech

LOSSES = {
    "close 1000": Close(1000),
    "close 1001": Close(1001),
    "close 1011": Close(1011, "internal {session_token}"),
    "close 1000 with words": Close(1000, "unexpected message type"),
    "close 1011 with words": Close(1011, "driven server request failed"),
    "close 1013": Close(1013, "try again later"),
    "close 4002": Close(4002, "session time limit reached"),
    "reset": Reset(),
    "time limit": ServerError(4002, "session time limit reached"),
}
MOMENTS = ("idle", "at the end", "at the interrupt")


@pytest.mark.parametrize(
    ("loss", "moment"),
    [
        *((loss, "mid-utterance") for loss in LOSSES),
        *itertools.product(("close 1011", "reset", "time limit"), MOMENTS),
    ],
)
def test_a_lost_session_is_replaced(
    motion_server: MotionServer, loss: str, moment: str
) -> None:
    """At any point: one error, new tokens, and no byte received twice."""
    fault = LOSSES[loss]
    first, last = speech(1500, 1), speech(400, 2)
    plan = motion_server.faults.runtime
    if moment == "at the end":
        plan(fault, after=OnEnd(), connection=1)
    elif moment == "at the interrupt":
        plan(fault, after=OnInterrupt(), connection=1)

    async def script(agent: Agent) -> None:
        await agent.state("ready")
        if moment == "idle":
            motion_server.now(fault)
        elif moment == "mid-utterance":
            begun, under_way = first[: 48 * 500], first[48 * 500 : 48 * 600]
            await agent.say(begun, 1)
            await motion_server.until(lambda r: r.received() == begun)
            motion_server.now(fault)
            await agent.say(under_way, 1)
            await agent.been("recovering")
            await agent.say(first[48 * 600 :], 1)
            await agent.end(1)
        else:
            await agent.say(first, 1)
            await motion_server.until(lambda r: r.received() == first)
            if moment == "at the interrupt":
                await agent.flush()
            else:
                await agent.end(1)
        await motion_server.until(
            lambda r: len(r.live_connections) == 1 and len(r.connections) == 2
        )
        await agent.state("ready")
        await agent.say(last, 2)
        await agent.end(2)
        await motion_server.until(
            lambda r: r.received().endswith(last) and r.requests[-1].closed
        )

    # Audio on its way is not repeated: see test_resume.py for that.
    agent = play(script, properties(motion_server, resume_within_s=0))
    record = motion_server.record
    one, two = record.connections
    assert agent.errors == [1000]
    assert one.session_token != two.session_token
    assert one.config and two.config
    assert one.config.agora_token != two.config.agora_token
    assert record.violations == []
    before, after = record.received(1), record.received(2)
    assert first.startswith(before)
    if moment == "mid-utterance":
        assert after.endswith(last)
        rest = after[: -len(last)]
        assert rest and first.endswith(rest)
        lost = len(first) - len(before) - len(rest)
        assert 0 <= lost <= 48 * 100  # the audio on its way when it broke
    else:
        assert after == last


def test_a_service_error_does_not_end_the_session(
    motion_server: MotionServer,
) -> None:
    """A server_error alone is reported once; the utterance goes on."""
    pcm = speech(600)
    for count in (5, 10, 15):
        motion_server.faults.runtime(
            ServerError(13, f"driven server request failed: {ECHO}"),
            after=AudioMessages(count),
        )

    async def script(agent: Agent) -> None:
        await agent.state("ready")
        await agent.say(pcm, 1, pace_s=0.002)
        await agent.end(1)
        await motion_server.until(lambda r: r.requests[0].closed)
        await agent.report("error")

    agent = play(script, properties(motion_server))
    assert motion_server.record.received() == pcm
    assert len(motion_server.record.connections) == 1
    assert agent.errors == [1000]


@virtually
async def test_a_service_that_comes_and_goes_is_one_outage() -> None:
    """It reports errors and closes, again and again; speech overflows
    meanwhile, and users barge in: two errors in all."""
    async with virtual_server() as (server, clock):

        async def script(agent: Agent) -> None:
            await agent.state("ready")
            for turn_id in range(4):
                server.now(ServerError(13, "internal"))
                server.now(Close(1011))
                await agent.been("recovering", turn_id + 1)
                await agent.say(speech(1000), 2 * turn_id)
                await agent.flush()
                await agent.say(speech(1000), 2 * turn_id + 1)
                await agent.end(2 * turn_id + 1)
                await agent.state("ready")

        node = properties(server, max_buffered_speech_s=0.5)
        agent = await play_here(script, node, clock)
    assert len(agent.errors) == 2
    assert {e["vendor_info"]["code"] for e in agent.sent("error")} == {
        "1011",
        "overflow",
    }


KEEPALIVE = ("ping_interval", "ping_timeout", "close_timeout")


@pytest.fixture
def fast_keepalive(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[pytest.MonkeyPatch]:
    """Let the keepalive that the SDKs rely on be 20 times as fast.

    It is the websocket library's own, and the SDKs keep its defaults.
    `undo()` of what it yields makes that of new connections as slow as it is.
    """
    defaults = websockets.connect.__init__.__kwdefaults__
    assert defaults is not None
    assert sum(defaults[name] for name in KEEPALIVE) <= 50
    with monkeypatch.context() as patch:
        for name in KEEPALIVE:
            patch.setitem(defaults, name, defaults[name] / 20)
        yield patch


def test_a_silent_peer_is_noticed(
    motion_server: MotionServer, fast_keepalive: pytest.MonkeyPatch
) -> None:
    """Nothing ever comes back: the SDK's keepalive ends the connection."""

    async def script(agent: Agent) -> None:
        await agent.state("ready")
        fast_keepalive.undo()  # a busy machine may be late with an answer
        motion_server.now(Silence())
        await agent.been("ready", 2)
        await agent.say(speech(100), 1)
        await agent.end(1)
        await motion_server.until(lambda r: r.requests[-1].closed)

    agent = play(script, properties(motion_server))
    assert agent.errors == [1000]
    assert motion_server.record.received(2) == speech(100)


# Fatal: one error with advice, and no further attempt

FATAL: dict[str, tuple[Plan, str]] = {
    "bad key": (
        lambda s: s.faults.console(
            Refuse(401, title="Unauthorized", detail=ECHO)
        ),
        "params.spatius_api_key",
    ),
    "billing at the console": (
        lambda s: s.faults.console(Refuse(402)),
        "billing",
    ),
    "unknown app": (
        lambda s: s.faults.upgrade(Refuse(404, detail="app id unrecognized")),
        "params.spatius_app_id",
    ),
    "unknown avatar": (
        lambda s: s.faults.upgrade(Refuse(404, detail="avatar not found")),
        "params.spatius_avatar_id",
    ),
    "no credits at the handshake": (
        lambda s: s.faults.handshake(ServerError(4001, "credits exhausted")),
        "credits",
    ),
    "invalid egress": (
        lambda s: s.faults.handshake(
            ServerError(3, "agora_egress: {agora_token} is invalid")
        ),
        "params.agora_appid",
    ),
    "no credits while idle": (
        lambda s: s.faults.runtime(
            ServerError(4001, "credits exhausted"), after=AudioMessages(1)
        ),
        "credits",
    ),
    "closed for credits": (
        lambda s: s.faults.runtime(Close(4001), after=AudioMessages(1)),
        "credits",
    ),
    "no credits at the handshake, and no close": (
        lambda s: s.faults.handshake(
            ServerError(4001, "credits exhausted", then_silent=True)
        ),
        "credits",
    ),
    "three refused upgrades": (
        lambda s: s.faults.upgrade(Refuse(401), times=None),
        "params.spatius_app_id",
    ),
}

LONG_S = 2 * MAX_BACKOFF_S
"""Without an attempt for so long there will be none."""


@pytest.mark.parametrize("case", FATAL)
@virtually
async def test_a_fatal_error_stops_the_avatar(case: str) -> None:
    """One error -1000 with advice, and no further attempt."""
    plan, advice = FATAL[case]
    async with virtual_server() as (server, clock):
        plan(server)

        async def script(agent: Agent) -> None:
            await agent.say(speech(300), 1)
            await agent.state("failed")
            attempts = len(server.record.token_requests)
            await agent.say(speech(300), 2)
            await agent.end(2)
            await agent.flush()
            await asyncio.sleep(LONG_S)
            assert len(server.record.token_requests) == attempts

        agent = await play_here(script, properties(server), clock)
    (fatal,) = [e for e in agent.sent("error") if e["code"] == -1000]
    assert advice in fatal["message"]
    assert fatal["vendor_info"]["code"]
    assert agent.states[-1] == "failed"
    retried = [1000] if case == "three refused upgrades" else []
    assert agent.errors == [*retried, -1000]


async def say_more_than_a_stalled_socket_takes(
    agent: Agent, server: MotionServer
) -> None:
    """Say 50 ms, then ten minutes; the socket is full once the queue is."""
    await agent.state("ready")
    await agent.say(speech(50, 1), 1)
    await server.until(lambda r: r.requests)
    server.now(Stall())
    minute = speech(60_000, 2)
    for _ in range(10):
        await agent.say(minute, 1, frame_ms=1000)
    await agent.report(
        "error", lambda e: e["vendor_info"]["code"] == "overflow"
    )


def check_overflow(errors: list[dict[str, Any]]) -> None:
    """One error per episode: the kernel may take half of the queue yet."""
    assert 1 <= len(errors) <= 3
    for error in errors:
        assert error["code"] == 1000
        assert error["vendor_info"]["code"] == "overflow"


def test_a_fatal_error_is_received_while_the_socket_is_stalled(
    cramped_server: MotionServer,
) -> None:
    """The call that waits for the socket does not hold it up."""
    server = cramped_server

    async def script(agent: Agent) -> None:
        await say_more_than_a_stalled_socket_takes(agent, server)
        server.now(ServerError(4001, "credits exhausted"))
        await agent.state("failed")

    agent = play(script, properties(server))
    assert agent.errors[-1] == -1000
    check_overflow(agent.sent("error")[:-1])
    assert "credits" in agent.sent("error")[-1]["message"]


# Barge-in and bounds while the socket takes nothing


def test_a_flush_is_answered_while_the_socket_is_stalled(
    cramped_server: MotionServer,
) -> None:
    """At once, with one interrupt when the socket takes data again; memory
    stays bounded, one error reports the audio refused, and speech goes on."""
    answer = speech(500, 5)
    server = cramped_server

    async def script(agent: Agent) -> None:
        await say_more_than_a_stalled_socket_takes(agent, server)
        for _ in range(20):
            await agent.flush()
        await agent.say(answer, 2)
        await agent.end(2)
        server.now(Resume())
        await server.until(lambda r: r.received().endswith(answer))
        await server.until(lambda r: r.requests[-1].closed)

    agent = play(script, properties(server))
    assert len(server.record.interrupts) == 1
    check_overflow(agent.sent("error"))
    assert server.record.requests[-1].audio == answer
    assert server.record.violations == []
    (cut,) = [
        m["metrics"]
        for m in agent.sent("metrics")
        if m["metrics"].get("interrupted")
    ]
    assert cut["audio_ms"] == 600_050
    assert cut["audio_ms"] == pytest.approx(cut["sent_ms"] + cut["dropped_ms"])
    assert cut["dropped_by_flush_ms"] <= 60_000
    # The kernel's buffers took the rest before they were full.
    assert cut["dropped_by_overflow_ms"] >= 400_000


def test_a_stall_without_a_flush_loses_only_refused_audio(
    cramped_server: MotionServer,
) -> None:
    """After the stall the bounded rest is received, in order."""
    pcm = speech(30_000)
    server = cramped_server

    async def script(agent: Agent) -> None:
        await agent.state("ready")
        server.now(Stall())
        await agent.say(pcm, 1, frame_ms=500)
        await agent.end(1)
        server.now(Resume())
        await server.until(lambda r: r.requests[-1].closed)

    agent = play(script, properties(server))
    assert server.record.received() == pcm
    assert agent.errors == []
