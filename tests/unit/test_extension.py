"""The handlers' effects, for messages and the configuration; no service."""

import asyncio
import sys
import threading
import wave
from pathlib import Path
from typing import Any, Optional

import pytest
from fakes import FakeClock, settle
from spatius_avatar_python import config, token
from spatius_avatar_python.avatar.plan import Plan, lifetime_of
from spatius_avatar_python.clock import wait_until
from spatius_avatar_python.extension import (
    limits_of,
    vendor_metadata_of,
)
from spatius_avatar_python.messages.dump import Dump
from spatius_avatar_python.session import sdk
from spatius_avatar_python.speech import Limits, Turn
from ten_runtime import AudioFrame, Cmd, StatusCode, TenError, TenErrorCode

from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig, RigEnv

PARAMS = {
    "spatius_api_key": "Zq7mXw4Lp9Vt2Rk8",
    "spatius_app_id": "app",
    "spatius_avatar_id": "avatar",
    "agora_appid": "0123456789abcdef0123456789abcdef",
    "agora_appcert": "e93c07d1b86a4f52d0f7183b5ac96e24",
    "agora_channel": "room",
    "agora_uid": 1001,
}


NOW_S = 1.8e9


def rig_with(params: dict[str, Any] = PARAMS, **properties: Any) -> Rig:
    return Rig({"params": params, **properties})


class FakeAvatar:
    """Notes the calls of the handlers, or raises `error`."""

    state = ""

    def __init__(self, error: Optional[BaseException] = None) -> None:
        self.error = error
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> None:
            self.calls.append((name, *args))
            if self.error is not None:
                raise self.error

        return call

    async def speak(self, *args: Any) -> None:
        self.calls.append(("speak", *args))
        if self.error is not None:
            raise self.error

    async def stop(self, deadline_at: float) -> None:
        self.calls.append(("stop",))
        if self.error is not None:
            raise self.error


@pytest.fixture
def avatar() -> FakeAvatar:
    return FakeAvatar()


async def with_avatar(avatar: Any, clock: Any = None) -> Rig:
    """Return an extension whose handlers call `avatar`."""
    rig = Rig({"params": PARAMS}, clock)
    await rig.extension.on_init(rig.env)
    rig.extension.avatar = avatar
    return rig


# No exception escapes a handler: TEN would end the worker


ERRORS = [RuntimeError("odd"), asyncio.CancelledError(), SystemExit(1)]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_no_exception_escapes_a_handler(error: BaseException):
    """Of any class; it is reported."""
    rig = await with_avatar(FakeAvatar(error))
    await rig.extension.on_start(rig.env)
    await rig.send_frame(audio_frame(bytes(480)))
    await rig.send_data("tts_audio_end", {})
    result = await rig.send_cmd("flush")
    assert result.get_status_code() == StatusCode.ERROR
    assert result.get_property_string("detail")[0]
    await rig.stop()
    await settle()
    assert len(rig.errors) == 3
    lines = [line.text for line in rig.env.lines if line.level == "error"]
    assert [line.partition(" failed")[0] for line in lines] == [
        "on_start",
        "on_stop",
    ]


async def test_error_of_the_stop_shows_no_secret():
    """Nothing takes them out of this one."""
    rig = await with_avatar(FakeAvatar(RuntimeError(PARAMS["spatius_api_key"])))
    await rig.stop()
    assert PARAMS["spatius_api_key"] not in str(rig.env.lines)


async def test_error_of_a_handler_shows_no_secret():
    """Those of the configuration are known."""
    rig = await with_avatar(FakeAvatar(RuntimeError(PARAMS["spatius_api_key"])))
    await rig.extension.on_start(rig.env)
    await rig.send_frame(audio_frame(bytes(480)))
    await settle()
    (error,) = rig.errors
    assert "RuntimeError" in error["message"]
    assert PARAMS["spatius_api_key"] not in f"{rig.errors} {rig.env.lines}"


