"""Speech goes on at the listener's position after any loss.

In virtual time, judged by a model of the listener: a TTS is faster than
speech, so most of an answer is written long before it is heard.
"""

import asyncio
from typing import Any

import pytest
from agent import properties
from scene import (
    ALLOWANCE_MS,
    REWIND_MS,
    Scene,
    scene,
    virtual_server,
    virtually,
)
from spatius_avatar_python.avatar.arrival import (
    PING_INTERVAL_S,
    PLAYING_INTERVAL_S,
)
from spatius_avatar_python.speech.utterance import MESSAGE_MS

from devkit.harness.conversation import FRAME_MS, Conversation
from devkit.harness.rig import Rig
from devkit.motion_server import (
    AudioMessages,
    BlackHole,
    Close,
    PlaybackSignals,
    Refuse,
    Reset,
    ServerError,
    Silence,
    Stall,
)
from devkit.motion_server.proxy import DelayingProxy

INEXACT_MS = 50
"""By how much a kernel that delivers late may change a time."""

LOSSES = [Reset(), Close(1000), Close(1001), Close(1012), Close(4002)]


async def lose(on: Scene, fault: Any) -> float:
    """Break the connection; return when."""
    on.server.now(fault)
    return on.clock.monotonic()


@pytest.mark.wire
@pytest.mark.parametrize(
    ("fault", "speed"),
    [*((fault, 5) for fault in LOSSES), (Reset(), 1), (Reset(), 20)],
    ids=repr,
)
@virtually
async def test_an_answer_goes_on_after_a_loss(fault: Any, speed: float) -> None:
    """Nothing is missing, little is repeated, and the graph sees one
    utterance."""
    async with scene() as on:
        saying = asyncio.ensure_future(on.talk.utter(1, 8000, speed))
        await asyncio.sleep(2)
        await lose(on, fault)
        await saying
        await on.silence()
        verdict = on.whole()
        assert len(verdict.repeats) == 1
        assert len(on.server.record.connections) == 2
        (start,) = on.sent("avatar_audio_start")
        (end,) = on.sent("avatar_audio_end")
        assert start["request_id"] == end["request_id"] == "tts-1"
        assert end["reason"] == 1
        assert end["playback_position_ms"] == 8000
        totals = on.rig.totals
        assert totals.sent == totals.received
        assert totals.resent > 0
        (metrics,) = [
            one["metrics"]
            for one in on.sent("metrics")
            if "audio_ms" in one["metrics"]
        ]
        assert metrics["lost_ms"] == 0
        assert metrics["resent_ms"] == pytest.approx(
            totals.resent / 24, abs=0.01
        )


@virtually
async def test_several_losses_within_one_answer() -> None:
    """Each of them costs a rewind, and no word."""
    async with scene() as on:
        await on.talk.utter(1, 20_000)
        for _ in range(3):
            await asyncio.sleep(6)
            await lose(on, Reset())
        await on.silence()
        assert len(on.whole().repeats) == 3
        assert on.ends == [("tts-1", 1)]


@pytest.mark.parametrize("late_ms", [0, 200])
@pytest.mark.parametrize("delay_s", [0.0, 0.4])
@virtually
async def test_a_service_that_plays_late(delay_s: float, late_ms: int) -> None:
    """Its signals say where the listener is; without them the rewind covers
    the lead of the estimate."""
    signals = PlaybackSignals(late_ms=1000 * delay_s + late_ms)
    async with scene(
        delay_s=delay_s, server={"playback_signals": signals}
    ) as on:
        await on.talk.utter(1, 8000)
        await asyncio.sleep(4)
        await lose(on, Reset())
        await on.silence()
        await asyncio.sleep(1)
        on.whole()
        (end,) = on.sent("avatar_audio_end")
        assert end["source"] == "service"
    async with scene(delay_s=delay_s) as on:
        await on.talk.utter(1, 8000)
        await asyncio.sleep(4)
        await lose(on, Reset())
        await on.silence()
        on.whole(max_repeat_ms=REWIND_MS)


