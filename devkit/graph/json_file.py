"""JSON files, with every mistake in them located by line and column."""

import codecs
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .tree import Tree, joined, leaves

MAX_INT, MIN_INT = 2**63 - 1, -(2**63)
"""What TEN's integers hold."""

_MAX_DIGITS = 40  # Python refuses to convert more than some thousand

_MAX_DEPTH = 100
"""Far more than a graph needs, and far less than Python's stack holds."""

_FOREIGN_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)

_IN_WORDS = {
    "Expecting property name": "expected a name in double quotes",
    "Expecting ':'": "expected a colon between name and value",
    "Expecting ','": "expected a comma, or the end of the object or list",
    "Expecting value": "expected a value",
    "Unterminated string": "this text has no closing quote",
    "Invalid control character": "a line break or a tab within text; JSON "
    "writes \\n and \\t",
    "Invalid \\": "a single backslash within text; JSON writes \\\\",
}
"""What Python's parser says, by its beginning."""


class FileError(ValueError):
    """The file cannot be used; the text says why and what was expected."""


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
    except json.JSONDecodeError as error:
        raise _syntax_error(path, text, error) from error
    except RecursionError:
        raise _depth_error(path) from None
    if _is_too_deep(tree):
        raise _depth_error(path)
    return tree


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file. Raises `FileError`."""
    return _decoded(path, _bytes_of(path))


def defects(tree: Any) -> list[str]:
    """Return what JSON allows and TEN does not, each with its path."""
    found = []
    for path, value in leaves(tree):
        if value is None:
            found.append(
                f"{path}: null. TEN's official runtime ignores a whole "
                'property.json that holds a null anywhere; use "", or leave '
                "the property out"
            )
        elif type(value) is int and not MIN_INT <= value < 2**64:
            found.append(
                f"{path}: an integer of more than 64 bits, which TEN reads as "
                "a number with fewer digits"
            )
        elif type(value) is int and value > MAX_INT:
            found.append(
                f"{path}: an integer above {MAX_INT} (63 bits); TEN aborts the "
                "whole process when an extension reads its properties"
            )
        elif type(value) is float and not math.isfinite(value):
            found.append(
                f"{path}: not a number that JSON has, or too large; TEN "
                "cannot read the file"
            )
        elif type(value) is str and _has_surrogate(value):
            found.append(
                f"{path}: text that is not valid Unicode (half of a surrogate "
                "pair); TEN cannot read the file"
            )
    for path in _repeated(tree):
        found.append(
            f"{path}: this key appears twice in one object; TEN aborts the "
            "whole process when an extension reads its properties. Remove "
            "one of them"
        )
    return found


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise FileError(
            f"{path} is a folder; name the property.json or graph file in it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be read: {reason}") from error


def _decoded(path: Path, data: bytes) -> str:
    for mark, encoding in _FOREIGN_MARKS:
        if data.startswith(mark):
            raise _encoding_error(path, 1, 1, f"the file is {encoding}")
    if data.startswith(codecs.BOM_UTF8):
        raise FileError(
            f"{path}, line 1, column 1: a byte order mark (BOM) before the "
            "JSON; save the file as UTF-8 without BOM"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = _position(before, len(before))
        raise _encoding_error(
            path, line, column, f"the byte 0x{data[error.start]:02X}"
        ) from error
    if "\0" in text:
        line, column = _position(text, text.index("\0"))
        raise _encoding_error(path, line, column, "NUL bytes, as in UTF-16")
    return text


def _encoding_error(path: Path, line: int, column: int, what: str) -> FileError:
    return FileError(
        f"{path}, line {line}, column {column}: not UTF-8 "
        f"({what}); save the file as UTF-8"
    )


def _depth_error(path: Path) -> FileError:
    return FileError(f"{path} is nested too deeply")


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


def _syntax_error(
    path: Path, text: str, error: json.JSONDecodeError
) -> FileError:
    """Return the mistake in words.

    The line itself is not shown: a secret may stand in it.
    """
    at, what = _mistake(text, error)
    line, column = _position(text, at)
    return FileError(f"{path}, line {line}, column {column}: {what}")


def _mistake(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """Return where the mistake is, as an index, and what it is."""
    # Python's own position is that of a comma or of what follows it,
    # depending on its version.
    at = len(text) - len(text[error.pos :].lstrip(" \t\r\n,"))
    rest, before = text[at:], text[:at].rstrip()
    if rest.startswith(("//", "/*", "#")):
        return at, "a comment; JSON has no comments, remove it"
    if rest[:1] in ("}", "]") and before.endswith(","):
        return len(before) - 1, f"an extra comma before {rest[0]}; remove it"
    if rest.startswith("'"):
        return at, "a single quote; JSON has double quotes only"
    if not rest and error.msg.startswith("Extra data"):
        return error.pos, "a comma after the end of the JSON; remove it"
    if not rest:
        return len(before), "the file ends in the middle of the JSON"
    if error.msg.startswith("Extra data"):
        return at, "text after the end of the JSON; remove it"
    head = before.rstrip(" \t\r\n,")
    commas = before[len(head) :].count(",")
    if commas > 1 or (commas and head.endswith(("{", "["))):
        return before.rindex(","), "an extra comma; remove it"
    if rest.startswith(("True", "False", "None")):
        return at, "JSON writes true, false and null in small letters"
    for start, what in _IN_WORDS.items():
        if error.msg.startswith(start):
            return error.pos, what
    return error.pos, f"not JSON: {error.msg}"


def _position(text: str, at: int) -> tuple[int, int]:
    """Return line and column of an index, both counted from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


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