class BrokenEnv(RigEnv):
    """One whose calls raise `error`."""

    error: BaseException

    async def get_property_to_json(self, path: Optional[str] = None) -> Any:
        raise self.error

    async def return_result(self, result: Any, options: Any = None) -> None:
        raise self.error


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_runtime_that_raises_does_not_end_the_extension(
    error: BaseException,
):
    """Nor does it silence the voice."""
    rig = rig_with({})
    rig.env = BrokenEnv({}, voice_wired=True)
    rig.env.error = error
    await rig.start()
    await rig.extension.on_cmd(rig.env, Cmd.create("flush"))
    await rig.send_frame(audio_frame(bytes(480)))
    await settle()
    assert [error["code"] for error in rig.errors] == [-1012, 1000]
    assert len(rig.env.audio_frames) == 1
    await rig.stop()


class NoPropertiesEnv(RigEnv):
    """One that has no properties to give."""

    async def get_property_to_json(self, path: Optional[str] = None) -> Any:
        return "", TenError.create(TenErrorCode.ErrorCodeGeneric, "no tree")


async def test_properties_that_cannot_be_read():
    """The error says so in the runtime's words."""
    rig = rig_with({})
    rig.env = NoPropertiesEnv({})
    await rig.start()
    await settle()
    (error,) = rig.errors
    assert "the properties cannot be read: no tree" in error["message"]
    assert error["vendor_info"]["code"] == "ValueError"
    assert error["id"] == "0"
    assert error["metadata"]["vendor_metadata"] == {"name": "spatius"}
    assert error["metadata"]["phase"] == "configuration"
    await rig.stop()


async def test_handlers_before_the_init_have_no_effect():
    """TEN calls them in order; nothing depends on it."""
    rig = rig_with()
    await rig.extension.on_start(rig.env)
    await rig.send_frame(audio_frame(bytes(480)))
    await rig.send_data("tts_audio_end", {})
    result = await rig.send_cmd("flush")
    assert result.get_status_code() == StatusCode.OK
    await rig.stop()
    assert rig.env.reports == []
    assert rig.env.lines == []


# Reports


async def test_bad_input_is_reported_ten_times_a_minute():
    """Frames come by the hundred."""
    clock = FakeClock()
    rig = await with_avatar(FakeAvatar(RuntimeError("odd")), clock)
    await rig.extension.on_start(rig.env)
    for _ in range(12):
        await rig.send_frame(audio_frame(bytes(480), 7))
        clock.jump(1.0)
    await settle()
    assert len(rig.errors) == 10
    assert rig.errors[0]["code"] == 1000
    assert " at extension.py:" in rig.errors[0]["message"]
    assert rig.errors[1]["metadata"]["turn_id"] == 7
    clock.jump(48.5)  # the oldest was 60.5 s ago, the next one 59.5 s
    for _ in range(2):
        await rig.send_frame(audio_frame(bytes(480), 7))
    await settle()
    assert len(rig.errors) == 11
    warned = [line for line in rig.env.lines if "cannot be read" in line.text]
    assert [line.level for line in warned] == 11 * ["warn"]


async def test_unknown_names_are_warned_of_once(avatar):
    """Each of them, up to a hundred."""
    rig = await with_avatar(avatar)
    for number in [0, 0, *range(200)]:
        await rig.send_data(f"data_{number}")
    await rig.send_frame(audio_frame(bytes(480), name="other_frame"))
    warned = [line for line in rig.env.lines if line.text.startswith("unknown")]
    assert len(warned) == 100
    assert len({line.text for line in warned}) == 100
    assert rig.env.reports == []
    assert avatar.calls == []


async def test_configuration_is_logged_as_ten_has_it():
    """In one line of its category, ahead of the warnings."""
    rig = rig_with({**PARAMS, "no_such_param": 1})
    await rig.extension.on_init(rig.env)
    summary, warning, using = rig.env.lines
    assert summary.text.startswith('config: {"')
    assert (summary.level, summary.category) == ("info", "key_point")
    assert warning.level == "warn" and "no_such_param" in warning.text
    assert using.text == f"using {sdk.package()}"


async def test_all_problems_of_the_configuration_are_one_error():
    """It names each of them."""
    rig = rig_with({**PARAMS, "agora_uid": -1, "agora_channel": 300 * "x"})
    await rig.start()
    await settle()
    (error,) = rig.errors
    assert error["code"] == -1012
    assert "agora_uid" in error["message"]
    assert "agora_channel" in error["message"]
    assert rig.states == ["failed"]
    await rig.stop()


