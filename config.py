"""What may be configured, and every rule about it.

`load` turns the merged property tree of a graph node into a `Config`, or
raises one `ConfigError` that lists everything that is wrong with it. Secrets
are `SecretStr`: neither a repr, nor a log line, nor an error shows them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from . import token
from .redact import Redactor

PCM_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""What the service takes as pcm_s16le."""

OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
"""What the SDK's Ogg Opus encoder takes."""

MAX_UID = 2**32 - 1
MAX_SESSION_MINUTES = 24 * 60
"""Agora ends every token after 24 hours."""

MAX_CHANNEL_BYTES = 64
MAX_SHOWN = 8  # characters of a text that is wrong
MAX_DIGITS = 20

_CHANNEL = re.compile(r"[a-zA-Z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]+")
_PLACEHOLDER = re.compile(r"\$\{env:([A-Z][A-Z0-9_]*(?=[|}]))?")
_SECRETS = ("spatius_api_key", "agora_token", "agora_appcert")
_IDS = ("agora_appid", "spatius_app_id")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


class ConfigError(Exception):
    """The configuration cannot be used.

    `problems` holds one sentence for each thing that is wrong, each with the
    path of the property; none shows a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _wrong(expected: str, got: object = None) -> PydanticCustomError:
    """Return pydantic's error for a value that is not what was expected."""
    text = f"expected {expected}"
    if got is not None:
        text += f", got {_shown(got)}"
    # Pydantic would take braces in the text for fields.
    return PydanticCustomError("wrong", "{text}", {"text": text})


def _shown(value: object) -> str:
    """Return what a message may say of a value that is in the wrong place:
    a long text may be a secret that was meant for another property."""
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return f"text of {len(value)} characters"
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS} digits"
    if isinstance(value, (str, int, float)):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _number(value: Any) -> Any:
    """Return the number that a property or an environment variable means."""
    if isinstance(value, str) and re.fullmatch(
        r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", value.strip()
    ):
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if isinstance(value, bool) else value


def _whole(low: int, high: int, unit: str = "") -> BeforeValidator:
    expected = f"a whole number from {low} to {high}{unit}"

    def check(value: Any) -> int:
        number = _number(value)
        if not isinstance(number, int) or not low <= number <= high:
            raise _wrong(expected, value)
        return number

    return BeforeValidator(check)


def _decimal(low: float, high: float, unit: str) -> BeforeValidator:
    expected = f"a number from {low:g} to {high:g}{unit}"

    def check(value: Any) -> float:
        number = _number(value)
        if not isinstance(number, (int, float)) or not low <= number <= high:
            raise _wrong(expected, value)
        return number

    return BeforeValidator(check)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _wrong("true or false", value)


def _text(value: Any) -> Any:
    if not isinstance(value, (str, SecretStr)):
        # Numbers are not shown: the text may have been a secret.
        raise _wrong(f"text, got a value of type {type(value).__name__}")
    return value


def _folder(value: Any) -> str:
    _text(value)
    try:
        ok = "\0" not in value and bool(value.encode())
    except UnicodeEncodeError:
        ok = False
    if not ok:
        raise _wrong("the path of a folder")
    return value


def _header_safe(value: str) -> str:
    """Refuse what no HTTP header can carry; both go out in one."""
    if not re.fullmatch(r"[!-~]+", value):
        raise _wrong("printable ASCII characters without spaces")
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


def _hex_32(value: str) -> None:
    # The value is not shown: the two of Agora are easily mistaken for one
    # another, and one of them is a secret.
    if not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise _wrong(
            f"32 hexadecimal digits, got {len(value)} characters"
            + (" that are not all such" if len(value) == 32 else "")
        )


