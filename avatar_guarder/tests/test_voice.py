#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The voice without the avatar: only while the avatar cannot speak."""

import asyncio

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor, total

VOICE_LIMIT_S = 4


def spoken(graph: Graph) -> int:
    """Return how many bytes of voice came out."""
    return sum(map(len, graph.voice))


async def speak_by_voice(
    graph: Graph, turn_id: int = 1, request_id: str = ""
) -> None:
    """Say something, which must come out by voice unchanged."""
    graph.voice.clear()
    pcm = speech(300, graph.rate_hz, seed=turn_id)
    await graph.utter(pcm, turn_id, request_id)
    await graph.until(
        lambda: spoken(graph) >= len(pcm),
        "no pcm_frame came with the speech",
        VOICE_LIMIT_S,
    )
    if b"".join(graph.voice) != pcm:
        raise Broken("the pcm_frames do not hold the speech unchanged")


@pytest.mark.rule("speaks_when_misconfigured")
def test_misconfigured(avatar: Avatar) -> None:
    avatar.play(speak_by_voice, "missing")


@pytest.mark.rule("speaks_when_unreachable")
def test_unreachable(avatar: Avatar) -> None:
    avatar.play(speak_by_voice)


@pytest.mark.rule("silences_the_voice", timeout_s=30)
async def test_flush(graph: Graph, avatar: Avatar) -> None:
    # Speech that waits for the avatar at the flush is not spoken.
    await graph.begin(1)
    await graph.say(speech(300, graph.rate_hz, 1), 1)
    await graph.flush()
    await asyncio.sleep(0.2)
    before = spoken(graph)
    await asyncio.sleep(VOICE_LIMIT_S)
    if spoken(graph) > before:
        raise Broken("speech that waited at a flush came out by voice")
    # Speech by the voice ends with the flush.
    await graph.begin(2)
    await graph.say(speech(300, graph.rate_hz, 2), 2)
    await graph.until(lambda: spoken(graph) > before, "no voice", VOICE_LIMIT_S)
    await graph.flush()
    await graph.until_quiet(lambda: spoken(graph), 0.2)
    before = spoken(graph)
    await graph.say(speech(600, graph.rate_hz, 3), 2)
    await asyncio.sleep(1)
    if spoken(graph) > before:
        raise Broken("frames of the flushed turn came out by voice")
    await speak_by_voice(graph, 3)


@pytest.mark.rule("speaks_without_credits")
async def test_without_credits(graph: Graph, vendor: Vendor) -> None:
    vendor.fault("credits")
    await graph.until(
        lambda: graph.sent("error"), "exhausted credits led to no error"
    )
    await speak_by_voice(graph)


@pytest.mark.rule("keeps_voice_silent_when_ready")
async def test_ready(graph: Graph, avatar: Avatar, vendor: Vendor) -> None:
    await graph.utter(speech(300, graph.rate_hz))
    await graph.until(lambda: total(vendor), "no speech came")
    if await graph.until_quiet(lambda: len(graph.voice), 0.5):
        raise Broken("pcm_frames come out while the avatar speaks")
