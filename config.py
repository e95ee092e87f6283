"""Loading the configuration, and the rules between its fields.

`load` turns the merged property tree of a graph node into a `Config`, or
raises one `ConfigError` that lists all problems with it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Optional

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from . import token
from .messages import redact
from .settings.fields import Flag, Folder, problem_of
from .settings.names import TOP_LEVEL, did_you_mean, nearest
from .settings.params import REGIONS, SECRETS, URLS, Params
from .settings.properties import Given, read

_IDS = ("agora_appid", "spatius_app_id")
_LABEL = re.compile(r"([A-Za-z_ ]{1,30}:|Bearer|Basic)\s+")
_WORD = re.compile(r"[\W_A-Za-z]{0,15}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]{0,2}")
_REGION = re.compile("[a-z]{2}(-[a-z]{2,12}){1,3}(-?[0-9])?")
_UID = re.compile("[0-9]{1,10}")


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

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    params: Params
    auto_connect: Flag = True
    """False: no session before there is something to say."""
    dump: Flag = False
    dump_path: Folder = ""
    warnings: tuple[str, ...] = ()
    """Sentences about settings that are allowed but likely not intended."""

    def secrets(self) -> list[str]:
        """Return the texts that no message may show, for a `Redactor`."""
        return _secrets_in(vars(self.params))

    def summary(self) -> dict[str, Any]:
        """Return all of it for a log, secrets as `set` or `not set`."""
        shown: dict[str, Any] = {}
        for name in Params.model_fields:
            value = getattr(self.params, name)
            if name in SECRETS:
                value = "set" if value else "not set"
            elif name in _IDS:
                # Agora's is a part of each token, and no part of a token is
                # shown; the other may be a key in the wrong place.
                value = f"{value[:4]}..."
            elif name in URLS and value:
                value = redact.bare_url(value)
            elif name == "extra_params":
                value = sorted(value)  # the values may be secrets
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
    given = read(tree, ("auto_connect", "dump", "dump_path"), problems)
    hide = redact.Redactor(_secrets_in(given.filled_in()))
    malformed = dict(given.malformed())
    problems += [f"{hide(path)}: {malformed[path]}" for path in malformed]

    loaded: Optional[Config] = None
    try:
        loaded = Config.model_validate({**given.top, "params": given.params})
    except ValidationError as error:
        found = _described(error, given, hide)
        problems += [
            f"{path}: {found[path]}" for path in found if path not in malformed
        ]
    problems += _problems_between(given, now_s, malformed)
    if problems or loaded is None:
        # A missing value may be there under a name that was mistyped.
        raise ConfigError(problems + _misplaced(given, hide))
    warnings = _misplaced(given, hide) + _warnings(loaded.params, given, now_s)
    return loaded.model_copy(update={"warnings": tuple(warnings)})


def _described(
    error: ValidationError, given: Given, hide: Callable[[str], str]
) -> dict[str, str]:
    """Return a problem for each path of pydantic's errors."""
    schema = Config.model_json_schema()
    described: dict[str, str] = {}
    for item in error.errors(include_url=False):
        place, fields = item["loc"], schema["properties"]
        path = name = str(place[0])
        if name == "params":
            name, fields = (
                str(place[1]),
                schema["$defs"]["Params"]["properties"],
            )
            path = given.path(name)
        if item["type"] == "missing":
            problem = "required, but missing or empty"
            if name == "agora_channel":
                problem += " (and so is the top-level channel)"
        else:
            problem = problem_of(name, fields[name], item, hide)
        # A union has one error for each of its types.
        described.setdefault(path, problem)
    return described


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


def _misplaced(given: Given, hide: Callable[[str], str]) -> list[str]:
    """Return the sentences about names that are unknown or misplaced."""
    sentences = [
        f"params.{name}: not used under params; it belongs to the top level"
        for name in given.unknown
        if name in TOP_LEVEL
    ]
    sentences += [
        f"{name}: at the top level; it belongs under params"
        for name in given.unknown_top
        if name in Params.model_fields
    ]
    unknown = [name for name in given.unknown if name not in TOP_LEVEL]
    if unknown:
        # Names only: the value of one that was mistyped may be a secret.
        names = ", ".join(_shown_name(name, hide) for name in unknown)
        sentences.append(
            f"unknown params, not used: {names}; check the spelling"
            + _hints(unknown, hide)
        )
    # Others may be meant for TEN, or for another extension.
    sentences += [
        f"{hide(name)}: unknown property, not used; {hint}"
        for name in given.unknown_top
        if name not in Params.model_fields and (hint := did_you_mean(name))
    ]
    return sentences


def _hints(names: list[str], hide: Callable[[str], str]) -> str:
    hints = [
        f" {hide(name)}: {hint}"
        for name in names
        if (hint := did_you_mean(name))
    ]
    return "." + "".join(hints) if hints else ""


def _shown_name(name: str, hide: Callable[[str], str]) -> str:
    """Return a name for a message; a misplaced quote can turn a secret into
    one."""
    if _NAME.fullmatch(name):
        return hide(name)
    return f"a name of {len(name)} characters"


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
        warnings += _region_warnings(params.region)
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


def _region_warnings(region: Optional[str]) -> list[str]:
    if region in (None, "auto", *REGIONS):
        return []
    near = nearest(region, REGIONS)
    # One that resembles none is not shown: it may be a secret.
    shown = region if near or _REGION.fullmatch(region) else "the given one"
    hint = f"; did you mean {near}?" if near else ""
    return [
        f"params.region: {shown} is none of the known regions "
        f"{', '.join(REGIONS)}{hint}"
    ]


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


def _secrets_in(params: Mapping[str, Any]) -> list[str]:
    """Return the texts to hide of params, valid or not."""
    secrets = []
    for name in SECRETS:
        value = params.get(name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        secrets += _without_comment(str(value)) if value else []
    for name in URLS:
        secrets += redact.hidden_in(str(params.get(name) or ""))
    return secrets


def _without_comment(secret: str) -> list[str]:
    """Return the words of a secret without those of plain English.

    A secret may have been pasted with a label or a comment. If their words
    were hidden too, messages of this package would be unreadable.
    """
    text = secret.strip()
    if label := _LABEL.match(text):
        text = text[label.end() :]
    first, *rest = text.split() or [""]
    return [first, *(word for word in rest if not _WORD.fullmatch(word))]


def _in_words(duration_s: float) -> str:
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s / 3600:.0f} h"
