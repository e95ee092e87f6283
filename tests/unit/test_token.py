"""Agora tokens: signed as Agora's servers check them, and read."""

import base64
import hmac
import itertools
import struct
import zlib
from collections.abc import Mapping

import pytest
from access_tokens import (
    APP_ID,
    CERTIFICATE,
    CHANNEL,
    JOIN,
    UID,
    built_007,
    packed,
    rtc_service,
    service,
)
from agora_token_builder.AccessToken import AccessToken
from hypothesis import given
from hypothesis import strategies as st
from spatius_avatar_python import token

ENDS_AT_S = 1_900_000_000
PUBLISHER = (1, 2, 3, 4)

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
VECTOR_007_ANY_UID = (
    "007eJxTYLhzZP08Lxa1Pg57+TcXb/3cZ3wi4V6kbpbOog0G2dOYk20UGCzNDZwdjU1TUs0M"
    "kk1MzExMk5ISUy0SjQxNDcwMk4yN3b8IMEQwMTAwMoAwBIL4CgzmKeZGxmamqUmWFsYmFqbG"
    "luapxqnGaZYpJmYGSSkpiQwMADacImo="
)
# RTC as a publisher, and RTM, streaming, FPA and chat.
VECTOR_007_SERVICES = (
    "007eJxTYAh5UWu1drfhsnu9etvupS0v/iFs+3PC/Sbl8gdht55xSusqMFiaGzg7GpumpJoZ"
    "JJuYmJmYJiUlplokGhmaGpgZJhkbu38RYIhgYmBgZGBgYAWSLEAM4jOBSWYwyQImFRjMU8yN"
    "jM1MU5MsLYxNLEyNLc1TjVON0yxTTMwMklJSErkYjCwsjIxNDI3MjZmA5kBM4mQoSS0uiS8t"
    "Ti1iZmBCMZ40I1mgToSYgCwDAGL1OcI="
)


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


def facts_of(
    version: str,
    privileges: "Mapping[int, int | None]",
    app_id: str = APP_ID,
    channel: str = CHANNEL,
    uid: str = str(UID),
) -> token.TokenFacts:
    """Return the content of a sound token; it lasts as long as JOIN."""
    return token.TokenFacts(
        version,
        app_id,
        privileges.get(JOIN),
        channel_crc=zlib.crc32(channel.encode()),
        uid_crc=zlib.crc32(uid.encode()),
        privileges=dict(privileges),
    )


def test_builder_makes_agoras_vector():
    """The builder that signs gives Agora's own token, byte for byte."""
    assert built_006({JOIN: VECTOR_006_ENDS_AT_S}) == VECTOR_006


def test_reads_agoras_vector():
    """The content of Agora's own version-006 token is read."""
    facts = facts_of("006", {JOIN: VECTOR_006_ENDS_AT_S})
    assert token.read(VECTOR_006) == facts


def test_reads_agoras_vector_of_version_007():
    """The content of Agora's own version-007 token is read."""
    facts = facts_of("007", {JOIN: 1111111 + 600})
    assert token.read(VECTOR_007) == facts
    assert token.read(VECTOR_007_ANY_UID) == facts._replace(uid_crc=0)


def test_layout_of_version_007_is_agoras():
    """The tokens that these tests build are laid out as Agora's."""

    def content(text: str) -> bytes:
        return zlib.decompress(base64.b64decode(text[3:]))

    assert content(built_007(1111111, 600)) == content(VECTOR_007)


def test_end_of_version_007_counts_from_its_issue():
    """A version-007 token holds a lifetime, which is read as an end."""
    facts = token.read(built_007(1_800_000_000, 3600))
    assert facts == facts_of("007", {JOIN: 1_800_003_600})


@pytest.mark.parametrize(
    ("own_s", "ends_after_s"), [(600, 600), (0, 3600), (7200, 3600)]
)
def test_right_to_join_ends_with_version_007_at_the_latest(own_s, ends_after_s):
    """0 stands for the token's own end; no privilege outlasts that."""
    facts = token.read(built_007(1000, 3600, rtc_service({JOIN: own_s})))
    assert facts and facts.expires_at_s == 1000 + ends_after_s


@pytest.mark.parametrize("rtc_at", [0, 1, 4])
def test_services_beside_rtc_are_passed_over(rtc_at):
    """One token may open several services, in any order."""
    services = [
        service(2, {1: 600}, "user"),
        service(3, {1: 600, 2: 600}, CHANNEL, "7"),
        service(4, {1: 600}),
        service(5, {1: 600}, "user"),
    ]
    services.insert(rtc_at, rtc_service({JOIN: 600, 2: 600, 3: 600}))
    facts = token.read(built_007(1000, 600, *services))
    assert facts == facts_of("007", dict.fromkeys((JOIN, 2, 3), 1600))


def test_reads_agoras_vector_of_all_services():
    """A publisher of the real layout lacks nothing before the end."""
    facts = token.read(VECTOR_007_SERVICES)
    assert facts == facts_of("007", dict.fromkeys(PUBLISHER, 1111711))
    assert facts.missing_privileges(1111710) == []
    assert len(facts.missing_privileges(1111711)) == 3


def test_token_without_rtc_opens_no_channel():
    """A token for chat lacks all that a publisher needs."""
    facts = token.read(built_007(1000, 600, service(5, {1: 600}, "user")))
    assert facts is not None and not facts.is_damaged
    assert facts.missing_privileges(0) == [
        "join the channel",
        "publish audio",
        "publish video",
    ]


