"""How the local Spatius service reports playback."""

import asyncio
from typing import Any

import aiohttp
import pytest
from fakes import FakeClock
from scene import virtually
from sdk_client import FRAME, Client, opened, sdk

from devkit.harness.virtual_time import VirtualClock
from devkit.motion_server import (
    MotionServer,
    PlanLimits,
    PlaybackSignals,
    Reset,
    StopPlayback,
    wire,
)
from devkit.motion_server.judge import Judge, unique_pcm
from devkit.motion_server.listener import Listener
from devkit.motion_server.model import Connection, SessionConfig
from devkit.motion_server.playback import Change, Playback, PlaybackReporter
from devkit.motion_server.record import Record

RATE = 24000
SECOND = bytes(RATE * 2)

only_with_states = pytest.mark.skipif(
    not wire.knows_playback_state,
    reason=f"the protocol of {wire.sdk_name} has no ServerPlaybackState",
)


class Viewer:
    """A session that keeps the playback signals it gets."""

    def __init__(self, server: MotionServer) -> None:
        self.signals: list[tuple[str, str, bool]] = []
        self.times_s: list[float] = []
        self.states: list[Any] = []
        self._server = server
        self._changed = asyncio.Event()

    async def open(self, **options: Any) -> Client:
        client = await opened(
            self._server, transport_frames=self._on_frames, **options
        )
        return client

    def _on_frames(self, data: bytes, end: bool) -> None:
        body = wire.parse(data).server_response_animation
        self.signals.append((body.connection_id, body.req_id, body.end))
        self.times_s.append(self._server.clock.monotonic())
        assert body.end == end
        self._changed.set()

    def on_state(self, event: Any) -> None:
        self.states.append(event)
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait for that many signals."""
        while len(self.signals) < count:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 30)

    async def until_interrupted(self) -> None:
        """Wait for the state of an interrupt."""
        while not any(one.reason for one in self.states):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 30)

    @property
    def ends(self) -> list[tuple[str, bool]]:
        return [(req_id, end) for _, req_id, end in self.signals]


def serve(
    signals: PlaybackSignals | None = None, **options: Any
) -> MotionServer:
    """Return a server for a test in virtual time."""
    clock = VirtualClock()
    return MotionServer(
        clock=clock, now=clock.epoch, playback_signals=signals, **options
    )


# The model.


def test_requests_play_one_behind_the_other():
    """Each begins when it can, and ends when its end has been played."""
    playback = Playback(RATE)
    playback.audio("a", RATE * 2, True, 0.0)
    playback.audio("b", RATE, False, 0.5)
    assert playback.due(0.5) == [Change("a", "playing", 0)]
    assert playback.due_at_s == 1.0
    assert playback.due(1.0) == [
        Change("a", "ended", 1000),
        Change("b", "playing", 0),
    ]
    assert playback.due_at_s is None
    playback.audio("b", 0, True, 3.0)
    assert playback.due(3.0) == [Change("b", "ended", 500)]


def test_an_interrupt_ends_all_that_plays_or_waits():
    """With the position that each has reached."""
    playback = Playback(RATE)
    playback.audio("a", RATE * 2, True, 0.0)
    playback.audio("b", RATE * 2, True, 0.0)
    playback.due(0.25)
    assert playback.interrupt(0.25) == [
        Change("a", "interrupted", 250, "explicit"),
        Change("b", "interrupted", 0, "explicit"),
    ]
    assert playback.due(5.0) == []


def test_progress_is_reported_while_a_request_plays():
    """Every so often, with the position; not behind its audio."""
    playback = Playback(RATE)
    playback.audio("a", RATE * 2, True, 0.0)
    changes = []
    while playback.due_at_s is not None:
        changes += playback.due(playback.due_at_s, progress_s=0.4)
    assert [(c.state, c.played_ms) for c in changes] == [
        ("playing", 0),
        ("playing", pytest.approx(400)),
        ("playing", pytest.approx(800)),
        ("ended", 1000),
    ]


def test_playback_may_begin_later():
    """By as much for each request; an interrupt comes before the begin."""
    playback = Playback(RATE)
    playback.audio("a", RATE * 2, True, 0.0, delay_s=3.5)
    assert playback.due_at_s == 3.5
    assert playback.due(4.5) == [
        Change("a", "playing", 0),
        Change("a", "ended", 1000),
    ]
    playback.audio("b", RATE * 2, True, 5.0, delay_s=3.5)
    (change,) = playback.interrupt(8.0)
    assert change.played_ms == 0


def test_audio_that_the_service_cuts_stays_cut():
    """Nothing that follows of it plays, but all that comes behind it does."""
    playback = Playback(RATE)
    playback.audio("a", RATE * 2, False, 0.0)
    assert playback.interrupt(0.25, "pause_timeout") == [
        Change("a", "interrupted", 250, "pause_timeout")
    ]
    playback.audio("a", RATE * 2, True, 0.5)
    assert playback.due_at_s is None
    playback.audio("b", RATE * 2, True, 0.5)
    assert playback.due_at_s == 0.5


# On the wire.


@virtually
async def test_playback_is_not_reported_by_default():
    """Half of the deployments send nothing; it may be switched on."""
    async with serve() as server:
        viewer = Viewer(server)
        client = await viewer.open()
        await client.say(FRAME, end=True)
        await client.session.interrupt()
        await server.until(lambda r: r.interrupts)
        server.playback_signals = PlaybackSignals()
        req_id = await client.say(SECOND, end=True)
        await viewer.until(2)
        assert viewer.ends == [(req_id, False), (req_id, True)]
        assert (
            viewer.signals[0][0] == server.record.connections[0].connection_id
        )
        await client.session.close()


@virtually
async def test_the_end_comes_when_it_has_been_played():
    """In the clock's time, from the first byte."""
    async with serve(PlaybackSignals()) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        first = await client.say(SECOND, end=True)
        second = await client.say(SECOND, SECOND, end=True)
        await viewer.until(4)
        assert viewer.ends == [
            (first, False),
            (first, True),
            (second, False),
            (second, True),
        ]
        arrived_s = server.record.requests[0].opened_s
        assert viewer.times_s[1] - arrived_s >= 1
        assert viewer.times_s[3] - arrived_s >= 3
        kinds = [e.detail for e in server.record.events if e.kind == "playback"]
        assert kinds[0] == "playing at 0 ms"
        assert kinds[3] == "ended at 2000 ms"
        await client.session.close()


