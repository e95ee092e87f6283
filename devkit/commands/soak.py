"""An hour of conversation in virtual time, with everything going wrong.

The real extension and the real SDK against a local Motion Server in the same
process; utterances, barge-ins, lost connections, outages, refused connections
and renewals come at random, determined by a seed. A model of the listener
judges the audible speech.
"""

import asyncio
import gc
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .. import package
from ..credentials import APP_ID, CERTIFICATE
from ..harness import virtual_time
from ..harness.conversation import (
    FRAME_MS,
    RATE,
    Conversation,
    unaccounted,
    unpaired,
)
from ..harness.messages import audio_frame
from ..harness.rig import Rig
from ..harness.virtual_time import VirtualClock
from ..motion_server import (
    BlackHole,
    Close,
    MotionServer,
    PlanLimits,
    PlaybackSignals,
    Record,
    Refuse,
    Reset,
    ServerError,
    Stall,
    wire,
)
from ..motion_server.faults import RuntimeFault
from .output import run

SPEEDS = (1, 5, 20)
"""How many times as fast as speech the TTS is."""

SIGNALS = (
    None,
    PlaybackSignals(),
    PlaybackSignals(late_ms=200),
    PlaybackSignals(doubled=True, foreign=True, older=True),
)
REPEAT_LIMIT_MS = 800
"""The rewind, and 300 ms."""

DOUBT_MS = 1000
"""The interval of pings: speech after the latest answer is in doubt."""

LONG_S = 22.0
"""Longer than the extension waits for an answer."""

MAX_STALL_S = 0.2
TOLERANCE_MS = 1.0
MINUTE_S = 60.0


@dataclass
class Tally:
    """Counts of events, and the sums of their results."""

    utterances: int = 0
    barge_ins: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    heard_ms: float = 0.0
    missing_ms: float = 0.0
    """Without speech that was flushed, refused or counted as lost."""
    repeats: int = 0
    repeated_ms: float = 0.0
    longest_repeat_ms: float = 0.0
    overlap_ms: float = 0.0
    stale_ms: float = 0.0
    violations: list[str] = field(default_factory=list)
    rss_after_a_minute: int = 0
    rss_peak: int = 0
    tasks_after_a_minute: int = 0
    tasks_at_the_end: int = 0


