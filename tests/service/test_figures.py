"""The figures of an utterance: its playback, its pace, its request."""

from typing import Any

import pytest
from scene import Scene, scene, virtually

from devkit.motion_server import PlaybackSignals


def utterances(on: Scene) -> list[dict[str, Any]]:
    return [one for one in on.sent("metrics") if "audio_ms" in one["metrics"]]


@pytest.mark.wire
@pytest.mark.parametrize("late_ms", [40, 700])
@virtually
async def test_latency_of_playback_is_measured(late_ms: float) -> None:
    """From the first audio on the wire to the service's report that it
    plays."""
    signals = PlaybackSignals(late_ms=late_ms)
    async with scene(server={"playback_signals": signals}) as on:
        await on.rig.state("ready")
        await on.talk.utter(1, 2000, 5)
        await on.silence()
        (utterance,) = utterances(on)
        latency_ms = utterance["metrics"]["playback_latency_ms"]
        assert latency_ms == pytest.approx(late_ms, abs=60)


@pytest.mark.parametrize("speed", [1.0, 4.0])
@virtually
async def test_pace_of_the_tts_is_measured(speed: float) -> None:
    """One warning for a slow one, however long it is slow."""
    async with scene() as on:
        await on.rig.state("ready")
        for turn in (1, 2):
            await on.talk.utter(turn, 3000, speed)
            await on.silence()
        paces = [one["metrics"]["delivery_pace"] for one in utterances(on)]
        assert paces == pytest.approx([speed, speed], rel=0.05)
        warnings = [line for line in on.lines if "prebuffer_ms" in line[1]]
        warnings = [line for line in warnings if line[0] == "warn"]
        assert len(warnings) == (1 if speed == 1.0 else 0)
