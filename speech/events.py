"""The events of speech, as they are reported."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Optional, Union

Source = Literal["service", "estimate"]
"""The source of a playback position."""

PLAYED, CUT, LOST = 1, 2, 3
"""Why an utterance is not audible any more: all of it was played, it was cut
by a barge-in, or a part of it was lost or refused."""


class Turn(NamedTuple):
    """The agent's answer to one thing that the user said.

    `id` is unique within `session`; a session of None matches any.
    """

    session: Hashable
    id: Hashable

    def matches(self, other: "Turn") -> bool:
        """Return whether both name one turn; a session may be left out."""
        return self.id == other.id and (
            self.session == other.session
            or self.session is None
            or other.session is None
        )


@dataclass(frozen=True)
class Summary:
    """How one utterance went. Reported when it has been played or cut."""

    turn: Optional[Turn]
    req_id: str
    connection_id: str
    """Of the connection that its latest audio was sent on, "" if none was."""
    audio_ms: float
    sent_ms: float
    flushed_ms: float
    refused_ms: float
    first_audio_delay_ms: Optional[float]
    """From the first frame in, or from the `tts_audio_start` that woke the
    avatar, to the first message out; None if none was."""
    interrupted: bool
    voice_ms: float = 0.0
    """Handed to the voice."""
    voice_heard_ms: float = 0.0
    """The part of that which was heard: a flush cuts the rest."""
    lost_ms: float = 0.0
    resent_ms: float = 0.0
    stopped_ms: float = 0.0
    request_id: str = ""
    """The TTS's, "" if it is not known."""
    playback_latency_ms: Optional[float] = None
    """From the first message out to the first sound, None if the service has
    not reported it."""
    delivery_pace: Optional[float] = None
    """Seconds of audio that the TTS delivered in a second, None if it came
    all at once."""

    @property
    def dropped_ms(self) -> float:
        return self.flushed_ms + self.refused_ms + self.stopped_ms


@dataclass(frozen=True)
class AudioStart:
    """An utterance begins to be heard."""

    turn: Optional[Turn]
    request_id: str
    """The TTS's if it is known, else the service's, else "voice-<n>"."""


@dataclass(frozen=True)
class AudioEnd:
    """An utterance that was begun is not heard any more."""

    turn: Optional[Turn]
    request_id: str
    reason: int
    """`PLAYED`, `CUT` or `LOST`."""
    playback_position_ms: float
    total_ms: float
    source: Source


@dataclass(frozen=True)
class Overflow:
    """Audio was refused because `max_buffered_s` of it already waited."""

    refused_s: float
    turn: Optional[Turn]
    is_continuation: bool = False
    """An earlier event has reported this episode; this is the rest of it."""


@dataclass(frozen=True)
class SpeechLost:
    """Audio that was written and not heard is not said again."""

    lost_s: float
    turn: Optional[Turn]


@dataclass(frozen=True)
class TurnIdReused:
    """A turn goes on long after its flush, without a new request. Reported
    once."""

    turn: Turn
    limit_s: float
    """How long after its flush audio of the turn was dropped."""


@dataclass(frozen=True)
class SlowDelivery:
    """The TTS delivers speech no faster than it is spoken. Reported for the
    first utterance of an episode."""

    pace: float
    """Seconds of audio in a second."""
    turn: Optional[Turn]
    request_id: str


@dataclass(frozen=True)
class Preempted:
    """The service has interrupted a request by itself. Reported once."""

    req_id: str
    reason: str


SpeechEvent = Union[
    Summary,
    AudioStart,
    AudioEnd,
    Overflow,
    SpeechLost,
    TurnIdReused,
    SlowDelivery,
    Preempted,
]
