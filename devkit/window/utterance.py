"""One utterance as it comes in: its waveform, its pace, its outcome."""

from array import array
from dataclasses import dataclass, field
from typing import Any, Literal

PEAK_MS = 20
"""How much audio one peak of the waveform stands for."""

LEAD_S = 0.2
"""How far behind its arrival audio is played, so that small delays are not
heard; static/sound.js plays with the same lead."""

MAX_PEAKS = 10 * 60 * 1000 // PEAK_MS

Outcome = Literal["open", "ended", "interrupted", "lost"]


@dataclass(frozen=True)
class Gap:
    """The audio came too late: a listener heard a hole."""

    at_ms: float
    """Where in the utterance's audio."""

    length_s: float
    """How long the hole was."""


@dataclass(frozen=True)
class Heard:
    """The part that one message added."""

    pcm: bytes
    """Whole samples; an odd byte waits for the next message, as it does in
    the service, which reads all audio of a request as one stream."""

    peaks: bytes
    """One byte for each `PEAK_MS`: the loudest sample, 0 to 255."""

    gap: Gap | None


@dataclass
class Utterance:
    """All audio under one request id; times are the server's clock."""

    number: int
    connection: int
    """Its number; 0: the voice."""

    sample_rate: int
    """Hz."""

    is_pcm: bool = True
    """False: Ogg Opus, which is counted, but neither drawn nor played."""

    audio_bytes: int = 0
    message_count: int = 0
    outcome: Outcome = "open"
    gaps: list[Gap] = field(default_factory=list)
    peaks: bytearray = field(default_factory=bytearray, repr=False)
    # Of a sample, and of a peak, that is not complete yet.
    _odd_byte: bytes = b""
    _tail: array = field(default_factory=lambda: array("h"), repr=False)
    # When a listener would run out of audio.
    _plays_until_s: float = float("-inf")

    @property
    def audio_ms(self) -> float:
        """How long the audio lasts; 0 where that is not known (Opus)."""
        if not self.is_pcm:
            return 0.0
        return self.audio_bytes / 2 / self.sample_rate * 1000

    def hear(self, audio: bytes, now_s: float) -> Heard:
        """Take one message's audio."""
        self.audio_bytes += len(audio)
        self.message_count += 1
        if not self.is_pcm:
            return Heard(b"", b"", None)
        pcm = self._odd_byte + audio
        whole = len(pcm) // 2 * 2
        pcm, self._odd_byte = pcm[:whole], pcm[whole:]
        gap = self._gap(now_s)
        self._plays_until_s += len(pcm) / 2 / self.sample_rate
        return Heard(pcm, self._add_peaks(pcm), gap)

    def finish(self, outcome: Outcome) -> None:
        """Note its outcome; a cut outweighs its end."""
        if self.outcome == "open" or outcome != "ended":
            self.outcome = outcome

    def heard_ms(self, now_s: float) -> float:
        """Return how much a listener without a lead has heard."""
        left_s = max(0.0, self._plays_until_s - LEAD_S - now_s)
        return max(0.0, self.audio_ms - 1000 * left_s)

    def is_playing(self, now_s: float) -> bool:
        """Whether a listener has not heard all of it yet."""
        return self.outcome == "open" or (
            self.outcome == "ended" and now_s < self._plays_until_s
        )

    def as_json(self) -> dict[str, Any]:
        """The utterance as JSON values, without its waveform."""
        return {
            "number": self.number,
            "connection": self.connection,
            "isPcm": self.is_pcm,
            "audioMs": round(self.audio_ms),
            "audioBytes": self.audio_bytes,
            "messages": self.message_count,
            "outcome": self.outcome,
            "gaps": [{"atMs": round(gap.at_ms)} for gap in self.gaps],
        }

    def _gap(self, now_s: float) -> Gap | None:
        late_s = now_s - self._plays_until_s
        if late_s <= 0:
            return None
        self._plays_until_s = now_s + LEAD_S
        if self.message_count == 1:
            return None
        gap = Gap(len(self.peaks) * PEAK_MS, late_s + LEAD_S)
        self.gaps.append(gap)
        return gap

    def _add_peaks(self, pcm: bytes) -> bytes:
        self._tail.frombytes(pcm)
        size = self.sample_rate * PEAK_MS // 1000
        whole = len(self._tail) // size * size
        added = bytearray()
        for at in range(0, whole, size):
            part = self._tail[at : at + size]
            added.append(min(255, max(max(part), -min(part)) >> 7))
        del self._tail[:whole]
        self.peaks += added[: MAX_PEAKS - len(self.peaks)]
        return bytes(added)
