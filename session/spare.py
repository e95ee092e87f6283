"""A session that has its token already, for the next attempt.

With it a loss costs one websocket handshake and no call of the console, and
is recovered from while the console is down.
"""

import asyncio
from collections.abc import Callable
from typing import Optional

from ..clock import Clock
from .link import Link

RETRY_S = 15.0
"""How long after one that got no token the next is made for a renewal."""


class Spare:
    """Keeps one spare; makes at most one within `max_age_s`, seconds, and one
    for each renewal.

    A spare that is older than that is discarded: too little of its lifetime
    is left. One that is refused is no error, the next attempt just takes the
    long way.
    """

    def __init__(
        self, make_link: Callable[[int], Link], clock: Clock, max_age_s: float
    ) -> None:
        self._make_link = make_link
        self._clock = clock
        self._max_age_s = max_age_s
        self._link: Optional[Link] = None
        self._preparing: Optional[asyncio.Task[None]] = None
        self._made_at = float("-inf")
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def due_at(self) -> float:
        """When the next one may be made."""
        if not self._max_age_s:
            return float("inf")
        return self._made_at + self._max_age_s

    def make(self, sample_rate: int) -> None:
        """Make a new one, if it is time for it. To be called while nobody
        speaks."""
        if self._clock.monotonic() >= self.due_at:
            self._replace(sample_rate)

    def make_for_renewal(self, sample_rate: int, since: float) -> bool:
        """Make a new one, unless there is one that was made at `since` or
        later; return whether it has its token."""
        link, preparing = self._link, self._preparing
        if self._made_at >= since:
            if preparing is not None and not preparing.done():
                return False
            if (
                link is not None
                and link.loss is None
                and link.sample_rate == sample_rate
            ):
                return True
            if self._clock.monotonic() < self._made_at + RETRY_S:
                return False
        self._replace(sample_rate)
        return False

    def take(
        self, sample_rate: int, since: Optional[float] = None
    ) -> Optional[Link]:
        """Return the spare, None where there is none that can be used.

        For a renewal it must have been made at `since` or later, and another
        may follow at once.
        """
        if since is not None and self._made_at < since:
            return None
        link, preparing = self._link, self._preparing
        if (
            link is None
            or preparing is None
            or not preparing.done()
            or link.loss is not None
            or link.sample_rate != sample_rate
            or self._clock.monotonic() >= self.due_at
        ):
            self._discard()
            return None
        self._link = self._preparing = None
        if since is not None:
            self._made_at = float("-inf")
        return link

    async def close(self) -> None:
        """Close what there is; returns at once where there is nothing."""
        self._discard()
        if self._closing:
            await asyncio.wait(self._closing)

    def _replace(self, sample_rate: int) -> None:
        self._discard()
        self._made_at = self._clock.monotonic()
        self._link = self._make_link(sample_rate)
        self._preparing = self._link.prepare()

    def _discard(self) -> None:
        link, preparing = self._link, self._preparing
        self._link = self._preparing = None
        if link is not None:
            closing = asyncio.ensure_future(_close(link, preparing))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close(link: Link, preparing: Optional["asyncio.Task[None]"]) -> None:
    if preparing is not None and not preparing.done():
        preparing.cancel()
        await asyncio.wait({preparing})
    await link.close()
