"""The wire of the Spatius service: the SDK's own protobuf messages.

The one module here that imports a Spatius SDK. `avatarkit` and `spatius`
register the same `message.proto`, so a process can hold only one of them: the
one that is already imported. `spatialreal` has a file of its own with the same
numbers and can stand beside either. Otherwise the environment variable
SPATIUS_SDK decides, else the first installed one, in the order of `SDK_NAMES`.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Collection
from typing import Any

from google.protobuf.message import DecodeError

__all__ = [
    "AGORA",
    "AUDIO",
    "CONFIGURE",
    "INTERRUPT",
    "DecodeError",
    "animation",
    "audio_format",
    "confirm",
    "knows_playback_state",
    "parse",
    "playback_state",
    "sdk",
    "sdk_name",
    "server_error",
]

SDK_NAMES = ("spatius", "avatarkit", "spatialreal")


def _pick_sdk() -> str:
    """Name the SDK package this process uses.

    Raises ValueError when SPATIUS_SDK names none of them.
    """
    asked = os.environ.get("SPATIUS_SDK", "")
    if asked and asked not in SDK_NAMES:
        raise ValueError(
            f"SPATIUS_SDK must be one of {SDK_NAMES}, not {asked!r}"
        )
    if asked == "spatialreal":
        return asked
    for name in SDK_NAMES:
        if name in sys.modules:
            return name
    if asked:
        return asked
    for name in SDK_NAMES:
        if importlib.util.find_spec(name) is not None:
            return name
    return SDK_NAMES[0]


# The package's name, one of `SDK_NAMES`.
sdk_name: str = _pick_sdk()
# The package itself, for those who drive a real client against the service.
sdk: Any = importlib.import_module(sdk_name)

_pb: Any = importlib.import_module(f"{sdk_name}.proto.generated.message_pb2")

# Values of Message.type that a client sends.
CONFIGURE: int = _pb.MESSAGE_CLIENT_CONFIGURE_SESSION
AUDIO: int = _pb.MESSAGE_CLIENT_AUDIO_INPUT
INTERRUPT: int = _pb.MESSAGE_CLIENT_INTERRUPT
# Value of ClientConfigureSession.egress_type.
AGORA: int = _pb.EGRESS_TYPE_AGORA

# Whether this SDK's protocol knows ServerPlaybackState and capabilities.
knows_playback_state: bool = hasattr(_pb, "ServerPlaybackState")

_AUDIO_FORMATS = {
    _pb.AUDIO_FORMAT_PCM_S16LE: "pcm_s16le",
    _pb.AUDIO_FORMAT_OGG_OPUS: "ogg_opus",
}


def parse(data: bytes) -> Any:
    """Read a `Message`. Raises DecodeError."""
    message = _pb.Message()
    message.ParseFromString(data)
    return message


def audio_format(value: int) -> str:
    """Name an audio format the way the SDK's AudioFormat does."""
    return _AUDIO_FORMATS.get(value, f"unknown ({value})")


def confirm(connection_id: str, capabilities: Collection[str] = ()) -> bytes:
    """Make a server_confirm_session.

    Capabilities are left out if the SDK's protocol has no field for them.
    """
    message = _pb.Message(type=_pb.MESSAGE_SERVER_CONFIRM_SESSION)
    message.server_confirm_session.connection_id = connection_id
    if knows_playback_state:
        message.server_confirm_session.capabilities.extend(capabilities)
    return message.SerializeToString()


def server_error(
    code: int, text: str, *, connection_id: str = "", req_id: str = ""
) -> bytes:
    """Make a server_error."""
    message = _pb.Message(type=_pb.MESSAGE_SERVER_ERROR)
    error = message.server_error
    error.code = code
    error.message = text
    error.connection_id = connection_id
    error.req_id = req_id
    return message.SerializeToString()


def animation(connection_id: str, req_id: str, *, end: bool) -> bytes:
    """Make a server_response_animation."""
    message = _pb.Message(type=_pb.MESSAGE_SERVER_RESPONSE_ANIMATION)
    body = message.server_response_animation
    body.connection_id = connection_id
    body.req_id = req_id
    body.end = end
    return message.SerializeToString()


def playback_state(
    connection_id: str, req_id: str, state: str, played_ms: int, reason: str
) -> bytes:
    """Make a server_playback_state; `state` as the SDK's PlaybackState.

    Only if `knows_playback_state`.
    """
    message = _pb.Message(type=_pb.MESSAGE_SERVER_PLAYBACK_STATE)
    body = message.server_playback_state
    body.connection_id = connection_id
    body.req_id = req_id
    body.state = _pb.ServerPlaybackState.State.Value(state.upper())
    body.played_ms = played_ms
    body.reason = reason
    return message.SerializeToString()
