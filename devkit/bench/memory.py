"""Whether an hour of speech leaves anything behind.

A conversation in accelerated time: answers of 1 to 12 s from a TTS that is
three times as fast as speech, a quarter of them cut by a barge-in. Memory is
read once a minute; one reading differs from the next by a MiB or two, so the
medians of several at either end are compared, and that in several runs.
"""

import asyncio
import gc
import os
import random
from dataclasses import dataclass

import psutil

from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig
from devkit.motion_server.clock import ScaledClock, sleep

from .apart import apart
from .figures import Outcome, Row, Settings, median, middle_half
from .service import Service, motion_server
from .sides import BYTES_PER_S, params

GOAL_MIB = 2.0
SPEED = 100.0
FRAME_MS = 20
TTS_PACE = 3.0
MINUTE_S = 60.0

READING_S = MINUTE_S
"""How often memory is read."""

SHORT_SPEED = 10.0
SHORT_READING_S = 20.0

READINGS = 5
"""How many are compared, from the first minute's on and of the last."""

_FRAME = bytes(BYTES_PER_S * FRAME_MS // 1000)


@dataclass(frozen=True)
class _MemoryRun:
    grown_mib: float
    first_mib: float
    utterances: int
    sent_bytes: int
    received_bytes: int


def run(settings: Settings) -> Outcome:
    """Talk for an hour in accelerated time."""
    minutes, speed, reading_s = 60, SPEED, READING_S
    if settings.short:
        minutes, speed, reading_s = 1, SHORT_SPEED, SHORT_READING_S
    runs = [
        apart(talk, minutes, speed, reading_s)
        for _ in range(settings.choose(3, 1))
    ]
    grown_mib = [run.grown_mib for run in runs]
    ours = median(grown_mib)
    return Outcome(
        [
            Row(
                f"memory grown in {minutes} min of talk",
                "MiB",
                ours,
                spread=middle_half(grown_mib),
                goal=f"<= {GOAL_MIB:.0f} MiB",
                met=ours <= GOAL_MIB,
                note=f"since the minutes after the first, when it was "
                f"{runs[0].first_mib:.1f} MiB; {runs[0].utterances} "
                "utterances; the runs: "
                + ", ".join(f"{one:+.2f}" for one in grown_mib),
            )
        ],
        sum(run.sent_bytes for run in runs),
        sum(run.received_bytes for run in runs),
    )


def talk(minutes: int, speed: float, reading_s: float) -> _MemoryRun:
    """Talk for so long; for a process that does nothing else."""
    with motion_server() as service:
        work = _talk(service, minutes, speed, reading_s)
        if os.environ.get("TEN_STAND_IN_LOOP") == "asyncio":
            return asyncio.run(work)
        import uvloop

        return uvloop.run(work)


async def _talk(
    service: Service, minutes: int, speed: float, reading_s: float
) -> _MemoryRun:
    clock = ScaledClock(speed)
    began_s = clock.monotonic()
    rig = Rig({"params": params(service, 0)}, clock)
    rig.env.keeps_lines = False
    await rig.start()
    await rig.state("ready")
    rng = random.Random(1)
    readings: list[int] = []
    utterances = 0
    while clock.monotonic() - began_s < minutes * MINUTE_S:
        utterances += 1
        await _turn(rig, clock, rng, utterances)
        await sleep(clock, rng.uniform(1, 4))
        rig.env.reports.clear()
        passed_s = clock.monotonic() - began_s
        if passed_s >= (len(readings) + 1) * reading_s:
            readings.append(_memory())
    await rig.stop()
    sent = rig.totals.sent * 2
    heard = await asyncio.to_thread(service.received_all, sent)
    # An even share of the readings where there are few.
    some = min(READINGS, len(readings) // 2)
    first, last = median(readings[:some]), median(readings[-some:])
    return _MemoryRun(
        (last - first) / 2**20, first / 2**20, utterances, sent, heard
    )


async def _turn(
    rig: Rig, clock: ScaledClock, rng: random.Random, turn_id: int
) -> None:
    metadata = {"session_id": "session", "turn_id": turn_id}
    await rig.send_cmd("flush")  # the user has spoken
    await rig.send_data("tts_audio_start", {"metadata": metadata})
    count = int(rng.uniform(1, 12) * 1000 / FRAME_MS)
    cut_at = rng.randrange(count) if rng.random() < 0.25 else -1
    began_s = clock.monotonic()
    for at in range(count):
        if at == cut_at:
            await rig.send_cmd("flush")
        await rig.send_frame(audio_frame(_FRAME, turn_id))
        due_s = began_s + at * FRAME_MS / 1000 / TTS_PACE
        if due_s > clock.monotonic():
            await sleep(clock, due_s - clock.monotonic())
    reason = 1 if cut_at < 0 else 2
    await rig.send_data(
        "tts_audio_end", {"reason": reason, "metadata": metadata}
    )
    await sleep(clock, count * FRAME_MS / 1000 * (1 - 1 / TTS_PACE))


def _memory() -> int:
    gc.collect()
    return psutil.Process().memory_full_info().uss
