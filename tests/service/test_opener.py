"""Sessions from `opener`, with the real SDK and the local Motion Server."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from agent import properties
from spatius_avatar_python import config, token
from spatius_avatar_python.clock import SystemClock
from spatius_avatar_python.eager import run_eagerly
from spatius_avatar_python.session import sdk
from spatius_avatar_python.session.errors import Failure, SessionError
from spatius_avatar_python.session.link import PlaybackSignal, Session

from devkit.motion_server import (
    Close,
    MotionServer,
    PlaybackSignals,
    Refuse,
    ServerError,
)
from devkit.motion_server.proxy import DelayingProxy

pytestmark = [pytest.mark.wire, pytest.mark.asyncio]

NOW_S = SystemClock.epoch()
RATE_HZ = 24000
DEADLINE_S = 30.0


class MovedClock(SystemClock):
    """The machine's clock, with a date that a test moves."""

    ahead_s = 0.0

    def epoch(self) -> float:
        return NOW_S + self.ahead_s


class Stage:
    """An opener for `server`, and what its sessions report."""

    def __init__(self, server: MotionServer, **changed: Any) -> None:
        self.clock = MovedClock()
        self.secrets: list[str] = []
        self.failures: asyncio.Queue[Failure] = asyncio.Queue()
        self.signals: asyncio.Queue[PlaybackSignal] = asyncio.Queue()
        tree = properties(server, **changed)
        self.params = config.load(tree, NOW_S).params
        self._open_session = sdk.opener(
            self.params, self.clock, self.secrets.extend
        )

    def session(self) -> Session:
        return self._open_session(self, RATE_HZ)

    def failed(self, failure: Failure, /) -> None:
        self.failures.put_nowait(failure)

    def playback(self, signal: PlaybackSignal, /) -> None:
        self.signals.put_nowait(signal)

    async def failure(self) -> Failure:
        return await asyncio.wait_for(self.failures.get(), DEADLINE_S)

    async def signal(self) -> PlaybackSignal:
        return await asyncio.wait_for(self.signals.get(), DEADLINE_S)


async def test_each_session_has_tokens_of_its_own(motion_server):
    """They are new, end with the session, and are known as secrets."""
    stage = Stage(motion_server, session_expire_minutes=10)
    for ahead_s in (0.0, 60.0):
        stage.clock.ahead_s = ahead_s
        session = stage.session()
        assert await session.open()
        await session.close()
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
    with pytest.raises(SessionError) as caught:
        Stage(motion_server).session()
    assert caught.value.failure.fatal
    assert "agora_token_builder" in str(caught.value)
    assert "pip install -r requirements.txt" in str(caught.value)


async def test_prepared_session_needs_no_console(motion_server):
    """What was prepared opens while the console is down."""
    stage = Stage(motion_server)
    session = stage.session()
    await session.prepare()
    motion_server.faults.console(Refuse(503))
    assert await session.open()
    assert await session.send(bytes(480), True)
    await session.close()
    assert len(motion_server.record.token_requests) == 1


@pytest.mark.parametrize(
    ("close_code", "code"),
    [(1000, "connectionClosed"), (1001, "1001"), (1012, "1012")],
)
async def test_code_of_a_restart_is_read(motion_server, close_code, code):
    """A service that restarts says so with 1001 or 1012."""
    stage = Stage(motion_server)
    session = stage.session()
    connection_id = await session.open()
    motion_server.now(Close(close_code))
    failure = await stage.failure()
    assert failure.code == code
    assert failure.ends_session
    assert not failure.fatal
    if close_code != 1012:  # the SDKs name no connection with an error
        assert failure.connection_id == connection_id
    await session.close()
    assert stage.failures.empty()


async def test_call_that_meets_a_close_says_why(motion_server):
    """Made from a callback, as the writer's may be: the websocket library
    takes none there once it has answered a close frame."""
    async with DelayingProxy(motion_server.port, delay_ms=100) as proxy:
        url = proxy.url(motion_server.ingress_url)
        stage = Stage(motion_server, ingress_endpoint_url=url)
        session = stage.session()
        await session.open()
        motion_server.now(Close(4001, "credits exhausted"))
        with pytest.raises(SessionError) as caught:
            while True:
                await called_back(session.send(bytes(480), False))
                await asyncio.sleep(0.01)
        await session.close()
    assert caught.value.failure.code == "4001"
    assert caught.value.failure.fatal


async def called_back(call: Coroutine[Any, Any, str]) -> str:
    """Begin `call` in a callback of the event loop; return its result."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    async def run() -> None:
        try:
            result.set_result(await call)
        except SessionError as error:
            result.set_exception(error)

    tasks: list[Any] = []  # kept, since the loop holds them weakly
    loop.call_soon(lambda: tasks.append(run_eagerly(run())))
    return await result


async def test_non_fatal_error_leaves_the_session_open(motion_server):
    """It is reported, and audio is taken as before."""
    stage = Stage(motion_server)
    session = stage.session()
    await session.open()
    motion_server.now(ServerError(13, "driven server request failed"))
    failure = await stage.failure()
    assert failure.code == "upstreamError"
    assert not failure.ends_session
    assert await session.send(bytes(480), True)
    await session.close()


async def test_playback_is_reported(motion_server):
    """The service says when a request begins to play, and when it ended."""
    motion_server.playback_signals = PlaybackSignals(older=True)
    stage = Stage(motion_server)
    session = stage.session()
    await session.open()
    req_id = await session.send(bytes(2 * RATE_HZ // 10), True)
    seen = [await stage.signal()]
    while seen[-1].state != "ended":
        seen.append(await stage.signal())
    assert {signal.req_id for signal in seen} == {req_id}
    assert seen[0].state == "playing"
    await session.close()


async def test_wrong_url_is_blamed(motion_server):
    """Something answers there, but it is no Spatius console."""
    url = motion_server.console_url.replace("/v1/console", "/elsewhere")
    stage = Stage(motion_server, console_endpoint_url=url)
    session = stage.session()
    with pytest.raises(SessionError) as caught:
        await session.open()
    await session.close()
    assert caught.value.failure.fatal
    assert "params.console_endpoint_url" in caught.value.failure.message
