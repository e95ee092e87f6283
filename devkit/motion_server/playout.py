"""When a player plays what it is given: in order and in real time.

Pure: times are handed in, in seconds. Audio is 16-bit mono PCM. It plays from
its arrival on, or from the end of what came before it.
"""

import math
from collections import deque
from dataclasses import dataclass, replace

BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class Span:
    """A part of a request that plays without a pause."""

    req_id: str
    begin_byte: int
    end_byte: int
    start_s: float
    end_s: float


class Playout:
    """One player: a connection of the avatar, or the voice."""

    def __init__(self, sample_rate: int) -> None:
        self._bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        # When all that was written will have been played.
        self.ends_at_s = -math.inf
        self._spans: deque[Span] = deque()
        # Request id -> bytes written.
        self._written: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Playout spans={len(self._spans)} until={self.ends_at_s:.3f}>"

    def write(self, req_id: str, size: int, now_s: float) -> float:
        """Play `size` more bytes of a request; return when they begin."""
        start_s = max(self.ends_at_s, now_s)
        end_s = self.ends_at_s = start_s + size / self._bytes_per_s
        begin = self._written.get(req_id, 0)
        end = self._written[req_id] = begin + size
        last = self._spans[-1] if self._spans else None
        # A request may go on right where its rest was cut.
        if last and (last.req_id, last.end_byte, last.end_s) == (
            req_id,
            begin,
            start_s,
        ):
            self._spans[-1] = replace(last, end_byte=end, end_s=end_s)
        else:
            self._spans.append(Span(req_id, begin, end, start_s, end_s))
        return start_s

    def cut(self, now_s: float) -> None:
        """Discard what has not been played by `now_s`."""
        self.ends_at_s = min(self.ends_at_s, now_s)
        while self._spans and self._spans[-1].end_s > now_s:
            span = self._spans.pop()
            played = int((now_s - span.start_s) * self._bytes_per_s)
            played -= played % BYTES_PER_SAMPLE
            if played > 0:
                end = span.begin_byte + played
                self._spans.append(replace(span, end_byte=end, end_s=now_s))

    def take(self, until_s: float = math.inf) -> list[Span]:
        """Return what has been played by `until_s`, and forget it."""
        taken = []
        while self._spans and self._spans[0].end_s <= until_s:
            taken.append(self._spans.popleft())
        return taken
