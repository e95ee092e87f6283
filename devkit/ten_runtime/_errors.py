"""Errors as the runtime hands them out: returned values, never raised."""

from enum import IntEnum
from typing import TypeVar

_T = TypeVar("_T", bound="TenError")

NO_SUCH_PROPERTY = 100000
"""Code of a getter's error where nothing stands at the path."""


class TenErrorCode(IntEnum):
    ErrorCodeGeneric = 1
    ErrorCodeInvalidJSON = 2
    ErrorCodeInvalidArgument = 3
    ErrorCodeInvalidType = 4
    ErrorCodeInvalidGraph = 5
    ErrorCodeTenIsClosed = 6
    ErrorCodeMsgNotConnected = 7
    ErrorCodeTimeout = 8


class _TenError:
    """The binding's native error: what the methods of messages return.

    Every TenError is one, but not the other way round.
    """

    __slots__ = ("_code", "_message")

    _code: int
    _message: str

    def error_code(self) -> int:
        return self._code

    def error_message(self) -> str:
        return self._message

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {int(self._code)}: {self._message}>"


class TenError(_TenError):
    """What went wrong: a code and a text. Not an exception."""

    __slots__ = ()

    def __init__(self) -> None:
        raise NotImplementedError("TenError.create() makes an error.")

    @classmethod
    def create(
        cls: type[_T],
        error_code: TenErrorCode,
        error_message: "str | None" = None,
    ) -> _T:
        error = cls.__new__(cls)
        error._code = error_code.value
        error._message = error_message or ""
        return error


def native_error(code: int, message: str) -> _TenError:
    """An error as a message's method returns it."""
    error = _TenError()
    error._code = int(code)
    error._message = message
    return error


def as_ten_error(error: "_TenError | None") -> "TenError | None":
    """The same error as an env's method returns it."""
    if error is None:
        return None
    same = TenError.__new__(TenError)
    same._code, same._message = error._code, error._message
    return same


def closed() -> TenError:
    """The error of every call made after on_deinit."""
    return TenError.create(
        TenErrorCode.ErrorCodeTenIsClosed,
        "the extension has been deinitialized",
    )


def not_connected(name: str) -> TenError:
    """The error for a message that nothing in the graph takes."""
    return TenError.create(
        TenErrorCode.ErrorCodeMsgNotConnected,
        f"message '{name}' is not connected",
    )
