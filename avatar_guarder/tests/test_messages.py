"""Messages of other nodes: whatever they hold, the worker goes on."""

import json

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, frame, speech

HUGE = 2**63
BAD_FRAMES = 500
MAX_ERRORS = 20


@pytest.mark.rule("survives_foreign_formats")
def test_foreign_formats(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        pcm = speech(20, graph.rate_hz)
        for rate_hz in (0, 7, graph.rate_hz * 2, 2**31 - 1):
            await graph.send(frame(pcm, rate_hz))
        for channels, width in ((2, 2), (0x7FFF, 2), (1, 1), (1, 4)):
            bad = frame(pcm, graph.rate_hz, channels=channels, width=width)
            await graph.send(bad)
        await graph.end()
        await graph.settle()

    avatar.play(script)


@pytest.mark.rule("survives_odd_frames")
def test_odd_frames(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        for pcm in (None, b"x", b"odd", speech(10_000, graph.rate_hz), b"y"):
            await graph.send(frame(pcm, graph.rate_hz))
        await graph.end()
        await graph.settle()

    avatar.play(script)


@pytest.mark.rule("survives_foreign_metadata")
def test_foreign_metadata(avatar: Avatar) -> None:
    values = [
        *({}, "text", "", [], [1], 7, 1.5, True, {"turn_id": {}}),
        *({"turn_id": "7"}, {"turn_id": ""}, {"turn_id": -1}),
        *({"turn_id": 1.5}, {"turn_id": []}, {"turn_id": True}),
        *({"session_id": 7}, {"session_id": {}, "turn_id": 7}),
        {"deep": {"deep": {"deep": ["\u00e4\u4e16\U0001f600"] * 50}}},
    ]

    async def script(graph: Graph) -> None:
        pcm = speech(10, graph.rate_hz)
        for value in values:
            text = json.dumps(value)
            await graph.send(frame(pcm, graph.rate_hz, text))
            await graph.tell("tts_audio_start", {"metadata": value})
            await graph.tell("tts_audio_end", {"metadata": value, "reason": 1})
        await graph.settle()

    avatar.play(script)


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
        await graph.settle()

    avatar.play(script)


@pytest.mark.rule("survives_unknown_data")
def test_unknown_data(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        known = ("tts_audio_start", "tts_audio_end", "finalize")
        for name in (*known, "guard_unknown", "error", "metrics"):
            await graph.tell(name)
            await graph.tell(name, {"request_id": 7, "reason": "1"})
            await graph.tell(name, {"request_id": [], "reason": {}})
            await graph.tell(name, {"reason": -(2**63), "metadata": "text"})
        await graph.settle()

    avatar.play(script)


@pytest.mark.rule("reports_bad_frames_sparingly")
def test_many_bad_frames(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        rate_hz = graph.rate_hz // 2
        pcm = speech(10, rate_hz)
        for _ in range(BAD_FRAMES):
            await graph.send(frame(pcm, rate_hz))
        await graph.settle()
        # Not longer: errors about the vendor come, too.
        count = await graph.until_quiet(
            lambda: len(graph.sent("error")), limit_s=0.5
        )
        if count > MAX_ERRORS:
            raise Broken(f"{BAD_FRAMES} frames led to {count} errors")

    avatar.play(script)
