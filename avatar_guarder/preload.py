#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Imports once the libraries that each test's process would import again.

The process that forks the others never loads the extension, nor the real
runtime. Once a first process has loaded the extension without starting a
thread, it imports the same libraries, and the processes that follow have them
from the start.
"""

import gc
import importlib
import json
import os
import sys
import sysconfig
import threading
from pathlib import Path

RUNTIME = "ten_runtime"
LIBRARIES = ("site-packages", "dist-packages")
STANDARD = tuple(
    sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib")
)


def thread_count() -> int:
    """Return the number of threads of this process, native ones included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # not Linux
        return threading.active_count()


def write(path: Path, known: frozenset[str], threads: int) -> None:
    """Write which libraries have been imported besides the `known` ones.

    None where there are more threads now than `threads`: a process that has
    threads must not fork.
    """
    names: list[str] = []
    if thread_count() <= threads:
        names = [
            name
            for name, module in list(sys.modules.items())
            if name not in known and _is_of_library(name, module)
        ]
    part = path.with_suffix(".part")
    part.write_text(json.dumps(names), encoding="utf-8")
    part.rename(path)


def _is_of_library(name: str, module: object) -> bool:
    if name.partition(".")[0] == RUNTIME:
        # A stand-in is Python alone; the real runtime starts threads.
        return getattr(sys.modules[RUNTIME], "IS_STAND_IN", False)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return name in sys.builtin_module_names
    return file.startswith(STANDARD) or any(
        folder in Path(file).parts for folder in LIBRARIES
    )


def load(path: Path) -> None:
    """Import the libraries that `write` has written."""
    names = json.loads(path.read_text(encoding="utf-8"))
    is_blocked = RUNTIME not in names and RUNTIME not in sys.modules
    if is_blocked:
        sys.modules[RUNTIME] = None  # type: ignore[assignment]
    streams = sys.stdout, sys.stderr
    # A library may keep the stream that it finds; these outlive a fork.
    use_descriptors()
    try:
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException:  # the test that needs it says why
                continue
    finally:
        sys.stdout, sys.stderr = streams
        if is_blocked:
            del sys.modules[RUNTIME]
    # What a child does not use it shall not copy.
    gc.collect()
    gc.freeze()


def use_descriptors() -> None:
    """Have Python print to the descriptors 1 and 2, line by line."""
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
