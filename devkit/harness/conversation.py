"""An agent that talks through a rig, and a listener who is judged.

The agent's speech is noise of which no two parts are alike, so that the
judge knows each part of the sound: through the avatar, at a Motion
Server, or through the voice, in the frames that the extension sends.
"""

import asyncio
import random
from typing import Any

from ..motion_server import MotionServer
from ..motion_server.judge import Judge, Verdict, unique_pcm
from ..motion_server.listener import Listener
from .messages import audio_frame, metadata
from .rig import Rig

RATE = 24000
FRAME_MS = 20
BYTES_PER_MS = RATE * 2 // 1000


class Conversation:
    """The speech for `rig`, and the sound that the listener hears.

    `clock` is that of rig and server. The avatar's service plays `delay_s`
    later than it receives.
    """

    def __init__(
        self,
        rig: Rig,
        server: MotionServer,
        clock: Any,
        *,
        seed: int = 0,
        delay_s: float = 0.0,
    ) -> None:
        self.listener = Listener(RATE)
        self.listener.follow(server.record, delay_s)
        self.judge = Judge(RATE)
        self.flush_latency_s = 0.0
        """How long after a flush the listener may hear the rest at most."""
        self._rig = rig
        self._server = server
        self._clock = clock
        self._rng = random.Random(seed)
        self._turns: list[str] = []  # the names of the utterances, in order
        rig.env.on_audio_frame = self._take_voice
        rig.env.on_cmd = self._take_cmd

    # The agent

    async def start(self, turn_id: int) -> None:
        """Send a tts_audio_start."""
        await self._rig.send_data(
            "tts_audio_start",
            {"request_id": f"tts-{turn_id}", "metadata": metadata(turn_id)},
        )

    async def say(
        self, turn_id: int, duration_ms: int, speed: float = 0.0
    ) -> bytes:
        """Send frames of new speech, `speed` times as fast as speech (0: all
        at once), and return it."""
        pcm = self.speech(turn_id, duration_ms)
        size = FRAME_MS * BYTES_PER_MS
        due_s = self._clock.monotonic()
        for at in range(0, len(pcm), size):
            await self._rig.send_frame(
                audio_frame(pcm[at : at + size], turn_id)
            )
            if speed:
                due_s += FRAME_MS / 1000 / speed
                await asyncio.sleep(max(0.0, due_s - self._clock.monotonic()))
        return pcm

    async def end(self, turn_id: int, reason: int = 1) -> None:
        """Send a tts_audio_end."""
        await self._rig.send_data(
            "tts_audio_end",
            {
                "request_id": f"tts-{turn_id}",
                "reason": reason,
                "metadata": metadata(turn_id),
            },
        )

    async def utter(
        self, turn_id: int, duration_ms: int, speed: float = 0.0
    ) -> bytes:
        """Say one whole utterance and return it."""
        await self.start(turn_id)
        pcm = await self.say(turn_id, duration_ms, speed)
        await self.end(turn_id)
        return pcm

    async def flush(self) -> None:
        """Barge in."""
        unheard = self.unheard()
        now_s = self._clock.monotonic()
        await self._rig.send_cmd("flush")
        self.discard(unheard, now_s)

    # Expected speech

    def speech(self, name: object, duration_ms: float) -> bytes:
        """Make speech that the listener is to hear, as a part of a turn."""
        pcm = unique_pcm(duration_ms, RATE, self._rng.getrandbits(32))
        self.expect(name, pcm)
        return pcm

    def expect(self, name: object, pcm: bytes) -> None:
        """Have the listener hear `pcm`, as a part of a turn."""
        if str(name) not in self._turns:
            self._turns.append(str(name))
        self.judge.said(str(name), pcm)

    def unheard(self) -> list[str]:
        """Return the turns of which the listener has not heard the end."""
        now_s = self._clock.monotonic()
        verdict = self.judge.verdict(self.listener.audible(now_s))
        holes = {hole.turn: hole for hole in verdict.holes}
        first = 0
        for at, turn in enumerate(self._turns):
            if self._server.preempts:
                break  # the rest of a turn may follow the next one
            if turn not in holes or holes[turn].begin_ms > 0:
                first = at  # something of it was heard
        return [turn for turn in self._turns[first:] if turn in holes]

    def discard(self, turns: list[str], at_s: float) -> None:
        """Nothing of these turns has to be, or may be, audible from then."""
        for turn in turns:
            self.judge.flushed(turn, at_s)

    # Verdicts

    def verdict(self) -> Verdict:
        """Judge the sound until all has been played."""
        return self.judge.verdict(
            self.listener.audible(), flush_grace_ms=1000 * self.flush_latency_s
        )

    def settle(self, excused_ms: float = 0.0) -> Verdict:
        """Judge the sound so far, and forget it. For a moment in which
        nothing plays or waits; `excused_ms` was refused or lost since the
        last one."""
        self.judge.excuse(excused_ms)
        verdict = self.judge.verdict(
            self.listener.take(self._clock.monotonic()),
            flush_grace_ms=1000 * self.flush_latency_s,
        )
        self.judge = Judge(RATE)
        self._turns.clear()
        return verdict

    # Internals

    def _take_voice(self, frame: Any) -> None:
        now_s = self._clock.monotonic()
        self.listener.voice_audio(bytes(frame.get_buf()), now_s, "voice")

    def _take_cmd(self, cmd: Any) -> None:
        if cmd.get_name() == "flush":
            self.listener.voice_flushed(self._clock.monotonic())


def unaccounted(totals: Any) -> int:
    """Return how many samples of a Speech's totals went nowhere: received -
    sent - voice - flushed - refused - lost - waiting."""
    return totals.received - (
        totals.sent
        + totals.voice
        + totals.flushed
        + totals.refused
        + totals.stopped
        + totals.lost
        + totals.waiting
    )


def unpaired(reports: list[tuple[str, Any]]) -> list[str]:
    """Return the violations of avatar_audio_start and avatar_audio_end:
    exactly one end for each start, one utterance after the other."""
    found = []
    latest = ""
    for name, payload in reports:
        request_id = payload.get("request_id", "")
        if name == "avatar_audio_start":
            if latest:
                found.append(f"{request_id} starts, {latest} has no end")
            latest = request_id
        elif name == "avatar_audio_end":
            if latest != request_id:
                found.append(f"{request_id} ends, {latest or 'none'} plays")
            latest = ""
            position_ms = payload["playback_position_ms"]
            if position_ms > payload["request_total_audio_duration_ms"] + 1:
                found.append(f"{request_id} was heard further than it was said")
    if latest:
        found.append(f"{latest} has no end")
    return found
