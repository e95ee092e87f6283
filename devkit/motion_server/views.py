"""The record as text, as JSON and as a WAV file."""

import os
import wave
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from .model import Connection, Event

# How many lines the text of a timeline shows at most.
_MAX_LINES = 200


def event_line(event: Event, started_s: float = 0.0) -> str:
    """One event as a line of text, its time counted from `started_s`."""
    parts = [f"{event.time_s - started_s:9.3f} s", f"{event.kind:<10}"]
    if event.connection is not None:
        parts.append(f"connection {event.connection}")
    if event.req_id:
        parts.append(event.req_id)
    if event.kind == "audio":
        parts.append(f"{event.audio_bytes} bytes")
    if event.detail:
        parts.append(event.detail)
    return "  ".join(parts)


def timeline_text(events: Sequence[Event], started_s: float) -> str:
    """The events, one line each; runs of audio in one line."""
    lines = list(_lines(events, started_s))
    left_out = len(lines) - _MAX_LINES
    if left_out > 0:
        lines = [f"({left_out} earlier lines)", *lines[left_out:]]
    return "\n".join(lines)


def _lines(events: Sequence[Event], started_s: float) -> Iterator[str]:
    at = 0
    while at < len(events):
        first = events[at]
        run = at
        while (
            run < len(events)
            and events[run].kind == first.kind == "audio"
            and events[run].connection == first.connection
            and events[run].req_id == first.req_id
        ):
            run += 1
        if run - at < 2:
            yield event_line(first, started_s)
            at += 1
            continue
        total = sum(event.audio_bytes for event in events[at:run])
        yield (
            f"{event_line(first, started_s)}  and {run - at - 1} more until "
            f"{events[run - 1].time_s - started_s:.3f} s, {total} bytes in all"
        )
        at = run


def connection_json(connection: Connection) -> dict[str, Any]:
    """A connection as JSON values, without audio and without secrets."""
    config = connection.config
    return {
        **_shown(connection),
        "config": None if config is None else _shown(config),
        "requests": [
            {**_shown(request), "sha256": request.sha256}
            for request in connection.requests
        ],
        "interrupts": [vars(i) for i in connection.interrupts],
    }


def _shown(one: Any) -> dict[str, Any]:
    """The fields that a dataclass shows in its repr."""
    return {
        field.name: getattr(one, field.name)
        for field in fields(one)
        if field.repr
    }


def pcm_rate(connections: Iterable[Connection]) -> int:
    """The one sample rate in Hz of the connections' audio.

    Raises ValueError when the audio is not PCM of one sample rate.
    """
    formats = {
        (one.config.audio_format, one.config.sample_rate)
        for one in connections
        if one.config is not None and one.message_count
    }
    if len(formats) != 1:
        raise ValueError(f"no audio of one format: {sorted(formats)}")
    ((audio_format, sample_rate),) = formats
    if audio_format != "pcm_s16le":
        raise ValueError(f"not PCM: {audio_format}")
    return sample_rate


def write_wav(
    path: str | os.PathLike[str], pcm: bytes, sample_rate: int
) -> None:
    """Save mono 16-bit PCM as a WAV file."""
    with wave.open(os.fspath(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(sample_rate)
        wav.writeframes(pcm)
