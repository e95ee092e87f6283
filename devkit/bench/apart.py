"""Runs a function in a process of its own, which has just been started."""

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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
        with _interrupts_ignored():
            done = pool.submit(work, *arguments)
        try:
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
def _interrupts_ignored() -> Iterator[None]:
    """Have a process that starts meanwhile ignore Ctrl-C, too.

    It would end with a traceback of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
