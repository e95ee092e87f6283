"""Faults of the local Spatius service in an open session."""

import asyncio
from typing import Any

import pytest
from fakes import FakeClock
from scene import virtually
from sdk_client import (
    FRAME,
    SAMPLE_RATE,
    Client,
    assert_reads,
    failure,
    opened,
)
from websockets.protocol import State

from devkit.harness.virtual_time import VirtualClock
from devkit.motion_server import (
    Animate,
    AudioBytes,
    AudioMessages,
    BlackHole,
    Close,
    MotionServer,
    OnConfirm,
    OnEnd,
    OnInterrupt,
    PlanLimits,
    Quiet,
    Reset,
    Resume,
    ServerError,
    Silence,
    SlowReader,
    Stall,
)
from devkit.motion_server.client_socket import CLOSE_REPLY_S
from devkit.motion_server.listener import Listener


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
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        server.now(Stall(for_s=60))
        await client.say(FRAME)
        await asyncio.sleep(0.05)
        assert server.record.received() == b""
        await clock.advance(60)
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
    """Silence outlasts Resume; stop() ends it."""
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


# Packets that are lost.


async def is_pending(*futures: Any) -> bool:
    """Whether none of them is done in 50 ms, which loopback never takes."""
    done, _ = await asyncio.wait(futures, timeout=0.05)
    return not done


