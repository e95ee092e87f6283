"""Ends a process together with the one that started it, however that ends.

A parent that is killed cannot end its children. So a child watches for it:
either by its standard input, which closes with the parent

    Popen([sys.executable, "-m", "devkit.lifeline", MODULE, ...], stdin=PIPE)

or, in a process of `multiprocessing`, by `end_with_parent_process`.
"""

import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Callable
from multiprocessing import connection


def end_with_stdin() -> None:
    """End this process as soon as its standard input closes."""

    def wait() -> None:
        try:
            while os.read(0, 1024):
                pass
        except OSError:
            pass  # there is none: nobody can hold it open

    _end_after(wait)


def end_with_parent_process() -> None:
    """End this process of `multiprocessing` as soon as its parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "not a process of multiprocessing"
    _end_after(lambda: connection.wait([parent.sentinel]))


def _end_after(wait: Callable[[], object]) -> None:
    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def main() -> None:
    """Run the module that the arguments name, with the rest of them."""
    end_with_stdin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
