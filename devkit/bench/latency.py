"""Latency from a frame's arrival until the service has its bytes.

Ours and the bare SDK speak at real time on one loop, in turn, half a frame
apart, so that whatever disturbs the machine meets both. The service's moment
of receipt stands for "on the socket": it is later by the same for both.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from devkit.harness.messages import audio_frame

from .figures import Outcome, Row, Settings, middle_half, percentile
from .service import Service, motion_server
from .sides import BYTES_PER_S, Bare, Ours, on_shared_loop

FRAME_MS = 10
RUN_S = 10
SHORT_RUN_S = 1

MEDIAN_GOAL_MS = 0.2
P99_GOAL_MS = 1.0

BARE_NUMBER = 500

Sent = list[tuple[float, int]]
"""When a frame came, and how many bytes had come by then, with it."""


def run(settings: Settings) -> Outcome:
    """Measure at real time, with 10 ms frames."""
    with motion_server(keep_audio=True) as service:
        return on_shared_loop(_run(service, settings))


async def _run(service: Service, settings: Settings) -> Outcome:
    run_s = SHORT_RUN_S if settings.short else RUN_S
    runs = [
        await _one_run(service, run_s) for _ in range(settings.choose(4, 1))
    ]
    ours_ms = [ms for run in runs for ms in run[0]]
    bare_ms = [ms for run in runs for ms in run[1]]
    outcome = Outcome(curves={"latency ours": ours_ms, "latency bare": bare_ms})
    for what, percent, goal_ms in (
        ("median", 50, MEDIAN_GOAL_MS),
        ("p99", 99, P99_GOAL_MS),
    ):
        ours = percentile(ours_ms, percent)
        bare = percentile(bare_ms, percent)
        outcome.rows.append(
            Row(
                f"latency, frame in to service, {what}",
                "ms",
                ours,
                bare,
                ours / bare,
                middle_half(
                    [
                        percentile(one, percent) / percentile(other, percent)
                        for one, other in runs
                    ]
                ),
                f"<= bare + {goal_ms} ms",
                ours - bare <= goal_ms,
            )
        )
    frame_bytes = BYTES_PER_S * FRAME_MS // 1000
    outcome.sent_bytes = (len(ours_ms) + len(bare_ms)) * frame_bytes
    outcome.received_bytes = await asyncio.to_thread(
        service.received_all, outcome.sent_bytes
    )
    return outcome


async def _one_run(
    service: Service, run_s: int
) -> tuple[list[float], list[float]]:
    """Speak for a while; return both sides' latencies in ms."""
    pcm = bytes(BYTES_PER_S * FRAME_MS // 1000)
    count = run_s * 1000 // FRAME_MS
    sent_ours: Sent = []
    sent_bare: Sent = []
    async with Ours(service) as ours, Bare(service, BARE_NUMBER) as bare:
        before = service.received()
        due = time.monotonic() + 0.05
        for at in range(count):
            frame = audio_frame(pcm, 1)
            await _sleep_until(due)
            sent_ours.append((time.monotonic(), (at + 1) * len(pcm)))
            ours.send(frame)
            await _sleep_until(due + FRAME_MS / 2000)
            sent_bare.append((time.monotonic(), (at + 1) * len(pcm)))
            await bare.session.send_audio(pcm)
            due += FRAME_MS / 1000
        await ours.silent()
        await asyncio.to_thread(
            service.received_all, before + 2 * count * len(pcm)
        )
        record = service.record(events=True)
    numbers = {
        one["config"]["uid"]: one["number"]
        for one in record["connections"]
        if one["config"] is not None
    }
    return (
        latencies(sent_ours, messages(record, numbers[1])),
        latencies(sent_bare, messages(record, numbers[BARE_NUMBER + 1])),
    )


async def _sleep_until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.monotonic()))


def messages(record: dict[str, Any], connection: int) -> Sent:
    """Return when each audio message was received, and the bytes by then."""
    received: Sent = []
    size = 0
    for event in record["events"]:
        if event["kind"] == "audio" and event["connection"] == connection:
            size += event["audio_bytes"]
            received.append((event["time_s"], size))
    return received


def latencies(sent: Sent, received: Sequence[tuple[float, int]]) -> list[float]:
    """Return for each frame how long its last byte was under way, in ms."""
    sizes = [size for _, size in received]
    return [
        (received[bisect_left(sizes, size)][0] - sent_at) * 1000
        for sent_at, size in sent
    ]
