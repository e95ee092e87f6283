"""The local Spatius service, driven by the real SDK."""

import asyncio
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agora_token_builder import RtcTokenBuilder
from aiohttp import web

from devkit.motion_server import (
    Animate,
    AudioBytes,
    AudioMessages,
    AudioNotKept,
    Close,
    Hang,
    Malformed,
    MotionServer,
    OnEnd,
    OnInterrupt,
    Record,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    SlowReader,
    Stall,
    Unmet,
    wire,
)
from devkit.motion_server.agora import (
    AgoraTokenError,
    check_token,
    parse_token,
)

sdk = wire.sdk
if wire.sdk_name == "spatius":
    sdk.configure_telemetry("")

ROOT = Path(__file__).resolve().parents[2]
AGORA_APP_ID = "970CA35de60c44645bbae8a215061b33"
CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
# Agora's own test vector for version 006.
VECTOR = (
    "006970CA35de60c44645bbae8a215061b33IACV0fZUBw+72cVoL9eyGGh3Q6Poi8bgjwVL"
    "nyKSJyOXR7dIfRBXoFHlEAABAAAAR/QQAAEAAQCvKDdW"
)
VECTOR_CHANNEL = "7d72365eb983485397e3e3f9d460bdda"
VECTOR_UID = 2882341273
VECTOR_END_S = 1446455471
CHANNEL = "room"
SAMPLE_RATE = 24000
# 20 ms of PCM.
FRAME = bytes(range(240)) * 4

# Some uids, so that sessions side by side do not collide.
_uids = itertools.count(1000)


def epoch_s(delay_s: float = 0) -> int:
    return int(datetime.now(timezone.utc).timestamp() + delay_s)


def agora_token(
    *,
    channel: str = CHANNEL,
    uid: int,
    certificate: str = CERTIFICATE,
    role: int = 1,
    life_s: float = 3600,
) -> str:
    return RtcTokenBuilder.buildTokenWithUid(
        AGORA_APP_ID, certificate, channel, uid, role, epoch_s(life_s)
    )


class Client:
    """One SDK session and what its callbacks said."""

    def __init__(
        self,
        server: MotionServer,
        *,
        uid: int | None = None,
        channel: str = CHANNEL,
        token: str | None = None,
        life_s: float = 3600,
        **options: Any,
    ) -> None:
        self.uid = next(_uids) if uid is None else uid
        self.errors: list[Any] = []
        self.closes = 0
        self.changed = asyncio.Event()
        if token is None:
            token = agora_token(channel=channel, uid=self.uid)
        settings: dict[str, Any] = {
            "avatar_id": "avatar",
            "api_key": "key",
            "app_id": "app",
            "sample_rate": SAMPLE_RATE,
            "expire_at": datetime.now(timezone.utc) + timedelta(seconds=life_s),
            "console_endpoint_url": server.console_url,
            "ingress_endpoint_url": server.ingress_url,
            "agora_egress": sdk.AgoraEgressConfig(
                channel_name=channel, token=token, uid=self.uid
            ),
            "on_error": self._on_error,
            "on_close": self._on_close,
        }
        self.session = sdk.new_avatar_session(**{**settings, **options})

    def _on_error(self, error: Any) -> None:
        self.errors.append(error)
        self.changed.set()

    def _on_close(self) -> None:
        self.closes += 1
        self.changed.set()

    async def open(self) -> str:
        await self.session.init()
        return await self.session.start()

    async def say(self, *frames: bytes, end: bool = False) -> str:
        """Send frames, the last of them with `end`."""
        for frame in frames[:-1]:
            await self.session.send_audio(frame)
        return await self.session.send_audio(frames[-1], end=end)

    async def until(self, happened: Callable[[], Any]) -> None:
        """Wait until the callbacks have said so."""
        while not happened():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 5)


async def opened(server: MotionServer, **options: Any) -> Client:
    client = Client(server, **options)
    await client.open()
    return client


async def failure(server: MotionServer, **options: Any) -> Any:
    """The SDK's error of an init() or start() that has to fail."""
    with pytest.raises(sdk.AvatarSDKError) as caught:
        await Client(server, **options).open()
    return caught.value


def read_as(error: Any) -> tuple[str, str]:
    return error.code.value, error.phase


# Sessions.


