"""Time as it is handed to the service."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A scheduled callback of `Clock.call_at`."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Seconds that may pass faster or slower than the machine's."""

    def monotonic(self) -> float:
        """Return a time of which only differences mean something."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running loop at the monotonic time `when`."""
        ...


class PunctualTimer:
    """Calls back at `when` or later by the clock, never before.

    An event loop rounds its delays, uvloop to whole milliseconds; on a clock
    that runs faster than the machine's, that is a multiple of it.
    """

    def __init__(
        self,
        clock: Clock,
        speed: float,
        when: float,
        callback: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._speed = speed
        self._when = when
        self._callback = callback
        self._handle = self._schedule()

    def cancel(self) -> None:
        self._handle.cancel()

    def _schedule(self) -> asyncio.TimerHandle:
        left_s = max(0.0, self._when - self._clock.monotonic())
        loop = asyncio.get_running_loop()
        return loop.call_later(left_s / self._speed, self._fire)

    def _fire(self) -> None:
        if self._clock.monotonic() < self._when:
            self._handle = self._schedule()
        else:
            self._callback()


class ScaledClock:
    """The machine's clock, running `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        self.speed = speed
        self._zero_epoch_s = time.time() - self.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() * self.speed

    def epoch(self) -> float:
        """Return the time since 1970 (UTC); it passes as fast."""
        return self._zero_epoch_s + self.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return PunctualTimer(self, self.speed, when, callback)


async def sleep(clock: Clock, delay_s: float) -> None:
    """Wait for `delay_s` of the clock's seconds."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    timer = clock.call_at(clock.monotonic() + delay_s, finish)
    try:
        await done
    finally:
        timer.cancel()
