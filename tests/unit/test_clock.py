"""The machine's time, one alarm for all that is due, and waiting."""

import asyncio
import time

import pytest
from fakes import FakeClock, settle
from spatius_avatar_python.clock import Alarm, SystemClock, wait_until


class Fired:
    """Counts the calls of an alarm."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=0.0)
        self.times: list[float] = []
        self.alarm = Alarm(self.clock, self._fire)

    def _fire(self) -> None:
        self.alarm.cancel()
        self.times.append(self.clock.monotonic())


@pytest.fixture
def fired() -> Fired:
    return Fired()


async def test_alarm_goes_off_once_at_its_time(fired):
    """And is not set any more."""
    fired.alarm.set(2.0)
    await fired.clock.advance(10.0)
    assert fired.times == [2.0]
    assert fired.clock.pending() == 0


@pytest.mark.parametrize("times", [(5.0, 2.0), (2.0, 5.0)])
async def test_earlier_of_two_times_counts(fired, times):
    """With one timer at most: going off early is harmless."""
    for when in times:
        fired.alarm.set(when)
    assert fired.clock.pending() == 1
    await fired.clock.advance(10.0)
    assert fired.times == [2.0]


async def test_alarm_can_be_set_anew_after_it_went_off(fired):
    """Also for a later time than the last."""
    for when in (2.0, 5.0):
        fired.alarm.set(when)
        await fired.clock.advance(when - fired.clock.monotonic())
    assert fired.times == [2.0, 5.0]


async def test_cancelled_alarm_does_not_go_off(fired):
    """It can be set again, for a later time, too."""
    fired.alarm.set(2.0)
    fired.alarm.cancel()
    assert fired.clock.pending() == 0
    fired.alarm.set(5.0)
    await fired.clock.advance(10.0)
    assert fired.times == [5.0]


async def test_wait_until_ends_with_the_first_future():
    """And leaves no timer."""
    clock = FakeClock()
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    waiting = asyncio.ensure_future(wait_until(clock, 1010.0, first, second))
    await settle()
    assert not waiting.done()
    second.set_result(None)
    await waiting
    assert clock.pending() == 0
    assert not first.done()


async def test_wait_until_ends_at_its_time():
    """And leaves the future as it is."""
    clock = FakeClock()
    future = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wait_until(clock, 1010.0, future))
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.1)
    assert waiting.done()
    assert not future.done()


async def test_wait_until_can_be_cancelled():
    """No timer is left."""
    clock = FakeClock()
    waiting = asyncio.ensure_future(wait_until(clock, 1010.0))
    await settle()
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    assert clock.pending() == 0


async def test_wait_until_survives_a_timer_that_goes_off_late():
    """A timer may be called although it was cancelled in the same turn."""

    class Careless(FakeClock):
        def call_at(self, when, callback):
            self.callback = callback
            return super().call_at(when, callback)

    clock = Careless()
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await wait_until(clock, 1010.0, future)
    clock.callback()


async def test_system_clock_calls_at_its_time():
    """Not before it; at once where it has passed."""
    clock = SystemClock()
    called: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    when = clock.monotonic() + 0.02
    clock.call_at(when, lambda: called.set_result(clock.monotonic()))
    assert await called >= when - 0.002  # the loop's clock may be coarser
    passed = asyncio.Event()
    clock.call_at(clock.monotonic() - 10.0, passed.set)
    await passed.wait()


async def test_system_clock_timer_can_be_cancelled():
    """It is not called then."""
    clock = SystemClock()
    calls: list[str] = []
    clock.call_at(clock.monotonic(), lambda: calls.append("cancelled")).cancel()
    done = asyncio.Event()
    clock.call_at(clock.monotonic() + 0.01, done.set)
    await done.wait()
    assert calls == []


def test_system_clock_tells_the_machines_time():
    """Seconds since 1970, and seconds that only grow."""
    clock = SystemClock()
    for ours, machines in (
        (clock.epoch, time.time),
        (clock.monotonic, time.monotonic),
    ):
        before = machines()
        assert before <= ours() <= machines()
