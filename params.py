"""The node's `params`: their types, bounds and defaults.

Secrets are `SecretStr`: neither a repr, nor a log line, nor an error shows
them.
"""

import re
from typing import Annotated, Any, Literal, Optional
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from . import token

PCM_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""What the service takes as pcm_s16le."""

OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
"""What the SDK's Ogg Opus encoder takes."""

SECRETS = ("spatius_api_key", "agora_token", "agora_appcert")
"""Names of the params that nobody may see."""

MAX_UID = 2**32 - 1
MAX_SESSION_MINUTES = 24 * 60
"""Agora ends every token after 24 hours."""

MAX_CHANNEL_BYTES = 64
MAX_SHOWN = 8  # characters of an invalid text
MAX_DIGITS = 20

_CHANNEL = re.compile(r"[a-zA-Z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]+")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def _invalid(expected: str, got: object = None) -> PydanticCustomError:
    """Return pydantic's error for a value that is not what was expected."""
    text = f"expected {expected}"
    if got is not None:
        text += f", got {_safe_repr(got)}"
    # Pydantic would take braces in the text for fields.
    return PydanticCustomError("invalid", "{text}", {"text": text})


def _safe_repr(value: object) -> str:
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
            raise _invalid(expected, value)
        return number

    return BeforeValidator(check)


def _decimal(low: float, high: float, unit: str) -> BeforeValidator:
    expected = f"a number from {low:g} to {high:g}{unit}"

    def check(value: Any) -> float:
        number = _number(value)
        if not isinstance(number, (int, float)) or not low <= number <= high:
            raise _invalid(expected, value)
        return number

    return BeforeValidator(check)


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _invalid("true or false", value)


def _text(value: Any) -> Any:
    if not isinstance(value, (str, SecretStr)):
        # Numbers are not shown: the text may have been a secret.
        raise _invalid(f"text, got a value of type {type(value).__name__}")
    return value


def folder(value: Any) -> str:
    _text(value)
    try:
        ok = "\0" not in value and bool(value.encode())
    except UnicodeEncodeError:
        ok = False
    if not ok:
        raise _invalid("the path of a folder")
    return value


def _header_safe(value: str) -> str:
    """Refuse what no HTTP header can carry; both go out in one."""
    if not re.fullmatch(r"[!-~]+", value):
        raise _invalid("printable ASCII characters without spaces")
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


def _hex_32(value: str) -> None:
    # The value is not shown: the two of Agora are easily mistaken for one
    # another, and one of them is a secret.
    if not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise _invalid(
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
            raise _invalid(expected) from None
        if f"{parts.scheme}://" not in schemes or not parts.hostname:
            raise _invalid(expected)
        return value

    return AfterValidator(check)


Text = Annotated[str, BeforeValidator(_text)]
Secret = Annotated[SecretStr, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(flag)]


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
            raise _invalid("pcm_s16le or ogg_opus", value)
        return value

    @field_validator("sample_rate")
    @classmethod
    def _rate_of_format(cls, value: int, info: ValidationInfo) -> int:
        audio_format = info.data.get("audio_format", "pcm_s16le")
        rates = OPUS_RATES_HZ if audio_format == "ogg_opus" else PCM_RATES_HZ
        if value not in rates:
            listed = ", ".join(map(str, rates))
            raise _invalid(f"one of {listed} Hz with {audio_format}", value)
        return value

    @field_validator("region")
    @classmethod
    def _host_part(cls, value: str) -> str:
        # It becomes a part of the service's host name.
        if not re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", value):
            raise _invalid("a region such as us-west or ap-northeast", value)
        return value

    @field_validator("agora_channel")
    @classmethod
    def _channel_name(cls, value: str) -> str:
        if len(value) > MAX_CHANNEL_BYTES or not _CHANNEL.fullmatch(value):
            raise _invalid(
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

    def issue_agora_token(self, expires_at_s: int) -> str:
        """Return the given token verbatim, or one signed now.

        `expires_at_s` (seconds since the epoch) is the expiry of a signed one.
        """
        if self.agora_token is not None:
            return self.agora_token.get_secret_value()
        assert self.agora_appcert is not None  # one of them is required
        return token.sign(
            self.agora_appid,
            self.agora_appcert.get_secret_value(),
            self.agora_channel,
            self.agora_uid,
            expires_at_s,
        )
