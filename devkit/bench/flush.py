"""How soon a barge-in is answered, and how soon the avatar falls silent."""

import asyncio
import time

from devkit.harness.messages import audio_frame

from .figures import Outcome, Row, Settings, middle_half, percentile
from .service import Service, motion_server
from .sides import BYTES_PER_S, RATE, Bare, Ours, on_shared_loop

SPEECH_S = 61
"""What is said at once before each flush."""

FRAME_MS = 100

OURS, BARE = 0, 500
"""Numbers of the avatars."""

READ_LIMIT_S = 30.0

WIRE_GOAL_MS = 5.0
RESULT_GOAL_MS = 2.0


def run(settings: Settings) -> Outcome:
    """Measure with a service that reads, and with one that does not."""
    with motion_server() as service:
        return on_shared_loop(_run(service, settings))


async def _run(service: Service, settings: Settings) -> Outcome:
    count = settings.choose(200, 2)
    # Room for what the writer holds, too: nothing is to be refused.
    room_s = SPEECH_S + 5
    async with (
        Ours(service, OURS, max_buffered_speech_s=room_s) as ours,
        Bare(service, BARE) as bare,
    ):
        bare_ms, bare_bytes = await _bare_interrupts(service, bare, count)
        flushes = _Flushes(ours)
        wire_ms, result_ms, queued_s = await flushes.after_writing(
            service, count
        )
        stalled_ms, stalled_s = await flushes.while_stalled(service, count)
        await ours.silent()
        sent = bare_bytes + ours.totals.sent * 2
        heard = await asyncio.to_thread(service.received_all, sent)
    # A socket that takes all leaves nothing to wait.
    handed_over = (
        f"right after {SPEECH_S} s of speech, {queued_s:.0f} s of it queued"
    )
    rows = [
        _row(
            "flush to interrupt on the wire",
            wire_ms,
            WIRE_GOAL_MS,
            handed_over,
            bare_ms,
        ),
        _row(
            "flush to result",
            result_ms,
            RESULT_GOAL_MS,
            handed_over,
        ),
        _row(
            "flush to result, socket stalled",
            stalled_ms,
            RESULT_GOAL_MS,
            f"{stalled_s:.0f} s or more queued",
        ),
    ]
    return Outcome(rows, sent, heard)


def _row(
    what: str,
    ours_ms: list[float],
    goal_ms: float,
    note: str,
    bare_ms: list[float] | None = None,
) -> Row:
    ours = percentile(ours_ms, 99)
    bare = None if bare_ms is None else percentile(bare_ms, 99)
    return Row(
        f"{what}, p99",
        "ms",
        ours,
        bare,
        None if bare is None else ours / bare,
        None if bare is not None else middle_half(ours_ms),
        f"<= {goal_ms} ms",
        ours <= goal_ms,
        f"median {percentile(ours_ms, 50):.2f} ms; {note}",
    )


async def _bare_interrupts(
    service: Service, bare: Bare, count: int
) -> tuple[list[float], int]:
    """Return the SDK's own times to the wire in ms, behind one message that
    the writer may be at, and the bytes sent."""
    pcm = bytes(BYTES_PER_S * FRAME_MS // 1000)
    asked: list[float] = []
    for _ in range(count):
        await bare.session.send_audio(pcm)
        asked.append(time.monotonic())
        await bare.session.interrupt()
        await asyncio.sleep(0.02)
    sent = count * len(pcm)
    await asyncio.to_thread(service.received_all, sent)
    return await _to_wire_ms(service, BARE, asked), sent


async def _to_wire_ms(
    service: Service, number: int, asked: list[float]
) -> list[float]:
    """Return how long each interrupt of one avatar took to be read, in ms.

    RuntimeError where it is not one for each that was asked for.
    """
    until = time.monotonic() + READ_LIMIT_S
    while len(read := _interrupts(service, number)) < len(asked):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    to_wire_ms = [(to - since) * 1000 for since, to in zip(asked, read)]
    if len(read) != len(asked) or min(to_wire_ms) < 0:
        raise RuntimeError(
            f"{len(asked)} interrupts were asked for, {len(read)} were read, "
            f"the soonest after {min(to_wire_ms, default=0):.1f} ms"
        )
    return to_wire_ms


def _interrupts(service: Service, number: int) -> list[float]:
    """Return when the interrupts of an avatar were read."""
    return sorted(
        interrupt["time_s"]
        for connection in service.record()["connections"]
        if connection["config"] and connection["config"]["uid"] == number + 1
        for interrupt in connection["interrupts"]
    )


class _Flushes:
    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._turn_id = 0

    async def after_writing(
        self, service: Service, count: int
    ) -> tuple[list[float], list[float], float]:
        """Flush right after a minute of speech.

        Return ms to the wire, ms to the result, and the least that was
        queued, in seconds.
        """
        asked: list[float] = []
        result_ms: list[float] = []
        queued_s = float("inf")
        for _ in range(count):
            before = self._ours.totals.sent
            await self._say()
            while self._ours.totals.sent == before:  # noqa: ASYNC110
                await asyncio.sleep(0)
            queued_s = min(queued_s, self._ours.totals.waiting / RATE)
            asked.append(time.monotonic())
            result_ms.append(await self._flush())
            await asyncio.sleep(0.03)
        to_wire_ms = await _to_wire_ms(service, OURS, asked)
        return to_wire_ms, result_ms, queued_s

    async def while_stalled(
        self, service: Service, count: int
    ) -> tuple[list[float], float]:
        """Flush while the socket takes nothing.

        Return ms to the result, and the least that was queued, in seconds.
        """
        service.now("stall")
        taken = -1
        while self._ours.totals.sent != taken:  # the kernel's buffers fill
            taken = self._ours.totals.sent
            await self._flush()
            await self._say()
            await asyncio.sleep(0.05)
        result_ms: list[float] = []
        queued_s = float("inf")
        for _ in range(count):
            await self._flush()
            await self._say()
            queued_s = min(queued_s, self._ours.totals.waiting / RATE)
            result_ms.append(await self._flush())
        service.now("resume")
        return result_ms, queued_s

    async def _say(self) -> None:
        """Have a minute of a new turn taken in by the extension."""
        self._turn_id += 1
        pcm = bytes(BYTES_PER_S * FRAME_MS // 1000)
        totals = self._ours.totals
        before = totals.received
        for _ in range(SPEECH_S * 1000 // FRAME_MS):
            self._ours.send(audio_frame(pcm, self._turn_id))
        while totals.received - before < SPEECH_S * RATE:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _flush(self) -> float:
        """Barge in, and return after how many ms the result came."""
        answered: list[float] = []
        asked = time.monotonic()
        future = self._ours.flush()
        future.add_done_callback(lambda _: answered.append(time.monotonic()))
        await asyncio.wrap_future(future)
        return (answered[0] - asked) * 1000
