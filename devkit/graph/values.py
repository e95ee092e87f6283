"""Checks a node's values against one another, and the dump's folder."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from .findings import Findings
from .product import names, params, properties, token
from .resolve import Resolved, shell_variable_of

_MUST_DIFFER = (
    ("agora_appcert", "agora_appid", "the App Certificate", "the App ID"),
    ("agora_token", "agora_appcert", "the token", "the App Certificate"),
    ("spatius_api_key", "spatius_app_id", "the API key", "the app id"),
    ("spatius_api_key", "spatius_avatar_id", "the API key", "the avatar id"),
)


def check_values(resolved: Resolved, now_s: float) -> Findings:
    """Return the problems of values that each have the right form.

    `now_s` is in seconds since the epoch.
    """
    found = Findings()
    for name, other, noun, other_noun in _MUST_DIFFER:
        value = _text(resolved, name)
        if value and value.lower() == _text(resolved, other).lower():
            found.errors.append(
                f"params.{name}: {noun} is the same text as {other_noun} "
                f"(params.{other}); one of them is in the wrong place"
            )
    _check_token(resolved, now_s, found)
    _check_names(resolved, found)
    return found


def check_dump_folder(folder: str) -> list[str]:
    """Return the sentence about a `dump_path` that cannot be written.

    A relative one is not tried: it begins where the agent runs.
    """
    if not os.path.isabs(folder):
        return []
    if not (reason := _why_not_written(Path(folder))):
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


def _check_names(resolved: Resolved, found: Findings) -> None:
    """Report properties without a meaning, with the likely one."""
    for name, value in resolved.tree.items():
        if properties.is_missing(value) or name in names.TOP_LEVEL:
            continue
        if name in params.Params.model_fields:
            problem = "at the top level; it belongs under params"
        else:
            problem = f"unknown property, not used{_hint(name)}"
        found.warnings.append(f"{name}: {problem}")
    found.warnings += [
        f"params.{name}: unknown, not used{_hint(name)}"
        for name in resolved.given.unknown
        if name not in names.TOP_LEVEL
    ]


def _hint(name: str) -> str:
    question = names.did_you_mean(name)
    return f"; {question}" if question else ""


def _check_token(resolved: Resolved, now_s: float, found: Findings) -> None:
    given, app_id = (
        _text(resolved, "agora_token"),
        _text(resolved, "agora_appid"),
    )
    if not given or properties.is_example(given):
        return
    if facts := token.read(given):
        _check_facts(facts, resolved, now_s, found)
    elif given.startswith("007"):
        found.errors.append(
            f"{resolved.given.path('agora_token')}: cannot be read: it is cut "
            "or damaged; set all of the token that was made, and nothing else"
        )
    elif given == app_id:
        # Agora takes that where the project has no App Certificate.
        found.warnings.append(
            "params.agora_token: the App ID in place of a token; Agora "
            "accepts it only for a project without an App Certificate"
        )
    elif given != _text(resolved, "agora_appcert"):
        found.errors.append(
            "params.agora_token: not an Agora RTC token: expected all of one "
            f"that begins with 006 or 007, got text of {len(given)} "
            "characters. Leave it empty to have the extension sign tokens "
            "with params.agora_appcert"
        )


def _check_facts(
    facts: Any, resolved: Resolved, now_s: float, found: Findings
) -> None:
    """Refuse a token of which config.py only warns.

    Agora checks these privileges only where the project asks for it.
    """
    path = resolved.given.path("agora_token")
    if missing := facts.missing_privileges(now_s):
        found.errors.append(
            f"{path}: expected the token of a publisher, got one without the "
            f"privilege to {' and to '.join(missing)}; sign it for the role "
            "publisher"
        )


def _text(resolved: Resolved, name: str) -> str:
    """Return a param's text, "" where it is missing or was not filled in."""
    value = resolved.given.params.get(name)
    if not isinstance(value, str) or shell_variable_of(value):
        return ""
    return "" if properties.PLACEHOLDER.search(value) else value.strip()
