"""When to make the next attempt, and the spare session for it."""

import random
from typing import Optional

from ..clock import Clock
from ..session import Failure, Session, SessionState

INITIAL_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0

FIRST_RETRY_S = 0.1
"""The first attempt after a session comes within this."""

RESTART_SPREAD_S = 2.0
"""So much later it comes if the service restarts: all its avatars are
lost at once, and must not come back in one moment."""

RESTART_CODES = ("1001", "1012")
"""Close codes of a service that goes away or restarts (RFC 6455)."""

STABLE_AFTER_S = 5.0
"""A session that lasts this long has ended the outage before it: backoff
starts anew, and the next loss is another outage."""

SPARE_RETRY_S = 15.0
"""How long after a spare that got no token the next is made for a renewal."""


class Backoff:
    """The first attempt after a session at once, then exponential backoff
    with jitter: each wait is cut at random by up to a half.

    Of sessions that are shorter than `STABLE_AFTER_S` only the first in a
    row is followed at once.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._max_s = 0.0  # of the next wait; 0 for an attempt at once

    def lasted(self, duration_s: float) -> None:
        """Take note of a session that was ready for so long."""
        if duration_s >= STABLE_AFTER_S:
            self._max_s = 0.0

    def next_s(self, failure: Failure, was_ready: bool) -> float:
        """Return how long to wait; `was_ready` says whether the attempt that
        failed had been a session.

        `Retry-After` is honored as the minimum.
        """
        asked_s = failure.retry_after_s
        # The jitter is ours: all that were refused were told the same time.
        return max(self._own_s(failure, was_ready), asked_s) + (
            self._rng.uniform(0.0, RESTART_SPREAD_S) if asked_s else 0.0
        )

    def _own_s(self, failure: Failure, was_ready: bool) -> float:
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


class Spare:
    """A session that has its token already, for the next attempt.

    With it a loss costs one websocket handshake and no call of the console,
    and is recovered from while the console is down. A spare older than
    `max_age_s`, seconds, is discarded: too little of its lifetime is left.
    """

    def __init__(self, clock: Clock, max_age_s: float) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._session: Optional[Session] = None
        self._made_at = float("-inf")
        self._closing: list[Session] = []

    @property
    def due_at(self) -> float:
        """When the next one is to be made, at a quiet moment; inf for never."""
        if not self._max_age_s:
            return float("inf")
        return self._made_at + self._max_age_s

    def renewal_due_at(self, since: float, sample_rate: int) -> float:
        """Return when one is to be made for a renewal; inf for never.

        One that was made before `since` is too old, one that got no token is
        followed by another.
        """
        if not self._max_age_s:
            return float("inf")
        if self._made_at < since:
            return since
        session = self._session
        if session is not None and session.sample_rate == sample_rate:
            if session.state in (SessionState.PREPARING, SessionState.PREPARED):
                return float("inf")
        return self._made_at + SPARE_RETRY_S

    def has_token_since(self, since: float, sample_rate: int) -> bool:
        """Whether there is one that was made at `since` or later."""
        return self._made_at >= since and self._is_usable(sample_rate)

    def waits_for_room(self, since: float) -> bool:
        """Whether the one that was made at `since` or later got no token
        because too many sessions run: the renewal itself makes room."""
        loss = self._session.loss if self._session is not None else None
        is_refused = loss is not None and loss.retry_slowly
        return is_refused and self._made_at >= since

    @property
    def is_closed(self) -> bool:
        """Whether all that were discarded are closed."""
        return self._session is None and all(
            session.state is SessionState.CLOSED for session in self._closing
        )

    def make(self, session: Session) -> None:
        """Have a new session prepared; it takes the place of the old one."""
        self._discard()
        self._made_at = self._clock.monotonic()
        self._session = session
        session.prepare()

    def keep(self, session: Session) -> None:
        """Keep a session whose opening failed before its token was used."""
        self._discard()
        self._made_at = session.began_at
        self._session = session

    def take(
        self, sample_rate: int, since: float = float("-inf")
    ) -> Optional[Session]:
        """Hand over the spare; None if none is usable.

        For a renewal it must have been made at `since` or later, and another
        may follow at once.
        """
        if self._made_at < since:
            return None
        session = self._session
        if not self._is_usable(sample_rate):
            self._discard()
            return None
        self._session = None
        if since != float("-inf"):
            self._made_at = float("-inf")
        return session

    def close(self, within_s: float) -> None:
        """Begin to close it, and to hurry those that are being closed."""
        self._discard()
        for session in self._closing:
            session.close(within_s)

    def _is_usable(self, sample_rate: int) -> bool:
        session = self._session
        return (
            session is not None
            and session.has_token
            and session.sample_rate == sample_rate
            and self._clock.monotonic() < self.due_at
        )

    def _discard(self) -> None:
        self._closing = [
            session
            for session in self._closing
            if session.state is not SessionState.CLOSED
        ]
        if self._session is not None:
            self._session.close()
            self._closing.append(self._session)
            self._session = None
