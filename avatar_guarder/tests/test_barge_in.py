#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Barge-in: the current speech is cut, the next answer is whole."""

import asyncio

import pytest

from avatar_guarder.graph import Broken, Graph, Late, speech
from avatar_guarder.hearing import Hearing
from avatar_guarder.vendor import Vendor, total

SNIPPET_BYTES = 200
LONG_OVER_S = 4.5
"""By then a short utterance has been heard to its end."""


async def in_speech(graph: Graph, vendor: Vendor, turn_id: int = 1) -> None:
    """Have the vendor receive the begin of an utterance that goes on."""
    await graph.begin(turn_id)
    await graph.say(speech(1500, graph.rate_hz, turn_id), turn_id)
    await graph.until(lambda: total(vendor), "the vendor received no speech")
    await graph.until_quiet(lambda: total(vendor), 0.1, 0.5)


@pytest.mark.rule("interrupts_speech")
async def test_interrupt(graph: Graph, vendor: Vendor) -> None:
    vendor.interrupts()
    await in_speech(graph, vendor)
    await graph.flush()
    await graph.until(vendor.interrupts, "flush led to no interrupt", 2)


@pytest.mark.rule("interrupts_once")
async def test_interrupt_once(graph: Graph, vendor: Vendor) -> None:
    vendor.interrupts()
    await in_speech(graph, vendor)
    before = len(vendor.interrupts())
    for _ in range(4):
        await graph.flush()
    await graph.until(
        lambda: len(vendor.interrupts()) > before,
        "flush led to no interrupt",
    )
    await graph.until_quiet(lambda: len(vendor.interrupts()))
    await graph.flush()
    await graph.until_quiet(lambda: len(vendor.interrupts()))
    count = len(vendor.interrupts()) - before
    if count != 1:
        raise Broken(f"5 flushes led to {count} interrupts")
    if vendor.interrupts()[-1] not in (0, -1):
        raise Broken(f"the interrupts name {vendor.interrupts()}")


@pytest.mark.rule("interrupts_after_the_end")
async def test_interrupt_after_the_end(graph: Graph, vendor: Vendor) -> None:
    """All was sent at once; the listener has heard a tenth of it."""
    vendor.interrupts()
    pcm = speech(4000, graph.rate_hz)
    before = len(vendor.interrupts())
    await graph.utter(pcm)
    await graph.until(lambda: total(vendor), "no speech came")
    await graph.until_quiet(lambda: total(vendor), 0.2, 1)
    try:
        await graph.until_quiet(lambda: len(vendor.ends()), 0.1, 0.5)
    except NotImplementedError:
        pass
    await graph.flush()
    await graph.until(
        lambda: len(vendor.interrupts()) > before,
        "a flush behind the end of speech led to no interrupt",
        2,
    )


async def flush_idly(graph: Graph, vendor: Vendor, when: str) -> None:
    before = len(vendor.interrupts())
    for _ in range(3):
        await graph.flush()
    await graph.until_quiet(lambda: len(vendor.interrupts()), 0.4)
    count = len(vendor.interrupts()) - before
    if count:
        raise Broken(f"3 flushes led to {count} interrupts {when}")


@pytest.mark.rule("interrupts_nothing_when_idle")
async def test_idle(graph: Graph, vendor: Vendor) -> None:
    vendor.interrupts()
    await flush_idly(graph, vendor, "before any speech")
    await graph.utter(speech(200, graph.rate_hz))
    await graph.until(lambda: total(vendor), "no speech came")
    await asyncio.sleep(LONG_OVER_S)
    await flush_idly(graph, vendor, "long after speech")


@pytest.mark.rule("interrupts_on_cut_speech")
async def test_cut_speech(graph: Graph, vendor: Vendor) -> None:
    vendor.interrupts()
    await in_speech(graph, vendor)
    before = len(vendor.interrupts())
    await graph.end(reason=2, name="tts_audio_end")
    await graph.until(
        lambda: len(vendor.interrupts()) > before,
        "an end with reason 2 led to no interrupt",
        2,
    )


async def answer(
    graph: Graph,
    vendor: Vendor,
    hearing: Hearing,
    turn_id: int = 2,
    request_id: str = "",
) -> None:
    """Say the next answer, and hold it to arrive whole."""
    pcm = speech(500, graph.rate_hz, seed=20)
    before = total(vendor)
    await graph.utter(pcm, turn_id, request_id)
    try:
        await graph.until(
            lambda: hearing.has_arrived(vendor.received(), pcm),
            "",
            4,
            poll_s=0.05,
        )
    except Late:
        came = total(vendor) - before
        raise Late(
            f"of the next answer {came} of {hearing.size(pcm)} bytes came "
            "within 4 s"
        ) from None


@pytest.mark.rule("drops_stale_speech")
async def test_stale_speech(
    graph: Graph, vendor: Vendor, hearing: Hearing
) -> None:
    await in_speech(graph, vendor)
    await graph.flush()
    await graph.until_quiet(lambda: total(vendor), 0.1, 0.5)
    before = total(vendor)
    late = speech(500, graph.rate_hz, seed=9)
    await graph.say(late, turn_id=1)
    await asyncio.sleep(0.5)
    await graph.until_quiet(lambda: total(vendor), 0.2, 1)
    received = b"".join(vendor.received())
    if hearing.resampled:
        # A little was on its way at the flush.
        speaks_on = len(received) - before > hearing.size(late) * 0.3
    else:
        speaks_on = any(
            late[at : at + SNIPPET_BYTES] in received
            for at in range(0, len(late), 480)
        )
    if speaks_on:
        raise Broken("frames of the flushed turn reached the vendor")


@pytest.mark.rule("keeps_the_next_answer")
async def test_next_answer(
    graph: Graph, vendor: Vendor, hearing: Hearing
) -> None:
    await in_speech(graph, vendor)
    await graph.flush()
    await answer(graph, vendor, hearing)


@pytest.mark.rule("speaks_a_flushed_turn_again")
async def test_flushed_turn(
    graph: Graph, vendor: Vendor, hearing: Hearing
) -> None:
    await in_speech(graph, vendor)
    await graph.flush()
    await graph.end(reason=2)
    await answer(graph, vendor, hearing, 1, "request-1-again")
