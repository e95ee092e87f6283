"""Log lines: to stderr from a threshold on, to observers always.

`TEN_STAND_IN_LOG=debug|info|warn|error|off` is the threshold (default warn),
read when the package is imported.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._errors import TenError, TenErrorCode
from ._options import DefaultLogOption, LogLevel, LogOption
from ._value import Value, plain


@dataclass(frozen=True)
class LogLine:
    """One log call, whether it was printed or not."""

    level: LogLevel
    source: str
    """Name of the extension (or `app`, `tester`) that logged."""
    message: str
    category: str | None
    fields: Any
    """A dict of plain objects, whether it was given as one or as a Value."""
    place: str
    """`file:line function` of the direct caller of `log_*`; "" for lines of
    the runtime's own."""


observers: list[Callable[[LogLine], None]] = []
"""Called with every line, on the thread that logs. Not in the real runtime."""

_OFF = 100


def _threshold() -> int:
    name = os.environ.get("TEN_STAND_IN_LOG", "warn").strip().upper()
    if name == "OFF":
        return _OFF
    if name in LogLevel.__members__ and name != "INVALID":
        return LogLevel[name]
    raise ValueError(
        f"TEN_STAND_IN_LOG is '{name.lower()}': "
        "use debug, info, warn, error or off"
    )


_printed_from = _threshold()


def emit(
    level: LogLevel,
    source: str,
    message: str,
    category: str | None = None,
    fields: Any = None,
    place: str = "",
) -> None:
    """Log one line. ValueError where `message` is no str or holds a NUL."""
    if not isinstance(message, str) or "\0" in message:
        raise ValueError("a log message must be a str without NUL")
    if level >= _printed_from:
        tag = f" [{category}]" if category else ""
        # One write: lines of several threads must not mix.
        sys.stderr.write(f"{LogLevel(level).name[0]} {source}{tag} {message}\n")
    if observers:
        line = LogLine(
            LogLevel(level), source, message, category, fields, place
        )
        for observer in list(observers):
            observer(line)


class TenEnvBase:
    """The log calls that every kind of env has. Synchronous, any thread.

    Each gives None, or a TenError after on_deinit and for a field that cannot
    be serialized; the line is lost then. `option` changes nothing here: the
    place of a line is the direct caller's, a wrapper's if it is one.
    """

    _log_source = "app"

    def log_debug(
        self,
        msg: str,
        category: str | None = None,
        fields: Any = None,
        option: LogOption = DefaultLogOption,
    ) -> TenError | None:
        return self._log(LogLevel.DEBUG, msg, category, fields)

    def log_info(
        self,
        msg: str,
        category: str | None = None,
        fields: Any = None,
        option: LogOption = DefaultLogOption,
    ) -> TenError | None:
        return self._log(LogLevel.INFO, msg, category, fields)

    def log_warn(
        self,
        msg: str,
        category: str | None = None,
        fields: Any = None,
        option: LogOption = DefaultLogOption,
    ) -> TenError | None:
        return self._log(LogLevel.WARN, msg, category, fields)

    def log_error(
        self,
        msg: str,
        category: str | None = None,
        fields: Any = None,
        option: LogOption = DefaultLogOption,
    ) -> TenError | None:
        return self._log(LogLevel.ERROR, msg, category, fields)

    def log(
        self,
        level: LogLevel,
        msg: str,
        category: str | None = None,
        fields: Any = None,
        option: LogOption = DefaultLogOption,
    ) -> TenError | None:
        return self._log(level, msg, category, fields)

    def _log(
        self, level: LogLevel, msg: str, category: str | None, fields: Any
    ) -> TenError | None:
        error = self._log_error()
        if fields is not None and error is None:
            try:
                if not isinstance(fields, (dict, Value)):
                    raise TypeError(f"{type(fields).__name__} is no dict")
                fields = plain(fields)
            except Exception as exc:
                text = f"failed to serialize fields: {exc}"
                error = TenError.create(TenErrorCode.ErrorCodeGeneric, text)
        if error is None:
            caller = sys._getframe(2)
            code = caller.f_code
            place = f"{code.co_filename}:{caller.f_lineno} {code.co_name}"
            emit(level, self._log_source, msg, category, fields, place)
        return error

    def _log_error(self) -> TenError | None:
        """Why nothing is logged any more."""
        return None
