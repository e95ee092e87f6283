"""The bounds of speech."""

from dataclasses import dataclass

from .totals import BYTES_PER_SAMPLE

MESSAGE_MS = 100
"""The most audio that one message holds when it is cut or joined."""

VOICE_FRAME_MS = 10
"""The audio of one frame that the voice says."""

KEPT_FACTOR = 5
"""How much more written audio is kept than may wait to be written."""

KEPT_MARGIN_S = 3.0
"""How much longer written audio is kept than until it has been heard: by so
much the service may correct the estimate."""


@dataclass(frozen=True)
class Limits:
    """How much may wait, how long, and what is said again.

    `end_timeout_s` of 0 means never, `resume_within_s` of 0 that lost audio
    is never said again.
    """

    max_buffered_s: float = 60.0
    end_timeout_s: float = 1.5
    first_message_ms: int = 0
    resume_rewind_s: float = 0.5
    resume_within_s: float = 15.0


def size_of(duration_s: float, bytes_per_s: int) -> int:
    """Return how many bytes of whole samples last so long."""
    return int(duration_s * bytes_per_s) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
