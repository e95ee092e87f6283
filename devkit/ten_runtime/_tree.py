"""Property trees: JSON objects read and written by dotted paths.

A path is `name`, `outer.inner` or `list[0].name`; None and "" are the root.
"""

import functools
import itertools
import json
import re
from typing import Any

from ._errors import TenError, TenErrorCode
from ._process import _abort

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class PropertyTree:
    """A JSON object and the typed access that messages and envs share.

    Getters do not convert: a getter of another type than the value's gives
    its default and a TenError.
    """

    __slots__ = ("root",)

    def __init__(self, root: dict | None = None) -> None:
        self.root: dict = {} if root is None else root

    def copy(self) -> "PropertyTree":
        # By way of JSON: the trees are small and hold nothing else.
        return PropertyTree(json.loads(json.dumps(self.root)))

    def exists(self, path: str) -> bool:
        return self._find(path)[1]

    def to_json(self, path: str | None) -> tuple[str, TenError | None]:
        """The JSON text at `path`, indented by 4; "" and an error if none."""
        value, found = self._find(path)
        if not found:
            return "", _missing(path)
        return json.dumps(value, indent=4, ensure_ascii=False), None

    def set_from_json(self, path: str | None, text: str) -> TenError | None:
        """Put the parsed `text` at `path`; at the root it replaces all.

        A root that is no object ends the process, as in the C core.
        """
        try:
            value = json.loads(text)
        except ValueError as exc:
            return TenError.create(
                TenErrorCode.ErrorCodeInvalidJSON, f"invalid JSON: {exc}"
            )
        if not path:
            if not isinstance(value, dict):
                _abort("the root of a property tree must be a JSON object")
            self.root = value
            return None
        return self.set(path, value)

    def set(self, path: str, value: Any) -> TenError | None:
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

    def get_int(self, path: str) -> tuple[int, TenError | None]:
        value, found = self._find(path)
        if type(value) is int and INT64_MIN <= value <= INT64_MAX:
            return value, None
        return 0, _unlike(path, found, "int")

    def get_string(self, path: str) -> tuple[str, TenError | None]:
        value, found = self._find(path)
        if type(value) is str:
            return value, None
        return "", _unlike(path, found, "string")

    def get_bool(self, path: str) -> tuple[bool, TenError | None]:
        value, found = self._find(path)
        if type(value) is bool:
            return value, None
        return False, _unlike(path, found, "bool")

    def get_float(self, path: str) -> tuple[float, TenError | None]:
        value, found = self._find(path)
        if type(value) is float:
            return value, None
        return 0.0, _unlike(path, found, "float")

    def _find(self, path: str | None) -> tuple[Any, bool]:
        if not path:
            return self.root, True
        node: Any = self.root
        steps = _steps(path)
        for step in steps:
            # Most of what is read is in objects: no call for those.
            if isinstance(node, dict):
                node = node.get(step, _NOTHING)
            else:
                node = _child(node, step)
            if node is _NOTHING:
                return None, False
        return (node, True) if steps else (None, False)


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


def _missing(path: str | None) -> TenError:
    return TenError.create(
        TenErrorCode.ErrorCodeGeneric, f"no property at '{path}'"
    )


def _unlike(path: str, found: bool, wanted: str) -> TenError:
    if not found:
        return _missing(path)
    return TenError.create(
        TenErrorCode.ErrorCodeInvalidType,
        f"the property at '{path}' is not of type {wanted}",
    )
