"""docs/steps.md says which functions are called, and in which order."""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable

import pytest
from scene import Scene, scene
from tracing import ROOT, Call, Trace, traced

from devkit.harness import virtual_time
from devkit.motion_server import Reset

pytestmark = pytest.mark.virtual

Act = Callable[[Scene], Awaitable[None]]

PAGE = ROOT / "docs" / "steps.md"

STEP = re.compile(r"^\d+\. `([\w/]+\.py:\w+)`", re.M)


def chapters() -> dict[str, list[list[str]]]:
    """Return the documented turns of each chapter, as lists of calls."""
    found = {}
    for text in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = text.partition("\n")
        starts = [match.start() for match in re.finditer(r"^1\. ", text, re.M)]
        ends = [*starts[1:], len(text)]
        found[title] = [
            STEP.findall(text[at:end]) for at, end in zip(starts, ends)
        ]
    return found


CHAPTERS = chapters()


async def frame(on: Scene) -> None:
    await on.talk.say(1, 10)


async def flush(on: Scene) -> None:
    await on.rig.send_cmd("flush")
    await asyncio.sleep(0.1)


async def loss(on: Scene) -> None:
    on.server.now(Reset())
    await on.until(lambda: on.rig.states.count("ready") == 2)
    await asyncio.sleep(0.1)


async def run_of(act: Act, said_ms: int) -> Trace:
    """Trace `act` in the middle of an utterance of which so much was said."""
    async with scene(end_of_speech_timeout_ms=0) as on:
        await on.rig.state("ready")
        await on.talk.say(1, said_ms)
        await asyncio.sleep(said_ms / 3000)
        with traced() as trace:
            await act(on)
    return trace


@functools.cache
def turns_of(title: str) -> list[list[Call]]:
    # Frames wait for others only if more than 1 s lies ahead at the service.
    acts = {"A frame": (frame, 600), "A flush": (flush, 3000)}
    act, said_ms = acts.get(title, (loss, 3000))
    return virtual_time.run(run_of(act, said_ms)).turns()


def follows(turn: list[Call], documented: list[str]) -> bool:
    """Return whether a turn has the documented calls, in their order: each
    for the first time after the one before it."""
    names = [call.name for call in turn]
    if names[0] != documented[0]:
        return False
    at = 0
    for name in documented:
        if name not in names[at:]:
            return False
        at = names.index(name, at) + 1
    return True


@pytest.mark.parametrize("title", CHAPTERS)
def test_documented_calls_are_made(title: str) -> None:
    """One turn after the other makes the calls of its list, in order."""
    turns = iter(turns_of(title))
    assert CHAPTERS[title]
    for documented in CHAPTERS[title]:
        assert len(documented) > 1
        assert any(follows(turn, documented) for turn in turns), documented


def test_every_item_names_a_function() -> None:
    """No step is left out of the comparison."""
    items = re.findall(r"^\d+\. ", PAGE.read_text(), re.M)
    steps = [
        step for turns in CHAPTERS.values() for turn in turns for step in turn
    ]
    assert len(items) == len(steps)


def test_order_and_names_are_compared() -> None:
    """A list in another order, or with a function that is gone, fails."""
    [documented] = CHAPTERS["A frame"]
    [turn] = [turn for turn in turns_of("A frame") if follows(turn, documented)]
    swapped = [documented[0], documented[2], documented[1], *documented[3:]]
    assert not follows(turn, swapped)
    assert not follows(turn, [*documented, "avatar/gone.py:gone"])
