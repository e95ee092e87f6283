"""The rules for a client's configuration and messages.

All functions are pure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import wire
from .agora import AgoraTokenError, check_channel, check_token, parse_token
from .model import Connection, Request, SessionConfig

# Hz; the list of the real service.
SAMPLE_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)


class ConfigError(ValueError):
    """A session configuration that the service does not take."""


@dataclass(frozen=True)
class Rules:
    """The known customers of the service. None: all are accepted."""

    app_ids: Collection[str] | None = None
    avatar_ids: Collection[str] | None = None
    # Agora App ID -> App Certificate. Empty: tokens of other versions than
    # 006 are taken unread.
    certificates: Mapping[str, str] | None = None
    # Hz.
    sample_rates: Collection[int] = SAMPLE_RATES

    def __repr__(self) -> str:
        return f"<Rules certificates={len(self.certificates or {})}>"


def read_config(message: Any, rules: Rules, now_s: float) -> SessionConfig:
    """Check client_configure_session. Raises ConfigError.

    `now_s` is epoch seconds. The texts of the errors are worded so that the
    SDK classifies them like those of the real service.
    """
    body = message.client_configure_session
    if body.HasField("livekit_egress"):
        raise ConfigError("livekit_egress: only agora is served here")
    if not body.HasField("agora_egress") or body.egress_type != wire.AGORA:
        raise ConfigError("agora_egress: is missing")
    if body.sample_rate not in rules.sample_rates:
        raise ConfigError(f"unsupported sample rate {body.sample_rate}")
    egress = body.agora_egress
    certificates = rules.certificates or {}
    app_id = ""
    end_s = None
    try:
        check_channel(egress.channel_name)
        if egress.token.startswith("006") or certificates or not egress.token:
            token = parse_token(egress.token)
            check_token(
                token,
                channel=egress.channel_name,
                uid=egress.uid,
                now_s=now_s,
                certificate=certificates.get(token.app_id),
            )
            app_id, end_s = token.app_id, token.end_s
    except AgoraTokenError as exc:
        raise ConfigError(f"agora_egress: {exc}") from exc
    return SessionConfig(
        sample_rate=body.sample_rate,
        audio_format=wire.audio_format(body.audio_format),
        bitrate=body.bitrate,
        channel=egress.channel_name,
        uid=egress.uid,
        publisher_id=egress.publisher_id,
        agora_token=egress.token,
        agora_app_id=app_id,
        agora_token_end_s=end_s,
        extra_params=dict(getattr(body, "extra_params", {})),
    )


# Messages.


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
    """Yield the rules that an interrupt breaks.

    `request` is None for an unknown id.
    """
    if request is None:
        yield (
            f"connection {connection.number}: interrupt of a request that "
            f"was never seen here"
        )


def _is_pcm(connection: Connection) -> bool:
    config = connection.config
    return config is not None and config.audio_format == "pcm_s16le"
