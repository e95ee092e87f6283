"""What became of all the audio, as one sum."""

from dataclasses import dataclass, field

BYTES_PER_SAMPLE = 2


@dataclass
class Totals:
    """Samples over the whole run.

    received = sent + voice + flushed + refused + lost + waiting. `voice` was
    said without the avatar, `flushed` was cut by a barge-in before it was
    written, `refused` found no room (or no avatar), `lost` was written and
    never heard. `resent` is what was written twice, apart from the sum.
    Methods take bytes.
    """

    received: int = 0
    sent: int = 0
    voice: int = 0
    flushed: int = 0
    refused: int = 0
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

    def resend(self, size: int) -> None:
        self.resent += size // BYTES_PER_SAMPLE

    def lose(self, size: int) -> None:
        """Move audio that the avatar was sent to what was lost."""
        samples = size // BYTES_PER_SAMPLE
        self.lost += samples
        self.sent -= samples

    def say_again(self, size: int) -> None:
        """Move audio that the avatar was sent to what the voice said."""
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
