"""The wire of the Spatius service: the SDK's own protobuf messages.

The one module here that imports a Spatius SDK. `avatarkit` and `spatius`
register the same `message.proto`, so a process can hold only one of them:
the one that is already imported, else the one the environment variable
SPATIUS_SDK names, else `spatius` when it is installed, else `avatarkit`.
"""

import importlib
import importlib.util
import os
import sys
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
    "parse",
    "sdk",
    "sdk_name",
    "server_error",
]

SDK_NAMES = ("spatius", "avatarkit")


def _pick_sdk() -> str:
    """Name the SDK package this process uses.

    Raises ValueError when SPATIUS_SDK names neither.
    """
    for name in SDK_NAMES:
        if name in sys.modules:
            return name
    asked = os.environ.get("SPATIUS_SDK", "")
    if asked:
        if asked not in SDK_NAMES:
            raise ValueError(
                f"SPATIUS_SDK must be one of {SDK_NAMES}, not {asked!r}"
            )
        return asked
    if importlib.util.find_spec("spatius") is not None:
        return "spatius"
    return "avatarkit"


# The package's name, "spatius" or "avatarkit".
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


def confirm(connection_id: str) -> bytes:
    """Make a server_confirm_session."""
    message = _pb.Message(type=_pb.MESSAGE_SERVER_CONFIRM_SESSION)
    message.server_confirm_session.connection_id = connection_id
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
