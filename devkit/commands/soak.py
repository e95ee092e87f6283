"""An hour of conversation in accelerated time, with everything going wrong.

The real extension and the real SDK against a local Motion Server in the same
process; utterances, barge-ins, lost connections, stalls, refused connections
and renewals come at random, told by a seed.
"""

import asyncio
import gc
import hashlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .. import package
from ..credentials import APP_ID, CERTIFICATE
from ..harness.messages import audio_frame
from ..harness.rig import FastClock, Rig
from ..motion_server import (
    Close,
    MotionServer,
    Refuse,
    Reset,
    ServerError,
    Stall,
)

RATE = 24000
FRAME_MS = 20
FRAME_BYTES = RATE * FRAME_MS // 1000 * 2
TTS_PACE = 3.0  # times real time, as cloud services generate it
MINUTE_S = 60.0


@dataclass
class Tally:
    """What happened, and what came of it."""

    utterances: int = 0
    whole: int = 0
    """Heard byte for byte, in one request."""
    barge_ins: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rss_after_a_minute: int = 0
    rss_peak: int = 0
    tasks_after_a_minute: int = 0
    tasks_at_the_end: int = 0


class Conversation:
    """One agent that talks, and a user who interrupts."""

    def __init__(
        self, server: MotionServer, rig: Rig, clock: FastClock, seed: int
    ) -> None:
        self.tally = Tally()
        self._server = server
        self._rig = rig
        self._clock = clock
        self._rng = random.Random(seed)
        self._turn_id = 0
        # Noise, so that no part of it is like another.
        self._noise = self._rng.randbytes(RATE * 2 * 30)
        self._next_fault_s = 90.0

    async def turn(self) -> None:
        """The user says something, the agent answers, perhaps not to the end."""
        rng = self._rng
        for _ in range(rng.randrange(1, 4)):  # speech recognition's results
            await self._rig.send_cmd("flush")
        self._turn_id += 1
        self.tally.utterances += 1
        duration_s = rng.uniform(1, 12)
        cut_after_s = (
            rng.uniform(0, duration_s) if rng.random() < 0.25 else None
        )
        trouble_before = sum(self.tally.faults.values())
        requests_before = len(self._server.record.requests)
        pcm = await self._answer(duration_s, cut_after_s)
        if cut_after_s is not None:
            self.tally.barge_ins += 1
            await self._barge_in()
            return
        await self._rig.send_data(
            "tts_audio_end", {"reason": 1, "metadata": self._metadata()}
        )
        await self._clock.sleep(duration_s * (1 - 1 / TTS_PACE))
        if trouble_before == sum(self.tally.faults.values()):
            requests = self._server.record.requests[requests_before:]
            digest = hashlib.sha256(pcm).hexdigest()
            self.tally.whole += any(one.sha256 == digest for one in requests)

    async def _answer(
        self, duration_s: float, cut_after_s: float | None
    ) -> bytes:
        """Send the answer's frames, and return what was sent of it."""
        await self._rig.send_data(
            "tts_audio_start", {"metadata": self._metadata()}
        )
        wanted = int(duration_s * 1000 / FRAME_MS) * FRAME_BYTES
        start = self._rng.randrange(0, len(self._noise) - wanted)
        pcm = self._noise[start : start + wanted]
        began_s = self._clock.monotonic()
        for at in range(0, wanted, FRAME_BYTES):
            said_s = at / (RATE * 2)
            if cut_after_s is not None and (
                self._clock.monotonic() - began_s > cut_after_s
            ):
                return pcm[:at]
            await self._rig.send_frame(
                audio_frame(pcm[at : at + FRAME_BYTES], self._turn_id)
            )
            ahead_s = began_s + said_s / TTS_PACE - self._clock.monotonic()
            if ahead_s > 0.5:
                await self._clock.sleep(ahead_s)
            elif at % (50 * FRAME_BYTES) == 0:
                await asyncio.sleep(0)
            await self._perhaps_a_fault()
        if cut_after_s is not None:
            left_s = began_s + cut_after_s - self._clock.monotonic()
            await self._clock.sleep(max(0.0, left_s))
        return pcm

    async def _barge_in(self) -> None:
        for _ in range(self._rng.randrange(1, 6)):
            await self._rig.send_cmd("flush")
        for _ in range(self._rng.randrange(10)):  # what the TTS had under way
            await self._rig.send_frame(
                audio_frame(bytes(FRAME_BYTES), self._turn_id)
            )
        await self._rig.send_data(
            "tts_audio_end", {"reason": 2, "metadata": self._metadata()}
        )

    async def _perhaps_a_fault(self) -> None:
        if self._clock.monotonic() < self._next_fault_s:
            return
        self._next_fault_s += self._rng.uniform(20, 240)
        name = self._rng.choice(tuple(_FAULTS))
        self.tally.faults[name] += 1
        _FAULTS[name](self._server, self._clock, self._rng)

    def _metadata(self) -> dict[str, Any]:
        return {"session_id": "session", "turn_id": self._turn_id}


def _refused_for_a_while(
    server: MotionServer, clock: FastClock, rng: random.Random
) -> None:
    server.faults.console(Refuse(503), times=rng.randrange(1, 6))
    server.now(Close(1011))


_FAULTS: dict[str, Any] = {
    "closed cleanly (1000)": lambda s, c, r: s.now(Close(1000)),
    "service restarts (1001)": lambda s, c, r: s.now(Close(1001)),
    "internal error (1011)": lambda s, c, r: s.now(Close(1011)),
    "session time limit (4002)": lambda s, c, r: s.now(Close(4002)),
    "TCP reset": lambda s, c, r: s.now(Reset()),
    "console down for a while": _refused_for_a_while,
    "socket stalled": lambda s, c, r: s.now(
        Stall(for_s=r.uniform(2, 20) / c.speed)
    ),
    "service error": lambda s, c, r: s.now(
        ServerError(13, "driven server request failed")
    ),
}


