"""JSON files, with every mistake in them located by line and column."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .tree import Tree, joined, leaves

MAX_INT, MIN_INT = 2**63 - 1, -(2**63)
"""The range of TEN's integers."""

_MAX_DIGITS = 40  # Python refuses to convert more than some thousand

_MAX_DEPTH = 100
"""Far more than a graph needs, and far less than Python's stack holds."""

_MISTAKES = {
    r"[\s,]*(//|/\*|#)": "a comment; JSON has no comments, remove it",
    r"[\s,]*(,)\s*([\]}])": "an extra comma before {}; remove it",
    r"[\s,]*(')": "a single quote; JSON has double quotes only",
    r"(?:(?<=[\[{])|\s*,)[\s,]*(,)": "an extra comma; remove it",
    r"[\s,]*?()\s*\Z": "the file ends in the middle of the JSON",
    r"[\s,]*(True|False|None)": "JSON writes true, false and null in small "
    "letters",
}
"""By the text from the end of the last value before the mistake on, with the
mistake's place in the first group."""

_IN_WORDS = {
    "Unterminated string": "this text has no closing quote",
    "Invalid control character": "a line break or a tab within text; JSON "
    "writes \\n and \\t",
    "Invalid \\": "a single backslash within text; JSON writes \\\\",
    "Expecting property name": "expected a name in double quotes",
    "Expecting ':'": "expected a colon between name and value",
    "Expecting ','": "expected a comma, or the end of the object or list",
    "Expecting value": "expected a value",
    "Extra data": "text after the end of the JSON; remove it",
}
"""By the beginning of the message of Python's parser."""

_FLAWS = (
    (
        lambda value: value is None,
        "null. TEN's official runtime ignores a whole property.json that "
        'holds a null anywhere; use "", or leave the property out',
    ),
    (
        lambda value: type(value) is int and not MIN_INT <= value < 2**64,
        "an integer of more than 64 bits, which TEN reads as a number with "
        "fewer digits",
    ),
    (
        lambda value: type(value) is int and value > MAX_INT,
        f"an integer above {MAX_INT} (63 bits); TEN aborts the whole process "
        "when an extension reads its properties",
    ),
    (
        lambda value: type(value) is float and not math.isfinite(value),
        "not a number that JSON has, or too large; TEN cannot read the file",
    ),
    (
        lambda value: type(value) is str and _has_surrogate(value),
        "text that is not valid Unicode (half of a surrogate pair); TEN "
        "cannot read the file",
    ),
)


class FileError(ValueError):
    """The file cannot be used; the text says why."""


class _Object(Tree):
    """A JSON object that knows which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def read_json(path: Path) -> Any:
    """Return the parsed file. Raises `FileError`, with line and column."""
    text = read_text(path)
    if not text.strip():
        raise FileError(f"{path} is empty; expected a JSON object")
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_object_of,
            parse_int=lambda digits: int(digits[:_MAX_DIGITS]),
        )
        if _is_too_deep(tree):
            raise RecursionError
    except json.JSONDecodeError as error:
        at, words = _mistake(text, error)
        # The line itself is not shown: a secret may stand in it.
        raise _error_at(path, text, at, words) from error
    except RecursionError:
        raise FileError(f"{path} is nested too deeply") from None
    return tree


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file. Raises `FileError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except IsADirectoryError:
        file = path / "property.json"
        known = f"{file}, or a graph file" if file.is_file() else "a file in it"
        raise FileError(
            f"{path} is a folder; expected a property.json or a graph file: "
            f"name {known}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be read: {reason}") from error
    encoding = json.detect_encoding(data)  # by its mark
    if encoding in ("utf-16", "utf-32"):
        raise _not_utf8(path, "", 0, f"the file is {encoding.upper()}")
    if encoding == "utf-8-sig":
        raise _error_at(
            path,
            "",
            0,
            "a byte order mark (BOM) before the text; save the file as UTF-8 "
            "without BOM",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before, byte = data[: error.start].decode(), data[error.start]
        found = f"the byte 0x{byte:02X}"
        raise _not_utf8(path, before, len(before), found) from error
    if "\0" in text:
        at = text.index("\0")
        raise _not_utf8(path, text, at, "NUL bytes, as in UTF-16")
    return text


def defects(tree: Any) -> list[str]:
    """Return the valid JSON that TEN does not take, each with its path."""
    found = []
    for path, value in leaves(tree):
        words = next((words for holds, words in _FLAWS if holds(value)), "")
        if words:
            found.append(f"{path}: {words}")
    return found + [
        f"{path}: this key appears twice in one object; TEN aborts the whole "
        "process when an extension reads its properties. Remove one of them"
        for path in _repeated(tree)
    ]


def _has_surrogate(text: str) -> bool:
    return re.search("[\ud800-\udfff]", text) is not None


def _is_too_deep(tree: Any) -> bool:
    # Level by level: a recursion would fail where it is to answer.
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _mistake(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """Return the index of the mistake, and its description."""
    words = next(
        (words for said, words in _IN_WORDS.items() if said in error.msg),
        f"not JSON: {error.msg}",
    )
    if error.msg.startswith("Invalid"):  # within text
        return error.pos, words
    # Python's own position is that of a comma or of the text behind it,
    # depending on its version.
    start = len(text[: error.pos].rstrip(" \t\r\n,"))
    for pattern, description in _MISTAKES.items():
        if found := re.compile(pattern).match(text, start):
            if found.end() == len(text) and error.msg.startswith("Extra data"):
                return error.pos, "a comma after the end of the JSON; remove it"
            return found.start(1), description.format(*found.groups()[1:])
    return error.pos, words


def _error_at(path: Path, text: str, at: int, words: str) -> FileError:
    place = json.JSONDecodeError("", text, at)
    return FileError(
        f"{path}, line {place.lineno}, column {place.colno}: {words}"
    )


def _not_utf8(path: Path, text: str, at: int, found: str) -> FileError:
    return _error_at(
        path, text, at, f"not UTF-8 ({found}); save the file as UTF-8"
    )


def _object_of(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        found.repeated = tuple(n for n in found if names.count(n) > 1)
    return found


def _repeated(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name in getattr(value, "repeated", ()):
            yield joined(path, name)
        for name, item in value.items():
            yield from _repeated(item, joined(path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")
