"""Loading the configuration, and the rules between its fields.

`load` turns the merged property tree of a graph node into a `Config`, or
raises one `ConfigError` that lists all problems with it.
"""

import re
from collections.abc import Mapping
from typing import Any, Optional

from pydantic import ValidationError

from . import token
from .messages import redact
from .settings import Given, Params, Settings, read, unknown_region

_UID = re.compile("[0-9]{1,10}")


class ConfigError(Exception):
    """The configuration cannot be used.

    `problems` holds one sentence for each problem, each with the
    path of the property; none shows a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Config(Settings):
    """A configuration that can be used; `params.agora_channel` is the one."""

    warnings: tuple[str, ...] = ()
    """Sentences about settings that are allowed but likely not intended."""


def load(tree: Any, now_s: float) -> Config:
    """Return the configuration in a node's merged property tree.

    `now_s` (seconds since the epoch) tells whether a given Agora token has
    expired. Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    given = read(tree, problems)
    hide = redact.Redactor(given.secrets())
    malformed = dict(given.malformed())
    problems += [f"{hide(path)}: {malformed[path]}" for path in malformed]

    loaded: Optional[Config] = None
    try:
        loaded = Config.model_validate({**given.top, "params": given.params})
    except ValidationError as error:
        found = given.problems(error, Config.model_json_schema(), hide)
        problems += [
            f"{path}: {found[path]}" for path in found if path not in malformed
        ]
    problems += _problems_between(given, now_s, malformed)
    if problems or loaded is None:
        # A missing value may be there under a name that was mistyped.
        raise ConfigError(problems + given.misplaced(hide))
    warnings = given.misplaced(hide) + _warnings(loaded.params, given, now_s)
    return loaded.model_copy(update={"warnings": tuple(warnings)})


def _problems_between(
    given: Given, now_s: float, malformed: Mapping[str, str]
) -> list[str]:
    """Return the problems between params that are each valid."""
    problems = []
    params = given.params
    if "agora_token" not in params and "agora_appcert" not in params:
        problems.append(
            "params.agora_token or params.agora_appcert: one of them is "
            "required, a token for the avatar or the App Certificate to sign "
            "one with; both are missing or empty"
        )
    urls = ("console_endpoint_url", "ingress_endpoint_url")
    missing = [name for name in urls if name not in params]
    if len(missing) == 1:
        problems.append(
            f"params.{missing[0]}: required with its counterpart "
            f"{next(name for name in urls if name in params)}; give both or "
            "neither"
        )
    path = given.path("agora_token")
    if path not in malformed:
        usable = {
            name: value
            for name, value in params.items()
            if given.path(name) not in malformed
        }
        problems += [
            f"{path}: {problem}"
            for problem in _token_problems(usable, given, now_s)
        ]
    return problems


def _token_problems(
    params: Mapping[str, Any], given: Given, now_s: float
) -> list[str]:
    """Return the problems of a given token with the other params."""
    text = params.get("agora_token")
    facts = token.read(text) if isinstance(text, str) else None
    if facts is None:
        return []
    problems = []
    app_id = params.get("agora_appid")
    if isinstance(app_id, str) and facts.app_id != app_id:
        problems.append(
            "expected a token for the App ID in "
            f"{given.path('agora_appid')}, got one for another App ID"
        )
    if facts.is_damaged:
        return [
            *problems,
            "cannot be read: it is cut or damaged; set all of the token that "
            "was made, and nothing else",
        ]
    channel = params.get("agora_channel")
    if isinstance(channel, str) and not facts.is_for_channel(channel):
        problems.append(
            "expected a token for the channel in "
            f"{given.path('agora_channel')}, got one for another channel"
        )
    uid = str(params.get("agora_uid"))
    if _UID.fullmatch(uid) and not facts.is_for_uid(int(uid)):
        problems.append(
            "expected a token for the uid in "
            f"{given.path('agora_uid')}, got one for another uid than {uid}"
        )
    if facts.expires_at_s is not None and facts.expires_at_s <= now_s:
        expired_s = now_s - facts.expires_at_s
        problems.append(
            "expected a token that is valid now, got one that expired "
            f"{_in_words(expired_s)} ago; give a new one or let the extension "
            "sign with params.agora_appcert"
        )
    return problems


def _warnings(params: Params, given: Given, now_s: float) -> list[str]:
    warnings = []
    misplaced = [name for name, path in given.paths.items() if name == path]
    if misplaced:
        warnings.append(
            f"{', '.join(misplaced)}: taken from the top level of the "
            "properties; they belong under params"
        )
    if given.ignored:
        warnings.append(
            f"{', '.join(given.ignored)}: not used at the top level of the "
            "properties; params has another value, from the graph, the "
            "package's property.json or an environment variable that it names"
        )
    if params.console_endpoint_url is None:
        if problem := unknown_region(params.region):
            warnings.append(f"params.region: {problem}")
    if params.telemetry_endpoint and not params.telemetry:
        warnings.append(
            "params.telemetry_endpoint is not used: params.telemetry is off"
        )
    if params.agora_uid == 0:
        warnings.append(
            f"{given.path('agora_uid')} is 0: Agora assigns the avatar's uid, "
            "so a client cannot know it beforehand"
        )
    if params.agora_token is not None:
        warnings += _token_warnings(params, given.path("agora_token"), now_s)
    return warnings


def _token_warnings(params: Params, path: str, now_s: float) -> list[str]:
    assert params.agora_token is not None
    facts = token.read(params.agora_token.get_secret_value())
    if facts is None:
        return []
    warnings = []
    if missing := facts.missing_privileges(now_s):
        warnings.append(
            f"{path}: expected the token of a publisher, got one without the "
            f"privilege to {' and to '.join(missing)}; sign it for the role "
            "publisher"
        )
    if facts.expires_at_s is not None:
        left_s = facts.expires_at_s - now_s
        if left_s < params.session_expire_minutes * 60:
            warnings.append(
                f"{path} expires in {_in_words(left_s)}, before "
                f"session_expire_minutes ({params.session_expire_minutes}) "
                "have passed; the extension cannot renew a given token"
            )
    return warnings


def _in_words(duration_s: float) -> str:
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s / 3600:.0f} h"
