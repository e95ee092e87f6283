"""Tries whether the dump could be written, and leaves nothing behind."""

import contextlib
import os
import tempfile
from pathlib import Path


def check_dump_folder(folder: str) -> list[str]:
    """Return the sentence about a `dump_path` that cannot be written.

    A relative one is not tried: it begins where the agent runs.
    """
    if not os.path.isabs(folder):
        return []
    reason = _why_not_written(Path(folder))
    if not reason:
        return []
    return [
        f"dump_path: {folder} cannot be written from here: {reason}; speech "
        "continues without the dump"
    ]


def _why_not_written(folder: Path) -> str:
    """Return why no file can be made in `folder`, "" if one can.

    Neither mode bits nor `os.access` tell of a file system that takes no
    files, such as /proc: hence a trial.
    """
    made: list[Path] = []
    try:
        for each in (*reversed(folder.parents), folder):
            if not each.exists():
                each.mkdir()
                made.append(each)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    finally:
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()
    return ""