@pytest.mark.parametrize(
    ("audio_format", "state"), [("pcm_s16le", "asleep"), ("ogg_opus", "failed")]
)
async def test_encoder_is_needed_only_where_it_is_configured(
    audio_format: str, state: str, monkeypatch: pytest.MonkeyPatch
):
    """PCM goes out on a machine that has none."""
    for name in ("opuslib", "opuslib_next"):
        monkeypatch.setitem(sys.modules, name, None)
    params = {**PARAMS, "audio_format": audio_format}
    rig = rig_with(params, auto_connect=False)
    await rig.start()
    await settle()
    assert rig.states == [state]
    await rig.stop()


# Frames and data


async def send_frame_of(rig: Rig, session: str, turn_id: int) -> None:
    frame = audio_frame(bytes(480), turn_id)
    frame.set_property_string("metadata.session_id", session)
    await rig.send_frame(frame)


def turns_of(avatar: FakeAvatar) -> list[Turn]:
    """Return the turns of the frames that have come in."""
    return [call[2] for call in avatar.calls if call[0] == "speak"]


async def test_frames_of_one_turn_name_the_same_object(avatar):
    """Equality is then quick to see; the session of a turn that is known is
    not read again."""
    rig = await with_avatar(avatar)
    for turn_id, session in ((1, "a"), (1, "b"), (2, "a"), (1, "b")):
        await send_frame_of(rig, session, turn_id)
    turns = turns_of(avatar)
    assert turns == [Turn("a", 1), Turn("a", 1), Turn("a", 2), Turn("b", 1)]
    assert turns[0] is turns[1]


@pytest.mark.parametrize("name", ["tts_audio_start", "tts_audio_end"])
async def test_speech_of_another_session_may_follow(avatar, name):
    """With the same `turn_id`: each start and end may be the other's."""
    rig = await with_avatar(avatar)
    await send_frame_of(rig, "a", 1)
    await rig.send_data(name, {"request_id": "r"})
    await send_frame_of(rig, "b", 1)
    assert turns_of(avatar) == [Turn("a", 1), Turn("b", 1)]


@pytest.mark.parametrize("how", ["flush", "reason 2"])
async def test_frames_that_trail_behind_a_flush_keep_their_session(avatar, how):
    """Those of the answer may have the same `turn_id`, and come between."""
    rig = await with_avatar(avatar)
    await send_frame_of(rig, "a", 1)
    if how == "flush":
        await rig.send_cmd("flush")
    else:
        await rig.send_data("tts_audio_end", {"reason": 2})
    sessions = ["a", "b", "a", "b", "b", "a"]
    for session in sessions:
        await send_frame_of(rig, session, 1)
    assert turns_of(avatar)[1:] == [Turn(session, 1) for session in sessions]


async def test_one_flush_cuts_several_turns(avatar):
    """Frames of the earlier one may trail behind it, too."""
    rig = await with_avatar(avatar)
    for turn_id in (1, 2):
        await send_frame_of(rig, "a", turn_id)
    await rig.send_cmd("flush")
    for session in ("a", "b"):
        await send_frame_of(rig, session, 1)
    assert turns_of(avatar)[2:] == [Turn("a", 1), Turn("b", 1)]


async def test_messages_become_calls(avatar):
    """An end is cut for reason 2 of a tts_audio_end alone."""
    rig = await with_avatar(avatar)
    turn = Turn("session", 7)
    of_turn = {"metadata": {"session_id": "session", "turn_id": 7}}
    await rig.send_data("tts_audio_start", {"request_id": "a\nb", **of_turn})
    for reason in (1, 2, 3):
        await rig.send_data("tts_audio_end", {"reason": reason, **of_turn})
    await rig.send_data("finalize", {"reason": 2, "request_id": "c"})
    await rig.send_data("trigger_connect")
    assert avatar.calls == [
        ("speech_starts", turn, "a b"),
        ("speech_ends", turn, False, ""),
        ("speech_ends", turn, True, ""),
        ("speech_ends", turn, False, ""),
        ("speech_ends", None, False, "c"),
        ("connect",),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        {"sample_width": 1},
        {"channels": 2},
        {"sample_rate": 0},
        {"sample_rate": 16000},
        {"name": "other_frame"},
    ],
    ids=str,
)
async def test_frame_of_another_format_is_not_spoken(
    frame: dict[str, Any], avatar
):
    """The next ones are."""
    rig = await with_avatar(avatar)
    await rig.send_frame(audio_frame(bytes(960), **frame))
    assert avatar.calls == []
    await rig.send_frame(audio_frame(bytes(480)))
    assert avatar.calls == [("speak", bytes(480), None, 24000)]


