#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""TEN's side of the honest avatar."""

import asyncio
import json
from pathlib import Path
from typing import Any, BinaryIO

from ten_runtime import (
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

from .player import Player, Utterance

CONFIGURATION, FATAL, NON_FATAL = -1012, -1000, 1000
INTERRUPTED = 2


class HonestExtension(AsyncExtension):
    """Speech in, a toy vendor out; reports as TEN's conventions have them."""

    player_class: type[Player] = Player

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self.env: Any = None
        self.params: dict[str, Any] = {}
        self.player: Player | None = None
        """None where the configuration cannot be used."""
        self.problem = ""
        self.last_status = "disconnected"
        self.request_id = ""
        self.bad_format = False
        self.format = (24000, 1, 2)
        self.dump: BinaryIO | None = None
        self.tasks: set[asyncio.Task[Any]] = set()

    # Lifecycle

    async def on_init(self, ten_env: AsyncTenEnv) -> None:
        self.env = ten_env
        text, _ = await ten_env.get_property_to_json("")
        tree = json.loads(text or "{}")
        self.params = self.params_of(tree)
        ten_env.log_info(f"config: {json.dumps(self.shown(self.params))}")
        self.problem = self.problem_of(self.params)
        if not self.problem:
            self.player = self.player_class(self.params, self)
        if tree.get("dump") and tree.get("dump_path"):
            self.open_dump(Path(tree["dump_path"], "in.pcm"))

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        if self.player is not None:
            self.player.start()
        else:
            self.report_problem()

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        if self.player is not None:
            await self.player.stop()
        if self.dump is not None:
            self.dump.close()
        for task in self.tasks:
            task.cancel()

    # Messages

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        if cmd.get_name() == "flush":
            await self.on_flush(cmd)
        else:
            await self.on_unknown(cmd)

    async def on_flush(self, cmd: Cmd) -> None:
        if self.player is not None:
            self.player.flush()
        self.pass_on_flush()
        await self.answer(cmd, StatusCode.OK)

    async def on_unknown(self, cmd: Cmd) -> None:
        await self.answer(cmd, StatusCode.OK)

    async def answer(self, cmd: Cmd, code: StatusCode) -> None:
        await self.env.return_result(CmdResult.create(code, cmd))

    def pass_on_flush(self) -> None:
        task = asyncio.ensure_future(self.env.send_cmd(Cmd.create("flush")))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        name = data.get_name()
        if self.player is None:
            return
        if name == "tts_audio_start":
            self.request_id, _ = data.get_property_string("request_id")
            self.player.begin(self.request_id)
        elif name == "tts_audio_end":
            reason, _ = data.get_property_int("reason")
            request_id, _ = data.get_property_string("request_id")
            if self.is_of_open(request_id):
                self.on_end(reason)
        elif name == "finalize":
            self.player.end()

    def is_of_open(self, request_id: str) -> bool:
        """Whether an end is that of the open utterance, or names none."""
        assert self.player is not None
        spoken = self.player.open
        return spoken is None or request_id in ("", spoken.request_id)

    def on_end(self, reason: int) -> None:
        assert self.player is not None
        if reason == INTERRUPTED:
            if self.player.open is not None:
                self.player.flush()
        else:
            self.player.end()

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        self.format = (
            audio_frame.get_sample_rate(),
            audio_frame.get_number_of_channels(),
            audio_frame.get_bytes_per_sample(),
        )
        try:
            pcm = bytes(audio_frame.get_buf())
        except SystemError:  # it has no buffer
            return
        if self.player is None or self.player.failed:
            self.voice(pcm)
            return
        if self.format != (self.params.get("sample_rate", 24000), 1, 2):
            self.refuse_format()
            return
        self.bad_format = False
        if self.dump is not None:
            self.dump.write(self.dumped(pcm))
        self.player.speak(pcm, self.turn_of(audio_frame), self.request_id)

    def turn_of(self, frame: AudioFrame) -> int | None:
        turn_id, missing = frame.get_property_int("metadata.turn_id")
        return None if missing is not None else turn_id

    def refuse_format(self) -> None:
        if not self.bad_format:
            self.complain(f"frames of {self.format} are refused")
        self.bad_format = True

    def open_dump(self, path: Path) -> None:
        self.dump = open(path, "wb")

    def dumped(self, pcm: bytes) -> bytes:
        return pcm

    # Configuration

    def params_of(self, tree: dict[str, Any]) -> dict[str, Any]:
        return tree.get("params", {})

    def problem_of(self, params: dict[str, Any]) -> str:
        if not params.get("api_key"):
            return "params.api_key: is missing"
        port = params.get("port")
        if not isinstance(port, int) or not 0 < port < 65536:
            return "params.port: expected a port number"
        return ""

    def report_problem(self) -> None:
        self.error(CONFIGURATION, self.problem, "ValueError")

    def shown(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the params without the key."""
        return {**params, "api_key": "set" if params.get("api_key") else ""}

    # Reports of the player

    def report(self, name: str, payload: dict[str, Any]) -> None:
        data = Data.create(name)
        data.set_property_from_json(None, json.dumps(payload))
        task = asyncio.ensure_future(self.env.send_data(data))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def fail(self, message: str, vendor_code: str) -> None:
        self.error(FATAL, message, vendor_code)

    def complain(self, message: str) -> None:
        self.error(NON_FATAL, message, "")

    def error(self, code: int, message: str, vendor_code: str) -> None:
        self.report(
            "error",
            {
                "id": self.request_id,
                "module": "avatar",
                "code": code,
                "message": message,
                "vendor_info": self.vendor_info(vendor_code, message),
                "metadata": {"vendor_metadata": {"name": "toy"}},
            },
        )

    def vendor_info(self, code: str, message: str) -> dict[str, Any]:
        return {"vendor": "toy", "code": code, "message": message}

    def status(self, current: str) -> None:
        last, self.last_status = self.last_status, current
        if current != last:
            self.report("connection_status_changed", self.change(current, last))

    def change(self, current: str, last: str) -> dict[str, Any]:
        return {
            "id": "",
            "module": "avatar",
            "vendor": "toy",
            "vendor_info": self.vendor_info("", ""),
            "current": current,
            "last": last,
            "code": 0,
            "message": "",
            "metadata": {},
        }

    def written(self, utterance: Utterance) -> None:
        assert self.player is not None
        self.env.log_info(f"utterance {utterance.number} was sent")
        metrics = {"audio_ms": self.player.whole_ms(utterance)}
        self.report("metrics", self.measured(utterance, metrics))

    def measured(
        self, utterance: Utterance, metrics: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": utterance.request_id,
            "module": "avatar",
            "vendor": "toy",
            "metrics": metrics,
            "metadata": {},
        }

    def voice(self, pcm: bytes) -> None:
        """Speak by the graph's own output, while the avatar cannot."""
        rate, channels, width = self.format
        if not pcm:
            return
        frame = AudioFrame.create("pcm_frame")
        frame.set_sample_rate(rate)
        frame.set_number_of_channels(channels)
        frame.set_bytes_per_sample(width)
        frame.set_samples_per_channel(len(pcm) // width // channels)
        frame.alloc_buf(len(pcm))
        buffer = frame.lock_buf()
        buffer[:] = pcm
        frame.unlock_buf(buffer)
        task = asyncio.ensure_future(self.env.send_audio_frame(frame))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
