#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Sessions that end: by faults, by limits, for good."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import CONFIGURATION, FATAL, Broken, Graph, speech
from avatar_guarder.hearing import Hearing
from avatar_guarder.vendor import Vendor

RECONNECT_LIMIT_S = 10.0
RENEWAL_LIMIT_S = 80.0
SPEECH_LIMIT_S = 75
BLOCK_MS = 20


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
def test_loss(
    avatar: Avatar, vendor: Vendor, hearing: Hearing, fault: str
) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        await check_utterance(graph, vendor, hearing, 1)
        vendor.fault(fault)
        await graph.until(
            lambda: vendor.confirmed() >= 2,
            f"no new session after {fault!r}",
            RECONNECT_LIMIT_S,
        )
        await check_utterance(graph, vendor, hearing, 2)

    avatar.play(script)


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
def test_credits(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        vendor.fault("credits")
        await graph.until_error(FATAL, why="exhausted credits: ")
        count = await graph.until_quiet(lambda: len(graph.errors(FATAL)), 0.5)
        if count != 1:
            raise Broken(f"{count} errors {FATAL} came")

    avatar.play(script)


@pytest.mark.rule("reports_wrong_credentials")
def test_wrong_credentials(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until_error(
            FATAL, CONFIGURATION, why="wrong credentials: ", limit_s=10
        )

    avatar.play(script, "invalid", early=True)


@pytest.mark.rule("renews_before_expiry")
def test_renewal(avatar: Avatar, vendor: Vendor, hearing: Hearing) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        await graph.until(
            lambda: vendor.confirmed() >= 2, "no renewal", RENEWAL_LIMIT_S
        )
        await check_utterance(graph, vendor, hearing, 1)
        if graph.sent("error"):
            message = graph.sent("error")[0].get("message")
            raise Broken(f"the renewal led to an error: {message}")

    avatar.play(script, "renewal", timeout_s=RENEWAL_LIMIT_S + 15)


@pytest.mark.rule("renews_without_losing_speech")
def test_renewal_in_speech(
    avatar: Avatar, vendor: Vendor, hearing: Hearing
) -> None:
    """One utterance in real time, until the session is another one.

    An avatar may wait for its end to renew, or repeat a little of it.
    """

    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        said = []
        await graph.begin()
        before = 0
        for second in range(SPEECH_LIMIT_S):
            said.append(speech(1000, graph.rate_hz, second))
            before = vendor.confirmed()
            await graph.say_slowly(said[-1])
            if before >= 2:
                break  # a second after the renewal
        await graph.end()
        if before < 2:
            await graph.until(
                lambda: vendor.confirmed() >= 2, "no renewal after speech", 15
            )
        await graph.until_quiet(
            lambda: sum(map(len, vendor.received())), 1.0, 10
        )
        check_nothing_lost(hearing, b"".join(vendor.received()), said)

    avatar.play(script, "renewal", timeout_s=110)


def check_nothing_lost(
    hearing: Hearing, heard: bytes, said: list[bytes]
) -> None:
    """Hold every part of the speech to have arrived, in its order."""
    wanted_s = len(said)
    if hearing.resampled:
        lost_s = wanted_s - hearing.duration_s(heard)
        if lost_s > 0.1:
            raise Broken(f"{lost_s:.1f} of {wanted_s} s are missing")
        return
    size = hearing.said_hz * BLOCK_MS // 1000 * 2
    pcm = b"".join(said)
    lost = sum(
        pcm[at : at + size] not in heard for at in range(0, len(pcm), size)
    )
    if lost > 2:  # where one session follows the other a block may be split
        raise Broken(f"{lost * BLOCK_MS} ms of {wanted_s} s are missing")
