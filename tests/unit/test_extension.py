"""What the handlers make of messages and of the configuration; no service."""

import threading
from pathlib import Path
from typing import Any

import pytest
from fakes import settle
from spatius_avatar_python.avatar import STOP_LIMIT_S
from spatius_avatar_python.extension import DUMP_CLOSE_S
from spatius_avatar_python.outbox import DRAIN_LIMIT_S

from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig

PARAMS = {
    "spatius_api_key": "Zq7mXw4Lp9Vt2Rk8",
    "spatius_app_id": "app",
    "spatius_avatar_id": "avatar",
    "agora_appid": "0123456789abcdef0123456789abcdef",
    "agora_appcert": "e93c07d1b86a4f52d0f7183b5ac96e24",
    "agora_channel": "room",
    "agora_uid": 1001,
}


def rig_with(params: dict[str, Any] = PARAMS, **properties: Any) -> Rig:
    return Rig({"params": params, **properties})


# Commands


class UnreadableCmd:
    """One that TEN has invalidated."""

    def get_name(self) -> str:
        raise ValueError("Msg is invalidated.")


async def test_command_that_cannot_be_read_ends_nothing():
    """Nor can it be answered."""
    rig = rig_with({})
    await rig.start()
    cmd: Any = UnreadableCmd()
    await rig.extension.on_cmd(rig.env, cmd)
    await settle()
    messages = [error["message"] for error in rig.errors[1:]]
    assert len(messages) == 2
    assert "invalidated" in messages[0]
    assert "cannot be answered" in messages[1]
    await rig.stop()


# The stop


def test_stop_returns_within_4_s():
    """Rule 7 of the session: these waits follow one another."""
    waits_s = (STOP_LIMIT_S, 0.1, DUMP_CLOSE_S, DRAIN_LIMIT_S)
    assert sum(waits_s) == pytest.approx(4.0)


# The dump


def dumps() -> list[threading.Thread]:
    """Return the threads that write what came in."""
    return [
        thread for thread in threading.enumerate() if thread.name == "rig-dump"
    ]


def files_in(folder: Path) -> int:
    """Return how many files were written, once all are closed."""
    for thread in dumps():
        thread.join(5)
        assert not thread.is_alive(), "a dump was not closed"
    return len(list(folder.iterdir()))


async def test_dump_has_a_file_for_each_rate(tmp_path: Path):
    """None before the first frame, where the rate is that of the frames."""
    rig = rig_with(
        {**PARAMS, "sample_rate": "auto"}, dump=True, dump_path=str(tmp_path)
    )
    await rig.extension.on_init(rig.env)
    assert dumps() == []
    for rate in (16000, 16000, 24000):
        await rig.send_frame(audio_frame(bytes(320), sample_rate=rate))
    await rig.stop()
    assert files_in(tmp_path) == 2


async def test_nothing_is_dumped_after_the_stop(tmp_path: Path):
    """Frames still come, and nobody would close the file."""
    rig = rig_with(
        {**PARAMS, "sample_rate": "auto"}, dump=True, dump_path=str(tmp_path)
    )
    await rig.extension.on_init(rig.env)
    await rig.send_frame(audio_frame(bytes(320), sample_rate=16000))
    await rig.stop()
    await rig.send_frame(audio_frame(bytes(480), sample_rate=24000))
    assert files_in(tmp_path) == 1
