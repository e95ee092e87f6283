"""Starting, stopping, and living beside one another."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor

START_LIMIT_S = 2.0
STOP_LIMIT_S = 5.0


async def nothing(graph: Graph) -> None:
    """Stop at once."""


def check_stop(took_s: float, limit_s: float = STOP_LIMIT_S) -> None:
    """Hold a stop to its limit."""
    if took_s > limit_s:
        raise Broken(f"the stop took {took_s:.1f} s")


@pytest.mark.rule("starts_without_vendor")
def test_start(avatar: Avatar) -> None:
    _, took_s = avatar.play(nothing)
    check_stop(took_s, START_LIMIT_S)


@pytest.mark.rule("stops_in_time")
def test_stop_in_speech(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.begin()
        await graph.say(speech(5000, graph.rate_hz))
        await asyncio.sleep(0.3)  # in the middle of its attempts

    _, took_s = avatar.play(script)
    check_stop(took_s)


@pytest.mark.rule("stops_when_stalled")
def test_stop_when_stalled(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        vendor.fault("stall")
        await graph.say(speech(60_000, graph.rate_hz), frame_ms=100)
        await asyncio.sleep(0.3)  # so that the buffers are full

    _, took_s = avatar.play(script)
    check_stop(took_s)


@pytest.mark.rule("stops_while_vendor_hangs")
def test_stop_while_vendor_hangs(avatar: Avatar, vendor: Vendor) -> None:
    vendor.fault("hang")

    async def script(graph: Graph) -> None:
        await graph.utter(speech(500, graph.rate_hz))
        await asyncio.sleep(0.5)  # in the middle of the first attempt

    _, took_s = avatar.play(script)
    check_stop(took_s)


@pytest.mark.rule("instances_are_independent")
def test_instances_are_independent(avatar: Avatar) -> None:
    lives, gone = threading.Event(), threading.Event()

    async def first(graph: Graph) -> None:
        await graph.say(speech(200, graph.rate_hz))
        await graph.settle()

    async def second(graph: Graph) -> None:
        try:
            await graph.ask("flush", 1)
        except Broken:
            pytest.skip("flush, which shows life, is not answered at all")
        finally:
            lives.set()
        await graph.until(gone.is_set, "the other one did not stop", 8)
        await graph.say(speech(200, graph.rate_hz, seed=2))
        await graph.ask("flush", 1)

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(avatar.play, second)
        lives.wait(5)
        avatar.play(first)
        gone.set()
        other.result()


@pytest.mark.rule("instances_do_not_mix")
def test_instances_do_not_mix(avatar: Avatar, vendor: Vendor) -> None:
    def speak(seed: int) -> None:
        async def script(graph: Graph) -> None:
            await graph.until(
                lambda: vendor.confirmed() >= 2, "no two sessions"
            )
            pcm = speech(1000, graph.rate_hz, seed)
            await graph.begin()
            for at in range(0, len(pcm), len(pcm) // 20):
                await graph.say(pcm[at : at + len(pcm) // 20])
                await asyncio.sleep(0.005)  # so that the two take turns
            await graph.end()
            await graph.until(
                lambda: len(vendor.ends()) >= 2, "the vendor has no two ends"
            )
            if pcm not in vendor.received():
                raise Broken("the vendor did not receive the speech of each")

        avatar.play(script)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(speak, seed) for seed in (1, 2)]:
            done.result()
