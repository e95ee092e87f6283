"""How long to wait before the next attempt."""

import random

from .errors import Failure

INITIAL_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0

FIRST_RETRY_S = 0.1
"""The first attempt after a session comes within this."""

RESTART_SPREAD_S = 2.0
"""So much later it comes where the service restarts: all its avatars are
lost at once, and must not come back in one moment."""

RESTART_CODES = ("1001", "1012")
"""Close codes of a service that goes away or restarts (RFC 6455)."""

BACKOFF_RESET_S = 5.0
"""A session that lasts this long has ended the outage before it: backoff
starts anew, and the next loss is another outage."""


class Backoff:
    """The first attempt after a session at once, then exponential backoff
    with jitter: each wait is cut at random by up to a half.

    Of sessions that are shorter than `BACKOFF_RESET_S` only the first in a
    row is followed at once.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._max_s = 0.0  # of the next wait; 0 for an attempt at once

    def lasted(self, duration_s: float) -> None:
        """Take note of a session that was ready for so long."""
        if duration_s >= BACKOFF_RESET_S:
            self._max_s = 0.0

    def next_s(self, failure: Failure, was_ready: bool) -> float:
        """Return how long to wait; `was_ready` says whether the attempt that
        failed had been a session."""
        if failure.retry_slowly:
            return self._rng.uniform(MAX_BACKOFF_S / 2, MAX_BACKOFF_S)
        if was_ready and not self._max_s:
            self._max_s = 2 * INITIAL_BACKOFF_S
            is_restart = failure.code in RESTART_CODES
            spread_s = RESTART_SPREAD_S if is_restart else FIRST_RETRY_S
            return self._rng.uniform(0.0, spread_s)
        max_s = self._max_s or 2 * INITIAL_BACKOFF_S
        self._max_s = min(2 * max_s, MAX_BACKOFF_S)
        return self._rng.uniform(max_s / 2, max_s)
