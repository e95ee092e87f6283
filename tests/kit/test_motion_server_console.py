"""The console of the local Spatius service."""

import asyncio
import socket
import sys
import time

import aiohttp
import pytest
from sdk_client import (
    FRAME,
    Client,
    assert_reads,
    epoch_s,
    failure,
    opened,
    sdk,
)

from devkit.motion_server import (
    Hang,
    Malformed,
    MotionServer,
    Refuse,
    Slow,
)


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
        assert_reads(error, code, "session_token")


@pytest.mark.asyncio
async def test_a_refusal_may_say_when_to_try_again():
    """In the header Retry-After, of the console as of the upgrade."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        fault = Refuse(429, retry_after_s=30)
        server.faults.console(fault)
        server.faults.upgrade(fault)
        urls = (
            (http.post, f"{server.console_url}/session-tokens"),
            (http.get, f"{server.base_url}/v2/driveningress/websocket"),
        )
        for method, url in urls:
            async with method(url) as answer:
                assert answer.status == 429
                assert answer.headers["Retry-After"] == "30"


@pytest.mark.asyncio
async def test_a_wrong_key_is_unauthorized():
    """A key the console does not know gets 401."""
    async with MotionServer(api_keys={"good"}) as server:
        error = await failure(server, api_key="bad")
        assert error.http_status == 401
        assert_reads(error, "invalidEgressConfig", "session_token")
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
        assert_reads(error, "protocolError", "session_token")


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
        began_s = time.monotonic()
        await opened(server)
        assert time.monotonic() - began_s >= 0.05


@pytest.mark.asyncio
async def test_a_closed_port_refuses_connections():
    """pause_listening refuses new connections and keeps open ones."""
    async with MotionServer() as server:
        client = await opened(server)
        server.pause_listening()
        error = await failure(server)
        assert_reads(error, "connectionFailed", "session_token")
        await client.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
        server.resume_listening()
        await opened(server)


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux allows for it")
@pytest.mark.asyncio
async def test_a_closed_port_stays_taken():
    """Nobody else gets it while it is closed."""
    async with MotionServer() as server:
        server.pause_listening()
        with socket.socket() as other, pytest.raises(OSError):
            other.bind((server.host, server.port))
        server.resume_listening()
        await opened(server)


# Outages.


@pytest.mark.asyncio
@pytest.mark.parametrize("has_own_port", [True, False])
async def test_a_console_that_is_down_refuses_connections(has_own_port: bool):
    """The ingress goes on, and the console comes back."""
    console_port = 0 if has_own_port else None
    async with MotionServer(console_port=console_port) as server:
        waiting = Client(server)
        await waiting.session.init()
        server.console_down()
        error = await failure(server)
        assert_reads(error, "connectionFailed", "session_token")
        assert server.record.tokens_issued == 1
        await waiting.session.start()
        await waiting.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
        server.console_up()
        await opened(server)


@pytest.mark.asyncio
async def test_a_closed_console_port_stays_closed():
    """Where the whole server pauses and comes back meanwhile."""
    async with MotionServer() as server:
        server.console_down()
        server.pause_listening()
        server.resume_listening()
        assert (await failure(server)).phase == "session_token"
        assert server.record.token_requests == []
        server.console_up()
        await opened(server)


@pytest.mark.asyncio
async def test_a_console_may_be_down_with_a_status():
    """Until it is up again; planned faults go first."""
    async with MotionServer() as server:
        server.console_down(Refuse(503))
        server.faults.console(Refuse(429))
        statuses = [(await failure(server)).http_status for _ in range(3)]
        assert statuses == [429, 503, 503]
        server.console_up()
        await opened(server)


@pytest.mark.asyncio
async def test_a_console_may_be_down_without_an_answer():
    """Requests that hang do not come back with it."""
    async with MotionServer() as server:
        server.console_down(Hang())
        hanging = asyncio.create_task(Client(server).open())
        await server.until(lambda r: r.token_requests)
        server.console_up()
        await opened(server)
        assert not hanging.done()
        hanging.cancel()


@pytest.mark.asyncio
async def test_calls_and_tokens_are_counted():
    """The record says which connection used which token."""
    async with MotionServer() as server:
        server.faults.console(Refuse(503))
        await failure(server)
        unused = Client(server)
        await unused.session.init()
        first, second = await opened(server), await opened(server)
        await first.session.close()
        assert len(server.record.token_requests) == 4
        assert server.record.tokens_issued == 3
        assert server.record.token_connections == {2: [1], 3: [2]}
        await second.session.close()


@pytest.mark.asyncio
async def test_spatialreals_path_gives_a_session_token():
    """The same request elsewhere, and another name in the answer."""
    async with MotionServer() as server, aiohttp.ClientSession() as http:
        url = f"http://{server.host}:{server.port}/v1/auth/session-token"
        headers = {"X-Api-Key": "key"}
        body = {"expireAt": epoch_s(60)}
        async with http.post(url, json=body, headers=headers) as answer:
            token = (await answer.json())["session_token"]
        assert server.session_tokens() == [token]
