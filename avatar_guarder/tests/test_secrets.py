"""Secrets stay out of what others read."""

import contextlib
import json
from collections.abc import Iterable

import pytest

from avatar_guarder.avatar import SHORTEST_SECRET, Avatar
from avatar_guarder.graph import Broken, Graph, speech


async def live_a_little(graph: Graph) -> None:
    """Have the avatar report and log what it does."""
    await graph.utter(speech(100, graph.rate_hz))
    with contextlib.suppress(Broken):
        await graph.flush()
    await graph.until_quiet(lambda: len(graph.messages), 0.5)


def lives(avatar: Avatar) -> Iterable[tuple[list[str], Graph]]:
    """Live in each case; yield its secrets, and what was sent."""
    for case in ("basic", "invalid"):
        if avatar.has_case(case):
            tree = avatar.case(case)
            graph, _ = avatar.play(live_a_little, tree=tree)
            yield avatar.secrets(tree), graph


def check(secrets: list[str], text: str, where: str) -> None:
    """Hold `text` to have no part of a secret in it."""
    size = SHORTEST_SECRET
    for secret in secrets:
        for at in range(len(secret) - size + 1):
            if secret[at : at + size] in text:
                raise Broken(
                    f"{where} shows a secret that begins with {secret[:2]!r}"
                )


@pytest.mark.rule("keeps_secrets_out_of_messages")
def test_messages(avatar: Avatar) -> None:
    for secrets, graph in lives(avatar):
        for message in graph.messages:
            check(secrets, json.dumps(message.payload), message.name)


@pytest.mark.rule("keeps_secrets_out_of_logs")
def test_log_lines(avatar: Avatar) -> None:
    for secrets, _ in lives(avatar):
        for line in avatar.stream.text().splitlines():
            check(secrets, line, "a log line")
