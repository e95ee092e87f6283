"""CPU from a frame's arrival to the socket, against the bare SDK's.

The frames come one by one, a millisecond apart: the loop falls asleep in
between, and so does the service, as they do at real pace. What pacing costs
is taken out of both sides, what delivery costs (an extension that does
nothing) out of ours. The sides take turns, in random order, and what is taken
out is of the same round, so that a noisy machine disturbs them alike.
"""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

from devkit.harness.messages import audio_frame

from . import threaded
from .figures import Outcome, Row, Settings, median, middle_half
from .service import Service, motion_server
from .sides import (
    BYTES_PER_S,
    Bare,
    Nothing,
    Ours,
    Reading,
    Thinnest,
    on_shared_loop,
)

FRAME_MS = (10, 20, 100)
GAP_S = 0.001
"""Between frames; uvloop's timers know nothing shorter."""

REAL_PACE_MS = 10
"""Frames of this length are measured at their own pace, too: caches are
colder then, on both sides."""

FRAMES_PER_RUN = 50
PACED_GOAL = 1.5

BURST_S = 30
SHORT_BURST_S = 3
BURST_FRAME_MS = 10
BURST_GOAL = 1.0

THINNEST = 600
"""Number of the thinnest extension's avatar."""

_SETTLE_S = 0.01

Samples = dict[str, list[float]]


def run(settings: Settings) -> Outcome:
    """Measure paced frames, a burst, and frames from another thread."""
    with motion_server() as service:
        return on_shared_loop(_run(service, settings))


async def _run(service: Service, settings: Settings) -> Outcome:
    outcome = Outcome()
    async with (
        Ours(service) as ours,
        Bare(service) as bare,
        Nothing() as nothing,
        Reading() as reading,
        Thinnest(service, THINNEST) as thinnest,
    ):
        bench = _Bench(ours, bare, nothing, reading)
        for frame_ms in FRAME_MS:
            samples = await bench.paced(frame_ms, settings.choose(100, 1))
            name = f"{frame_ms} ms frames"
            outcome.rows.append(_paced_row(name, frame_ms, samples))
        samples = await bench.paced(
            REAL_PACE_MS, settings.choose(30, 1), REAL_PACE_MS / 1000
        )
        name = f"{REAL_PACE_MS} ms, real pace"
        outcome.rows.append(_paced_row(name, REAL_PACE_MS, samples))
        burst_s = SHORT_BURST_S if settings.short else BURST_S
        samples = await bench.burst(burst_s, settings.choose(9, 1))
        outcome.rows.append(_burst_row(burst_s, samples))
        row, thinnest_bytes = await threaded.compare(
            ours, thinnest, nothing, reading, settings
        )
        outcome.rows.append(row)
        outcome.sent_bytes = (
            bench.bare_bytes + thinnest_bytes + ours.totals.sent * 2
        )
        outcome.received_bytes = await asyncio.to_thread(
            service.received_all, outcome.sent_bytes
        )
    return outcome


