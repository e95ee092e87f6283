"""An event loop whose time passes only while there is nothing else to do.

Sockets are real, time is not. Where no socket is ready, time moves on to the
next timer: an hour takes as long as its computing does, and no delay depends
on how busy the machine is.
"""

import asyncio
import os
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .. import package

package.use_ten_runtime()
package.load()

from spatius_avatar_python.clock import Timer  # noqa: E402
from spatius_avatar_python.session import sdk  # noqa: E402

T = TypeVar("T")

TURN_S = 1e-6
"""How long one turn of the loop takes."""

STEP_S = 0.005
"""Time moves on by no more than this before the sockets are checked again: a
kernel that delivers late delays a message by as much."""

YIELD_S = 0.05
"""The kernel's threads, which may have a message, get a chance as often. Where
no socket and no timer was due for so long, the rest of a wait passes at once.
"""

LONG_S = 0.5
"""Before so long a rest the loop gives the kernel a millisecond."""


class VirtualClock:
    """The time of the running loop, as the extension and the Motion Server
    take it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_epoch_s = time.time() - self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def epoch(self) -> float:
        return self._began_epoch_s + self._loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_at(when, callback)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time, to its end.

    A wait for another thread must not have a deadline: time does
    not wait for threads.
    """
    # Loads on a thread, and only once.
    real = asyncio.new_event_loop()
    real.run_until_complete(sdk._preload())
    real.close()
    loop = _Loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_cancel_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now_s

    def _pass(self, duration_s: float) -> None:
        self._now_s += duration_s


class _Selector(selectors.DefaultSelector):
    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time
        self._since_yield_s = 0.0
        self._quiet_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self._pass_time(TURN_S)
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        is_quiet = self._quiet_s >= YIELD_S
        is_due = is_quiet or self._since_yield_s >= YIELD_S
        if not ready and timeout > 0 and is_due:
            self._since_yield_s = 0.0
            os.sched_yield()
            is_long = is_quiet and timeout >= LONG_S
            ready = super().select(0.001 if is_long else 0)
        if ready or timeout <= 0:
            self._quiet_s = 0.0
            return ready
        step_s = timeout if is_quiet else min(timeout, STEP_S)
        self._quiet_s = 0.0 if step_s == timeout else self._quiet_s + step_s
        self._since_yield_s += step_s
        self._pass_time(step_s)
        return []
