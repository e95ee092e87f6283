"""What became of all the audio, as one sum."""

from dataclasses import dataclass, field

BYTES_PER_SAMPLE = 2


@dataclass
class Totals:
    """Samples over the whole run.

    received = sent + flushed + refused + waiting. `refused` found no room (or
    no avatar), `flushed` was cut by a barge-in. Methods take bytes.
    """

    received: int = 0
    sent: int = 0
    flushed: int = 0
    refused: int = 0
    waiting: int = 0
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
        self.sent += self._unqueue(size)

    def flush(self, size: int) -> None:
        self.flushed += self._unqueue(size)

    def refuse(self, size: int) -> None:
        self.refused += self._unqueue(size)

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
