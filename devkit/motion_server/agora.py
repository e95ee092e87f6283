"""Agora RTC tokens, read and checked the way Agora's servers do.

Layout of AccessToken version 006, from Agora's reference code (all integers
little-endian, strings with a 16-bit length in front):

    "006" + App ID (32 characters) + base64(
        string signature, uint32 crc32(channel), uint32 crc32(uid),
        string message = (uint32 salt, uint32 ts,
                          uint16 count, count * (uint16 key, uint32 end)))

    signature = HMAC-SHA256(certificate, App ID + channel + uid + message)

A uid is signed as decimal text, uid 0 ("any uid") as the empty string.
"""

import base64
import binascii
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

VERSION = "006"
APP_ID_LENGTH = 32
MAX_CHANNEL_BYTES = 64
CHANNEL_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    " !#$%&()+-:;<=.>?@[]^_{}|~,"
)

JOIN_CHANNEL = 1
PUBLISH_AUDIO = 2
PUBLISH_VIDEO = 3
# Privileges of a publisher: its voice goes out as an audio track,
# its motion as a video track.
NEEDED_PRIVILEGES = {
    JOIN_CHANNEL: "join the channel",
    PUBLISH_AUDIO: "publish audio",
    PUBLISH_VIDEO: "publish video",
}


class AgoraTokenError(ValueError):
    """A token that Agora would not take. The text holds no secret."""


@dataclass(frozen=True)
class AgoraToken:
    """A parsed token of version 006."""

    app_id: str
    signature: bytes = field(repr=False)
    # CRC-32 of the channel's name and of the uid's text.
    channel_crc: int
    uid_crc: int
    # Privilege number -> epoch seconds at which it ends; 0 means never.
    privileges: Mapping[int, int]
    # The signed part behind App ID, channel and uid.
    message: bytes = field(repr=False)

    @property
    def end_s(self) -> float | None:
        """Epoch seconds when the first needed privilege ends, None: never."""
        ends = [
            end
            for privilege, end in self.privileges.items()
            if privilege in NEEDED_PRIVILEGES and end
        ]
        return float(min(ends)) if ends else None


class _TokenReader:
    """Takes integers and strings off the front of a token's bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return value

    def uint16(self) -> int:
        return self._number("<H")

    def uint32(self) -> int:
        return self._number("<I")

    def string(self) -> bytes:
        length = self.uint16()
        value = self._data[self._at : self._at + length]
        if len(value) != length:
            raise struct.error("string runs past the end")
        self._at += length
        return value


def parse_token(text: str) -> AgoraToken:
    """Read a token of version 006. Raises AgoraTokenError."""
    if not text:
        raise AgoraTokenError("token is missing")
    if not text.startswith(VERSION):
        raise AgoraTokenError("token is not of version 006")
    app_id = text[len(VERSION) : len(VERSION) + APP_ID_LENGTH]
    try:
        content = base64.b64decode(
            text[len(VERSION) + APP_ID_LENGTH :], validate=True
        )
        outer = _TokenReader(content)
        signature = outer.string()
        channel_crc = outer.uint32()
        uid_crc = outer.uint32()
        message = outer.string()
        inner = _TokenReader(message)
        inner.uint32()  # salt
        inner.uint32()  # ts: signed along, but no end of anything
        privileges = {
            inner.uint16(): inner.uint32() for _ in range(inner.uint16())
        }
    except (binascii.Error, struct.error, ValueError):
        # The cause would quote parts of the token.
        raise AgoraTokenError("token is damaged") from None
    return AgoraToken(
        app_id, signature, channel_crc, uid_crc, privileges, message
    )


def check_channel(channel: str) -> None:
    """Raise AgoraTokenError for a name that Agora does not allow."""
    if not channel:
        raise AgoraTokenError("channel name is empty")
    if len(channel.encode()) > MAX_CHANNEL_BYTES:
        raise AgoraTokenError("channel name is longer than 64 bytes")
    if not CHANNEL_CHARACTERS.issuperset(channel):
        raise AgoraTokenError("channel name has characters not allowed")


def check_token(
    token: AgoraToken,
    *,
    channel: str,
    uid: int,
    now_s: float,
    certificate: str | None = None,
) -> None:
    """Raise AgoraTokenError unless the token lets `uid` publish now.

    `certificate` is the App Certificate of the token's App ID; without it
    everything but the signature is checked.
    """
    if token.channel_crc != crc32(channel.encode()):
        raise AgoraTokenError("token is for another channel")
    uid_text = str(uid) if uid else ""
    if token.uid_crc == crc32(b""):
        uid_text = ""  # signed for any uid
    elif token.uid_crc != crc32(uid_text.encode()):
        raise AgoraTokenError("token is for another uid")
    if certificate is not None:
        signed = f"{token.app_id}{channel}{uid_text}".encode() + token.message
        good = hmac.digest(certificate.encode(), signed, "sha256")
        if not hmac.compare_digest(good, token.signature):
            raise AgoraTokenError("token has a wrong signature")
    for privilege, name in NEEDED_PRIVILEGES.items():
        end_s = token.privileges.get(privilege)
        if end_s is None:
            raise AgoraTokenError(f"token does not allow to {name}")
        if end_s and end_s <= now_s:
            raise AgoraTokenError(f"token has expired: may not {name}")
