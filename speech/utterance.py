"""One utterance: its audio, how far it got, and its counts."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Optional, Union

from .events import AudioEnd, AudioStart, Source, Summary, Turn

BYTES_PER_SAMPLE = 2

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
    """How much may wait, how long, and how much is said again.

    `end_timeout_s` of 0 means never, `resume_within_s` of 0 that lost audio
    is never said again. `prebuffer_ms` of a turn are collected before its
    first audio is written. With `one_request_at_a_time` a request is held
    back until the one before has been played; "auto" means from the first
    request on that the service interrupts by itself.
    """

    max_buffered_s: float = 60.0
    end_timeout_s: float = 1.5
    first_message_ms: int = 0
    resume_rewind_s: float = 0.5
    resume_within_s: float = 15.0
    prebuffer_ms: int = 0
    one_request_at_a_time: Union[bool, Literal["auto"]] = "auto"


def size_of(duration_s: float, bytes_per_s: int) -> int:
    """Return how many bytes of whole samples last so long."""
    return int(duration_s * bytes_per_s) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE


@dataclass
class Totals:
    """Samples over the whole run.

    received = sent + voice + flushed + refused + stopped + lost + waiting.
    `voice` was said without the avatar, `flushed` was cut by a barge-in
    before it was written, `refused` found no room, or no output that would
    ever speak, `stopped` waited at the stop or came after it, `lost` was
    written and never heard. `resent` is audio that was written twice, apart
    from the sum. Methods take bytes.
    """

    received: int = 0
    sent: int = 0
    voice: int = 0
    flushed: int = 0
    refused: int = 0
    stopped: int = 0
    lost: int = 0
    waiting: int = 0
    resent: int = 0
    _half_sample_bytes: int = field(default=0, repr=False, compare=False)

    def queue(self, size: int) -> None:
        """Count audio as received and waiting."""
        samples = size // BYTES_PER_SAMPLE
        self.received += samples
        self.waiting += samples

    def flush_unqueued(self, size: int) -> None:
        """Count audio as received and flushed: it never waited."""
        self.flushed += self._receive(size)

    def refuse_unqueued(self, size: int) -> None:
        """Count audio as received and refused: it never waited."""
        self.refused += self._receive(size)

    def stop_unqueued(self, size: int) -> None:
        """Count audio as received after the stop: it never waited."""
        self.stopped += self._receive(size)

    def split(self, odd_byte: bytes) -> None:
        """Count the first half of a sample whose other half, if it comes,
        will not be queued."""
        self._half_sample_bytes += len(odd_byte)

    def send(self, size: int) -> None:
        samples = size // BYTES_PER_SAMPLE
        self.waiting -= samples
        self.sent += samples

    def say(self, size: int) -> None:
        self.voice += self._unqueue(size)

    def flush(self, size: int) -> None:
        self.flushed += self._unqueue(size)

    def refuse(self, size: int) -> None:
        self.refused += self._unqueue(size)

    def stop(self, size: int) -> None:
        self.stopped += self._unqueue(size)

    def resend(self, size: int) -> None:
        self.resent += size // BYTES_PER_SAMPLE

    def lose(self, size: int) -> None:
        """Move audio that the avatar was sent to `lost`."""
        samples = size // BYTES_PER_SAMPLE
        self.lost += samples
        self.sent -= samples

    def say_again(self, size: int) -> None:
        """Move audio that the avatar was sent to `voice`."""
        samples = size // BYTES_PER_SAMPLE
        self.sent -= samples
        self.voice += samples

    def _receive(self, size: int) -> int:
        # Half samples add up.
        samples, self._half_sample_bytes = divmod(
            size + self._half_sample_bytes, BYTES_PER_SAMPLE
        )
        self.received += samples
        return samples

    def _unqueue(self, size: int) -> int:
        samples = size // BYTES_PER_SAMPLE
        self.waiting -= samples
        return samples


@dataclass(slots=True, eq=False)
class AudioBuffer:
    """Audio in order; sizes and positions are in bytes.

    It goes from `frames` by `take` to its writer, and with `advance`
    to `kept`, which keeps it until `release`: `rewind` brings it back to be
    written again. Positions count from the first byte accepted, without lost
    audio.
    """

    frames: deque[bytes] = field(default_factory=deque, init=False)
    offset: int = field(default=0, init=False)
    """Of the first frame, how much has been taken."""
    left: int = field(default=0, init=False)
    """To be written, for the first time or again."""
    kept: deque[bytes] = field(default_factory=deque, init=False)
    kept_bytes: int = field(default=0, init=False)
    unkept_bytes: int = field(default=0, init=False)
    """Written after the kept audio."""
    position: int = field(default=0, init=False)
    """Of the audio written next."""
    reached: int = field(default=0, init=False)
    """The furthest that `position` has been."""
    heard: int = field(default=0, init=False)
    """How far the listener has heard it, as far as known."""
    odd_byte: bytes = field(default=b"", init=False)
    """Half a sample, until its other half comes."""

    @property
    def again(self) -> int:
        """The audio to be written for a second time."""
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
        if self.left <= size and not self.offset:
            frames = self.frames
            audio = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            self.left = 0
            return audio
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
        taken = b"".join(parts)
        self.left -= len(taken)
        return taken

    def put_back(self, audio: bytes) -> None:
        """Undo the latest `take`."""
        if self.offset:
            self.frames[0] = self.frames[0][self.offset :]
            self.offset = 0
        self.frames.appendleft(audio)
        self.left += len(audio)

    def advance(self, audio: bytes, room: int) -> int:
        """Count `audio` as written; return how much of it was for the first
        time. If as much as `room` is kept, it cannot be written again, nor
        can the audio behind it.
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
        """Discard the audio kept before `position`."""
        begin = self.position - self.unkept_bytes - self.kept_bytes
        while self.kept and begin + len(self.kept[0]) <= position:
            size = len(self.kept.popleft())
            begin += size
            self.kept_bytes -= size

    def forget(self) -> None:
        """Keep no audio that was written so far."""
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
        """Cut out the audio written, not kept and not heard, and return how
        much that was."""
        if not self.unkept_bytes:
            return 0
        begin = self.position - self.unkept_bytes
        end = max(begin, min(self.heard, self.position))
        if end > begin:
            self.kept.clear()  # the audio behind it cannot be written again
            self.kept_bytes = 0
        self.unkept_bytes = 0
        lost = self.position - end
        self.position = end
        self.reached -= lost
        return lost

    def skip_again(self) -> int:
        """Write no audio again: go on with the audio never written.

        Return how much the listener has lost by that.
        """
        lost = max(0, self.reached - max(self.heard, self.position))
        if self.again:
            self.take(self.again)
        self.forget()
        self.reached -= lost
        self.position = self.reached
        return lost

    def unwritten(self, held: int) -> int:
        """Return how much of the audio that is left has never been written;
        a writer holds `held` bytes, which are not counted."""
        return self.left - max(0, self.again - held)

    def cut_end(self, size: int) -> None:
        """Discard the newest `size` bytes, none of which were written."""
        self.left -= size
        while size:
            frame = self.frames.pop()
            begin = 0 if self.frames else self.offset
            rest = len(frame) - size
            if rest > begin:
                self.frames.append(frame[:rest])
                return
            size -= len(frame) - begin
        if not self.frames:
            self.offset = 0

    def drop(self, held: int) -> int:
        """Discard all that is to be written, and return how much of it has
        never been; a writer holds `held` bytes, which are not counted."""
        waiting = self.unwritten(held)
        self.frames.clear()
        self.offset = self.left = 0
        self.forget()
        return waiting


