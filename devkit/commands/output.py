"""The output of commands: files, tried before they begin, and text."""

import errno
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""The exceptions of writing after the file was opened."""


class NotWritten(Exception):
    """A file cannot be written; the text says which, and why."""

    def __init__(self, error: Exception, path: "Path | str") -> None:
        super().__init__(f"{path} cannot be written: {reason_of(error)}")


def try_to_write(
    path: Path, inputs: Sequence[Path] = (), name: str = ""
) -> None:
    """Raise `NotWritten` where `path` cannot become a file, or is an input.

    `name` stands for the inputs in the text.
    """
    try:
        if any(_is_same_file(path, one) for one in inputs):
            raise ValueError(f"it is {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except (OSError, ValueError) as error:
        raise NotWritten(error, path) from error


def _is_same_file(path: Path, other: Path) -> bool:
    """Return whether both name one existing file."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def reason_of(error: Exception) -> str:
    """Return what an exception says, without number and file name."""
    return getattr(error, "strerror", None) or str(error)


def print_line(console: Console, text: object, style: str = "") -> None:
    """Print a text that is no markup, in one line however long it is."""
    console.print(str(text), style=style, markup=False, soft_wrap=True)


def print_whole(console: Console, table: Table) -> None:
    """Print a table whose columns are not cut, however wide the output is."""
    unbounded = console.options.update(width=10_000)
    wide = Console(
        file=console.file,
        force_terminal=console.is_terminal,
        highlight=False,
        width=Measurement.get(console, unbounded, table).maximum,
    )
    wide.print(table)


def print_columns(
    console: Console, rows: Sequence[Sequence[tuple[str, str]]], gap: int = 2
) -> None:
    """Print rows of cells, each a text and its style, as aligned columns.

    The widest column is wrapped where the terminal is too narrow. A tenth of
    the time of a rich table, which has cells of any kind.
    """
    widths = [max(len(cell[0]) for cell in column) for column in zip(*rows)]
    room = console.width - sum(widths) - gap * (len(widths) - 1)
    widest = widths.index(max(widths))
    widths[widest] = max(10, widths[widest] + min(room, 0))
    shown = Text()
    for row in rows:
        cells = [
            textwrap.wrap(text, width, break_on_hyphens=False)
            for (text, _), width in zip(row, widths)
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            for part, width, (_, style) in zip(parts, widths, row):
                shown.append(part.ljust(width + gap), style)
            shown.rstrip()
            shown.append("\n")
    console.print(shown, end="", soft_wrap=True)


def keep_logs_out() -> None:
    """Keep the libraries' log and warnings off the terminal: the report says
    it in its own words."""
    # Without a handler Python prints warnings.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command; say in one line if its output cannot be written."""
    output = sys.stdout  # None where the caller has closed it
    try:
        try:
            app(prog_name=name)
        finally:
            if output is not None:
                output.flush()
    except OSError as error:
        if output is None or error.errno not in (*_FULL, errno.EPIPE):
            raise
        # Output that could not be written would be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        if error.errno != errno.EPIPE:  # its reader has seen enough
            print(NotWritten(error, "the output"), file=sys.stderr)
        sys.exit(1)
    raise AssertionError("a command ends with its exit code")
