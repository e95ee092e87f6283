#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Mutants that break a rule of tier 1."""

import asyncio
import struct
import time
from typing import Any

from ten_runtime import AsyncTenEnv, AudioFrame, Cmd, Data, StatusCode

from .extension import HonestExtension
from .player import Player, Utterance
from .registry import breaks

# The baseline; the mutant that does not load is in addon.py


@breaks("starts")
class RaisesOnStart(HonestExtension):
    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        raise ValueError("no start")


@breaks("lives_without_vendor")
class NeedsConnection(HonestExtension):
    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        if self.player is not None and not self.player.connected:
            raise RuntimeError("not connected")
        await super().on_audio_frame(ten_env, audio_frame)


@breaks("lives_when_misconfigured")
class NeedsConfiguration(HonestExtension):
    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        if self.player is None:
            raise RuntimeError("not configured")
        await super().on_audio_frame(ten_env, audio_frame)


@breaks("answers_flush")
class NeverAnswers(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        pass


# Life


@breaks("starts_without_vendor")
class WaitsForVendor(HonestExtension):
    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        await super().on_start(ten_env)
        for _ in range(30):
            if self.player and not self.player.connected:
                await asyncio.sleep(0.1)


@breaks("stops_in_time")
class SpeaksToItsEnd(HonestExtension):
    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        if self.player and not self.player.connected and self.player.open:
            await asyncio.sleep(5.5)
        await super().on_stop(ten_env)


@breaks("instances_are_independent")
class StopsAll(HonestExtension):
    stopped = 0

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        await super().on_init(ten_env)
        self.stopped_before = StopsAll.stopped

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        StopsAll.stopped += 1
        await super().on_stop(ten_env)

    async def on_flush(self, cmd: Cmd) -> None:
        if self.stopped_before == StopsAll.stopped:
            await super().on_flush(cmd)


@breaks("keeps_the_loop_free")
class BlocksAtConnect(Player):
    async def answer(self) -> dict[str, Any]:
        answering = asyncio.ensure_future(super().answer())
        done, _ = await asyncio.wait({answering}, timeout=0.1)
        if not done:
            time.sleep(0.8)  # noqa: ASYNC251
        return await answering


@breaks("pauses_between_attempts")
class NeverPauses(Player):
    async def pause(self, pause_s: float) -> None:
        await asyncio.sleep(0.005)


# Configuration


@breaks("reports_missing_params")
class NamesNothing(HonestExtension):
    def report_problem(self) -> None:
        if self.problem.startswith("params.api_key"):
            self.problem = "wrong configuration"
        super().report_problem()


@breaks("reports_invalid_params")
class ReportsTwice(HonestExtension):
    def report_problem(self) -> None:
        super().report_problem()
        if self.problem.startswith("params.port"):
            super().report_problem()


@breaks("reports_outages_sparingly")
class ReportsEachAttempt(HonestExtension):
    attempts = 0

    def status(self, current: str) -> None:
        if current == "connecting" and self.last_status == "disconnected":
            self.attempts += 1
            # Of a lost connection the first attempt succeeds as a rule.
            if self.attempts > 1:
                self.complain("no connection")
        super().status(current)


@breaks("reports_each_attempt")
class ReportsOneAttempt(HonestExtension):
    def status(self, current: str) -> None:
        if self.last_status != "connecting" or current == "connected":
            super().status(current)


@breaks("shapes_errors")
class NoVendorInfo(HonestExtension):
    def report(self, name: str, payload: dict[str, Any]) -> None:
        if name == "error":
            del payload["vendor_info"]
        super().report(name, payload)


@breaks("shapes_connection_status")
class OwnStatus(HonestExtension):
    def change(self, current: str, last: str) -> dict[str, Any]:
        return {**super().change(current, last), "current": current.upper()}


# Commands


@breaks("answers_unknown_commands")
class KnowsFlushOnly(HonestExtension):
    async def on_unknown(self, cmd: Cmd) -> None:
        await self.answer(cmd, StatusCode.ERROR)


@breaks("answers_flush_while_connecting")
class SlowUnconnected(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        if self.player and not self.player.connected:
            await asyncio.sleep(0.2)
        await super().on_flush(cmd)


@breaks("answers_flush_when_failed")
class SilentWhenFailed(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        if self.player:
            await super().on_flush(cmd)


@breaks("answers_many_flushes")
class OneFlushAtATime(HonestExtension):
    flushing = 0

    async def on_flush(self, cmd: Cmd) -> None:
        self.flushing += 1
        await asyncio.sleep(0)
        if self.flushing < 10:
            await super().on_flush(cmd)
        self.flushing -= 1


@breaks("passes_flush_on")
class KeepsFlush(HonestExtension):
    def pass_on_flush(self) -> None:
        pass


@breaks("answers_flush_before_downstream")
class WaitsForDownstream(HonestExtension):
    async def on_flush(self, cmd: Cmd) -> None:
        if self.player is not None:
            self.player.flush()
        await self.env.send_cmd(Cmd.create("flush"))
        await self.answer(cmd, StatusCode.OK)


# Messages of other nodes


@breaks("survives_foreign_formats")
class OneFormat(HonestExtension):
    def refuse_format(self) -> None:
        assert self.format[1:] == (1, 2)
        super().refuse_format()


@breaks("survives_odd_frames")
class WholeSamples(HonestExtension):
    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        struct.unpack_from("<h", audio_frame.get_buf())
        await super().on_audio_frame(ten_env, audio_frame)


@breaks("survives_foreign_metadata")
class SessionsHaveNames(HonestExtension):
    def turn_of(self, frame: AudioFrame) -> int | None:
        _, error = frame.get_property_int("metadata.session_id")
        if error is None:
            raise TypeError("a session_id is text")
        return super().turn_of(frame)


@breaks("survives_huge_integers")
class ReadsJson(HonestExtension):
    def turn_of(self, frame: AudioFrame) -> int | None:
        frame.get_property_to_json("metadata")
        return super().turn_of(frame)


@breaks("survives_unknown_data")
class KnowsAllData(HonestExtension):
    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        known = ("tts_audio_start", "tts_audio_end", "finalize")
        known.index(data.get_name())
        await super().on_data(ten_env, data)


@breaks("reports_bad_frames_sparingly")
class ReportsEachFrame(HonestExtension):
    def refuse_format(self) -> None:
        self.bad_format = False
        super().refuse_format()


# Secrets and costs


@breaks("keeps_secrets_out_of_messages")
class SaysKey(HonestExtension):
    def vendor_info(self, code: str, message: str) -> dict[str, Any]:
        info = super().vendor_info(code, message)
        return {**info, "key": self.params.get("api_key", "")[1:11]}


@breaks("keeps_secrets_out_of_logs")
class LogsKey(HonestExtension):
    def shown(self, params: dict[str, Any]) -> dict[str, Any]:
        return params


@breaks("logs_little_without_vendor")
class LogsWhatWaits(Player):
    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        if not self.connected:
            print(f"{len(pcm)} bytes wait")
        super().put(kind, utterance, pcm)


@breaks("bounds_memory_without_vendor")
class KeepsUnsent(Player):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.unsent: list[bytes] = []

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        if not self.connected:
            self.unsent.append(pcm)
        super().speak(pcm, turn_id, request_id)


@breaks("dumps_received_audio")
class DumpsSilence(HonestExtension):
    def dumped(self, pcm: bytes) -> bytes:
        return bytes(len(pcm))


# The voice without the avatar


@breaks("speaks_when_misconfigured")
class MuteWhenMisconfigured(HonestExtension):
    def voice(self, pcm: bytes) -> None:
        if self.player is not None:
            super().voice(pcm)


@breaks("speaks_when_unreachable")
class WaitsInSilence(Player):
    def fall_back(self) -> None:
        pass


@breaks("silences_the_voice")
class KeepsVoiceOn(Player):
    def forget_turns(self, turns: set[int | None]) -> None:
        if self.connected:
            super().forget_turns(turns)
