"""CPU per frame where another thread hands the frames over, as TEN does.

The extension is compared with the thinnest one that does the same: it reads
a frame's audio and awaits the SDK's `send_audio`. What is counted is all that
the event loop's thread spends, delivery included, on either side. The sides
take turns, in random order.
"""

import asyncio
import gc
import random
import time
from typing import Any

from ten_runtime import AudioFrame

from devkit.harness.messages import audio_frame

from .figures import Row, Settings, median, middle_half
from .sides import BYTES_PER_S, Nothing, Ours, Reading, Thinnest

FRAMES_PER_S = 2000
FRAME_MS = 10
GOAL = 1.25

RUN_S = 0.5
SHORT_RUN_S = 0.1
_PCM = bytes(BYTES_PER_S * FRAME_MS // 1000)
_SETTLE_S = 0.02


async def compare(
    ours: Ours,
    thinnest: Thinnest,
    nothing: Nothing,
    reading: Reading,
    settings: Settings,
) -> tuple[Row, int]:
    """Return the row, and how many bytes the thinnest one sent."""
    run_s = SHORT_RUN_S if settings.short else RUN_S
    count = int(FRAMES_PER_S * run_s)
    sides: dict[str, Any] = {
        "ours": ours,
        "thinnest": thinnest,
        "nothing": nothing,
        "reading": reading,
    }
    us: dict[str, list[float]] = {name: [] for name in sides}
    runs = settings.choose(30, 1)
    order = list(sides)
    for turn_id in range(1, runs + 1):
        random.shuffle(order)
        for name in order:
            frames = [audio_frame(_PCM, turn_id) for _ in range(count)]
            gc.collect()
            cpu_s = await _feed(sides[name], frames)
            us[name].append(cpu_s / count * 1e6)
            if name == "ours":
                await asyncio.wrap_future(ours.flush())
            await asyncio.sleep(_SETTLE_S)
    return _row(us), runs * count * len(_PCM)


async def _feed(side: Any, frames: list[AudioFrame]) -> float:
    """Deliver frames at an even pace; return seconds of the loop's CPU."""

    def feed() -> None:
        due = time.monotonic()
        for frame in frames:
            due += 1 / FRAMES_PER_S
            wait_s = due - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            side.send(frame)

    began = time.thread_time()
    await asyncio.to_thread(feed)
    await side.delivered()
    if isinstance(side, Ours):
        await side.silent()
    return time.thread_time() - began


def _row(us: dict[str, list[float]]) -> Row:
    ours, thinnest = median(us["ours"]), median(us["thinnest"])
    return Row(
        f"CPU per frame from another thread, {FRAMES_PER_S}/s",
        "us",
        ours,
        thinnest,
        ours / thinnest,
        middle_half([a / b for a, b in zip(us["ours"], us["thinnest"])]),
        f"<= {GOAL} x",
        ours / thinnest <= GOAL,
        "here 'bare' is the thinnest extension; delivery is counted on both "
        f"sides: {median(us['nothing']):.0f} us, and with all that ours reads "
        f"of a frame {median(us['reading']):.0f} us",
    )
