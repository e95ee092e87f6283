"""The two ways in which the real runtime ends its process.

Each is one function, so that tests can reach the cases in a subprocess and
nothing else in the stand-in ends the process by itself. While a tester runs
the end is reported to it instead, and its run() raises a ProcessEnded.
"""

import os
import sys
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import NoReturn

# Seconds after which a wait without a limit names its reason. The real
# runtime waits indefinitely and in silence.
NOTICE_AFTER_S = 10.0

Reporter = Callable[[str], None]

# Inherited by the tasks, callbacks and threads that a handler makes.
_reporter: ContextVar[Reporter | None] = ContextVar("_reporter", default=None)


class Ended(BaseException):
    """Raised where the process would have ended, so that nothing follows.

    It was reported before it was raised: no `except` hides the end.
    """


def report_to(reporter: Reporter | None) -> None:
    """Report the end of the process instead, in the current context.

    None ends the process again.
    """
    _reporter.set(reporter)


def _abort(message: str) -> NoReturn:
    """End the process as a failed assertion in the C core does (SIGABRT)."""
    _report(message)
    _say(message)
    os.abort()


def _exit_process(message: str) -> NoReturn:
    """End the process at once with code 1, without cleaning up."""
    _report(message)
    _say(message)
    os._exit(1)


def _report(message: str) -> None:
    reporter = _reporter.get()
    if reporter is not None:
        reporter(message)
        raise Ended(message)


def _say(message: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"ten_runtime stand-in: {message}\n")
    sys.stderr.flush()


def wait_without_limit(wait: Callable[[float], bool], awaited: str) -> None:
    """Call `wait(seconds)` until it is true, and report lateness on stderr."""
    while not wait(NOTICE_AFTER_S):
        _say(f"still waiting for {awaited}; the real runtime has no limit")


class ProcessEnded(RuntimeError):
    """The real runtime would have ended the whole process here."""


class HandlerFailed(ProcessEnded):
    """An exception escaped an `on_*` method; `__cause__` is the exception."""

    def __init__(self, where: str, cause: BaseException) -> None:
        trace = "".join(traceback.format_exception(cause))
        super().__init__(
            f"{where} let {type(cause).__name__} out, which ends the whole "
            f"process in the real runtime\n{trace}"
        )
        self.__cause__ = cause


class ProcessAborted(ProcessEnded):
    """A call was made that no `except` survives in the real runtime."""

    def __init__(self, where: str, reason: str) -> None:
        stack = "".join(traceback.format_stack()[:-3])
        super().__init__(
            f"{where}: {reason}. This ends the whole process in the real "
            f"runtime\n{stack}"
        )
