#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Messages of other nodes: no content of theirs ends the worker."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, frame, speech

HUGE = 2**63
BAD_FRAMES = 500
MAX_ERRORS = 20
SETTLE_S = 0.6
"""For tasks that process the messages behind the handlers."""

Hostility = Callable[[Graph], Awaitable[None]]
with_and_without = pytest.mark.parametrize(
    "connected", [False, True], ids=["alone", "with vendor"]
)


def survive(avatar: Avatar, hostility: Hostility, connected: bool) -> None:
    """Send hostile messages; a connected avatar must speak after them."""

    async def script(graph: Graph) -> None:
        vendor = avatar.vendor
        if vendor is not None:
            await graph.until(vendor.confirmed, "no session", 10)
        await hostility(graph)
        await graph.settle()
        await asyncio.sleep(SETTLE_S)
        if vendor is None:
            return
        hearing = avatar.hearing(graph.rate_hz)
        pcm = speech(300, graph.rate_hz, seed=99)
        # A turn of its own, and a request of its own: no flush is meant.
        await graph.utter(pcm, turn_id=99)
        await graph.until(
            lambda: hearing.has_arrived(vendor.received(), pcm),
            "speech after the messages did not arrive",
            poll_s=0.05,
        )

    if not connected:
        avatar.play(script)
        return
    if avatar.make_vendor is None:
        pytest.skip("needs a recording vendor: --vendor NAME")
    if "lives_with_vendor" in avatar.broken:
        pytest.skip("not testable: see lives_with_vendor")
    with avatar.with_vendor():
        avatar.play(script)


@pytest.mark.rule("survives_foreign_formats")
@with_and_without
def test_foreign_formats(avatar: Avatar, connected: bool) -> None:
    async def hostility(graph: Graph) -> None:
        pcm = speech(20, graph.rate_hz)
        for rate_hz in (0, 7, graph.rate_hz * 2, 2**31 - 1):
            await graph.send(frame(pcm, rate_hz))
        for channels, width in ((2, 2), (0x7FFF, 2), (1, 1), (1, 4)):
            bad = frame(pcm, graph.rate_hz, channels=channels, width=width)
            await graph.send(bad)
        await graph.end()

    survive(avatar, hostility, connected)


@pytest.mark.rule("survives_odd_frames")
@with_and_without
def test_odd_frames(avatar: Avatar, connected: bool) -> None:
    async def hostility(graph: Graph) -> None:
        for pcm in (None, b"x", b"odd", speech(10_000, graph.rate_hz), b"y"):
            await graph.send(frame(pcm, graph.rate_hz))
        await graph.end()

    survive(avatar, hostility, connected)


@pytest.mark.rule("survives_foreign_metadata")
@with_and_without
def test_foreign_metadata(avatar: Avatar, connected: bool) -> None:
    values = [
        *({}, "text", "", [], [1], 7, 1.5, True, {"turn_id": {}}),
        *({"turn_id": "7"}, {"turn_id": ""}, {"turn_id": -1}),
        *({"turn_id": 1.5}, {"turn_id": []}, {"turn_id": True}),
        *({"session_id": 7}, {"session_id": {}, "turn_id": 7}),
        {"deep": {"deep": {"deep": ["\u00e4\u4e16\U0001f600"] * 50}}},
    ]

    async def hostility(graph: Graph) -> None:
        pcm = speech(10, graph.rate_hz)
        for value in values:
            text = json.dumps(value)
            await graph.send(frame(pcm, graph.rate_hz, text))
            await graph.tell("tts_audio_start", {"metadata": value})
            await graph.tell("tts_audio_end", {"metadata": value, "reason": 1})

    survive(avatar, hostility, connected)


@pytest.mark.rule("survives_huge_integers")
@with_and_without
def test_huge_integers(avatar: Avatar, connected: bool) -> None:
    async def hostility(graph: Graph) -> None:
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

    survive(avatar, hostility, connected)


@pytest.mark.rule("survives_unknown_data")
@with_and_without
def test_unknown_data(avatar: Avatar, connected: bool) -> None:
    async def hostility(graph: Graph) -> None:
        known = ("tts_audio_start", "tts_audio_end", "finalize")
        for name in (*known, "guard_unknown", "error", "metrics"):
            await graph.tell(name)
            await graph.tell(name, {"request_id": 7, "reason": "1"})
            await graph.tell(name, {"request_id": [], "reason": {}})
            await graph.tell(name, {"reason": -(2**63), "metadata": "text"})

    survive(avatar, hostility, connected)


@pytest.mark.rule("reports_bad_frames_sparingly")
async def test_many_bad_frames(graph: Graph) -> None:
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
