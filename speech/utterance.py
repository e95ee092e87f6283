"""One utterance: its audio, how far it got, and what became of it."""

from dataclasses import dataclass, field
from typing import Literal, Optional

from .limits import MESSAGE_MS
from .tape import Tape
from .turn import Turn

Output = Literal["avatar", "voice"]
"""Who says an utterance."""

Source = Literal["service", "estimate"]
"""What a playback position rests on."""

PLAYED, CUT, LOST = 1, 2, 3
"""Why an utterance is not audible any more: it was played to its end, it was
cut by a barge-in, or what was left of it was lost."""


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
    """What of that was heard: a flush cuts the rest."""
    lost_ms: float = 0.0
    resent_ms: float = 0.0

    @property
    def dropped_ms(self) -> float:
        return self.flushed_ms + self.refused_ms


@dataclass(frozen=True)
class AudioStart:
    """An utterance begins to be heard."""

    turn: Optional[Turn]
    request_id: str
    """The TTS's where it is known, else the service's, else "voice-<n>"."""


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


@dataclass(slots=True)
class Counts:
    """What became of an utterance's audio, in bytes; see `Totals`."""

    received: int = 0
    voice: int = 0
    flushed: int = 0
    refused: int = 0
    lost: int = 0
    resent: int = 0


@dataclass(slots=True, eq=False)
class Utterance(Tape):
    """The audio up to one end of speech, and how far it got.

    Times are monotonic seconds.
    """

    turn: Optional[Turn]
    request_id: str
    bytes_per_s: int
    message_size: int = field(init=False)
    """The most that one message holds, in bytes."""
    opened_at: float
    last_audio_at: float
    source: Source = "estimate"  # what `heard` rests on
    ended: bool = False  # nothing more will be added
    flushed: bool = False
    output: Optional[Output] = None
    started: bool = False  # it has begun to be heard
    is_over: bool = False  # and is not heard any more
    counts: Counts = field(default_factory=Counts)
    first_sent_at: Optional[float] = None
    req_id: str = ""
    connection_id: str = ""

    def __post_init__(self) -> None:
        self.message_size = self.size_of(MESSAGE_MS)

    @property
    def voice_heard(self) -> int:
        """What was heard of the voice, which says an utterance's last part."""
        return max(0, self.counts.voice - max(0, self.reached - self.heard))

    @property
    def sent(self) -> int:
        """What the avatar was sent, without what was lost."""
        return self.reached - self.counts.voice

    def size_of(self, duration_ms: int) -> int:
        """Return how many bytes of whole samples last so long."""
        return self.bytes_per_s * duration_ms // 1000 & ~1

    def ms(self, size: int) -> float:
        return size * 1000 / self.bytes_per_s

    def summary(self) -> Summary:
        first = self.first_sent_at
        return Summary(
            turn=self.turn,
            req_id=self.req_id,
            connection_id=self.connection_id,
            audio_ms=self.ms(self.counts.received),
            sent_ms=self.ms(self.sent),
            flushed_ms=self.ms(self.counts.flushed),
            refused_ms=self.ms(self.counts.refused),
            first_audio_delay_ms=None
            if first is None
            else (first - self.opened_at) * 1000,
            interrupted=self.flushed,
            voice_ms=self.ms(self.counts.voice),
            voice_heard_ms=self.ms(self.voice_heard),
            lost_ms=self.ms(self.counts.lost),
            resent_ms=self.ms(self.counts.resent),
        )

    def audio_start(self) -> AudioStart:
        # The end is reported under the same id, whatever comes after this.
        self.request_id = self.request_id or self.req_id
        return AudioStart(self.turn, self.request_id)

    def audio_end(self, reason: int) -> AudioEnd:
        return AudioEnd(
            turn=self.turn,
            request_id=self.request_id,
            reason=reason,
            playback_position_ms=self.ms(self.heard),
            total_ms=self.ms(self.counts.received),
            source=self.source,
        )
