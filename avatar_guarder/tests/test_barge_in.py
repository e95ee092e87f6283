"""Barge-in: what was said is cut, what comes next is whole."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor


async def in_speech(graph: Graph, vendor: Vendor, turn_id: int = 1) -> None:
    """Have the vendor receive the begin of an utterance that goes on."""
    await graph.until(vendor.confirmed, "no session")
    pcm = speech(1500, graph.rate_hz, turn_id)
    await graph.begin(turn_id)
    await graph.say(pcm, turn_id)
    await graph.until(
        lambda: pcm in vendor.received(), "the vendor received no speech"
    )


@pytest.mark.rule("interrupts_once")
def test_interrupt(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await in_speech(graph, vendor)
        for _ in range(4):
            await graph.flush()
        await graph.until(vendor.interrupts, "flush led to no interrupt")
        await graph.until_quiet(lambda: len(vendor.interrupts()))
        await graph.flush()
        await graph.until_quiet(lambda: len(vendor.interrupts()))
        if vendor.interrupts() != [0]:
            raise Broken(f"the interrupts name {vendor.interrupts()}")

    avatar.play(script)


@pytest.mark.rule("interrupts_nothing_when_idle")
def test_idle(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        for _ in range(3):
            await graph.flush()
        await graph.utter(speech(200, graph.rate_hz))
        await graph.until(vendor.ends, "the vendor has no end")
        if vendor.interrupts():
            raise Broken(f"{len(vendor.interrupts())} interrupts when idle")

    avatar.play(script)


@pytest.mark.rule("interrupts_on_cut_speech")
def test_cut_speech(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await in_speech(graph, vendor)
        await graph.end(reason=2)
        await graph.until(
            vendor.interrupts, "an end with reason 2 led to no interrupt", 2
        )

    avatar.play(script)


@pytest.mark.rule("drops_stale_speech")
def test_stale_speech(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await in_speech(graph, vendor)
        await graph.flush()
        late = speech(500, graph.rate_hz, seed=9)
        await graph.say(late, turn_id=1)
        answer = speech(500, graph.rate_hz, seed=2)
        await graph.utter(answer, turn_id=2)
        await graph.until(
            lambda: answer[-40:] in b"".join(vendor.received()),
            "the next answer did not come",
        )
        received = b"".join(vendor.received())
        if any(
            late[at : at + 40] in received for at in range(0, len(late), 480)
        ):
            raise Broken("frames of the flushed turn reached the vendor")

    avatar.play(script)


@pytest.mark.rule("keeps_the_next_answer")
def test_next_answer(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await in_speech(graph, vendor)
        await graph.flush()
        answer = speech(500, graph.rate_hz, seed=2)
        await graph.utter(answer, turn_id=2)
        await graph.until(
            lambda: answer[-40:] in b"".join(vendor.received()),
            "the next answer did not come",
        )
        if answer not in vendor.received():
            raise Broken("a part of the next answer is missing")

    avatar.play(script)
