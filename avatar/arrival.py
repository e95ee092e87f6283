"""How much of what was written has reached the service.

A write is done when the kernel has taken it, which holds a minute of speech;
whether the service has received it, only a ping behind it can tell. Without
that, all that was written to a peer that has vanished would count as heard.
"""

from collections.abc import Callable
from functools import partial
from typing import Optional

from ..clock import Clock
from ..session.link import Link
from ..speech import Mark, Speech

PING_INTERVAL_S = 0.25
"""How long after an answer the next ping goes out, if anything was written."""

MISSED_AFTER_S = 1.0
LOST_AT = 20
"""An answer is missed once in each `MISSED_AFTER_S`: from the first time on
what the ping follows is not taken for heard, at `LOST_AT` the connection is
given up, as the SDK's own keepalive would later. Counted, since time passes in
which this process cannot notice an answer."""


class Delivery:
    """Asks `link` by pings what has arrived, and has `speech` know it.

    `on_answer` is called when more has arrived.
    """

    def __init__(
        self,
        speech: Speech,
        clock: Clock,
        *,
        on_answer: Callable[[], None],
    ) -> None:
        self.check_at: Optional[float] = None
        """When `check` is due, None for not before something is written."""
        self._speech = speech
        self._clock = clock
        self._on_answer = on_answer
        self._link: Optional[Link] = None
        self._is_waiting = False  # for an answer
        self._missed = 0

    def check(self, link: Optional[Link]) -> None:
        """Send a ping where audio was written since the latest one; do what
        is due where its answer is missed."""
        if link is not self._link:
            self._link = link
            self._is_waiting = False
        if link is None or not link.is_ready:
            self.check_at = None
            return
        now = self._clock.monotonic()
        if self.check_at is not None and now < self.check_at:
            return
        if self._is_waiting:
            self._miss(link, now)
            return
        mark = self._speech.mark()
        if mark is None:
            self.check_at = None
        else:
            self._ping(link, mark, now)

    def _ping(self, link: Link, mark: Mark, now: float) -> None:
        self._is_waiting = True
        self._missed = 0
        self.check_at = now + MISSED_AFTER_S
        if not link.ping(partial(self._answered, mark)):
            self._answered(mark)

    def _miss(self, link: Link, now: float) -> None:
        self._missed += 1
        self.check_at = now + MISSED_AFTER_S
        self._speech.doubt(now)
        if self._missed >= LOST_AT:
            link.silent_for(LOST_AT * MISSED_AFTER_S)

    def _answered(self, mark: Mark) -> None:
        self._is_waiting = False
        now = self._clock.monotonic()
        self.check_at = now + PING_INTERVAL_S
        self._speech.arrived(mark, now)
        self._on_answer()
