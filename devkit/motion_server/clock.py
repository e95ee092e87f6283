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


class MachineClock:
    """The machine's own time."""

    monotonic = staticmethod(time.monotonic)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        delay_s = max(0.0, when - time.monotonic())
        return asyncio.get_running_loop().call_later(delay_s, callback)


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