@pytest.mark.wire
@pytest.mark.asyncio
async def test_pings_may_be_answered_late():
    """And only they: audio is received at once."""
    clock = FakeClock()
    async with MotionServer(clock=clock, pong_delay_s=0.9) as server:
        client = await opened(server)
        await client.say(FRAME)
        pong = await client.session._connection.ping()
        await server.until(lambda r: r.received() == FRAME)
        assert await is_pending(pong)
        await clock.advance(0.9)
        await asyncio.wait_for(pong, 30)
        await client.session.close()


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize("for_s", [5, 22, None])
async def test_a_black_hole_takes_both_directions(for_s: float | None):
    """No message, no pong and no reply passes; all arrives afterwards."""
    clock = FakeClock()
    frames: list[bytes] = []
    async with MotionServer(clock=clock) as server:
        client = await opened(
            server, transport_frames=lambda data, end: frames.append(data)
        )
        await client.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
        server.now(BlackHole(for_s))
        await client.say(FRAME, end=True)
        pong = await client.session._connection.ping()
        server.now(Animate())
        await clock.advance((for_s or 3600) - 0.1)
        assert await is_pending(pong)
        assert server.record.received() == FRAME
        assert (frames, client.errors, client.closes) == ([], [], 0)
        if for_s is None:
            server.now(Resume())
        await clock.advance(0.1)
        await asyncio.wait_for(pong, 30)
        await server.until(lambda r: r.requests[0].closed)
        assert server.record.received() == FRAME * 2
        assert len(frames) == 1
        await client.session.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [BlackHole(for_s=5), BlackHole(host_vanishes=True), Silence()],
    ids=repr,
)
async def test_a_close_is_lost_in_a_black_hole(fault: Any):
    """The service has closed; the client learns of it when packets pass, if
    they ever do."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        server.now(fault)
        server.now(Close(1011))
        await server.until(lambda r: r.connections[0].closed_s is not None)
        closed = asyncio.ensure_future(client.until(lambda: client.closes))
        assert await is_pending(closed)
        assert client.session._connection.state is State.OPEN
        await clock.advance(5)
        if fault == BlackHole(for_s=5):
            await closed
            assert client.errors[0].close_code == 1011
        else:
            # Nor does TCP end when the server has waited for an answer.
            await asyncio.sleep(CLOSE_REPLY_S + 0.1)
            assert client.session._connection.state is State.OPEN
    await closed


@pytest.mark.asyncio
async def test_messages_in_a_black_hole_end_with_the_connection():
    """No task waits for packets to pass after the server's end."""
    before = asyncio.all_tasks()
    async with MotionServer() as server:
        client = await opened(server)
        await client.say(FRAME)
        await server.until(lambda r: r.received() == FRAME)
        server.now(BlackHole())
        server.now(Animate())
        assert await is_pending(await client.session._connection.ping())
    await client.until(lambda: client.closes)
    assert not [
        task
        for task in asyncio.all_tasks() - before
        if "ClientSocket" in repr(task)
    ]


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host_vanishes", "heard_s"), [(False, 3.0), (True, 1.0)]
)
async def test_playback_ends_with_the_host_only(
    host_vanishes: bool, heard_s: float
):
    """Behind a dead network the service plays the audio it has; a host that
    vanishes never comes back."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        listener = Listener(SAMPLE_RATE)
        listener.follow(server.record)
        client = await opened(server)
        await client.say(bytes(3 * SAMPLE_RATE * 2), end=True)
        await server.until(lambda r: r.requests[0].closed)
        await clock.advance(1)
        server.now(BlackHole(host_vanishes=host_vanishes))
        durations_s = [one.end_s - one.start_s for one in listener.audible()]
        assert durations_s == [pytest.approx(heard_s)]
        server.now(Resume())
        pong = await client.session._connection.ping()
        assert await is_pending(pong) == host_vanishes


def test_a_host_does_not_vanish_for_a_while():
    """It would come back without the connection."""
    with pytest.raises(ValueError, match="for_s"):
        BlackHole(5, host_vanishes=True)


@pytest.mark.asyncio
async def test_a_fault_strikes_some_time_after_the_last_message():
    """Each message begins the wait anew."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        server.faults.runtime(BlackHole(), after=Quiet(1.5))
        for count in (1, 2):
            await client.say(FRAME)
            await server.until(
                lambda r, n=count: len(r.received()) == n * len(FRAME)
            )
            await (await client.session._connection.ping())
            await clock.advance(1)
            assert not server.record.connections[0].stalled
        await clock.advance(0.5)
        assert server.record.connections[0].stalled


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [Reset(), Close(1011), BlackHole()], ids=repr)
async def test_a_fault_strikes_right_behind_the_confirmation(fault: Any):
    """The session is confirmed, and the fault comes next."""
    async with MotionServer() as server:
        server.faults.runtime(fault, after=OnConfirm())
        client = await opened(server)
        assert server.record.connections[0].confirmed_s is not None
        if isinstance(fault, BlackHole):
            pong = await client.session._connection.ping()
            assert await is_pending(pong)
        else:
            await client.until(lambda: client.closes)


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault", [Stall(for_s=5), BlackHole(for_s=5)], ids=repr
)
async def test_a_handshake_may_be_held_up(fault: Any):
    """The confirmation comes when the fault has ended."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        server.faults.handshake(fault)
        client = Client(server)
        opening = asyncio.ensure_future(client.open())
        await server.until(lambda r: r.connections and r.connections[0].stalled)
        assert await is_pending(opening)
        await clock.advance(5)
        await asyncio.wait_for(opening, 30)
        assert server.record.live_connections
        await client.session.close()


@pytest.mark.asyncio
async def test_a_late_confirmation_is_not_the_clients_fault():
    """It had given up, and has another session by then."""
    async with MotionServer() as server:
        server.faults.handshake(BlackHole())
        first = Client(server, uid=7)
        opening = asyncio.ensure_future(first.open())
        await server.until(lambda r: r.connections and r.connections[0].stalled)
        second = await opened(server, uid=7)
        server.now(Resume())
        await opening
        assert server.record.violations == []
        await first.session.close()
        await second.session.close()


@virtually
async def test_a_slow_reader_keeps_its_pace():
    """SlowReader takes its time for each message, Resume ends that."""
    clock = VirtualClock()
    async with MotionServer(clock=clock, now=clock.epoch) as server:
        client = await opened(server)
        server.now(SlowReader(bytes_per_s=len(FRAME) * 2))
        await client.say(*[FRAME] * 4)
        await server.until(lambda r: len(r.received()) == len(FRAME) * 4)
        times_s = [m.time_s for m in server.record.requests[0].messages]
        assert times_s[-1] - times_s[0] >= 3 * 0.5
        server.now(Resume())
        await client.session.close()


@pytest.mark.asyncio
async def test_a_ping_that_waits_behind_a_reset_is_dropped(
    caplog: pytest.LogCaptureFixture,
):
    """Its answer finds no connection, which is no error of the server."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        server.now(SlowReader(bytes_per_s=len(FRAME)))
        await client.say(FRAME)
        await server.until(lambda r: r.received())
        assert await is_pending(await client.session._connection.ping())
        server.now(Reset())
        await clock.advance(1)
        await client.until(lambda: client.closes)
    assert caplog.text == ""


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
    clock = FakeClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        await clock.advance(59)
        await (await client.session._connection.ping())
        assert server.record.live_connections
        await clock.advance(1)
        await client.until(lambda: client.closes)
        (error,) = client.errors
        assert error.server_detail == "no audio input for 60s"
        assert_reads(error, "idleTimeout", "websocket_runtime")
        (connection,) = server.record.connections
        assert (connection.closed_by, connection.close_code) == ("server", 1000)


