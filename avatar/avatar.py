"""The driver: it calls its parts, and nothing calls it but TEN and the loop.

After each event, `_drive` does all that is due and sets the alarm for the rest.
A frame in mid-utterance takes a shorter way: it is queued and written.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, Optional

from ..clock import Alarm, Clock, wait_until
from ..messages import payloads, redact
from ..session import (
    Failure,
    OpenSession,
    PingAnswered,
    PlaybackSignal,
    ServiceError,
    Session,
)
from ..speech import Speech, Totals, Turn
from . import events
from .arrival import Arrival
from .fallback import Fallback, Voice
from .plan import Plan
from .presence import Presence
from .reporter import Outbox, Reporter
from .state import AvatarState, Trigger, after
from .supervisor import Supervisor
from .writer import Writer

BURST_GAP_S = 0.0002
"""Frames that come closer together than this have come at once."""

WATCH_INTERVAL_S = 10.0
"""How often a session is looked after at least: its calls, its tokens."""

DEFECT_PAUSE_S = 1.0
"""How long after a defect of ours only the session is attended to: the part
that has failed may fail each time."""


class Avatar:
    """One avatar, from `start` to `stop`, through any number of sessions.

    `uid` is its own in the Agora channel, 0 if Agora assigns it.
    """

    def __init__(
        self,
        *,
        speech: Speech,
        open_session: OpenSession,
        outbox: Outbox,
        voice: Voice,
        plan: Plan,
        clock: Clock,
        rng: Optional[random.Random] = None,
        vendor_metadata: Optional[payloads.VendorMetadata] = None,
        uid: int = 0,
    ) -> None:
        self._speech = speech
        self._clock = clock
        self._state = AvatarState.NEW
        self._supervisor = Supervisor(
            speech=speech,
            open_session=open_session,
            plan=plan,
            clock=clock,
            rng=rng or random.Random(),
            wake=self._drive,
        )
        self._output = speech.avatar
        self._writer = Writer(speech, clock)
        self._arrival = Arrival(speech, plan.fallback_after_s)
        self._presence = Presence(uid)
        self._fallback = Fallback(speech, voice, clock, plan.fallback_after_s)
        self._reporter = Reporter(
            outbox, clock, plan.lifetime.token_expires_at_s, vendor_metadata
        )
        self._alarm = Alarm(clock, self._go_off)
        # Often set and cancelled, which must not move the other.
        self._join_alarm = Alarm(clock, self._go_off)
        self._due_at = float("-inf")  # when the driver has something to do
        self._has_started = False
        self._is_unseen = False  # a session is ready, and not in its channel
        self._is_voice_given_up = False
        self._done: Optional[asyncio.Future[None]] = None  # while it stops
        self._is_closed = False
        self._has_defect = False  # which was reported
        self._paused_until = float("-inf")
        self._frame_at = float("-inf")
        self._is_burst = False  # frames wait for those that come with them
        # Kept, since the loop itself holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: Optional[asyncio.Task[None]] = None  # the voice

    # Called by TEN's handlers

    def start(self) -> None:
        """Begin to connect; speech that comes before is spoken afterwards."""
        self._has_started = True
        self._drive()

    def fail(self, failure: Failure) -> None:
        """Give up for good: the voice speaks from here on, if there is one.

        Instead of `start` if there is no configuration to start with.
        """
        self._give_up(failure, self._clock.monotonic())
        self._drive()

    async def speak(
        self, pcm: bytes, turn: Optional[Turn] = None, sample_rate: int = 0
    ) -> None:
        """Take one frame's audio, signed 16-bit mono, and write it.

        Returns at once, but for a handler that meets a socket that is full.
        """
        now = self._clock.monotonic()
        gap_s, self._frame_at = now - self._frame_at, now
        output, session = self._output, self._supervisor.session
        if (
            session is not None
            and session.is_ready
            and gap_s >= BURST_GAP_S
            and not self._writer.is_writing
            and not self._presence.is_absent
            and self._speech.frame_in_request(pcm, now, turn, sample_rate)
        ):
            if output.step is None:
                self._join_alarm.set(output.join_due_at)  # it waits for others
                return
            if self._join_alarm.at < now + gap_s:
                # It would go off before the next frame, for nothing.
                self._join_alarm.cancel()
            await self._writer.write(session, output.step)
            if not self._is_mid_speech:
                self._drive()
            return
        await self._speak_queued(pcm, now, gap_s, turn, sample_rate)

    async def _speak_queued(
        self,
        pcm: bytes,
        now: float,
        gap_s: float,
        turn: Optional[Turn],
        sample_rate: int,
    ) -> None:
        """Queue a frame that may be of any request, and write all that is
        due."""
        output, session = self._output, self._supervisor.session
        opens = self._speech.frame(pcm, now, turn, sample_rate)
        if output.is_joining:
            self._join_alarm.set(output.join_due_at)  # it waits for others
            return
        if gap_s < BURST_GAP_S and not opens:
            if not self._is_burst:
                # The frames that come in this turn of the loop are joined.
                self._is_burst = True
                asyncio.get_running_loop().call_soon(self._end_burst)
            return
        begins = opens or not output.in_request
        if session is not None and self._is_heard(session):
            await self._writer.write(session)
        elif self._fallback.has_work():
            await self._fallback.speak()
        if begins or self._has_left_work:
            self._drive()

    def speech_starts(
        self, turn: Optional[Turn] = None, request_id: str = ""
    ) -> None:
        """Take a `tts_audio_start`."""
        now = self._clock.monotonic()
        woken_at = now if self._supervisor.is_asleep else None
        self._supervisor.want()
        self._speech.start(now, turn, request_id, woken_at)
        self._drive()

    def speech_ends(
        self,
        turn: Optional[Turn] = None,
        cut: bool = False,
        request_id: str = "",
    ) -> bool:
        """Take a `tts_audio_end` or `finalize`; `cut` means reason 2.

        Return whether it acted as a flush.
        """
        now = self._clock.monotonic()
        is_flush = self._speech.end(now, turn, cut, request_id)
        self._drive()
        return is_flush

    def flush(self) -> None:
        """Fall silent: drop the audio that waits, interrupt the audio that
        plays."""
        self._speech.flush(self._clock.monotonic())
        # After the command's result, which is more urgent.
        asyncio.get_running_loop().call_soon(self._drive)

    def connect(self) -> None:
        """Wake an avatar that is asleep: there is, or will be, speech."""
        self._supervisor.want()
        self._drive()

    def user_joined(self, uid: str) -> None:
        """Take the report that a user has joined the avatar's channel."""
        self._presence.joined(uid, self._clock.monotonic())
        self._drive()

    def user_left(self, uid: str) -> None:
        """Take the report that a user has left the avatar's channel."""
        self._presence.left(uid, self._clock.monotonic())
        self._drive()

    async def stop(self, deadline_at: float) -> None:
        """Close the session and return by `deadline_at` (monotonic), whatever
        is in progress."""
        now = self._clock.monotonic()
        self._done = asyncio.get_running_loop().create_future()
        self._supervisor.stop(now)
        self._drive()
        await wait_until(self._clock, deadline_at, self._done)
        self._supervisor.abort()
        self._alarm.cancel()
        self._join_alarm.cancel()
        self._close(self._clock.monotonic())
        if self._speaking is not None:  # it waits for an output
            self._speaking.remove_done_callback(self._ended)
            self._speaking.cancel()

    # Questions

    @property
    def state(self) -> str:
        """The latest `avatar_state`, "" before the first."""
        return self._state.value

    @property
    def totals(self) -> Totals:
        """The totals of all audio so far, in samples."""
        return self._speech.totals

    def __repr__(self) -> str:
        return f"<Avatar {self.state or 'new'} {self._speech}>"

    # The driver

    def _drive(self) -> None:
        """Do all that is due, and set the alarm for the rest."""
        now = self._clock.monotonic()
        try:
            if self._done is not None:
                self._close(now)
            if now >= self._paused_until:
                self._advance(now)
            else:
                self._step(now)
            self._set_alarm(now)
        except Exception as error:
            self._take_defect(error, now)
        if self._done is not None and self._supervisor.is_done:
            if not self._done.done():
                self._done.set_result(None)

    def _advance(self, now: float) -> None:
        session = self._supervisor.session
        if session is not None:
            self._take_events(session)
            session.tick(now)
        self._presence.check(session, now)
        self._speech.tick(now)
        if self._speech.has_waiting:
            self._supervisor.want()
        self._step(now)
        session = self._supervisor.session
        if self._is_unseen and not self._presence.is_absent:
            self._is_unseen = False
            if session is not None and session.is_ready:
                self._enter(Trigger.OPENED, "joined")
        self._arrival.check(session, now)
        is_heard = session is not None and self._is_heard(session)
        self._fallback.watch(is_heard, now, self._arrival.unanswered_since)
        if session is not None and is_heard and self._writer.has_work(session):
            self._run(self._writer.write(session))
        if self._fallback.has_work():
            self._speaking = self._run(self._fallback.speak())
        self._watch_voice(now)
        self._reporter.tick(
            now, self._speech.turn, self._supervisor.is_in_outage(now)
        )
        self._report()

    def _step(self, now: float) -> None:
        """Open, renew or close the session, as far as it is due."""
        if self._has_started:
            while (event := self._supervisor.step(now)) is not None:
                self._take(event, now)

    def _take_defect(self, error: BaseException, now: float) -> None:
        """Give up on a defect of ours: report it once, close the session."""
        self._paused_until = now + DEFECT_PAUSE_S
        try:
            if not self._has_defect:
                self._has_defect = True
                self._give_up(
                    Failure(
                        "the avatar stopped on an internal error: "
                        f"{redact.defect(error)}",
                        fatal=True,
                    ),
                    now,
                )
            self._step(now)
            self._set_alarm(now)
        except Exception:  # the same, most likely
            self._supervisor.abort()
            if self._done is None:
                self._due_at = self._paused_until
                self._alarm.set(self._due_at)

    @property
    def _is_mid_speech(self) -> bool:
        """Whether audio is all that is to be attended to: the avatar is in
        the middle of a request, and nothing else is due before the alarm."""
        return (
            self._output.in_request
            and self._state is AvatarState.READY
            and not self._speech.events
            and not self._arrival.is_at_rest
            and self._done is None
        )

    @property
    def _has_left_work(self) -> bool:
        """Whether a write has left something to do, or has caused it."""
        is_waiting = self._speech.has_waiting and not self._output.is_joining
        return is_waiting or not self._is_mid_speech

    def _write_joined(self) -> None:
        """Write the frames that have waited for others for long enough."""
        now = self._clock.monotonic()
        session = self._supervisor.session
        try:
            if session is None or not self._is_mid_speech:
                self._drive()
                return
            self._output.stop_joining(now)
            if self._is_heard(session) and self._writer.has_work(session):
                self._run(self._writer.write(session))
            self._alarm.set(self._due_at)
            self._join_alarm.set(self._output.join_due_at)
        except Exception as error:
            self._take_defect(error, now)

    def _is_heard(self, session: Session) -> bool:
        """Return whether to speak through a session: it is ready, and the
        avatar is in its channel, or nothing else could speak."""
        return session.is_ready and not (
            self._presence.is_absent and self._fallback.can_speak
        )

    def _take_events(self, session: Session) -> None:
        """Take the events that the SDK has reported."""
        for event in session.take_events():
            if isinstance(event, PlaybackSignal):
                self._speech.playback(
                    event.req_id,
                    event.state,
                    event.played_ms,
                    event.reason,
                    event.at_s,
                )
            elif isinstance(event, PingAnswered):
                self._arrival.answered(event.at_s)
            elif isinstance(event, ServiceError):
                self._reporter.service_error(event.failure, event.at_s)

    def _take(self, event: events.SupervisorEvent, now: float) -> None:
        """Report an event of the session, and change the state."""
        reporter, turn = self._reporter, self._speech.turn
        if isinstance(event, events.Wanted):
            self._enter(Trigger.CONNECT, event.reason)
        elif isinstance(event, events.Connecting):
            reporter.connecting()
        elif isinstance(event, events.Opened):
            reporter.opened(event.session)
            self._is_unseen = self._presence.is_absent
            if self._is_unseen:
                self._enter(Trigger.LOST, "notJoined")
            else:
                self._enter(Trigger.OPENED, event.reason)
        elif isinstance(event, events.Lost):
            reporter.lost(event.failure, event.begins_outage, turn, now)
            self._enter(Trigger.LOST, event.failure.code or "lost")
        elif isinstance(event, events.OutageLasts):
            reporter.outage_lasts(event, turn)
        elif isinstance(event, events.Renewing):
            self._enter(Trigger.RENEW, "renewal")
        elif isinstance(event, events.GaveUp):
            self._give_up(event.failure, now)
        elif isinstance(event, events.Left):
            reporter.left(event.session, event.connected_s)
        elif isinstance(event, events.Slept):
            self._enter(Trigger.SLEEP, event.reason)

    def _enter(self, trigger: Trigger, reason: str) -> None:
        """Change the state, and report the change."""
        before, self._state = self._state, after(self._state, trigger)
        if self._state is not before:
            self._reporter.state(self._state.value, reason)

    def _give_up(self, failure: Failure, now: float) -> None:
        self._supervisor.give_up()
        self._reporter.failed(failure, self._speech.turn)
        self._fallback.switch_on()
        self._enter(Trigger.FAIL, failure.code or "failed")
        if not self._writer.is_writing:  # as always, but for a defect of ours
            self._speech.connection_lost(now)

    def _watch_voice(self, now: float) -> None:
        """Report that the voice stands in, or that there is none."""
        if self._fallback.is_standing_in:
            self._enter(Trigger.VOICE, "noSession")
        if not self._fallback.is_missing:
            return
        self._reporter.no_voice(self._fallback.problem)
        is_lost = (
            self._state is AvatarState.FAILED and not self._writer.is_writing
        )
        if is_lost and not self._is_voice_given_up:
            self._is_voice_given_up = True
            self._speech.give_up(now)

    def _close(self, now: float) -> None:
        """Report the end, unless a call in progress has to end first.

        Before the session is closed: a main that stops as well takes messages
        for a moment only.
        """
        if self._writer.is_writing or self._is_closed:
            return
        self._is_closed = True
        self._speech.close(now)
        self._reporter.report_service_error(
            self._speech.turn, self._supervisor.is_in_outage(now)
        )
        self._report()
        self._enter(Trigger.STOP, "stopped")

    def _report(self) -> None:
        if self._speech.events:
            now = self._clock.monotonic()
            is_ready = self._state is AvatarState.READY
            self._reporter.events(
                self._speech.take_events(),
                can_speak=is_ready and not self._supervisor.is_in_outage(now),
                has_failed=self._state is AvatarState.FAILED,
            )

    def _run(
        self, coroutine: Coroutine[Any, Any, None]
    ) -> "asyncio.Task[None]":
        """Write in a task: no handler is there to wait for the socket."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._take_defect(error, self._clock.monotonic())
        if error is not None or self._has_left_work:
            self._drive()

    def _go_off(self) -> None:
        self._alarm.cancel()
        self._join_alarm.cancel()
        if self._clock.monotonic() >= self._due_at:
            self._drive()
        else:
            # Frames that wait for others are due, have left, or have been
            # followed by others.
            self._write_joined()

    def _end_burst(self) -> None:
        self._is_burst = False
        self._write_joined()

    def _set_alarm(self, now: float) -> None:
        """Have the alarm go off in time for the next thing that is due."""
        soonest = min(
            self._speech.due_at,
            self._arrival.due_at,
            self._fallback.due_at,
            self._presence.due_at,
            self._reporter.due_at,
        )
        soonest = max(soonest, self._paused_until)
        soonest = min(soonest, self._supervisor.due_at)
        session = self._supervisor.session
        if session is not None:
            soonest = min(soonest, session.due_at, now + WATCH_INTERVAL_S)
        self._due_at = soonest
        if self._done is None or session is not None:
            self._alarm.set(soonest)
            self._join_alarm.set(
                max(self._output.join_due_at, self._paused_until)
            )
