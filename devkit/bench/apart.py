"""Runs a function in a process of its own, which has just been started."""

import contextlib
import multiprocessing
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
            with _interrupts_blocked():
                done = pool.submit(work, *arguments)
            return done.result()
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _prepare() -> None:
    end_with_parent_process()
    # Processes that the work has started are ended by it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Have a process that starts meanwhile never see Ctrl-C: it would end
    with a traceback of its own. Here it takes effect afterwards."""
    # It would unblock them when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