async def _soak(
    console: Console, duration_s: float, speed: float, seed: int
) -> bool:
    clock = FastClock(speed)
    process = psutil.Process()
    async with MotionServer(
        certificates={APP_ID: CERTIFICATE},
        keep_audio=False,
        now=clock.epoch,
    ) as server:
        rig = Rig(
            {
                "params": {
                    "spatius_api_key": "soak-api-key",
                    "spatius_app_id": "app",
                    "spatius_avatar_id": "avatar",
                    "agora_appid": APP_ID,
                    "agora_appcert": CERTIFICATE,
                    "agora_channel": "soak",
                    "agora_uid": 1001,
                    "session_expire_minutes": 2,
                    "console_endpoint_url": server.console_url,
                    "ingress_endpoint_url": server.ingress_url,
                }
            },
            clock,
        )
        rig.env.keeps_lines = False
        await rig.start()
        await rig.state("ready")
        talk = Conversation(server, rig, clock, seed)
        tally = talk.tally
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("talking", total=duration_s)
            while clock.monotonic() < duration_s:
                await talk.turn()
                await clock.sleep(random.Random(tally.utterances).uniform(1, 4))
                progress.update(bar, completed=clock.monotonic())
                rss = process.memory_info().rss
                tally.rss_peak = max(tally.rss_peak, rss)
                if not tally.rss_after_a_minute and (
                    clock.monotonic() >= MINUTE_S
                ):
                    gc.collect()
                    tally.rss_after_a_minute = process.memory_info().rss
                    tally.tasks_after_a_minute = len(asyncio.all_tasks())
        server.faults.clear()
        await rig.state("ready", 30)
        tally.tasks_at_the_end = len(asyncio.all_tasks())
        # Its own: the soak, the server's connection, the session's.
        gc.collect()
        rss_at_the_end = process.memory_info().rss
        await rig.stop()
        ok = _print_result(console, tally, server, rig, clock, rss_at_the_end)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=15)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    console.print(f"tasks left after the stop: {len(left)}")
    return ok and not left


def _print_result(
    console: Console,
    tally: Tally,
    server: MotionServer,
    rig: Rig,
    clock: FastClock,
    rss_at_the_end: int,
) -> bool:
    record = server.record
    totals = rig.totals
    heard = sum(request.audio_bytes for request in record.requests) // 2
    errors = Counter(str(error["code"]) for error in rig.errors)
    balance = totals.received - (
        totals.sent + totals.flushed + totals.refused + totals.waiting
    )
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column()

    def seconds(samples: int) -> str:
        return f"{samples / RATE:.1f} s"

    def mib(size: int) -> str:
        return f"{size / 2**20:.1f} MiB"

    rows = {
        "conversation": f"{clock.monotonic() / 60:.0f} min "
        f"at {clock.speed:.0f} times real time",
        "utterances": f"{tally.utterances}",
        "cut by a barge-in": f"{tally.barge_ins}",
        "undisturbed, heard byte for byte": f"{tally.whole}",
        "faults": f"{sum(tally.faults.values())}: "
        + ", ".join(f"{n} x {name}" for name, n in tally.faults.items()),
        "sessions": f"{len(record.connections)}, of these renewals: "
        f"{rig.env.renewals}",
        "speech in": seconds(totals.received),
        "sent": seconds(totals.sent),
        "dropped by barge-ins": seconds(totals.flushed),
        "refused for lack of room": seconds(totals.refused),
        "lost with a broken connection": seconds(totals.sent - heard),
        "unaccounted for": f"{balance} samples",
        "errors 1000": f"{errors['1000']}",
        "errors -1000": f"{errors['-1000']}",
        "protocol violations": f"{len(record.violations)}",
        "memory after a minute": mib(tally.rss_after_a_minute),
        "memory at the end": mib(rss_at_the_end),
        "memory at its peak": mib(tally.rss_peak),
        "open tasks after a minute": f"{tally.tasks_after_a_minute}",
        "open tasks at the end": f"{tally.tasks_at_the_end}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for violation in record.violations[:5]:
        console.print(f"[red]{violation}[/red]")
    wrongs = {
        "samples are unaccounted for": balance,
        "an error -1000 came: the avatar gave up": errors["-1000"],
        "the protocol was broken": record.violations,
        "speech still waits at the end": totals.waiting,
        "no utterance was heard whole": not tally.whole,
    }
    for wrong, is_so in wrongs.items():
        if is_so:
            console.print(f"[red]not right: {wrong}[/red]")
    return not any(wrongs.values())


def main(
    minutes: Annotated[
        float, typer.Option(min=2, help="How long to talk, in minutes.")
    ] = 60.0,
    speed: Annotated[
        float,
        typer.Option(min=1, help="How many times as fast as real time."),
    ] = 40.0,
    seed: Annotated[int, typer.Option(help="Another one, another talk.")] = 1,
) -> None:
    """Talk for an hour in accelerated time while everything goes wrong.

    Exit code 0 if the avatar spoke on, every sample is accounted for, and
    the protocol was kept.
    """
    package.load()
    console = Console(highlight=False)
    began = time.monotonic()
    ok = asyncio.run(_soak(console, minutes * 60, speed, seed))
    console.print(f"took {time.monotonic() - began:.0f} s")
    raise typer.Exit(0 if ok else 1)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="bin/soak")