def _url(*schemes: str) -> AfterValidator:
    expected = f"a URL that starts with {' or '.join(schemes)}"

    def check(value: str) -> str:
        # The value is not shown: a URL can hold a password or a key.
        try:
            # urlsplit drops white space where a server would stumble on it.
            parts = urlsplit(_header_safe(value))
            _ = parts.port  # raises where it is no number
        except (ValueError, PydanticCustomError):
            raise _wrong(expected) from None
        if f"{parts.scheme}://" not in schemes or not parts.hostname:
            raise _wrong(expected)
        return value

    return AfterValidator(check)


Text = Annotated[str, BeforeValidator(_text)]
Secret = Annotated[SecretStr, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_flag)]


class Params(BaseModel):
    """The node's `params`. Units stand in the names; rates are in Hz.

    The order of the fields matters: a validator sees the fields above it.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    spatius_api_key: Annotated[Secret, AfterValidator(_secret_header_safe)]
    spatius_app_id: Annotated[Text, AfterValidator(_header_safe)]
    spatius_avatar_id: Text
    agora_token: Optional[Secret] = None
    agora_appcert: Optional[Secret] = None
    agora_appid: Text
    agora_channel: Text
    agora_uid: Annotated[int, _whole(0, MAX_UID)]
    region: Optional[Text] = None
    audio_format: Literal["pcm_s16le", "ogg_opus"] = "pcm_s16le"
    sample_rate: Annotated[int, _whole(1, 192000, " Hz")] = 24000
    session_expire_minutes: Annotated[
        int, _whole(1, MAX_SESSION_MINUTES, " minutes")
    ] = 30
    # Not in the repr: a URL can hold a password or a key.
    console_endpoint_url: Annotated[
        Optional[Text], _url("http://", "https://")
    ] = Field(default=None, repr=False)
    ingress_endpoint_url: Annotated[
        Optional[Text], _url("ws://", "wss://", "http://", "https://")
    ] = Field(default=None, repr=False)
    end_of_speech_timeout_ms: Annotated[int, _whole(0, 3_600_000, " ms")] = 1500
    max_buffered_speech_s: Annotated[float, _decimal(0.1, 3600, " s")] = 60
    telemetry: Flag = False

    @field_validator("audio_format", mode="before")
    @classmethod
    def _known_format(cls, value: Any) -> Any:
        if value not in ("pcm_s16le", "ogg_opus"):
            raise _wrong("pcm_s16le or ogg_opus", value)
        return value

    @field_validator("sample_rate")
    @classmethod
    def _rate_of_format(cls, value: int, info: ValidationInfo) -> int:
        audio_format = info.data.get("audio_format", "pcm_s16le")
        rates = OPUS_RATES_HZ if audio_format == "ogg_opus" else PCM_RATES_HZ
        if value not in rates:
            listed = ", ".join(map(str, rates))
            raise _wrong(f"one of {listed} Hz with {audio_format}", value)
        return value

    @field_validator("region")
    @classmethod
    def _host_part(cls, value: str) -> str:
        # It becomes a part of the service's host name.
        if not re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", value):
            raise _wrong("a region such as us-west or ap-northeast", value)
        return value

    @field_validator("agora_channel")
    @classmethod
    def _channel_name(cls, value: str) -> str:
        if len(value) > MAX_CHANNEL_BYTES or not _CHANNEL.fullmatch(value):
            raise _wrong(
                f"1 to {MAX_CHANNEL_BYTES} of the characters that Agora "
                "allows in a channel name (a-z A-Z 0-9 space and "
                "!#$%&()+-:;<=.>?@[]^_{}|~,)",
                value,
            )
        return value

    @field_validator("agora_appid")
    @classmethod
    def _signing_app_id(cls, value: str, info: ValidationInfo) -> str:
        # With a given token the App ID signs nothing; any form is taken.
        if not info.data.get("agora_token"):
            _hex_32(value)
        return value

    @field_validator("agora_appcert")
    @classmethod
    def _signing_certificate(
        cls, value: SecretStr, info: ValidationInfo
    ) -> SecretStr:
        if not info.data.get("agora_token"):
            _hex_32(value.get_secret_value())
        return value

    def issue_agora_token(self, ends_at_s: int) -> str:
        """Return the given token verbatim, or one signed now.

        `ends_at_s` (seconds since the epoch) is the end of a signed one.
        """
        if self.agora_token is not None:
            return self.agora_token.get_secret_value()
        assert self.agora_appcert is not None  # one of them is required
        return token.sign(
            self.agora_appid,
            self.agora_appcert.get_secret_value(),
            self.agora_channel,
            self.agora_uid,
            ends_at_s,
        )


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
        values = (getattr(self.params, name) for name in _SECRETS)
        secrets = [value.get_secret_value() for value in values if value]
        for url in (
            self.params.console_endpoint_url,
            self.params.ingress_endpoint_url,
        ):
            secrets += _hidden_in(url or "")
        return secrets

    def summary(self) -> dict[str, Any]:
        """Return all of it for a log, secrets as `set` or `not set`."""
        shown: dict[str, Any] = {}
        for name in Params.model_fields:
            value = getattr(self.params, name)
            if name in _SECRETS:
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


def load(tree: Any, now_s: float) -> Config:
    """Return the configuration in a node's merged property tree.

    `now_s` (seconds since the epoch) tells whether a given Agora token is
    over. Raises `ConfigError` with all problems at once.
    """
    if not isinstance(tree, Mapping):
        tree = {}
    raw_params = tree.get("params")
    problems: list[str] = []
    if not isinstance(raw_params, Mapping):
        if raw_params is not None:
            problems.append(
                f"params: expected an object, got {type(raw_params).__name__}"
            )
        raw_params = {}

    redact = Redactor(
        str(raw_params[name])
        for name in _SECRETS
        if not _is_missing(raw_params.get(name))
        and not _placeholder_problem("", raw_params[name])
    )
    given = {
        name: value.strip()
        if isinstance(value, str) and name != "agora_channel"
        else value
        for name, value in raw_params.items()
        if name in Params.model_fields and not _is_missing(value)
    }
    unknown = sorted(set(raw_params) - set(Params.model_fields))
    top = {
        name: tree[name]
        for name in ("channel", "dump", "dump_path")
        if not _is_missing(tree.get(name))
    }
    channel_path = "params.agora_channel"
    if "channel" in top:
        channel_path = "channel"
        given["agora_channel"] = top["channel"]

    unexpanded = _unexpanded(given, channel_path)
    for name in ("dump", "dump_path"):
        unexpanded += _placeholder_problem(name, top.get(name))
    problems += map(redact, unexpanded)
    broken = {problem.partition(":")[0] for problem in unexpanded}

    params: Optional[Params] = None
    try:
        params = Params.model_validate(given)
    except ValidationError as error:
        for path, problem in _told(error, channel_path):
            if path not in broken:
                problems.append(f"{path}: {redact(problem)}")
    problems += _problems_between(given, now_s, broken)

    top = {name: top[name] for name in top if name not in broken}
    dump = _top_level(top, "dump", _flag, False, problems, redact)
    dump_path = _top_level(top, "dump_path", _folder, "", problems, redact)
    if problems or params is None:
        # What is missing may stand there under a name that was mistyped.
        problems += map(redact, _unknown(unknown))
        raise ConfigError(problems)
    return Config(
        params=params,
        dump=dump,
        dump_path=dump_path,
        warnings=tuple(map(redact, _warnings(params, unknown, now_s))),
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _unexpanded(given: Mapping[str, Any], channel_path: str) -> list[str]:
    return [
        problem
        for name, value in given.items()
        for problem in _placeholder_problem(
            channel_path if name == "agora_channel" else f"params.{name}",
            value,
        )
    ]


def _placeholder_problem(path: str, value: Any) -> list[str]:
    found = _PLACEHOLDER.search(value) if isinstance(value, str) else None
    if found is None:
        return []
    # No more than the variable's name is shown, where it looks like one: what
    # follows it is a default value, and what stands there may be one, too.
    name = f" ${{env:{found.group(1)}}}" if found.group(1) else ""
    return [
        f"{path}: expected a value, got an unexpanded placeholder{name}; TEN "
        "expands a placeholder only where it is the whole value"
    ]


def _told(error: ValidationError, channel_path: str) -> list[tuple[str, str]]:
    """Return (path, problem) for each of pydantic's errors, in our words."""
    told = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        path = channel_path if name == "agora_channel" else f"params.{name}"
        if item["type"] == "missing":
            problem = "required, but missing or empty"
            if name == "agora_channel":
                problem += " (and so is the top-level channel)"
        else:
            problem = item["msg"]
        told.append((path, problem))
    return told


