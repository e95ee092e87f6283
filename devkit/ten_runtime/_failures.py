"""What a tester's run() raises where the real process would have ended."""

import traceback


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
