"""Agora tokens: signed as Agora's servers check them, and read."""

import base64
import hmac
import itertools
import struct
import zlib

import pytest
from agora_token_builder.AccessToken import AccessToken
from hypothesis import given
from hypothesis import strategies as st
from spatius_avatar_python import token

APP_ID = "970CA35de60c44645bbae8a215061b33"
CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
CHANNEL = "7d72365eb983485397e3e3f9d460bdda"
UID = 2882341273
ENDS_AT_S = 1_900_000_000

JOIN = 1
# Agora's own vectors: salt 1, issued at 1111111, only the right to join.
VECTOR_006 = (
    "006970CA35de60c44645bbae8a215061b33IACV0fZUBw+72cVoL9eyGGh3Q6Poi8bgjwVL"
    "nyKSJyOXR7dIfRBXoFHlEAABAAAAR/QQAAEAAQCvKDdW"
)
VECTOR_006_ENDS_AT_S = 1446455471
VECTOR_007 = (
    "007eJxTYBBbsMMnKq7p9Hf/HcIX5kce9b518kCiQgSr5Zrp4X1Tu6UUGCzNDZwdjU1TUs0M"
    "kk1MzExMk5ISUy0SjQxNDcwMk4yN3b8IMEQwMTAwMoAwBIL4CgzmKeZGxmamqUmWFsYmFqbG"
    "luapxqnGaZYpJmYGSSkpiVwMRhYWRsYmhkbmxgDCaiTj"
)


def packed(data: bytes) -> bytes:
    """Return Agora's packing of a string."""
    return struct.pack("<H", len(data)) + data


def unpacked_006(text: str) -> tuple[bytes, int, int, bytes]:
    """Return signature, channel's and uid's checksum, and the message."""
    content = base64.b64decode(text[3 + 32 :], validate=True)
    (length,) = struct.unpack_from("<H", content)
    signature = content[2 : 2 + length]
    channel_crc, uid_crc, size = struct.unpack_from("<IIH", content, 2 + length)
    message = content[2 + length + 10 :]
    assert len(message) == size
    return signature, channel_crc, uid_crc, message


def privileges_of(message: bytes) -> dict[int, int]:
    """Return the privileges in a version-006 token, each with its end."""
    (count,) = struct.unpack_from("<H", message, 8)
    assert len(message) == 10 + 6 * count
    pairs = struct.iter_unpack("<HI", message[10:])
    return dict(itertools.islice(pairs, count))


def built_006(privileges: dict[int, int], ts: int = 1111111) -> str:
    """Return a token as Agora's own builder makes it."""
    builder = AccessToken(APP_ID, CERTIFICATE, CHANNEL, str(UID))
    builder.salt = 1
    builder.ts = ts
    for privilege, expires_at_s in privileges.items():
        builder.addPrivilege(privilege, expires_at_s)
    return builder.build()


def built_007(issued_at_s: int, lifetime_s: int) -> str:
    """Return a version-007 token that lets UID join CHANNEL."""
    service = (
        struct.pack("<HHHI", 1, 1, JOIN, lifetime_s)
        + packed(CHANNEL.encode())
        + packed(str(UID).encode())
    )
    salt = 1
    message = (
        packed(APP_ID.encode())
        + struct.pack("<IIIH", issued_at_s, lifetime_s, salt, 1)
        + service
    )
    key = hmac.digest(
        struct.pack("<I", issued_at_s), CERTIFICATE.encode(), "sha256"
    )
    key = hmac.digest(struct.pack("<I", salt), key, "sha256")
    signature = hmac.digest(key, message, "sha256")
    content = zlib.compress(packed(signature) + message)
    return "007" + base64.b64encode(content).decode()


def facts_006(
    expires_at_s: "int | None",
    app_id: str = APP_ID,
    channel: str = CHANNEL,
    uid: str = str(UID),
) -> token.TokenFacts:
    """Return what a sound version-006 token says of itself."""
    return token.TokenFacts(
        "006",
        app_id,
        expires_at_s,
        channel_crc=zlib.crc32(channel.encode()),
        uid_crc=zlib.crc32(uid.encode()),
    )


def test_builder_makes_agoras_vector():
    """The builder that signs gives Agora's own token, byte for byte."""
    assert built_006({JOIN: VECTOR_006_ENDS_AT_S}) == VECTOR_006


def test_reads_agoras_vector():
    """What Agora's own version-006 token says of itself is read."""
    assert token.read(VECTOR_006) == facts_006(VECTOR_006_ENDS_AT_S)


def test_reads_agoras_vector_of_version_007():
    """What Agora's own version-007 token says of itself is read."""
    assert token.read(VECTOR_007) == token.TokenFacts(
        "007", APP_ID, 1111111 + 600
    )


def test_layout_of_version_007_is_agoras():
    """The tokens that these tests build are laid out as Agora's."""

    def content(text: str) -> bytes:
        return zlib.decompress(base64.b64decode(text[3:]))

    assert content(built_007(1111111, 600)) == content(VECTOR_007)


def test_end_of_version_007_counts_from_its_issue():
    """A version-007 token holds a lifetime, which is read as an end."""
    facts = token.read(built_007(1_800_000_000, 3600))
    assert facts == token.TokenFacts("007", APP_ID, 1_800_003_600)


def test_signs_what_it_reads():
    """A token that is signed here says what it was signed for."""
    text = token.sign(APP_ID, CERTIFICATE, CHANNEL, UID, ENDS_AT_S)
    assert token.read(text) == facts_006(ENDS_AT_S)