@pytest.mark.asyncio
async def test_a_session_is_confirmed_and_heard():
    """Audio, end and interrupt of a session stand in the record."""
    async with MotionServer() as server:
        client = Client(server)
        connection_id = await client.open()
        req_id = await client.say(FRAME, FRAME, b"", end=True)
        await client.session.interrupt()
        await client.session.close()
        await server.until(lambda r: r.connections[0].closed_s)
        (connection,) = server.record.connections
        (request,) = connection.requests
        assert connection.connection_id == connection_id
        assert request.req_id == req_id
        assert request.audio == server.record.heard() == FRAME * 2
        assert request.message_count == 2
        assert request.ended_at_s is not None
        assert [i.req_id for i in server.record.interrupts] == [req_id]
        assert (connection.closed_by, connection.close_code) == (
            "client",
            1000,
        )
        assert server.record.violations == []


@pytest.mark.asyncio
async def test_the_configuration_is_recorded():
    """The record says how the session was configured, and till when."""
    async with MotionServer(certificates={AGORA_APP_ID: CERTIFICATE}) as srv:
        client = await opened(srv)
        config = srv.record.connections[0].config
        assert config is not None
        assert (config.sample_rate, config.audio_format) == (
            SAMPLE_RATE,
            "pcm_s16le",
        )
        assert (config.channel, config.uid) == (CHANNEL, client.uid)
        assert config.agora_app_id == AGORA_APP_ID
        assert config.agora_token_end_s == pytest.approx(epoch_s(3600), abs=5)
        await client.session.close()


@pytest.mark.asyncio
async def test_query_auth_is_taken():
    """Credentials may stand in the URL in place of the headers."""
    async with MotionServer() as server:
        client = await opened(server, use_query_auth=True)
        assert server.record.connections[0].app_id == "app"
        await client.session.close()


@pytest.mark.asyncio
async def test_compression_is_never_taken_up():
    """The offered permessage-deflate is left out of the answer."""
    async with MotionServer() as server:
        client = await opened(server)
        assert client.session._connection.protocol.extensions == []
        await client.session.close()


@pytest.mark.asyncio
async def test_events_come_in_order():
    """The timeline tells a session from the token to its end."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(FRAME, end=True)
        await client.session.close()
        await server.until(lambda r: r.connections[0].closed_s)
        assert [event.kind for event in server.record.events] == [
            "listening",
            "token",
            "opened",
            "configured",
            "confirmed",
            "audio",
            "end",
            "closed",
        ]


@pytest.mark.asyncio
async def test_an_animation_reaches_the_client():
    """server_response_animation is sent on request."""
    async with MotionServer() as server:
        frames: asyncio.Queue[bool] = asyncio.Queue()
        client = await opened(
            server, transport_frames=lambda data, last: frames.put_nowait(last)
        )
        server.faults.runtime(Animate(end=True), after=OnEnd())
        await client.say(FRAME, end=True)
        assert await asyncio.wait_for(frames.get(), 5) is True
        await client.session.close()


# The console.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "invalidEgressConfig"),
        (402, "billingRequired"),
        (403, "invalidRequest"),
        (404, "appIDUnrecognized"),
        (429, "invalidRequest"),
        (500, "serverError"),
        (503, "serverError"),
    ],
)
async def test_a_console_refusal_reads_by_its_status(status: int, code: str):
    """A refused token request is a SessionTokenError with the status."""
    async with MotionServer() as server:
        server.faults.console(Refuse(status))
        error = await failure(server)
        assert isinstance(error, sdk.SessionTokenError)
        assert error.http_status == status
        assert read_as(error) == (code, "session_token")


@pytest.mark.asyncio
async def test_a_wrong_key_is_unauthorized():
    """A key the console does not know gets 401."""
    async with MotionServer(api_keys={"good"}) as server:
        error = await failure(server, api_key="bad")
        assert error.http_status == 401
        assert read_as(error) == ("invalidEgressConfig", "session_token")
        assert server.record.token_requests[0].key_ok is False


@pytest.mark.asyncio
@pytest.mark.parametrize("life_s", [-10, 25 * 3600])
async def test_an_end_out_of_bounds_is_refused(life_s: float):
    """expireAt must lie in the future, and at most a day ahead."""
    async with MotionServer() as server:
        error = await failure(server, life_s=life_s)
        assert error.http_status == 400


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"expireAt": "x"}', '{"expireAt": NaN}']
)
async def test_a_malformed_token_request_is_refused(body: str):
    """A body without a number in expireAt gets 400."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        url = f"{server.console_url}/session-tokens"
        headers = {"X-Api-Key": "key"}
        async with http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 400


