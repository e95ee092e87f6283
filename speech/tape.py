"""The audio of one utterance: what is to be written, and what was."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tape:
    """Audio in order; sizes and positions are in bytes.

    It goes from `frames` by `take` to whoever writes it, and with `advance`
    to `kept`, where it stays until `release`: `rewind` brings it back to be
    written again. Positions count from the first byte accepted, without what
    was lost.
    """

    frames: deque[bytes] = field(default_factory=deque, init=False)
    offset: int = field(default=0, init=False)
    """Of the first frame, how much has been taken."""
    left: int = field(default=0, init=False)
    """To be written, for the first time or again."""
    kept: deque[bytes] = field(default_factory=deque, init=False)
    kept_bytes: int = field(default=0, init=False)
    unkept_bytes: int = field(default=0, init=False)
    """Written after what is kept."""
    position: int = field(default=0, init=False)
    """Of what is written next."""
    reached: int = field(default=0, init=False)
    """The furthest that `position` has been."""
    heard: int = field(default=0, init=False)
    """How far the listener has heard it, as far as known."""
    odd_byte: bytes = field(default=b"", init=False)
    """Half a sample, until its other half comes."""

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
        if self.left == len(frame) <= size and not self.offset:
            self.frames.clear()
            self.left = 0
            return frame
        parts: list[bytes] = []
        room = size
        while room and self.frames:
            frame = self.frames[0]
            part = frame[self.offset : self.offset + room]
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

    def advance(self, audio: bytes, room: int) -> int:
        """Count `audio` as written; return how much of it was for the first
        time. Where as much as `room` is kept, it cannot be written again, nor
        can what follows.
        """
        size = len(audio)
        if self.kept_bytes < room and not self.unkept_bytes:
            self.kept.append(audio)
            self.kept_bytes += size
        else:
            self.unkept_bytes += size
        position = self.position = self.position + size
        new = position - self.reached
        if new <= 0:
            return 0
        self.reached = position
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
