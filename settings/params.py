"""The node's `params`: their types, bounds and defaults.

Secrets are `SecretStr`: neither a repr, nor a log line, nor an error shows
them.
"""

import re
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from .. import token
from .fields import (
    Flag,
    Secret,
    Text,
    Texts,
    decimal,
    flag_or,
    header_safe,
    hex_32,
    invalid,
    secret_header_safe,
    url,
    whole,
)

RATES_HZ = {
    "pcm_s16le": (8000, 16000, 22050, 24000, 32000, 44100, 48000),
    "ogg_opus": (8000, 12000, 16000, 24000, 48000),
}
"""What the service takes as PCM, and the SDK's encoder for Ogg Opus."""

AUTO = "auto"

SECRETS = ("spatius_api_key", "agora_token", "agora_appcert")
"""Names of the params that nobody may see."""

MAX_UID = 2**32 - 1
MAX_SESSION_MINUTES = 24 * 60
"""Agora ends every token after 24 hours."""

MAX_CHANNEL_BYTES = 64
_CHANNEL = re.compile(r"[a-zA-Z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]+")


class Params(BaseModel):
    """The node's `params`. Units stand in the names; rates are in Hz.

    The order of the fields matters: a validator sees the fields above it.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    spatius_api_key: Annotated[Secret, AfterValidator(secret_header_safe)]
    spatius_app_id: Annotated[Text, AfterValidator(header_safe)]
    spatius_avatar_id: Text
    agora_token: Optional[Secret] = None
    agora_appcert: Optional[Secret] = None
    agora_appid: Text
    agora_channel: Text
    agora_uid: Annotated[int, whole(0, MAX_UID)]
    region: Optional[Text] = None
    audio_format: Literal["pcm_s16le", "ogg_opus"] = "pcm_s16le"
    sample_rate: Annotated[
        Union[int, Literal["auto"]], whole(1, 192000, " Hz", AUTO)
    ] = 24000
    """AUTO: the rate of the first frame, which may change later."""
    session_expire_minutes: Annotated[
        int, whole(1, MAX_SESSION_MINUTES, " minutes")
    ] = 30
    # Not in the repr: a URL can hold a password or a key.
    console_endpoint_url: Annotated[
        Optional[Text], url("http://", "https://")
    ] = Field(default=None, repr=False)
    ingress_endpoint_url: Annotated[
        Optional[Text], url("ws://", "wss://", "http://", "https://")
    ] = Field(default=None, repr=False)
    end_of_speech_timeout_ms: Annotated[int, whole(0, 3_600_000, " ms")] = 1500
    max_buffered_speech_s: Annotated[float, decimal(0.1, 3600, " s")] = 60
    resume_rewind_ms: Annotated[int, whole(0, 5000, " ms")] = 500
    resume_within_s: Annotated[float, decimal(0, 3600, " s")] = 15
    fallback_after_ms: Annotated[int, whole(0, 60_000, " ms")] = 1500
    idle_disconnect_s: Annotated[float, decimal(0, 86_400, " s")] = 120
    max_session_minutes: Annotated[
        Optional[float], decimal(1, MAX_SESSION_MINUTES, " minutes")
    ] = None
    """None: the plan's limit, learned when it ends a session."""
    one_request_at_a_time: Annotated[
        Union[bool, Literal["auto"]], flag_or(AUTO)
    ] = AUTO
    """AUTO: once the service has replaced one request by another."""
    prebuffer_ms: Annotated[int, whole(0, 5000, " ms")] = 0
    # Nor are these: nobody knows what they are.
    extra_params: Texts = Field(default={}, repr=False)
    telemetry: Flag = False
    telemetry_endpoint: Annotated[
        Optional[Text], url("http://", "https://", is_base=True)
    ] = Field(default=None, repr=False)

    @field_validator("audio_format", mode="before")
    @classmethod
    def _known_format(cls, value: Any) -> Any:
        if value not in ("pcm_s16le", "ogg_opus"):
            raise invalid("pcm_s16le or ogg_opus", value)
        return value

    @field_validator("sample_rate")
    @classmethod
    def _rate_of_format(
        cls, value: Union[int, str], info: ValidationInfo
    ) -> Union[int, str]:
        audio_format = info.data.get("audio_format", "pcm_s16le")
        rates = RATES_HZ[audio_format]
        if value != AUTO and value not in rates:
            listed = ", ".join(map(str, rates))
            raise invalid(f"one of {listed} Hz with {audio_format}", value)
        return value

    @field_validator("region")
    @classmethod
    def _host_part(cls, value: str) -> str:
        # It becomes a part of the service's host name.
        if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
            raise invalid("a region such as us-west or ap-northeast", value)
        return value

    @field_validator("agora_channel")
    @classmethod
    def _channel_name(cls, value: str) -> str:
        if len(value) > MAX_CHANNEL_BYTES or not _CHANNEL.fullmatch(value):
            raise invalid(
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
    def rates_hz(self) -> tuple[int, ...]:
        """The sample rates that frames may have."""
        if isinstance(self.sample_rate, int):
            return (self.sample_rate,)
        return RATES_HZ[self.audio_format]

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
