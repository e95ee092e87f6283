"""The messages that an agent's nodes send to the avatar, ready to send."""

import json
from typing import Any

from .. import package

package.use_ten_runtime()

from ten_runtime import AudioFrame, Data  # noqa: E402


def metadata(turn_id: int, session_id: str = "session") -> dict[str, Any]:
    """Return what TEN's nodes say about a message's origin."""
    return {"session_id": session_id, "turn_id": turn_id}


def audio_frame(
    pcm: bytes | None,
    turn_id: int | None = None,
    *,
    sample_rate: int = 24000,
    channels: int = 1,
    sample_width: int = 2,
    name: str = "pcm_frame",
) -> AudioFrame:
    """Return a frame of interleaved PCM; without `pcm` it has no buffer."""
    frame = AudioFrame.create(name)
    frame.set_sample_rate(sample_rate)
    frame.set_bytes_per_sample(sample_width)
    frame.set_number_of_channels(channels)
    if pcm:
        frame.set_samples_per_channel(len(pcm) // sample_width // channels)
        frame.alloc_buf(len(pcm))
        buffer = frame.lock_buf()
        buffer[:] = pcm
        frame.unlock_buf(buffer)
    if turn_id is not None:
        frame.set_property_from_json("metadata", json.dumps(metadata(turn_id)))
    return frame


def tts_data(name: str, turn_id: int | None = None, **values: Any) -> Data:
    """Return what a TTS says about a request, such as a tts_audio_end."""
    payload: dict[str, Any] = {"request_id": f"tts-{turn_id}", **values}
    if turn_id is not None:
        payload["metadata"] = metadata(turn_id)
    data = Data.create(name)
    data.set_property_from_json(None, json.dumps(payload))
    return data