@pytest.mark.asyncio
async def test_every_token_request_gives_a_new_token():
    """Session tokens are numbered, and never the same."""
    async with MotionServer() as server:
        clients = [await opened(server) for _ in range(3)]
        assert len({c.session._session_token for c in clients}) == 3
        numbers = [t.session_token for t in server.record.token_requests]
        assert numbers == [1, 2, 3]


@pytest.mark.asyncio
async def test_a_malformed_answer_is_a_protocol_error():
    """Malformed answers with something that is no JSON."""
    async with MotionServer() as server:
        server.faults.console(Malformed())
        error = await failure(server)
        assert read_as(error) == ("protocolError", "session_token")


@pytest.mark.asyncio
async def test_a_fault_comes_as_often_as_planned():
    """Plans of one point are used up one after the other."""
    async with MotionServer() as server:
        server.faults.console(Refuse(503), times=2)
        server.faults.console(Refuse(429))
        statuses = [(await failure(server)).http_status for _ in range(3)]
        assert statuses == [503, 503, 429]
        await opened(server)


@pytest.mark.asyncio
async def test_a_fault_may_come_always():
    """times=None lasts until clear()."""
    async with MotionServer() as server:
        server.faults.console(Refuse(500), times=None)
        for _ in range(3):
            assert (await failure(server)).http_status == 500
        server.faults.clear()
        await opened(server)


@pytest.mark.asyncio
async def test_a_hanging_console_never_answers():
    """Hang records the request and leaves the client waiting."""
    async with MotionServer() as server:
        server.faults.console(Hang())
        opening = asyncio.create_task(Client(server).open())
        await server.until(lambda r: r.token_requests)
        assert server.record.token_requests[0].status is None
        assert not opening.done()
        opening.cancel()


@pytest.mark.asyncio
async def test_a_slow_console_answers_late():
    """Slow answers well after its delay."""
    async with MotionServer() as server:
        server.faults.console(Slow(0.05))
        began_s = asyncio.get_running_loop().time()
        await opened(server)
        assert asyncio.get_running_loop().time() - began_s >= 0.05


@pytest.mark.asyncio
async def test_a_closed_port_refuses_connections():
    """pause_listening refuses new connections and keeps open ones."""
    async with MotionServer() as server:
        client = await opened(server)
        server.pause_listening()
        error = await failure(server)
        assert read_as(error) == ("connectionFailed", "session_token")
        await client.say(FRAME)
        await server.until(lambda r: r.heard() == FRAME)
        server.resume_listening()
        await opened(server)


# The upgrade.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refuse(400, detail="app id mismatch"), "appIDMismatch"),
        (Refuse(401, detail="token is expired"), "sessionTokenExpired"),
        (Refuse(402, detail="session denied"), "billingRequired"),
        (Refuse(404, detail="avatar not found"), "avatarNotFound"),
        (Refuse(503), "serverError"),
    ],
)
async def test_an_upgrade_refusal_reads_by_its_body(fault: Refuse, code: str):
    """A refused upgrade carries its status and the detail of its body."""
    async with MotionServer() as server:
        server.faults.upgrade(fault)
        error = await failure(server)
        assert error.http_status == fault.status
        assert read_as(error) == (code, "websocket_connect")
        assert server.record.upgrades[0].status == fault.status


@pytest.mark.asyncio
async def test_unknown_apps_and_avatars_are_refused():
    """With known sets given, others get 404."""
    async with MotionServer(app_ids={"app"}, avatar_ids={"avatar"}) as server:
        app = await failure(server, app_id="other")
        avatar = await failure(server, avatar_id="other")
        assert (app.http_status, avatar.http_status) == (404, 404)
        assert read_as(app) == ("appIDUnrecognized", "websocket_connect")
        assert read_as(avatar) == ("avatarNotFound", "websocket_connect")


@pytest.mark.asyncio
async def test_an_unknown_session_token_is_invalid():
    """A token of another service gets 401."""
    async with MotionServer() as server, MotionServer() as other:
        error = await failure(server, ingress_endpoint_url=other.ingress_url)
        assert error.http_status == 401
        assert read_as(error) == ("sessionTokenInvalid", "websocket_connect")


@pytest.mark.asyncio
async def test_a_session_token_ends():
    """A token opens no connection once its time is over."""
    moved_s = [0.0]
    async with MotionServer(now=lambda: epoch_s(moved_s[0])) as server:
        client = Client(server, life_s=60)
        await client.session.init()
        moved_s[0] = 61
        with pytest.raises(sdk.AvatarSDKError) as caught:
            await client.session.start()
        assert caught.value.http_status == 401
        assert read_as(caught.value) == (
            "sessionTokenExpired",
            "websocket_connect",
        )


