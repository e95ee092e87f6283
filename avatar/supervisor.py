"""One session after the other: opened, served, renewed, recovered.

The rules that are quoted are the rules of the session in docs/design.md.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ..clock import Clock
from ..session.errors import Failure
from ..session.link import Lifetime, Link, OpenSession, PlaybackSignal
from ..session.retry import BACKOFF_RESET_S, Backoff
from ..session.spare import Spare
from ..speech import Speech
from .reporter import Reporter
from .writer import Writer

MAX_REJECTED_UPGRADES = 3

IDLE_POLL_S = 0.25
"""How often a session that is due for renewal checks for a quiet moment."""


@dataclass(frozen=True)
class Plan:
    """When sessions are made and given up.

    `sample_rate` is in Hz, None for that of the frames. `idle_disconnect_s`
    of 0 and `fallback_after_s` of 0 mean never. Without `auto_connect` the
    first session is made when there is something to say.
    """

    lifetime: Lifetime
    sample_rate: Optional[int] = None
    fallback_after_s: float = 0.0
    idle_disconnect_s: float = 0.0
    auto_connect: bool = True


class Supervisor:
    """Gives `writer` one session after the other, until it is stopped or the
    avatar has failed for good.

    `tend` has said what is due, `on_failed` is called with the failure that
    ends it.
    """

    def __init__(
        self,
        *,
        speech: Speech,
        writer: Writer,
        reporter: Reporter,
        open_session: OpenSession,
        plan: Plan,
        clock: Clock,
        rng: random.Random,
        tend: Callable[[], None],
        on_failed: Callable[[Failure], None],
    ) -> None:
        self.wake_at: Optional[float] = None
        """When `wake` is due, None for not before something happens."""
        self.stopping = False
        self._speech = speech
        self._writer = writer
        self._reporter = reporter
        self._open_session = open_session
        self._plan = plan
        self._clock = clock
        self._backoff = Backoff(rng)
        self._tend = tend
        self._on_failed = on_failed
        self._spare = Spare(
            self._make_link, clock, plan.lifetime.spare_max_age_s
        )
        # There is something to say, or will be, and no session is ready.
        self._is_needed = False
        self._rejected_upgrades = 0
        # Where it waits for something to do.
        self._waiter: Optional[asyncio.Future[None]] = None

    def need(self) -> bool:
        """There is, or will be, something to say: see to it that there is a
        session for it.

        Return whether the avatar was asleep until now.
        """
        link = self._writer.link
        if self._is_needed or (link is not None and link.is_ready):
            return False
        self._is_needed = True
        self.wake()
        return self._reporter.state == "asleep"

    def wake(self) -> None:
        """Have it check what there is to do."""
        self.wake_at = None
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def stop(self) -> None:
        """Have `run` end; whatever is in progress ends within its deadline."""
        self.stopping = True
        if self._writer.link is not None:
            self._writer.link.retire()
        self.wake()

    async def run(self) -> None:
        try:
            await self._supervise()
        except asyncio.CancelledError:
            if not self.stopping:
                self._on_failed(Failure("the avatar was cancelled", fatal=True))
            raise
        except Exception as error:  # a defect of ours; say so, and stay quiet
            self._on_failed(
                Failure(
                    f"the avatar stopped on an internal error: {error!r}",
                    fatal=True,
                )
            )
        finally:
            if self._writer.link is not None:
                self._writer.link.abort()
            await self._spare.close()

    async def _supervise(self) -> None:
        """Open one session after the other, until stopped or failed."""
        if self._plan.auto_connect:
            self._reporter.enter("connecting", "start")
        else:
            await self._sleep("notConnected")
        renewed: Optional[Link] = None
        rate = 0
        while rate := await self._sample_rate(rate):
            link = await self._connect(rate, renewed)
            reason = await self._serve(link) if link.was_ready else ""
            failure = self._judge(link.loss)
            is_idle = reason == "idle" or (failure is not None and failure.idle)
            renewed = link if failure is None and not is_idle else None
            if failure is None or is_idle or self.stopping:
                pass
            elif failure.fatal:
                self._on_failed(failure)
            else:
                self._reporter.outage(failure)
            if renewed is not None and not self.stopping:
                self._reporter.enter("connecting", "renewal")
            # From the loss on: closing takes its part of the wait.
            retry_at = self._clock.monotonic()
            if failure is not None:
                retry_at += self._backoff.next_s(failure, link.was_ready)
            await self._leave(link)
            if failure is not None and failure.fatal:
                return
            if is_idle:
                await self._sleep(failure.code if failure else "idle")
            await self._pause_until(retry_at)

    async def _connect(self, rate: int, renewed: Optional[Link]) -> Link:
        """Open one session, in place of `renewed` if it is a renewal:
        afterwards it is ready or lost, or was given up since the avatar
        stops."""
        self._reporter.connecting()
        # A renewal is for a new lifetime: an older spare has used up some.
        since = None if renewed is None else self._renew_at(renewed)
        spare = self._spare.take(rate, since)
        link = spare or self._make_link(rate)
        await self._open(link)
        if spare is not None and not spare.was_ready and not self.stopping:
            # It was refused, which is no error: take the long way.
            await spare.close()
            link = self._make_link(rate)
            await self._open(link)
        if link.is_ready:
            self._is_needed = False
        self._reporter.opened(link, renewed is not None)
        return link

    async def _open(self, link: Link) -> None:
        self._writer.link = link
        opening = link.open()
        opening.add_done_callback(lambda _: self.wake())
        while not opening.done() and not self.stopping:
            await self._wait(None)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})

    def _make_link(self, sample_rate: int) -> Link:
        return Link(
            self._open_session,
            sample_rate,
            self._clock,
            on_change=self.wake,
            on_service_error=self._reporter.service_error,
            on_playback=self._take_playback,
        )

    async def _sample_rate(self, latest: int) -> int:
        """Return the rate of the next session, 0 when it is stopped.

        That of the frames is known only when there is something to say; until
        then it is `latest`, the rate of the session before, 0 if there was
        none.
        """
        while not self.stopping:
            waiting = self._speech.next_sample_rate
            rate = self._plan.sample_rate or waiting or latest
            if rate:
                return rate
            self._is_needed = False
            await self._wait(None)
        return 0

    async def _serve(self, link: Link) -> str:
        """Have speech written until the session is lost, the avatar is
        stopped, or the reason that is returned ends the session."""
        reason = ""
        while link.is_ready and not self.stopping:
            self._tend()
            now = self._clock.monotonic()
            reason, until = self._reason_to_end(link, now)
            if reason or not link.is_ready:
                break
            await self._wait(until)
        link.retire()
        while self._writer.is_writing:
            await self._wait(None)
        now = self._clock.monotonic()
        duration_s = now - link.ready_at
        self._backoff.lasted(duration_s)
        if duration_s >= BACKOFF_RESET_S:
            self._rejected_upgrades = 0  # its session token was taken
        self._speech.connection_lost(now)
        return reason

    def _reason_to_end(self, link: Link, now: float) -> tuple[str, float]:
        """Return why to end the session now, "" if there is no reason, and
        when to ask again."""
        speech, plan = self._speech, self._plan
        is_idle = speech.is_idle(now)
        renew_at = self._renew_at(link)
        latest_at = link.began_at + plan.lifetime.renew_latest_s
        if now >= latest_at or (
            now >= renew_at and is_idle and self._may_renew(link)
        ):
            return "renewal", now
        until = renew_at if now < renew_at else now + IDLE_POLL_S
        if speech.next_sample_rate not in (None, link.sample_rate):
            if speech.is_settled and speech.is_silent:
                return "renewal", now
            until = min(until, now + IDLE_POLL_S)
        if plan.idle_disconnect_s:
            idle_at = plan.idle_disconnect_s + max(
                link.ready_at, speech.silent_since
            )
            if is_idle and now >= idle_at:
                return "idle", now
            until = min(until, max(idle_at, now + IDLE_POLL_S))
        if now >= self._spare.due_at:
            if is_idle:
                self._spare.make(link.sample_rate)
            else:
                until = min(until, now + IDLE_POLL_S)
        return "", min(until, max(self._spare.due_at, now + IDLE_POLL_S))

    def _renew_at(self, link: Link) -> float:
        return link.began_at + self._plan.lifetime.renew_after_s

    def _may_renew(self, link: Link) -> bool:
        """Return whether the next session has its token: while the console is
        down, this one is the last for a while."""
        if not self._plan.lifetime.spare_max_age_s:
            return True
        since = self._renew_at(link)
        return self._spare.make_for_renewal(link.sample_rate, since)

    def _judge(self, failure: Optional[Failure]) -> Optional[Failure]:
        """Return the failure, fatal when session tokens keep being refused."""
        if failure is None or not failure.rejected_upgrade:
            self._rejected_upgrades = 0
            return failure
        self._rejected_upgrades += 1
        if self._rejected_upgrades < MAX_REJECTED_UPGRADES:
            return failure
        return _keeps_rejecting(failure)

    async def _leave(self, link: Link) -> None:
        """Close the session, before another may be opened: two publishers
        with one uid would kick each other out of the channel."""
        await link.close()
        self._writer.link = None
        self._reporter.left(link)

    async def _pause_until(self, at: float) -> None:
        while not self.stopping and self._clock.monotonic() < at:
            await self._wait(at)

    def _take_playback(self, signal: PlaybackSignal) -> None:
        req_id, state, played_ms = signal
        now = self._clock.monotonic()
        self._speech.playback(req_id, state, played_ms, "", now)
        self._tend()

    async def _sleep(self, reason: str) -> None:
        """Wait until there is something to say, or will be soon."""
        if self._speech.has_waiting:
            self._is_needed = True
        self._speech.forget_waking()
        self._reporter.enter("asleep", reason)
        while not self._is_needed and not self.stopping:
            await self._wait(None)
        if not self.stopping:
            self._reporter.enter("connecting", "wake")

    async def _wait(self, until: Optional[float]) -> None:
        """Wait until woken, or until the time `until`."""
        self.wake_at = until
        self._waiter = asyncio.get_running_loop().create_future()
        self._tend()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.wake_at = None


def _keeps_rejecting(failure: Failure) -> Failure:
    return Failure(
        f"Spatius refused {MAX_REJECTED_UPGRADES} new session tokens in a "
        "row: check that params.spatius_app_id belongs to the API key, the "
        "region or endpoints, and this machine's clock. Spatius says: "
        f"{failure.vendor_message}",
        fatal=True,
        code=failure.code,
        vendor_message=failure.vendor_message,
        phase=failure.phase,
    )
