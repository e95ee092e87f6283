"""Injectable time source, alarm, and waiting until a time."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Optional, Protocol


class Timer(Protocol):
    """A callback that is scheduled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """All times are in seconds."""

    def monotonic(self) -> float:
        """Return a time whose differences alone have a meaning."""
        ...

    def epoch(self) -> float:
        """Return the time since 1970 (UTC)."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop at the monotonic time `when`."""
        ...


TIMER_ROUNDING_S = 0.0006
"""uvloop rounds to whole milliseconds, from the beginning of a turn on. A timer
that goes off early finds nothing due, and is set again."""


class SystemClock:
    """The machine's own time."""

    monotonic = staticmethod(time.monotonic)
    epoch = staticmethod(time.time)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        delay_s = max(0.0, when - time.monotonic() + TIMER_ROUNDING_S)
        return asyncio.get_running_loop().call_later(delay_s, callback)


class Alarm:
    """One timer for everything that is due.

    `callback` is to cancel the alarm, check everything, and set it anew: an
    alarm that goes off early is harmless, so a later time never replaces an
    earlier one.
    """

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._timer: Optional[Timer] = None
        self.at = float("inf")
        """When it goes off, a monotonic time; inf if it is not set."""

    def set(self, when: float) -> None:
        """Go off at the monotonic time `when`, or earlier; inf for never."""
        if when < self.at:
            self.cancel()
            self.at = when
            self._timer = self._clock.call_at(when, self._callback)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.at = float("inf")


async def wait_until(
    clock: Clock, when: float, *futures: "asyncio.Future[Any]"
) -> None:
    """Wait for the first of `futures`, or until the monotonic time `when`."""
    loop = asyncio.get_running_loop()
    due: asyncio.Future[None] = loop.create_future()

    def go_off() -> None:
        if not due.done():
            due.set_result(None)

    timer = clock.call_at(when, go_off)
    try:
        await asyncio.wait({due, *futures}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        due.cancel()