@pytest.mark.asyncio
async def test_a_missing_app_id_is_a_mismatch():
    """An upgrade without an app id gets 400."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        url = server.ingress_url.replace("ws:", "http:") + "/websocket"
        async with http.get(url, params={"id": "avatar"}) as answer:
            assert answer.status == 400
            errors = (await answer.json())["errors"]
            assert errors[0]["detail"] == "app id mismatch"


@pytest.mark.asyncio
async def test_a_hanging_upgrade_is_recorded():
    """Hang leaves the upgrade without an answer."""
    async with MotionServer() as server:
        server.faults.upgrade(Hang())
        opening = asyncio.create_task(Client(server).open())
        await server.until(lambda r: r.upgrades)
        assert server.record.upgrades[0].status is None
        assert not opening.done()
        opening.cancel()


# The handshake.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ServerError(3, "no such thing"), "invalidRequest"),
        (ServerError(3, "agora_egress: no"), "invalidEgressConfig"),
        (ServerError(14, "busy"), "egressUnavailable"),
        (ServerError(16, "who"), "invalidEgressConfig"),
        (ServerError(4001, "no credits"), "creditsExhausted"),
        (ServerError(4002, "too long"), "sessionDurationExceeded"),
    ],
)
async def test_a_handshake_error_reads_by_its_code(
    fault: ServerError, code: str
):
    """A server_error in place of the confirmation fails start()."""
    async with MotionServer() as server:
        server.faults.handshake(fault)
        error = await failure(server)
        assert error.server_code == str(fault.code)
        assert read_as(error) == (code, "websocket_handshake")


@pytest.mark.asyncio
async def test_a_close_in_the_handshake_reads_as_closed():
    """Close in place of the confirmation carries its code."""
    async with MotionServer() as server:
        server.faults.handshake(Close(1013, "later"))
        error = await failure(server)
        assert error.close_code == 1013
        assert read_as(error) == ("connectionClosed", "websocket_handshake")


@pytest.mark.asyncio
async def test_a_session_may_never_be_confirmed():
    """Hang takes the configuration and says nothing; a close is answered."""
    async with MotionServer() as server:
        server.faults.handshake(Hang())
        client = Client(server)
        opening = asyncio.create_task(client.open())
        await server.until(
            lambda r: any(e.detail == "never confirms" for e in r.events)
        )
        assert not opening.done()
        opening.cancel()
        await asyncio.wait({opening})
        await client.session.close()
        await server.until(lambda r: r.connections[0].closed_s)
        assert server.record.connections[0].confirmed_s is None


@pytest.mark.asyncio
async def test_a_late_confirmation_is_a_confirmation():
    """Slow at the handshake confirms after its delay."""
    async with MotionServer() as server:
        server.faults.handshake(Slow(0.01))
        await opened(server)
        assert server.record.live_connections


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sample_rate": 11025}, "invalidRequest"),
        ({"agora_egress": None}, "invalidEgressConfig"),
        ({"channel": ""}, "invalidEgressConfig"),
        ({"channel": "a/b"}, "invalidEgressConfig"),
        ({"channel": "x" * 65}, "invalidEgressConfig"),
        ({"token": ""}, "invalidEgressConfig"),
        ({"token": "006 nonsense"}, "invalidEgressConfig"),
    ],
)
async def test_a_bad_configuration_is_refused(
    options: dict[str, Any], code: str
):
    """What the service does not take comes back as server_error 3."""
    async with MotionServer() as server:
        error = await failure(server, **options)
        assert error.server_code == "3"
        assert read_as(error) == (code, "websocket_handshake")
        await server.until(lambda r: r.connections[0].closed_s)
        assert server.record.connections[0].closed_by == "server"


@pytest.mark.asyncio
async def test_livekit_is_not_served():
    """A LiveKit egress is refused as an egress."""
    livekit = sdk.LiveKitEgressConfig(url="wss://x", room_name="r")
    async with MotionServer() as server:
        error = await failure(server, agora_egress=None, livekit_egress=livekit)
        assert error.code.value == "invalidEgressConfig"


# Agora tokens.


def check(token: str, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "channel": CHANNEL,
        "uid": 7,
        "now_s": epoch_s(),
        "certificate": CERTIFICATE,
    }
    check_token(parse_token(token), **{**settings, **changes})


def test_agoras_own_vector_is_read():
    """The official token parses into what it was made of."""
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
        assert read_as(error) == (
            "invalidEgressConfig",
            "websocket_handshake",
        )
        assert "wrong signature" in error.server_detail


@pytest.mark.asyncio
async def test_other_versions_pass_only_without_certificates():
    """A token of version 007 cannot be checked."""
    async with MotionServer() as server:
        await opened(server, token="007abc")
    async with MotionServer(certificates={AGORA_APP_ID: CERTIFICATE}) as srv:
        error = await failure(srv, token="007abc")
        assert "not of version 006" in error.server_detail


# Faults at runtime.


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_normal_close_is_told_to_on_close_only(code: int):
    """After 1000 and 1001 the SDK calls on_close, not on_error."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Close(code, "bye"))
        await client.until(lambda: client.closes)
        assert client.errors == []
        (connection,) = server.record.connections
        assert (connection.closed_by, connection.close_code) == (
            "server",
            code,
        )


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [1011, 1013, 4001, 4002])
async def test_another_close_is_an_error(code: int):
    """Other close codes reach on_error with code and reason."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Close(code, "why"))
        await client.until(lambda: client.errors)
        error = client.errors[0]
        assert (error.close_code, error.close_reason) == (code, "why")
        assert read_as(error) == ("connectionClosed", "websocket_runtime")


@pytest.mark.asyncio
async def test_a_reset_is_an_error_without_a_close_frame():
    """Reset sends an RST; the SDK sees a lost connection."""
    async with MotionServer() as server:
        client = await opened(server)
        connection = client.session._connection
        server.now(Reset())
        await client.until(lambda: client.errors)
        assert client.errors[0].close_code is None
        assert server.record.connections[0].close_code == 1006
        with pytest.raises(Exception, match="no close frame") as caught:
            await connection.recv()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.asyncio
async def test_a_runtime_error_leaves_the_session_open():
    """ServerError reaches on_error, and audio still arrives."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(ServerError(4002, "time is up"))
        await client.until(lambda: client.errors)
        assert read_as(client.errors[0]) == (
            "sessionDurationExceeded",
            "websocket_runtime",
        )
        await client.say(FRAME)
        await server.until(lambda r: r.heard() == FRAME)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_fault_strikes_after_the_nth_message():
    """Nothing behind the planned message is heard."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Reset(), after=AudioMessages(2))
        for _ in range(2):
            await client.say(FRAME)
        await client.until(lambda: client.closes)
        assert server.record.heard() == FRAME * 2


@pytest.mark.asyncio
async def test_a_fault_strikes_after_so_many_bytes():
    """AudioBytes is met by the message that reaches the count."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Close(1011), after=AudioBytes(len(FRAME) + 1))
        await client.say(FRAME)
        await server.until(lambda r: r.heard() == FRAME)
        assert server.record.live_connections
        await client.say(FRAME)
        await client.until(lambda: client.errors)


