"""The record of the local Spatius service, and how to wait for it."""

import asyncio
import json
import threading
import wave
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sdk_client import (
    FRAME,
    SAMPLE_RATE,
    Client,
    failure,
    opened,
)

from devkit.motion_server import (
    AudioNotKept,
    Close,
    MotionServer,
    Record,
    WaitTimeout,
    wire,
)

# The record.


def violations(record: Record) -> str:
    return "\n".join(record.violations)


@pytest.mark.asyncio
async def test_a_closed_connections_audio_stays_apart():
    """received(n) is one connection's audio, received() all of it."""
    async with MotionServer() as server:
        first, second = await opened(server), await opened(server)
        await first.say(b"aa")
        await server.until(lambda r: r.received() == b"aa")
        await second.say(b"bb")
        await server.until(lambda r: r.received() == b"aabb")
        await first.say(b"cc")
        await server.until(lambda r: r.received() == b"aabbcc")
        assert server.record.received(1) == b"aacc"
        assert server.record.received(2) == b"bb"


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
    """The first message must be the configuration."""
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
        await server.until(lambda r: len(r.received()) == len(FRAME) * 17)
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
            counting.record.received()
        assert "audio" not in {e.kind for e in counting.record.events}


@pytest.mark.asyncio
async def test_audio_can_be_saved(tmp_path: Path):
    """write_wav saves the audio received at the session's rate."""
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(FRAME, end=True)
        await server.until(lambda r: r.requests[0].closed)
        server.record.write_wav(tmp_path / "received.wav")
    with wave.open(str(tmp_path / "received.wav")) as wav:
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
async def test_until_shows_the_timeline_after_a_wait_in_vain():
    """A wait in vain shows the record."""
    async with MotionServer() as server:
        client = await opened(server)
        with pytest.raises(WaitTimeout, match="confirmed"):
            await server.until(lambda r: r.interrupts, timeout_s=0.01)
        await client.session.close()


@pytest.mark.asyncio
async def test_wait_for_refuses_the_servers_own_thread():
    """Blocking the server's loop would wait indefinitely."""
    async with MotionServer() as server:
        with pytest.raises(RuntimeError, match="until"):
            server.wait_for(lambda r: r.events)


def test_a_server_in_a_thread_serves_other_loops():
    """wait_for, now and the port work from the test's own thread."""
    with MotionServer.in_thread() as server:
        received = threading.Event()

        async def talk() -> list[Any]:
            client = await opened(server)
            await client.say(FRAME, end=True)
            await asyncio.to_thread(received.wait, 30)
            server.now(Close(1011))
            await client.until(lambda: client.errors)
            server.pause_listening()
            client.errors.append(await failure(server))
            return client.errors

        def watch() -> None:
            server.wait_for(lambda r: r.requests[0].closed)
            if server.record.received() == FRAME:
                received.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        closed, refused = asyncio.run(talk())
        watcher.join()
        assert closed.close_code == 1011
        assert refused.code.value == "connectionFailed"


def test_wait_for_in_vain_shows_the_timeline():
    """From another thread, too, a wait in vain shows the record."""
    with MotionServer.in_thread() as server:
        with pytest.raises(WaitTimeout, match="listening"):
            server.wait_for(lambda r: r.interrupts, timeout_s=0.01)