@virtually
async def test_a_renewal_in_mid_speech() -> None:
    """At the last safe moment a session is renewed within an answer, which
    goes on in the new one."""
    async with scene(session_expire_minutes=1) as on:
        # From 42 s on the session is renewed in a pause; there is none.
        for turn_id in range(1, 9):
            await on.talk.utter(turn_id, 10_000)
            await asyncio.sleep(8)
        await on.silence()
        assert on.rig.env.renewals >= 1
        assert on.rig.errors == []
        first, second = on.server.record.connections[:2]
        assert first.closed_s is not None and second.confirmed_s is not None
        on.whole()
        assert [reason for _, reason in on.ends] == [1] * 8


@virtually
async def test_a_session_lasts_while_the_console_is_down() -> None:
    """It is not given up before the next one has its token."""
    async with scene(session_expire_minutes=6, idle_disconnect_s=0) as on:
        await on.talk.utter(1, 1000)
        await asyncio.sleep(4 * 60)
        on.server.faults.console(Refuse(503), times=None)
        await asyncio.sleep(70)  # it would be renewed after 252 s
        assert on.rig.states == ["connecting", "ready"]
        on.server.faults.clear()
        await asyncio.sleep(25)
        assert on.rig.states == ["connecting", "ready"] * 2
        assert on.rig.errors == []


@virtually
async def test_a_stall_that_is_given_up() -> None:
    """Audio that the socket took and the service never read is said in the next
    session; it was not heard while the socket was full."""
    async with scene(
        server={"receive_buffer_bytes": 8192}, max_buffered_speech_s=600
    ) as on:
        await on.rig.state("ready")
        on.server.now(Silence())
        saying = asyncio.ensure_future(on.talk.utter(1, 100_000, 1000))
        await on.until(lambda: on.rig.errors, 60)
        (error,) = on.rig.errors
        assert error["vendor_info"]["code"] == "stalled"
        await saying
        await on.until(lambda: on.ends, 300)
        on.whole(max_repeat_ms=0)
        assert on.ends == [("tts-1", 1)]


@pytest.mark.parametrize(
    ("after_s", "speed"), [(0, 5), (0.1, 1), (0.1, 20), (2, 1), (2, 20)]
)
@virtually
async def test_a_peer_that_vanishes(after_s: float, speed: float) -> None:
    """The kernel goes on taking audio, which nobody receives: it was not
    heard, and is said in the next session."""
    async with scene() as on:
        await on.rig.state("ready")
        saying = asyncio.ensure_future(on.talk.utter(1, 8000, speed))
        await asyncio.sleep(after_s)
        on.server.now(Silence())
        await saying
        await on.until(lambda: on.rig.errors, 30)
        (error,) = on.rig.errors
        assert error["vendor_info"]["code"] == "stalled"
        assert "has not answered for 20 s" in error["message"]
        await on.until(lambda: on.ends, 30)
        # All that may have been heard after the latest answer is repeated.
        received_ms = min(8000.0, 1000 * after_s * speed + MESSAGE_MS)
        is_written = received_ms == 8000
        pause_s = PLAYING_INTERVAL_S if is_written else PING_INTERVAL_S
        known_ms = 1000 * (after_s - pause_s) - REWIND_MS - INEXACT_MS
        on.whole(max_repeat_ms=received_ms - max(0.0, known_ms))
        assert on.ends == [("tts-1", 1)]
        assert on.rig.totals.lost == 0


@pytest.mark.parametrize(
    ("for_s", "speed"), [(5, 1), (5, 20), (22, 20), (None, 5)]
)
@virtually
async def test_a_network_that_dies_silently(
    for_s: float | None, speed: float
) -> None:
    """After 5 s the answer goes on as it did; after 20 s without a sign of
    life it is resumed from the latest one, less the rewind."""
    async with scene() as on:
        await on.rig.state("ready")
        began_s = on.clock.monotonic()
        saying = asyncio.ensure_future(on.talk.utter(1, 10_000, speed))
        await asyncio.sleep(3)
        on.server.now(BlackHole(for_s, host_vanishes=for_s is None))
        await saying
        await on.until(lambda: on.ends, 60)
        took_s = on.clock.monotonic() - began_s
        (end,) = on.sent("avatar_audio_end")
        assert (end["reason"], end["playback_position_ms"]) == (1, 10_000)
        if for_s == 5:
            on.whole(max_repeat_ms=0)
            assert on.rig.errors == []
            # Speech that comes no faster than it is spoken waits for 5 s.
            assert took_s == pytest.approx(15.3 if speed == 1 else 10.3, abs=1)
            return
        (error,) = on.rig.errors
        assert error["vendor_info"]["code"] == "stalled"
        # The latest answer came within the last second.
        assert 30 < took_s < 32.5
        heard_ms = 0 if for_s is None else 7000
        (repeat,) = on.whole(max_repeat_ms=heard_ms + 1500).repeats
        assert 1500 <= repeat.begin_ms <= 2500


