"""The running avatar: one task owns the session and all that becomes of it.

The task connects, sends what `Speech` has for it, interrupts, renews and
recovers; the methods that TEN's handlers call only change the speech and
wake it. So the SDK sees one call after the other, and a flush or an end is
taken in at once whatever the network does.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Optional, Protocol

from . import reports
from .clock import Clock, Timer
from .session.sdk import Failure, SessionError
from .speech.queue import (
    LATE_TURN_S,
    Interrupt,
    LateTurn,
    Overflow,
    Speech,
    Totals,
    Turn,
)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0

STABLE_S = 5.0
"""A session that lasts this long has ended the outage before it: backoff
starts anew, and the next loss is another outage."""

MAX_REJECTED_UPGRADES = 3

STALL_LIMIT_S = 30.0
"""How long one call may wait for the socket. The SDK's own keepalive cannot
notice a dead peer while the socket's buffer is full."""

STOP_LIMIT_S = 3.5

TOKEN_NOTICE_S = 300.0
"""How long before its end a given Agora token is told of."""

COMPLAINT_DELAY_S = 0.5
COMPLAINT_PAUSE_S = 10.0
"""The service's harmless complaints are passed on no more often than this."""

QUIET_POLL_S = 0.25
"""How often a session that is due for renewal looks for a quiet moment."""

LogLevel = Literal["info", "warn", "error"]


class Session(Protocol):
    """What the avatar needs of one connection; `sdk.Session` is the real one.

    All but `close` and `abort` raise `SessionError`.
    """

    async def open(self) -> str:
        """Connect, within a deadline, and return the connection's id."""
        ...

    async def send(self, audio: bytes, end: bool) -> str:
        """Send audio and return its request's id."""
        ...

    async def interrupt(self) -> str:
        """Interrupt the latest request and return its id."""
        ...

    async def close(self) -> None:
        """Close, within a deadline."""
        ...

    def abort(self) -> None:
        """Make a call that waits for the socket fail."""
        ...

    def secrets(self) -> list[str]:
        """Return the secrets that came with this connection."""
        ...


class Outbox(Protocol):
    """Where the avatar's reports go. All of it returns at once."""

    def send(self, name: str, payload: reports.Payload) -> None:
        """Send a message of this name."""
        ...

    def log(self, level: LogLevel, text: str, category: str = "") -> None:
        """Log a line."""
        ...

    def keep_secret(self, secrets: list[str]) -> None:
        """Keep these out of whatever is sent and logged."""
        ...


@dataclass(frozen=True)
class Lifetime:
    """How long a session may be used, in seconds from the begin of its opening.

    From `renew_after_s` on it is renewed in a quiet moment, at
    `renew_latest_s` in any. `token_ends_at_s` (epoch) is the end of a given
    Agora token, which cannot be renewed.
    """

    renew_after_s: float
    renew_latest_s: float
    token_ends_at_s: Optional[float] = None


def lifetime_of(
    session_expire_minutes: float, token_ends_at_s: Optional[float] = None
) -> Lifetime:
    """Return when to renew sessions that are valid for so many minutes.

    A renewal may take 13 s (3 to close, 10 to open); the last safe moment
    leaves 15.
    """
    whole_s = session_expire_minutes * 60
    return Lifetime(whole_s * 0.7, whole_s - 15.0, token_ends_at_s)


OpenSession = Callable[[Callable[[Failure], None]], Session]
"""Makes one session; the callable given to it takes the failures that come
without a call, on the event loop."""


