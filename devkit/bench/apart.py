"""Runs a function in a process of its own, which has just been started."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from devkit.lifeline import end_with_parent_process

T = TypeVar("T")


def apart(work: Callable[..., T], *arguments: object) -> T:
    """Return what `work` returns there, or raise what it raises."""
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=end_with_parent_process,
    ) as pool:
        return pool.submit(work, *arguments).result()
