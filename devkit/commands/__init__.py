"""The commands that bin/ starts."""

import contextlib
import io
import os
import signal
import sys
from typing import Any

from .. import package

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def stop_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, with one word.

    From the first import on, with any threads at work; a command with
    something to put in order sets handlers of its own.
    """

    def stop(*_: Any) -> None:
        is_terminal = sys.stderr.isatty()
        # A progress bar may have hidden the cursor, and stands in the line.
        clear = b"\r\x1b[K\x1b[?25h" if is_terminal else b""
        with contextlib.suppress(OSError):
            os.write(2, clear + b"stopped\n")
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, stop)


def print_anything() -> None:
    """Show characters that the terminal's encoding cannot print as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if sys.argv[0] == "-m":  # python -m devkit.commands.<name>, and no import
    # The real runtime, if it is on the path, hosts no extension without an App.
    sys.path.insert(0, str(package.ROOT / "devkit"))
    stop_on_interrupt()
    print_anything()
