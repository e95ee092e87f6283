"""Files that a command writes, tried before it begins."""

from pathlib import Path


def try_to_write(path: Path) -> None:
    """Raise OSError or ValueError where `path` cannot become a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


def why_not_written(error: Exception, path: Path | None = None) -> str:
    """Return one line about what `try_to_write` raised, or a later write."""
    named = path or getattr(error, "filename", None) or "the file"
    reason = getattr(error, "strerror", None) or error
    return f"{named} cannot be written: {reason}"
