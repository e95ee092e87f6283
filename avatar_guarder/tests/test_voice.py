"""The voice without the avatar: only while the avatar cannot speak."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor


async def speak_by_voice(graph: Graph) -> None:
    """Say something, which must come out by voice unchanged."""
    pcm = speech(300, graph.rate_hz)
    await graph.utter(pcm)
    await graph.until(
        lambda: sum(map(len, graph.voice)) >= len(pcm),
        "no pcm_frame came with the speech",
        4,
    )
    if b"".join(graph.voice) != pcm:
        raise Broken("the pcm_frames do not hold the speech unchanged")


@pytest.mark.rule("speaks_when_misconfigured")
def test_misconfigured(avatar: Avatar) -> None:
    avatar.play(speak_by_voice, "empty")


@pytest.mark.rule("speaks_when_unreachable")
def test_unreachable(avatar: Avatar) -> None:
    avatar.play(speak_by_voice)


@pytest.mark.rule("speaks_without_credits")
def test_without_credits(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        vendor.fault("credits")
        await graph.until(
            lambda: graph.sent("error"), "exhausted credits led to no error"
        )
        await speak_by_voice(graph)

    avatar.play(script)


@pytest.mark.rule("keeps_voice_silent_when_ready")
def test_ready(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        await graph.utter(speech(300, graph.rate_hz))
        await graph.until(vendor.ends, "the vendor has no end")
        if await graph.until_quiet(lambda: len(graph.voice)):
            raise Broken("pcm_frames come out while the avatar speaks")

    avatar.play(script)