@pytest.mark.asyncio
async def test_a_fault_strikes_on_an_end():
    """OnEnd waits for the end of a request."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Close(4001), after=OnEnd())
        await client.say(FRAME, FRAME, end=True)
        await client.until(lambda: client.errors)
        assert server.record.requests[0].ended_at_s is not None


@pytest.mark.asyncio
async def test_a_fault_strikes_on_an_interrupt():
    """OnInterrupt waits for an interrupt."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Close(1011), after=OnInterrupt())
        await client.say(FRAME, end=True)
        await client.session.interrupt()
        await client.until(lambda: client.errors)
        assert len(server.record.interrupts) == 1


@pytest.mark.asyncio
async def test_a_fault_is_meant_for_one_connection():
    """A numbered connection is hit, its neighbour is not."""
    async with MotionServer() as server:
        first, second = await opened(server), await opened(server)
        server.faults.runtime(Reset(), after=AudioMessages(1), connection=2)
        await first.say(FRAME)
        await second.say(FRAME)
        await second.until(lambda: second.closes)
        assert [c.number for c in server.record.live_connections] == [1]


@pytest.mark.asyncio
async def test_a_stall_blocks_the_client_until_it_is_over():
    """While nothing is read the sender waits; then everything arrives."""
    chunk = FRAME * 1000
    async with MotionServer(receive_buffer_bytes=8192) as server:
        client = await opened(server)
        await client.say(FRAME)
        await server.until(lambda r: r.heard())
        server.now(Stall())
        sending = asyncio.create_task(client.say(*[chunk] * 16))
        await asyncio.wait({sending}, timeout=0.3)
        assert not sending.done()
        assert server.record.heard() == FRAME
        server.now(Resume())
        await asyncio.wait_for(sending, 5)
        await server.until(lambda r: r.heard() == FRAME + chunk * 16)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_stall_may_be_over_by_itself():
    """Stall(for_s) reads on after its time."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Stall(for_s=0.05))
        await client.say(FRAME)
        assert server.record.heard() == b""
        await server.until(lambda r: r.heard() == FRAME)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_stalled_server_does_not_answer_a_close():
    """The close handshake waits for the end of a stall."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Stall())
        closing = asyncio.create_task(client.session.close())
        await asyncio.wait({closing}, timeout=0.1)
        assert not closing.done()
        server.now(Resume())
        await asyncio.wait_for(closing, 5)


