#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Compares the speech that was said with the speech that arrived.

An avatar sends the samples as they are, or resamples them to its vendor's
rate. The first is compared by bytes, the second by duration and correlation.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

ENCODED = -1
"""In place of a rate: the speech arrives encoded."""
CONTAINERS = {b"OggS": "Ogg", b"ID3": "MP3", b"fLaC": "FLAC", b"RIFF": "WAV"}

RATES_HZ = (8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
SLACK_S = 0.06
SLACK_PART = 0.03
WINDOW_S = 0.2
LEAST_CORRELATION = 0.6
THINNED_HZ = 8000
"""Enough for the band of `graph.speech`, and quick to compare."""


@dataclass(frozen=True)
class Hearing:
    """How an extension's speech is compared."""

    said_hz: int
    heard_hz: int
    """The vendor's rate; another one than `said_hz` where it resamples."""

    @property
    def resampled(self) -> bool:
        return self.heard_hz != self.said_hz

    def size(self, pcm: bytes) -> int:
        """Return how many bytes of the vendor's `pcm` comes to."""
        samples = len(pcm) // 2 * self.heard_hz / self.said_hz
        return round(samples) * 2

    def duration_s(self, heard: bytes) -> float:
        return len(heard) / 2 / self.heard_hz

    def is_same(self, heard: bytes, pcm: bytes) -> bool:
        """Whether `heard` is `pcm`, no more and no less."""
        if not self.resampled:
            return heard == pcm
        said_s = len(pcm) / 2 / self.said_hz
        slack_s = SLACK_S + said_s * SLACK_PART
        if abs(self.duration_s(heard) - said_s) > slack_s:
            return False
        return correlates(heard, self.heard_hz, pcm, self.said_hz)

    def holds(self, heard: bytes, pcm: bytes) -> bool:
        """Whether `pcm` is the whole, the begin or the end of `heard`, or
        anywhere in it where it is not resampled."""
        if not self.resampled:
            return pcm in heard
        size = self.size(pcm)
        return len(heard) > size * (1 - SLACK_PART) - SLACK_S and (
            self.is_same(heard, pcm)
            or self.is_same(heard[:size], pcm)
            or self.is_same(heard[-size:], pcm)
        )

    def has_arrived(self, received: Sequence[bytes], pcm: bytes) -> bool:
        """Whether one of the utterances, or all of them in a row, hold `pcm`.

        How speech is split into utterances has rules of its own.
        """
        return any(
            self.holds(heard, pcm) for heard in (*received, b"".join(received))
        )


def rate_of(heard: bytes, pcm: bytes, said_hz: int) -> int:
    """Return the rate that `heard` has if it is `pcm`, 0 if it is not.

    `ENCODED` where it begins as a container of encoded audio does.
    """
    if heard.startswith(tuple(CONTAINERS)):
        return ENCODED
    if heard == pcm:
        return said_hz
    rate = said_hz * len(heard) / max(1, len(pcm))
    nearest = min(RATES_HZ, key=lambda known: abs(known - rate))
    if nearest == said_hz or abs(nearest - rate) > SLACK_PART * nearest:
        return 0
    return nearest if correlates(heard, nearest, pcm, said_hz) else 0


def correlates(heard: bytes, heard_hz: int, pcm: bytes, said_hz: int) -> bool:
    """Whether each part of the one resembles the same part of the other."""
    left, right = _thinned(heard, heard_hz), _thinned(pcm, said_hz)
    window = int(WINDOW_S * THINNED_HZ)
    length = min(len(left), len(right))
    lags = range(-240, 241, 2)  # 30 ms: a filter of theirs may delay
    lag = max(lags, key=lambda lag: _correlation(left, right, 0, window, lag))
    for at in range(0, max(1, length - window // 2), window):
        near = range(lag - 24, lag + 25, 2)
        best = max(_correlation(left, right, at, window, lag) for lag in near)
        if best < LEAST_CORRELATION:
            return False
    return True


def _thinned(pcm: bytes, rate_hz: int) -> list[float]:
    """Return the samples at `THINNED_HZ`, by linear interpolation."""
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    step = rate_hz / THINNED_HZ
    result = []
    for number in range(int((len(samples) - 1) / step)):
        at = number * step
        whole = int(at)
        part = at - whole
        result.append(samples[whole] * (1 - part) + samples[whole + 1] * part)
    return result


def _correlation(
    left: list[float], right: list[float], at: int, size: int, lag: int
) -> float:
    """Return that of `right[at:at + size]` and `left`, moved by `lag`."""
    begin = max(at, -lag, 0)
    end = min(at + size, len(right), len(left) - lag)
    if end - begin < 40:
        return 1.0  # too little is left to judge by
    one, two = left[begin + lag : end + lag : 4], right[begin:end:4]
    product = sum(a * b for a, b in zip(one, two))
    power = math.sqrt(sum(a * a for a in one) * sum(b * b for b in two))
    return product / power if power else 0.0
