#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The baseline: an avatar that fails here cannot be judged further."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from avatar_guarder import hearing as comparison
from avatar_guarder import loader, worker
from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech
from avatar_guarder.vendor import Vendor, total

IDLE_S = 1.0


@pytest.mark.rule("loads")
def test_load(request: pytest.FixtureRequest, folder: Path) -> None:
    try:
        package: ModuleType | None = request.getfixturevalue("package")
    except loader.Unusable as error:
        raise Broken(str(error)) from error
    except BaseException as error:  # SystemExit too: the code is foreign
        place = worker.place_of(error, folder)
        text = (str(error).strip() or "no text").splitlines()[0]
        raise Broken(
            f"the addon in {folder} does not load: "
            f"{type(error).__name__}: {text} ({place}){loader.hint(error)}"
        ) from error
    name: Any = request.config.getoption("--extension_name")
    if package is not None and name not in worker.ADDONS:
        raise Broken(f"the package in {folder} registers no addon {name}")


async def nothing(graph: Graph) -> None:
    """Stop when on_start has returned."""


@pytest.mark.rule("starts")
def test_start(avatar: Avatar) -> None:
    avatar.play(nothing)


async def live(graph: Graph) -> None:
    """Idle for a second, and take a plain frame."""
    await asyncio.sleep(IDLE_S)
    await graph.say(speech(10, graph.rate_hz))
    await asyncio.sleep(0.3)  # for a task that processes it


@pytest.mark.rule("lives_without_vendor")
def test_life_without_vendor(avatar: Avatar) -> None:
    avatar.play(live)


@pytest.mark.rule("lives_when_misconfigured")
def test_life_when_misconfigured(avatar: Avatar) -> None:
    avatar.play(live, "missing")


@pytest.mark.rule("answers_flush")
async def test_flush(graph: Graph) -> None:
    await graph.flush(5.0)


@pytest.mark.rule("lives_with_vendor")
async def test_life_with_vendor(
    graph: Graph, vendor: Vendor, record_property: Any
) -> None:
    pcm = speech(1000, graph.rate_hz)
    await graph.utter(pcm)
    await graph.until(
        lambda: total(vendor),
        "no speech reached the vendor",
    )
    await graph.until_quiet(lambda: total(vendor), 0.6, 10)
    heard = b"".join(vendor.received())
    rate = comparison.rate_of(heard, pcm, graph.rate_hz)
    if rate and rate != graph.rate_hz:
        record_property("vendor_hz", rate)
