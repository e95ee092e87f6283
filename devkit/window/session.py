"""The page's figures of the session, of speech, and of the switches."""

from dataclasses import dataclass, field
from typing import Any

from ..motion_server import Connection


@dataclass
class Session:
    """No secret is in it."""

    state: str = "waiting"
    """Of the avatar, as the extension reports it; without one on the stage,
    as its connection shows it."""

    latest: Connection | None = None
    is_stalled: bool = False
    refusals_planned: int = 0
    session_token_end: float | None = None
    """Epoch seconds."""

    ended_credits: int = 0
    """The price of the sessions that have ended."""

    live_since: float | None = None
    """Epoch seconds: since when the latest one is billed, None if not."""

    last_close: str = ""
    problem: str = ""
    """The latest error since the avatar was ready."""

    failure: str = ""
    """Why the avatar has failed permanently."""

    is_speaking: bool = False
    """The agent's TTS sends audio."""

    is_heard: bool = False
    """An answer has begun to be heard, and has not ended."""

    tts_speed: int = 1
    is_console_down: bool = False
    has_signals: bool = False
    """The service reports playback."""

    preempts: bool = False
    """A newer request cuts the one that plays."""

    speech: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("heardMs", "resumedMs", "voiceMs", "cutMs", "lostMs"), 0
        )
    )
    """The speech heard, as the extension reports it, in milliseconds.
    Of the voice's speech that part counts which was heard."""

    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("utterances", "interrupts", "gaps", "violations", "audioMs"), 0
        )
    )

    @property
    def is_busy(self) -> bool:
        """Whether the agent speaks, or is still heard."""
        return self.is_speaking or self.is_heard

    @property
    def has_failed(self) -> bool:
        """Whether the extension has reported a fatal failure."""
        return self.state == "failed"

    def as_json(self) -> dict[str, Any]:
        """Return the session as JSON values, named as JavaScript has it."""
        values = {_camel(k): v for k, v in vars(self).items() if k != "latest"}
        values |= {"isBusy": self.is_busy, "hasFailed": self.has_failed}
        latest = self.latest
        if latest is None:
            return values
        values |= {
            "isOpen": latest.closed_s is None,
            "isLive": latest.live,
            "connection": latest.number,
            "connectionId": latest.connection_id,
            "avatarId": latest.avatar_id,
            "sessionToken": latest.session_token,
        }
        if latest.config is not None:
            values |= {
                "channel": latest.config.channel,
                "uid": latest.config.uid,
                "sampleRate": latest.config.sample_rate,
                "audioFormat": latest.config.audio_format,
                "agoraTokenEnd": latest.config.agora_token_end_s,
            }
        return values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
