"""One utterance: its audio while it waits, and what became of it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Optional, Union

from .turn import Turn


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

    @property
    def dropped_ms(self) -> float:
        return self.flushed_ms + self.refused_ms


@dataclass(slots=True, eq=False)
class Utterance:
    """The audio up to one end of speech, and what became of it, in bytes."""

    turn: Optional[Turn]
    opened_at: float
    last_audio_at: float
    frames: deque[bytes] = field(default_factory=deque)
    offset: int = 0  # of the first frame, how much has been taken
    waiting: int = 0
    odd_byte: bytes = b""  # half a sample, until its other half comes
    ended: bool = False  # nothing more will be added
    flushed: bool = False
    received_bytes: int = 0
    sent_bytes: int = 0
    flushed_bytes: int = 0
    refused_bytes: int = 0
    first_sent_at: Optional[float] = None
    playout_ends_at: float = 0.0
    req_id: str = ""
    connection_id: str = ""

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
        self.waiting += len(pcm)

    def take(self, size: int) -> bytes:
        """Remove and return up to `size` bytes, without a copy if it can."""
        frame = self.frames[0]
        left = len(frame) - self.offset
        if not self.offset and (
            left == size or (left < size and len(self.frames) == 1)
        ):
            self.frames.popleft()
            self.waiting -= left
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
        self.waiting -= len(audio)
        return audio

    def put_back(self, audio: bytes) -> None:
        """Undo the latest `take`."""
        if self.offset:
            self.frames[0] = self.frames[0][self.offset :]
            self.offset = 0
        self.frames.appendleft(audio)
        self.waiting += len(audio)

    def drop(self) -> int:
        """Discard what waits and return how many bytes that was."""
        dropped = self.waiting
        self.frames.clear()
        self.offset = 0
        self.waiting = 0
        return dropped

    def summary(self, bytes_per_s: int) -> Summary:
        def ms(size: int) -> float:
            return size * 1000 / bytes_per_s

        first = self.first_sent_at
        return Summary(
            turn=self.turn,
            req_id=self.req_id,
            connection_id=self.connection_id,
            audio_ms=ms(self.received_bytes),
            sent_ms=ms(self.sent_bytes),
            flushed_ms=ms(self.flushed_bytes),
            refused_ms=ms(self.refused_bytes),
            first_audio_delay_ms=None
            if first is None
            else (first - self.opened_at) * 1000,
            interrupted=self.flushed,
        )