@pytest.mark.asyncio
async def test_a_silent_server_never_comes_back():
    """Silence outlasts Resume; stop() is what ends it."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Silence(), after=AudioMessages(1))
        await client.say(FRAME)
        await server.until(lambda r: r.connections[0].stalled)
        server.now(Resume())
        await client.say(FRAME)
        closing = asyncio.create_task(client.session.close())
        await asyncio.wait({closing}, timeout=0.1)
        assert not closing.done()
        assert server.record.heard() == FRAME
    await asyncio.wait_for(closing, 5)


@pytest.mark.asyncio
async def test_a_silent_server_answers_no_ping():
    """A ping into a stall has its pong only after it."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Stall())
        pong = await client.session._connection.ping()
        await asyncio.wait({pong}, timeout=0.1)
        assert not pong.done()
        server.now(Resume())
        await asyncio.wait_for(pong, 5)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_slow_reader_keeps_its_pace():
    """SlowReader takes its time for each message, Resume ends that."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(SlowReader(bytes_per_s=len(FRAME) * 20))
        await client.say(*[FRAME] * 4)
        await server.until(lambda r: len(r.heard()) == len(FRAME) * 4)
        times_s = [m.time_s for m in server.record.requests[0].messages]
        assert times_s[-1] - times_s[0] >= 3 * 0.05 * 0.9
        server.now(Resume())
        await client.session.close()


@pytest.mark.asyncio
async def test_a_server_may_echo_secrets():
    """Placeholders are filled for the client, not for the record."""
    async with MotionServer() as server:
        client = await opened(server, api_key="very-secret")
        server.now(ServerError(3, "{api_key} {session_token} {agora_token}"))
        await client.until(lambda: client.errors)
        text = client.errors[0].server_detail
        assert "very-secret" in text
        assert client.session._session_token in text
        assert "{api_key}" in server.record.timeline()
        assert "very-secret" not in server.record.timeline()
        await client.session.close()


# The record.


def violations(record: Record) -> str:
    return "\n".join(record.violations)


@pytest.mark.asyncio
async def test_a_closed_connections_audio_stays_apart():
    """heard(n) is one connection's audio, heard() everybody's."""
    async with MotionServer() as server:
        first, second = await opened(server), await opened(server)
        await first.say(b"aa")
        await server.until(lambda r: r.heard() == b"aa")
        await second.say(b"bb")
        await server.until(lambda r: r.heard() == b"aabb")
        await first.say(b"cc")
        await server.until(lambda r: r.heard() == b"aabbcc")
        assert server.record.heard(1) == b"aacc"
        assert server.record.heard(2) == b"bb"


@pytest.mark.asyncio
async def test_audio_after_the_end_is_a_violation():
    """A request that has ended takes no more audio."""
    async with MotionServer() as server:
        client = await opened(server)
        req_id = await client.say(FRAME, end=True)
        client.session._current_req_id = req_id
        await client.say(FRAME)
        await server.until(lambda r: r.violations)
        assert "after its end" in violations(server.record)


@pytest.mark.asyncio
async def test_audio_after_an_interrupt_is_a_violation():
    """A request that was interrupted takes no more audio."""
    async with MotionServer() as server:
        client = await opened(server)
        req_id = await client.say(FRAME)
        await client.session.interrupt()
        client.session._current_req_id = req_id
        await client.say(FRAME)
        await server.until(lambda r: r.violations)
        assert "after its interrupt" in violations(server.record)


@pytest.mark.asyncio
async def test_an_empty_request_is_a_violation():
    """An end with no audio before it makes an empty request."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(b"", end=True)
        await server.until(lambda r: r.violations)
        assert "without any audio" in violations(server.record)


