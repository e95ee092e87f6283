#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Configurations: one file for each case, and where they hold a value.

A configuration is a graph node's `property`. Some extensions keep all of it
in `params`, most of TEN's keep it flat; a value is looked for in both.
"""

import copy
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .loader import Unusable, read_object

Tree = dict[str, Any]

FILES = {
    "basic": (
        "property_basic.json",
        "property.json",
        "property_basic_audio_setting1.json",
    ),
    "missing": ("property_miss_required.json", "property_empty.json"),
    "invalid": ("property_invalid.json",),
    "wrong_value": ("property_wrong_value.json",),
    "renewal": ("property_renewal.json",),
    "dump": ("property_dump.json",),
}
"""The files of each case, the first that exists counts."""

TEN_FILES = (
    "property_basic_audio_setting2.json",
    "property_en.json",
    "property_zh.json",
)
"""Cases of TEN's other guarders, which may lie in the same folder."""

SUFFIXES = (".json", ".jsn", ".jsonc", ".json5")
"""Of the files that may have been meant as cases."""

RATES = ("sample_rate", "input_audio_sample_rate", "input_sample_rate")
DEFAULT_RATE_HZ = 24000

SECRET_WORDS = ("key", "secret", "token", "cert", "password")
SHORTEST_SECRET = 8
"""Characters. A part of a secret that is shorter than this may be shown, as
TEN's own masking does."""

NOWHERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):9(?![0-9])")
"""An address at which nothing listens."""

_PLACEHOLDER = re.compile(r"\$\{env:([^}|]+)(\|[^}]*)?\}")


def find_file(folder: Path | None, case: str) -> Path | None:
    """Return the file of a case, None where there is none."""
    if folder is not None:
        for name in FILES[case]:
            if (folder / name).is_file():
                return folder / name
    return None


def check_folder(folder: Path) -> None:
    """Read each case. Raises `Unusable`, also for a misspelt name."""
    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder")
    for names in FILES.values():
        for path in (folder / name for name in names):
            tree = read_object(path) if path.is_file() else {}
            if not isinstance(tree.get("params", {}), dict):
                raise Unusable(f"{path}: params is no JSON object")
    stems = [Path(name).stem for names in FILES.values() for name in names]
    for path in unused_files(folder):
        near = difflib.get_close_matches(path.stem.lower(), stems, 1, 0.8)
        if near:
            raise Unusable(
                f"{path} is the file of no case; {near[0]}.json would be one"
            )


def unused_files(folder: Path) -> list[Path]:
    """Return the files that look like cases, and are none."""
    known = {*TEN_FILES, *(name for names in FILES.values() for name in names)}
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path.name not in known
        and (
            path.suffix.lower() in SUFFIXES
            or (not path.suffix and path.name.lower().startswith("property"))
        )
    )


def values(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each leaf."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from values(value, key)
    else:
        yield name, tree


def differences(tree: Tree, other: Tree) -> list[str]:
    """Return the names whose values differ from those in `other`."""
    others = dict(values(other))
    return [
        name for name, value in values(tree) if value != others.get(name, value)
    ] + [name for name, _ in values(tree) if name not in others]


def put(tree: Tree, base: Tree, name: str, value: Any) -> None:
    """Set a value where the configuration has that name.

    That is where the tree has it, else where the extension's own
    property.json has it, else in `params`, if there are any.
    """
    holder = _holder(tree, name)
    if holder is not None:
        holder[name] = value
    elif name in base or not ("params" in tree or "params" in base):
        tree[name] = value
    else:
        tree.setdefault("params", {})[name] = value


def drop(tree: Tree, name: str) -> None:
    """Remove a value, wherever it is."""
    holder = _holder(tree, name)
    if holder is not None:
        del holder[name]


def _holder(tree: Tree, name: str) -> Tree | None:
    if name in tree:
        return tree
    for value in tree.values():
        if isinstance(value, dict):
            found = _holder(value, name)
            if found is not None:
                return found
    return None


def emptied(tree: Tree) -> Tree:
    """Return a copy with each text empty."""
    return {
        name: emptied(value)
        if isinstance(value, dict)
        else ("" if isinstance(value, str) else copy.deepcopy(value))
        for name, value in tree.items()
    }


def moved(tree: Tree, port: int) -> Tree:
    """Return a copy whose addresses of nowhere lead to a port."""
    text = f"127.0.0.1:{port}"
    result: Tree = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            result[name] = moved(value, port)
        elif isinstance(value, str):
            result[name] = NOWHERE.sub(text, value)
        elif name.endswith("port") and value == 9:
            result[name] = port
        else:
            result[name] = value
    return result


def rate_hz(*trees: Tree) -> int:
    """Return the rate of the speech that a configuration is made for."""
    for wanted in (
        lambda name: name in RATES,
        lambda name: name.endswith("sample_rate") and "out" not in name,
    ):
        for tree in trees:
            for name, value in values(tree):
                rate = _number(value) if wanted(name.lower()) else 0
                if rate >= 8000:
                    return rate
    return DEFAULT_RATE_HZ


def _number(value: Any) -> int:
    if isinstance(value, str):
        value = resolved(value)
        return int(value) if value.isdigit() else 0
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number else 0


def resolved(text: str) -> str:
    """Return a text with its placeholder filled in, as the runtime does."""
    match = _PLACEHOLDER.fullmatch(text)
    if match is None:
        return text
    name, default = match.groups()
    return os.environ.get(name, (default or "|")[1:])


def set_placeholders(*trees: Tree) -> None:
    """Give each `${env:NAME}` without a default a value.

    The runtime ends the process at one that is not set.
    """
    for tree in trees:
        for _, value in values(tree):
            match = isinstance(value, str) and _PLACEHOLDER.fullmatch(value)
            if match and match[2] is None:
                os.environ.setdefault(match[1], "guard")


def secrets(tree: Tree) -> list[str]:
    """Return the values whose names say that they are secret."""
    found = []
    for name, value in values(tree):
        if isinstance(value, str) and any(
            word in name.lower() for word in SECRET_WORDS
        ):
            text = resolved(value)
            if len(text) >= SHORTEST_SECRET:
                found.append(text)
    return found