@pytest.mark.asyncio
async def test_an_interrupted_request_gets_no_end():
    """Unless the service is set to send one."""
    async with MotionServer(playback_signals=PlaybackSignals()) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        first = await client.say(SECOND * 60, end=True)
        await viewer.until(1)
        await client.session.interrupt()
        await server.until(lambda r: r.interrupts)
        server.playback_signals = PlaybackSignals(end_when_interrupted=True)
        second = await client.say(SECOND * 60, end=True)
        await viewer.until(2)
        await client.session.interrupt()
        await viewer.until(3)
        assert viewer.ends == [
            (first, False),
            (second, False),
            (second, True),
        ]
        await client.session.close()


@virtually
async def test_signals_may_be_late():
    """By so much of the clock's time, and in their order."""
    async with serve(PlaybackSignals(late_ms=2000)) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        req_id = await client.say(FRAME, end=True)
        await viewer.until(2)
        assert viewer.ends == [(req_id, False), (req_id, True)]
        opened_s = server.record.requests[0].opened_s
        assert viewer.times_s[0] - opened_s >= 2
        await client.session.close()


class Signals:
    """The service's side of a connection: keeps which signals were sent."""

    def __init__(self) -> None:
        self.connection = Connection(1, 0.0, "app", "avatar", 1)
        self.ends: list[bool] = []

    def post(self, data: bytes) -> None:
        self.ends.append(wire.parse(data).server_response_animation.end)


