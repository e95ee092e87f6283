#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Log lines, memory, and the dump."""

import asyncio
import ctypes
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from avatar_guarder.avatar import EMPTY, Avatar
from avatar_guarder.graph import Broken, Graph, Late, Script, frame, speech
from avatar_guarder.vendor import Vendor, total

LINES_PER_S = 5
SPEECH_S = 10

LONG_SPEECH_S = 600
LONG_FRAME_S = 0.1
PART_KEPT = 0.5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STATM = Path("/proc/self/statm")


def lines_of(avatar: Avatar, script: Script, **options: Any) -> list[str]:
    """Return the lines that were printed while a script was played."""
    avatar.stream.mark()
    avatar.play(script, **options)
    return avatar.stream.lines()


def check_lines(avatar: Avatar, script: Script) -> None:
    """Hold the extension's own lines to the limit for `SPEECH_S`.

    A runtime prints lines of its own: as many as for an extension that does
    nothing.
    """

    async def speak(graph: Graph) -> None:
        await graph.utter(speech(SPEECH_S * 1000, graph.rate_hz))
        await graph.settle()

    runtime = lines_of(avatar, speak, addon=EMPTY, tree={})
    lines = lines_of(avatar, script)
    count = len(lines) - len(runtime)
    if count > LINES_PER_S * SPEECH_S:
        own = [line for line in lines if line not in set(runtime)]
        raise Broken(
            f"{count} lines for {SPEECH_S} s of speech, such as: "
            f"{own[len(own) // 2][:60]}"
        )


@pytest.mark.rule("logs_little_without_vendor")
def test_lines_without_vendor(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.utter(speech(SPEECH_S * 1000, graph.rate_hz))
        await graph.settle()

    check_lines(avatar, script)


@pytest.mark.rule("logs_little_while_speaking")
def test_lines_while_speaking(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        pcm = speech(SPEECH_S * 1000, graph.rate_hz)
        size = len(pcm) // 10
        await graph.begin()
        for at in range(0, len(pcm), size):
            await graph.say(pcm[at : at + size])
            await asyncio.sleep(0.01)  # frames must not all be joined
        await graph.end()
        await graph.until(
            lambda: total(vendor), "the vendor received no speech"
        )
        await graph.until_quiet(lambda: total(vendor), 0.5, 2 * SPEECH_S)

    check_lines(avatar, script)


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    if not STATM.exists():
        pytest.skip("memory can be measured on Linux only")
    give_back()
    return int(STATM.read_text().split()[1]) * PAGE_BYTES


def give_back() -> None:
    """Return freed memory to the system: the allocator may keep it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def speak_for_long(graph: Graph) -> None:
    """Say ten minutes in a moment; memory must stay below the limit."""
    graph.keeps_voice = False
    pcm = speech(LONG_FRAME_S * 1000, graph.rate_hz)
    metadata = '{"session_id": "guard", "turn_id": 1}'
    total = 0
    before = resident_bytes()
    for number in range(int(LONG_SPEECH_S / LONG_FRAME_S)):
        await graph.send(frame(pcm, graph.rate_hz, metadata))
        total += len(pcm)
        if number % 50 == 0:
            await asyncio.sleep(0.002)  # no queue of the graph's own
    limit = int(total * PART_KEPT)
    try:
        await graph.until(
            lambda: resident_bytes() - before < limit,
            "memory goes",
            3,
            poll_s=0.2,
        )
    except Late:
        raise Late(
            f"of {total / 1e6:.0f} MB of speech more than {limit / 1e6:.0f} "
            "MB are kept, and do not go within 3 s"
        ) from None


@pytest.mark.rule("bounds_memory_without_vendor")
def test_memory_without_vendor(avatar: Avatar) -> None:
    avatar.play(speak_for_long)


@pytest.mark.rule("bounds_memory_when_stalled")
async def test_memory_when_stalled(graph: Graph, vendor: Vendor) -> None:
    vendor.fault("stall")
    await speak_for_long(graph)


@pytest.mark.rule("dumps_received_audio")
def test_dump(avatar: Avatar, tmp_path: Path) -> None:
    tree = avatar.case("dump", dump=True, dump_path=str(tmp_path))
    pcm = speech(500, avatar.rate_hz(tree))

    async def script(graph: Graph) -> None:
        await graph.utter(pcm)
        await graph.settle()
        await asyncio.sleep(0.2)  # for the writer of the dump

    avatar.play(script, tree=tree)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    if not files:
        raise Broken("no file was written to dump_path")
    if not any(pcm in path.read_bytes() for path in files):
        raise Broken("no file in dump_path holds the audio that came")
