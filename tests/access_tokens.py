"""Agora tokens of version 007 (AccessToken2), laid out as Agora's own."""

import base64
import hmac
import struct
import zlib
from collections.abc import Mapping

APP_ID = "970CA35de60c44645bbae8a215061b33"
CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
CHANNEL = "7d72365eb983485397e3e3f9d460bdda"
UID = 2882341273

JOIN = 1


def packed(data: bytes) -> bytes:
    """Return Agora's packing of a string."""
    return struct.pack("<H", len(data)) + data


def rtc_service(
    privileges: Mapping[int, int], channel: str = CHANNEL, uid: str = str(UID)
) -> bytes:
    """Return the part of a version-007 token that opens a channel."""
    return service(1, privileges, channel, uid)


def service(type_: int, privileges: Mapping[int, int], *texts: str) -> bytes:
    """Return a service of a version-007 token."""
    pairs = [
        struct.pack("<HI", privilege, lifetime_s)
        for privilege, lifetime_s in privileges.items()
    ]
    return (
        struct.pack("<HH", type_, len(pairs))
        + b"".join(pairs)
        + b"".join(packed(text.encode()) for text in texts)
    )


def built_007(
    issued_at_s: int, lifetime_s: int, *services: bytes, app_id: str = APP_ID
) -> str:
    """Return a version-007 token; without services UID may join CHANNEL."""
    services = services or (rtc_service({JOIN: lifetime_s}),)
    salt = 1
    message = (
        packed(app_id.encode())
        + struct.pack("<IIIH", issued_at_s, lifetime_s, salt, len(services))
        + b"".join(services)
    )
    key = hmac.digest(
        struct.pack("<I", issued_at_s), CERTIFICATE.encode(), "sha256"
    )
    key = hmac.digest(struct.pack("<I", salt), key, "sha256")
    signature = hmac.digest(key, message, "sha256")
    content = zlib.compress(packed(signature) + message)
    return "007" + base64.b64encode(content).decode()
