"""Agora RTC tokens: signing one, and reading a given one.

The file's name is also a standard library module's. Python that is started in
this folder (``python -m pip``, ``-m pytest``, ``-c "import inspect"``) finds
this file first; the guard below hands it the real one. Hence this module
imports nothing relative and no third-party package when it is loaded.
"""

import sys

if __name__ == "token":
    import os
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    _spec = PathFinder.find_spec("token", [os.path.dirname(os.__file__)])
    if _spec is not None and _spec.loader is not None:
        _module = module_from_spec(_spec)
        # The import system returns the entry that is here when this file is
        # done.
        sys.modules["token"] = _module
        _spec.loader.exec_module(_module)

import base64
import binascii
import re
import struct
import zlib
from typing import NamedTuple, Optional

ROLE_PUBLISHER = 1
"""Agora's role of a participant that may send audio, video and data."""

_JOIN_CHANNEL = 1  # the privilege whose expiry counts as the token's
_PUBLISHER_PRIVILEGES = {
    _JOIN_CHANNEL: "join the channel",
    2: "publish audio",
    3: "publish video",
}
"""The avatar's voice is an audio track, its motion a video track."""

_ANY_CHANNEL = "*"  # of a wildcard token
_ANY_UID = ""  # signed in place of uid 0
_SIGNATURE_BYTES = 32  # of HMAC-SHA256
_MAX_CONTENT_BYTES = 2**16

_RTC = 1
_SERVICE_TEXTS = {_RTC: 2, 2: 1, 3: 2, 4: 0, 5: 1}
"""The number of texts behind a service's privileges, by its type: RTC, RTM,
streaming, FPA and chat."""


class TokenFacts(NamedTuple):
    """The content of an Agora RTC token."""

    version: str
    app_id: str
    expires_at_s: Optional[int]
    """In seconds since the epoch; None: it names none, or cannot be read."""
    is_damaged: bool = False
    """The part behind the App ID cannot be unpacked."""
    channel_crc: Optional[int] = None
    """CRC-32 of the channel's name."""
    uid_crc: Optional[int] = None
    """CRC-32 of the uid in decimal digits, or of no text for any uid."""
    privileges: Optional[dict[int, Optional[int]]] = None
    """When each privilege expires, in seconds since the epoch; None: never."""

    def is_for_channel(self, channel: str) -> bool:
        """Return whether it can have been signed for `channel`."""
        return self.channel_crc in (None, _crc(_ANY_CHANNEL), _crc(channel))

    def is_for_uid(self, uid: int) -> bool:
        """Return whether it can have been signed for `uid`."""
        own = str(uid) if uid else _ANY_UID
        return self.uid_crc in (None, _crc(_ANY_UID), _crc(own))

    def missing_privileges(self, now_s: float) -> list[str]:
        """Return the names of the privileges that a publisher needs and this
        lacks at `now_s`, seconds since the epoch."""
        if self.privileges is None:
            return []
        valid = {
            privilege
            for privilege, expires_at_s in self.privileges.items()
            if expires_at_s is None or expires_at_s > now_s
        }
        return [
            name
            for privilege, name in _PUBLISHER_PRIVILEGES.items()
            if privilege not in valid
        ]


def sign(
    app_id: str, certificate: str, channel: str, uid: int, expires_at_s: int
) -> str:
    """Return a version-006 publisher token that is valid until `expires_at_s`.

    `app_id` and `certificate` have 32 hexadecimal digits, `expires_at_s` is in
    seconds since the epoch; uid 0 signs for any uid. The builder checks none
    of it: settings/params.py does.
    """
    from agora_token_builder import RtcTokenBuilder

    return RtcTokenBuilder.buildTokenWithUid(
        app_id, certificate, channel, uid, ROLE_PUBLISHER, expires_at_s
    )


def read(token: str) -> Optional[TokenFacts]:
    """Return the content of `token`, None if its form is unknown."""
    if re.match("006[0-9a-fA-F]{32}", token):
        return _read_006(token[3:35], token[35:])
    if token.startswith("007"):
        return _read_007(token[3:])
    return None


