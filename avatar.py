"""The running avatar: one session at a time, one writer, through all faults.

One task opens, renews and recovers sessions. Writing is done by whoever
brings the work, when nobody else is writing: a frame on an idle connection
leaves in its own handler. So the service's SDK sees one call after the
other, and a flush or an end is accepted at once whatever the network does.
The rules that are quoted are the rules of the session in docs/design.md.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Optional

from .clock import Alarm, Clock, wait_until
from .eager import run_eagerly
from .reporter import Outbox, Reporter
from .session.failures import Failure, SessionError
from .session.link import (
    STALL_LIMIT_S,
    Lifetime,
    Link,
    Session,
    SessionEvents,
)
from .speech import Interrupt, Speech, Totals, Turn

INITIAL_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0

MAX_REJECTED_UPGRADES = 3

STOP_LIMIT_S = 3.5

IDLE_POLL_S = 0.25
"""How often a session that is due for renewal checks for a quiet moment."""


class Avatar:
    """One avatar, from `start` to `stop`, through any number of sessions."""

    def __init__(
        self,
        *,
        speech: Speech,
        open_session: Callable[[SessionEvents], Session],
        outbox: Outbox,
        lifetime: Lifetime,
        clock: Clock,
        rng: Optional[random.Random] = None,
    ) -> None:
        self._speech = speech
        self._open_session = open_session
        self._lifetime = lifetime
        self._clock = clock
        self._backoff = _Backoff(rng or random.Random())
        self._alarm = Alarm(clock, self._on_alarm)
        self._reporter = Reporter(
            outbox, clock, lambda: speech.turn, self._alarm.set
        )
        self._task: Optional[asyncio.Task[None]] = None
        self._stopping = False
        self._link: Optional[Link] = None
        self._is_writing = False
        # Kept, since the loop itself holds tasks weakly.
        self._writer: Optional[asyncio.Task[None]] = None
        self._rejected_upgrades = 0
        # The task waits here for something to do; others wake it.
        self._waiter: Optional[asyncio.Future[None]] = None
        self._wake_at: Optional[float] = None

    # What TEN's handlers call; none of it waits, but for `stop`

    def start(self) -> None:
        """Begin to connect; what is said before is spoken afterwards."""
        if self._task is None and not self._stopping:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def speak(self, pcm: bytes, turn: Optional[Turn] = None) -> None:
        """Take one frame's audio, signed 16-bit mono."""
        self._speech.frame(pcm, self._clock.monotonic(), turn)
        self._write()

    def speech_starts(self, turn: Optional[Turn] = None) -> None:
        """Take a `tts_audio_start`."""
        self._speech.start(turn)

    def speech_ends(
        self, turn: Optional[Turn] = None, cut: bool = False
    ) -> None:
        """Take a `tts_audio_end` or `finalize`; `cut` means reason 2."""
        self._speech.end(self._clock.monotonic(), turn, cut)
        self._write()
        self._report_events()

    def flush(self) -> None:
        """Fall silent: drop what waits, interrupt what plays."""
        self._speech.flush(self._clock.monotonic())
        self._write()
        # Reported after the command's result, which is more urgent.
        asyncio.get_running_loop().call_soon(self._report_events)

    async def stop(self) -> None:
        """Close the session and return within 4 s, whatever is in progress."""
        self._stopping = True
        self._wake()
        task = self._task
        if task is not None:
            now = self._clock.monotonic()
            await wait_until(self._clock, now + 0.2, task)
            if not task.done() and self._is_writing and self._link is not None:
                # The socket takes nothing: no close handshake would get
                # through.
                self._link.abort()
            await wait_until(self._clock, now + STOP_LIMIT_S, task)
            if not task.done():
                task.cancel()
                await wait_until(self._clock, now + STOP_LIMIT_S + 0.1, task)
        if not self._is_writing:
            self._speech.close(self._clock.monotonic())
        self._alarm.cancel()
        self._reporter.report_service_error()
        self._report_events()
        self._reporter.enter("closed", "stopped")

    @property
    def state(self) -> str:
        """The latest `avatar_state`, "" before the first."""
        return self._reporter.state

    @property
    def totals(self) -> Totals:
        """What became of all the audio so far, in samples."""
        return self._speech.totals

    def __repr__(self) -> str:
        return f"<Avatar {self.state or 'new'} {self._speech}>"

    # The task

    async def _run(self) -> None:
        try:
            await self._supervise()
        except asyncio.CancelledError:
            if not self._stopping:
                self._fail(Failure("the avatar was cancelled", fatal=True))
            raise
        except Exception as error:  # a defect of ours; say so, and stay quiet
            self._fail(
                Failure(
                    f"the avatar stopped on an internal error: {error!r}",
                    fatal=True,
                )
            )
        finally:
            if self._link is not None:
                self._link.abort()

    async def _supervise(self) -> None:
        """Open one session after the other, until stopped or failed."""
        self._reporter.enter("connecting", "start")
        is_renewal = False
        while not self._stopping:
            link = await self._connect(is_renewal)
            if link.was_ready:
                await self._serve(link)
                self._speech.steps.connection_lost(self._clock.monotonic())
                self._report_events()
                if link.is_stable(self._clock.monotonic()):
                    self._backoff.reset()
            failure = self._judge(link.loss)
            if failure is not None and failure.fatal:
                self._fail(failure)
            elif failure is not None and not self._stopping:
                self._reporter.outage(failure)
            elif not self._stopping:
                self._reporter.enter("connecting", "renewal")
            await self._leave(link)
            if failure is not None and failure.fatal:
                return
            is_renewal = failure is None and not self._reporter.in_outage()
            if failure is not None:
                await self._pause(self._backoff.next_s())

    async def _connect(self, is_renewal: bool) -> Link:
        """Open one session: afterwards it is ready or lost, or was closed
        since the avatar stops."""
        self._reporter.connecting()
        link = self._link = Link(
            self._open_session,
            self._clock,
            self._wake,
            self._reporter.service_error,
        )
        opening = link.open()
        opening.add_done_callback(lambda _: self._wake())
        while not opening.done() and not self._stopping:
            await self._wait(None)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
        self._reporter.opened(link, is_renewal)
        return link

    async def _serve(self, link: Link) -> None:
        """Have speech written until the session is lost, is due for renewal,
        or the avatar is stopped."""
        renew_at = link.began_at + self._lifetime.renew_after_s
        renew_latest_at = link.began_at + self._lifetime.renew_latest_s
        while not self._stopping and link.loss is None:
            now = self._clock.monotonic()
            if now >= renew_at and (
                now >= renew_latest_at or self._speech.is_idle(now)
            ):
                break
            self._write()
            if not link.is_ready:
                break
            await self._wait(renew_at if now < renew_at else now + IDLE_POLL_S)
        link.is_retired = True
        while self._is_writing:
            await self._wait(None)

    def _write(self) -> None:
        """Write what is due, unless somebody is writing already.

        Nobody waits for it: what the socket does not take at once is written
        by a task.
        """
        link = self._link
        if link is not None and link.is_ready and not self._is_writing:
            self._writer = run_eagerly(self._write_loop(link))
        self._set_alarm()

    async def _write_loop(self, link: Link) -> None:
        """Carry out one step after the other until there is none."""
        speech = self._speech
        self._is_writing = True
        try:
            while link.is_ready and not self._stopping:
                step = speech.steps.next(self._clock.monotonic())
                if step is None:
                    break
                try:
                    if isinstance(step, Interrupt):
                        req_id = await link.interrupt()
                    else:
                        req_id = await link.send(step.audio, step.end)
                except SessionError:
                    speech.steps.failed()
                    break
                except BaseException as error:  # nothing may go by in silence
                    speech.steps.failed()
                    link.lose(Failure(f"a call to Spatius failed: {error!r}"))
                    break
                speech.steps.written(
                    self._clock.monotonic(), req_id, link.connection_id
                )
                if speech.totals.waiting:
                    # In a backlog, others have their turn after each message.
                    await asyncio.sleep(0)
        finally:
            self._is_writing = False
            if self._stopping or not link.is_ready:
                self._wake()

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
        self._link = None

    async def _pause(self, duration_s: float) -> None:
        until = self._clock.monotonic() + duration_s
        while not self._stopping and self._clock.monotonic() < until:
            await self._wait(until)

    def _fail(self, failure: Failure) -> None:
        """Give up for good; what is said from here on is discarded."""
        self._reporter.failed(failure)
        self._speech.close(self._clock.monotonic())
        self._report_events()
        self._alarm.cancel()
        self._reporter.enter("failed", failure.code or "failed")

    def _report_events(self) -> None:
        events = self._speech.take_events()
        if events:
            self._reporter.events(events)

    # Waiting and waking

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self, until: Optional[float]) -> None:
        """Wait until woken, or until the time `until`."""
        self._report_events()
        self._wake_at = until
        self._set_alarm()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._wake_at = None

    def _set_alarm(self) -> None:
        """Have the alarm go off in time for whatever is due next."""
        if self._stopping or self.state == "failed":
            return
        soonest = self._clock.monotonic() + STALL_LIMIT_S / 3
        for at in (
            self._speech.deadline(),
            self._wake_at,
            self._reporter.deadline(),
        ):
            if at is not None and at < soonest:
                soonest = at
        self._alarm.set(soonest)

    def _on_alarm(self) -> None:
        now = self._clock.monotonic()
        self._speech.tick(now)
        self._report_events()
        self._reporter.tick(now, self._lifetime.token_expires_at_s)
        if self._link is not None:
            self._link.watch_call(now)
        self._wake()
        if self._waiter is None:  # else the task sets it as it waits anew
            self._set_alarm()


class _Backoff:
    """Exponential backoff with jitter: each wait is cut by up to a half."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._max_s = 2 * INITIAL_BACKOFF_S

    def next_s(self) -> float:
        max_s = self._max_s
        self._max_s = min(2 * max_s, MAX_BACKOFF_S)
        return self._rng.uniform(max_s / 2, max_s)

    def reset(self) -> None:
        self._max_s = 2 * INITIAL_BACKOFF_S


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