@pytest.mark.parametrize("rate", [8000, 11025, 192000])
async def test_frames_of_any_rate_are_taken_without_a_configuration(rate: int):
    """The voice has that of the frames; stereo it does not take."""
    rig = rig_with({})
    await rig.start()
    avatar: Any = FakeAvatar()
    rig.extension.avatar = avatar
    await rig.send_frame(audio_frame(bytes(480), sample_rate=rate))
    for channels in (2, 2):
        await rig.send_frame(audio_frame(bytes(480), channels=channels))
    for absurd in (0, 1, 192001):
        await rig.send_frame(audio_frame(bytes(480), sample_rate=absurd))
    await settle()
    assert avatar.calls == [("speak", bytes(480), None, rate)]
    stereo, *absurd_ones = rig.errors[1:]
    assert "8000 to 192000 Hz" in stereo["message"]
    assert [" 0 Hz" in e["message"] for e in absurd_ones] == [
        True,
        False,
        False,
    ]
    assert len(absurd_ones) == 3
    await rig.stop()


async def test_a_format_is_refused_anew_after_one_that_was_taken():
    """The TTS was changed for a while."""
    rig = await with_avatar(FakeAvatar())
    await rig.extension.on_start(rig.env)
    for channels in (2, 2, 1, 2):
        await rig.send_frame(audio_frame(bytes(960), channels=channels))
    await settle()
    assert len(rig.errors) == 2


async def test_a_frame_without_fields_is_refused():
    """Not even as the first."""
    rig = await with_avatar(FakeAvatar())
    await rig.extension.on_start(rig.env)
    await rig.send_frame(AudioFrame.create("pcm_frame"))
    await settle()
    [error] = rig.errors
    assert "0 Hz, 0 channels, 0 bit" in error["message"]


class EmptyFrame:
    """A pcm_frame whose buffer is empty."""

    def get_name(self) -> str:
        return "pcm_frame"

    def get_sample_rate(self) -> int:
        return 24000

    def get_bytes_per_sample(self) -> int:
        return 2

    def get_number_of_channels(self) -> int:
        return 1

    def get_buf(self) -> bytearray:
        return bytearray()


async def test_frame_without_audio_is_ignored(avatar):
    """It wakes no avatar that is asleep, and is no error."""
    rig = await with_avatar(avatar)
    await rig.extension.on_start(rig.env)
    calls = len(avatar.calls)
    empty: Any = EmptyFrame()
    await rig.send_frame(empty)
    await rig.send_frame(audio_frame(None))
    await settle()
    assert len(avatar.calls) == calls
    assert rig.errors == []


@pytest.mark.parametrize(
    ("metadata", "turn"),
    [
        ({}, None),
        ({"session_id": "session"}, None),
        ({"turn_id": ""}, None),
        ({"turn_id": 1.5}, None),
        ({"turn_id": 0}, Turn(None, 0)),
        ({"turn_id": "t", "session_id": "session"}, Turn("session", "t")),
        ({"turn_id": -1, "session_id": "session"}, None),
        ({"turn_id": -2}, Turn(None, -2)),
        ({"turn_id": 7, "session_id": ""}, Turn(None, 7)),
        ({"turn_id": 7, "session_id": 1}, Turn(None, 7)),
    ],
    ids=str,
)
async def test_turn_of_a_message(metadata: Any, turn: Optional[Turn], avatar):
    """It has an id, a number or a text; its session may be unknown."""
    rig = await with_avatar(avatar)
    await rig.send_data("finalize", {"metadata": metadata})
    assert avatar.calls == [("speech_ends", turn, False, "")]


# The configuration


CONFIGURED = {
    **PARAMS,
    "max_buffered_speech_s": 30,
    "end_of_speech_timeout_ms": 2500,
    "resume_rewind_ms": 250,
    "resume_within_s": 5,
    "session_expire_minutes": 10,
    "fallback_after_ms": 750,
    "idle_disconnect_s": 90,
}


