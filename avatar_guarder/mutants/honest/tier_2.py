#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Mutants that break a rule of tier 2."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from ten_runtime import AsyncTenEnv, AudioFrame, Cmd, Data

from .extension import HonestExtension
from .player import FINISHED, Player, Utterance
from .registry import breaks

# The baseline


@breaks("lives_with_vendor")
class NeverConnects(Player):
    async def connect(self) -> None:
        raise OSError("no connection")


# Speech


@breaks("sends_speech_unchanged")
class LosesAMiddle(Player):
    """The last of a second of speech; shorter utterances are whole."""

    def write(self, **message: Any) -> None:
        heard = self.heard[-1].written_bytes if self.heard else 0
        if "audio" not in message or heard != 1.7 * self.bytes_per_s:
            super().write(**message)


@breaks("keeps_early_speech")
class ForgetsTheFirst(Player):
    """Speech that waits for the first session is lost but for the last."""

    async def connect(self) -> None:
        for _ in range(100):  # so that there is something to forget
            if self.waiting_bytes or self.count:
                break
            await asyncio.sleep(0.01)
        await super().connect()
        if self.waiting_bytes and self.count == 1:
            _, _, pcm = self.queue.popleft()
            self.waiting_bytes -= len(pcm)


@breaks("sends_speech_at_once")
class HoldsBack(Player):
    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        put = super().put
        loop = asyncio.get_running_loop()
        loop.call_later(0.8, lambda: put(kind, utterance, pcm))


@breaks("takes_long_speech")
class OneMinute(Player):
    """An utterance is cut off after a minute."""

    said = 0

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        self.said += len(pcm)
        if self.said < 60 * self.bytes_per_s or not self.connected:
            super().speak(pcm, turn_id, request_id)


@breaks("joins_odd_frames")
class PadsOddFrames(Player):
    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        super().speak(pcm + bytes(len(pcm) % 2), turn_id, request_id)


@breaks("speaks_without_metadata")
class NeedsTurn(Player):
    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        if turn_id is not None or not self.connected:
            super().speak(pcm, turn_id, request_id)


@breaks("speaks_through_a_proxy")
class RefusesProxies(Player):
    async def connect(self) -> None:
        if os.environ.get("HTTP_PROXY") and not os.environ.get("NO_PROXY"):
            raise OSError("proxies are not supported")
        await super().connect()


@breaks("reports_wrong_rate")
class DropsWithoutAWord(HonestExtension):
    def refuse_format(self) -> None:
        pass


@breaks("recovers_from_a_rate_change")
class ForgivesNoRate(HonestExtension):
    refuses = False

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        is_spoken = self.player is not None and self.player.count
        if not self.refuses:
            await super().on_audio_frame(ten_env, audio_frame)
        self.refuses |= self.bad_format and bool(is_spoken)


@breaks("ends_each_utterance")
class NeverEnds(Player):
    def end(self) -> None:
        self.open = None


@breaks("ends_each_utterance_once")
class EndsTwice(Player):
    """A second end of speech goes to the vendor, too."""

    last: Utterance | None = None

    def end(self) -> None:
        if self.open is None and self.last is not None:
            if self.last.turn_id == 3:
                self.put("end", self.last)
        self.last = self.open
        super().end()


@breaks("ends_behind_speech")
class EndOvertakes(Player):
    """All but the first audio of an utterance waits a little."""

    latest = (0, 0)  # an utterance, and how much of its audio has come

    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        number, count = self.latest
        count = count + 1 if number == utterance.number else 1
        self.latest = utterance.number, count
        if kind == "audio" and count > 5 and self.connected:
            put = super().put
            loop = asyncio.get_running_loop()
            loop.call_later(0.05, lambda: put(kind, utterance, pcm))
        else:
            super().put(kind, utterance, pcm)


@breaks("ends_on_finalize")
class IgnoresFinalize(HonestExtension):
    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        if data.get_name() != "finalize":
            await super().on_data(ten_env, data)


