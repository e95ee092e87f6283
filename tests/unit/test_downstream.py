"""Messages to the RTC extension: the voice, and flushes."""

import asyncio
import json
from typing import Any, Optional

import pytest
from fakes import count_of_tasks, settle
from spatius_avatar_python.messages.downstream import Downstream
from spatius_avatar_python.speech import Turn
from ten_runtime import AudioFrame, TenError, TenErrorCode

PCM = bytes(range(100)) * 4
TURN = Turn("session", 7)


def not_connected() -> TenError:
    return TenError.create(
        TenErrorCode.ErrorCodeMsgNotConnected, "not connected"
    )


def failed() -> TenError:
    return TenError.create(TenErrorCode.ErrorCodeGeneric, "failed")


class Env:
    """The part of an AsyncTenEnv that `Downstream` needs."""

    def __init__(self, is_connected: bool = True) -> None:
        self.is_connected = is_connected
        self.frames: list[AudioFrame] = []
        self.options: list[Any] = []
        self.cmds: list[str] = []
        self.flush_error: Optional[TenError] = None
        self.may_answer = asyncio.Event()

    async def send_audio_frame(
        self, frame: AudioFrame, options: Any = None
    ) -> Optional[TenError]:
        self.options.append(options)
        if self.is_connected:
            self.frames.append(frame)
            return None
        return not_connected()

    async def send_cmd(self, cmd: Any) -> tuple[Any, Optional[TenError]]:
        self.cmds.append(cmd.get_name())
        await self.may_answer.wait()
        return None, self.flush_error


def make(env: Any) -> Downstream:
    return Downstream(env)


@pytest.fixture
def env() -> Env:
    return Env()


@pytest.fixture
def voice(env: Env) -> Downstream:
    return make(env)


async def test_frame_is_signed_16_bit_mono_of_its_rate(env):
    """With the audio as it came."""
    assert await make(env).say(PCM, 16000, None)
    [frame] = env.frames
    assert frame.get_name() == "pcm_frame"
    assert frame.get_sample_rate() == 16000
    assert frame.get_bytes_per_sample() == 2
    assert frame.get_number_of_channels() == 1
    assert frame.get_samples_per_channel() == len(PCM) // 2
    assert bytes(frame.get_buf()) == PCM


@pytest.mark.parametrize(
    ("turn", "metadata"),
    [
        (Turn("session", 7), {"turn_id": 7, "session_id": "session"}),
        (Turn("session", "t-7"), {"turn_id": "t-7", "session_id": "session"}),
        (Turn(None, 7), {"turn_id": 7}),
        (None, None),
    ],
)
async def test_frame_names_its_turn(turn, metadata, env):
    """As the frame that came in did: a number as one, a text as one."""
    await make(env).say(PCM, 16000, turn)
    [frame] = env.frames
    text, _ = frame.get_property_to_json("metadata")
    assert (json.loads(text) if text else None) == metadata


async def test_first_frame_waits_for_its_result(env, voice):
    """It says whether anything is connected; later ones need no answer."""
    await voice.say(PCM, 16000, TURN)
    await voice.say(PCM, 16000, TURN)
    first, second = env.options
    assert first.wait_for_result
    assert second is None


async def test_voice_that_is_not_connected_says_so():
    """Each time, until it is connected."""
    env = Env(is_connected=False)
    voice = make(env)
    assert not await voice.say(PCM, 16000, TURN)
    assert not await voice.say(PCM, 16000, TURN)
    env.is_connected = True
    assert await voice.say(PCM, 16000, TURN)


async def test_flush_is_passed_on(env, voice):
    """Without waiting for its answer."""
    voice.flush()
    await settle()
    assert env.cmds == ["flush"]
    env.may_answer.set()
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("is_connected", [True, False])
async def test_flush_is_passed_on_once_without_a_receiver(is_connected, env):
    """TEN logs a warning each time; any other error may pass."""
    env.may_answer.set()
    env.flush_error = not_connected() if not is_connected else failed()
    voice = make(env)
    for _ in range(3):
        voice.flush()
        await settle()
    assert len(env.cmds) == (3 if is_connected else 1)


async def test_flushes_that_were_answered_are_forgotten(env, voice):
    """A barge-in may come with each word of the user."""
    before = count_of_tasks()
    for _ in range(10):
        env.may_answer.clear()
        voice.flush()
        env.may_answer.set()
        await settle()
    assert len(env.cmds) == 10
    assert count_of_tasks() == before


async def test_close_waits_for_no_answer(env, voice):
    """A flush that is never answered leaves no task behind."""
    voice.flush()
    voice.flush()
    await settle()
    voice.close()
    await settle()
    assert env.cmds == ["flush", "flush"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_flush_is_passed_on_after_close(env, voice):
    """Messages still come during a stop; the wait would not end."""
    voice.close()
    voice.flush()
    await settle()
    assert env.cmds == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


class RaisingEnv(Env):
    async def send_cmd(self, cmd: Any) -> tuple[Any, Optional[TenError]]:
        raise RuntimeError("the command cannot be sent")


async def test_flush_that_cannot_be_sent_raises_nothing():
    """The handler of the incoming flush has its own answer to give."""
    make(RaisingEnv()).flush()
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