def test_limits_are_those_of_the_params():
    """In seconds."""
    settings = config.load({"params": CONFIGURED}, NOW_S)
    assert limits_of(settings.params) == Limits(
        max_buffered_s=30,
        end_timeout_s=2.5,
        first_message_ms=0,
        resume_rewind_s=0.25,
        resume_within_s=5,
    )


def test_opus_needs_a_whole_frame_to_begin_with():
    """The encoder sends no message before."""
    params = {**CONFIGURED, "audio_format": "ogg_opus"}
    settings = config.load({"params": params}, NOW_S)
    assert limits_of(settings.params).first_message_ms == sdk.OPUS_FRAME_MS


@pytest.mark.parametrize(
    ("rate", "planned"), [(16000, 16000), ("auto", None)], ids=str
)
def test_plan_is_that_of_the_params(rate: Any, planned: Optional[int]):
    """In seconds; without a given token there is none that expires."""
    params = {**CONFIGURED, "sample_rate": rate}
    tree = {"params": params, "auto_connect": False}
    loaded = config.load(tree, NOW_S)
    assert Plan.of(loaded.params, loaded.auto_connect) == Plan(
        lifetime=lifetime_of(10),
        sample_rate=planned,
        fallback_after_s=0.75,
        idle_disconnect_s=90,
        auto_connect=False,
    )


@pytest.mark.parametrize("region", [{}, {"region": "us-west"}], ids=str)
def test_vendor_metadata_names_the_avatar(region: dict[str, str]):
    """No key, no URL and no empty value."""
    settings = config.load({"params": {**CONFIGURED, **region}}, NOW_S)
    assert vendor_metadata_of(settings.params) == {
        "name": "spatius",
        "avatar_id": "avatar",
        "app_id": "app",
        **region,
    }


def test_end_of_a_given_token_is_known():
    """It cannot be renewed."""
    expires_at_s = int(NOW_S) + 600
    given = token.sign(
        PARAMS["agora_appid"],
        PARAMS["agora_appcert"],
        "room",
        1001,
        expires_at_s,
    )
    settings = config.load({"params": {**PARAMS, "agora_token": given}}, NOW_S)
    plan = Plan.of(settings.params, settings.auto_connect)
    assert plan.lifetime.token_expires_at_s == expires_at_s


async def test_token_that_has_expired_by_the_clock():
    """Of which the extension has its own."""
    clock = FakeClock(epoch=NOW_S)
    given = token.sign(
        PARAMS["agora_appid"],
        PARAMS["agora_appcert"],
        "room",
        1001,
        int(NOW_S) - 60,
    )
    rig = Rig({"params": {**PARAMS, "agora_token": given}}, clock)
    await rig.start()
    await settle()
    (error,) = rig.errors
    assert error["code"] == -1012
    assert "expired 60 s ago" in error["message"]
    await rig.stop()


# Commands


async def test_flush_goes_on_downstream():
    """After the avatar's own."""
    rig = Rig({"params": {}}, flush_wired=True)
    await rig.start()
    await rig.send_cmd("flush")
    await settle()
    assert [cmd.get_name() for cmd in rig.env.cmds] == ["flush"]
    await rig.stop()


async def test_unknown_command_is_answered_with_ok(avatar):
    """As TEN's base classes do; the detail and one log line name it."""
    rig = await with_avatar(avatar)
    for _ in range(2):
        result = await rig.send_cmd("no_such_command")
        assert result.get_status_code() == StatusCode.OK
        assert "no_such_command" in result.get_property_string("detail")[0]
    lines = [line for line in rig.env.lines if "no_such_command" in line.text]
    assert [line.level for line in lines] == ["warn"]
    assert avatar.calls == []
    assert rig.env.reports == []


class UnreadableCmd(Cmd):
    """One whose name cannot be read."""

    def get_name(self) -> str:
        raise ValueError("Msg is invalidated.")


class RefusingEnv(RigEnv):
    """One that takes no results."""

    async def return_result(self, result: Any, options: Any = None) -> None:
        raise RuntimeError("no results")


