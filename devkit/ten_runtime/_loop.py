"""The one event loop that all extensions of the process share.

It has a thread of its own, starts with the first extension and ends with the
last. `TEN_STAND_IN_LOOP=asyncio|uvloop` forces the kind of loop; without it
uvloop is used where it can be imported, as the real runtime does.
"""

import asyncio
import os
import threading

# Seconds that left-over tasks get to end once they are cancelled; the value
# of the real binding.
_CANCEL_WAIT_S = 0.5

_lock = threading.Lock()
_current: "_LoopThread | None" = None


def acquire() -> asyncio.AbstractEventLoop:
    """The running shared loop, started if need be; pair with `release`."""
    global _current
    with _lock:
        if _current is None:
            _current = _LoopThread(_new_loop())
        _current.users += 1
        return _current.loop


def release() -> threading.Thread | None:
    """Give the loop up. The last user ends it and gets the ending thread."""
    global _current
    with _lock:
        ending = _current
        assert ending is not None, "release() without acquire()"
        ending.users -= 1
        if ending.users:
            return None
        _current = None
    ending.loop.call_soon_threadsafe(ending.loop.stop)
    return ending.thread


def _new_loop() -> asyncio.AbstractEventLoop:
    kind = os.environ.get("TEN_STAND_IN_LOOP", "")
    if kind not in ("", "asyncio", "uvloop"):
        raise ValueError(
            f"TEN_STAND_IN_LOOP is '{kind}': use asyncio or uvloop"
        )
    if kind != "asyncio":
        try:
            import uvloop  # pyright: ignore[reportMissingImports]
        except ImportError:
            if kind == "uvloop":
                raise
        else:
            return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


class _LoopThread:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.users = 0
        self.thread = threading.Thread(
            target=self._run, name="ten-extensions", daemon=True
        )
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        left_over = asyncio.all_tasks(self.loop)
        for task in left_over:
            task.cancel()
        if left_over:
            self.loop.run_until_complete(
                asyncio.wait(left_over, timeout=_CANCEL_WAIT_S)
            )
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        self.loop.close()
