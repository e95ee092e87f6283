"""Property trees: JSON objects read and written by dotted paths.

A path is `name`, `outer.inner` or `list[0].name`; None and "" are the root.
"""

import functools
import itertools
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from ._process import _abort
from ._values import (
    NO_SUCH_PROPERTY,
    TenErrorCode,
    _TenError,
    native_error,
)

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_UINT64_MAX = 2**64 - 1


class DuplicateKeys(dict):
    """An object whose JSON text held a key twice; here the last one counts.

    The C core keeps both, and aborts when it is to write them.
    """


def parse_json(text: str) -> Any:
    """The value of a JSON text, as the C core keeps it. ValueError.

    Integers beyond 64 bits become floats, and a string ends at its first NUL.
    """
    value = _DECODER.decode(text)
    return _cut_at_nul(value) if r"\u0000" in text else value


def reason_to_abort(value: Any) -> str | None:
    """Why the C core aborts when it writes `value` as JSON, or None."""
    if isinstance(value, dict):
        if isinstance(value, DuplicateKeys):
            return "an object holds the same key twice"
        return _first(map(reason_to_abort, value.values()))
    if isinstance(value, list):
        return _first(map(reason_to_abort, value))
    if type(value) is int and value > INT64_MAX:
        return f"the integer {value} is above 2**63 - 1"
    return None


class PropertyTree:
    """A JSON object and the typed access that messages and envs share.

    Getters do not convert: a getter of another type than the value's gives
    its default and an error. They end no process, for any tree.
    """

    __slots__ = ("root",)

    def __init__(self, root: dict | None = None) -> None:
        self.root: dict = {} if root is None else root

    def copy(self) -> "PropertyTree":
        return PropertyTree(_copied(self.root))

    def exists(self, path: str) -> bool:
        return self._find(path)[1]

    def to_json(self, path: str | None) -> tuple[str, _TenError | None]:
        """The JSON text at `path`, indented by 4; "" and an error if none.

        Ends the process where the C core cannot write the value.
        """
        value, found = self._find(path)
        if not found:
            return "", _missing(path)
        reason = reason_to_abort(value)
        if reason is not None:
            _abort(f"get_property_to_json({path!r}): {reason}")
        return json.dumps(value, indent=4, ensure_ascii=False), None

    def set_from_json(self, path: str | None, text: str) -> _TenError | None:
        """Put the parsed `text` at `path`; at the root it replaces all.

        A root that is no object ends the process, as in the C core.
        """
        try:
            value = parse_json(text)
        except ValueError as exc:
            return native_error(
                TenErrorCode.ErrorCodeInvalidJSON, f"invalid JSON: {exc}"
            )
        if not path:
            if not isinstance(value, dict):
                _abort("the root of a property tree must be a JSON object")
            self.root = value
            return None
        return self.set(path, value)

    def set(self, path: str, value: Any) -> _TenError | None:
        steps = _steps(path)
        if not steps:
            return _missing(path)
        node: Any = self.root
        for step, following in itertools.pairwise(steps):
            child = _child(node, step)
            if child is _NOTHING:
                # Objects on the way are made; lists are not.
                if not isinstance(node, dict) or isinstance(following, int):
                    return _missing(path)
                child = node[step] = {}
            node = child
        last = steps[-1]
        if isinstance(node, dict) and isinstance(last, str):
            node[last] = value
            return None
        if isinstance(node, list) and isinstance(last, int):
            if last < len(node):
                node[last] = value
                return None
        return _missing(path)

    def get_int(self, path: str) -> tuple[int, _TenError | None]:
        value, found = self._find(path)
        if type(value) is int and INT64_MIN <= value <= INT64_MAX:
            return value, None
        return 0, _unlike(path, found, "int64")

    def get_string(self, path: str) -> tuple[str, _TenError | None]:
        value, found = self._find(path)
        if type(value) is str:
            return value, None
        code = TenErrorCode.ErrorCodeInvalidArgument
        return "", _unlike(path, found, "string", code)

    def get_bool(self, path: str) -> tuple[bool, _TenError | None]:
        value, found = self._find(path)
        if type(value) is bool:
            return value, None
        return False, _unlike(path, found, "bool")

    def get_float(self, path: str) -> tuple[float, _TenError | None]:
        value, found = self._find(path)
        if type(value) is float:
            return value, None
        return 0.0, _unlike(path, found, "float")

    def get_buf(self, path: str) -> tuple[bytearray, _TenError | None]:
        value, found = self._find(path)
        if type(value) is bytes:
            return bytearray(value), None
        return bytearray(), _unlike(path, found, "buf")

    def _find(self, path: str | None) -> tuple[Any, bool]:
        if not path:
            return self.root, True
        node: Any = self.root
        steps = _steps(path)
        for step in steps:
            # Most values read are in objects: no call for those.
            if isinstance(node, dict):
                node = node.get(step, _NOTHING)
            else:
                node = _child(node, step)
            if node is _NOTHING:
                return None, False
        return (node, True) if steps else (None, False)