@pytest.mark.parametrize(
    ("at_s", "speed", "fault"),
    [
        (0.2, 1, BlackHole(2.6)),
        (0.2, 20, BlackHole(2.6)),
        (1, 20, BlackHole(2.6)),
        (3, 1, Stall(2.6)),
        (3, 5, Stall(2.6)),
    ],
)
@virtually
async def test_the_position_after_a_stall(
    at_s: float, speed: float, fault: Any
) -> None:
    """It is right if the service is known to have had the audio, and else
    behind by no more than was written since the latest answered ping."""
    async with scene() as on:
        await on.rig.state("ready")
        turns = (1, 2, 3)

        async def say() -> None:
            for turn_id in turns:
                await on.talk.utter(turn_id, 6000, speed)

        saying = asyncio.ensure_future(say())
        await asyncio.sleep(at_s)
        on.server.now(fault)
        await asyncio.sleep(11 - at_s)
        at = on.clock.monotonic()
        await on.talk.flush()
        await on.reports("avatar_audio_end", 2)
        verdict = on.talk.verdict()
        heard_ms = sum(verdict.heard_by(f"{turn}", at) for turn in turns)
        position_ms = sum(
            end["playback_position_ms"] for end in on.sent("avatar_audio_end")
        )
        unknown_ms = 1000 * PING_INTERVAL_S * speed + FRAME_MS
        known_ms = 1000 * at_s * speed - unknown_ms
        if known_ms > 1000 * (at_s + 2.6):
            unknown_ms = 0.0  # the service had more than it could play
        behind_ms = min(unknown_ms, 1000 * (2.6 + PING_INTERVAL_S))
        ahead_ms = position_ms - heard_ms
        assert -behind_ms - INEXACT_MS <= ahead_ms <= INEXACT_MS
        saying.cancel()


@pytest.mark.parametrize(
    ("after_s", "speed", "fault"),
    [
        (0.03, 1, Reset()),
        (0.03, 20, BlackHole(host_vanishes=True)),
        (0.2, 20, Reset()),
        (1, 1, BlackHole(host_vanishes=True)),
    ],
)
@virtually
async def test_a_flush_during_an_outage_far_away(
    after_s: float, speed: float, fault: Any
) -> None:
    """With a round trip of 120 ms, audio that the service never had does not
    count as heard."""
    async with (
        virtual_server() as (server, clock),
        DelayingProxy(server.port, delay_ms=60, clock=clock) as proxy,
    ):
        ingress_url = proxy.url(server.ingress_url)
        node = properties(server, ingress_endpoint_url=ingress_url)
        rig = Rig(node, clock)
        talk = Conversation(rig, server, clock)
        await rig.start()
        await rig.state("ready")
        server.pause_listening()
        await asyncio.sleep(1)
        saying = asyncio.ensure_future(talk.utter(1, 8000, speed))
        await asyncio.sleep(after_s)
        server.now(fault)
        await asyncio.sleep(0.338)
        at = clock.monotonic()
        await talk.flush()
        await asyncio.sleep(0.1)
        saying.cancel()
        await rig.stop()
        (end,) = rig.env.reports.sent("avatar_audio_end")
        ahead_ms = end["playback_position_ms"] - talk.verdict().heard_by(
            "1", at
        )
        # A reset is noticed one way later, a host that vanishes is not.
        most_ms = 60 if fault == Reset() else 60 + 338
        assert ahead_ms <= (most_ms + INEXACT_MS if after_s > 0.06 else 0)


