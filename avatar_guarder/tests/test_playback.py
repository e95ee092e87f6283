#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Playback events."""

import asyncio
import time
from typing import Any

import pytest

from avatar_guarder.graph import Broken, Graph, Payload, speech
from avatar_guarder.vendor import Vendor

START, END = "avatar_audio_start", "avatar_audio_end"
FINISHED, CUT = 1, 2
SLACK_MS = 250


def events(graph: Graph) -> list[tuple[str, Payload]]:
    """Return the playback events so far."""
    return [
        (m.name, m.payload) for m in graph.messages if m.name in (START, END)
    ]


def position_ms(end: Payload) -> float:
    """Return the playback position of an end."""
    position = end.get("playback_position_ms")
    if not isinstance(position, (int, float)):
        raise Broken(f"playback_position_ms is no number: {position!r}")
    return position


def check_pairs(graph: Graph, count: int) -> list[Payload]:
    """Hold the events to `count` pairs, one a request; return the ends."""
    requests: dict[Any, list[str]] = {}
    for name, payload in events(graph):
        requests.setdefault(payload.get("request_id"), []).append(name)
    if list(requests.values()) != [[START, END]] * count:
        names = [name for name, _ in events(graph)]
        raise Broken(f"the events are {', '.join(names) or 'none'}")
    return graph.sent(END)


@pytest.mark.rule("pairs_playback_events")
async def test_pairs(graph: Graph) -> None:
    for turn_id in (1, 2):
        await graph.utter(speech(300, graph.rate_hz, turn_id), turn_id)
    await graph.until(lambda: len(graph.sent(END)) >= 2, f"no two {END}", 5)
    await graph.until_quiet(lambda: len(events(graph)))
    for turn_id, end in enumerate(check_pairs(graph, 2), 1):
        if end.get("request_id") != f"request-{turn_id}":
            raise Broken(f"request_id is {end.get('request_id')!r}")
        if end.get("reason") != FINISHED:
            raise Broken(f"the reason is {end.get('reason')}, expected 1")
        if abs(position_ms(end) - 300) > 20:
            raise Broken(f"{position_ms(end)} of 300 ms were heard")


@pytest.mark.rule("reports_cut_playback")
async def test_cut(graph: Graph) -> None:
    said_s = time.monotonic()
    await graph.utter(speech(3000, graph.rate_hz))
    await graph.until(lambda: graph.sent(START), f"no {START}")
    seen_s = time.monotonic()
    await asyncio.sleep(0.4)
    flushed_s = time.monotonic()
    await graph.flush()
    # Playback began between the first frame and the sight of its event.
    least_ms = (flushed_s - seen_s) * 1000 - SLACK_MS
    most_ms = (time.monotonic() - said_s) * 1000 + SLACK_MS
    await graph.until(lambda: graph.sent(END), f"no {END}", 2)
    await graph.until_quiet(lambda: len(events(graph)))
    (end,) = check_pairs(graph, 1)
    if end.get("reason") != CUT:
        raise Broken(f"the reason is {end.get('reason')}, expected 2")
    if not least_ms < position_ms(end) < most_ms:
        raise Broken(
            f"the position is {position_ms(end):.0f} ms, expected between "
            f"{max(0.0, least_ms):.0f} and {most_ms:.0f}"
        )


@pytest.mark.rule("ends_playback_after_loss")
async def test_loss(graph: Graph, vendor: Vendor) -> None:
    await graph.utter(speech(1000, graph.rate_hz))
    await graph.until(lambda: graph.sent(START), f"no {START}")
    vendor.fault("reset")
    await graph.until(lambda: graph.sent(END), f"no {END}", 10)
    await graph.until_quiet(lambda: len(events(graph)), 1.2)
    check_pairs(graph, 1)