def _problems_between(
    given: Mapping[str, Any], now_s: float, broken: set[str]
) -> list[str]:
    """Return what is wrong between params that may each be right."""
    problems = []
    if "agora_token" not in given and "agora_appcert" not in given:
        problems.append(
            "params.agora_token or params.agora_appcert: one of them is "
            "required, a token for the avatar or the App Certificate to sign "
            "one with; both are missing or empty"
        )
    urls = ("console_endpoint_url", "ingress_endpoint_url")
    missing = [name for name in urls if name not in given]
    if len(missing) == 1:
        problems.append(
            f"params.{missing[0]}: required with its counterpart "
            f"{next(name for name in urls if name in given)}; give both or "
            "neither"
        )
    agora_token = given.get("agora_token")
    if isinstance(agora_token, str) and "params.agora_token" not in broken:
        facts = token.read(agora_token)
        app_id = given.get("agora_appid")
        if facts and isinstance(app_id, str) and facts.app_id != app_id:
            problems.append(
                "params.agora_token: expected a token for the App ID in "
                "params.agora_appid, got one for another App ID"
            )
        if facts and facts.ends_at_s is not None and facts.ends_at_s <= now_s:
            over_s = now_s - facts.ends_at_s
            problems.append(
                "params.agora_token: expected a token that is valid now, got "
                f"one that ended {_in_words(over_s)} ago; give a new one or "
                "let the extension sign with params.agora_appcert"
            )
    return problems


