"""Messages of other nodes: whatever they hold, the worker goes on."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Graph, frame, speech

HUGE = 2**63


@pytest.mark.rule("survives_huge_integers")
def test_huge_integers(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        pcm = speech(10, graph.rate_hz)
        for number in (HUGE, 2 * HUGE - 1):
            metadata = f'{{"session_id": "s", "turn_id": {number}}}'
            text = f'{{"request_id": "r", "metadata": {metadata}}}'
            await graph.tell("tts_audio_start", text)
            await graph.send(frame(pcm, graph.rate_hz, metadata))
            await graph.tell(
                "tts_audio_end",
                f'{{"request_id": "r", "reason": 1, "extra": {number}}}',
            )
        await graph.flush()

    avatar.play(script)