class Talk:
    """One agent that talks, and a user who interrupts."""

    def __init__(
        self, server: MotionServer, rig: Rig, clock: VirtualClock, seed: int
    ) -> None:
        self.tally = Tally()
        self.server = server
        self.clock = clock
        self.rng = random.Random(seed)
        self.repeat_limit_ms: float = REPEAT_LIMIT_MS
        self._rig = rig
        self._conversation = Conversation(rig, server, clock, seed=seed)
        self._conversation.flush_latency_s = MAX_STALL_S
        self._turn_id = 0
        self._next_fault_s = 90.0
        self._excused = 0  # samples, up to the last verdict

    async def turn(self) -> None:
        """The user says something; the agent answers, perhaps in part."""
        rng, talk = self.rng, self._conversation
        for _ in range(rng.randrange(1, 4)):  # speech recognition's results
            await talk.flush()
        # Only its signals say which requests a preempting service has cut.
        signals = SIGNALS[1:] if self.server.preempts else SIGNALS
        self.server.playback_signals = rng.choice(signals)
        count = rng.choice((1, 1, 2, 3))
        durations_s = [rng.uniform(1, 12 / count) for _ in range(count)]
        duration_s = sum(durations_s)
        listening = asyncio.ensure_future(self._answer(durations_s))
        if rng.random() < 0.25:
            await self._pass(rng.uniform(0, duration_s))
            self.tally.barge_ins += 1
            listening.cancel()
            await asyncio.wait({listening})
            await self._barge_in()
        else:
            await self._pass(duration_s)
            await listening
        await self._pass(rng.uniform(0.2, 3))

    async def settle(self) -> None:
        """Wait until all is heard, and judge it."""
        avatar = self._rig.extension.avatar
        assert avatar is not None
        while not avatar._speech.is_idle(self.clock.monotonic()):
            await self._pass(0.1)
        await self._pass(1.5)
        totals = self._rig.totals
        excused = totals.lost + totals.refused
        since = excused - self._excused
        self._excused = excused
        verdict = self._conversation.settle(1000 * since / RATE)
        tally = self.tally
        tally.heard_ms += verdict.heard_ms
        tally.missing_ms += verdict.missing_ms
        tally.repeats += len(verdict.repeats)
        tally.repeated_ms += sum(one.repeated_ms for one in verdict.repeats)
        tally.longest_repeat_ms = max(
            tally.longest_repeat_ms, verdict.longest_repeat_ms
        )
        tally.overlap_ms += verdict.overlap_ms
        tally.stale_ms += verdict.stale_ms
        cuts = sum(one.kind == "cut" for one in self.server.record.events)
        found = verdict.violations(
            max_repeat_ms=self.repeat_limit_ms, tolerance_ms=TOLERANCE_MS
        )
        if len(verdict.order) <= cuts:
            # The newer request is heard until the cut is known.
            found = [one for one in found if one not in verdict.order]
        tally.violations += found
        self.repeat_limit_ms = REPEAT_LIMIT_MS
        tally.violations += unpaired(self._rig.env.reports)
        self._rig.env.reports.clear()

    async def _answer(self, durations_s: Sequence[float]) -> None:
        """Say utterances, each as soon as the one before has been sent."""
        talk, speed = self._conversation, self.rng.choice(SPEEDS)
        for duration_s in durations_s:
            self._turn_id += 1
            self.tally.utterances += 1
            await talk.start(self._turn_id)
            await talk.say(self._turn_id, int(1000 * duration_s), speed)
            await talk.end(self._turn_id)

    async def _barge_in(self) -> None:
        for _ in range(self.rng.randrange(1, 6)):
            await self._conversation.flush()
        for _ in range(self.rng.randrange(10)):  # frames of the TTS in flight
            late = self.rng.randbytes(FRAME_MS * RATE // 1000 * 2)
            await self._rig.send_frame(audio_frame(late, self._turn_id))
        await self._conversation.end(self._turn_id, reason=2)

    async def _pass(self, duration_s: float) -> None:
        """Let time pass, and things go wrong meanwhile."""
        until_s = self.clock.monotonic() + duration_s
        while (now_s := self.clock.monotonic()) < until_s:
            if now_s >= self._next_fault_s:
                self._next_fault_s += self.rng.uniform(5, 60)
                name = self.rng.choice(tuple(_FAULTS))
                self.tally.faults[name] += 1
                quiet_s = _FAULTS[name](self)
                if quiet_s:
                    await asyncio.sleep(quiet_s)
            await asyncio.sleep(
                max(0.0, min(until_s, self._next_fault_s) - now_s)
            )


def _console_down(talk: Talk) -> None:
    """No session can be made for a while, but with a spare."""
    clock = talk.clock
    talk.server.console_down(Refuse(503))
    talk.server.now(Close(1011))
    clock.call_at(
        clock.monotonic() + talk.rng.uniform(1, 10), talk.server.console_up
    )


def _unreachable(talk: Talk) -> None:
    """Nothing answers for a while, a few seconds longer than speech waits."""
    talk.server.faults.upgrade(Refuse(503), times=talk.rng.randrange(2, 5))
    talk.server.now(Reset())


def _black_hole(talk: Talk) -> float:
    """No packet passes for a while, in which no user can interrupt."""
    for_s = talk.rng.uniform(1, 8)
    talk.server.now(BlackHole(for_s))
    return for_s + MAX_STALL_S


def _long_black_hole(talk: Talk) -> float:
    """The connection is given up, though the listener hears it on: that
    speech is said again."""
    talk.repeat_limit_ms = REPEAT_LIMIT_MS + DOUBT_MS + 1000 * LONG_S
    talk.server.now(BlackHole(LONG_S))
    return LONG_S + MAX_STALL_S


def _host_vanishes(talk: Talk) -> None:
    """Speech ends at once, and the connection is lost much later."""
    talk.repeat_limit_ms = REPEAT_LIMIT_MS + DOUBT_MS
    talk.server.now(BlackHole(host_vanishes=True))


def _now(fault: RuntimeFault) -> Callable[[Talk], None]:
    return lambda talk: talk.server.now(fault)


_FAULTS: dict[str, Callable[[Talk], float | None]] = {
    "closed cleanly (1000)": _now(Close(1000)),
    "service restarts (1001)": _now(Close(1001)),
    "service restarts (1012)": _now(Close(1012)),
    "internal error (1011)": _now(Close(1011)),
    "session time limit (4002)": _now(Close(4002)),
    "TCP reset": _now(Reset()),
    "console down for a while": _console_down,
    "unreachable for a while": _unreachable,
    "socket stalled": lambda talk: talk.server.now(
        Stall(for_s=talk.rng.uniform(0.02, MAX_STALL_S))
    ),
    "black hole": _black_hole,
    "black hole for 22 s": _long_black_hole,
    "host vanishes": _host_vanishes,
    "non-fatal error (server_error)": _now(
        ServerError(13, "driven server request failed")
    ),
}
"""Name -> function that begins a fault, and returns for how many seconds the
user stays quiet, if any."""


@dataclass(frozen=True)
class Setting:
    """Under which circumstances the agent talks."""

    seed: int
    voice: bool
    preempts: bool
    session_minutes: float | None


async def _soak(console: Console, duration_s: float, setting: Setting) -> bool:
    clock = VirtualClock()
    process = psutil.Process()
    async with MotionServer(
        certificates={APP_ID: CERTIFICATE},
        keep_audio=False,
        clock=clock,
        now=clock.epoch,
        capabilities=("playback_state",) if setting.preempts else (),
        preempts=setting.preempts,
        limits=PlanLimits(setting.session_minutes),
    ) as server:
        rig = Rig(
            {"params": _params(server, setting)},
            clock,
            voice_wired=setting.voice,
            flush_wired=setting.voice,
        )
        rig.env.keeps_lines = False
        counts: Counter[str] = Counter()
        _watch_reports(rig, counts)
        await rig.start()
        await rig.state("ready")
        talk = Talk(server, rig, clock, setting.seed)
        tally = talk.tally
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("talking", total=duration_s)
            while clock.monotonic() < duration_s:
                for _ in range(3):
                    await talk.turn()
                await talk.settle()
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
        server.console_up()
        await rig.state("ready", 60)
        tally.tasks_at_the_end = len(asyncio.all_tasks())
        # Its own: the soak, the server's connection, the session's.
        gc.collect()
        rss_at_the_end = process.memory_info().rss
        await rig.stop()
        ok = _print_result(
            console, tally, server, rig, clock, counts, rss_at_the_end
        )
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=15)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    console.print(f"tasks left after the stop: {len(left)}")
    return ok and not left


