"""The harness offers TEN's interface to an extension, and records its
messages."""

import ast
import asyncio
import contextlib
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
import ten_runtime
from spatius_avatar_python.clock import SystemClock
from ten_runtime import (
    AudioFrame,
    Cmd,
    SendOptions,
    StatusCode,
    TenErrorCode,
)

from devkit.harness import virtual_time
from devkit.harness.messages import (
    HOSTILE_METADATA,
    hostile_data,
    hostile_frames,
)
from devkit.harness.rig import Rig, RigEnv

ROOT = Path(__file__).resolve().parents[2]
WAITING = SendOptions(wait_for_result=True)

only_with_the_stand_in = pytest.mark.skipif(
    not getattr(ten_runtime, "IS_STAND_IN", False),
    reason="the stage runs on the stand-in, and the real runtime is installed",
)


@pytest.mark.parametrize("wired", [True, False])
@pytest.mark.asyncio
async def test_rig_connects_audio_frames_where_asked(wired):
    """Unconnected: code 7 for who waits, None for who does not."""
    env = RigEnv({}, voice_wired=wired)
    frame = AudioFrame.create("pcm_frame")
    error = await env.send_audio_frame(frame, WAITING)
    assert await env.send_audio_frame(frame) is None
    if wired:
        assert error is None
        assert env.audio_frames == [frame, frame]
    else:
        assert error is not None
        assert error.error_code() == TenErrorCode.ErrorCodeMsgNotConnected
        assert env.audio_frames == []


@pytest.mark.parametrize("wired", [True, False])
@pytest.mark.asyncio
async def test_rig_connects_commands_where_asked(wired):
    """Connected: recorded and answered with OK."""
    env = RigEnv({}, flush_wired=wired)
    result, error = await env.send_cmd(Cmd.create("flush"))
    if wired:
        assert error is None and result is not None
        assert result.get_status_code() == StatusCode.OK
        assert [cmd.get_name() for cmd in env.cmds] == ["flush"]
    else:
        assert result is None and error is not None
        assert error.error_code() == TenErrorCode.ErrorCodeMsgNotConnected


@pytest.mark.asyncio
async def test_rig_gives_the_configuration_by_path():
    """All of it, a part, and an error for a missing one."""
    env = RigEnv({"params": {"rate": 1}})
    assert await env.get_property_to_json("") == (
        '{"params": {"rate": 1}}',
        None,
    )
    assert await env.get_property_to_json("params.rate") == ("1", None)
    text, error = await env.get_property_to_json("params.other")
    assert text == "" and error is not None


def test_rig_records_log_calls_with_category_and_fields():
    """As the extension made them."""
    env = RigEnv({})
    env.log_warn("text", category="vendor", fields={"turn_id": 1})
    env.log_info("plain")
    assert env.lines == [
        ("warn", "text", "vendor", {"turn_id": 1}),
        ("info", "plain", None, None),
    ]


def test_rig_hands_its_clock_to_the_extension():
    """Before anything of the extension's has run."""
    clock = SystemClock()
    assert Rig({}, clock).extension.clock is clock
    assert Rig({}).extension.clock is not clock


@only_with_the_stand_in
@pytest.mark.parametrize("wired", [True, False])
def test_stage_connects_the_requested_messages(wired):
    """Frames and commands are recorded where they are connected."""
    from devkit.harness.stage import open_stage

    with open_stage(voice_wired=wired, flush_wired=wired) as stage:
        error = stage.host.emit(AudioFrame.create("pcm_frame"))
        result, unsent = stage.host.emit_cmd(Cmd.create("flush")).result(30)
    if wired:
        assert error is None and result is not None
        assert result.get_status_code() == StatusCode.OK
        assert stage.audio_frames[0][1].get_name() == "pcm_frame"
        assert stage.cmds[0][1].get_name() == "flush"
    else:
        assert error is not None and error.error_code() == 7
        assert unsent is not None and unsent.error_code() == 7
        assert stage.audio_frames == stage.cmds == []


def test_hostile_messages_have_their_oddity():
    """Each keeps its audio and name, and typed getters survive all."""
    frames = hostile_frames(b"\1\2" * 240, sample_rate=16000)
    assert set(frames) == set(HOSTILE_METADATA)
    for frame in frames.values():
        assert frame.get_buf() == b"\1\2" * 240
        assert frame.get_sample_rate() == 16000
    data = hostile_data("tts_audio_end")
    assert {message.get_name() for message in data.values()} == {
        "tts_audio_end"
    }
    for message in [*frames.values(), *data.values()]:
        for path in ("metadata.turn_id", "metadata", "reason", "request_id"):
            message.get_property_int(path)
            message.get_property_string(path)
    turn_id, error = frames["turn_id 2**63"].get_property_int(
        "metadata.turn_id"
    )
    assert turn_id == 0 and error is not None
    text, error = frames["JSON in a string"].get_property_string("metadata")
    assert text.startswith("{") and error is None


@only_with_the_stand_in
def test_hostile_messages_include_deadly_ones():
    """Both kinds, in frames and in data."""
    from ten_runtime._messages import properties_of
    from ten_runtime._tree import reason_to_abort

    for messages in (hostile_frames(b"\0\0"), hostile_data("tts_audio_end")):
        reasons = {
            reason_to_abort(properties_of(message))
            for message in messages.values()
        } - {None}
        assert any("above 2**63 - 1" in str(reason) for reason in reasons)
        assert any("same key twice" in str(reason) for reason in reasons)


def test_no_two_classes_of_the_devkit_have_one_name():
    """A name means one thing in all of its rooms."""
    names = Counter(
        node.name
        for path in (ROOT / "devkit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_an_hour_of_virtual_time_takes_a_moment() -> None:
    """A wait is passed over, and a message that is under way is not."""

    async def receive() -> list[float]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        loop.call_at(3600, theirs.send, b"1")
        loop.call_at(7200, theirs.close)
        times = []
        with contextlib.closing(writer):
            while await reader.read(1):
                times.append(loop.time())
            return [*times, loop.time()]

    began_s = time.process_time()
    assert virtual_time.run(receive()) == pytest.approx([3600, 7200], abs=0.01)
    assert time.process_time() - began_s < 0.5
