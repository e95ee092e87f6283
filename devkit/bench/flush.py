"""How soon a barge-in is answered, and how soon the avatar falls silent."""

import asyncio
import time

from devkit.harness.messages import audio_frame

from .runner import Goal, Outcome, Settings, by_turns, compare, p
from .service import Service
from .sides import BYTES_PER_S, RATE, Bare, Ours, on_shared_loop

SPEECH_S = 61
"""Handed over at once before each flush."""

FRAME_MS = 100
ROUNDS = 200
STALLED_ROUNDS = 20
"""Between a stall and its end."""
READ_LIMIT_S = 30.0

WIRE_GOAL = Goal(5.0)
RESULT_GOAL = Goal(2.0)

_PCM = bytes(BYTES_PER_S * FRAME_MS // 1000)


def run(settings: Settings, service: Service) -> Outcome:
    """Measure with a service that reads, and with one that does not."""
    service.reset()
    return on_shared_loop(_run(service, settings.rounds(ROUNDS)))


async def _run(service: Service, rounds: int) -> Outcome:
    # Room for the writer's audio, too: none is to be refused.
    async with (
        Ours(service, 1, max_buffered_speech_s=SPEECH_S + 5) as ours,
        Bare(service, 2) as bare,
    ):
        flushes, interrupts = _Flushes(ours), _Interrupts(bare)
        results = await by_turns(
            {"ours": flushes.after_writing, "bare": interrupts.one}, rounds
        )
        queued_s = flushes.take_queued_s()
        wire_ms = {
            "ours": await _to_wire_ms(service, 1, flushes.asked_at),
            "bare": await _to_wire_ms(service, 2, interrupts.asked_at),
        }
        stalled_ms: list[float] = []
        while len(stalled_ms) < rounds:
            # A connection that is stalled for long is given up.
            service.now("stall")
            batch = min(STALLED_ROUNDS, rounds - len(stalled_ms))
            stalled_ms += await flushes.while_stalled(batch)
            service.now("resume")
            await ours.settled()
        stalled_s = flushes.take_queued_s()
        sent = interrupts.sent_bytes + ours.totals.sent * 2
        received = await asyncio.to_thread(service.received_all, sent)
    queued = f"{queued_s:.0f} s or more queued"
    return Outcome(
        [
            compare(
                "flush to interrupt on the wire, p99",
                "ms",
                {name: [[one] for one in ms] for name, ms in wire_ms.items()},
                statistic=p(99),
                reference="bare",
                goal=WIRE_GOAL,
                note=queued,
            ),
            compare(
                "flush to result, p99",
                "ms",
                {"ours": [[ms] for ms in results["ours"]]},
                statistic=p(99),
                goal=RESULT_GOAL,
                note=queued,
            ),
            compare(
                "flush to result, socket stalled, p99",
                "ms",
                {"ours": [[ms] for ms in stalled_ms]},
                statistic=p(99),
                goal=RESULT_GOAL,
                note=f"{stalled_s:.0f} s or more queued",
            ),
        ],
        sent,
        received,
    )


class _Interrupts:
    """The SDK's own, each behind a message that the writer may be at."""

    def __init__(self, bare: Bare) -> None:
        self.asked_at: list[float] = []
        self.sent_bytes = 0
        self._session = bare.session

    async def one(self) -> float:
        self.sent_bytes += len(_PCM)
        await self._session.send_audio(_PCM)
        self.asked_at.append(time.monotonic())
        await self._session.interrupt()
        took_ms = (time.monotonic() - self.asked_at[-1]) * 1000
        await asyncio.sleep(0.02)
        return took_ms


class _Flushes:
    """Barge-ins, each right after a minute of speech."""

    def __init__(self, ours: Ours) -> None:
        self.asked_at: list[float] = []
        self._ours = ours
        self._turn_id = 0
        self._queued_s = float("inf")

    def take_queued_s(self) -> float:
        """Return the least that was queued since the last call."""
        queued_s, self._queued_s = self._queued_s, float("inf")
        return queued_s

    async def after_writing(self) -> float:
        """Flush as soon as some is written; return ms to the result."""
        before = self._ours.totals.sent
        await self._say()
        while self._ours.totals.sent == before:  # noqa: ASYNC110
            await asyncio.sleep(0)
        self.asked_at.append(time.monotonic())
        took_ms = await self._flush()
        await asyncio.sleep(0.03)
        return took_ms

    async def while_stalled(self, count: int) -> list[float]:
        """Flush while the socket takes nothing; return ms to the results."""
        is_full = False
        while not is_full:  # the kernel's buffers hold minutes of speech
            await self._say()
            taken = -1
            while self._ours.totals.sent != taken:
                taken = self._ours.totals.sent
                await asyncio.sleep(0.05)
            is_full = self._ours.totals.waiting > 0
            await asyncio.wrap_future(self._ours.flush())
        results_ms = []
        for _ in range(count):
            await self._say()
            results_ms.append(await self._flush())
        return results_ms

    async def _say(self) -> None:
        """Have a minute of a new turn taken in by the extension."""
        self._turn_id += 1
        totals = self._ours.totals
        before = totals.received
        for _ in range(SPEECH_S * 1000 // FRAME_MS):
            self._ours.send(audio_frame(_PCM, self._turn_id))
        while totals.received - before < SPEECH_S * RATE:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _flush(self) -> float:
        """Barge in, and return after how many ms the result came."""
        waiting_s = self._ours.totals.waiting / RATE
        self._queued_s = min(self._queued_s, waiting_s)
        answered: list[float] = []
        asked = time.monotonic()
        future = self._ours.flush()
        future.add_done_callback(lambda _: answered.append(time.monotonic()))
        await asyncio.wrap_future(future)
        return (answered[0] - asked) * 1000


async def _to_wire_ms(
    service: Service, uid: int, asked_at: list[float]
) -> list[float]:
    """Return how long each interrupt of one avatar took to be read, in ms.

    RuntimeError unless one was read for each that was asked for.
    """
    until = time.monotonic() + READ_LIMIT_S
    read_at: list[float] = []
    while len(read_at) < len(asked_at) and time.monotonic() < until:
        await asyncio.sleep(0.05)
        read_at = sorted(
            interrupt["time_s"]
            for connection in service.connections(uid)
            for interrupt in connection["interrupts"]
        )
    to_wire_ms = [(to - since) * 1000 for since, to in zip(asked_at, read_at)]
    if len(read_at) != len(asked_at) or min(to_wire_ms) < 0:
        raise RuntimeError(
            f"{len(asked_at)} interrupts were asked for, {len(read_at)} were "
            f"read, the soonest after {min(to_wire_ms, default=0):.1f} ms"
        )
    return to_wire_ms
