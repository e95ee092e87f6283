"""JSON trees, and the dotted paths that lead through them."""

from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that is no object and no list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, joined(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def joined(path: str, name: str) -> str:
    """Return the path of the property `name` of the object at `path`."""
    return f"{path}.{name}" if path else name


def as_object(value: Any) -> Tree:
    """Return `value` if it is an object, {} otherwise."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return `value` if it is a list, [] otherwise."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Tree]:
    """Return the objects in a list; anything else is left out."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def kind(value: Any) -> str:
    """Return the name of a JSON type, with its article."""
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean"}
    for one, name in kinds.items():
        if isinstance(value, one):
            return name
    return "a number"