@pytest.mark.asyncio
async def test_odd_pcm_is_a_violation():
    """PCM comes in whole samples."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(b"abc")
        await server.until(lambda r: r.violations)
        assert "whole number of samples" in violations(server.record)


@pytest.mark.asyncio
async def test_an_unknown_interrupt_is_a_violation():
    """An interrupt names a request of its own connection."""
    async with MotionServer() as server:
        client = await opened(server)
        client.session._last_req_id = "elsewhere"
        await client.session.interrupt()
        await server.until(lambda r: r.violations)
        assert "never seen" in violations(server.record)


@pytest.mark.asyncio
async def test_two_publishers_with_one_uid_are_a_violation():
    """A second live session with the same channel and uid collides."""
    async with MotionServer() as server:
        first = await opened(server, uid=5)
        await first.session.close()
        second = await opened(server, uid=5)
        assert server.record.violations == []
        third = await opened(server, uid=5)
        assert "publishes as uid 5" in violations(server.record)
        await second.session.close()
        await third.session.close()


@pytest.mark.asyncio
async def test_a_session_token_used_twice_is_a_violation():
    """Every upgrade brings a session token of its own."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.session.close()
        await client.session.start()
        assert "session token #1 was used" in violations(server.record)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_missing_configuration_is_a_violation():
    """Whatever comes first must be the configuration."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        client = Client(server)
        await client.session.init()
        headers = {
            "X-App-ID": "app",
            "X-Session-Key": client.session._session_token,
        }
        url = f"{server.ingress_url}/websocket?id=avatar"
        async with http.ws_connect(url, headers=headers) as websocket:
            await websocket.send_bytes(wire.confirm("nonsense"))
            answer = wire.parse(await websocket.receive_bytes())
            assert "expected ClientConfig" in answer.server_error.message
        assert "no configuration" in violations(server.record)


@pytest.mark.asyncio
async def test_a_long_message_is_noted_once():
    """More than 100 ms in one message is a note, not a violation."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(FRAME * 6, FRAME * 6, FRAME * 5)
        await server.until(lambda r: len(r.heard()) == len(FRAME) * 17)
        assert len(server.record.notes) == 1
        assert "120 ms" in server.record.notes[0]
        assert server.record.violations == []


@pytest.mark.asyncio
async def test_audio_need_not_be_kept():
    """Without audio there are counts and a digest."""
    async with (
        MotionServer() as keeping,
        MotionServer(keep_audio=False) as counting,
    ):
        for server in (keeping, counting):
            client = await opened(server)
            await client.say(FRAME, FRAME, end=True)
            await server.until(lambda r: r.requests[0].closed)
        (kept,) = keeping.record.requests
        (counted,) = counting.record.requests
        assert counted.sha256 == kept.sha256
        assert counted.audio_bytes == len(FRAME) * 2
        with pytest.raises(AudioNotKept):
            counting.record.heard()
        assert "audio" not in {e.kind for e in counting.record.events}


@pytest.mark.asyncio
async def test_audio_can_be_saved(tmp_path: Path):
    """write_wav saves what was heard at the session's rate."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(FRAME, end=True)
        await server.until(lambda r: r.requests[0].closed)
        server.record.write_wav(tmp_path / "heard.wav")
    with wave.open(str(tmp_path / "heard.wav")) as wav:
        assert wav.getframerate() == SAMPLE_RATE
        assert wav.readframes(wav.getnframes()) == FRAME


@pytest.mark.asyncio
async def test_no_secret_can_be_printed():
    """Keys and tokens stand in no repr, event, violation or JSON."""
    async with MotionServer() as server:
        client = await opened(server, api_key="very-secret")
        await client.session.close()
        await client.session.start()
        record = server.record
        printed = [
            repr(server),
            record.timeline(),
            repr(record.connections),
            repr(record.token_requests),
            repr(record.upgrades),
            violations(record),
            json.dumps(record.as_json()),
        ]
        config = record.connections[0].config
        assert config is not None
        for secret in (
            "very-secret",
            client.session._session_token,
            config.agora_token,
        ):
            assert not any(secret in text for text in printed)
        await client.session.close()


# Waiting.


@pytest.mark.asyncio
async def test_until_shows_the_timeline_when_nothing_comes():
    """A wait in vain tells what did happen."""
    async with MotionServer() as server:
        client = await opened(server)
        with pytest.raises(Unmet, match="confirmed"):
            await server.until(lambda r: r.interrupts, timeout_s=0.01)
        await client.session.close()


@pytest.mark.asyncio
async def test_wait_for_refuses_the_servers_own_thread():
    """Blocking the server's loop would wait for ever."""
    async with MotionServer() as server:
        with pytest.raises(RuntimeError, match="until"):
            server.wait_for(lambda r: r.events)


