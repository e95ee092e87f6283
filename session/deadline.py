"""Waits that end at a time of the clock that was handed in."""

import asyncio
from typing import Any

from ..clock import Clock


async def done_within(
    future: "asyncio.Future[Any]", clock: Clock, limit_s: float
) -> bool:
    """Wait for `future`, `limit_s` seconds at most; return whether it is done.

    It is not cancelled, and what it raised is not retrieved.
    """
    if future.done():
        return True
    woken = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    future.add_done_callback(wake)
    timer = clock.call_at(clock.monotonic() + limit_s, wake)
    try:
        await woken
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
    return future.done()
