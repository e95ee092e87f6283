"""The protocol's rules for a client's audio and interrupts.

Pure functions: each takes the state before a message and the message, and
yields sentences about what the message violates.
"""

from collections.abc import Iterator

from .model import Connection, Request

# More than this in one message is unusual: it makes an interrupt wait.
MAX_MESSAGE_MS = 100
_PCM_BYTES_PER_SAMPLE = 2


def judge_audio(
    connection: Connection,
    request: Request | None,
    audio: bytes,
    end: bool,
) -> Iterator[str]:
    """Yield the rules that an audio message breaks.

    `request` is the state before the message, None for a new id.
    """
    where = f"connection {connection.number}"
    if request is not None and request.ended_at_s is not None:
        yield f"{where}: audio under {request.req_id} after its end"
    elif request is not None and request.interrupted_at_s is not None:
        yield f"{where}: audio under {request.req_id} after its interrupt"
    elif end and not audio and (request is None or not request.audio_bytes):
        yield f"{where}: a request ended without any audio"
    if _is_pcm(connection) and len(audio) % _PCM_BYTES_PER_SAMPLE:
        yield (
            f"{where}: {len(audio)} bytes of PCM are no whole number of samples"
        )


def judge_size(
    connection: Connection, request: Request, audio: bytes
) -> str | None:
    """Return a note on a request's first over-long message."""
    if not _is_pcm(connection) or connection.config is None:
        return None
    bytes_per_s = connection.config.sample_rate * _PCM_BYTES_PER_SAMPLE
    limit = bytes_per_s * MAX_MESSAGE_MS // 1000
    if len(audio) <= limit or request.has_long_message:
        return None
    request.has_long_message = True
    return (
        f"connection {connection.number}: a message of {request.req_id} "
        f"holds {1000 * len(audio) / bytes_per_s:.0f} ms of audio"
    )


def judge_interrupt(
    connection: Connection, request: Request | None
) -> Iterator[str]:
    """Yield the rules that an interrupt breaks; `request` None: an unknown id."""
    if request is None:
        yield (
            f"connection {connection.number}: interrupt of a request that "
            f"was never seen here"
        )


def _is_pcm(connection: Connection) -> bool:
    config = connection.config
    return config is not None and config.audio_format == "pcm_s16le"
