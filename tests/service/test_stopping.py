"""Starting and stopping on any network; memory meanwhile."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import websockets
from agent import SERVER_OPTIONS, properties, speech
from fakes import FakeClock
from spatius_avatar_python.speech.backlog import STALLED_AFTER_S

from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig
from devkit.motion_server import (
    AudioMessages,
    Close,
    Hang,
    MotionServer,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    Stall,
)

pytestmark = pytest.mark.wire

Plan = Callable[[MotionServer], None]


def _now_on(fault: Any) -> Plan:
    return lambda server: server.faults.runtime(
        fault,
        after=AudioMessages(1),
    )


STOP_LIMIT_S = 4.0
WAIT_S = 30.0  # for steps that take no time

# The service's faults, and the state to stop in.
STATES: dict[str, tuple[Plan, str]] = {
    "console hangs": (
        lambda s: s.faults.console(Hang(), times=None),
        "connecting",
    ),
    "upgrade hangs": (
        lambda s: s.faults.upgrade(Hang(), times=None),
        "connecting",
    ),
    "never confirmed": (
        lambda s: s.faults.handshake(Hang(), times=None),
        "connecting",
    ),
    "slow": (lambda s: s.faults.console(Slow(1.0)), "connecting"),
    "refused": (
        lambda s: s.faults.console(Refuse(503), times=None),
        "recovering",
    ),
    "not listening": (lambda s: s.pause_listening(), "recovering"),
    "failed": (lambda s: s.faults.console(Refuse(401)), "failed"),
    "well": (lambda s: None, "ready"),
    "silent peer": (_now_on(Silence()), "ready"),
    "stalled": (_now_on(Stall()), "ready"),
    "closing": (_now_on(Close(1001)), "ready"),
    "resetting": (_now_on(Reset()), "ready"),
    "service error": (_now_on(ServerError(13)), "ready"),
}
SILENT = ("silent peer", "stalled")


@pytest.fixture
def patient_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the websocket library set no limit of its own to a close."""
    defaults = websockets.connect.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "close_timeout", 10 * WAIT_S)


@pytest.mark.usefixtures("patient_library")
@pytest.mark.parametrize("case", STATES)
async def test_start_and_stop_wait_for_nothing(
    make_rig: Callable[..., Rig], case: str
) -> None:
    """on_start returns at once, on_stop within 4 s, and no task is left.

    Time stands still but for these 4 s, and they pass only where the service
    does not answer.
    """
    clock = FakeClock()
    plan, state = STATES[case]
    async with MotionServer(
        **SERVER_OPTIONS, receive_buffer_bytes=8192, now=clock.epoch
    ) as server:
        before = asyncio.all_tasks()
        plan(server)
        rig = make_rig(properties(server), clock)
        await asyncio.wait_for(rig.start(), WAIT_S)
        await rig.state(state)
        # 60 s of speech in the midst of which it is stopped: more than the
        # kernel's buffers take from a stalled socket.
        await rig.send_frame(audio_frame(speech(100), 1))
        for _ in range(60):
            await rig.send_frame(audio_frame(speech(1000), 1))
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(rig.stop())
        if case in SILENT:
            await clock.advance(STOP_LIMIT_S)
        await asyncio.wait_for(stopping, WAIT_S)
        assert rig.states[-1] == ("failed" if state == "failed" else "closed")
        # Messages still come during and after a stop.
        await rig.send_frame(audio_frame(speech(100), 2))
        await rig.send_cmd("flush")
        rest = asyncio.all_tasks() - before - server_tasks()
        if rest:
            await asyncio.wait(rest, timeout=WAIT_S)
        assert not {task for task in rest if not task.done()}
        codes = [error["code"] for error in rig.errors]
        assert codes in ([], [1000], [1000, 1000], [-1000])


