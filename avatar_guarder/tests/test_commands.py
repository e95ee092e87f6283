#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Commands: each is answered, `flush` at once."""

import asyncio
import statistics
import time

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, Late, speech
from avatar_guarder.vendor import Vendor, total

FLUSH_LIMIT_S = 0.1
FLUSHES = 5
MANY_FLUSHES = 50
MANY_FLUSHES_LIMIT_S = 1.0
WAITS = "answers_flush_before_downstream"


def check_median(took_s: list[float]) -> None:
    """Hold flushes to the limit; single ones may find the machine busy."""
    median_s = statistics.median(took_s)
    if median_s > FLUSH_LIMIT_S:
        raise Late(f"flush took {median_s * 1000:.0f} ms")


def set_downstream(graph: Graph, avatar: Avatar) -> None:
    """Have the node downstream be silent, as it may be.

    An avatar that waits for its answer has that verdict already.
    """
    graph.answers_commands = WAITS in avatar.broken


@pytest.mark.rule("answers_unknown_commands")
async def test_unknown_command(graph: Graph) -> None:
    from ten_runtime import StatusCode

    result = await graph.ask("guard_unknown_command", 2)
    if result.get_status_code() != StatusCode.OK:
        raise Broken("an unknown command was answered with an error")


def flush_promptly(avatar: Avatar, case: str = "basic") -> None:
    """Flush several times, and hold the flushes to the limit."""

    async def script(graph: Graph) -> None:
        set_downstream(graph, avatar)
        took_s = []
        for turn_id in range(1, FLUSHES + 1):
            await graph.say(speech(50, graph.rate_hz, turn_id), turn_id)
            took_s.append(await graph.flush())
        check_median(took_s)

    avatar.play(script, case)


@pytest.mark.rule("answers_flush_while_connecting")
def test_flush_while_connecting(avatar: Avatar) -> None:
    flush_promptly(avatar)


@pytest.mark.rule("answers_flush_when_failed")
def test_flush_when_failed(avatar: Avatar) -> None:
    flush_promptly(avatar, "missing")


@pytest.mark.rule("answers_many_flushes")
async def test_many_flushes(graph: Graph, avatar: Avatar) -> None:
    set_downstream(graph, avatar)
    began = time.monotonic()
    await asyncio.gather(*(graph.flush() for _ in range(MANY_FLUSHES)))
    took_s = time.monotonic() - began
    if took_s > MANY_FLUSHES_LIMIT_S:
        raise Late(f"{MANY_FLUSHES} flushes took {took_s:.1f} s")


@pytest.mark.rule("passes_flush_on")
async def test_flush_goes_on(graph: Graph) -> None:
    await graph.say(speech(50, graph.rate_hz))
    await graph.flush()
    await graph.until(
        lambda: "flush" in graph.commands, "no flush came downstream", 2
    )


@pytest.mark.rule(WAITS)
async def test_silent_downstream(graph: Graph) -> None:
    graph.answers_commands = False
    await graph.say(speech(50, graph.rate_hz))
    try:
        await graph.flush(1.0)
    except Late:
        raise Late(
            "the result of flush waits for the node downstream"
        ) from None


@pytest.mark.rule("answers_flush_when_connected")
async def test_flush_when_connected(
    graph: Graph, avatar: Avatar, vendor: Vendor
) -> None:
    set_downstream(graph, avatar)
    took_s = []
    for turn_id in range(1, FLUSHES + 1):
        before = total(vendor)
        await graph.say(speech(500, graph.rate_hz, turn_id), turn_id)
        await graph.until(
            lambda before=before: total(vendor) > before,
            "the vendor did not receive the speech",
        )
        await graph.until_quiet(lambda: total(vendor), 0.05, 0.5)
        took_s.append(await graph.flush())
    check_median(took_s)


@pytest.mark.rule("answers_flush_when_stalled")
async def test_flush_when_stalled(
    graph: Graph, avatar: Avatar, vendor: Vendor
) -> None:
    set_downstream(graph, avatar)
    vendor.fault("stall")
    took_s = []
    for turn_id in range(1, FLUSHES + 1):
        await graph.say(speech(30_000, graph.rate_hz), turn_id, frame_ms=100)
        await asyncio.sleep(0.2)  # so that the buffers are full
        took_s.append(await graph.flush())
    check_median(took_s)
