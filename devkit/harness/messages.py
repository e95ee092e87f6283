"""The messages that an agent's nodes send to the avatar, ready to send."""

import json
from typing import Any

from .. import package

package.use_ten_runtime()

from ten_runtime import AudioFrame, Data  # noqa: E402


def metadata(turn_id: int, session_id: str = "session") -> dict[str, Any]:
    """Return the metadata of TEN's nodes about a message's origin."""
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


def data_with_json(name: str, text: str | None = None) -> Data:
    """Return data with `text`, a JSON object, as all its properties."""
    data = Data.create(name)
    if text is not None:
        data.set_property_from_json(None, text)
    return data


def tts_data(name: str, turn_id: int | None = None, **values: Any) -> Data:
    """Return a TTS's message about a request, such as a tts_audio_end."""
    payload: dict[str, Any] = {"request_id": f"tts-{turn_id}", **values}
    if turn_id is not None:
        payload["metadata"] = metadata(turn_id)
    return data_with_json(name, json.dumps(payload))


_ABOVE_INT64, _MOST_UINT64 = 2**63, 2**64 - 1

HOSTILE_METADATA: dict[str, str | None] = {
    "missing": None,
    "empty": "{}",
    "no object": "[1]",
    "null": "null",
    "JSON in a string": json.dumps(json.dumps(metadata(7))),
    "turn_id missing": '{"session_id": "session"}',
    "turn_id a string": '{"session_id": "session", "turn_id": "7"}',
    "turn_id empty": '{"session_id": "session", "turn_id": ""}',
    "turn_id a float": '{"session_id": "session", "turn_id": 7.5}',
    "turn_id a bool": '{"session_id": "session", "turn_id": true}',
    "turn_id null": '{"session_id": "session", "turn_id": null}',
    "turn_id an object": '{"session_id": "session", "turn_id": {"id": 7}}',
    "turn_id negative": f'{{"turn_id": {-(2**63)}}}',
    "turn_id 2**63": f'{{"session_id": "s", "turn_id": {_ABOVE_INT64}}}',
    "turn_id 2**64": f'{{"session_id": "s", "turn_id": {2**64}}}',
    "session_id a number": '{"session_id": 1, "turn_id": 7}',
    "session_id cut by a NUL": r'{"session_id": "a\u0000b", "turn_id": 7}',
    "unrelated 2**64 - 1": f'{{"turn_id": 7, "unrelated": {_MOST_UINT64}}}',
    "turn_id twice": '{"session_id": "session", "turn_id": 7, "turn_id": 8}',
    "unrelated key twice": '{"turn_id": 7, "x": {"y": 1, "y": 2}}',
}
"""Metadata as another node may send it, as JSON text by its oddity.

`get_property_to_json` ends the whole process on some of them.
"""

HOSTILE_FIELDS: dict[str, str] = {
    "unrelated 2**64 - 1": f'"unrelated": {_MOST_UINT64}',
    "deep 2**63": f'"unrelated": [{{"deep": {_ABOVE_INT64}}}]',
    "unrelated key twice": '"unrelated": 1, "unrelated": 2',
    "request_id twice": '"request_id": "a", "request_id": "b"',
    "request_id a number": '"request_id": 7',
    "reason 2**63": f'"reason": {_ABOVE_INT64}',
    "reason a string": '"reason": "2"',
    "reason a float": '"reason": 2.0',
    "reason null": '"reason": null',
}
"""Members of a data message's root, as JSON text; see HOSTILE_METADATA."""


def hostile_frames(pcm: bytes, **options: Any) -> dict[str, AudioFrame]:
    """Return a frame for each HOSTILE_METADATA; options as `audio_frame`'s."""
    frames = {}
    for what, text in HOSTILE_METADATA.items():
        frames[what] = frame = audio_frame(pcm, **options)
        if text is not None:
            frame.set_property_from_json("metadata", text)
    return frames


def hostile_data(name: str) -> dict[str, Data]:
    """Return data for each HOSTILE_METADATA and each of HOSTILE_FIELDS."""
    texts = {"no properties": None, "no members": "{}"}
    for what, text in HOSTILE_METADATA.items():
        member = "" if text is None else f', "metadata": {text}'
        texts[f"metadata: {what}"] = f'{{"request_id": "tts-7"{member}}}'
    for what, member in HOSTILE_FIELDS.items():
        around = json.dumps(metadata(7))
        texts[what] = f'{{{member}, "metadata": {around}}}'
    return {what: data_with_json(name, text) for what, text in texts.items()}