def _params(server: MotionServer, setting: Setting) -> dict[str, Any]:
    # The plan's limit is to be learned from the first session that ends.
    is_short = setting.session_minutes is None
    params = {
        "spatius_api_key": "soak-api-key",
        "spatius_app_id": "app",
        "spatius_avatar_id": "avatar",
        "agora_appid": APP_ID,
        "agora_appcert": CERTIFICATE,
        "agora_channel": "soak",
        "agora_uid": 1001,
        "session_expire_minutes": 2 if is_short else 30,
        "console_endpoint_url": server.console_url,
        "ingress_endpoint_url": server.ingress_url,
    }
    if setting.preempts and not wire.knows_playback_state:
        # Without playback states nothing reports the cuts.
        params["one_request_at_a_time"] = True
    return params


def _watch_reports(rig: Rig, counts: Counter[str]) -> None:
    """Count errors and credits: reports are forgotten after each verdict."""
    send_data = rig.env.send_data

    async def send(data: Any, options: Any = None) -> None:
        if data.get_name() == "error":
            code, _ = data.get_property_int("code")
            counts[str(code)] += 1
        elif data.get_name() == "metrics":
            text, _ = data.get_property_to_json("metrics")
            counts["credits"] += json.loads(text).get("credits", 0)
        await send_data(data, options)

    rig.env.send_data = send


