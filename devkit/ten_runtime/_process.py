"""The two ways in which the real runtime ends its process.

Each is one function, so that tests can reach the cases in a subprocess and
nothing else in the stand-in ends the process by itself.
"""

import os
import sys
import threading
from typing import NoReturn

# Seconds after which a wait without a limit says what it waits for. The real
# runtime waits for ever and in silence.
NOTICE_AFTER_S = 10.0


def _abort(message: str) -> NoReturn:
    """End the process as a failed assertion in the C core does (SIGABRT)."""
    _say(message)
    os.abort()


def _exit_process(message: str) -> NoReturn:
    """End the process at once with code 1, without cleaning up."""
    _say(message)
    os._exit(1)


def _say(message: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"ten_runtime stand-in: {message}\n")
    sys.stderr.flush()


def wait_without_limit(event: threading.Event, what: str) -> None:
    """Wait for `event`, saying on stderr what is late when it takes long."""
    while not event.wait(NOTICE_AFTER_S):
        _say(f"still waiting for {what}; the real runtime has no limit")
