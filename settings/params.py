"""The node's properties: their types, bounds and defaults.

Secrets are `SecretStr`: neither a repr, nor a log line, nor an error shows
them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from .. import token
from ..messages import redact
from .fields import (
    NUMBER,
    Auto,
    Flag,
    Folder,
    HeaderSecret,
    HeaderText,
    hex_32,
    refused,
    url,
)

RATES_HZ = {
    "pcm_s16le": (8000, 16000, 22050, 24000, 32000, 44100, 48000),
    "ogg_opus": (8000, 12000, 16000, 24000, 48000),
}
"""The rates of the service for PCM, and of the SDK's encoder for Ogg Opus."""

AUTO = "auto"

REGIONS = ("us-west", "ap-northeast", "cn-beijing")
"""The regions in the vendor's documents; there may be others."""

SECRETS = ("spatius_api_key", "agora_token", "agora_appcert")
"""Names of the params whose values are never shown."""

URLS = ("console_endpoint_url", "ingress_endpoint_url", "telemetry_endpoint")
"""Names of the params that can hold a password or a key."""

_IDS = ("agora_appid", "spatius_app_id")
_LABEL = re.compile(r"([A-Za-z_ ]{1,30}:|Bearer|Basic)\s+")
_WORD = re.compile(r"[\W_A-Za-z]{0,15}")

MAX_UID = 2**32 - 1
MAX_SESSION_MINUTES = 24 * 60
"""Agora ends every token after 24 hours."""


class Params(BaseModel):
    """The node's `params`. Units stand in the names; rates are in Hz.

    The order of the fields matters: a validator sees the fields above it. The
    sentence for a value that does not fit is made of the field's schema.
    """

    model_config = ConfigDict(
        allow_inf_nan=False, frozen=True, hide_input_in_errors=True
    )

    spatius_api_key: HeaderSecret
    spatius_app_id: HeaderText
    spatius_avatar_id: str
    agora_token: Optional[SecretStr] = None
    agora_appcert: Optional[SecretStr] = None
    agora_appid: str
    agora_channel: Annotated[
        str,
        Field(
            pattern=r"^[a-zA-Z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]{1,64}$",
            description="1 to 64 of the characters that Agora "
            "allows in a channel name (a-z A-Z 0-9 space and "
            "!#$%&()+-:;<=.>?@[]^_{}|~,)",
        ),
    ]
    agora_uid: Annotated[int, Field(ge=0, le=MAX_UID), NUMBER]
    # A region becomes a part of the service's host name.
    region: Annotated[
        Optional[str],
        Field(
            pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            description="a region such as us-west or ap-northeast",
        ),
    ] = None
    audio_format: Literal["pcm_s16le", "ogg_opus"] = "pcm_s16le"
    sample_rate: Union[
        Annotated[int, Field(ge=1, le=192_000), NUMBER], Auto
    ] = 24000
    """AUTO: the rate of the first frame, which may change later."""
    session_expire_minutes: Annotated[
        int, Field(ge=1, le=MAX_SESSION_MINUTES), NUMBER
    ] = 30
    # Not in the repr: a URL can hold a password or a key.
    console_endpoint_url: Annotated[
        Optional[Annotated[str, url("http://", "https://")]], Field(repr=False)
    ] = None
    ingress_endpoint_url: Annotated[
        Optional[Annotated[str, url("ws://", "wss://", "http://", "https://")]],
        Field(repr=False),
    ] = None
    end_of_speech_timeout_ms: Annotated[
        int, Field(ge=0, le=3_600_000), NUMBER
    ] = 1500
    max_buffered_speech_s: Annotated[float, Field(ge=0.1, le=3600), NUMBER] = 60
    resume_rewind_ms: Annotated[int, Field(ge=0, le=5000), NUMBER] = 500
    resume_within_s: Annotated[float, Field(ge=0, le=3600), NUMBER] = 15
    fallback_after_ms: Annotated[int, Field(ge=0, le=60_000), NUMBER] = 1500
    idle_disconnect_s: Annotated[float, Field(ge=0, le=86_400), NUMBER] = 120
    max_session_minutes: Optional[
        Annotated[float, Field(ge=1, le=MAX_SESSION_MINUTES), NUMBER]
    ] = None
    """None: the plan's limit, learned when it ends a session."""
    one_request_at_a_time: Union[Flag, Auto] = AUTO
    """AUTO: once the service has replaced one request by another."""
    prebuffer_ms: Annotated[int, Field(ge=0, le=5000), NUMBER] = 0
    # Nor are these: a value may be a secret.
    extra_params: dict[str, str] = Field(default={}, repr=False)
    telemetry: Flag = False
    telemetry_endpoint: Annotated[
        Optional[Annotated[str, url("http://", "https://", is_base=True)]],
        Field(repr=False),
    ] = None

    @field_validator("sample_rate")
    @classmethod
    def _rate_of_format(
        cls, value: Union[int, str], info: ValidationInfo
    ) -> Union[int, str]:
        audio_format = info.data.get("audio_format", "pcm_s16le")
        rates = RATES_HZ[audio_format]
        if value != AUTO and value not in rates:
            listed = ", ".join(map(str, rates))
            raise refused(
                f"one of {listed} Hz with {audio_format}, got {value}"
            )
        return value

    @field_validator("agora_appid")
    @classmethod
    def _signing_app_id(cls, value: str, info: ValidationInfo) -> str:
        # With a given token the App ID signs nothing; any form is taken.
        if not info.data.get("agora_token"):
            hex_32(value)
        return value

    @field_validator("agora_appcert")
    @classmethod
    def _signing_certificate(
        cls, value: SecretStr, info: ValidationInfo
    ) -> SecretStr:
        if not info.data.get("agora_token"):
            hex_32(value.get_secret_value())
        return value

    @property
    def rate_hz(self) -> Optional[int]:
        """The sample rate, None for that of the frames."""
        return self.sample_rate if isinstance(self.sample_rate, int) else None

    @property
    def rates_hz(self) -> tuple[int, ...]:
        """The sample rates that frames may have."""
        if self.rate_hz is None:
            return RATES_HZ[self.audio_format]
        return (self.rate_hz,)

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


class Settings(BaseModel):
    """The node's properties."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    params: Params
    auto_connect: Flag = True
    """False: no session before there is something to say."""
    dump: Flag = False
    dump_path: Folder = ""

    def secrets(self) -> list[str]:
        """Return the texts that no message may show, for a `Redactor`."""
        return secrets_in(vars(self.params))

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


def secrets_in(params: Mapping[str, Any]) -> list[str]:
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
