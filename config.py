"""Loading the configuration, and the rules between its fields.

`load` turns the merged property tree of a graph node into a `Config`, or
raises one `ConfigError` that lists all problems with it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from . import token
from .params import SECRETS, Params, flag, folder
from .redact import Redactor, bare_url, hidden_in

PLACEHOLDER = re.compile(r"\$\{env:([^|}]+)(?:\|(.*))?\}", re.DOTALL)
"""A placeholder as TEN expands it where it is a whole value: the variable's
name, and what stands in where it is unset."""

_PLACEHOLDER_BEGIN = "${env:"
_IDS = ("agora_appid", "spatius_app_id")
_TOP_LEVEL: dict[str, Callable[[Any], Any]] = {
    "dump": flag,
    "dump_path": folder,
}


class ConfigError(Exception):
    """The configuration cannot be used.

    `problems` holds one sentence for each thing that is wrong, each with the
    path of the property; none shows a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Config(BaseModel):
    """A configuration that can be used; `params.agora_channel` is the one."""

    model_config = ConfigDict(frozen=True)

    params: Params
    dump: bool = False
    dump_path: str = ""
    warnings: tuple[str, ...] = ()
    """What is allowed but likely not meant, one sentence each."""

    def secrets(self) -> list[str]:
        """Return the secret values, for a `Redactor`."""
        values = (getattr(self.params, name) for name in SECRETS)
        secrets = [value.get_secret_value() for value in values if value]
        for url in (
            self.params.console_endpoint_url,
            self.params.ingress_endpoint_url,
        ):
            secrets += hidden_in(url or "")
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
            elif name.endswith("_url") and value:
                value = bare_url(value)
            shown[name] = value
        return {
            "dump": self.dump,
            "dump_path": self.dump_path,
            "params": shown,
        }


class _Given(NamedTuple):
    """What a property tree holds; what is missing in it is left out."""

    params: dict[str, Any]
    paths: dict[str, str]
    """Where a param stands, if not under `params`."""
    top: dict[str, Any]
    unknown: list[str]
    """Names under `params` that mean nothing."""

    def path(self, name: str) -> str:
        return self.paths.get(name, f"params.{name}")

    def unexpanded(self) -> list[str]:
        """Return the problems of values that are placeholders still."""
        values = {self.path(name): self.params[name] for name in self.params}
        return [
            problem
            for path, value in {**values, **self.top}.items()
            for problem in _placeholder_problem(path, value)
        ]

    def secrets(self) -> list[str]:
        return [
            str(self.params[name])
            for name in SECRETS
            if name in self.params
            and not _placeholder_problem("", self.params[name])
        ]


def load(tree: Any, now_s: float) -> Config:
    """Return the configuration in a node's merged property tree.

    `now_s` (seconds since the epoch) tells whether a given Agora token has
    expired. Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    given = _read(tree, problems)
    redact = Redactor(given.secrets())
    unexpanded = given.unexpanded()
    problems += map(redact, unexpanded)
    broken = {problem.partition(":")[0] for problem in unexpanded}

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


def is_missing(value: Any) -> bool:
    """Return whether a property counts as not given."""
    return value is None or (isinstance(value, str) and not value.strip())


def _read(tree: Any, problems: list[str]) -> _Given:
    if not isinstance(tree, Mapping):
        tree = {}
    raw_params = tree.get("params")
    if not isinstance(raw_params, Mapping):
        if raw_params is not None:
            problems.append(
                f"params: expected an object, got {type(raw_params).__name__}"
            )
        raw_params = {}
    params = {
        name: value.strip()
        if isinstance(value, str) and name != "agora_channel"
        else value
        for name, value in raw_params.items()
        if name in Params.model_fields and not is_missing(value)
    }
    top = {
        name: tree[name]
        for name in _TOP_LEVEL
        if not is_missing(tree.get(name))
    }
    paths = {}
    if not is_missing(tree.get("channel")):
        params["agora_channel"] = tree["channel"]
        paths["agora_channel"] = "channel"
    unknown = sorted(set(raw_params) - set(Params.model_fields))
    return _Given(params, paths, top, unknown)


def _placeholder_problem(path: str, value: Any) -> list[str]:
    if not isinstance(value, str) or _PLACEHOLDER_BEGIN not in value:
        return []
    # No more than the variable's name is shown, where it looks like one: what
    # follows it is a default value, and what stands there may be one, too.
    found = PLACEHOLDER.match(value, value.index(_PLACEHOLDER_BEGIN))
    name = ""
    if found is not None and re.fullmatch("[A-Z][A-Z0-9_]*", found[1]):
        name = f" {_PLACEHOLDER_BEGIN}{found[1]}}}"
    return [
        f"{path}: expected a value, got an unexpanded placeholder{name}; TEN "
        "expands a placeholder only where it is the whole value"
    ]


def _describe(error: ValidationError, given: _Given) -> list[tuple[str, str]]:
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
    given: _Given, now_s: float, broken: set[str]
) -> list[str]:
    """Return what is wrong between params that may each be right."""
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
    if not names:
        return []
    # Names only: a secret may stand behind a name that was mistyped.
    return [
        f"unknown params, not used: {', '.join(names)}; look for a typing error"
    ]


def _warnings(params: Params, given: _Given, now_s: float) -> list[str]:
    warnings = _unknown(given.unknown)
    if params.agora_uid == 0:
        warnings.append(
            "params.agora_uid is 0: Agora assigns the avatar's uid, so a "
            "client cannot know it beforehand"
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
