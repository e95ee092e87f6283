"""Sessions that end: by faults, by limits, for good."""

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor

FATAL = -1000
RECONNECT_LIMIT_S = 10.0
RENEWAL_LIMIT_S = 80.0


async def check_utterance(graph: Graph, vendor: Vendor, turn_id: int) -> None:
    """Hold the vendor to have received a whole utterance."""
    pcm = speech(300, graph.rate_hz, turn_id)
    await graph.utter(pcm, turn_id)
    await graph.until(
        lambda: pcm in vendor.received(),
        f"utterance {turn_id} did not arrive whole",
    )


@pytest.mark.rule("reconnects_after_loss")
@pytest.mark.parametrize("fault", ["reset", "close", "leave"])
def test_loss(avatar: Avatar, vendor: Vendor, fault: str) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        await check_utterance(graph, vendor, 1)
        vendor.fault(fault)
        await graph.until(
            lambda: vendor.confirmed() >= 2,
            f"no new session after {fault!r}",
            RECONNECT_LIMIT_S,
        )
        await check_utterance(graph, vendor, 2)

    avatar.play(script)


@pytest.mark.rule("keeps_trying_when_refused")
def test_refusals(avatar: Avatar, vendor: Vendor) -> None:
    vendor.fault("refuse")

    async def script(graph: Graph) -> None:
        await graph.until(
            vendor.confirmed, "no session after refusals", RECONNECT_LIMIT_S
        )
        await check_utterance(graph, vendor, 1)

    avatar.play(script)


@pytest.mark.rule("gives_up_without_credits")
def test_credits(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        vendor.fault("credits")
        await graph.until(
            lambda: graph.errors(FATAL),
            f"exhausted credits led to no error {FATAL}",
        )
        count = await graph.until_quiet(lambda: len(graph.errors(FATAL)), 0.5)
        if count != 1:
            raise Broken(f"{count} errors {FATAL} came")

    avatar.play(script)


@pytest.mark.rule("renews_before_expiry")
def test_renewal(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session")
        await graph.until(
            lambda: vendor.confirmed() >= 2, "no renewal", RENEWAL_LIMIT_S
        )
        await check_utterance(graph, vendor, 1)
        if graph.sent("error"):
            message = graph.sent("error")[0].get("message")
            raise Broken(f"the renewal led to an error: {message}")

    avatar.play(script, "renewal", timeout_s=RENEWAL_LIMIT_S + 10)
