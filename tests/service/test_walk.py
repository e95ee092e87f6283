"""Random walks over speech, flushes, faults and stops, judged by a listener.

Each walk drives the real extension with the real SDK against a Motion Server of
its own, in virtual time, and is determined by its seed. The speech is noise of
which no two parts are alike, so that the judge knows each part of it.
`WALKS=5000 bin/test tests/service/test_walk.py` walks more, `WALK_SEED=123`
just one; `WALKS_FROM` is the first seed.
"""

import asyncio
import json
import os
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest
from agent import APP_ID, RATE
from scene import ALLOWANCE_MS
from spatius_avatar_python.avatar.arrival import LOST_AT, PING_INTERVAL_S

from devkit.harness import virtual_time
from devkit.harness.conversation import (
    Conversation,
    unaccounted,
    unpaired,
)
from devkit.harness.messages import (
    audio_frame,
    hostile_data,
    hostile_frames,
    metadata,
)
from devkit.harness.rig import Rig
from devkit.motion_server import (
    AudioMessages,
    BlackHole,
    Close,
    MotionServer,
    OnConfirm,
    OnEnd,
    OnInterrupt,
    PlanLimits,
    PlaybackSignals,
    Quiet,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    Stall,
    wire,
)
from devkit.motion_server.judge import Verdict

pytestmark = pytest.mark.wire

WALKS = int(os.environ.get("WALKS", "300"))
FIRST = int(os.environ.get("WALKS_FROM", "0"))
PARTS = 12
AT_ONCE = 12
MAX_SAID_MS = 60_000
MAX_OUTAGE_S = 5
MAX_BURST_MS = 10_000
MAX_STALL_S = 0.2
MAX_AHEAD_S = 2.0  # a position, where the host vanishes without a word
FIRST_TURN_ID = 100  # hostile messages have smaller ones
MAX_INEXACT_MS = 100  # a position: the kernel may deliver a message late
HOSTILE_MS = 10
HOSTILE_PCM = bytes(range(240)) * 2  # nothing that the judge expects

ECHO = "no: {api_key} {session_token} {agora_token}"
LOSSES = (
    Close(1000),
    Close(1001),
    Close(1011, ECHO),
    Close(1012),
    Close(4002),
    Reset(),
    ServerError(13, ECHO),
)
SIGNALS = (
    None,
    PlaybackSignals(),
    PlaybackSignals(late_ms=200),
    PlaybackSignals(doubled=True),
    PlaybackSignals(foreign=True, older=True),
    PlaybackSignals(progress_ms=100, end_when_interrupted=True),
)


