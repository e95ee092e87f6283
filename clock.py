"""Time, as it is handed to whoever needs it."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_at` returns."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """All times are in seconds."""

    def monotonic(self) -> float:
        """Return a time that only differences mean something of."""
        ...

    def epoch(self) -> float:
        """Return the time since 1970 (UTC)."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop at the monotonic time `when`."""
        ...


class SystemClock:
    """The machine's own time."""

    monotonic = staticmethod(time.monotonic)
    epoch = staticmethod(time.time)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        delay_s = max(0.0, when - time.monotonic())
        return asyncio.get_running_loop().call_later(delay_s, callback)
