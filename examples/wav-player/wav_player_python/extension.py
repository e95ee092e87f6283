"""Plays one WAV file, once, with the messages of a TTS.

A `flush` first, as an agent sends it when the user begins to speak; then
tts_audio_start, the audio at real time, tts_audio_end.
"""

import asyncio
import json
import wave
from typing import Any, NamedTuple, Optional

from ten_runtime import (
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    AudioFrameDataFmt,
    Cmd,
    Data,
)

REQUEST_ID = "wav-1"
METADATA = {"session_id": "wav", "turn_id": 1}
REASON_FINISHED = 1


class Speech(NamedTuple):
    """The content of a WAV: signed 16-bit mono samples."""

    pcm: bytes
    sample_rate: int

    @property
    def duration_ms(self) -> int:
        return len(self.pcm) * 1000 // (2 * self.sample_rate)


class WavPlayerExtension(AsyncExtension):
    """One node of a graph; `file` is relative to the app's folder."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._playing: Optional[asyncio.Task[None]] = None

    async def on_start(self, ten_env: AsyncTenEnv) -> None:
        # The graph starts when every on_start is done: play beside it.
        self._playing = asyncio.create_task(self._play(ten_env))
        self._playing.add_done_callback(lambda task: _log_end(ten_env, task))

    async def on_stop(self, ten_env: AsyncTenEnv) -> None:
        if self._playing is not None:
            self._playing.cancel()

    async def _play(self, ten_env: AsyncTenEnv) -> None:
        file, _ = await ten_env.get_property_string("file")
        frame_ms, error = await ten_env.get_property_int("frame_ms")
        if error is not None or frame_ms < 1:
            ten_env.log_error("frame_ms: expected a number of ms from 1 on")
            return
        try:
            speech = await asyncio.to_thread(_read, file)
        except OSError as problem:
            ten_env.log_error(
                f"file {file!r} cannot be played: {problem.strerror}"
            )
            return
        except (EOFError, ValueError, wave.Error) as problem:
            ten_env.log_error(
                f"file {file!r} cannot be played: not a PCM WAV of 16 bit "
                f"({str(problem) or 'it ends early'})"
            )
            return
        await ten_env.send_cmd(Cmd.create("flush"))
        await _send_data(ten_env, "tts_audio_start", {})
        await _send_audio(ten_env, speech, frame_ms)
        await _send_data(
            ten_env,
            "tts_audio_end",
            {
                "request_event_interval_ms": speech.duration_ms,
                "request_total_audio_duration_ms": speech.duration_ms,
                "reason": REASON_FINISHED,
            },
        )


def _log_end(ten_env: AsyncTenEnv, task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        ten_env.log_error(f"playing has failed: {task.exception()!r}")


def _read(file: str) -> Speech:
    with wave.open(file, "rb") as wav:
        if (wav.getsampwidth(), wav.getnchannels()) != (2, 1):
            raise ValueError("expected 16 bit, 1 channel")
        return Speech(wav.readframes(wav.getnframes()), wav.getframerate())


async def _send_audio(
    ten_env: AsyncTenEnv, speech: Speech, frame_ms: int
) -> None:
    loop = asyncio.get_running_loop()
    size = 2 * (speech.sample_rate * frame_ms // 1000)
    due_s = loop.time()
    for at in range(0, len(speech.pcm), size):
        piece = speech.pcm[at : at + size]
        await ten_env.send_audio_frame(_frame(piece, speech.sample_rate))
        due_s += frame_ms / 1000
        await asyncio.sleep(due_s - loop.time())


def _frame(pcm: bytes, sample_rate: int) -> AudioFrame:
    frame = AudioFrame.create("pcm_frame")
    frame.set_sample_rate(sample_rate)
    frame.set_bytes_per_sample(2)
    frame.set_number_of_channels(1)
    frame.set_samples_per_channel(len(pcm) // 2)
    frame.set_data_fmt(AudioFrameDataFmt.INTERLEAVE)
    frame.alloc_buf(len(pcm))
    buffer = frame.lock_buf()
    buffer[:] = pcm
    frame.unlock_buf(buffer)
    frame.set_property_from_json("metadata", json.dumps(METADATA))
    return frame


async def _send_data(
    ten_env: AsyncTenEnv, name: str, values: dict[str, Any]
) -> None:
    data = Data.create(name)
    payload = {"request_id": REQUEST_ID, "metadata": METADATA, **values}
    data.set_property_from_json(None, json.dumps(payload))
    await ten_env.send_data(data)