class _Bench:
    def __init__(
        self, ours: Ours, bare: Bare, nothing: Nothing, reading: Reading
    ) -> None:
        self.bare_bytes = 0
        self._hosted = {"ours": ours, "nothing": nothing, "reading": reading}
        self._ours = ours
        self._bare = bare
        self._turn_id = 0

    async def paced(
        self, frame_ms: int, runs: int, gap_s: float = GAP_S
    ) -> Samples:
        """Return seconds of CPU per second of audio, by side."""
        pcm = bytes(BYTES_PER_S * frame_ms // 1000)
        return await self._take_turns(
            {
                "pacing": partial(self._pace, gap_s),
                "bare": partial(self._bare_paced, pcm, gap_s),
                **{
                    name: partial(self._hosted_paced, name, pcm, gap_s)
                    for name in self._hosted
                },
            },
            runs,
            FRAMES_PER_RUN * frame_ms / 1000,
        )

    async def burst(self, burst_s: int, runs: int) -> Samples:
        """Return seconds of CPU per second of audio, by side."""
        pcm = bytes(BYTES_PER_S * BURST_FRAME_MS // 1000)
        count = burst_s * 1000 // BURST_FRAME_MS
        return await self._take_turns(
            {
                "bare": partial(self._bare_burst, pcm, count),
                **{
                    name: partial(self._hosted_burst, name, pcm, count)
                    for name in self._hosted
                },
            },
            runs,
            burst_s,
        )

    async def _take_turns(
        self,
        sides: dict[str, Callable[[], Awaitable[float]]],
        runs: int,
        audio_s: float,
    ) -> Samples:
        samples: Samples = {name: [] for name in sides}
        order = list(sides)
        for _ in range(runs):
            random.shuffle(order)
            for name in order:
                gc.collect()
                cpu_s = await sides[name]()
                samples[name].append(cpu_s / audio_s)
                # Ends the utterance now, not within another's measurement.
                self._ours.flush()
                await asyncio.sleep(_SETTLE_S)
        return samples

    async def _pace(self, gap_s: float) -> float:
        began = time.thread_time()
        for _ in range(FRAMES_PER_RUN):
            await asyncio.sleep(gap_s)
        return time.thread_time() - began

    async def _bare_paced(self, pcm: bytes, gap_s: float) -> float:
        send = self._bare.session.send_audio
        self.bare_bytes += FRAMES_PER_RUN * len(pcm)
        began = time.thread_time()
        for _ in range(FRAMES_PER_RUN):
            await send(pcm)
            await asyncio.sleep(gap_s)
        return time.thread_time() - began

    async def _hosted_paced(self, name: str, pcm: bytes, gap_s: float) -> float:
        side = self._hosted[name]
        self._turn_id += 1
        frames = [
            audio_frame(pcm, self._turn_id) for _ in range(FRAMES_PER_RUN)
        ]
        began = time.thread_time()
        for frame in frames:
            side.send(frame)
            await asyncio.sleep(gap_s)
        cpu_s = time.thread_time() - began
        await self._ours.silent()
        return cpu_s

    async def _bare_burst(self, pcm: bytes, count: int) -> float:
        send = self._bare.session.send_audio
        self.bare_bytes += count * len(pcm)
        began = time.thread_time()
        for _ in range(count):
            await send(pcm)
        return time.thread_time() - began

    async def _hosted_burst(self, name: str, pcm: bytes, count: int) -> float:
        side = self._hosted[name]
        self._turn_id += 1
        frames = [audio_frame(pcm, self._turn_id) for _ in range(count)]
        began = time.thread_time()
        for frame in frames:
            side.send(frame)
        await side.delivered()
        await self._ours.silent()
        return time.thread_time() - began


def _paced_row(name: str, frame_ms: int, samples: Samples) -> Row:
    return _row(
        name,
        _difference(samples, "ours", "nothing"),
        _difference(samples, "bare", "pacing"),
        PACED_GOAL,
        _frame_note(
            _difference(samples, "nothing", "pacing"), samples, frame_ms
        ),
    )


def _burst_row(burst_s: int, samples: Samples) -> Row:
    return _row(
        f"{burst_s} s at once",
        _difference(samples, "ours", "nothing"),
        samples["bare"],
        BURST_GOAL,
        _frame_note(samples["nothing"], samples, BURST_FRAME_MS),
    )


def _difference(samples: Samples, side: str, without: str) -> list[float]:
    """Return what `side` took beyond `without`, round by round."""
    return [one - other for one, other in zip(samples[side], samples[without])]


def _row(
    what: str, ours: list[float], bare: list[float], goal: float, note: str
) -> Row:
    # Less than nothing is noise, and says nothing.
    is_sound = median(ours) > 0 and median(bare) > 0
    ratio = median(ours) / median(bare) if is_sound else None
    each = [one / other for one, other in zip(ours, bare) if other > 0]
    return Row(
        f"CPU per s of audio, {what}",
        "ms",
        median(ours) * 1000,
        median(bare) * 1000,
        ratio,
        middle_half(each),
        f"<= {goal} x",
        ratio is not None and ratio <= goal,
        note,
    )


def _frame_note(delivery: list[float], samples: Samples, frame_ms: int) -> str:
    """Say what a frame takes that is another runtime's to make cheaper."""
    reading = _difference(samples, "reading", "nothing")
    us_per_frame = frame_ms / 1000 * 1e6
    return (
        f"per frame: taken out for delivery {median(delivery) * us_per_frame:.0f}"
        f" us; in ours, reading the frame {median(reading) * us_per_frame:.0f} us"
    )