class HastyClock(FakeClock):
    """Keeps callbacks, to be called in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[Any] = []

    def call_at(self, when: float, callback: Any) -> Any:
        self.callbacks.append(callback)
        return super().call_at(when, lambda: None)


async def test_late_signals_keep_their_order():
    """Whichever of two timers goes off first."""
    client, clock = Signals(), HastyClock()
    config = SessionConfig(
        RATE, "pcm_s16le", 0, "channel", 1, "1", agora_token="-"
    )
    reporter = PlaybackReporter(
        client,
        config,
        Record(clock.monotonic),
        clock,
        lambda: PlaybackSignals(late_ms=10),
        states=False,
    )
    reporter.audio("a", 2, False)
    await clock.advance(1)
    reporter.audio("a", 0, True)
    for late in reversed(clock.callbacks):
        late()
    assert client.ends == [False, True]


@virtually
async def test_signals_may_come_twice():
    """An `end` as well."""
    async with serve(PlaybackSignals(doubled=True)) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        await client.say(FRAME, end=True)
        await viewer.until(4)
        ends = [end for _, end in viewer.ends]
        assert ends == [False, False, True, True]
        await client.session.close()


@virtually
async def test_signals_may_be_of_foreign_requests():
    """Behind each true one."""
    async with serve(PlaybackSignals(foreign=True)) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        req_id = await client.say(FRAME, end=True)
        await viewer.until(4)
        own = [one == req_id for one, _ in viewer.ends]
        assert own == [True, False, True, False]
        await client.session.close()


@virtually
async def test_signals_may_be_of_an_older_connection():
    """With its id and its latest request's."""
    async with serve() as server:
        viewer = Viewer(server)
        old = await opened(server)
        old_id = await old.say(FRAME, end=True)
        await old.session.close()
        server.playback_signals = PlaybackSignals(older=True)
        client = await viewer.open()
        req_id = await client.say(FRAME, end=True)
        await viewer.until(4)
        ids = [one.connection_id for one in server.record.connections]
        assert viewer.signals[:2] == [
            (ids[1], req_id, False),
            (ids[0], old_id, False),
        ]
        await client.session.close()


@pytest.mark.asyncio
async def test_a_lost_connection_ends_playback():
    """Nothing is sent for it any more, late signals included."""
    clock = FakeClock(0)
    async with MotionServer(
        clock=clock, playback_signals=PlaybackSignals(late_ms=100)
    ) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        await client.say(SECOND, end=True)
        await server.until(lambda r: r.requests[0].closed)
        await client.session.close()
        await server.until(lambda r: r.connections[0].closed_s is not None)
        await clock.advance(2)
        assert viewer.signals == []
        assert "playback" not in {e.kind for e in server.record.events}


@virtually
async def test_capabilities_do_no_harm():
    """A handshake that declares some is a handshake for each SDK."""
    async with serve(
        PlaybackSignals(), capabilities=("playback_state",)
    ) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        await client.say(FRAME, end=True)
        await viewer.until(2)
        declared = getattr(client.session, "capabilities", ())
        assert declared in ((), ("playback_state",))
        assert bool(declared) == wire.knows_playback_state
        await client.session.close()


@only_with_states
@pytest.mark.wire
@pytest.mark.asyncio
async def test_playback_states_have_the_position():
    """Of begin, progress, end and interrupt."""
    clock = FakeClock(0)
    async with MotionServer(
        clock=clock,
        playback_signals=PlaybackSignals(progress_ms=400),
        capabilities=("playback_state",),
    ) as server:
        viewer = Viewer(server)
        client = await viewer.open(on_playback_state=viewer.on_state)
        first = await client.say(SECOND, end=True)
        await viewer.until(1)
        for count in (2, 3, 4):
            await clock.advance(0.4)
            await viewer.until(count)
        second = await client.say(SECOND, end=True)
        await viewer.until(5)
        await client.session.interrupt()
        await viewer.until_interrupted()
        states = [(s.req_id, s.state.value) for s in viewer.states]
        assert states[:5] == [(first, "playing")] * 3 + [
            (first, "ended"),
            (second, "playing"),
        ]
        assert states[-1] == (second, "interrupted")
        assert viewer.states[3].played_ms == 1000
        assert 400 <= viewer.states[1].played_ms < 1000
        assert viewer.states[-1].reason == "explicit"
        await client.session.close()


# Requests that supersede others.


def heard_ms(server: MotionServer) -> dict[str, float]:
    """How much of each request the listener hears if nothing else happens."""
    listener = Listener(RATE)
    listener.replay(server.record)
    heard: dict[str, float] = {}
    for one in listener.audible():
        duration_ms = 1000 * (one.end_s - one.start_s)
        heard[one.req_id] = heard.get(one.req_id, 0) + duration_ms
    return heard


