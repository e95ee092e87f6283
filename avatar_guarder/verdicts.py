#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Verdicts on rules, and the one line that gives the reason."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from . import worker

KEPT, BROKEN = "kept", "broken"
NOT_TESTABLE, NOT_APPLICABLE = "not testable", "not applicable"
OUTCOMES = (BROKEN, KEPT, NOT_TESTABLE, NOT_APPLICABLE)
"""In the order in which a report shows them."""

ENDED = "ended"
"""The kind of a break that has ended the worker."""

_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
DETAIL_CHARS = 4000


@dataclass(frozen=True)
class Verdict:
    """The verdict on one rule."""

    rule: str
    outcome: str
    """One of `OUTCOMES`."""
    how: str = ""
    """One line: how it is broken, or why it has no verdict."""
    detail: str = ""
    """The last traceback of a worker that ended."""
    took_s: float = 0.0


@dataclass(frozen=True)
class Break:
    """One test of a rule that failed."""

    how: str
    kind: str = ""
    """`ENDED` or ""."""
    cause: str = ""
    """The same for two workers that ended at the same line."""
    detail: str = ""


def break_of_process(
    code: int, stream: Path, escapes: list[worker.Escape], folder: Path
) -> Break:
    """Return how a worker's process ended by itself."""
    text = plain(stream.read_text(encoding="utf-8", errors="replace"))
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    trace = last_traceback(text)
    place = _place_in(text, folder)
    if escapes and escapes[0].kind != "Ended":
        cause = escapes[0].cause
        how = f"the worker ended: {escapes[0]}"
    else:
        said = trace.splitlines()[-1] if trace else _last_words(text)
        how = f"the worker ended ({name})" + (f": {said}" if said else "")
        how += f" ({place})" if place else ""
        cause = place or said
    return Break(how, ENDED, cause, trace or text[-DETAIL_CHARS:])


def break_of_hang(limit_s: float, stream: Path, folder: Path) -> Break:
    """Return how a process that was killed hung."""
    text = plain(stream.read_text(encoding="utf-8", errors="replace"))
    place = _place_in(text.rpartition("Timeout (")[2], folder)
    return Break(
        f"did not end within {limit_s:g} s"
        + (f": it hangs at {place}" if place else ": the extension hangs"),
        "",
        place,
        text[-DETAIL_CHARS:],
    )


def plain(text: str) -> str:
    """Return a text without color codes."""
    return _COLORS.sub("", text)


def last_traceback(text: str) -> str:
    """Return the last traceback of a text up to its exception's line."""
    head = "Traceback (most recent call last)"
    _, found, rest = text.rpartition(head)
    if not found:
        return ""
    lines = [head + ":"]
    for line in rest.splitlines()[1:]:
        lines.append(line)
        if line and not line.startswith((" ", "|")):
            break
    return "\n".join(lines)[-DETAIL_CHARS:]


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    if isinstance(error, AssertionError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _last_words(text: str) -> str:
    """Return the last line that is no part of a stack."""
    # The lines of Python's fault handler are about threads, not the cause.
    text = text.partition("Fatal Python error")[0]
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith((" ", "Traceback"))
    ]
    return lines[-1][:300] if lines else ""


def _place_in(text: str, folder: Path) -> str:
    """Return the deepest frame of the last stack inside the extension."""
    stack = text.rpartition("Fatal Python error")[2]
    frames = [
        (name, line)
        for name, line in _FRAME.findall(stack)
        if worker.is_inside(name, folder)
    ]
    if not frames:
        return ""
    # The fault handler prints the most recent call first.
    newest_first = stack is not text or "most recent call first" in text
    name, line = frames[0] if newest_first else frames[-1]
    return f"{Path(name).name}:{line}"