class PropertyAccess:
    """The typed access to properties that messages and envs share.

    Getters give `(value, None)` or `(default, error)` and convert nothing;
    setters give None or an error.
    """

    __slots__ = ()

    def get_property_to_json(
        self, path: str | None = None
    ) -> tuple[str, _TenError | None]:
        """JSON at a dotted path (None or "": all), indented by 4.

        Not for messages of other nodes: it ends the process where an integer
        above 2**63 - 1 or an object with the same key twice is to be written.
        """
        return self._read("to_json", path)

    def set_property_from_json(
        self, path: str | None, json_str: str
    ) -> _TenError | None:
        """Set the value at `path`; None replaces the whole tree."""
        return self._write("set_from_json", path, check_str(json_str))

    def get_property_int(self, path: str) -> tuple[int, _TenError | None]:
        return self._read("get_int", path)

    def set_property_int(self, path: str, value: int) -> _TenError | None:
        return self._write("set", path, check_int(value))

    def get_property_string(self, path: str) -> tuple[str, _TenError | None]:
        return self._read("get_string", path)

    def set_property_string(self, path: str, value: str) -> _TenError | None:
        return self._write("set", path, check_str(value))

    def get_property_bool(self, path: str) -> tuple[bool, _TenError | None]:
        return self._read("get_bool", path)

    def set_property_bool(self, path: str, value: bool) -> _TenError | None:
        return self._write("set", path, bool(value))

    def get_property_float(self, path: str) -> tuple[float, _TenError | None]:
        return self._read("get_float", path)

    def set_property_float(self, path: str, value: float) -> _TenError | None:
        return self._write("set", path, check_float(value))

    def _read(self, getter: str, path: str | None) -> Any:
        """Call a getter of the PropertyTree."""
        raise NotImplementedError

    def _write(self, setter: str, path: str | None, value: Any) -> Any:
        """Call a setter of the PropertyTree with a value that was checked."""
        raise NotImplementedError


def check_int(value: Any) -> int:
    """`value` as the C core takes it. ValueError if it is no int64."""
    if not isinstance(value, int) or not INT64_MIN <= value <= INT64_MAX:
        raise ValueError("Failed to parse arguments.")
    return int(value)


def check_str(value: Any) -> str:
    """`value` as the C core takes it. ValueError if no str, or with NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("Failed to parse arguments.")
    return value


def check_float(value: Any) -> float:
    """`value` as the C core takes it. ValueError if it is no number."""
    if not isinstance(value, (int, float)):
        raise ValueError("Failed to parse arguments.")
    return float(value)


_NOTHING = object()


def _child(node: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return node.get(step, _NOTHING) if isinstance(node, dict) else _NOTHING
    if isinstance(node, list) and step < len(node):
        return node[step]
    return _NOTHING


@functools.lru_cache
def _steps(path: str) -> tuple[str | int, ...]:
    return tuple(
        name if name else int(index) for name, index in _STEP.findall(path)
    )


def _number(text: str) -> int | float:
    if len(text) > 20:  # longer than any of 64 bits
        return _finite(text)
    number = int(text)
    return number if INT64_MIN <= number <= _UINT64_MAX else float(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number that a float can hold")
    return number


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict:
    value = dict(pairs)
    return value if len(value) == len(pairs) else DuplicateKeys(value)


_DECODER = json.JSONDecoder(
    parse_int=_number,
    parse_float=_finite,
    parse_constant=_finite,
    object_pairs_hook=_object_of_pairs,
)


def _cut_at_nul(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = [(_cut_at_nul(k), _cut_at_nul(v)) for k, v in value.items()]
        cut = _object_of_pairs(pairs)
        return cut if type(value) is dict else DuplicateKeys(cut)
    if isinstance(value, list):
        return [_cut_at_nul(item) for item in value]
    return value.partition("\0")[0] if isinstance(value, str) else value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)((k, _copied(v)) for k, v in value.items())
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _missing(path: str | None) -> _TenError:
    return native_error(NO_SUCH_PROPERTY, f"no property at '{path}'")


def _unlike(
    path: str,
    found: bool,
    wanted: str,
    code: TenErrorCode = TenErrorCode.ErrorCodeGeneric,
) -> _TenError:
    if not found:
        return _missing(path)
    return native_error(
        code, f"the property at '{path}' is not of type {wanted}"
    )
