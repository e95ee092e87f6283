"""Environment variables from a file, as TEN's ai_agents/.env holds them."""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

from dotenv.parser import parse_stream

from .json_file import FileError, read_text
from .report import NodeReport

_LEVELS_ABOVE = 6
"""From an app in TEN's repository up to ai_agents, and a little further."""

_NOT_SET = re.compile(r"environment variable \w+(?: is|, which is) not set")
_QUOTED = re.compile(r"[^=]+=\s*[\"']")


def read_env_file(path: Path) -> tuple[dict[str, str], set[str]]:
    """Return the variables in the file, and which of them are in quotes.

    Raises `FileError`, with the line; no value is shown.
    """
    found, quoted = {}, set()
    for binding in parse_stream(io.StringIO(read_text(path))):
        if binding.error or (binding.key and binding.value is None):
            raise FileError(
                f"{path}, line {binding.original.line}: expected NAME=value, "
                "with a closing quote where the value begins with one"
            )
        if binding.key and binding.value is not None:
            found[binding.key] = binding.value
            if _QUOTED.match(binding.original.string):
                quoted.add(binding.key)
    return found, quoted


def warn_of_quotes(
    path: Path, quoted: set[str], reports: Iterable[NodeReport]
) -> list[str]:
    """Return the warning about values of the avatar that are in quotes."""
    used = {
        origin.variable
        for report in reports
        for origin in report.resolved.origins.values()
    }
    names = ", ".join(sorted(quoted & used))
    if not names:
        return []
    return [
        f"{path}: {names} in quotes, which TEN's Taskfile and docker compose "
        "remove and docker run --env-file keeps; write the values without"
    ]


def hint_at_env_file(file: Path, reports: Iterable[NodeReport]) -> list[str]:
    """Return the note about an unread .env above a file whose variables are
    not set."""
    errors = [text for report in reports for text in report.findings.errors]
    if not any(map(_NOT_SET.search, errors)):
        return []
    folder = Path(os.path.abspath(file)).parent
    for above in (folder, *folder.parents[:_LEVELS_ABOVE]):
        if os.path.isfile(above / ".env"):
            return [
                f"environment: {above / '.env'} was not read; --env-file "
                f"{above / '.env'} takes the variables from there"
            ]
    return []
