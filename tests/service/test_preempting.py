"""A service that cuts a request for a newer one, and reports it.

In virtual time, judged by a model of the listener.
"""

import pytest
from scene import scene, virtually

from devkit.motion_server import PlaybackSignals, wire

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(
        not wire.knows_playback_state,
        reason="the SDK drops the service's report of a cut",
    ),
]


@pytest.mark.parametrize("delay_s", [0.0, 0.4])
@pytest.mark.parametrize("sentences", [2, 5])
@pytest.mark.parametrize(
    "signals",
    [
        PlaybackSignals(),
        PlaybackSignals(doubled=True),
        PlaybackSignals(end_when_interrupted=True, progress_ms=100),
        PlaybackSignals(end_when_interrupted=True, doubled=True),
    ],
    ids=repr,
)
@virtually
async def test_sentences_are_whole_and_in_order(
    signals: PlaybackSignals, sentences: int, delay_s: float
) -> None:
    """The first cut has the rest said again; there is no other one."""
    async with scene(
        delay_s=delay_s,
        server={
            "playback_delay_s": delay_s,
            "preempts": True,
            "capabilities": ("playback_state",),
            "playback_signals": signals,
        },
    ) as on:
        await on.rig.state("ready")
        for turn_id in range(sentences):
            await on.talk.utter(turn_id, 2000, 20)
        await on.silence()
        on.whole(max_repeat_ms=20)
        assert on.ends == [(f"tts-{turn}", 1) for turn in range(sentences)]
        cuts = [e for e in on.server.record.events if e.kind == "cut"]
        assert len(cuts) == 1
