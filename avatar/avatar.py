"""The running avatar: what the handlers of TEN call.

All of it takes effect at once, whatever the network does.
"""

import asyncio
import random
from typing import Optional

from ..clock import Alarm, Clock, wait_until
from ..session.errors import Failure
from ..session.link import STALL_LIMIT_S, OpenSession
from ..speech import Speech, Totals, Turn
from .arrival import Delivery
from .fallback import Fallback, Voice
from .reporter import Outbox, Reporter
from .supervisor import Plan, Supervisor
from .writer import Writer

STOP_LIMIT_S = 3.5

BURST_GAP_S = 0.0002
"""Frames that come closer together than this have come at once."""


class Avatar:
    """One avatar, from `start` to `stop`, through any number of sessions."""

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
    ) -> None:
        self._speech = speech
        self._clock = clock
        self._token_expires_at_s = plan.lifetime.token_expires_at_s
        self._alarm = Alarm(clock, self._on_alarm)
        self._reporter = Reporter(
            outbox, clock, lambda: speech.turn, self._alarm.set
        )
        self._writer = Writer(
            speech,
            clock,
            on_end=lambda: self._supervisor.wake(),
            on_done=self._tend,
        )
        self._delivery = Delivery(speech, clock, on_answer=self._on_answer)
        self._fallback = Fallback(
            speech,
            voice,
            clock,
            plan.fallback_after_s,
            on_start=self._reporter.fallback,
            on_missing=self._on_no_voice,
            on_done=self._tend,
        )
        self._supervisor = Supervisor(
            speech=speech,
            writer=self._writer,
            reporter=self._reporter,
            open_session=open_session,
            plan=plan,
            clock=clock,
            rng=rng or random.Random(),
            tend=self._tend,
            on_failed=self.fail,
        )
        self._task: Optional[asyncio.Task[None]] = None
        self._frame_at = float("-inf")
        self._is_burst = False  # frames wait for those that come with them

    def start(self) -> None:
        """Begin to connect; what is said before is spoken afterwards."""
        if self._task is None and not self._supervisor.stopping:
            self._task = asyncio.get_running_loop().create_task(
                self._supervisor.run()
            )

    def fail(self, failure: Failure) -> None:
        """Give up for good: the voice speaks from here on, if there is one.

        Instead of `start` where there is no configuration to start with.
        """
        self._reporter.failed(failure)
        if not self._writer.is_writing:  # as always, but for a defect of ours
            self._speech.connection_lost(self._clock.monotonic())
            if self._fallback.is_missing:
                self._speech.give_up(self._clock.monotonic())
        self._fallback.switch_on()
        self._reporter.enter("failed", failure.code or "failed")
        self._tend()

    def speak(
        self, pcm: bytes, turn: Optional[Turn] = None, sample_rate: int = 0
    ) -> None:
        """Take one frame's audio, signed 16-bit mono."""
        now = self._clock.monotonic()
        opens = self._speech.frame(pcm, now, turn, sample_rate)
        gap_s, self._frame_at = now - self._frame_at, now
        if opens or gap_s >= BURST_GAP_S:
            self._write_frames(opens)
        elif not self._is_burst:
            # A fast TTS: what comes in this turn of the loop is joined.
            self._is_burst = True
            asyncio.get_running_loop().call_soon(self._end_burst)

    def speech_starts(
        self, turn: Optional[Turn] = None, request_id: str = ""
    ) -> None:
        """Take a `tts_audio_start`."""
        woken = self._supervisor.need()
        now = self._clock.monotonic()
        self._speech.start(now, turn, request_id, now if woken else None)

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
        self._tend()
        return is_flush

    def flush(self) -> None:
        """Fall silent: drop what waits, interrupt what plays."""
        self._speech.flush(self._clock.monotonic())
        self._writer.write()
        # Reported after the command's result, which is more urgent.
        asyncio.get_running_loop().call_soon(self._tend)

    def connect(self) -> None:
        """Wake an avatar that is asleep: there is, or will be, speech."""
        self._supervisor.need()

    async def stop(self) -> None:
        """Close the session and return within 4 s, whatever is in progress."""
        self._supervisor.stop()
        task = self._task
        if task is not None:
            now = self._clock.monotonic()
            await wait_until(self._clock, now + 0.2, task)
            if self._writer.is_writing and self._writer.link is not None:
                # The socket takes nothing: no close handshake would get
                # through.
                self._writer.link.abort()
            await wait_until(self._clock, now + STOP_LIMIT_S, task)
            if not task.done():
                task.cancel()
                await wait_until(self._clock, now + STOP_LIMIT_S + 0.1, task)
        if not self._writer.is_writing:
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

    # Internals

    def _tend(self) -> None:
        """Have the avatar or the voice say what is due, and report."""
        link = self._writer.link
        self._writer.write()
        self._delivery.check(link)
        self._fallback.speak(link is not None and link.is_ready)
        self._report_events()
        self._set_alarm()

    def _end_burst(self) -> None:
        self._is_burst = False
        self._write_frames(opens=False)

    def _write_frames(self, opens: bool) -> None:
        self._writer.write()
        # Mostly a frame goes on with an utterance and has left by now: then
        # nothing else is due, nor anything earlier than before.
        if (
            opens
            or self._speech.has_events
            or self._speech.totals.waiting
            or self._delivery.check_at is None
        ):
            if self._speech.totals.waiting:
                self._supervisor.need()
            self._tend()

    def _on_answer(self) -> None:
        """More of what was written has arrived: it may have been heard."""
        self._speech.tick(self._clock.monotonic())
        self._tend()

    def _on_no_voice(self, problem: str) -> None:
        if self.state == "failed":
            self._speech.give_up(self._clock.monotonic())
            self._report_events()
        self._reporter.no_voice(problem)

    def _report_events(self) -> None:
        events = self._speech.take_events()
        if events:
            self._reporter.events(events)

    def _set_alarm(self) -> None:
        """Have the alarm go off in time for whatever is due next."""
        if self._supervisor.stopping:
            return
        # Calls and tokens are watched while there is a session.
        soonest = float("inf")
        if self.state != "failed":
            soonest = self._clock.monotonic() + STALL_LIMIT_S / 3
        for at in (
            self._speech.due_at,
            self._fallback.deadline(),
            self._delivery.check_at,
            self._supervisor.wake_at,
            self._reporter.deadline(),
        ):
            if at is not None and at < soonest:
                soonest = at
        if soonest != float("inf"):
            self._alarm.set(soonest)

    def _on_alarm(self) -> None:
        now = self._clock.monotonic()
        self._speech.tick(now)
        self._reporter.tick(now, self._token_expires_at_s)
        if self._writer.link is not None:
            self._writer.link.watch_call(now)
        wake_at = self._supervisor.wake_at
        if self._writer.link is not None or (
            wake_at is not None and now >= wake_at
        ):
            self._supervisor.wake()
        self._tend()
