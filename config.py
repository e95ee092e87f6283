"""Loading the configuration, and the rules between its fields.

`load` turns the merged property tree of a graph node into a `Config`, or
raises one `ConfigError` that lists all problems with it.
"""

from collections.abc import Callable
from typing import Any, Optional

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from . import token
from .messages.redact import Redactor, bare_url, hidden_in
from .settings.fields import flag, folder
from .settings.params import SECRETS, Params
from .settings.properties import Given, read

_IDS = ("agora_appid", "spatius_app_id")
_URLS = ("console_endpoint_url", "ingress_endpoint_url", "telemetry_endpoint")
_TOP_LEVEL: dict[str, Callable[[Any], Any]] = {
    "auto_connect": flag,
    "dump": flag,
    "dump_path": folder,
}


class ConfigError(Exception):
    """The configuration cannot be used.

    `problems` holds one sentence for each problem, each with the
    path of the property; none shows a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Config(BaseModel):
    """A configuration that can be used; `params.agora_channel` is the one."""

    model_config = ConfigDict(frozen=True)

    params: Params
    auto_connect: bool = True
    """False: no session before there is something to say."""
    dump: bool = False
    dump_path: str = ""
    warnings: tuple[str, ...] = ()
    """What is allowed but likely not meant, one sentence each."""

    def secrets(self) -> list[str]:
        """Return the secret values, for a `Redactor`."""
        values = (getattr(self.params, name) for name in SECRETS)
        secrets = [value.get_secret_value() for value in values if value]
        for name in _URLS:
            secrets += hidden_in(getattr(self.params, name) or "")
        return secrets

    def summary(self) -> dict[str, Any]:
        """Return all of it for a log, secrets as `set` or `not set`."""
        shown: dict[str, Any] = {}
        for name in Params.model_fields:
            value = getattr(self.params, name)
            if name in SECRETS:
                value = "set" if value else "not set"
            elif name in _IDS:
                # Agora's stands in each token, of which no piece is ever
                # shown; in the place of the other a key may stand.
                value = f"{value[:4]}..."
            elif name in _URLS and value:
                value = bare_url(value)
            elif name == "extra_params":
                value = sorted(value)  # nobody knows what these are
            shown[name] = value
        return {
            "auto_connect": self.auto_connect,
            "dump": self.dump,
            "dump_path": self.dump_path,
            "params": shown,
        }


def load(tree: Any, now_s: float) -> Config:
    """Return the configuration in a node's merged property tree.

    `now_s` (seconds since the epoch) tells whether a given Agora token has
    expired. Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    given = read(tree, _TOP_LEVEL, problems)
    redact = Redactor(given.secrets())
    malformed = given.malformed()
    problems += map(redact, malformed)
    broken = {problem.partition(":")[0] for problem in malformed}

    params: Optional[Params] = None
    try:
        params = Params.model_validate(given.params)
    except ValidationError as error:
        for path, problem in _describe(error, given):
            if path not in broken:
                problems.append(f"{path}: {redact(problem)}")
    problems += _problems_between(given, now_s, broken)

    top: dict[str, Any] = {}
    for name, check in _TOP_LEVEL.items():
        if name in given.top and name not in broken:
            try:
                top[name] = check(given.top[name])
            except PydanticCustomError as error:
                problems.append(f"{name}: {redact(error.message())}")
    if problems or params is None:
        # What is missing may stand there under a name that was mistyped.
        problems += map(redact, _unknown(given.unknown))
        raise ConfigError(problems)
    warnings = tuple(map(redact, _warnings(params, given, now_s)))
    return Config(params=params, warnings=warnings, **top)


def _describe(error: ValidationError, given: Given) -> list[tuple[str, str]]:
    """Return (path, problem) for each of pydantic's errors, in our words."""
    described = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "missing":
            problem = "required, but missing or empty"
            if name == "agora_channel":
                problem += " (and so is the top-level channel)"
        else:
            problem = item["msg"]
        described.append((given.path(name), problem))
    return described


def _problems_between(
    given: Given, now_s: float, broken: set[str]
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
    agora_token = params.get("agora_token")
    path = given.path("agora_token")
    if not isinstance(agora_token, str) or path in broken:
        return problems
    facts = token.read(agora_token)
    app_id = params.get("agora_appid")
    if facts and isinstance(app_id, str) and facts.app_id != app_id:
        problems.append(
            f"{path}: expected a token for the App ID in "
            f"{given.path('agora_appid')}, got one for another App ID"
        )
    if facts and facts.expires_at_s is not None and facts.expires_at_s <= now_s:
        expired_s = now_s - facts.expires_at_s
        problems.append(
            f"{path}: expected a token that is valid now, got one that expired "
            f"{_in_words(expired_s)} ago; give a new one or let the extension "
            "sign with params.agora_appcert"
        )
    return problems


def _unknown(names: list[str]) -> list[str]:
    """Return the sentences about names under params that are no params."""
    misplaced = [n for n in names if n in _TOP_LEVEL or n == "channel"]
    unknown = [n for n in names if n not in misplaced]
    sentences = [
        f"params.{name}: not used under params; it belongs to the top level"
        for name in misplaced
    ]
    if unknown:
        # Names only: a secret may stand behind a name that was mistyped.
        sentences.append(
            f"unknown params, not used: {', '.join(unknown)}; check the "
            "spelling"
        )
    return sentences


def _warnings(params: Params, given: Given, now_s: float) -> list[str]:
    warnings = _unknown(given.unknown)
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
        facts = token.read(params.agora_token.get_secret_value())
        if facts and facts.expires_at_s is not None:
            left_s = facts.expires_at_s - now_s
            if left_s < params.session_expire_minutes * 60:
                warnings.append(
                    f"{given.path('agora_token')} expires in "
                    f"{_in_words(left_s)}, before session_expire_minutes "
                    f"({params.session_expire_minutes}) have passed; the "
                    "extension cannot renew a given token"
                )
    return warnings


def _in_words(duration_s: float) -> str:
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s / 3600:.0f} h"