def _print_result(
    console: Console,
    tally: Tally,
    server: MotionServer,
    rig: Rig,
    clock: VirtualClock,
    counts: Counter[str],
    rss_at_the_end: int,
) -> bool:
    record = server.record
    totals = rig.totals
    balance = unaccounted(rig.totals)
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column()

    def seconds(samples: float) -> str:
        return f"{samples / RATE:.1f} s"

    def mib(size: int) -> str:
        return f"{size / 2**20:.1f} MiB"

    rows = {
        "conversation": f"{clock.monotonic() / 60:.0f} min",
        "utterances": f"{tally.utterances}",
        "cut by a barge-in": f"{tally.barge_ins}",
        "faults": f"{sum(tally.faults.values())}: "
        + ", ".join(f"{n} x {name}" for name, n in tally.faults.items()),
        "sessions": f"{len(record.connections)}, of these renewals: "
        f"{rig.env.renewals}",
        "connected": f"{_connected_s(record) / 60:.0f} min, "
        f"{counts['credits']} credits by the metrics, {record.credits} by "
        "the service",
        "speech in": seconds(totals.received),
        "sent to the avatar": seconds(totals.sent),
        "said by the voice": seconds(totals.voice),
        "dropped by barge-ins": seconds(totals.flushed),
        "refused for lack of room": seconds(totals.refused),
        "lost, and counted": seconds(totals.lost),
        "sent twice": seconds(totals.resent),
        "unaccounted for": f"{balance} samples",
        "heard": f"{tally.heard_ms / 1000:.1f} s",
        "missing, not counted": f"{tally.missing_ms:.1f} ms",
        "heard twice": f"{tally.repeated_ms / 1000:.1f} s at "
        f"{tally.repeats} resumptions, at most "
        f"{tally.longest_repeat_ms:.0f} ms",
        "avatar and voice at once": f"{tally.overlap_ms:.1f} ms",
        "heard after a flush": f"{tally.stale_ms:.1f} ms",
        "errors 1000": f"{counts['1000']}",
        "errors -1000": f"{counts['-1000']}",
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
    for violation in [*record.violations, *tally.violations][:5]:
        console.print(f"[red]{violation}[/red]")
    problems = {
        "samples are unaccounted for": balance,
        "an error -1000 came: the avatar gave up": counts["-1000"],
        "the protocol was violated": record.violations,
        "the listener was let down": tally.violations,
        "speech still waits at the end": totals.waiting,
    }
    for problem, is_so in problems.items():
        if is_so:
            console.print(f"[red]not right: {problem}[/red]")
    return not any(problems.values())


def _connected_s(record: Record) -> float:
    return sum(
        one.closed_s - one.confirmed_s
        for one in record.connections
        if one.closed_s is not None and one.confirmed_s is not None
    )


def main(
    minutes: Annotated[
        float,
        typer.Option(min=2, max=24 * 60, help="How long to talk, in minutes."),
    ] = 60.0,
    seed: Annotated[
        int, typer.Option(help="Each gives another conversation.")
    ] = 1,
    voice: Annotated[
        bool, typer.Option(help="Connect the voice to an RTC extension.")
    ] = True,
    preempts: Annotated[
        bool,
        typer.Option(
            "--preempts",
            help="Let a newer request cut the one that plays. With "
            "SPATIUS_SDK=spatialreal the extension has to find out; with "
            "the others one_request_at_a_time is true.",
        ),
    ] = False,
    session_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=1,
            help="End sessions after this time with close 4002, as a plan "
            "of Spatius does.",
        ),
    ] = None,
) -> None:
    """Talk for an hour in virtual time while everything goes wrong.

    Exit code 0 if the listener missed only speech that was flushed or counted
    as lost, every sample is accounted for, and the protocol was kept.
    """
    package.load()
    console = Console(highlight=False)
    began = time.monotonic()
    setting = Setting(seed, voice, preempts, session_minutes)
    ok = virtual_time.run(_soak(console, minutes * 60, setting))
    console.print(f"took {time.monotonic() - began:.0f} s")
    raise typer.Exit(0 if ok else 1)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/soak")
