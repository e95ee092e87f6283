"""Log lines, memory, and the dump."""

import asyncio
import os
from pathlib import Path

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, frame, speech
from avatar_guarder.vendor import Vendor

LINES_PER_S = 5
SPEECH_S = 10

LONG_SPEECH_S = 600
LONG_FRAME_S = 0.1
PART_KEPT = 0.5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STATM = Path("/proc/self/statm")


def check_lines(avatar: Avatar) -> None:
    """Hold what was printed to the limit for `SPEECH_S`."""
    lines = [line for line in avatar.stream.text().splitlines() if line]
    if len(lines) > LINES_PER_S * SPEECH_S:
        raise Broken(
            f"{len(lines)} lines for {SPEECH_S} s of speech, such as: "
            f"{lines[len(lines) // 2][:60]}"
        )


@pytest.mark.rule("logs_little_without_vendor")
def test_lines_without_vendor(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.utter(speech(SPEECH_S * 1000, graph.rate_hz))
        await graph.settle()

    avatar.play(script)
    check_lines(avatar)


@pytest.mark.rule("logs_little_while_speaking")
def test_lines_while_speaking(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        pcm = speech(SPEECH_S * 1000, graph.rate_hz)
        size = len(pcm) // 10
        await graph.begin()
        for at in range(0, len(pcm), size):
            await graph.say(pcm[at : at + size])
            await asyncio.sleep(0.01)  # frames must not all be joined
        await graph.end()
        await graph.until(vendor.ends, "the vendor has no end", 10)

    avatar.play(script)
    check_lines(avatar)


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    if not STATM.exists():
        pytest.skip("memory can be measured on Linux only")
    return int(STATM.read_text().split()[1]) * PAGE_BYTES


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
    await graph.until(
        lambda: resident_bytes() - before < limit,
        f"of {total / 1e6:.0f} MB of speech more than {limit / 1e6:.0f} MB "
        "are kept, and do not go",
        3,
    )


@pytest.mark.rule("bounds_memory_without_vendor")
def test_memory_without_vendor(avatar: Avatar) -> None:
    avatar.play(speak_for_long)


@pytest.mark.rule("bounds_memory_when_stalled")
def test_memory_when_stalled(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        vendor.fault("stall")
        await speak_for_long(graph)

    avatar.play(script)


@pytest.mark.rule("dumps_received_audio")
def test_dump(avatar: Avatar, tmp_path: Path) -> None:
    pcm = speech(500, avatar.rate_hz(avatar.case("basic")))

    async def script(graph: Graph) -> None:
        await graph.utter(pcm)
        await graph.settle()

    tree = {**avatar.case("basic"), "dump": True, "dump_path": str(tmp_path)}
    avatar.play(script, tree=tree)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    if not files:
        raise Broken("no file was written to dump_path")
    if not any(pcm in path.read_bytes() for path in files):
        raise Broken("no file in dump_path holds the audio that came")