def _read_006(app_id: str, text: str) -> TokenFacts:
    try:
        content = _Unpacker(base64.b64decode(text, validate=True))
        signature = content.string()
        channel_crc = content.uint32()
        uid_crc = content.uint32()
        message = _Unpacker(content.string())
        message.uint32()  # the salt
        message.uint32()  # the time of its making, and a day
        # A privilege with expiry 0 never expires.
        privileges = {
            privilege: expires_at_s or None
            for privilege, expires_at_s in message.privileges().items()
        }
        content.end()
        message.end()
        if len(signature) != _SIGNATURE_BYTES:
            raise ValueError("the signature is of another length")
    except (binascii.Error, struct.error, ValueError):
        return TokenFacts("006", app_id, None, is_damaged=True)
    return TokenFacts(
        "006",
        app_id,
        privileges.get(_JOIN_CHANNEL),
        channel_crc=channel_crc,
        uid_crc=uid_crc,
        privileges=privileges,
    )


def _read_007(text: str) -> Optional[TokenFacts]:
    """Return the facts of an AccessToken2, None if its App ID is unreadable.

    All that follows "007" is compressed: signature, App ID, time of issue,
    lifetime, salt, and the services that it opens. The privileges of a
    service expire so many seconds after the issue, 0 with the token.
    """
    try:
        content = _Unpacker(
            _decompressed(base64.b64decode(text, validate=True))
        )
        signature = content.string()
        app_id = content.string().decode("ascii")
        issued_at_s = content.uint32()
        lifetime_s = content.uint32()
    except (binascii.Error, struct.error, ValueError, zlib.error):
        return None
    facts = TokenFacts("007", app_id, issued_at_s + lifetime_s)
    try:
        if len(signature) != _SIGNATURE_BYTES:
            raise ValueError("the signature is of another length")
        content.uint32()  # the salt
        found = _rtc_service(content)
    except (struct.error, ValueError):
        return facts._replace(expires_at_s=None, is_damaged=True)
    if found is None:
        return facts
    lifetimes_s, channel, uid = found
    privileges: dict[int, Optional[int]] = {
        privilege: issued_at_s + min(own_s or lifetime_s, lifetime_s)
        for privilege, own_s in lifetimes_s.items()
    }
    return facts._replace(
        expires_at_s=privileges.get(_JOIN_CHANNEL) or facts.expires_at_s,
        channel_crc=zlib.crc32(channel) if privileges else None,
        uid_crc=zlib.crc32(uid),
        privileges=privileges,
    )


def _rtc_service(
    content: "_Unpacker",
) -> Optional[tuple[dict[int, int], bytes, bytes]]:
    """Return privileges, channel and uid of the service RTC.

    Without one they are empty; None if a service of an unknown type hides
    whether there is one.
    """
    found: tuple[dict[int, int], bytes, bytes] = ({}, b"", b"")
    for _ in range(content.uint16()):
        service = content.uint16()
        privileges = content.privileges()
        if service not in _SERVICE_TEXTS:
            return found if found[0] else None
        texts = [content.string() for _ in range(_SERVICE_TEXTS[service])]
        if service == _RTC:
            found = (privileges, texts[0], texts[1])
    content.end()
    return found


def _decompressed(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, _MAX_CONTENT_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("there is less or more than was compressed")
    return content


def _crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


class _Unpacker:
    """Reads Agora's little-endian packing from a buffer, front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def uint16(self) -> int:
        return self._number("<H")

    def uint32(self) -> int:
        return self._number("<I")

    def string(self) -> bytes:
        length = self.uint16()
        start = self._position
        self._position += length
        if self._position > len(self._data):
            raise ValueError("the string is longer than the buffer")
        return self._data[start : self._position]

    def privileges(self) -> dict[int, int]:
        """Return each privilege's number with its expiry."""
        return {self.uint16(): self.uint32() for _ in range(self.uint16())}

    def end(self) -> None:
        if self._position != len(self._data):
            raise ValueError("there is more than was packed")

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._position)
        self._position += struct.calcsize(form)
        return value
