"""Sessions from `opener`, with the real SDK and the local Motion Server."""

import asyncio
import sys
from typing import Any

import pytest
from opener_stage import DEADLINE_S, NOW_S, RATE_HZ, OpenerStage
from spatius_avatar_python import token
from spatius_avatar_python.session.errors import SessionError
from spatius_avatar_python.session.state import (
    PingAnswered,
    PlaybackSignal,
    ServiceError,
)

from devkit.motion_server import (
    Close,
    PlaybackSignals,
    Refuse,
    ServerError,
)
from devkit.motion_server.proxy import DelayingProxy

pytestmark = [pytest.mark.wire, pytest.mark.asyncio]


async def test_each_session_has_tokens_of_its_own(motion_server):
    """They are new, end with the session, and are known as secrets."""
    stage = OpenerStage(motion_server, session_expire_minutes=10)
    for ahead_s in (0.0, 60.0):
        stage.clock.ahead_s = ahead_s
        await stage.closed(await stage.ready())
    agora_tokens = stage.secrets[::2]
    expiries = [
        facts and facts.expires_at_s for facts in map(token.read, agora_tokens)
    ]
    assert expiries == [int(NOW_S) + 600, int(NOW_S) + 660]
    assert stage.secrets[1::2] == motion_server.session_tokens()
    assert len(set(stage.secrets)) == 4


async def test_token_builder_that_is_missing_is_named(
    motion_server, monkeypatch
):
    """An app may have the SDK of another extension, and not this package."""
    monkeypatch.setitem(sys.modules, "agora_token_builder", None)
    stage = OpenerStage(motion_server)
    session = stage.session()
    session.open()
    failure = await stage.lost(session)
    assert failure.fatal
    assert failure.is_configuration
    assert "agora_token_builder" in failure.message
    assert "pip install -r requirements.txt" in failure.message


async def test_prepared_session_needs_no_console(motion_server):
    """A prepared session opens while the console is down."""
    stage = OpenerStage(motion_server)
    session = stage.session()
    session.prepare()
    await stage.until(lambda: session.has_token)
    motion_server.faults.console(Refuse(503))
    session.open()
    await stage.until(lambda: session.is_ready)
    assert await session.send(bytes(480), True)
    await stage.closed(session)
    assert len(motion_server.record.token_requests) == 1


async def test_token_is_kept_while_the_ingress_is_down(motion_server):
    """The next attempt of the same session makes no console call."""
    stage = OpenerStage(motion_server)
    motion_server.faults.upgrade(Refuse(503))
    session = stage.session()
    session.open()
    await stage.until(lambda: session.has_token)
    assert session.loss is not None
    assert "ingress is not available" in session.loss.message
    session.open()
    await stage.until(lambda: session.is_ready)
    assert session.loss is None
    await stage.closed(session)
    assert len(motion_server.record.token_requests) == 1


@pytest.mark.parametrize(
    ("close_code", "code"),
    [(1000, "connectionClosed"), (1001, "1001"), (1012, "1012")],
)
async def test_code_of_a_restart_is_read(motion_server, close_code, code):
    """A service that restarts says so with 1001 or 1012."""
    stage = OpenerStage(motion_server)
    session = await stage.ready()
    motion_server.now(Close(close_code))
    failure = await stage.lost(session)
    assert failure.code == code
    assert failure.ends_session
    assert not failure.fatal
    if close_code != 1012:  # the SDKs name no connection with an error
        assert failure.connection_id == session.connection_id
    await stage.closed(session)
    assert session.take_events() == []


async def test_call_that_meets_a_close_says_why(motion_server):
    """The websocket library holds a call back once it has answered a close
    frame; TCP ends late, since the peer is far away."""
    async with DelayingProxy(motion_server.port, delay_ms=100) as proxy:
        url = proxy.url(motion_server.ingress_url)
        stage = OpenerStage(motion_server, ingress_endpoint_url=url)
        session = await stage.ready()
        motion_server.now(Close(4001, "credits exhausted"))
        with pytest.raises(SessionError) as caught:
            while True:
                await session.send(bytes(480), False)
                await asyncio.sleep(0.01)
        await stage.closed(session)
    assert caught.value.failure.code == "4001"
    assert caught.value.failure.fatal


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="asyncio.timeout is new in Python 3.11"
)
async def test_timeout_within_the_sdk_works(motion_server):
    """A call runs in a task, as asyncio demands of `asyncio.timeout`."""
    stage = OpenerStage(motion_server)
    session = await stage.ready()

    async def send_audio(audio: bytes, end: bool) -> str:
        timeout: Any = getattr(asyncio, "timeout")  # noqa: B009
        async with timeout(0.05):
            await asyncio.sleep(DEADLINE_S)
        return "never"

    session._session.send_audio = send_audio
    with pytest.raises(SessionError) as caught:
        await session.send(bytes(480), False)
    assert "TimeoutError" in caught.value.failure.message
    await stage.closed(session)


async def test_ping_is_answered(motion_server):
    """Behind the audio that was sent before."""
    stage = OpenerStage(motion_server)
    session = await stage.ready()
    await session.send(bytes(480), True)
    assert session.ping()
    assert isinstance(await stage.event(session), PingAnswered)
    await stage.closed(session)


async def test_non_fatal_error_leaves_the_session_open(motion_server):
    """It is reported, and audio is taken as before."""
    stage = OpenerStage(motion_server)
    session = await stage.ready()
    motion_server.now(ServerError(13, "driven server request failed"))
    event = await stage.event(session)
    assert isinstance(event, ServiceError)
    assert event.failure.code == "upstreamError"
    assert not event.failure.ends_session
    assert await session.send(bytes(480), True)
    await stage.closed(session)


async def test_playback_is_reported(motion_server):
    """The service says when a request begins to play, and when it ended."""
    motion_server.playback_signals = PlaybackSignals(older=True)
    stage = OpenerStage(motion_server)
    session = await stage.ready()
    req_id = await session.send(bytes(2 * RATE_HZ // 10), True)
    seen = [await stage.event(session)]
    while getattr(seen[-1], "state", "") != "ended":
        seen.append(await stage.event(session))
    signals = [each for each in seen if isinstance(each, PlaybackSignal)]
    assert {signal.req_id for signal in signals} == {req_id}
    assert signals[0].state == "playing"
    await stage.closed(session)


async def test_wrong_url_is_blamed(motion_server):
    """Something answers there, but it is no Spatius console."""
    url = motion_server.console_url.replace("/v1/console", "/elsewhere")
    stage = OpenerStage(motion_server, console_endpoint_url=url)
    session = stage.session()
    session.open()
    failure = await stage.lost(session)
    await stage.closed(session)
    assert failure.fatal
    assert "params.console_endpoint_url" in failure.message
