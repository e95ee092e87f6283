"""Small values that calls take and return.

Errors, which are returned and never raised; log levels, log and send options,
places; typed values, a form in which log calls take structured fields.
"""

from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

_E = TypeVar("_E", bound="TenError")

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
    """The binding's native error, which the methods of messages return.

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
    """An error: a code and a text. Not an exception."""

    __slots__ = ()

    def __init__(self) -> None:
        raise NotImplementedError("TenError.create() makes an error.")

    @classmethod
    def create(
        cls: type[_E],
        error_code: TenErrorCode,
        error_message: "str | None" = None,
    ) -> _E:
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


class LogLevel(IntEnum):
    INVALID = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class LogOption:
    """How a log call finds its caller; the stand-in does not read it."""

    __slots__ = ("skip", "sync")

    def __init__(self, skip: int = 2, sync: bool = False) -> None:
        self.skip = skip
        self.sync = sync


DefaultLogOption = LogOption(skip=2)


class SendOptions:
    """`wait_for_result`: wait until the message is on its way, or has failed.

    Without it a send neither waits nor reports an error.
    """

    __slots__ = ("wait_for_result",)

    def __init__(self, wait_for_result: bool = False) -> None:
        self.wait_for_result = wait_for_result


class Loc(NamedTuple):
    """Where a message comes from; all None for one made by oneself."""

    app_uri: str | None = None
    graph_id: str | None = None
    extension_name: str | None = None


_T = TypeVar("_T")
_V = TypeVar("_V", bound="Value")

_INT64 = range(-(2**63), 2**63)


class ValueType(IntEnum):
    INVALID = 0
    NULL = 1
    BOOL = 2
    INT = 3
    FLOAT = 4
    STRING = 5
    BYTES = 6
    ARRAY = 7
    OBJECT = 8
    JSON_STRING = 9


class Value:
    """One value and its type. A getter of another type gives an error."""

    __slots__ = ("_data", "_type")

    def __init__(self, value_type: ValueType, value_data: Any) -> None:
        self._type = value_type
        self._data = value_data

    @classmethod
    def from_bool(cls: type[_V], value: bool) -> _V:
        return cls(ValueType.BOOL, value)

    @classmethod
    def from_int(cls: type[_V], value: int) -> _V:
        return cls(ValueType.INT, value)

    @classmethod
    def from_float(cls: type[_V], value: float) -> _V:
        return cls(ValueType.FLOAT, value)

    @classmethod
    def from_string(cls: type[_V], value: str) -> _V:
        return cls(ValueType.STRING, value)

    @classmethod
    def from_buf(cls: type[_V], value: bytes) -> _V:
        return cls(ValueType.BYTES, value)

    @classmethod
    def from_array(cls: type[_V], value: "list[Value]") -> _V:
        return cls(ValueType.ARRAY, value)

    @classmethod
    def from_object(cls: type[_V], value: "dict[str, Value]") -> _V:
        return cls(ValueType.OBJECT, value)

    @classmethod
    def from_json_string(cls: type[_V], value: str) -> _V:
        return cls(ValueType.JSON_STRING, value)

    @classmethod
    def from_python(cls: type[_V], value: Any) -> _V:
        """Make the value of a Python object; of one unknown, of its text."""
        if isinstance(value, Value):
            return cls(value._type, value._data)
        if isinstance(value, list):
            return cls.from_array([Value.from_python(item) for item in value])
        if isinstance(value, dict):
            return cls.from_object(
                {
                    str(key): Value.from_python(item)
                    for key, item in value.items()
                }
            )
        for kind, value_type in _SCALARS.items():
            if isinstance(value, kind):
                return cls(value_type, value)
        return cls.from_string(str(value))

    def get_type(self) -> ValueType:
        return self._type

    def get_bool(self) -> tuple[bool, TenError | None]:
        return self._get(ValueType.BOOL, False)

    def get_int(self) -> tuple[int, TenError | None]:
        return self._get(ValueType.INT, 0)

    def get_float(self) -> tuple[float, TenError | None]:
        return self._get(ValueType.FLOAT, 0.0)

    def get_string(self) -> tuple[str, TenError | None]:
        return self._get(ValueType.STRING, "")

    def get_buf(self) -> tuple[bytes, TenError | None]:
        return self._get(ValueType.BYTES, b"")

    def get_array(self) -> "tuple[list[Value], TenError | None]":
        return self._get(ValueType.ARRAY, [])

    def get_object(self) -> "tuple[dict[str, Value], TenError | None]":
        return self._get(ValueType.OBJECT, {})

    def get_json_string(self) -> tuple[str, TenError | None]:
        return self._get(ValueType.JSON_STRING, "")

    def _get(
        self, wanted: ValueType, default: _T
    ) -> tuple[_T, TenError | None]:
        if self._type is wanted:
            return self._data, None
        text = f"the value is of type {self._type.name}, not {wanted.name}"
        return default, TenError.create(TenErrorCode.ErrorCodeInvalidType, text)


# In this order: a bool is an int, too.
_SCALARS = {
    bool: ValueType.BOOL,
    int: ValueType.INT,
    float: ValueType.FLOAT,
    str: ValueType.STRING,
    bytes: ValueType.BYTES,
}


def plain(value: Any) -> Any:
    """Return the Python object that a log line shows for `value`.

    ValueError if it cannot be serialized: an integer beyond 64 bits, a text
    with a lone surrogate.
    """
    value = Value.from_python(value)
    data = value._data
    if value._type is ValueType.ARRAY:
        return [plain(item) for item in data]
    if value._type is ValueType.OBJECT:
        return {plain(key): plain(item) for key, item in data.items()}
    if value._type is ValueType.INT and data not in _INT64:
        raise ValueError(f"the integer {data} does not fit into 64 bits")
    if isinstance(data, str):
        data.encode()
    return data
