"""The output of commands: files, tried before they begin, and text."""

import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""The exceptions of writing after the file was opened."""


def try_to_write(path: Path) -> None:
    """Raise OSError or ValueError where `path` cannot become a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


def is_same_file(path: Path, other: Path) -> bool:
    """Return whether both name one existing file."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def why_not_written(error: Exception, path: Path | None = None) -> str:
    """Return one line about what `try_to_write` raised, or a later write."""
    named = path or getattr(error, "filename", None) or "the file"
    reason = getattr(error, "strerror", None) or error
    return f"{named} cannot be written: {reason}"


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
            print(why_not_written(error, Path("the output")), file=sys.stderr)
        sys.exit(1)
    raise AssertionError("a command ends with its exit code")