@given(
    app_id=st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    expires_at_s=st.integers(1, 2**32 - 1),
    uid=st.integers(0, 2**32 - 1),
    channel=st.text("abcXYZ019 !#$~,", min_size=1, max_size=64),
)
def test_reads_any_end_it_signs(app_id, expires_at_s, uid, channel):
    """Signing and reading agree for whatever may be signed."""
    text = token.sign(app_id, CERTIFICATE, channel, uid, expires_at_s)
    assert token.read(text) == facts_006(
        expires_at_s, app_id, channel, str(uid or "")
    )


@pytest.mark.parametrize(
    ("uid", "signed_uid"),
    [(UID, str(UID)), (2**32 - 1, "4294967295"), (1, "1"), (0, "")],
)
def test_signature_is_of_app_channel_and_uid(uid, signed_uid):
    """The signature holds for exactly this channel and uid; 0 means any."""
    text = token.sign(APP_ID, CERTIFICATE, CHANNEL, uid, ENDS_AT_S)
    signature, channel_crc, uid_crc, message = unpacked_006(text)
    signed = f"{APP_ID}{CHANNEL}{signed_uid}".encode() + message
    assert signature == hmac.digest(CERTIFICATE.encode(), signed, "sha256")
    assert channel_crc == zlib.crc32(CHANNEL.encode())
    assert uid_crc == zlib.crc32(signed_uid.encode())


def test_signs_a_publisher():
    """The token lets its holder join, and publish audio, video and data."""
    text = token.sign(APP_ID, CERTIFICATE, CHANNEL, UID, ENDS_AT_S)
    *_, message = unpacked_006(text)
    assert privileges_of(message) == dict.fromkeys((1, 2, 3, 4), ENDS_AT_S)


def test_signs_anew_each_time():
    """Two tokens for the same are not the same: the salt is random."""
    texts = {
        token.sign(APP_ID, CERTIFICATE, CHANNEL, UID, ENDS_AT_S)
        for _ in range(5)
    }
    assert len(texts) == 5


@pytest.mark.parametrize(
    ("privileges", "expires_at_s"),
    [
        ({JOIN: 2000}, 2000),
        ({JOIN: 2000, 2: 10, 3: 10}, 2000),  # it stays, though silent
        ({JOIN: 0}, None),
        ({2: 2000}, None),
        ({}, None),
    ],
)
def test_end_is_that_of_the_right_to_join(privileges, expires_at_s):
    """The right to join ends the token; without its end there is none."""
    text = built_006(privileges, ts=5000)
    assert token.read(text) == facts_006(expires_at_s)


@pytest.mark.parametrize("uid", [7, 0])
def test_token_is_for_one_channel_and_uid(uid):
    """It says whether it was signed for them; uid 0 signs for any uid."""
    facts = token.read(token.sign(APP_ID, CERTIFICATE, "room", uid, 1))
    assert facts is not None
    assert facts.is_for_channel("room") and not facts.is_for_channel("rooms")
    assert facts.is_for_uid(uid)
    assert facts.is_for_uid(8) == (uid == 0)
    assert facts.is_for_uid(0) == (uid == 0)


def test_version_007_is_for_any_channel_and_uid():
    """What is not read of a token is not judged."""
    facts = token.read(VECTOR_007)
    assert facts is not None and not facts.is_damaged
    assert facts.is_for_channel("room") and facts.is_for_uid(7)


def content_006(content: bytes) -> str:
    return base64.b64encode(content).decode()


def damaged_007(content: bytes) -> str:
    return "007" + base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "006",
        "007",
        "005" + VECTOR_006[3:],
        "006" + APP_ID[:31],
        "006" + "g" * 32 + VECTOR_006[35:],
        "a token",
        "007AAAA",
        "007" + base64.b64encode(b"not compressed").decode(),
        damaged_007(b""),
        damaged_007(packed(b"signature")),
        damaged_007(packed(b"signature") + packed(b"\xff" * 32) + b"\0" * 8),
        damaged_007(struct.pack("<H", 65535) + b"too short"),
        VECTOR_007[:-8],
    ],
)
def test_unknown_form_says_nothing(text):
    """A text of no known form is no error: a token may be of any form."""
    assert token.read(text) is None


SOUND_006 = base64.b64decode(VECTOR_006[35:])


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "****",
        "A",
        *(VECTOR_006[35:-cut] for cut in (1, 2, 4, 10, 40, 60)),
        VECTOR_006[35:] + "A",
        VECTOR_006[35:] + "\n!",
        VECTOR_006[35:60] + " " + VECTOR_006[60:],
        content_006(struct.pack("<H", 65535)),
        content_006(SOUND_006 + b"more"),
        content_006(SOUND_006[:42] + packed(SOUND_006[44:] + b"more")),
        content_006(packed(bytes(31)) + SOUND_006[34:]),
    ],
)
def test_damaged_006_still_says_its_app_id(rest):
    """The App ID stands in the clear; no more than that is known."""
    assert token.read("006" + APP_ID + rest) == token.TokenFacts(
        "006", APP_ID, None, is_damaged=True
    )


@given(
    st.sampled_from(["", "006", "006" + APP_ID, "007"]),
    st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()),
)
def test_garbage_never_raises(start, rest):
    """Whatever stands in agora_token, reading it raises nothing."""
    facts = token.read(start + rest)
    assert facts is None or facts.version in ("006", "007")


@given(st.binary())
def test_garbage_in_007_never_raises(content):
    """Nor does what is compressed well, and still no token."""
    facts = token.read(damaged_007(content))
    assert facts is None or facts.version == "007"


@given(st.data())
def test_changed_vector_never_raises(data):
    """Nor does a token in which one character differs."""
    text = data.draw(st.sampled_from([VECTOR_006, VECTOR_007]))
    at = data.draw(st.integers(0, len(text) - 1))
    token.read(text[:at] + data.draw(st.text(max_size=2)) + text[at + 1 :])
