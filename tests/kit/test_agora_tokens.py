"""Agora tokens, read as Agora's servers do."""

from typing import Any

import pytest
from sdk_client import (
    AGORA_APP_ID,
    CERTIFICATE,
    CHANNEL,
    agora_token,
    assert_reads,
    epoch_s,
    failure,
    opened,
)

from devkit.motion_server import (
    MotionServer,
)
from devkit.motion_server.agora import (
    AgoraTokenError,
    check_token,
    parse_token,
)

# Agora's own test vector for version 006.
VECTOR = (
    "006970CA35de60c44645bbae8a215061b33IACV0fZUBw+72cVoL9eyGGh3Q6Poi8bgjwVL"
    "nyKSJyOXR7dIfRBXoFHlEAABAAAAR/QQAAEAAQCvKDdW"
)
VECTOR_CHANNEL = "7d72365eb983485397e3e3f9d460bdda"
VECTOR_UID = 2882341273
VECTOR_END_S = 1446455471


def check(token: str, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "channel": CHANNEL,
        "uid": 7,
        "now_s": epoch_s(),
        "certificate": CERTIFICATE,
    }
    check_token(parse_token(token), **{**settings, **changes})


def test_agoras_own_vector_is_read():
    """The official token parses into its parts."""
    token = parse_token(VECTOR)
    assert token.app_id == AGORA_APP_ID
    assert dict(token.privileges) == {1: VECTOR_END_S}
    assert token.end_s == VECTOR_END_S


def test_agoras_own_vector_has_a_good_signature():
    """The official token fails at nothing but the publish privilege."""
    with pytest.raises(AgoraTokenError, match="allow to publish audio"):
        check(
            VECTOR,
            channel=VECTOR_CHANNEL,
            uid=VECTOR_UID,
            now_s=VECTOR_END_S - 1,
        )


def test_a_good_token_passes():
    """A publisher's token is good until its end."""
    check(agora_token(uid=7))
    check(agora_token(uid=0))  # signed for any uid


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ({"uid": 8}, "another uid"),
        ({"uid": 7, "channel": "other"}, "another channel"),
        ({"uid": 7, "certificate": "0" * 32}, "wrong signature"),
        ({"uid": 7, "life_s": -1}, "has expired"),
        ({"uid": 7, "role": 2}, "allow to publish"),
    ],
)
def test_a_bad_token_fails(token: dict[str, Any], problem: str):
    """Each flaw of a token has a sentence of its own."""
    with pytest.raises(AgoraTokenError, match=problem):
        check(agora_token(**token))


def test_a_damaged_token_fails_without_quoting_it():
    """A cut token is damaged; the error holds nothing of it."""
    cut = agora_token(uid=7)[:-12]
    with pytest.raises(AgoraTokenError) as caught:
        parse_token(cut)
    assert caught.value.__cause__ is None
    assert cut[40:50] not in str(caught.value)


@pytest.mark.asyncio
async def test_a_known_certificate_checks_signatures():
    """A token signed with another certificate is refused."""
    async with MotionServer(certificates={AGORA_APP_ID: CERTIFICATE}) as srv:
        token = agora_token(uid=7, certificate="0" * 32)
        error = await failure(srv, uid=7, token=token)
        assert_reads(error, "invalidEgressConfig", "websocket_handshake")
        assert "wrong signature" in error.server_detail


@pytest.mark.asyncio
async def test_other_versions_pass_only_without_certificates():
    """A token of version 007 cannot be checked."""
    async with MotionServer() as server:
        await opened(server, token="007abc")
    async with MotionServer(certificates={AGORA_APP_ID: CERTIFICATE}) as srv:
        error = await failure(srv, token="007abc")
        assert "not of version 006" in error.server_detail
