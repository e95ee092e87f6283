"""Speech on its way to the vendor."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, frame, speech
from avatar_guarder.vendor import Vendor

ODD_BYTES = 333


def check_received(got: list[bytes], wanted: list[bytes]) -> None:
    """Hold what the vendor received to what was said."""
    if got != wanted:
        raise Broken(
            f"the vendor received {[len(pcm) for pcm in got]} bytes, expected "
            f"{[len(pcm) for pcm in wanted]}"
            + (
                ", other ones"
                if list(map(len, got)) == list(map(len, wanted))
                else ""
            )
        )


@pytest.mark.rule("sends_speech_unchanged")
def test_speech(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        pcm = speech(2000, graph.rate_hz)
        await graph.utter(pcm)
        await graph.until(vendor.ends, "the vendor has no end")
        check_received(vendor.received(), [pcm])

    avatar.play(script)


@pytest.mark.rule("keeps_early_speech")
def test_early_speech(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        pcm = speech(500, graph.rate_hz)
        await graph.utter(pcm)
        await graph.until(vendor.ends, "the vendor has no end")
        check_received(vendor.received(), [pcm])

    avatar.play(script)


@pytest.mark.rule("joins_odd_frames")
def test_odd_frames(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        pcm = speech(500, graph.rate_hz)
        await graph.begin()
        for at in range(0, len(pcm), ODD_BYTES):
            await graph.send(
                frame(
                    pcm[at : at + ODD_BYTES],
                    graph.rate_hz,
                    '{"session_id": "guard", "turn_id": 1}',
                )
            )
        await graph.end()
        await graph.until(vendor.ends, "the vendor has no end")
        check_received(vendor.received(), [pcm])

    avatar.play(script)


@pytest.mark.rule("ends_each_utterance_once")
def test_ends(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        for turn_id in (1, 2, 3):
            await graph.utter(speech(100, graph.rate_hz, turn_id), turn_id)
            await graph.end(turn_id)
        await graph.until(
            lambda: len(vendor.ends()) >= 3, "three utterances have no ends"
        )
        await graph.until_quiet(lambda: len(vendor.ends()))
        if vendor.ends() != [0, 1, 2]:
            raise Broken(f"the ends belong to utterances {vendor.ends()}")

    avatar.play(script)


@pytest.mark.rule("ends_on_finalize")
def test_finalize(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        await graph.say(speech(200, graph.rate_hz))
        await graph.end(name="finalize")
        # Sooner than where an end that never comes is made up for.
        await graph.until(vendor.ends, "finalize led to no end", 1)

    avatar.play(script)


@pytest.mark.rule("sends_no_empty_utterance")
def test_empty_utterance(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        pcm = speech(200, graph.rate_hz, 2)
        await graph.begin(1)
        await graph.end(1)
        await graph.utter(pcm, 2)
        await graph.until(lambda: pcm in vendor.received(), "no speech came")
        await graph.until(vendor.ends, "the vendor has no end")
        await graph.until_quiet(lambda: len(vendor.ends()))
        if len(vendor.ends()) != 1:
            raise Broken(f"{len(vendor.ends())} ends for one utterance")

    avatar.play(script)
