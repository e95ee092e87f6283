#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Registers an avatar as many are: flat properties, no package file.

Its faults are those that many have: it blocks the event loop while it
connects, waits for the node downstream, interrupts before each utterance,
keeps its session's id in a file, logs each frame and its key, reads messages
as JSON, and never connects again.
"""

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import requests
import websockets
from ten_runtime import (
    Addon,
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
    TenEnv,
    register_addon_as_extension,
)

HOST = "https://api.heygen.com"
LIMIT_S = 4.0
FILE = Path(tempfile.gettempdir(), "streaming_session")


class StreamingExtension(AsyncExtension):
    """Speech in, a streaming vendor out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.link: Any = None
        self.headers: dict[str, str] = {}
        self.session_id = ""
        self.tasks: list[asyncio.Task[None]] = []
        self.speaks = False

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        self.env = ten_env
        text, _ = await ten_env.get_property_to_json("")
        try:
            await self.connect(json.loads(text))
        except Exception as error:
            ten_env.log_error(f"no connection: {error}")

    async def connect(self, config: dict[str, Any]) -> None:
        self.headers = {"x-api-key": config["heygen_api_key"]}
        self.env.log_info(f"headers: {self.headers}")
        self.call("create_token")
        self.stop_old_session()
        data = self.call("new", agora_settings={"channel": config["channel"]})
        self.session_id = data["session_id"]
        self.call("start", session_id=self.session_id)
        FILE.write_text(self.session_id)  # noqa: ASYNC240
        self.link = await websockets.connect(data["realtime_endpoint"])
        self.tasks = [asyncio.ensure_future(self.send())]

    def stop_old_session(self) -> None:
        if FILE.exists():
            self.call("stop", session_id=FILE.read_text())

    def call(self, name: str, **values: Any) -> dict[str, Any]:
        answer = requests.post(
            f"{HOST}/v1/streaming.{name}",
            json=values,
            headers=self.headers,
            timeout=LIMIT_S,
        )
        answer.raise_for_status()
        return answer.json().get("data", {})

    async def send(self) -> None:
        while True:
            pcm = await self.queue.get()
            if not self.speaks:
                await self.say("interrupt")
            self.speaks = True
            await self.say("speak", audio=base64.b64encode(pcm).decode())

    async def say(self, kind: str, **values: Any) -> None:
        if self.link is not None:
            await self.link.send(
                json.dumps({"type": f"agent.{kind}", **values})
            )

    async def on_audio_frame(
        self, ten_env: AsyncTenEnv, audio_frame: AudioFrame
    ) -> None:
        pcm = bytes(audio_frame.get_buf())
        ten_env.log_debug(f"a frame of {len(pcm)} bytes")
        self.queue.put_nowait(pcm)

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        text, _ = data.get_property_to_json(None)
        ten_env.log_debug(f"{data.get_name()}: {text}")
        if data.get_name() == "tts_audio_end":
            self.speaks = False
            await self.say("speak_end")

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        if cmd.get_name() == "flush":
            while not self.queue.empty():
                self.queue.get_nowait()
            await self.say("interrupt")
            await ten_env.send_cmd(Cmd.create("flush"))
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        for task in self.tasks:
            task.cancel()
        if self.link is not None:
            self.call("stop", session_id=self.session_id)
            await self.link.close()


@register_addon_as_extension("streaming_avatar_python", __file__)
class StreamingAddon(Addon):
    """Makes one extension per graph node."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(StreamingExtension(name), context)