@breaks("ignores_late_ends")
class TakesAnyEnd(HonestExtension):
    def is_of_open(self, request_id: str) -> bool:
        return True


@breaks("sends_no_empty_utterance")
class EndsWithoutAudio(Player):
    begun = False

    def begin(self, request_id: str) -> None:
        super().begin(request_id)
        self.begun = True

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        self.begun = False
        super().speak(pcm, turn_id, request_id)

    def end(self) -> None:
        if self.begun and self.connected:
            self.write(end=0)
        super().end()


# Barge-in


@breaks("interrupts_speech")
class NeverInterrupts(Player):
    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        if kind != "interrupt":
            super().put(kind, utterance, pcm)


@breaks("interrupts_after_the_end")
class InterruptsOpenOnly(Player):
    ended = 0

    def end(self) -> None:
        self.ended = self.open.number if self.open else self.ended
        super().end()

    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        if kind != "interrupt" or utterance.number > self.ended:
            super().put(kind, utterance, pcm)


@breaks("interrupts_once")
class InterruptsAgain(Player):
    last: Utterance | None = None

    def flush(self) -> None:
        again = None if self.heard else self.last
        self.last = self.heard[-1] if self.heard else None
        super().flush()
        if again is not None and self.connected:
            self.put("interrupt", again)


@breaks("interrupts_nothing_when_idle")
class InterruptsAlways(Player):
    def flush(self) -> None:
        if not self.count and self.connected:
            self.write(interrupt=0)
        super().flush()


@breaks("interrupts_on_cut_speech")
class OneReason(HonestExtension):
    def on_end(self, reason: int) -> None:
        super().on_end(FINISHED)


@breaks("drops_stale_speech")
class SpeaksOn(Player):
    def forget_turns(self, turns: set[int | None]) -> None:
        pass


@breaks("keeps_the_next_answer")
class DropsTheNext(Player):
    """The first frame after a flush is dropped, whatever its turn."""

    drops = False

    def flush(self) -> None:
        self.drops = bool(self.heard)
        super().flush()

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        drops, self.drops = self.drops, False
        if not drops:
            super().speak(pcm, turn_id, request_id)


@breaks("speaks_a_flushed_turn_again")
class TurnsEnd(Player):
    def begin(self, request_id: str) -> None:
        self.stale.discard(None)


# Sessions


@breaks("reconnects_after_loss")
class GivesUpOnError(Player):
    async def session(self) -> str:
        reason = await super().session()
        if reason == "close":
            await asyncio.Event().wait()
        return reason


@breaks("keeps_trying_when_refused")
class TriesOnce(Player):
    refused = False

    async def connect(self) -> None:
        if self.refused:
            raise OSError("refused before")
        try:
            await super().connect()
        except Exception as error:
            self.refused = str(error) == "busy"
            raise


@breaks("gives_up_without_credits")
class NeverGivesUp(Player):
    def is_final(self, reason: str) -> bool:
        return reason == "key"


@breaks("reports_wrong_credentials")
class TriesAnyKey(Player):
    def is_final(self, reason: str) -> bool:
        return reason == "credits"


@breaks("renews_without_losing_speech")
class DropsWhileRenewing(Player):
    async def hand_over(self) -> None:
        await super().hand_over()
        await asyncio.sleep(0.2)

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        if not self.renewing:
            super().speak(pcm, turn_id, request_id)


@breaks("renews_before_expiry")
class ComplainsOfRenewal(Player):
    async def hand_over(self) -> None:
        self.host.complain("the session has ended")
        await super().hand_over()


@breaks("instances_do_not_mix")
class LatestSpeaks(HonestExtension):
    latest: Player | None = None

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        await super().on_init(ten_env)
        LatestSpeaks.latest = self.player

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        if self.player and self.player.connected:
            self.player = LatestSpeaks.latest
        await super().on_audio_frame(ten_env, audio_frame)


