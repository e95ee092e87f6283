"""The properties an extension starts with.

property.json of its package, the graph node's `property` merged over it, then
the placeholders, then the types that manifest.json declares: in this order.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from . import _log
from ._options import LogLevel
from ._process import _abort, _exit_process
from ._schema import Schemas, mismatch_in_object
from ._tree import parse_json, reason_to_abort

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