@dataclass
class Walk:
    """One walk; `steps` lists its steps."""

    seed: int
    steps: list[str] = field(default_factory=list)
    turn_id: int = FIRST_TURN_ID
    said_bytes: int = 0
    said_ms: float = 0.0
    allowance_ms: float = ALLOWANCE_MS
    max_repeat_ms: float = 0.0
    max_ahead_ms: float = MAX_INEXACT_MS
    hostile: int = 0  # frames of hostile messages
    flushes: int = 0
    losses: int = 0
    stalls: int = 0
    is_fatal: bool = False
    has_unheard_answers: bool = False
    has_rested: bool = False
    last_audio_s: float = 0.0
    last_hostile_s: float = -10.0
    server: Any = None
    rig: Any = None
    clock: Any = None
    talk: Any = None
    canaries: list[str] = field(default_factory=list)
    ends_of_outages: list[Any] = field(default_factory=list)
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    """How much of a turn was heard as reported, in ms, and when."""

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(self.seed)
        self.with_turns = rng.random() < 0.6
        self.speed = rng.choice((1, 5, 20))
        self.is_wired = rng.random() < 0.5
        self.delay_s = rng.choice((0.0, 0.0, 0.2))
        self.signals = rng.choice(SIGNALS)
        self.limits = PlanLimits(rng.choice((None, None, 0.5)))
        self.preempts = rng.random() < 0.25
        if self.preempts and self.signals is None:
            self.delay_s = 0.0  # only the estimate says when one has ended
        # Where the first request is lost, its delay is not known yet.
        self.is_late = (
            not self.preempts
            and self.signals is not None
            and rng.random() < 0.1
        )
        if self.is_late:
            self.delay_s = rng.choice((3.5, 5.0))
            self.limits = PlanLimits()
        self.max_ahead_ms += 1000 * self.delay_s
        self.pong_delay_s = rng.choice((0.0, 0.0, 0.0, 0.3, 0.9))
        if self.pong_delay_s:
            # Audio written since the latest ping that was answered.
            unknown_s = 2 * self.pong_delay_s + PING_INTERVAL_S
            self.allowance_ms += 1000 * unknown_s
        self.max_repeat_ms = self.allowance_ms
        self.resume_within_s = rng.choice((2, 15, 15))
        self.is_open = False

    async def run(self) -> None:
        key, certificate = secrets.token_hex(20), secrets.token_hex(16)
        self.canaries = [key, certificate]
        clock = self.clock = virtual_time.VirtualClock()
        async with MotionServer(
            certificates={APP_ID: certificate},
            clock=clock,
            now=clock.epoch,
            playback_signals=self.signals,
            playback_delay_s=self.delay_s,
            pong_delay_s=self.pong_delay_s,
            limits=self.limits,
            preempts=self.preempts,
            capabilities=("playback_state",) if self.preempts else (),
            idle_timeout_s=None
            if self.is_late
            else self.rng.choice((None, None, 4)),
        ) as server:
            self.server = server
            self.rig = Rig(
                {"params": self.params(key, certificate)},
                clock,
                voice_wired=self.is_wired,
                flush_wired=self.is_wired,
            )
            self.rig.env.on_report = self.take_report
            self.talk = Conversation(self.rig, server, clock, seed=self.seed)
            if self.rng.random() < 0.3 and not self.is_late:
                self.fault_at_start()
            try:
                await self.rig.start()
                for _ in range(self.rng.randrange(5, 25)):
                    await self.step()
                if self.rng.random() >= 0.2:  # else it stops amid all that
                    await self.come_to_rest()
            finally:
                for timer in self.ends_of_outages:
                    timer.cancel()
                unheard = self.talk.unheard()
                await self.rig.stop()
                # The audio of the voice is heard, perhaps.
                self.talk.discard(unheard, float("inf"))
            self.check()

    def params(self, key: str, certificate: str) -> dict[str, Any]:
        rng = self.rng
        params = {
            "spatius_api_key": key,
            "spatius_app_id": "app",
            "spatius_avatar_id": "avatar",
            "agora_appid": APP_ID,
            "agora_appcert": certificate,
            "agora_channel": "walk",
            "agora_uid": 7,
            "console_endpoint_url": self.server.console_url,
            "ingress_endpoint_url": self.server.ingress_url,
            "fallback_after_ms": rng.choice((0, 300, 1500)),
            "resume_within_s": self.resume_within_s,
        }
        if self.preempts and (
            self.signals is None or not wire.knows_playback_state
        ):
            # Nothing reports the cuts.
            params["one_request_at_a_time"] = True
        if rng.random() < 0.15:
            params["max_buffered_speech_s"] = 0.5
        if rng.random() < 0.2 and not self.is_late:
            params["session_expire_minutes"] = 1
        self.note(f"{params} {self}")
        return params

    def take_report(self, name: str, payload: Any) -> None:
        if name != "avatar_audio_end":
            return
        turn_id = payload.get("metadata", {}).get("turn_id")
        if isinstance(turn_id, int) and turn_id >= FIRST_TURN_ID:
            before_ms, _ = self.positions.get(str(turn_id), (0.0, 0.0))
            position_ms = before_ms + payload["playback_position_ms"]
            self.positions[str(turn_id)] = position_ms, self.clock.monotonic()

    # Steps

    async def step(self) -> None:
        choice = self.rng.choices(
            (self.say, self.end, self.barge_in, self.pause, self.fault),
            (10, 3, 3, 5, 0 if self.is_late else 3),
        )[0]
        await choice()
        if self.rng.random() < 0.05:
            await self.send_hostile()
        assert unaccounted(self.rig.totals) == 0, (
            "some audio is not accounted for"
        )

    async def say(self) -> None:
        if self.said_ms > MAX_SAID_MS:
            return
        if not self.is_open and self.rng.random() < 0.7:
            self.note("start")
            await self.talk.start(self.turn_id)
        for _ in range(self.rng.randrange(1, 8)):
            await self.send(self.rng.choice((5, 10, 20, 37, 150, 1000)))

    async def send(self, duration_ms: int) -> None:
        """Send audio that is to be heard, at times cut within a sample."""
        self.note(f"say {duration_ms}")
        self.is_open = True
        pcm = self.talk.speech(self.turn_id, duration_ms)
        self.said_ms += duration_ms
        cut = len(pcm)
        if self.rng.random() < 0.2:
            cut = self.rng.randrange(1, len(pcm), 2)
        for part in (pcm[:cut], pcm[cut:]):
            await self.send_audio(part)
        await asyncio.sleep(duration_ms / 1000 / self.speed)

    async def send_audio(self, pcm: bytes) -> None:
        if pcm:
            self.said_bytes += len(pcm)
            self.last_audio_s = self.clock.monotonic()
            turn_id = self.turn_id if self.with_turns else None
            await self.rig.send_frame(audio_frame(pcm, turn_id))

    async def end(self) -> None:
        self.note("end")
        payload = self.rng.choice(
            ({"reason": 1}, {"reason": 3}, {}, {"reason": 1, "metadata": 5})
        )
        name = self.rng.choice(("tts_audio_end", "finalize"))
        await self.rig.send_data(name, payload)
        self.turn_id += 1
        self.is_open = False

    async def barge_in(self) -> None:
        """Flush a few times, let the TTS send its late frames, and go on."""
        signals = [e for e in self.server.record.events if e.kind == "playback"]
        if self.is_late and not signals:
            return  # nothing tells yet that it may be audible so late
        # Where the utterance may have timed out, late frames are new ones.
        silent_s = self.clock.monotonic() - self.last_audio_s
        was_open, goes_on = self.is_open, silent_s < 1.4
        # Hostile frames are audio that was open as well.
        was_hostile = self.clock.monotonic() - self.last_hostile_s < 1.4
        for _ in range(self.rng.randrange(1, 4)):
            self.note("flush")
            self.flushes += 1
            await self.talk.flush()
        self.is_open = False
        if was_open and goes_on and self.rng.random() < 0.6:
            for _ in range(self.rng.randrange(1, 4)):
                self.note("late")
                await self.send_audio(self.rng.randbytes(480))
        if was_open or was_hostile:
            # Without turns only this tells that the next answer is another.
            name = self.rng.choice(("tts_audio_end", "tts_audio_start"))
            self.turn_id += name == "tts_audio_start"
            origin = metadata(self.turn_id) if self.with_turns else {}
            await self.rig.send_data(name, {"reason": 2, "metadata": origin})
        self.turn_id += 1

    async def pause(self) -> None:
        duration_s = self.rng.choice((0.02, 0.2, 1, 3)) * self.rng.random()
        self.note(f"pause {duration_s:.3f}")
        await asyncio.sleep(duration_s)

    async def send_hostile(self) -> None:
        """Send the messages of any node: none of them may do any harm."""
        self.note("hostile")
        self.last_hostile_s = self.clock.monotonic()
        for frame in hostile_frames(HOSTILE_PCM).values():
            self.hostile += 1
            self.said_bytes += len(HOSTILE_PCM)
            await self.rig.send_frame(frame)
        name = self.rng.choice(("tts_audio_start", "tts_audio_end", "finalize"))
        for message in hostile_data(name).values():
            await self.rig.send_message(message)
        self.is_open = False
        self.turn_id += 1

    async def fault(self) -> None:
        choice = self.rng.choices(
            (
                self.stall,
                self.outage,
                self.vanish,
                self.exhaust,
                self.lose,
                self.lose_soon,
                self.lose_at_a_flush,
                self.lose_at_a_handshake,
                self.black_hole,
            ),
            (5, 5, 3, 1, 5, 10, 4, 4, 3),
        )[0]
        await choice()

    async def stall(self) -> None:
        self.note("stall")
        self.server.now(self.some_stall())

    def some_stall(self) -> Stall:
        # An interrupt waits for it, too.
        self.stalls += 1
        # One may begin while another lasts, with a flush in between.
        self.talk.flush_latency_s = 2 * MAX_STALL_S
        return Stall(for_s=self.rng.random() * MAX_STALL_S)

    async def exhaust(self) -> None:
        if self.is_fatal:
            return
        self.note("credits exhausted")
        # Where there is no session, the next one ends like that.
        self.is_fatal = True
        self.server.now(Close(4001))
        self.server.faults.handshake(Close(4001), times=None)

    async def vanish(self) -> None:
        """Have the peer read nothing more, until it is given up."""
        self.note("vanish")
        self.losses += 1
        # An interrupt that is on its way arrives.
        await asyncio.sleep(2 * MAX_STALL_S)
        # Audio received after its latest answer is repeated, too.
        self.allow_doubt(0.0)
        self.server.now(Silence())
        if self.rng.random() < 0.7:
            await self.say()
        await asyncio.sleep(LOST_AT + 2)

    async def lose(self) -> None:
        """Break the connection."""
        self.server.now(self.some_loss())
        if self.rng.random() < 0.3:
            self.server.faults.console(Refuse(503, detail=ECHO))

    async def lose_soon(self) -> None:
        """Break the connection a little later."""
        count = self.rng.randrange(1, 40)
        trigger = self.rng.choice(
            (AudioMessages(count), OnEnd(), OnInterrupt(), Quiet(0.3))
        )
        self.server.faults.runtime(self.some_loss(), after=trigger)

    def some_loss(self) -> Any:
        loss = self.rng.choice(LOSSES)
        self.losses += 1
        self.note(f"{loss}")
        return loss

    async def lose_at_a_flush(self) -> None:
        """Break or stall the connection between a flush and its interrupt."""
        turns = self.rng.randrange(8)
        self.note(f"flush, and {turns} turns of the loop later:")
        fault = self.rng.choice((self.some_loss, self.some_stall))()
        self.flushes += 1
        flushing = asyncio.ensure_future(self.talk.flush())
        for _ in range(turns):
            await asyncio.sleep(0)
        self.server.now(fault)
        await flushing
        await self.rig.send_data("tts_audio_end", {"reason": 2})
        self.turn_id += 1
        self.is_open = False

    async def lose_at_a_handshake(self) -> None:
        """Break the connection, and the next one while it opens."""
        fault = self.rng.choice(
            (lambda: Close(1011, ECHO), Reset, self.some_stall)
        )()
        is_behind = self.rng.random() < 0.5
        self.note(f"{fault} {'behind' if is_behind else 'in'} the handshake")
        self.losses += 1
        if is_behind:
            self.server.faults.runtime(fault, after=OnConfirm())
        else:
            self.server.faults.handshake(fault)
        await self.lose()

    async def black_hole(self) -> None:
        """Have all packets lost, for a while or until the peer is given up."""
        for_s = self.rng.choice((5, 22, None))
        host_vanishes = for_s is None and self.rng.random() < 0.5
        self.losses += 1
        # An interrupt that is on its way arrives.
        await asyncio.sleep(2 * MAX_STALL_S)
        if self.rng.random() < 0.5:
            await self.say()
            await asyncio.sleep(self.rng.random())
        fault = BlackHole(for_s, host_vanishes=host_vanishes)
        self.has_unheard_answers |= bool(self.pong_delay_s)
        self.note(f"{fault}")
        # Audio that may have been heard in the doubt is said again.
        self.allow_doubt(LOST_AT)
        self.server.now(fault)
        if self.rng.random() < 0.5:
            await self.say()
        if host_vanishes:  # else the listener hears on after a flush
            await asyncio.sleep(3 * self.rng.random())
            if self.rng.random() < 0.5:
                await self.barge_in()
        await asyncio.sleep((for_s or LOST_AT) + 2)

    def allow_doubt(self, played_s: float) -> None:
        """Allow for a service that does not answer: it may have played."""
        self.max_repeat_ms = max(
            self.max_repeat_ms,
            self.allowance_ms + MAX_BURST_MS + 1000 * played_s,
        )
        self.max_ahead_ms = (
            MAX_INEXACT_MS + 1000 * self.delay_s + 1000 * MAX_AHEAD_S
        )

    async def outage(self) -> None:
        """Have no session possible for a while."""
        duration_s = MAX_OUTAGE_S * self.rng.random()
        self.note(f"outage of {duration_s:.1f} s")
        self.losses += 1
        self.server.console_down(Refuse(503))
        self.server.faults.upgrade(Refuse(503))  # of a spare
        self.server.now(Reset())
        self.ends_of_outages.append(
            self.clock.call_at(
                self.clock.monotonic() + duration_s, self.server.console_up
            )
        )

    def fault_at_start(self) -> None:
        self.losses += 1
        self.note("a fault at the start")
        self.rng.choice(
            (
                lambda: self.server.faults.console(Refuse(500, detail=ECHO)),
                lambda: self.server.faults.upgrade(Refuse(401, detail=ECHO)),
                lambda: self.server.faults.upgrade(Slow(0.5)),
                lambda: self.server.faults.handshake(ServerError(14, ECHO)),
                lambda: self.server.faults.handshake(Close(1011, ECHO)),
                self.open_slowly,
            )
        )()

    def open_slowly(self) -> None:
        """Let each step take less than 10 s, and all together more."""
        self.server.faults.console(Slow(6))
        self.server.faults.upgrade(Slow(5))
        self.server.faults.handshake(Slow(4))

    async def come_to_rest(self) -> None:
        """End all faults; a last utterance must be heard in full."""
        self.note("rest")
        self.has_rested = True
        if not self.is_fatal:
            self.server.faults.clear()
        self.server.now(Resume())
        self.server.console_up()
        await self.rig.send_data("tts_audio_end", {})
        await self.idle()
        refused = self.rig.totals.refused
        self.turn_id += 1
        await self.talk.start(self.turn_id)
        for _ in range(5):
            await self.send(50)
        await self.rig.send_data("tts_audio_end", {})
        await self.idle()
        assert self.is_fatal or self.rig.totals.refused == refused

    async def idle(self) -> None:
        """Wait until all has been said and heard."""
        speech = self.rig.extension.avatar._speech
        until_s = self.clock.monotonic() + 200
        while not speech.is_idle(self.clock.monotonic()):
            assert self.clock.monotonic() < until_s, "speech waits"
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)

    def note(self, step: str) -> None:
        at = f"{self.clock.monotonic():.2f} " if self.clock else ""
        self.steps.append(at + step)

    # Invariants

    def check(self) -> None:
        record = self.server.record
        assert record.violations == []
        totals = self.rig.totals
        assert unaccounted(self.rig.totals) == 0
        assert totals.received == self.said_bytes // 2
        assert totals.waiting == 0
        assert unpaired(self.rig.env.reports) == []
        # Cut audio is said again before the request that has cut it.
        assert len(record.interrupts) <= self.flushes + self.cuts
        self.check_what_was_heard()
        self.check_errors()
        self.check_secrets()

    @property
    def cuts(self) -> int:
        """How many requests the service has cut of its own accord."""
        return sum(event.kind == "cut" for event in self.server.record.events)

    def check_what_was_heard(self) -> None:
        totals = self.rig.totals
        judge = self.talk.judge
        judge.excuse((totals.refused + totals.lost) * 1000 / RATE)
        if totals.lost or self.resume_within_s < MAX_OUTAGE_S:
            # Of audio not said again more is lost than the estimate says,
            # by as much as the service is behind.
            judge.excuse(1000 * (self.delay_s + MAX_STALL_S) * self.losses)
        verdict = self.talk.verdict()
        unknown_ms = 3 * HOSTILE_MS * self.hostile
        assert verdict.unknown_ms <= unknown_ms, "what nobody said was heard"
        found = verdict.violations(
            max_repeat_ms=self.max_repeat_ms, tolerance_ms=max(20, unknown_ms)
        )
        if len(verdict.order) <= self.cuts:
            # The newer request is heard until the cut is known.
            found = [one for one in found if one not in verdict.order]
        if self.has_unheard_answers:
            # The service had audio of which its answer was still on its way.
            found = [one for one in found if "two sources" not in one]
        assert not found, found
        if not unknown_ms:
            assert verdict.missing_ms <= 0.1, verdict.holes
        self.check_positions(verdict)
        sessions = len(self.server.record.connections)
        has_losses = self.losses or self.is_fatal or sessions > 1 or self.cuts
        if self.has_rested and not has_losses:
            assert not totals.lost
            assert not verdict.repeats

    def check_positions(self, verdict: Verdict) -> None:
        """No more of a turn counts as heard than was heard."""
        max_ahead_ms = self.max_ahead_ms + HOSTILE_MS * self.hostile
        if self.stalls:  # too short to be noticed
            max_ahead_ms += 1000 * MAX_STALL_S
        if self.rig.totals.lost:  # what was lost is estimated, too
            max_ahead_ms += 1000 * (self.delay_s + MAX_STALL_S) * self.losses
        for turn, (position_ms, at_s) in self.positions.items():
            ahead_ms = position_ms - verdict.heard_by(turn, at_s)
            assert ahead_ms <= max_ahead_ms, f"turn {turn} by {ahead_ms} ms"

    def check_errors(self) -> None:
        codes = [error["code"] for error in self.rig.errors]
        assert codes.count(-1000) <= self.is_fatal
        admitted = sum(
            error["vendor_info"]["code"] in ("overflow", "speechLost")
            for error in self.rig.errors
        )
        states = self.rig.states
        # While the voice speaks, an outage does not change the state.
        outages = states.count("recovering") + states.count("fallback")
        service_errors = sum(
            "ServerError(code=13" in step for step in self.steps
        )
        assert len(codes) <= (
            outages + admitted + service_errors + self.is_fatal
        )

    def check_secrets(self) -> None:
        tokens = [
            one.config.agora_token
            for one in self.server.record.connections
            if one.config is not None
        ]
        sent = json.dumps([self.rig.env.reports, self.rig.env.lines])
        # Pieces this long, since shorter ones of hexadecimal digits happen to
        # stand in ids and numbers.
        size = 9
        pieces = {
            secret[at : at + size]
            for secret in self.canaries + self.server.session_tokens() + tokens
            # The App ID in a token is no secret, and its version neither.
            for at in range(
                35 if secret.startswith("006") else 0, len(secret) - size + 1
            )
        }
        shown = {sent[at : at + size] for at in range(len(sent) - size + 1)}
        leaked = sorted(pieces & shown)
        assert not leaked, f"pieces of a secret were shown: {leaked[:9]}"


async def _walk_all(seeds: list[int]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> str:
        async with gate:
            walk = Walk(seed)
            try:
                await walk.run()
            except Exception as error:
                return (
                    f"walk {seed}: {error!r}\n{walk.steps}\n"
                    f"{walk.rig and walk.rig.env.reports}\n"
                    f"{walk.server and walk.server.record.timeline()}"
                )
            return ""

    failures = await asyncio.gather(*(one(seed) for seed in seeds))
    failures = [failure for failure in failures if failure]
    first = "; ".join(failure.partition("\n")[0] for failure in failures)
    assert not failures, f"{len(failures)} failed: {first}\n{failures[0]}"
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:  # closes that go on behind a stop
        await asyncio.wait(left, timeout=15)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.virtual
@pytest.mark.parametrize("part", range(PARTS))
def test_random_walks_keep_the_promises(part: int) -> None:
    """Nothing missing, nothing twice beyond the rewind, one output at a time,
    silence after a flush, sums, no secret shown."""
    seeds = list(range(FIRST + part, FIRST + WALKS, PARTS))
    if "WALK_SEED" in os.environ:
        seeds = [int(os.environ["WALK_SEED"])] if part == 0 else []
    virtual_time.run(_walk_all(seeds))
