"""What the page shows of the session, of speech, and of the switches."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Session:
    """No secret is in it."""

    state: str = "waiting"
    """Of the avatar, as the extension reports it; without one on the stage,
    what its connection tells."""

    connection: int = 0
    connection_id: str = ""
    is_open: bool = False
    is_live: bool = False
    """Open, and its session is confirmed."""

    is_stalled: bool = False
    refusals_planned: int = 0
    app_id: str = ""
    avatar_id: str = ""
    channel: str = ""
    uid: int | None = None
    sample_rate: int | None = None
    audio_format: str = ""
    session_token: int = 0
    """Number of the session token that opened the connection."""

    session_token_end: float | None = None
    """Epoch seconds, as `agora_token_end`."""

    agora_token_end: float | None = None
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
    """The service reports what was played."""

    speech: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "heardMs",
                "resumedMs",
                "voiceMs",
                "cutMs",
                "lostMs",
            ),
            0,
        )
    )
    """What the listener got, as the extension reports it, in milliseconds.
    Of the voice's speech that part counts which was heard."""

    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "connections",
                "utterances",
                "interrupts",
                "gaps",
                "violations",
                "audioMs",
            ),
            0,
        )
    )

    def as_json(self) -> dict[str, Any]:
        """The session as JSON values, named as JavaScript has it."""
        return {_camel(name): value for name, value in vars(self).items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
