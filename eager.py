"""Running a coroutine at once, without a turn of the event loop.

asyncio has this from Python 3.12 on (`eager_start`); this is the part of it
that is needed here, for all versions.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Optional


def run_eagerly(
    coroutine: Coroutine[Any, Any, None],
) -> Optional["asyncio.Task[None]"]:
    """Run `coroutine` up to where it first waits; return a task for the rest.

    Returns None where it ended without waiting. What it raises by then is
    raised here. Until it waits it must not ask for the current task.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    task = asyncio.ensure_future(_rest(coroutine, awaited))
    # One that is cancelled before it has run knows nothing of `coroutine`.
    task.add_done_callback(lambda _: coroutine.close())
    return task


@types.coroutine
def _rest(
    coroutine: Coroutine[Any, Any, None], awaited: Any
) -> Generator[Any, Any, None]:
    """Wait for what `coroutine` waits for already, and for all that follows."""
    while True:
        try:
            yield awaited
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, None)
        try:
            awaited = step()
        except StopIteration:
            return