@pytest.mark.parametrize("rtc_at", [0, 1])
def test_service_of_an_unknown_type_is_no_damage(rtc_at):
    """The part behind it cannot be read, and is not judged."""
    services = [service(99, {1: 600}, "text")]
    services.insert(rtc_at, rtc_service({JOIN: 600}))
    facts = token.read(built_007(1000, 600, *services))
    assert facts is not None and not facts.is_damaged
    assert facts.expires_at_s == 1600
    assert facts.is_for_uid(7) == (rtc_at == 1)


@pytest.mark.parametrize(
    ("privileges", "missing"),
    [
        ({1: 2000, 2: 2000, 3: 2000}, []),
        ({1: 0, 2: 0, 3: 0, 4: 0}, []),
        ({1: 2000}, ["publish audio", "publish video"]),
        ({1: 2000, 2: 2000, 3: 1000}, ["publish video"]),
        ({2: 2000, 3: 2000}, ["join the channel"]),
    ],
)
def test_privileges_that_a_publisher_lacks_are_named(privileges, missing):
    """Those that the token does not give, or gives no longer."""
    facts = token.read(built_006(privileges))
    assert facts and facts.missing_privileges(1000) == missing


def test_reads_the_tokens_it_signs():
    """A token that is signed here names its channel and uid."""
    text = token.sign(APP_ID, CERTIFICATE, CHANNEL, UID, ENDS_AT_S)
    facts = facts_of("006", dict.fromkeys(PUBLISHER, ENDS_AT_S))
    assert token.read(text) == facts


@given(
    app_id=st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    expires_at_s=st.integers(1, 2**32 - 1),
    uid=st.integers(0, 2**32 - 1),
    channel=st.text("abcXYZ019 !#$~,", min_size=1, max_size=64),
)
def test_reads_any_end_it_signs(app_id, expires_at_s, uid, channel):
    """Signing and reading agree for all that may be signed."""
    text = token.sign(app_id, CERTIFICATE, channel, uid, expires_at_s)
    privileges: dict[int, int | None] = dict.fromkeys(PUBLISHER, expires_at_s)
    assert token.read(text) == facts_of(
        "006", privileges, app_id, channel, str(uid or "")
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
    assert privileges_of(message) == dict.fromkeys(PUBLISHER, ENDS_AT_S)


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
    facts = token.read(built_006(privileges, ts=5000))
    assert facts and facts.expires_at_s == expires_at_s


def signed_007(channel: str, uid: int) -> str:
    rtc = rtc_service({JOIN: 600}, channel, str(uid or ""))
    return built_007(1000, 600, rtc)


@pytest.mark.parametrize("uid", [7, 0])
@pytest.mark.parametrize("version", ["006", "007"])
def test_token_is_for_one_channel_and_uid(version, uid):
    """It says whether it was signed for them; uid 0 signs for any uid."""
    text = (
        token.sign(APP_ID, CERTIFICATE, "room", uid, 1)
        if version == "006"
        else signed_007("room", uid)
    )
    facts = token.read(text)
    assert facts is not None and facts.version == version
    assert facts.is_for_channel("room") and not facts.is_for_channel("rooms")
    assert facts.is_for_uid(uid)
    assert facts.is_for_uid(8) == (uid == 0)
    assert facts.is_for_uid(0) == (uid == 0)


def test_wildcard_token_is_for_any_channel():
    """Agora takes * in place of a channel's name."""
    facts = token.read(signed_007("*", 7))
    assert facts and facts.is_for_channel("room")


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
        VECTOR_007 + "A",
        "007"
        + base64.b64encode(base64.b64decode(VECTOR_007[3:]) + b"m").decode(),
        VECTOR_007_ANY_UID[:-4],
        "007" + base64.b64encode(zlib.compress(bytes(10**6))).decode(),
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


SOUND_007 = zlib.decompress(base64.b64decode(VECTOR_007[3:]))


@pytest.mark.parametrize(
    "content",
    [
        SOUND_007 + b"more",
        SOUND_007[:-1],
        SOUND_007[:80],
        packed(bytes(31)) + SOUND_007[34:],
    ],
)
def test_damaged_007_still_says_its_app_id(content):
    """Behind the App ID nothing is known but that it is damaged."""
    assert token.read(damaged_007(content)) == token.TokenFacts(
        "007", APP_ID, None, is_damaged=True
    )


@given(
    st.sampled_from(["", "006", "006" + APP_ID, "007"]),
    st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()),
)
def test_garbage_never_raises(start, rest):
    """For any agora_token, reading it raises no error."""
    facts = token.read(start + rest)
    assert facts is None or facts.version in ("006", "007")


@given(st.binary())
def test_garbage_in_007_never_raises(content):
    """Nor does data that is compressed well, and still no token."""
    facts = token.read(damaged_007(content))
    assert facts is None or facts.version == "007"


@given(st.data())
def test_changed_vector_never_raises(data):
    """Nor does a token in which one character differs."""
    text = data.draw(st.sampled_from([VECTOR_006, VECTOR_007]))
    at = data.draw(st.integers(0, len(text) - 1))
    token.read(text[:at] + data.draw(st.text(max_size=2)) + text[at + 1 :])
