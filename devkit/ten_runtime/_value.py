"""Typed values: a form in which log calls take structured fields."""

from enum import IntEnum
from typing import Any, TypeVar

from ._errors import TenError, TenErrorCode

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