async def test_last_reports_precede_the_close(
    make_rig: Callable[..., Rig],
) -> None:
    """A main that stops as well takes messages for a moment only."""
    async with MotionServer(**SERVER_OPTIONS) as server:
        rig = make_rig(properties(server))
        await rig.start()
        await rig.state("ready")
        await rig.send_frame(audio_frame(speech(3000), 1))
        await server.until(lambda record: record.requests)
        reports = rig.env.reports
        await reports.until(
            lambda: reports.sent("avatar_audio_start"),
            WAIT_S,
            "nothing audible",
        )
        rig.env.reports.clear()
        stopping = asyncio.ensure_future(rig.stop())
        await asyncio.sleep(0)  # the handler has begun
        await asyncio.sleep(0)  # its reports leave in a turn of their own
        at_once = list(rig.env.reports)
        assert not stopping.done()
        await asyncio.wait_for(stopping, WAIT_S)
    assert [name for name, _ in at_once] == [
        "avatar_audio_end",
        "metrics",
        "avatar_state",
        "connection_status_changed",
    ]
    end, metrics, state, status = (payload for _, payload in at_once)
    assert end["reason"] == 3
    assert metrics["metrics"]["audio_ms"] == 3000
    assert (state["state"], status["current"]) == ("closed", "disconnected")
    [(name, last)] = rig.env.reports[4:]
    assert name == "metrics" and "connected_ms" in last["metrics"]


def server_tasks() -> set["asyncio.Task[object]"]:
    """Return the tasks of the Motion Server, which shares the loop."""
    return {
        task
        for task in asyncio.all_tasks()
        if "motion_server" in repr(task) or "aiohttp" in repr(task)
    }


async def test_a_stop_before_the_start_is_no_harm(
    make_rig: Callable[..., Rig],
) -> None:
    """TEN may take an extension down before it was ever up."""
    async with MotionServer(**SERVER_OPTIONS) as server:
        rig = make_rig(properties(server))
        await rig.stop()
        rig = make_rig(properties(server))
        await rig.extension.on_init(rig.env)
        await rig.send_frame(audio_frame(speech(100), 1))
        await rig.stop()
        assert server.record.connections == []


async def test_memory_stays_within_the_bound_while_the_socket_is_stalled(
    make_rig: Callable[..., Rig],
) -> None:
    """Two minutes of audio against a socket that takes nothing."""
    bound_s = 20
    clock = FakeClock()  # it stands still: a stall that lasts is given up
    async with MotionServer(
        **SERVER_OPTIONS,
        receive_buffer_bytes=8192,
        keep_audio=False,
        now=clock.epoch,
    ) as server:
        wanted = properties(server, max_buffered_speech_s=bound_s)
        rig = make_rig(wanted, clock)
        await rig.start()
        await rig.state("ready")
        server.now(Stall())
        second = speech(1000)
        # Fill the kernel's buffers first: their content has no owner.
        while rig.totals.waiting < bound_s * 24000:
            await rig.send_frame(audio_frame(second, 1))
            await asyncio.sleep(0.005)
        clock.jump(STALLED_AFTER_S)  # the socket takes nothing, that is clear
        await rig.send_data("trigger_connect")  # and found by the next call
        gc.collect()
        tracemalloc.start()
        for _ in range(120):
            for at in range(0, len(second), 4800):
                await rig.send_frame(audio_frame(second[at : at + 4800], 1))
            await asyncio.sleep(0)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rig.totals.waiting <= bound_s * 24000
        # The queue is exchanged for another at most, and nothing piles up.
        assert grown < 1_000_000
        server.now(Resume())
        await rig.send_cmd("flush")
        await rig.send_frame(audio_frame(speech(100, 2), 2))
        await rig.send_data("tts_audio_end", {"reason": 1})
        await server.until(lambda r: r.requests[-1].closed)
        assert len(server.record.interrupts) == 1
        await rig.stop()
        assert [error["code"] for error in rig.errors] == [1000]
