"""Sessions with the local Spatius service, driven by the real SDK."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes import FakeClock
from sdk_client import (
    AGORA_APP_ID,
    CERTIFICATE,
    CHANNEL,
    FRAME,
    SAMPLE_RATE,
    Client,
    assert_reads,
    epoch_s,
    failure,
    opened,
    sdk,
)

from devkit.harness import virtual_time
from devkit.harness.virtual_time import VirtualClock
from devkit.loopback import bypass_proxies
from devkit.motion_server import (
    Animate,
    AudioBytes,
    Close,
    Hang,
    MotionServer,
    OnConfirm,
    OnEnd,
    OnInterrupt,
    Quiet,
    Refuse,
    Reset,
    ServerError,
    Silence,
    Slow,
)
from devkit.motion_server.control import SETTINGS
from devkit.motion_server.faults import (
    FAULTS_BY_NAME,
    TRIGGERS_BY_NAME,
    trigger_from_json,
)

ROOT = Path(__file__).resolve().parents[2]


# Sessions.


@pytest.mark.asyncio
async def test_a_session_is_confirmed_and_recorded():
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
        assert request.audio == server.record.received() == FRAME * 2
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
        assert await asyncio.wait_for(frames.get(), 30) is True
        await client.session.close()


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
        assert_reads(error, code, "websocket_connect")
        assert server.record.upgrades[0].status == fault.status


@pytest.mark.asyncio
async def test_unknown_apps_and_avatars_are_refused():
    """With known sets given, others get 404."""
    async with MotionServer(app_ids={"app"}, avatar_ids={"avatar"}) as server:
        app = await failure(server, app_id="other")
        avatar = await failure(server, avatar_id="other")
        assert (app.http_status, avatar.http_status) == (404, 404)
        assert_reads(app, "appIDUnrecognized", "websocket_connect")
        assert_reads(avatar, "avatarNotFound", "websocket_connect")


@pytest.mark.asyncio
async def test_an_unknown_session_token_is_invalid():
    """A token of another service gets 401."""
    async with MotionServer() as server, MotionServer() as other:
        error = await failure(server, ingress_endpoint_url=other.ingress_url)
        assert error.http_status == 401
        assert_reads(error, "sessionTokenInvalid", "websocket_connect")


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
        assert_reads(caught.value, "sessionTokenExpired", "websocket_connect")


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


@pytest.mark.wire
@pytest.mark.virtual
def test_each_step_of_opening_may_be_slow():
    """Each takes less than the SDK's 10 s, and all together more."""

    async def open_slowly() -> None:
        clock = VirtualClock()
        async with MotionServer(clock=clock, now=clock.epoch) as server:
            server.faults.console(Slow(6))
            server.faults.upgrade(Slow(5))
            server.faults.handshake(Slow(4))
            client = await opened(server)
            assert clock.monotonic() == pytest.approx(15, abs=0.5)
            await client.session.close()

    virtual_time.run(open_slowly())


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
        assert_reads(error, code, "websocket_handshake")


@pytest.mark.asyncio
async def test_a_close_in_the_handshake_reads_as_closed():
    """Close in place of the confirmation carries its code."""
    async with MotionServer() as server:
        server.faults.handshake(Close(1013, "later"))
        error = await failure(server)
        assert error.close_code == 1013
        assert_reads(error, "connectionClosed", "websocket_handshake")


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
async def test_a_connection_that_ends_in_a_slow_handshake():
    """It is not confirmed any more."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        server.faults.handshake(Slow(4))
        opening = asyncio.ensure_future(opened(server))
        await server.until(
            lambda r: any(event.kind == "configured" for event in r.events)
        )
        server.now(Reset())
        await clock.advance(4)
        with pytest.raises(Exception, match="connectionClosed"):
            await opening
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
    """A refused message is answered with server_error 3."""
    async with MotionServer() as server:
        error = await failure(server, **options)
        assert error.server_code == "3"
        assert_reads(error, code, "websocket_handshake")
        await server.until(lambda r: r.connections[0].closed_s)
        assert server.record.connections[0].closed_by == "server"


@pytest.mark.asyncio
async def test_livekit_is_not_served():
    """A LiveKit egress is refused as an egress."""
    livekit = sdk.LiveKitEgressConfig(url="wss://x", room_name="r")
    async with MotionServer() as server:
        error = await failure(server, agora_egress=None, livekit_egress=livekit)
        assert_reads(error, "invalidEgressConfig", "websocket_handshake")


# Running.


@pytest.mark.asyncio
async def test_stop_does_not_wait_for_hanging_requests(
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


@pytest.mark.wire
@pytest.mark.asyncio
async def test_proxies_are_not_asked_for_loopback(
    monkeypatch: pytest.MonkeyPatch,
):
    """Console and websocket are reached with any proxy set; the caller's other
    exemptions remain."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for variable in (name, name.lower()):
            monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "example.com")
    async with MotionServer() as server:
        await failure(server)
        bypass_proxies()
        bypass_proxies()
        assert (
            os.environ["no_proxy"]
            == "example.com,127.0.0.1,localhost,::1,[::1]"
        )
        await opened(server)


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


def test_faults_triggers_and_settings_are_documented():
    """Under the names that the control endpoints take."""
    page = (ROOT / "docs/motion-server.md").read_text()
    names = {f"`{name}`" for name in (*FAULTS_BY_NAME, *SETTINGS)}
    names |= {f'"{name}"' for name in TRIGGERS_BY_NAME}
    assert {name for name in names if name not in page} == set()


@pytest.mark.parametrize(
    ("spec", "trigger"),
    [
        ("confirm", OnConfirm()),
        ("interrupt", OnInterrupt()),
        ({"audio_bytes": 5}, AudioBytes(5)),
        ({"quiet_s": 1.5}, Quiet(1.5)),
    ],
)
def test_triggers_are_read_from_json(spec: Any, trigger: Any):
    assert trigger_from_json(spec) == trigger


@pytest.mark.parametrize(
    "spec", ["quiet", {"confirm": 1}, {"quiet_s": None}, {}, None]
)
def test_triggers_that_are_none_are_refused(spec: Any):
    """With all that would be one."""
    with pytest.raises(ValueError, match="quiet_s"):
        trigger_from_json(spec)


@pytest.mark.asyncio
async def test_the_port_can_be_closed_for_a_while_over_http():
    """A port closed over HTTP opens again by itself."""
    clock = FakeClock()
    async with (
        MotionServer(clock=clock) as server,
        aiohttp.ClientSession() as http,
    ):
        plan = {"at": "port", "closed_for_s": 60}
        async with http.post(
            f"{server.control_url}/fault", json=plan
        ) as answer:
            assert answer.status == 200
        assert (await failure(server)).code.value == "connectionFailed"
        await clock.advance(60)
        await server.until(
            lambda r: [e.kind for e in r.events].count("listening") == 2
        )
        await opened(server)


def test_it_runs_in_a_process_of_its_own():
    """The command prints its URLs and ends on SIGTERM."""
    command = [sys.executable, "-m", "devkit.lifeline"]
    with subprocess.Popen(
        [*command, "devkit.commands.motion_server", "--json", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "tests",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        },
    ) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        port = int(urls["control_url"].split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), 30):
            pass
        process.terminate()
        assert process.wait(60) == 0
