"""The properties an extension starts with, and types of all properties.

property.json of its package, the graph node's `property` merged over it, then
the placeholders, then the types that manifest.json declares: in this order. A
manifest's `api` declares types for messages as well. An undeclared property is
not checked; schemas that a manifest imports through `interface` are not read.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from . import _log
from ._messages import CmdResult, Msg, properties_of
from ._process import _abort, _exit_process
from ._tree import parse_json, reason_to_abort
from ._values import LogLevel

_INT_RANGES = {
    f"{sign}int{bits}": (
        (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    for bits in (8, 16, 32, 64)
    for sign in ("", "u")
}
_FLOATS = ("float32", "float64")


def mismatch(schema: dict, value: Any, where: str = "") -> str | None:
    """Why `value` does not fit `schema`, or None if it does.

    An integer fits a float type and every integer type that can hold it;
    nothing else converts.
    """
    wanted = schema.get("type")
    place = f"'{where}'" if where else "the value"
    if wanted in _INT_RANGES:
        low, high = _INT_RANGES[wanted]
        if type(value) is not int:
            return f"{place} is {_type_name(value)}, declared {wanted}"
        if not low <= value <= high:
            return f"{place} is out of the range of {wanted}"
        return None
    if wanted in _FLOATS:
        fits = type(value) in (int, float)
    elif wanted == "string":
        fits = type(value) is str
    elif wanted == "bool":
        fits = type(value) is bool
    elif wanted == "object":
        if isinstance(value, dict):
            return mismatch_in_object(schema, value, where)
        fits = False
    elif wanted == "array":
        if isinstance(value, list):
            return _mismatch_in_array(schema, value, where)
        fits = False
    else:
        return None
    return (
        None if fits else f"{place} is {_type_name(value)}, declared {wanted}"
    )


def mismatch_in_object(
    schema: dict, value: dict, where: str = ""
) -> str | None:
    """Like `mismatch`, for `{"properties": {...}, "required": [...]}`."""
    prefix = f"{where}." if where else ""
    for name in schema.get("required") or ():
        if name not in value:
            return f"'{prefix}{name}' is required and missing"
    for name, declared in (schema.get("properties") or {}).items():
        if name in value:
            reason = mismatch(declared, value[name], prefix + name)
            if reason is not None:
                return reason
    return None


def _mismatch_in_array(schema: dict, value: list, where: str) -> str | None:
    items = schema.get("items")
    if items:
        for index, item in enumerate(value):
            reason = mismatch(items, item, f"{where}[{index}]")
            if reason is not None:
                return reason
    return None


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string"}
    names.update({bool: "a bool", int: "an integer", float: "a float"})
    return names.get(type(value), "null")


class Schemas:
    """The `api` part of one extension's manifest."""

    def __init__(self, api: dict | None = None) -> None:
        api = api or {}
        self.properties = _as_object_schema(api.get("property"))
        self._messages: dict[tuple[str, str], dict] = {}
        for kind in ("cmd", "data", "audio_frame", "video_frame"):
            for direction in ("in", "out"):
                key = f"{kind}_{direction}"
                for entry in api.get(key) or ():
                    self._add(key, entry)

    def _add(self, key: str, entry: dict) -> None:
        name = entry.get("name", "")
        if entry.get("property"):
            schema = _as_object_schema(entry["property"])
            self._messages[key, name] = schema
        result = (entry.get("result") or {}).get("property")
        if result and key == "cmd_in":
            # The extension answers the commands that come in, so their
            # results are messages that go out.
            self._messages["result_out", name] = _as_object_schema(result)

    def mismatch_incoming(self, msg: Msg) -> str | None:
        """Why a message may not enter the extension, or None."""
        return self._mismatch(msg, "_in")

    def mismatch_outgoing(self, msg: Msg) -> str | None:
        """Why a message may not leave the extension, or None."""
        return self._mismatch(msg, "_out")

    def _mismatch(self, msg: Msg, direction: str) -> str | None:
        if not self._messages:
            return None
        name = msg.cmd_name() if isinstance(msg, CmdResult) else msg.get_name()
        schema = self._messages.get((msg.schema_kind + direction, name))
        if schema is None:
            return None
        return mismatch_in_object(schema, properties_of(msg))


def _as_object_schema(declared: dict | None) -> dict:
    """Manifests hold `{"properties": {...}}` or, older ones, the inside."""
    if not declared:
        return {}
    properties = declared.get("properties")
    if isinstance(properties, dict) and not isinstance(
        properties.get("type"), str
    ):
        return declared
    return {"properties": declared}


_PLACEHOLDER = re.compile(r"\$\{env:([^|}]+)(?:\|(.*))?\}", re.DOTALL)


def read_manifest(base_dir: str | None) -> dict:
    """manifest.json of a package; {} without a folder or without the file."""
    path = Path(base_dir or "", "manifest.json")
    if base_dir is None or not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))


def load_properties(
    base_dir: str | None, node_property: dict, schemas: Schemas, name: str
) -> dict:
    """The merged tree for the extension `name`.

    Ends the process where the runtime does: a placeholder without default
    whose variable is unset, a value of another type than declared, an integer
    above 2**63 - 1, an object with the same key twice (but at the root of the
    node's property, where the last one counts).
    """
    file_property = _read_property_file(base_dir, name)
    for tree in (file_property, dict(node_property)):
        reason = reason_to_abort(tree)
        if reason is not None:
            _abort(f"invalid property of extension '{name}': {reason}")
    merged = merge(file_property, node_property)
    resolved = resolve_placeholders(merged)
    reason = mismatch_in_object(schemas.properties, resolved)
    if reason is not None:
        _abort(f"invalid property of extension '{name}': {reason}")
    return resolved


def merge(base: dict, over: dict) -> dict:
    """`over` laid deep over `base`: objects merge, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = merge(below, value)
        merged[key] = value
    return merged


def resolve_placeholders(value: Any) -> Any:
    """`value` with each `${env:NAME}`, `${env:NAME|default}` filled in.

    Only whole strings are placeholders, and they always become strings.
    """
    if isinstance(value, dict):
        return {k: resolve_placeholders(v) for k, v in value.items()}
    if isinstance(value, list):
        return [resolve_placeholders(item) for item in value]
    if not isinstance(value, str):
        return value
    match = _PLACEHOLDER.fullmatch(value)
    if match is None:
        return value
    variable, default = match.groups()
    found = os.environ.get(variable, default)
    if found is None:
        _exit_process(f"the environment variable {variable} is not set")
    return found


def _read_property_file(base_dir: str | None, name: str) -> dict:
    path = Path(base_dir or "", "property.json")
    if base_dir is None or not path.is_file():
        return {}
    try:
        tree = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        return _ignored(path, name, f"it is no JSON: {exc}")
    if not isinstance(tree, dict):
        return _ignored(path, name, "its root is no object")
    if _holds_null(tree):
        return _ignored(path, name, "it holds a null")
    return tree


def _ignored(path: Path, name: str, why: str) -> dict:
    _log.emit(LogLevel.WARN, name, f"{path} is ignored as a whole: {why}")
    return {}


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_null(item) for item in value.values())
    if isinstance(value, list):
        return any(_holds_null(item) for item in value)
    return value is None
