#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Honest avatars of other shapes, as other extensions have them.

Each is made where AVATAR_MUTANT names it, and keeps what the honest one keeps.
"""

import asyncio
import zlib
from array import array
from typing import Any

from ten_runtime import AsyncTenEnv, Data

from .extension import HonestExtension
from .player import Player
from .registry import breaks

VENDOR_HZ = 16000
AHEAD_S = 0.1


@breaks("flat")
class Flat(HonestExtension):
    """Its properties are not in `params`, and have other names."""

    def params_of(self, tree: dict[str, Any]) -> dict[str, Any]:
        rate = tree.get("input_audio_sample_rate", 24000)
        return {**tree, "sample_rate": rate, "port": tree.get("toy_port")}

    def problem_of(self, params: dict[str, Any]) -> str:
        return super().problem_of(params).replace("params.port", "toy_port")


@breaks("resampling")
class Resampling(Player):
    """Its vendor takes 16 kHz; it repeats or leaves out samples."""

    def write(self, **message: Any) -> None:
        if "audio" in message:
            samples = array("h", bytes.fromhex(message["audio"]))
            step = self.params.get("sample_rate", 24000) / VENDOR_HZ
            kept = [
                samples[int(at * step)]
                for at in range(int(len(samples) / step))
            ]
            message["audio"] = array("h", kept).tobytes().hex()
        super().write(**message)


@breaks("encoded")
class Encoded(Player):
    """It sends pages of a container."""

    def write(self, **message: Any) -> None:
        if "audio" in message:
            page = zlib.compress(bytes.fromhex(message["audio"]))
            message["audio"] = (b"OggS" + page).hex()
        super().write(**message)


@breaks("paced")
class Paced(Player):
    """It sends at the pace at which it is heard."""

    async def before_write(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self.busy_until_s - AHEAD_S > now_s:
            await asyncio.sleep(self.busy_until_s - AHEAD_S - now_s)


@breaks("finalize_only")
class FinalizeOnly(HonestExtension):
    """It knows the end of speech by `finalize` alone."""

    async def on_data(self, ten_env: AsyncTenEnv, data: Data) -> None:
        if data.get_name() != "tts_audio_end":
            await super().on_data(ten_env, data)


@breaks("raises_on_start")
class RaisesOnStart(HonestExtension):
    """One defect: everything else of it works."""

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        await super().on_start(ten_env)
        raise KeyError("session")
