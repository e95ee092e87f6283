"""One session after the other: opened, served, renewed, recovered.

`step` does one thing that is due and returns the event, for the driver to
report. The rules that are quoted are the rules of the session in
docs/design.md.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ..clock import Clock
from ..session import Failure, OpenSession, Session, SessionState
from ..speech import Speech
from .events import (
    Connecting,
    GaveUp,
    Left,
    Lost,
    Opened,
    OutageLasts,
    Renewing,
    Slept,
    SupervisorEvent,
    Wanted,
)
from .plan import Plan
from .retry import STABLE_AFTER_S, Backoff, Spare
from .state import STOP_BUDGET

MAX_REJECTED_TOKENS = 3

IDLE_POLL_S = 0.25
"""How often a session that is due for renewal checks for a quiet moment."""

REMIND_AFTER_S = (60.0, 300.0, 900.0, 3600.0)
"""When an outage that lasts is reported again; then each such hour."""


@dataclass
class Outage:
    """The time without a stable session."""

    began_at: float
    failure: Failure
    """Of the latest attempt."""
    attempts: int = 0
    reminders: int = 0

    @property
    def remind_at(self) -> float:
        """When the outage is to be reported again."""
        if self.reminders < len(REMIND_AFTER_S):
            return self.began_at + REMIND_AFTER_S[self.reminders]
        more = self.reminders - len(REMIND_AFTER_S) + 1
        return self.began_at + REMIND_AFTER_S[-1] * (1 + more)


class Supervisor:
    """Decides which session there is, until it is stopped or has given up.

    `step` is to be called whenever something has happened, and at `due_at`.
    `wake` is handed to the sessions, which schedule it.
    """

    def __init__(
        self,
        *,
        speech: Speech,
        open_session: OpenSession,
        plan: Plan,
        clock: Clock,
        rng: random.Random,
        wake: Callable[[], None],
    ) -> None:
        self.session: Optional[Session] = None
        """The one that is opened, served or closed."""
        self.due_at = float("inf")
        """When `step` has something to do, inf for not before an event."""
        self._speech = speech
        self._open_session = open_session
        self._plan = plan
        self._wake = wake
        self._backoff = Backoff(rng)
        self._spare = Spare(clock, plan.lifetime.spare_max_age_s)
        self._outage: Optional[Outage] = None
        self._rejected_tokens = 0  # in a row
        self._has_begun = False
        self._is_wanted = False  # there is something to say, or will be
        self._is_asleep = False
        # Why to fall asleep as soon as no session is left.
        self._sleep_reason = "" if plan.auto_connect else "notConnected"
        self._retry_at = float("-inf")
        self._rate = 0  # of the latest session, in Hz
        self._replaced: Optional[Session] = None  # by the next session
        self._is_from_spare = False
        self._is_served = False  # the session has been reported as ready
        self._served_s = 0.0  # how long the latest was ready
        self._end_reason = ""  # why a session that is not lost is closed
        self._stopped_at: Optional[float] = None
        self._has_given_up = False

    # Questions

    @property
    def is_asleep(self) -> bool:
        """Whether the next thing to say has to wake the avatar."""
        return self._is_asleep and not self._is_wanted

    @property
    def is_done(self) -> bool:
        """Whether it was stopped, and no session is left."""
        return (
            self._stopped_at is not None
            and self.session is None
            and self._spare.is_closed
        )

    def is_in_outage(self, now: float) -> bool:
        """Return whether no session has been stable since a loss."""
        session = self.session
        is_stable = (
            session is not None
            and session.is_ready
            and now >= session.ready_at + STABLE_AFTER_S
        )
        return self._outage is not None and not is_stable

    # Commands

    def want(self) -> None:
        """Have a session opened: there is something to say, or will be."""
        if self.session is None or not self.session.is_ready:
            self._is_wanted = True

    def stop(self, now: float) -> None:
        """Close everything; no attempt follows."""
        if self._stopped_at is None:
            self._stopped_at = now
            self._spare.close(STOP_BUDGET.close_s)
            if (
                self.session is not None
                and self.session.state is SessionState.CLOSING
            ):
                self.session.close(STOP_BUDGET.close_s)  # which hurries

    def abort(self) -> None:
        """Drop the connection: the time for an orderly end is over."""
        if self.session is not None:
            self.session.abort()

    def give_up(self) -> None:
        """Make no further attempt."""
        self._has_given_up = True

    def step(self, now: float) -> Optional[SupervisorEvent]:
        """Take the steps that are due, up to the first one to be reported.

        Return the event, None if no more is due before `due_at`.
        """
        self.due_at = float("inf")
        session = self.session
        if session is not None and session.state is SessionState.CLOSED:
            self.session = None
            if self._is_served:
                self._is_served = False
                if session.loss is None:  # the close is billed, too
                    self._served_s = now - session.ready_at
                return Left(session, self._served_s)
        if now >= self._remind_at:
            return self._remind(now)
        if self.session is None:
            event = self._step_without_session(now)
        else:
            event = self._step_with_session(self.session, now)
        self.due_at = min(self.due_at, self._remind_at)
        return event

    # Internals

    @property
    def _is_over(self) -> bool:
        """Whether no attempt follows."""
        return self._stopped_at is not None or self._has_given_up

    def _step_without_session(self, now: float) -> Optional[SupervisorEvent]:
        if self._is_over:
            return None
        if self._sleep_reason:
            return self._sleep()
        if self._is_asleep:
            if not self._is_wanted:
                self._refresh_spare_asleep(now)
                return None
            self._is_asleep = False
            return Wanted("wake")
        if not self._has_begun:
            self._has_begun = True
            return Wanted("start")
        if now < self._retry_at:
            self.due_at = self._retry_at
            return None
        # That of the frames is known only once there is something to say.
        rate = (
            self._plan.sample_rate
            or self._speech.next_sample_rate
            or self._rate
        )
        if not rate:
            self._is_wanted = False
            return None
        self._begin_attempt(rate)
        return Connecting()

    def _sleep(self) -> SupervisorEvent:
        reason, self._sleep_reason = self._sleep_reason, ""
        self._is_asleep = self._has_begun = True
        if self._speech.has_waiting:
            self._is_wanted = True
        self._speech.forget_waking()
        return Slept(reason)

    def _begin_attempt(self, rate: int) -> None:
        since = float("-inf")
        if self._replaced is not None:
            # For a new lifetime: an older spare has used up some of it.
            since = self._plan.renew_at(self._replaced)
        spare = self._spare.take(rate, since)
        self._is_from_spare = spare is not None
        self._rate = rate
        self.session = spare or self._open_session(self._wake, rate)
        if self._outage is not None:
            self._outage.attempts += 1
        if self.session.state is not SessionState.LOST:
            self.session.open()

    def _step_with_session(
        self, session: Session, now: float
    ) -> Optional[SupervisorEvent]:
        if session.state is SessionState.CLOSING:
            return None
        if session.state in (SessionState.PREPARING, SessionState.OPENING):
            if self._is_over:
                session.close(STOP_BUDGET.close_s)
            return None
        if session.state is SessionState.READY:
            if not self._is_served and not self._is_over:
                return self._begin_to_serve(session)
            reason, self.due_at = self._reason_to_end(session, now)
            if not reason and not self._is_over:
                self._refresh_spare(session, now)
                return None
            self._end_reason = reason
            session.retire()
        if session.is_calling:
            if self._stopped_at is not None:
                self._watch_last_call(session, self._stopped_at, now)
            return None
        return self._end(session, now)

    def _begin_to_serve(self, session: Session) -> SupervisorEvent:
        reason = "connected" if self._outage is None else "recovered"
        if self._replaced is not None:
            reason = "renewed"
        self._speech.connected()
        self._is_served = True
        self._is_wanted = False
        self._replaced = None
        self._end_reason = ""
        return Opened(session, reason)

    def _reason_to_end(self, session: Session, now: float) -> tuple[str, float]:
        """Return why to end the session now, "" if there is no reason, and
        when to ask again."""
        speech, plan = self._speech, self._plan
        is_idle = speech.is_idle(now)
        poll_at = now + IDLE_POLL_S
        renew_at = plan.renew_at(session)
        latest_at = plan.renew_latest_at(session)
        if now >= latest_at or (
            now >= renew_at and is_idle and self._may_renew(session)
        ):
            return "renewal", now
        until = renew_at if now < renew_at else poll_at
        if speech.next_sample_rate not in (None, session.sample_rate):
            if speech.is_silent:
                return "renewal", now
            until = min(until, poll_at)
        if plan.idle_disconnect_s:
            idle_at = plan.idle_disconnect_s + max(
                session.ready_at, speech.silent_since
            )
            if is_idle and now >= idle_at:
                return "idle", now
            until = min(until, max(idle_at, poll_at))
        return "", min(until, latest_at, max(self._spare.due_at, poll_at))

    def _may_renew(self, session: Session) -> bool:
        """Return whether the next session has its token: while the console is
        down, this one is the last for a while."""
        if not self._plan.lifetime.spare_max_age_s:
            return True
        since = self._plan.renew_at(session)
        return self._spare.waits_for_room(since) or self._spare.has_token_since(
            since, session.sample_rate
        )

    def _refresh_spare(self, session: Session, now: float) -> None:
        """Have the next session's token fetched while nothing is said."""
        if not self._speech.is_idle(now):
            return
        due_at = self._spare.due_at
        renew_at = self._plan.renew_at(session)
        rate = session.sample_rate
        if now >= renew_at:
            due_at = min(due_at, self._spare.renewal_due_at(renew_at, rate))
        if now >= due_at:
            self._spare.make(self._open_session(self._wake, rate))

    def _refresh_spare_asleep(self, now: float) -> None:
        """Keep a token at hand, so that a wake-up is a single handshake.

        Not before the first session: until then nothing is wanted of Spatius.
        """
        if not self._rate:
            return
        if now >= self._spare.due_at:
            self._spare.make(self._open_session(self._wake, self._rate))
        self.due_at = self._spare.due_at

    def _watch_last_call(
        self, session: Session, stopped_at: float, now: float
    ) -> None:
        """Drop the connection if a call hangs in the socket."""
        if now >= stopped_at + STOP_BUDGET.call_s:
            session.abort()
        else:
            self.due_at = stopped_at + STOP_BUDGET.call_s

    def _end(self, session: Session, now: float) -> Optional[SupervisorEvent]:
        """Close a session that was lost, or is not needed any more.

        Before another may be opened: two publishers with one uid would kick
        each other out of the channel.
        """
        failure = session.loss
        if session.was_ready:
            self._served_s = now - session.ready_at
            self._speech.connection_lost(now, failure is None)
            self._backoff.lasted(self._served_s)
            self._plan.learn(failure, self._served_s)
            is_idle = (
                self._end_reason == "idle" if failure is None else failure.idle
            )
            if self._served_s >= STABLE_AFTER_S or is_idle:
                self._outage = None
                self._rejected_tokens = 0  # its session token was taken
        is_rejected = failure is not None and failure.rejected_upgrade
        self._rejected_tokens = (self._rejected_tokens + 1) * is_rejected
        if failure is not None and self._rejected_tokens >= MAX_REJECTED_TOKENS:
            failure = _keeps_rejecting(failure)
        if self._is_over:
            session.close(STOP_BUDGET.close_s)
            return None
        is_refused_spare = self._is_from_spare and not session.was_ready
        self._is_from_spare = False
        if session.has_token:
            # It was never connected: the next attempt opens it.
            self._spare.keep(session)
            self.session = None
        else:
            session.close()
            if is_refused_spare:
                return None  # no error: the next attempt takes the long way
        if failure is None:
            return self._close_on_purpose(session)
        self._replaced = None
        # From the loss on: closing takes its part of the wait.
        self._retry_at = now + self._backoff.next_s(failure, session.was_ready)
        if failure.idle:
            self._sleep_reason = failure.code
            return None
        if failure.fatal:
            self._has_given_up = True
            return GaveUp(failure)
        begins_outage = self._outage is None
        if self._outage is None:
            self._outage = Outage(now, failure)
        self._outage.failure = failure
        return Lost(failure, begins_outage)

    def _close_on_purpose(self, session: Session) -> Optional[SupervisorEvent]:
        if self._end_reason == "idle":
            self._sleep_reason = "idle"
            return None
        self._replaced = session
        return Renewing()

    # Outages

    @property
    def _remind_at(self) -> float:
        """When to report the outage again, inf for not while this lasts."""
        if self._outage is None or self._is_over or self._is_asleep:
            return float("inf")
        if self.session is not None and self.session.was_ready:
            return float("inf")  # which may have ended it
        return self._outage.remind_at

    def _remind(self, now: float) -> SupervisorEvent:
        outage = self._outage
        assert outage is not None
        # Once, if the process has stood still for several of them.
        while outage.remind_at <= now:
            outage.reminders += 1
        return OutageLasts(
            outage.failure,
            now - outage.began_at,
            outage.attempts,
            max(0.0, self._retry_at - now),
        )


def _keeps_rejecting(failure: Failure) -> Failure:
    return Failure(
        f"Spatius refused {MAX_REJECTED_TOKENS} new session tokens in a "
        "row: check that params.spatius_app_id belongs to the API key, the "
        "region or endpoints, and this machine's clock. Spatius says: "
        f"{failure.vendor_message}",
        fatal=True,
        code=failure.code,
        vendor_message=failure.vendor_message,
        phase=failure.phase,
    )