class Avatar:
    """One avatar, from `start` to `stop`, through any number of sessions."""

    def __init__(
        self,
        *,
        speech: Speech,
        open_session: OpenSession,
        outbox: Outbox,
        lifetime: Lifetime,
        clock: Clock,
        rng: Optional[random.Random] = None,
    ) -> None:
        self._speech = speech
        self._open_session = open_session
        self._outbox = outbox
        self._lifetime = lifetime
        self._clock = clock
        self._rng = rng or random.Random()
        self._task: Optional[asyncio.Task[None]] = None
        # Kept, since up to Python 3.11 asking for it is a system call.
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stopping = False
        # The task waits here for something to do; others wake it.
        self._waiter: Optional[asyncio.Future[None]] = None
        self._timer: Optional[Timer] = None
        self._timer_at = float("inf")
        self._wake_at: Optional[float] = None
        # The session in use, why it is to be given up, and since when a call
        # has been waiting for its socket.
        self._session: Optional[Session] = None
        self._attempt = 0  # counts sessions: late callbacks are of older ones
        self._began_at = 0.0
        self._loss: Optional[Failure] = None
        self._call_since: Optional[float] = None
        self._connection_id = ""
        self._state = ""
        self._ready_at = float("inf")  # when the session was opened
        # What errors have told of the outage, until a session is stable: one
        # that is lost again at once has not ended it.
        self._outage_told = False
        self._overflow_told = False
        self._complained_at = float("-inf")
        # The latest complaint. It is told of a moment later: it may be the
        # reason of a loss.
        self._complaint: Optional[Failure] = None
        self._complaint_at = float("-inf")
        self._complaint_due_at = float("inf")
        self._token_told = False

    # What TEN's handlers call; none of it waits

    def start(self) -> None:
        """Begin to connect; what is said before is spoken afterwards."""
        if self._task is None and not self._stopping:
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._run())

    def speak(self, pcm: bytes, turn: Optional[Turn] = None) -> None:
        """Take one frame's audio, signed 16-bit mono."""
        self._speech.frame(pcm, self._clock.monotonic(), turn)
        self._wake()
        if self._call_since is not None:
            self._arm()  # the task is held up and cannot

    def speech_starts(self, turn: Optional[Turn] = None) -> None:
        """Take a `tts_audio_start`."""
        self._speech.start(turn)

    def speech_ends(
        self, turn: Optional[Turn] = None, cut: bool = False
    ) -> None:
        """Take a `tts_audio_end` or `finalize`; `cut` means reason 2."""
        self._speech.end(self._clock.monotonic(), turn, cut)
        self._report_notes()
        self._wake()

    def flush(self) -> None:
        """Fall silent: drop what waits, interrupt what plays."""
        self._speech.flush(self._clock.monotonic())
        self._wake()
        if self._speech.notes:
            # After the command's result and the interrupt: both are urgent.
            asyncio.get_running_loop().call_soon(self._report_notes)

    async def stop(self) -> None:
        """Close the session and return within 4 s, whatever it is at."""
        self._stopping = True
        self._wake()
        task = self._task
        if task is not None:
            await asyncio.wait({task}, timeout=0.2)
            if not task.done() and self._call_since is not None:
                # The socket takes nothing: no goodbye would get through.
                assert self._session is not None
                self._session.abort()
            await asyncio.wait({task}, timeout=STOP_LIMIT_S - 0.2)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=0.1)
        if task is None or task.done():
            self._speech.let_go()
        self._cancel_timer()
        self._tell_complaint()
        self._report_notes()
        self._enter("closed", "stopped")

    @property
    def state(self) -> str:
        """The latest `avatar_state`, "" before the first."""
        return self._state

    @property
    def totals(self) -> Totals:
        """What became of all the audio so far, in samples."""
        return self._speech.totals

    def __repr__(self) -> str:
        return f"<Avatar {self._state or 'new'} {self._speech}>"

    # The task

    async def _run(self) -> None:
        try:
            await self._keep_a_session()
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
            if self._session is not None:
                self._session.abort()

    async def _keep_a_session(self) -> None:
        self._enter("connecting", "start")
        backoff = _Backoff(self._rng)
        rejected_upgrades = 0
        while not self._stopping:
            session, failure = await self._connect()
            if session is not None:
                failure = await self._serve(session)
                self._speech.connection_lost()
                self._report_notes()
                if self._is_stable():
                    backoff.reset()
                    self._outage_told = False
                self._ready_at = float("inf")
            if failure is not None and failure.rejected_upgrade:
                rejected_upgrades += 1
                if rejected_upgrades == MAX_REJECTED_UPGRADES:
                    failure = _keeps_rejecting(failure)
            else:
                rejected_upgrades = 0
            if failure is not None and failure.fatal:
                self._fail(failure)
            elif failure is not None and not self._stopping:
                self._trouble(failure)
            elif failure is None and not self._stopping:
                self._enter("connecting", "renewal")
            await self._leave_session()
            if failure is None:
                continue
            if failure.fatal:
                return
            until = self._clock.monotonic() + backoff.next_s()
            while not self._stopping and self._clock.monotonic() < until:
                await self._wait(until)

    async def _leave_session(self) -> None:
        """Close the session, before another may be opened: two publishers
        with one uid would throw each other out of the channel."""
        session = self._session
        self._attempt += 1
        if session is not None:
            await session.close()
            self._session = None

    async def _connect(self) -> tuple[Optional[Session], Optional[Failure]]:
        """Open one session. Neither is returned when it was stopped."""
        began_at = self._began_at = self._clock.monotonic()
        renewing = bool(self._connection_id) and not self._in_outage()
        self._connection_id = ""
        self._loss = None
        self._attempt += 1
        attempt = self._attempt
        try:
            session = self._open_session(
                lambda failure: self._on_failure(attempt, failure)
            )
        except SessionError as error:
            return None, error.failure
        self._session = session
        opening = asyncio.ensure_future(session.open())
        opening.add_done_callback(lambda _: self._wake())
        while not opening.done() and not self._stopping:
            await self._wait(None)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
        self._outbox.keep_secret(session.secrets())
        if opening.cancelled():
            if self._stopping:
                return None, None
            return None, Failure("the opening was cancelled")
        error = opening.exception()
        if isinstance(error, SessionError):
            return None, error.failure
        if error is not None:
            return None, Failure(f"the session could not be opened: {error!r}")
        self._connection_id = opening.result()
        self._ready_at = self._clock.monotonic()
        delay_ms = (self._ready_at - began_at) * 1000
        self._outbox.send(
            "metrics", reports.connected(self._connection_id, delay_ms)
        )
        reason = "renewed" if renewing else "connected"
        self._enter("ready", "recovered" if self._outage_told else reason)
        return session, None

    async def _serve(self, session: Session) -> Optional[Failure]:
        """Write speech until the session is lost (the failure is returned),
        is due for renewal, or the avatar is stopped."""
        speech = self._speech
        monotonic = self._clock.monotonic
        renew_at = self._began_at + self._lifetime.renew_after_s
        renew_latest_at = self._began_at + self._lifetime.renew_latest_s
        while not self._stopping:
            if self._loss is not None:
                return self._loss
            now = monotonic()
            if now >= renew_at and (
                now >= renew_latest_at or speech.is_quiet(now)
            ):
                return None
            step = speech.next()
            if step is None:
                await self._wait(
                    renew_at if now < renew_at else now + QUIET_POLL_S
                )
                continue
            self._call_since = now
            if self._timer is None:
                self._arm()  # somebody must watch the call
            try:
                if isinstance(step, Interrupt):
                    req_id = await session.interrupt()
                else:
                    req_id = await session.send(step.audio, step.end)
            except SessionError as error:
                speech.unwritten()
                # A callback knows the cause, the call only met its effect.
                return self._loss or error.failure
            except BaseException:
                speech.unwritten()
                raise
            finally:
                self._call_since = None
            speech.wrote(monotonic(), req_id, self._connection_id)
            if speech.notes:
                self._report_notes()
            if speech.waiting_s:
                # In a backlog, others have their turn after each message.
                await asyncio.sleep(0)
        return None

    # Waiting and waking

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self, until: Optional[float]) -> None:
        """Wait until woken, or until the time `until`."""
        if self._speech.notes:
            self._report_notes()
        self._wake_at = until
        self._arm()
        assert self._loop is not None, "not started"
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._wake_at = None

    def _arm(self) -> None:
        """Have the timer go off in time for whatever is due next.

        One that goes off early is left: it costs less than a new one.
        """
        soonest = self._clock.monotonic() + STALL_LIMIT_S / 3
        deadline = self._speech.deadline()
        if deadline is not None and deadline < soonest:
            soonest = deadline
        if self._wake_at is not None and self._wake_at < soonest:
            soonest = self._wake_at
        if self._complaint_due_at < soonest:
            soonest = self._complaint_due_at
        if soonest < self._timer_at:
            self._cancel_timer()
            self._timer_at = soonest
            self._timer = self._clock.call_at(soonest, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at = float("inf")

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = self._clock.monotonic()
        self._speech.tick(now)
        self._report_notes()
        if now >= self._complaint_due_at:
            self._tell_complaint()
        self._watch_call(now)
        self._watch_token()
        self._wake()
        if self._waiter is None and not self._stopping:
            self._arm()  # the task is held up and cannot

    def _watch_call(self, now: float) -> None:
        since = self._call_since
        if since is not None and now >= since + STALL_LIMIT_S:
            self._loss = self._loss or Failure(
                f"Spatius has taken no data for {STALL_LIMIT_S:.0f} s",
                code="stalled",
                phase="websocket_send",
                connection_id=self._connection_id,
            )
            if self._session is not None:
                self._session.abort()

    def _watch_token(self) -> None:
        ends_at_s = self._lifetime.token_ends_at_s
        if ends_at_s is None or self._token_told:
            return
        left_s = ends_at_s - self._clock.epoch()
        if left_s <= TOKEN_NOTICE_S:
            self._token_told = True
            self._report_error(
                reports.NON_FATAL,
                Failure(
                    "params.agora_token "
                    + (f"ends in {left_s:.0f} s" if left_s > 0 else "is over")
                    + ": the avatar will leave the channel then. A given "
                    "token cannot be renewed here: restart the graph with a "
                    "new one, or give params.agora_appcert instead so that "
                    "the extension signs its own",
                    code="agoraTokenEnds",
                ),
            )

    # What is told

    def _on_failure(self, attempt: int, failure: Failure) -> None:
        """Take what the session of an attempt says without being asked."""
        if attempt != self._attempt:
            return  # an older session; it no longer matters
        if self._session is not None:
            self._outbox.keep_secret(self._session.secrets())
        if failure.ends_session:
            if self._loss is None:
                self._loss = failure
            if self._call_since is not None and self._session is not None:
                self._session.abort()  # it may wait for long
            self._wake()
            return
        now = self._clock.monotonic()
        self._complaint = failure
        self._complaint_at = now
        if now >= self._complained_at + COMPLAINT_PAUSE_S:
            self._complained_at = now
            self._complaint_due_at = now + COMPLAINT_DELAY_S
            self._arm()

    def _is_stable(self) -> bool:
        return self._clock.monotonic() >= self._ready_at + STABLE_S

    def _in_outage(self) -> bool:
        """Return whether an error has told of an outage that is not over."""
        if self._outage_told and self._is_stable():
            self._outage_told = False
        return self._outage_told

    def _tell_complaint(self) -> None:
        complaint = self._complaint
        if complaint is None or self._complaint_due_at == float("inf"):
            return
        self._forget_complaint()
        if self._in_outage():  # which has been told of
            self._outbox.log("warn", complaint.message, "vendor")
        else:
            self._report_error(reports.NON_FATAL, complaint)

    def _forget_complaint(self) -> None:
        self._complaint = None
        self._complaint_due_at = float("inf")

    def _trouble(self, failure: Failure) -> None:
        """Tell once of an outage."""
        if self._complaint is not None and (
            self._clock.monotonic() <= self._complaint_at + COMPLAINT_DELAY_S
        ):
            # What the service said right before is the better explanation.
            failure = replace(
                failure,
                message=f"{failure.message}. Before that: "
                f"{self._complaint.message}",
            )
            self._forget_complaint()
        if not self._in_outage():
            self._outage_told = True
            self._report_error(reports.NON_FATAL, failure)
        self._enter("recovering", failure.code or "lost")

    def _fail(self, failure: Failure) -> None:
        """Give up for good; what is said from here on is let go of."""
        self._forget_complaint()  # the failure says more
        self._report_error(reports.FATAL, failure)
        self._speech.let_go()
        self._report_notes()
        self._cancel_timer()
        self._enter("failed", failure.code or "failed")

    def _report_error(
        self, code: int, failure: Failure, turn: Optional[Turn] = None
    ) -> None:
        self._outbox.send(
            "error",
            reports.error(
                code,
                failure.message,
                turn=turn or self._speech.turn,
                vendor_code=failure.code,
                vendor_message=failure.vendor_message,
                phase=failure.phase,
                connection_id=failure.connection_id or self._connection_id,
                req_id=failure.req_id,
            ),
        )
        self._outbox.log(
            "error" if code == reports.FATAL else "warn",
            failure.message,
            "vendor" if failure.vendor_message else "",
        )

    def _enter(self, state: str, reason: str) -> None:
        if state == self._state or self._state in ("failed", "closed"):
            return
        self._state = state
        self._outbox.send(
            "avatar_state", reports.state(state, self._connection_id, reason)
        )
        self._outbox.log(
            "info", f"{state} ({reason}) {self._connection_id}".rstrip()
        )

    def _report_notes(self) -> None:
        notes, self._speech.notes = self._speech.notes, []
        for note in notes:
            if isinstance(note, Overflow) and (
                note.is_rest or self._is_overflow_told()
            ):
                self._outbox.log(
                    "warn", f"{note.refused_s:.1f} s more were refused"
                )
                continue
            if isinstance(note, Overflow):
                self._report_error(
                    reports.NON_FATAL,
                    Failure(
                        f"{note.refused_s:.1f} s of speech were refused: more "
                        "than max_buffered_speech_s waited already, because "
                        "the avatar is not connected or takes audio too "
                        "slowly",
                        code="overflow",
                    ),
                    note.turn,
                )
                continue
            if isinstance(note, LateTurn):
                self._outbox.log("warn", _late_turn(note.turn))
                continue
            payload = reports.utterance(
                note, note.connection_id or self._connection_id
            )
            self._outbox.send("metrics", payload)
            self._outbox.log("info", f"utterance: {_line(payload)}")

    def _is_overflow_told(self) -> bool:
        """Return whether this outage's refusals have had their error."""
        is_over = self._state == "ready" and not self._in_outage()
        told, self._overflow_told = self._overflow_told, not is_over
        return told and not is_over


class _Backoff:
    """Waits that double, each cut at random by up to a half."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._longest_s = 2 * FIRST_BACKOFF_S

    def next_s(self) -> float:
        longest_s = self._longest_s
        self._longest_s = min(2 * longest_s, LONGEST_BACKOFF_S)
        return self._rng.uniform(longest_s / 2, longest_s)

    def reset(self) -> None:
        self._longest_s = 2 * FIRST_BACKOFF_S


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


def _late_turn(turn: Turn) -> str:
    return (
        f"turn_id {turn.id} was cut by a barge-in more than "
        f"{LATE_TURN_S:.0f} s ago and still speaks, unheard. Should the "
        "avatar be silent from now on, then all turns go by this one id: "
        "have the agent count them in metadata.turn_id, or leave it out"
    )


def _line(payload: dict[str, Any]) -> str:
    """Return the summary of an utterance as words for one line of a log."""
    values = {**payload["metrics"], **payload["metadata"]}
    return " ".join(f"{name}={value}" for name, value in values.items())
