"""Commands: each is answered, `flush` at once."""

import asyncio
import statistics
import time

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor

FLUSH_LIMIT_S = 0.1
FLUSHES = 5
MANY_FLUSHES = 50
MANY_FLUSHES_LIMIT_S = 1.0


def check_median(took_s: list[float]) -> None:
    """Hold flushes to the limit; single ones may find the machine busy."""
    median_s = statistics.median(took_s)
    if median_s > FLUSH_LIMIT_S:
        raise Broken(f"flush took {median_s * 1000:.0f} ms")


async def flush_promptly(graph: Graph) -> None:
    """Flush several times, and hold the flushes to the limit."""
    took_s = []
    for turn_id in range(1, FLUSHES + 1):
        await graph.say(speech(50, graph.rate_hz, turn_id), turn_id)
        took_s.append(await graph.flush())
    check_median(took_s)


@pytest.mark.rule("answers_unknown_commands")
def test_unknown_command(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.ask("guard_unknown_command", 2)

    avatar.play(script)


@pytest.mark.rule("answers_flush_while_connecting")
def test_flush_while_connecting(avatar: Avatar) -> None:
    avatar.play(flush_promptly)


@pytest.mark.rule("answers_flush_when_failed")
def test_flush_when_failed(avatar: Avatar) -> None:
    avatar.play(flush_promptly, "empty")


@pytest.mark.rule("answers_many_flushes")
def test_many_flushes(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        began = time.monotonic()
        await asyncio.gather(*(graph.flush() for _ in range(MANY_FLUSHES)))
        took_s = time.monotonic() - began
        if took_s > MANY_FLUSHES_LIMIT_S:
            raise Broken(f"{MANY_FLUSHES} flushes took {took_s:.1f} s")

    avatar.play(script)


@pytest.mark.rule("passes_flush_on")
def test_flush_goes_on(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        graph.answers_commands = False
        await graph.say(speech(50, graph.rate_hz))
        took_s = await graph.flush()
        await graph.until(
            lambda: "flush" in graph.commands, "no flush came downstream", 2
        )
        if took_s > 1:
            raise Broken("the result of flush waits for the one downstream")

    avatar.play(script)


@pytest.mark.rule("answers_flush_when_connected")
def test_flush_when_connected(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        took_s = []
        for turn_id in range(1, FLUSHES + 1):
            await graph.say(speech(500, graph.rate_hz, turn_id), turn_id)
            await graph.until(
                lambda count=turn_id: len(vendor.received()) >= count,
                "the vendor did not receive the speech",
            )
            await graph.until_quiet(lambda: len(vendor.received()[-1]), 0.05)
            took_s.append(await graph.flush())
        check_median(took_s)

    avatar.play(script)


@pytest.mark.rule("answers_flush_when_stalled")
def test_flush_when_stalled(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        vendor.fault("stall")
        took_s = []
        for turn_id in range(1, FLUSHES + 1):
            await graph.say(
                speech(60_000, graph.rate_hz, turn_id), turn_id, frame_ms=100
            )
            await asyncio.sleep(0.2)  # so that the buffers are full
            took_s.append(await graph.flush())
        check_median(took_s)

    avatar.play(script)
