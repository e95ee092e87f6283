"""Errors as the runtime hands them out: returned values, never raised."""

from enum import IntEnum
from typing import TypeVar

_T = TypeVar("_T", bound="TenError")


class TenErrorCode(IntEnum):
    ErrorCodeGeneric = 1
    ErrorCodeInvalidJSON = 2
    ErrorCodeInvalidArgument = 3
    ErrorCodeInvalidType = 4
    ErrorCodeInvalidGraph = 5
    ErrorCodeTenIsClosed = 6
    ErrorCodeMsgNotConnected = 7
    ErrorCodeTimeout = 8


class TenError:
    """What went wrong: a code and a text. Not an exception."""

    __slots__ = ("_code", "_message")

    _code: int
    _message: str

    def __init__(self) -> None:
        raise NotImplementedError("TenError.create() makes an error.")

    @classmethod
    def create(
        cls: type[_T],
        error_code: TenErrorCode,
        error_message: "str | None" = None,
    ) -> _T:
        error = cls.__new__(cls)
        error._code = error_code
        error._message = error_message or ""
        return error

    def error_code(self) -> int:
        return self._code

    def error_message(self) -> str:
        return self._message

    def __repr__(self) -> str:
        return f"<TenError {int(self._code)}: {self._message}>"


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