@breaks("workers_do_not_share")
class OneSession(Player):
    """The session's id stands in a file; a newer one ends the session."""

    async def connect(self) -> None:
        await super().connect()
        self.file = Path(tempfile.gettempdir(), "honest_session")
        self.file.write_text(str(os.getpid()))
        self.watching = asyncio.ensure_future(self.watch())

    async def watch(self) -> None:
        while self.file.read_text() == str(os.getpid()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self.writer.transport.abort()
        await asyncio.sleep(0.5)


# A vendor that hangs


@breaks("answers_flush_when_connected")
class SlowWhenConnected(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        idle = self.player and not self.player.waiting_bytes
        if idle and self.player and self.player.connected:
            await asyncio.sleep(0.2)
        await super().on_flush(cmd)


@breaks("answers_flush_when_stalled")
class WaitsForTheSocket(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        if self.player and self.player.connected:
            await self.player.writer.drain()
        await super().on_flush(cmd)


@breaks("stops_when_stalled")
class DrainsOnStop(HonestExtension):
    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        if self.player and self.player.connected:
            await asyncio.wait(
                [asyncio.ensure_future(self.player.writer.drain())], timeout=6
            )
        await super().on_stop(ten_env)


@breaks("stops_while_vendor_hangs")
class WaitsForTheAnswer(HonestExtension):
    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        if hasattr(self.player, "writer") and self.last_status == "connecting":
            await asyncio.sleep(6)
        await super().on_stop(ten_env)


@breaks("bounds_memory_when_stalled")
class RefusesNothing(Player):
    def refuses(self, pcm: bytes) -> bool:
        return not self.connected and super().refuses(pcm)


# Reports


@breaks("logs_little_while_speaking")
class LogsWhatIsSent(Player):
    def write(self, **message: Any) -> None:
        print(f"sending {list(message)}")
        super().write(**message)


@breaks("keeps_tokens_out_of_logs")
class PrintsToken(Player):
    async def answer(self) -> dict[str, Any]:
        answer = await super().answer()
        print(f"the vendor said {answer}")
        return answer


@breaks("keeps_secrets_out_of_vendor_errors")
class QuotesRequest(HonestExtension):
    def fail(self, message: str, vendor_code: str) -> None:
        super().fail(f"{message} {self.params}", vendor_code)


@breaks("shapes_metrics")
class MetricsAsText(HonestExtension):
    def measured(
        self, utterance: Utterance, metrics: dict[str, Any]
    ) -> dict[str, Any]:
        texts = {name: str(value) for name, value in metrics.items()}
        return super().measured(utterance, texts)


@breaks("pairs_playback_events")
class EndsAtOnce(Player):
    """Playback is reported as over when all of it was sent."""

    def call_at(self, time_s: float, utterance: Utterance, reason: int) -> None:
        if reason and self.whole_ms(utterance) < 1000:
            self.playback_starts(utterance)
            self.playback_ends(utterance, reason)
        else:
            super().call_at(time_s, utterance, reason)


@breaks("reports_cut_playback")
class CutCountsAsWhole(Player):
    def position_ms(self, utterance: Utterance) -> int:
        return self.whole_ms(utterance)


@breaks("ends_playback_after_loss")
class ForgetsTheLost(Player):
    def cut_playback(self, reason: int) -> None:
        if reason == 3:
            for utterance in self.heard:
                utterance.over = True
            self.heard.clear()
        super().cut_playback(reason)


@breaks("speaks_without_credits")
class MuteWithoutCredits(HonestExtension):
    def voice(self, pcm: bytes) -> None:
        if not (self.player and self.player.failed):
            super().voice(pcm)


@breaks("keeps_voice_silent_when_ready")
class SpeaksTwice(Player):
    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        if self.connected:
            self.host.voice(pcm)
        super().put(kind, utterance, pcm)