async def say_two(server: MotionServer, client: Client) -> tuple[str, str]:
    """Say 2 s, and 1 s of them later again 2 s, to their ends."""
    first = await client.say(SECOND, SECOND, end=True)
    await server.until(lambda r: r.requests[0].closed)
    await server.clock.advance(1)  # type: ignore[attr-defined]
    second = await client.say(SECOND, SECOND, end=True)
    await server.until(lambda r: r.requests[1].closed)
    await server.clock.advance(2)  # type: ignore[attr-defined]
    return first, second


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize("preempts", [False, True])
async def test_a_newer_request_waits_or_supersedes(preempts: bool):
    """It waits by default; where the service preempts, the rest of the older
    one is never heard, and its `end` never sent."""
    async with MotionServer(
        clock=FakeClock(0),
        playback_signals=PlaybackSignals(),
        preempts=preempts,
    ) as server:
        viewer = Viewer(server)
        client = await viewer.open()
        first, second = await say_two(server, client)
        await viewer.until(3)
        if preempts:
            ends = [(first, False), (second, False), (second, True)]
            heard = {first: 1000, second: 2000}
        else:
            ends = [(first, False), (first, True), (second, False)]
            heard = {first: 2000, second: 2000}
        assert viewer.ends == ends
        assert heard_ms(server) == pytest.approx(heard)
        cuts = [e.req_id for e in server.record.events if e.kind == "cut"]
        assert cuts == ([first] if preempts else [])
        await client.session.close()


@only_with_states
@pytest.mark.wire
@pytest.mark.asyncio
async def test_a_superseded_request_has_its_reason_and_position():
    """INTERRUPTED, preempted, with the part that was heard."""
    async with MotionServer(
        clock=FakeClock(0),
        playback_signals=PlaybackSignals(),
        capabilities=("playback_state",),
        preempts=True,
    ) as server:
        viewer = Viewer(server)
        client = await viewer.open(on_playback_state=viewer.on_state)
        first, second = await say_two(server, client)
        await viewer.until(3)
        states = [
            (s.req_id, s.state.value, s.played_ms, s.reason)
            for s in viewer.states
        ]
        assert states[:3] == [
            (first, "playing", 0, ""),
            (first, "interrupted", 1000, "preempted"),
            (second, "playing", 0, ""),
        ]
        await client.session.close()


@pytest.mark.asyncio
async def test_requests_that_wait_are_superseded_as_well():
    """By the newest; the service may begin to preempt at any time."""
    async with MotionServer(clock=FakeClock(0)) as server:
        client = await opened(server)
        for _ in range(2):
            await client.say(SECOND, end=True)
        await server.until(lambda r: len(r.requests) == 2)
        await server.until(lambda r: r.requests[1].closed)
        server.preempts = True
        last = await client.say(SECOND, end=True)
        await server.until(lambda r: len(r.requests) == 3)
        await server.clock.advance(5)  # type: ignore[attr-defined]
        assert heard_ms(server) == {last: pytest.approx(1000)}
        await client.session.close()


@pytest.mark.wire
@pytest.mark.asyncio
async def test_the_service_may_stop_playing():
    """The rest of that request is not heard; the next request is."""
    clock = FakeClock(0)
    async with MotionServer(
        clock=clock,
        playback_signals=PlaybackSignals(),
        capabilities=("playback_state",),
    ) as server:
        viewer = Viewer(server)
        with_states = (
            {"on_playback_state": viewer.on_state}
            if wire.knows_playback_state
            else {}
        )
        client = await viewer.open(**with_states)
        first = await client.say(SECOND)
        await viewer.until(1)
        await clock.advance(0.4)
        server.now(StopPlayback("pause_timeout"))
        await client.say(SECOND, end=True)
        second = await client.say(SECOND, end=True)
        await viewer.until(2)
        await clock.advance(1)
        heard = {first: 400, second: 1000}
        assert heard_ms(server) == pytest.approx(heard)
        if wire.knows_playback_state:
            await viewer.until_interrupted()
            cut = viewer.states[1]
            assert (cut.req_id, cut.reason) == (first, "pause_timeout")
            assert cut.played_ms == 400
        await client.session.close()


