"""What the local Spatius service does to an open session."""

import asyncio

import pytest
from sdk_client import (
    FRAME,
    ManualClock,
    assert_reads,
    opened,
)

from devkit.motion_server import (
    AudioBytes,
    AudioMessages,
    Close,
    MotionServer,
    OnEnd,
    OnInterrupt,
    Reset,
    Resume,
    ScaledClock,
    ServerError,
    Silence,
    SlowReader,
    Stall,
)


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_normal_close_is_reported_to_on_close_only(code: int):
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
@pytest.mark.parametrize(
    "code", [1011, 1012, 1013, 4001, 4002, 4003, 4010, 4503]
)
async def test_another_close_is_an_error(code: int):
    """Other close codes reach on_error with code and reason."""
    async with MotionServer() as server:
        client = await opened(server)
        server.now(Close(code, "why"))
        await client.until(lambda: client.errors)
        error = client.errors[0]
        assert (error.close_code, error.close_reason) == (code, "why")
        assert_reads(error, "connectionClosed", "websocket_runtime")


@pytest.mark.asyncio
async def test_a_close_reaches_a_client_that_is_speaking():
    """The service reads until the client has answered: audio that meets a
    closed socket would be answered by a reset, before the code was read."""
    async with MotionServer() as server:
        client = await opened(server)
        transport = client.session._connection.transport
        transport.pause_reading()
        server.now(Close(4001))
        await server.until(lambda r: r.connections[0].closed_s is not None)
        # The second one would find the connection broken.
        for _ in range(2):
            await client.say(FRAME)
            await asyncio.sleep(0.05)
        transport.resume_reading()
        await client.until(lambda: client.errors)
        assert client.errors[0].close_code == 4001


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
        assert_reads(
            client.errors[0], "sessionDurationExceeded", "websocket_runtime"
        )
        await client.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_fault_strikes_after_the_nth_message():
    """Nothing after the planned message is received."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Reset(), after=AudioMessages(2))
        for _ in range(2):
            await client.say(FRAME)
        await client.until(lambda: client.closes)
        assert server.record.received() == FRAME * 2


@pytest.mark.asyncio
async def test_a_fault_strikes_after_so_many_bytes():
    """AudioBytes is met by the message that reaches the count."""
    async with MotionServer() as server:
        client = await opened(server)
        server.faults.runtime(Close(1011), after=AudioBytes(len(FRAME) + 1))
        await client.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
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
        await server.until(lambda r: r.received())
        server.now(Stall())
        sending = asyncio.create_task(client.say(*[chunk] * 8))
        await asyncio.wait({sending}, timeout=0.1)
        assert not sending.done()
        assert server.record.received() == FRAME
        server.now(Resume())
        await asyncio.wait_for(sending, 30)
        await server.until(lambda r: r.received() == FRAME + chunk * 8)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_stall_may_be_over_by_itself():
    """Stall(for_s) reads on after its time."""
    clock = ManualClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        server.now(Stall(for_s=60))
        await client.say(FRAME)
        await asyncio.sleep(0.05)
        assert server.record.received() == b""
        clock.advance(60)
        await server.until(lambda r: r.received() == FRAME)
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
        await asyncio.wait_for(closing, 30)


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
        assert server.record.received() == FRAME
    await asyncio.wait_for(closing, 30)


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
        await asyncio.wait_for(pong, 30)
        await client.session.close()


@pytest.mark.asyncio
async def test_a_slow_reader_keeps_its_pace():
    """SlowReader takes its time for each message, Resume ends that."""
    async with MotionServer(clock=ScaledClock(20)) as server:
        client = await opened(server)
        server.now(SlowReader(bytes_per_s=len(FRAME) * 2))
        await client.say(*[FRAME] * 4)
        await server.until(lambda r: len(r.received()) == len(FRAME) * 4)
        times_s = [m.time_s for m in server.record.requests[0].messages]
        assert times_s[-1] - times_s[0] >= 3 * 0.5 * 0.9
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


# Idle sessions.


@pytest.mark.asyncio
async def test_an_idle_session_is_ended():
    """The client gets the service's words, then a close."""
    clock = ManualClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        clock.advance(59)
        await (await client.session._connection.ping())
        assert server.record.live_connections
        clock.advance(1)
        await client.until(lambda: client.closes)
        (error,) = client.errors
        assert error.server_detail == "no audio input for 60s"
        assert_reads(error, "idleTimeout", "websocket_runtime")
        (connection,) = server.record.connections
        assert (connection.closed_by, connection.close_code) == ("server", 1000)


@pytest.mark.asyncio
async def test_audio_keeps_a_session_awake():
    """The time counts from the last message."""
    clock = ManualClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        for count in range(1, 4):
            clock.advance(50)
            await client.say(FRAME)
            await server.until(
                lambda r, n=count: len(r.received()) == n * len(FRAME)
            )
        assert server.record.live_connections
        clock.advance(60)
        await client.until(lambda: client.closes)


@pytest.mark.asyncio
async def test_the_idle_timeout_may_be_changed():
    """For sessions that are open, in either direction."""
    clock = ManualClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        server.idle_timeout_s = None
        clock.advance(3600)
        assert server.record.live_connections
        server.idle_timeout_s = 60
        await client.until(lambda: client.closes)