@pytest.mark.asyncio
async def test_audio_keeps_a_session_awake():
    """The time counts from the last message."""
    clock = FakeClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        for count in range(1, 4):
            await clock.advance(50)
            await client.say(FRAME)
            await server.until(
                lambda r, n=count: len(r.received()) == n * len(FRAME)
            )
        assert server.record.live_connections
        await clock.advance(60)
        await client.until(lambda: client.closes)


@pytest.mark.asyncio
async def test_the_idle_timeout_may_be_changed():
    """For sessions that are open, in either direction."""
    clock = FakeClock()
    async with MotionServer(idle_timeout_s=60, clock=clock) as server:
        client = await opened(server)
        server.idle_timeout_s = None
        await clock.advance(3600)
        assert server.record.live_connections
        server.idle_timeout_s = 60
        await client.until(lambda: client.closes)


# The limits of a plan.


@pytest.mark.wire
@pytest.mark.asyncio
async def test_a_session_ends_when_its_time_is_up():
    """Speaking or not, for any expiry that the client asked for."""
    clock = FakeClock()
    limits = PlanLimits(session_minutes=10)
    async with MotionServer(clock=clock, limits=limits) as server:
        client = await opened(server, life_s=3600)
        await clock.advance(599)
        await client.say(FRAME)
        await server.until(lambda r: r.received())
        assert server.record.live_connections
        await clock.advance(1)
        await client.until(lambda: client.errors)
        assert client.errors[0].close_code == 4002
        assert client.errors[0].close_reason == (
            "session time limit of 10 minutes"
        )
        assert server.record.credits == 100
        server.limits = PlanLimits()
        await opened(server)
        await clock.advance(3600)
        assert server.record.live_connections


@pytest.mark.asyncio
async def test_the_time_limit_may_be_changed():
    """A session that has lasted longer already ends at once."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        await clock.advance(700)
        server.limits = PlanLimits(session_minutes=10)
        await client.until(lambda: client.errors)
        assert client.errors[0].close_code == 4002


@pytest.mark.wire
@pytest.mark.asyncio
@pytest.mark.parametrize("refuses_tokens", [False, True])
async def test_only_so_many_sessions_are_live_at_once(refuses_tokens: bool):
    """One more is refused by close 4003, or by the console's 429 before."""
    limits = PlanLimits(sessions=1, refuses_tokens=refuses_tokens)
    async with MotionServer(limits=limits) as server:
        first = await opened(server)
        error = await failure(server)
        if refuses_tokens:
            assert (error.phase, error.http_status) == ("session_token", 429)
        else:
            assert error.close_code == 4003
            assert_reads(error, "connectionClosed", "websocket_handshake")
        await first.session.close()
        await server.until(lambda r: not r.live_connections)
        await opened(server)


@pytest.mark.asyncio
async def test_connected_time_costs_credits():
    """10 a minute and at least 1 for each session; a failed one is free."""
    clock = FakeClock()
    async with MotionServer(clock=clock) as server:
        client = await opened(server)
        assert server.record.credits == 1
        await clock.advance(6.1)
        assert server.record.credits == 2
        await client.session.close()
        await server.until(lambda r: not r.live_connections)
        server.faults.handshake(Close(1011))
        await failure(server)
        await opened(server)
        await clock.advance(60)
        assert server.record.credits == 2 + 10
