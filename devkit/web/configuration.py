"""The user's configuration, and the part of it that the page gets."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import package
from ..commands.client_token import TokenRefused, sign
from ..graph import FileError, configure, read, resolve, with_source
from ..graph.env_file import read_env_file
from ..graph.product import config
from ..graph.product import params as rules

_ENV_FILE = ".env"


class Unusable(RuntimeError):
    """The configuration cannot be used; the text says why, line by line."""


def variables(path: Path | None) -> dict[str, str]:
    """Return the environment variables to set from a file.

    As with bin/check, those of a `path` that was given count more than the
    environment; without one those of a `.env` in the current folder, if it is
    there, less. Raises `Unusable`.
    """
    place = path or Path(_ENV_FILE)
    if path is None and not place.is_file():
        return {}
    try:
        found, _ = read_env_file(place)
    except FileError as error:
        raise Unusable(str(error)) from error
    return {
        name: value
        for name, value in found.items()
        if path is not None or not os.environ.get(name)
    }


def page_settings() -> Callable[[int | None], dict[str, Any]]:
    """Return a function that gives the page the values to join with.

    Its argument is the client's uid, None for one that nobody has. It raises
    ValueError; this raises `Unusable`, with all problems of the configuration.
    """
    (node,) = read(package.ROOT / "property.json").nodes(package.NAME)
    resolved = resolve(node, os.environ)
    try:
        params = configure(resolved, time.time()).params
    except config.ConfigError as error:
        problems = [with_source(one, resolved) for one in error.problems]
        raise Unusable("\n".join(problems)) from error

    def settings(uid: int | None) -> dict[str, Any]:
        try:
            token = sign(node, uid or _uid(params.agora_uid), None, time.time())
        except TokenRefused as refused:
            raise ValueError("; ".join(refused.reasons)) from refused
        return {
            "spatiusAppId": params.spatius_app_id,
            "spatiusAvatarId": params.spatius_avatar_id,
            "avatarUid": params.agora_uid or None,
            "token": token,
        }

    try:
        settings(None)
    except (FileError, ValueError) as error:
        raise Unusable(str(error)) from error
    return settings


def _uid(of_avatar: int) -> int:
    """Return one of two billion uids, which nobody else will have taken."""
    while True:
        uid = random.SystemRandom().randint(10_000, rules.MAX_UID // 2)
        if uid != of_avatar:
            return uid
