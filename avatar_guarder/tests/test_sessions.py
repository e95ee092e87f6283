#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Sessions that end: by faults, by limits, for good."""

import asyncio
import time

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import (
    CONFIGURATION,
    FATAL,
    Broken,
    Graph,
    Late,
    speech,
)
from avatar_guarder.hearing import Hearing
from avatar_guarder.vendor import Vendor

RECONNECT_LIMIT_S = 10.0
RENEWAL_LIMIT_S = 80.0
SPEECH_LIMIT_S = 75
PART_S = 0.1
PARTS_AFTER_RENEWAL = 8
BLOCK_MS = 20
LOST_LIMIT_MS = 60
"""Where one session follows the other a block may be split."""


async def check_utterance(
    graph: Graph, vendor: Vendor, hearing: Hearing, turn_id: int
) -> None:
    """Hold the vendor to have received a whole utterance."""
    pcm = speech(300, graph.rate_hz, turn_id)
    await graph.utter(pcm, turn_id)
    await graph.until(
        lambda: hearing.has_arrived(vendor.received(), pcm),
        f"utterance {turn_id} did not arrive whole",
        poll_s=0.02,
    )


@pytest.mark.rule("reconnects_after_loss")
@pytest.mark.parametrize("fault", ["reset", "close", "leave"])
async def test_loss(
    graph: Graph, vendor: Vendor, hearing: Hearing, fault: str
) -> None:
    await check_utterance(graph, vendor, hearing, 1)
    vendor.fault(fault)
    await graph.until(
        lambda: vendor.confirmed() >= 2,
        f"no new session after {fault!r}",
        RECONNECT_LIMIT_S,
    )
    await check_utterance(graph, vendor, hearing, 2)


@pytest.mark.rule("keeps_trying_when_refused")
def test_refusals(avatar: Avatar, vendor: Vendor, hearing: Hearing) -> None:
    vendor.fault("refuse")

    async def script(graph: Graph) -> None:
        await graph.until(
            vendor.confirmed, "no session after refusals", RECONNECT_LIMIT_S
        )
        await check_utterance(graph, vendor, hearing, 1)

    avatar.play(script, early=True)


@pytest.mark.rule("gives_up_without_credits")
async def test_credits(graph: Graph, vendor: Vendor) -> None:
    vendor.fault("credits")
    await graph.until_error(FATAL, why="exhausted credits: ")
    count = await graph.until_quiet(lambda: len(graph.errors(FATAL)), 0.5)
    if count != 1:
        raise Broken(f"{count} errors {FATAL} came")


@pytest.mark.rule("reports_wrong_credentials", case="invalid", early=True)
async def test_wrong_credentials(graph: Graph) -> None:
    await graph.until_error(
        FATAL, CONFIGURATION, why="wrong credentials: ", limit_s=10
    )


@pytest.mark.rule(
    "renews_before_expiry", case="renewal", timeout_s=RENEWAL_LIMIT_S + 15
)
async def test_renewal(graph: Graph, vendor: Vendor, hearing: Hearing) -> None:
    await graph.until(
        lambda: vendor.confirmed() >= 2,
        "no renewal",
        RENEWAL_LIMIT_S,
        poll_s=0.1,
    )
    await check_utterance(graph, vendor, hearing, 1)
    if graph.sent("error"):
        message = graph.sent("error")[0].get("message")
        raise Broken(f"the renewal led to an error: {message}")


@pytest.mark.rule("renews_without_losing_speech", case="renewal", timeout_s=110)
async def test_renewal_in_speech(
    graph: Graph, vendor: Vendor, hearing: Hearing
) -> None:
    """One utterance in real time, until the session is another one.

    An avatar may wait for its end to renew, or repeat a little of it.
    """
    said: list[bytes] = []
    await graph.begin()
    began_s, left = time.monotonic(), PARTS_AFTER_RENEWAL
    while left and len(said) * PART_S < SPEECH_LIMIT_S:
        said.append(speech(1000 * PART_S, graph.rate_hz, len(said)))
        await graph.say(said[-1])
        due_s = began_s + len(said) * PART_S
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        left -= vendor.confirmed() >= 2
    await graph.end()
    await graph.until(
        lambda: vendor.confirmed() >= 2, "no renewal after speech", 15
    )

    def lost_ms() -> int:
        return missing_ms(hearing, vendor.received(), b"".join(said))

    try:
        await graph.until(lambda: lost_ms() <= LOST_LIMIT_MS, "", poll_s=0.2)
    except Late:
        raise Broken(
            f"{lost_ms()} ms of {len(said) * PART_S:.1f} s are missing"
        ) from None


def missing_ms(hearing: Hearing, received: list[bytes], pcm: bytes) -> int:
    """Return how much of the speech has not arrived, in its order."""
    heard = b"".join(received)
    if hearing.resampled:
        said_s = len(pcm) / 2 / hearing.said_hz
        return max(0, round(1000 * (said_s - hearing.duration_s(heard))))
    size = hearing.said_hz * BLOCK_MS // 1000 * 2
    lost = place = 0
    for at in range(0, len(pcm), size):
        found = heard.find(pcm[at : at + size], place)
        place = max(place, found)
        lost += found < 0
    return lost * BLOCK_MS
