"""How much of the written audio has reached the service.

A write is done when the kernel has taken it, which holds a minute of speech;
whether the service has received it, only a ping behind it can tell. Without
that, all that was written to a peer that has vanished would count as heard.
"""

from typing import Optional

from ..session import Session
from ..speech import Mark, Speech

PING_INTERVAL_S = 0.25
"""How long after an answer the next ping goes out, if anything was written."""

PLAYING_INTERVAL_S = 1.0
"""The same while nothing was written, and something is still to be played: a
connection may end without a word, and playback with it."""

MISSED_AFTER_S = 1.0
LOST_AT = 20
LIMIT_S = LOST_AT * MISSED_AFTER_S
"""An answer is missed once in each `MISSED_AFTER_S`: from the first time on
no more audio is taken for heard, at `LOST_AT` the connection is given up, as
the SDK's own keepalive would later. Counted, since time passes in which this
process cannot notice an answer."""

PROVED_FOR_S = 2.0
"""How long an answer or a confirmation shows that the service is there. Longer
than between two pings while something is to be heard."""


class Arrival:
    """Sends the pings of a session, and tells `speech` how much has arrived.

    `fallback_after_s` is how long speech waits for a session: one that was
    silent before gets no longer for its first answer (0 = as long as any).
    """

    def __init__(self, speech: Speech, fallback_after_s: float) -> None:
        self.due_at = float("inf")
        """When `check` has something to do, inf for not before a write."""
        self.is_at_rest = True
        """All that was written has arrived: a write makes `check` due."""
        self.unanswered_since: Optional[float] = None
        """When the ping that is not answered went out."""
        self._speech = speech
        self._session: Optional[Session] = None
        self._mark: Optional[Mark] = None  # of the ping that is not answered
        self._missed = 0
        self._first_limit_s = LIMIT_S
        if fallback_after_s:
            limit_s = max(fallback_after_s, MISSED_AFTER_S)
            self._first_limit_s = min(limit_s, LIMIT_S)
        self._limit_s = LIMIT_S  # for the answer to the latest ping
        self._interval_s = MISSED_AFTER_S  # counted as one missed answer
        self._answered_at = float("-inf")

    def check(self, session: Optional[Session], now: float) -> None:
        """Send a ping if one is due, or count one as missed."""
        if session is not self._session:
            self._session = session
            self._forget()
            self.due_at = now
        if session is None or not session.is_ready:
            self.due_at = float("inf")
            return
        if self.due_at == float("inf"):
            self.due_at = now
        if now < self.due_at and not self.is_at_rest:
            return
        if self.unanswered_since is not None:
            self._miss(session, now)
            return
        mark = self._speech.mark()
        ask_at = float("inf")
        if self._speech.is_playing_out(now):
            ask_at = self._answered_at + PLAYING_INTERVAL_S
            ask_at = min(ask_at, self._speech.ask_at)
        if mark is not None or now >= ask_at:
            self._ping(session, mark, now)
        else:
            self.is_at_rest = True
            self.due_at = ask_at

    def answered(self, now: float) -> None:
        """Take the answer to the latest ping."""
        if self.unanswered_since is None:
            return
        mark = self._mark
        self._forget()
        self._answered_at = now
        self._speech.arrived(mark, now)
        # An end that has passed meanwhile is to be reported soon.
        self.due_at = min(now + PING_INTERVAL_S, max(now, self._speech.ask_at))

    def _ping(self, session: Session, mark: Optional[Mark], now: float) -> None:
        self.unanswered_since = now
        self._mark = mark
        self._missed = 0
        self.is_at_rest = False
        self._limit_s = LIMIT_S
        if now >= max(session.ready_at, self._answered_at) + PROVED_FOR_S:
            self._limit_s = self._first_limit_s
        # Counted at least twice, however short the limit is.
        self._interval_s = min(MISSED_AFTER_S, self._limit_s / 2)
        self.due_at = now + self._interval_s
        self._speech.asked(now)
        if not session.ping():
            self.answered(now)

    def _miss(self, session: Session, now: float) -> None:
        self._missed += 1
        self.due_at = now + self._interval_s
        self._speech.doubt()
        if self._missed * self._interval_s >= self._limit_s:
            session.give_up(self._limit_s)

    def _forget(self) -> None:
        self.unanswered_since = None
        self._mark = None
        self.is_at_rest = False
