"""Typed values: what log calls take as structured fields."""

from enum import IntEnum
from typing import Any


class ValueType(IntEnum):
    INVALID = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    OBJECT = 7


class Value:
    """One value and its type; only the kinds that fields are made of."""

    __slots__ = ("_data", "_type")

    def __init__(self, value_type: ValueType, data: Any) -> None:
        self._type = value_type
        self._data = data

    def get_type(self) -> ValueType:
        return self._type

    def get_data(self) -> Any:
        return self._data

    @classmethod
    def create_bool(cls, value: bool) -> "Value":
        return cls(ValueType.BOOL, value)

    @classmethod
    def create_int(cls, value: int) -> "Value":
        return cls(ValueType.INT, value)

    @classmethod
    def create_float(cls, value: float) -> "Value":
        return cls(ValueType.FLOAT, value)

    @classmethod
    def create_string(cls, value: str) -> "Value":
        return cls(ValueType.STRING, value)

    @classmethod
    def create_object(cls, value: dict[str, "Value"]) -> "Value":
        return cls(ValueType.OBJECT, value)