@pytest.mark.parametrize("voice_wired", [False, True])
@pytest.mark.parametrize("before_end_s", [0.1, 0.5, 1.1])
@virtually
async def test_a_host_that_vanishes_right_before_an_end(
    before_end_s: float, voice_wired: bool
) -> None:
    """Nothing counts as heard to its end before the service has shown that
    it was there then."""
    async with scene(voice_wired=voice_wired) as on:
        await on.rig.state("ready")
        await on.talk.utter(1, 4000)
        await on.talk.utter(2, 1000)
        await asyncio.sleep(4 - before_end_s)
        on.server.now(BlackHole(host_vanishes=True))
        await on.until(lambda: len(on.ends) == 2, 60)
        on.whole(max_repeat_ms=ALLOWANCE_MS + 1000)
        assert on.ends == [("tts-1", 1), ("tts-2", 1)]
        assert len(on.rig.errors) == 1


@pytest.mark.parametrize(
    ("idle_s", "voice_wired", "speed"),
    [(5, False, 1), (5, False, 20), (5, True, 1), (60, True, 20)],
)
@virtually
async def test_an_idle_connection_that_is_half_open(
    idle_s: float, voice_wired: bool, speed: float
) -> None:
    """Whatever comes first speaks: the voice once the answer has waited as
    long as for a session, or a new session; never both."""
    async with scene(voice_wired=voice_wired) as on:
        await on.rig.state("ready")
        await asyncio.sleep(idle_s)
        on.server.now(BlackHole())
        await asyncio.sleep(1)
        began_s = on.clock.monotonic()
        saying = asyncio.ensure_future(on.talk.utter(1, 4000, speed))
        await on.until(lambda: on.rig.totals.voice or on.server.record.requests)
        assert on.clock.monotonic() - began_s < 2.2
        await saying
        await on.silence()
        await on.talk.utter(2, 1000, speed)
        await on.silence()
        on.whole(max_repeat_ms=0)
        assert on.ends[-1] == ("tts-2", 1)
        assert [reason for _, reason in on.ends] == [1, 1]
        assert len(on.rig.errors) == 1
        assert bool(on.rig.totals.voice) == voice_wired
        assert on.rig.totals.sent / 24 >= 1000


@virtually
async def test_a_peer_that_answers_late_is_not_lost() -> None:
    """Speech is reported as heard when it has arrived, and not repeated."""
    async with scene() as on:
        await on.rig.state("ready")
        began_s = on.clock.monotonic()
        on.server.now(Stall(for_s=15))
        await on.talk.utter(1, 3000)
        await asyncio.sleep(14)
        assert on.ends == []
        await on.until(lambda: on.ends)
        # From 15 s on it plays for 3 s.
        assert on.clock.monotonic() - began_s == pytest.approx(18.3, abs=0.5)
        on.whole(max_repeat_ms=0)
        assert on.ends == [("tts-1", 1)]
        assert on.rig.errors == []
        assert len(on.server.record.connections) == 1


@virtually
async def test_a_loss_while_the_tts_still_speaks() -> None:
    """New audio queues behind the resumed audio; the first audio of all is
    there within a moment of the loss."""
    async with scene(delay_s=0.0) as on:
        await on.rig.state("ready")
        on.server.faults.runtime(Reset(), after=AudioMessages(30))
        await on.talk.utter(1, 6000, 2)
        await on.silence()
        on.whole()
        first, second = on.server.record.connections
        assert first.closed_s is not None
        assert second.requests[0].opened_s - first.closed_s < 0.3


@pytest.mark.wire
@virtually
async def test_service_errors_that_end_a_session() -> None:
    """The time limit ends a session; the next one goes on."""
    async with scene() as on:
        await on.talk.utter(1, 6000)
        await asyncio.sleep(2)
        on.server.now(ServerError(4002, "session time limit reached"))
        on.server.now(Close(4002))
        await on.silence()
        assert on.whole().longest_repeat_ms <= ALLOWANCE_MS
