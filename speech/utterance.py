"""One utterance: its audio, how far it got, and what became of it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Optional, Union

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
    """From the first frame in to the first message out; None if none was."""
    interrupted: bool
    voice_ms: float = 0.0
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
    """The TTS's where it is known, else the service's."""


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


@dataclass(slots=True, eq=False)
class Utterance:
    """The audio up to one end of speech; sizes and positions are in bytes.

    Audio goes from `frames` by `take` to whoever writes it, and with
    `advance` to `kept`, where it stays until `release`: `rewind` brings it
    back to be written again. Positions count from the first byte accepted,
    without what was lost.
    """

    turn: Optional[Turn]
    request_id: str
    bytes_per_s: int
    opened_at: float
    last_audio_at: float
    frames: deque[bytes] = field(default_factory=deque)
    offset: int = 0  # of the first frame, how much has been taken
    left: int = 0  # to be written, for the first time or again
    kept: deque[bytes] = field(default_factory=deque)
    kept_bytes: int = 0
    unkept_bytes: int = 0  # written after what is kept
    position: int = 0  # of what is written next
    reached: int = 0  # the furthest that `position` has been
    heard: int = 0  # how far the listener has heard it, as far as known
    source: Source = "estimate"  # what `heard` rests on
    odd_byte: bytes = b""  # half a sample, until its other half comes
    ended: bool = False  # nothing more will be added
    flushed: bool = False
    output: Optional[Output] = None
    started: bool = False  # it has begun to be heard
    is_over: bool = False  # and is not heard any more
    received_bytes: int = 0
    sent_bytes: int = 0
    voice_bytes: int = 0
    flushed_bytes: int = 0
    refused_bytes: int = 0
    lost_bytes: int = 0
    resent_bytes: int = 0
    first_sent_at: Optional[float] = None
    req_id: str = ""
    connection_id: str = ""

    @property
    def again(self) -> int:
        """What is to be written for a second time."""
        return self.reached - self.position

    def join(self, pcm: bytes) -> bytes:
        """Return the whole samples that `pcm` completes; keep an odd byte."""
        if self.odd_byte:
            pcm = self.odd_byte + pcm
            self.odd_byte = b""
        if len(pcm) & 1:
            self.odd_byte = pcm[-1:]
            pcm = pcm[:-1]
        return pcm

    def add(self, pcm: bytes) -> None:
        self.frames.append(pcm)
        self.left += len(pcm)

    def take(self, size: int) -> bytes:
        """Remove and return up to `size` bytes, without a copy if it can."""
        frame = self.frames[0]
        left = len(frame) - self.offset
        if not self.offset and (
            left == size or (left < size and len(self.frames) == 1)
        ):
            self.frames.popleft()
            self.left -= left
            return frame
        parts: list[Union[bytes, memoryview]] = []
        room = size
        while room and self.frames:
            frame = self.frames[0]
            part = memoryview(frame)[self.offset : self.offset + room]
            parts.append(part)
            room -= len(part)
            self.offset += len(part)
            if self.offset == len(frame):
                self.frames.popleft()
                self.offset = 0
        audio = b"".join(parts)
        self.left -= len(audio)
        return audio

    def put_back(self, audio: bytes) -> None:
        """Undo the latest `take`."""
        if self.offset:
            self.frames[0] = self.frames[0][self.offset :]
            self.offset = 0
        self.frames.appendleft(audio)
        self.left += len(audio)

    def advance(self, audio: bytes, keep: bool) -> int:
        """Count `audio` as written; return how much of it was for the first
        time. Without `keep` it cannot be written again, nor can what follows.
        """
        size = len(audio)
        self.position += size
        if keep and not self.unkept_bytes:
            self.kept.append(audio)
            self.kept_bytes += size
        else:
            self.unkept_bytes += size
        new = self.position - self.reached
        if new <= 0:
            return 0
        self.reached = self.position
        return new

    def release(self, position: float) -> None:
        """Discard what is kept before `position`."""
        begin = self.position - self.unkept_bytes - self.kept_bytes
        while self.kept and begin + len(self.kept[0]) <= position:
            size = len(self.kept.popleft())
            begin += size
            self.kept_bytes -= size

    def forget(self) -> None:
        """Keep nothing of what was written so far."""
        self.kept.clear()
        self.kept_bytes = self.unkept_bytes = 0

    def rewind(self, position: int) -> int:
        """Have the audio from `position` on written again, as far as it was
        kept; return how much was neither kept nor heard, and is lost."""
        lost = self._cut_unkept()
        while self.kept and self.position > position:
            audio = self.kept.pop()
            self.kept_bytes -= len(audio)
            surplus = position - (self.position - len(audio))
            if surplus > 0:
                self.kept.append(audio[:surplus])
                self.kept_bytes += surplus
                audio = audio[surplus:]
            self.position -= len(audio)
            self.put_back(audio)
        return lost

    def _cut_unkept(self) -> int:
        """Cut out what was written, not kept and not heard, and return how
        much that was."""
        if not self.unkept_bytes:
            return 0
        begin = self.position - self.unkept_bytes
        end = max(begin, min(self.heard, self.position))
        if end > begin:
            self.kept.clear()  # what follows it cannot be written again
            self.kept_bytes = 0
        self.unkept_bytes = 0
        lost = self.position - end
        self.position = end
        self.reached -= lost
        return lost

    def skip_again(self) -> int:
        """Write nothing again: go on with what has never been written.

        Return how much the listener has lost by that.
        """
        lost = max(0, self.reached - max(self.heard, self.position))
        if self.again:
            self.take(self.again)
        self.forget()
        self.reached -= lost
        self.position = self.reached
        return lost

    def drop(self, held: int) -> int:
        """Discard all that is to be written, and return how much of it has
        never been; a writer holds `held` bytes, which are not counted."""
        waiting = self.left - max(0, self.again - held)
        self.frames.clear()
        self.offset = self.left = 0
        self.forget()
        return waiting

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
            audio_ms=self.ms(self.received_bytes),
            sent_ms=self.ms(self.sent_bytes),
            flushed_ms=self.ms(self.flushed_bytes),
            refused_ms=self.ms(self.refused_bytes),
            first_audio_delay_ms=None
            if first is None
            else (first - self.opened_at) * 1000,
            interrupted=self.flushed,
            voice_ms=self.ms(self.voice_bytes),
            lost_ms=self.ms(self.lost_bytes),
            resent_ms=self.ms(self.resent_bytes),
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
            total_ms=self.ms(self.received_bytes),
            source=self.source,
        )
