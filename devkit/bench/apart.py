"""Runs a function in a process of its own, which has just been started."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import TypeVar

from devkit.lifeline import end_with_parent_process

T = TypeVar("T")


def apart(work: Callable[..., T], *arguments: object) -> T:
    """Return what `work` returns there, or raise what it raises."""
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
    ) as pool:
        try:
            with interrupts_blocked():
                done = pool.submit(work, *arguments)
            return done.result()
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _prepare() -> None:
    end_with_parent_process()
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    """End the work, which then ends the processes that it has started."""
    # In the middle of an import, for example, there would be a complaint.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(1)


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Have a process that starts meanwhile never see Ctrl-C: it would end
    with a traceback of its own. Here it takes effect afterwards."""
    # It would unblock them when it starts.
    resource_tracker.ensure_running()
    came: list[int] = []
    # For this process: a thread of a library's own may take the signal.
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(1))
    # For the process that starts: it inherits what is blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if came and callable(handler):
        handler(signal.SIGINT, None)
