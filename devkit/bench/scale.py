"""Many avatars in one process on one core, at real time.

Each number of avatars runs in a process of its own, with nothing else in it.
A frame is late by the time from its moment in the plan until the service has
its last byte, so whatever holds it up on the way counts.
"""

import asyncio
import gc
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import psutil

from devkit.harness.messages import audio_frame

from .apart import apart
from .figures import Outcome, Row, Settings, percentile
from .latency import Sent, latencies, messages
from .service import Service, motion_server
from .sides import BYTES_PER_S, Bare, Ours, on_shared_loop

COUNTS = (1, 10, 50, 100)
SHORT_COUNTS = (1, 2)
FRAME_MS = 20

LATE_GOAL_MS = 20.0
MEMORY_GOAL_KB = 1024.0
GROWTH_GOAL = 1.2
"""CPU per avatar at the largest number, against that at half of it."""


@dataclass(frozen=True)
class Crowd:
    """What a number of avatars cost."""

    count: int
    late_ms: list[float]
    cpu: float
    """Part of one core, for each avatar."""
    idle_bytes: float
    """Memory that one more idle avatar takes; 0 of a single one."""
    sent_bytes: int
    received_bytes: int


def run(settings: Settings) -> Outcome:
    """Measure 1, 10 and 100 avatars, and as many bare sessions."""
    outcome = Outcome()
    counts = SHORT_COUNTS if settings.short else COUNTS
    seconds = 1 if settings.short else 10
    crowds: dict[tuple[str, int], Crowd] = {}
    for count in counts:
        for side in ("ours", "bare"):
            crowd = apart(measure, side, count, seconds)
            crowds[side, count] = crowd
            outcome.sent_bytes += crowd.sent_bytes
            outcome.received_bytes += crowd.received_bytes
    for count in counts:
        ours, bare = crowds["ours", count], crowds["bare", count]
        outcome.rows += _rows(ours, bare)
        for side, crowd in (("ours", ours), ("bare", bare)):
            late_ms = percentile(crowd.late_ms, 99)
            outcome.curves.setdefault(f"late {side}", []).append(late_ms)
            outcome.curves.setdefault(f"cpu {side}", []).append(crowd.cpu * 100)
    outcome.curves["avatars"] = [float(count) for count in counts]
    few, many = (crowds["ours", count].cpu for count in counts[-2:])
    outcome.rows.append(
        Row(
            f"CPU per avatar, {counts[-1]} against {counts[-2]}",
            "x",
            many / few,
            crowds["bare", counts[-1]].cpu / crowds["bare", counts[-2]].cpu,
            goal=f"<= {GROWTH_GOAL} x",
            met=many / few <= GROWTH_GOAL,
        )
    )
    return outcome


def _rows(ours: Crowd, bare: Crowd) -> list[Row]:
    avatars = "avatar" if ours.count == 1 else "avatars"
    who = f"{ours.count} {avatars}"
    late_ms = percentile(ours.late_ms, 99)
    bare_late_ms = percentile(bare.late_ms, 99)
    rows = [
        Row(
            f"{who}: lateness of a frame, p99",
            "ms",
            late_ms,
            bare_late_ms,
            late_ms / bare_late_ms,
            goal=f"<= {LATE_GOAL_MS:.0f} ms",
            met=late_ms <= LATE_GOAL_MS,
            note=f"longest {max(ours.late_ms):.1f} ms",
        ),
        Row(
            f"{who}: CPU of each",
            "% core",
            ours.cpu * 100,
            bare.cpu * 100,
            ours.cpu / bare.cpu,
            note="with delivery",
        ),
    ]
    if ours.count > 1:
        beyond_kb = (ours.idle_bytes - bare.idle_bytes) / 1024
        rows.append(
            Row(
                f"{who}: memory of each, idle",
                "KiB",
                ours.idle_bytes / 1024,
                bare.idle_bytes / 1024,
                ours.idle_bytes / bare.idle_bytes,
                goal=f"<= bare + {MEMORY_GOAL_KB:.0f} KiB",
                met=beyond_kb <= MEMORY_GOAL_KB,
            )
        )
    return rows


def measure(side: str, count: int, seconds: int) -> Crowd:
    """Measure one crowd; for a process that does nothing else."""
    with motion_server(keep_audio=True) as service:
        _share_out_cores(service)
        return on_shared_loop(_measure(service, side, count, seconds))


def _share_out_cores(service: Service) -> None:
    """Keep to one core, and the service off it where there is another."""
    if not hasattr(os, "sched_setaffinity"):
        return
    first, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {first})
    os.sched_setaffinity(service.pid, others or [first])


async def _measure(
    service: Service, side: str, count: int, seconds: int
) -> Crowd:
    make: Any = Ours if side == "ours" else Bare
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(make(service, 0))
        before = _memory()
        members = [first] + [
            await stack.enter_async_context(make(service, number))
            for number in range(1, count)
        ]
        idle_bytes = (_memory() - before) / max(1, count - 1)
        sent, cpu_s = await _speak(side, members, seconds)
        sent_bytes = sum(one[-1][1] for one in sent)
        received_bytes = await asyncio.to_thread(
            service.received_all, sent_bytes
        )
        record = service.record(events=True)
    numbers = {
        one["config"]["uid"]: one["number"] for one in record["connections"]
    }
    late_ms = [
        late
        for number, one in enumerate(sent)
        for late in latencies(one, messages(record, numbers[number + 1]))
    ]
    return Crowd(
        count,
        late_ms,
        cpu_s / count / seconds,
        idle_bytes,
        sent_bytes,
        received_bytes,
    )


async def _speak(
    side: str, members: list[Any], seconds: int
) -> tuple[list[Sent], float]:
    """Let all speak at once, evenly shifted.

    Return what was planned for each, and the CPU time in seconds.
    """
    pcm = bytes(BYTES_PER_S * FRAME_MS // 1000)
    per_member = seconds * 1000 // FRAME_MS
    frames = [
        audio_frame(pcm, 1) if side == "ours" else None
        for _ in range(per_member * len(members))
    ]
    sent: list[Sent] = [[] for _ in members]
    gc.collect()
    gc.freeze()  # the frames are not what is measured
    due = time.monotonic() + 0.1
    await asyncio.sleep(0.1)
    began = time.thread_time()
    for at, frame in enumerate(frames):
        wait_s = due - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        number = at % len(members)
        member = members[number]
        plan = sent[number]
        plan.append((due, (len(plan) + 1) * len(pcm)))
        if frame is None:
            await member.session.send_audio(pcm)
        else:
            member.send(frame)
        due += FRAME_MS / 1000 / len(members)
    await asyncio.sleep(0.05)
    cpu_s = time.thread_time() - began
    if side == "ours":
        for member in members:
            await member.silent()
    return sent, cpu_s


def _memory() -> int:
    gc.collect()
    return psutil.Process().memory_full_info().uss