@pytest.mark.wire
@pytest.mark.asyncio
async def test_the_service_may_begin_to_play_late():
    """Its signals and the listener have the true times."""
    clock = FakeClock(0)
    async with MotionServer(
        clock=clock,
        playback_signals=PlaybackSignals(),
        playback_delay_s=3.5,
    ) as server:
        listener = Listener(RATE)
        listener.follow(server.record)
        viewer = Viewer(server)
        client = await viewer.open()
        await client.say(SECOND, end=True)
        await server.until(lambda r: r.requests[0].closed)
        await clock.advance(3.4)
        await (await client.session._connection.ping())
        assert viewer.signals == []
        await clock.advance(0.2)
        await viewer.until(1)
        assert not viewer.signals[0][2]
        await clock.advance(1)
        await viewer.until(2)
        assert viewer.signals[1][2]
        afterwards = Listener(RATE)
        afterwards.replay(server.record)
        for one in (listener, afterwards):
            (part,) = one.audible()
            assert part.start_s - server.record.started_s == 3.5
        assert heard_ms(server) == {
            server.record.requests[0].req_id: pytest.approx(1000)
        }
        await client.session.close()


@pytest.mark.asyncio
async def test_settings_can_be_changed_over_http():
    """Of playback, console, limits and timeouts; a bad one is refused."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:

        async def post(body: Any) -> int:
            url = f"{server.control_url}/set"
            async with http.post(url, json=body) as answer:
                return answer.status

        settings = {
            "playback_signals": {"late_ms": 500, "doubled": True},
            "capabilities": ["playback_state"],
            "idle_timeout_s": 60,
            "limits": {"session_minutes": 10, "sessions": 2},
            "preempts": True,
            "playback_delay_s": 3.5,
            "console_down": {"name": "refuse", "status": 503},
        }
        assert await post(settings) == 200
        assert server.playback_signals == PlaybackSignals(500, doubled=True)
        assert server.capabilities == ("playback_state",)
        assert server.idle_timeout_s == 60
        assert server.limits == PlanLimits(session_minutes=10, sessions=2)
        assert server.preempts
        assert server.playback_delay_s == 3.5
        with pytest.raises(sdk.AvatarSDKError):
            await opened(server)
        nothing = {
            "playback_signals": None,
            "console_down": None,
            "limits": None,
            "preempts": False,
            "playback_delay_s": None,
        }
        assert await post(nothing) == 200
        assert server.playback_signals is None
        assert server.limits == PlanLimits()
        assert not server.preempts
        assert server.playback_delay_s == 0
        await opened(server)
        assert await post({"playback_signals": {"loud": True}}) == 400
        assert await post({"limits": {"sessions": 0}}) == 400
        assert await post({"moon": None}) == 400


# The listener.


@virtually
async def test_a_listener_follows_the_service():
    """Audio that a lost session had not played is missing, unless said
    again."""
    speech = unique_pcm(4000, RATE)
    async with serve(keep_audio=False) as server:
        listener = Listener(RATE)
        listener.follow(server.record)
        first = await opened(server)
        await first.say(speech[: RATE * 4], end=True)
        await server.until(lambda r: r.requests[0].closed)
        await asyncio.sleep(1)
        server.now(Reset())
        await first.until(lambda: first.closes)
        second = await opened(server)
        heard_s = sum(one.end_s - one.start_s for one in listener.audible())
        heard_bytes = int(heard_s * RATE) * 2
        await second.say(speech[heard_bytes - RATE // 2 * 2 :], end=True)
        await server.until(lambda r: len(r.requests) == 2)
        await server.until(lambda r: r.requests[1].closed)
        judge = Judge(RATE)
        judge.said("answer", speech)
        verdict = judge.verdict(listener.audible())
        assert verdict.violations(max_repeat_ms=501) == []
        (repeat,) = verdict.repeats
        assert repeat.repeated_ms == pytest.approx(500, abs=1)
        judge.said("nothing", unique_pcm(100, RATE, 2))
        assert judge.verdict(listener.audible()).missing_ms == 100
        await second.session.close()