def _unknown(names: list[str]) -> list[str]:
    if not names:
        return []
    # Names only: a secret may stand behind a name that was mistyped.
    return [
        f"unknown params, not used: {', '.join(names)}; look for a typing error"
    ]


def _warnings(params: Params, unknown: list[str], now_s: float) -> list[str]:
    warnings = _unknown(unknown)
    if params.agora_uid == 0:
        warnings.append(
            "params.agora_uid is 0: Agora assigns the avatar's uid, so a "
            "client cannot know it beforehand"
        )
    if params.agora_token is not None:
        facts = token.read(params.agora_token.get_secret_value())
        if facts and facts.ends_at_s is not None:
            left_s = facts.ends_at_s - now_s
            if left_s < params.session_expire_minutes * 60:
                warnings.append(
                    f"params.agora_token ends in {_in_words(left_s)}, before "
                    "session_expire_minutes "
                    f"({params.session_expire_minutes}) is over; a given "
                    "token cannot be renewed by the extension"
                )
    return warnings


def _top_level(
    top: Mapping[str, Any],
    name: str,
    check: Any,
    default: Any,
    problems: list[str],
    redact: Redactor,
) -> Any:
    if name not in top:
        return default
    try:
        return check(top[name])
    except PydanticCustomError as error:
        problems.append(f"{name}: {redact(error.message())}")
        return default


def _in_words(duration_s: float) -> str:
    if duration_s < 120:
        return f"{duration_s:.0f} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s / 3600:.0f} h"


def _hidden_in(url: str) -> list[str]:
    """Return the parts of `url` that `bare_url` leaves out."""
    parts = urlsplit(url)
    hidden = (parts.username, parts.password, parts.query, parts.fragment)
    return [part for part in hidden if part]


def bare_url(url: str) -> str:
    """Return `url` without the parts that can hold a password or a key."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
