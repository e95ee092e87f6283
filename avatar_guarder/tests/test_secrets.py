#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Secrets stay out of messages and logs."""

import asyncio
import contextlib
import json
import re
from typing import Any

import pytest

from avatar_guarder.avatar import EMPTY, Avatar
from avatar_guarder.cases import SHORTEST_SECRET, secrets
from avatar_guarder.graph import Broken, Graph, Late, speech
from avatar_guarder.vendor import Vendor, ask

CASES = ("basic", "invalid", "wrong_value")


async def live_a_little(graph: Graph) -> None:
    """Have the avatar send reports and log lines."""
    await graph.utter(speech(100, graph.rate_hz))
    with contextlib.suppress(Broken):
        await graph.flush()
    await graph.until_quiet(lambda: len(graph.messages), 0.5)


def check(found: list[str], text: str, where: str) -> None:
    """Hold `text` to have no part of a secret in it."""
    size = SHORTEST_SECRET
    for secret in found:
        for at in range(len(secret) - size + 1):
            if secret[at : at + size] in text:
                raise Broken(
                    f"{where} shows a secret that begins with {secret[:2]!r}"
                )


def check_messages(found: list[str], graph: Graph) -> None:
    for message in graph.messages:
        check(found, json.dumps(message.payload), message.name)


def check_lines(avatar: Avatar, found: list[str], tree: Any) -> None:
    """Check that no printed line shows a secret.

    A runtime may print a configuration itself: those lines are known from an
    extension that does nothing, but for their numbers.
    """
    lines = avatar.stream.lines()
    avatar.stream.mark()
    with contextlib.suppress(Broken):
        avatar.play(live_a_little, tree=tree, addon=EMPTY)
    own = {
        shape(line.replace(EMPTY, avatar.addon))
        for line in avatar.stream.lines()
    }
    for line in lines:
        if shape(line) not in own:
            check(found, line, "a log line")
    avatar.stream.mark()


def shape(line: str) -> str:
    """Return a line without its numbers: times, processes, places."""
    return re.sub(r"\d+", "0", line)


@pytest.mark.rule("keeps_secrets_out_of_messages")
def test_messages(avatar: Avatar) -> None:
    for case in CASES:
        if avatar.has_case(case):
            tree = avatar.case(case)
            graph = avatar.play(live_a_little, tree=tree, early=True).graph
            check_messages(secrets(tree), graph)


@pytest.mark.rule("keeps_secrets_out_of_logs")
def test_log_lines(avatar: Avatar) -> None:
    for case in CASES:
        if avatar.has_case(case):
            tree = avatar.case(case)
            avatar.play(live_a_little, tree=tree, early=True)
            check_lines(avatar, secrets(tree), tree)


@pytest.mark.rule("keeps_tokens_out_of_logs")
def test_tokens(avatar: Avatar, vendor: Vendor) -> None:
    ask(vendor, "secrets")

    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        await live_a_little(graph)
        with contextlib.suppress(NotImplementedError):
            vendor.fault("close")
            with contextlib.suppress(Late):
                await graph.until(lambda: vendor.confirmed() >= 2, "", 3)

    tree = avatar.case("basic")
    avatar.play(script, tree=tree)
    configured = secrets(tree)
    issued = [text for text in ask(vendor, "secrets") if text not in configured]
    check_lines(avatar, issued, tree)


@pytest.mark.rule("keeps_secrets_out_of_vendor_errors")
def test_fatal_errors(avatar: Avatar, vendor: Vendor) -> None:
    async def script(graph: Graph) -> None:
        await graph.until(vendor.confirmed, "no session", 10)
        vendor.fault("credits")
        with contextlib.suppress(Late):
            await graph.until(lambda: graph.sent("error"), "no error", 3)
        await asyncio.sleep(0.3)
        await graph.until_quiet(lambda: len(graph.messages), 0.3)

    tree = avatar.case("basic")
    graph = avatar.play(script, tree=tree).graph
    found = avatar.secrets(tree)
    check_messages(found, graph)
    # A secret in the usual log lines has its own verdict.
    if not {"keeps_secrets_out_of_logs", "keeps_tokens_out_of_logs"} & (
        avatar.broken
    ):
        check_lines(avatar, found, tree)
