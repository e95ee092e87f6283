"""How soon the avatar speaks again: after a loss, and after sleep.

A loss: a sentence is handed over at once, as by a fast TTS; while it is heard,
the service resets the connection. The bare loop does the minimum of an
extension: close, new session, init, start, send the sentence again. A wake-up:
nothing was said for `idle_disconnect_s`, then the first frame comes. The bare
loop has called `init` before, and calls `start` then.

Times end when the first audio of the next connection is at the service. Each
is a new extension's first, with its spare session token. The audio that
the listener misses is judged by `bin/soak`.
"""

import asyncio
import itertools
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from devkit.harness.messages import tts_data
from devkit.motion_server.proxy import DelayingProxy

from .runner import Goal, Outcome, Row, Settings, by_turns, compare, p
from .service import Service
from .sides import BYTES_PER_S, Bare, Ours, on_shared_loop

FRAME_MS = 100
SPEECH_S = 3
DROP_AFTER_S = (0.8, 1.2)
IDLE_S = 0.5

ROUNDS = 6
LANES = 4
"""Avatars that are lost, or asleep, at the same time."""

LOSS_GOAL = Goal(230.0, "beyond")
"""100 ms of random wait, and the bare loop's own time once more."""
WAKE_GOAL = Goal(10.0, "beyond")

_PCM = bytes(BYTES_PER_S * FRAME_MS // 1000)


@dataclass(frozen=True)
class Network:
    """Between client and service."""

    name: str
    delay_ms: float
    """To either side."""
    console_delay_s: float


NETWORKS = (
    Network("loopback", 0, 0),
    Network("100 ms away", 50, 0.3),
)


def run(settings: Settings, service: Service) -> Outcome:
    """Measure over loopback, and over a network with a slow console."""
    outcome = Outcome()
    for network in NETWORKS:
        service.reset()
        lanes = 1 if settings.short else LANES
        work = _run(service, network, settings.rounds(ROUNDS), lanes)
        rows, sent_bytes = on_shared_loop(work)
        outcome.rows += rows
        outcome.sent_bytes += sent_bytes
        outcome.received_bytes += service.received_all(sent_bytes)
    return outcome


async def _run(
    service: Service, network: Network, rounds: int, lanes: int
) -> tuple[list[Row], int]:
    bench = _Bench(service)
    async with AsyncExitStack() as stack:
        if network.console_delay_s:
            service.slow_console(network.console_delay_s)
        if network.delay_ms:
            urls = []
            for url in (service.console_url, service.ingress_url):
                proxy = DelayingProxy(
                    urlsplit(url).port or 0, delay_ms=network.delay_ms
                )
                await stack.enter_async_context(proxy)
                urls.append(proxy.url(url))
            bench.reached = Service(urls[0], urls[1], service.control_url)
        rows: list[Row] = []
        for what, ours, bare, goal in (
            ("loss", bench.lose_ours, bench.lose_bare, LOSS_GOAL),
            ("wake-up", bench.wake_ours, bench.wake_bare, WAKE_GOAL),
        ):
            sides = {"ours": ours, "bare": bare}
            results = await asyncio.gather(
                *(by_turns(sides, rounds) for _ in range(lanes))
            )
            samples = {
                side: [[ms] for one in results for ms in one[side]]
                for side in sides
            }
            rows += [
                compare(
                    f"{network.name}: {what} -> first audio at the service, "
                    f"p{percent}",
                    "ms",
                    samples,
                    statistic=p(percent),
                    reference="bare",
                    goal=goal if percent == 99 else None,
                )
                for percent in (50, 99)
            ]
    return rows, bench.sent_bytes


class _Bench:
    """Measures one loss or wake-up after the other, in ms."""

    def __init__(self, service: Service) -> None:
        self.reached = service
        """The service as the sides reach it."""
        self.sent_bytes = 0
        self._service = service
        self._uids = itertools.count(1)

    async def lose_ours(self) -> float:
        async with Ours(self.reached, next(self._uids)) as ours:
            await ours.prepared()
            self._say(ours, SPEECH_S)
            await ours.settled()
            await self._reset(ours.uid)
            await ours.reached("recovering")
            await ours.reached("ready")
            await ours.settled()
            # On the wire: `resent` is apart from the sum.
            self.sent_bytes += (ours.totals.sent + ours.totals.resent) * 2
        lost, found = self._service.connections(ours.uid)
        return (_first_audio_at(found) - lost["closed_s"]) * 1000

    async def lose_bare(self) -> float:
        uid, lost = next(self._uids), asyncio.Event()
        first = await Bare(self.reached, uid, on_close=lost.set).__aenter__()
        await self._send(first, SPEECH_S)
        await self._reset(uid)
        await lost.wait()
        await first.session.close()
        async with Bare(self.reached, uid) as second:
            await self._send(second, SPEECH_S)
            before, found = await self._audible(uid, 2)
        return (_first_audio_at(found) - before["closed_s"]) * 1000

    async def wake_ours(self) -> float:
        async with Ours(
            self.reached, next(self._uids), idle_disconnect_s=IDLE_S
        ) as ours:
            await ours.prepared()
            await ours.reached("asleep")
            woken_at = time.monotonic()
            self._say(ours, FRAME_MS / 1000)
            await ours.reached("ready")
            await ours.settled()
            _, found = await self._audible(ours.uid, 2)
            self.sent_bytes += ours.totals.sent * 2
        return (_first_audio_at(found) - woken_at) * 1000

    async def wake_bare(self) -> float:
        bare = Bare(self.reached, next(self._uids))
        await bare.session.init()
        woken_at = time.monotonic()
        await bare.session.start()
        await self._send(bare, FRAME_MS / 1000)
        (found,) = await self._audible(bare.uid, 1)
        await bare.session.close()
        return (_first_audio_at(found) - woken_at) * 1000

    def _say(self, ours: Ours, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            ours.send(ours.frame(_PCM, 1))
        ours.tell(tts_data("tts_audio_end", 1, reason=1))

    async def _send(self, bare: Bare, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            self.sent_bytes += len(_PCM)
            await bare.session.send_audio(_PCM)

    async def _reset(self, uid: int) -> None:
        """Reset the connection while the sentence is heard."""
        await asyncio.sleep(random.uniform(*DROP_AFTER_S))
        (one,) = await asyncio.to_thread(self._service.connections, uid)
        await asyncio.to_thread(
            self._service.now, "reset", connection=one["number"]
        )

    async def _audible(self, uid: int, count: int) -> list[dict[str, Any]]:
        """Wait until the last of `count` connections has audio; return all."""
        while True:
            found = await asyncio.to_thread(self._service.connections, uid)
            if len(found) == count and found[-1]["requests"]:
                return found
            await asyncio.sleep(0.05)


def _first_audio_at(connection: dict[str, Any]) -> float:
    return connection["requests"][0]["opened_s"]
