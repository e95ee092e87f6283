"""Frames from another thread, as TEN hands them over, at a given pace.

Each side speaks in turn on the event loop that a worker's extensions share.
All CPU time of the loop's thread counts, the delivery of the frames included.
A frame is on its way from its handover until the service has its last byte.
"""

import asyncio
import gc
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from .runner import Rounds, by_turns
from .service import Service
from .sides import BYTES_PER_S, SIDES, on_shared_loop

_SETTLE_S = 0.02

Sizes = Sequence[tuple[float, int]]
"""Times, and how many bytes there had been by then."""


@dataclass(frozen=True)
class Scene:
    """Speech to measure."""

    name: str
    pace: float
    """Times the speed of speech; inf for all frames at once."""
    audio_s: float
    """In each run, for each avatar."""
    frame_ms: int = 10
    avatars: int = 1
    sides: tuple[str, ...] = ("ours", "thinnest", "bare")


@dataclass
class Measured:
    """The figures of a scene, by side."""

    cpu_us: dict[str, Rounds] = field(default_factory=dict)
    """Per frame."""
    latency_ms: dict[str, Rounds] = field(default_factory=dict)
    messages: dict[str, Rounds] = field(default_factory=dict)
    """Per second of audio."""
    sent_bytes: int = 0
    received_bytes: int = 0


def measure(service: Service, scene: Scene, rounds: int) -> Measured:
    """Have all sides of a scene speak by turns, `rounds` times each."""
    service.reset()
    return on_shared_loop(_measure(service, scene, rounds))


async def _measure(service: Service, scene: Scene, rounds: int) -> Measured:
    async with AsyncExitStack() as stack:
        teams = {
            name: _Team(
                [
                    await stack.enter_async_context(
                        SIDES[name](service, 1000 * place + number + 1)
                    )
                    for number in range(scene.avatars)
                ],
                scene,
            )
            for place, name in enumerate(scene.sides)
        }
        cpu_us = await by_turns(
            {name: team.speak for name, team in teams.items()}, rounds
        )
        sent = sum(team.sent_bytes for team in teams.values())
        received = await asyncio.to_thread(service.received_all, sent)
        record = await asyncio.to_thread(service.record, events=True)
    measured = Measured(sent_bytes=sent, received_bytes=received)
    arrivals = _arrivals(record)
    audio_s = scene.audio_s * scene.avatars * rounds
    for name, team in teams.items():
        measured.cpu_us[name] = [[us] for us in cpu_us[name]]
        measured.latency_ms[name] = team.latencies(arrivals, rounds)
        count = sum(len(arrivals[side.uid]) for side in team.sides)
        measured.messages[name] = [[count / audio_s]]
    return measured


class _Team:
    """The avatars of one side."""

    def __init__(self, sides: list[Any], scene: Scene) -> None:
        self.sides = sides
        self._scene = scene
        self._pcm = bytes(BYTES_PER_S * scene.frame_ms // 1000)
        self._count = round(scene.audio_s * 1000 / scene.frame_ms)
        self._turn_id = 0
        self._sent: list[list[tuple[float, int]]] = [[] for _ in sides]

    @property
    def sent_bytes(self) -> int:
        return sum(one[-1][1] for one in self._sent if one)

    async def speak(self) -> float:
        """Speak once; return the CPU time of the loop's thread per frame, in
        us."""
        self._turn_id += 1
        frames = [
            [side.frame(self._pcm, self._turn_id) for _ in range(self._count)]
            for side in self.sides
        ]
        gc.collect()
        began = time.thread_time()
        await asyncio.to_thread(self._feed, frames)
        for side in self.sides:
            await side.settled()
        cpu_s = time.thread_time() - began
        for side in self.sides:
            await side.end_turn()
        await asyncio.sleep(_SETTLE_S)
        return cpu_s / (self._count * len(self.sides)) * 1e6

    def _feed(self, frames: list[list[Any]]) -> None:
        scene = self._scene
        gap_s = scene.frame_ms / 1000 / scene.pace / len(self.sides)
        due = time.monotonic()
        for at in range(self._count):
            for side, its, sent in zip(self.sides, frames, self._sent):
                wait_s = due - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                size = sent[-1][1] if sent else 0
                sent.append((time.monotonic(), size + len(self._pcm)))
                side.send(its[at])
                due += gap_s

    def latencies(self, arrivals: dict[int, Sizes], rounds: int) -> Rounds:
        """Return those of each round, in ms."""
        of_sides = [
            latencies(sent, arrivals[side.uid])
            for side, sent in zip(self.sides, self._sent)
        ]
        return [
            [
                ms
                for one in of_sides
                for ms in one[at * self._count : (at + 1) * self._count]
            ]
            for at in range(rounds)
        ]


def _arrivals(record: dict[str, Any]) -> dict[int, Sizes]:
    """Return by uid when audio messages came, and the bytes by then."""
    uids = {
        one["number"]: one["config"]["uid"]
        for one in record["connections"]
        if one["config"] is not None
    }
    arrivals: dict[int, Any] = {uid: [] for uid in uids.values()}
    for event in record["events"]:
        if event["kind"] == "audio" and event["audio_bytes"]:
            those = arrivals[uids[event["connection"]]]
            size = those[-1][1] if those else 0
            those.append((event["time_s"], size + event["audio_bytes"]))
    return arrivals


def latencies(sent: Sizes, received: Sizes) -> list[float]:
    """Return for each frame how long its last byte was under way, in ms."""
    sizes = [size for _, size in received]
    return [
        (received[bisect_left(sizes, size)][0] - sent_at) * 1000
        for sent_at, size in sent
    ]
