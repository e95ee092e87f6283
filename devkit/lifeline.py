"""Ends a process together with the one that started it, however that ends.

A parent that is killed cannot end its children. So a child watches its
standard input, which closes with the parent:

    Popen([sys.executable, "-m", "devkit.lifeline", MODULE, ...], stdin=PIPE)
"""

import contextlib
import os
import runpy
import sys
import threading


def end_with_stdin() -> None:
    """End this process as soon as its standard input closes."""
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    # Without any, no process can hold it open.
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os._exit(1)


def main() -> None:
    """Run the module that the arguments name, with the rest of them."""
    end_with_stdin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