def test_a_server_in_a_thread_serves_other_loops():
    """wait_for, now and the port work from the test's own thread."""
    with MotionServer.in_thread() as server:
        heard = threading.Event()

        async def talk() -> list[Any]:
            client = await opened(server)
            await client.say(FRAME, end=True)
            await asyncio.to_thread(heard.wait, 5)
            server.now(Close(1011))
            await client.until(lambda: client.errors)
            server.pause_listening()
            client.errors.append(await failure(server))
            return client.errors

        def watch() -> None:
            server.wait_for(lambda r: r.requests[0].closed)
            if server.record.heard() == FRAME:
                heard.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        closed, refused = asyncio.run(talk())
        watcher.join()
        assert closed.close_code == 1011
        assert refused.code.value == "connectionFailed"


def test_wait_for_in_vain_shows_the_timeline():
    """From another thread, too, a wait in vain tells what happened."""
    with MotionServer.in_thread() as server:
        with pytest.raises(Unmet, match="listening"):
            server.wait_for(lambda r: r.interrupts, timeout_s=0.01)


# Running.


@pytest.mark.asyncio
async def test_stop_does_not_wait_for_what_hangs(
    caplog: pytest.LogCaptureFixture,
):
    """Hung handlers and silent connections end at once and quietly."""
    caplog.set_level(logging.WARNING)
    async with MotionServer() as server:
        await opened(server)
        server.now(Silence())
        server.faults.console(Hang())
        opening = asyncio.create_task(Client(server).open())
        await server.until(lambda r: len(r.token_requests) == 2)
        began_s = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began_s < 0.1
    with pytest.raises(sdk.AvatarSDKError):
        await opening
    assert caplog.text == ""


@pytest.mark.asyncio
async def test_the_port_is_free_again():
    """A server can start where another one has just stopped."""
    async with MotionServer() as server:
        await opened(server)
        port = server.port
    async with MotionServer(port=port) as again:
        await opened(again)


@pytest.mark.asyncio
async def test_extra_routes_are_served():
    """Routes handed in stand beside the service's own."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    routes = [web.get("/", hello)]
    async with MotionServer(routes=routes) as server:
        async with aiohttp.ClientSession() as http:
            url = f"http://{server.host}:{server.port}/"
            async with http.get(url) as answer:
                assert await answer.text() == "hello"


@pytest.mark.asyncio
async def test_faults_can_be_set_over_http():
    """The control endpoints plan faults and give the record."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:

        async def post(name: str, body: Any) -> int:
            url = f"{server.control_url}/{name}"
            async with http.post(url, json=body) as answer:
                return answer.status

        client = await opened(server)
        plan = {
            "at": "runtime",
            "after": {"audio_messages": 1},
            "fault": {"name": "close", "code": 4001},
        }
        assert await post("fault", plan) == 200
        await client.say(FRAME)
        await client.until(lambda: client.errors)
        async with http.get(f"{server.control_url}/record") as answer:
            record = await answer.json()
        assert record["connections"][0]["close_code"] == 4001
        assert await post("fault", {"at": "moon"}) == 400
        assert await post("reset", None) == 200
        assert server.record.connections == []


@pytest.mark.asyncio
async def test_the_port_can_be_closed_for_a_while_over_http():
    """A port closed over HTTP opens again by itself."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        plan = {"at": "port", "closed_for_s": 0.05}
        async with http.post(
            f"{server.control_url}/fault", json=plan
        ) as answer:
            assert answer.status == 200
        assert (await failure(server)).code.value == "connectionFailed"
        await server.until(
            lambda r: [e.kind for e in r.events].count("listening") == 2
        )
        await opened(server)


def test_it_runs_in_a_process_of_its_own():
    """The command prints its URLs and ends on SIGTERM."""
    command = [sys.executable, "-m", "devkit.commands.motion_server"]
    with subprocess.Popen(
        [*command, "--json", "--quiet"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        port = int(urls["control_url"].split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        process.terminate()
        assert process.wait(10) == 0