async def test_command_that_cannot_be_read_is_answered_with_an_error():
    """The error's text is reported."""
    rig = rig_with({})
    await rig.start()
    await rig.extension.on_cmd(rig.env, UnreadableCmd.create("flush"))
    await settle()
    messages = [error["message"] for error in rig.errors[1:]]
    assert len(messages) == 1
    assert "invalidated" in messages[0]
    assert rig.env.last_result.get_status_code() == StatusCode.ERROR
    await rig.stop()


async def test_command_that_cannot_be_answered_does_not_end_the_extension():
    """The failure is reported."""
    rig = rig_with({})
    rig.env = RefusingEnv({})
    await rig.start()
    await rig.send_cmd("flush")
    await settle()
    messages = [error["message"] for error in rig.errors[1:]]
    assert len(messages) == 1
    assert "cannot be answered" in messages[0]
    await rig.stop()


# The stop


class SlowEnv(RigEnv):
    """One that answers no command, and takes its time to send."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self.may_send = asyncio.Event()

    async def send_cmd(self, cmd: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def send_data(self, data: Any, options: Any = None) -> None:
        await self.may_send.wait()
        await super().send_data(data, options)


class SlowAvatar(FakeAvatar):
    """One that needs all the time that it is given."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    async def stop(self, deadline_at: float) -> None:
        await wait_until(self._clock, deadline_at)


async def test_stop_returns_within_4_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rule 7 of the session, though each part of it hangs."""
    monkeypatch.setattr(Dump, "close", lambda *_: None)
    clock = FakeClock()
    properties = {"params": PARAMS, "dump": True, "dump_path": str(tmp_path)}
    rig = Rig(properties, clock)
    rig.env = SlowEnv(properties)
    await rig.extension.on_init(rig.env)
    dump = rig.extension._dump
    rig.extension.avatar = SlowAvatar(clock)  # pyright: ignore
    await rig.extension.on_start(rig.env)
    await rig.send_frame(audio_frame(bytes(480), channels=2))  # an error
    began_at = clock.monotonic()
    await clock.run(rig.stop())
    assert clock.monotonic() - began_at == pytest.approx(4.0)
    monkeypatch.undo()
    rig.env.may_send.set()
    await settle()
    assert dump is not None
    dump.close()


async def test_stop_waits_for_the_last_reports():
    """But for no answer to a flush; it leaves no task behind."""
    rig = Rig({}, FakeClock())
    rig.env = SlowEnv({})
    await rig.start()
    flush = asyncio.ensure_future(
        rig.extension.on_cmd(rig.env, Cmd.create("flush"))
    )
    await settle()
    stopping = asyncio.ensure_future(rig.stop())
    await settle()
    assert not stopping.done()
    rig.env.may_send.set()
    await stopping
    await flush
    assert rig.states == ["failed"]
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# The dump


def dumps() -> list[threading.Thread]:
    """Return the threads that write the dumps."""
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


def audio_in(folder: Path) -> tuple[int, bytes]:
    """Return rate and audio of the only file."""
    (path,) = folder.iterdir()
    with wave.open(str(path)) as wav:
        return wav.getframerate(), wav.readframes(wav.getnframes())


async def test_dump_of_silence_is_a_file_too(tmp_path: Path):
    """A folder that cannot be written to is known at the start."""
    rig = rig_with(dump=True, dump_path=str(tmp_path))
    await rig.extension.on_init(rig.env)
    await rig.stop()
    assert files_in(tmp_path) == 1


async def test_dump_is_complete_after_the_stop(tmp_path: Path):
    """The disk may take its time: this clock stands still."""
    rig = Rig(
        {"params": PARAMS, "dump": True, "dump_path": str(tmp_path)},
        FakeClock(),
    )
    await rig.extension.on_init(rig.env)
    pcm = bytes(range(250)) * 2
    await rig.send_frame(audio_frame(pcm))
    await rig.stop()
    assert audio_in(tmp_path) == (24000, pcm)


async def test_no_audio_is_dumped_after_the_stop(tmp_path: Path):
    """Frames still come, and the file would not be closed."""
    rig = rig_with(
        {**PARAMS, "sample_rate": "auto"}, dump=True, dump_path=str(tmp_path)
    )
    await rig.extension.on_init(rig.env)
    await rig.send_frame(audio_frame(bytes(320), sample_rate=16000))
    await rig.stop()
    await rig.send_frame(audio_frame(bytes(480), sample_rate=24000))
    assert files_in(tmp_path) == 1