Output = Literal["avatar", "voice"]
"""Who says an utterance."""


@dataclass(slots=True)
class Counts:
    """The counts of an utterance's audio, in bytes; see `Totals`."""

    received: int = 0
    voice: int = 0
    flushed: int = 0
    refused: int = 0
    stopped: int = 0
    lost: int = 0
    resent: int = 0


@dataclass(slots=True, eq=False)
class Utterance(AudioBuffer):
    """The audio up to one end of speech, and how far it got.

    Times are monotonic seconds.
    """

    turn: Optional[Turn]
    tts_request_id: str
    """The TTS's, "" if it is not known."""
    is_begun: bool
    """A `tts_audio_start` has announced it: its end will be, too."""
    bytes_per_s: int
    message_size: int = field(init=False)
    """The most that one message holds, in bytes."""
    opened_at: float
    first_audio_at: float
    last_audio_at: float = field(init=False)
    first_size: int = 0
    """Of its first frame, in bytes."""
    request_id: str = ""
    """Under which it is reported, once it has begun to be heard."""
    source: Source = "estimate"  # the source of `heard`
    ended: bool = False  # no audio will be added
    is_paused: bool = False
    """The service's request ends here, though the TTS's has not ended."""
    was_paused: bool = False
    is_written: bool = False  # all of it, and nothing will be added
    flushed: bool = False
    output: Optional[Output] = None
    started: bool = False  # it has begun to be heard
    is_over: bool = False  # and is not heard any more
    counts: Counts = field(default_factory=Counts)
    cuts: int = 0
    """How often the service cut it at one position."""
    cut_at: int = -1
    first_sent_at: Optional[float] = None
    first_heard_at: Optional[float] = None
    """As the service has reported it."""
    req_id: str = ""
    connection_id: str = ""

    def __post_init__(self) -> None:
        self.message_size = self.size_of(MESSAGE_MS)
        self.last_audio_at = self.first_audio_at

    @property
    def is_closing(self) -> bool:
        """Whether its request ends behind the audio that is left."""
        return self.ended or self.is_paused

    @property
    def is_at_rest(self) -> bool:
        """Whether it pauses and all of it has been written."""
        return self.is_paused and not self.left

    @property
    def pace(self) -> Optional[float]:
        """How many seconds of audio came in a second, None if all of it came
        at once. The first frame is not counted: it had no time to come in."""
        duration_s = self.last_audio_at - self.first_audio_at
        if duration_s <= 0:
            return None
        size = self.counts.received - self.first_size
        return size / self.bytes_per_s / duration_s

    @property
    def voice_heard(self) -> int:
        """The part of the voice heard, which says an utterance's last part."""
        return max(0, self.counts.voice - max(0, self.reached - self.heard))

    @property
    def sent(self) -> int:
        """The audio that the avatar was sent, without lost audio."""
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
            stopped_ms=self.ms(self.counts.stopped),
            request_id=self.tts_request_id,
            playback_latency_ms=None
            if first is None or self.first_heard_at is None
            else max(0.0, self.first_heard_at - first) * 1000,
            delivery_pace=self.pace,
        )

    def audio_start(self) -> AudioStart:
        # The end is reported under the same id, for all later speech.
        self.request_id = self.request_id or self.tts_request_id or self.req_id
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
