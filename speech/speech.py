"""The state machine between the frames that come in and the writers.

A pure state machine: no I/O, no clock of its own (`now` is a monotonic time
in seconds, handed in with each call). Audio is signed 16-bit mono PCM. The
rules that are quoted by number are the rules of speech in docs/design.md.

A *frame* is one pcm_frame. An *utterance* is the audio up to one end of
speech; it becomes one request of the service, and one more on each session
that goes on with it.
"""

from typing import Optional

from .avatar_output import AvatarOutput
from .backlog import Backlog
from .events import CUT, LOST, SpeechEvent, Turn
from .intake import Intake
from .playout import Mark, Playout
from .utterance import BYTES_PER_SAMPLE, Limits, Utterance
from .voice_output import Say, VoiceOutput

NEVER = float("inf")

DEFAULT_LIMITS = Limits()


class Speech:
    """The speech so far, and the next steps of its outputs.

    `sample_rate` is that of frames that come without one, in Hz.
    """

    def __init__(
        self, *, sample_rate: int = 24000, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        backlog = self._backlog = Backlog(limits)
        voice = Playout(is_acknowledged=False)
        self.avatar = AvatarOutput(backlog, voice)
        """The steps of the avatar's writer."""
        self._voice = VoiceOutput(backlog, voice, self.avatar)
        self._playouts = (self.avatar.playout, voice)
        self._intake = Intake(
            limits,
            backlog.totals,
            backlog.events,
            (self.avatar, self._voice),
        )
        self.events = backlog.events
        """The events to be reported, until `take_events`."""
        self.totals = backlog.totals
        """The totals of all audio, in samples."""
        self._sample_rate = sample_rate
        self._is_closed = False  # no output will ever speak
        self._has_failed = False

    # Inputs

    def frame(
        self,
        pcm: bytes,
        now: float,
        turn: Optional[Turn] = None,
        sample_rate: int = 0,
    ) -> bool:
        """Take the audio of one frame (rules 1, 5, 6 and 9).

        Return whether it opened an utterance.
        """
        if not pcm:
            return False
        bytes_per_s = (sample_rate or self._sample_rate) * BYTES_PER_SAMPLE
        utterance = self._intake.open
        opens = False
        if (
            utterance is None
            or turn is None
            or turn is not utterance.turn
            or bytes_per_s != utterance.bytes_per_s
        ):
            # Mostly it is the very turn that is open, and not flushed: a
            # flush leaves nothing open.
            if self._is_closed:
                self._drop_closed(len(pcm))
                return False
            if self._intake.is_stale(turn, now):
                self._intake.drop_stale(turn, len(pcm), now)
                return False
            opens = not self._intake.goes_on(turn, bytes_per_s)
            if opens:
                self._end_open()
                utterance = self._intake.open_utterance(
                    turn, len(pcm), now, bytes_per_s
                )
                self._backlog.queue.append(utterance)
        assert utterance is not None
        had_left = utterance.left
        self._intake.add(utterance, pcm, now, turn)
        if not had_left:
            self.avatar.join(utterance, now)
        return opens

    def frame_in_request(
        self, pcm: bytes, now: float, turn: Optional[Turn], sample_rate: int
    ) -> bool:
        """Take the audio of a frame in the middle of a request: it is the
        writer's step in progress then, or waits for others.

        Return False if it is any other frame, which `frame` takes.
        """
        utterance = self._intake.open
        size = len(pcm)
        if (
            utterance is None
            or turn is not utterance.turn
            or turn is None
            or sample_rate * BYTES_PER_SAMPLE != utterance.bytes_per_s
            or not size
            or size & 1
            or utterance.left + size > utterance.message_size
            or utterance.odd_byte
            or utterance.is_paused
            or not self.avatar.take(utterance, pcm, now)
        ):
            return False
        utterance.last_audio_at = now
        utterance.counts.received += size
        self.totals.queue(size)
        return True

    def start(
        self,
        now: float,
        turn: Optional[Turn] = None,
        request_id: str = "",
        woken_at: Optional[float] = None,
    ) -> None:
        """Take a `tts_audio_start` (rule 5).

        `woken_at` is when it woke the avatar, None if that was awake.
        """
        if self._intake.fence.is_stale_start(turn, request_id, now):
            self._intake.timed_out = None
            return
        if self._intake.starts_another(request_id):
            self._end_open()
        self._intake.start(turn, request_id, woken_at)

    def forget_waking(self) -> None:
        """The avatar is asleep again: the event that woke it does not count."""
        self._intake.woken_at = None

    def end(
        self,
        now: float,
        turn: Optional[Turn] = None,
        cut: bool = False,
        request_id: str = "",
    ) -> bool:
        """Take an end of speech; `cut` means reason 2 (rules 2, 3 and 5).

        Return whether it acted as a flush.
        """
        is_end = self._intake.is_end_of_open(turn, request_id, now)
        self._intake.end(turn, request_id, now)
        if is_end and cut:
            # No more of the cut speech will come: the next audio is not stale.
            self._intake.end_overflow()
            self._drop_all(now)
            self._intake.fence.lift()
        elif is_end:
            self._end_open()
        return is_end and cut

    def flush(self, now: float) -> None:
        """Drop the audio that waits, and ask for an interrupt if there is
        something to interrupt (rules 4 and 5)."""
        intake = self._intake
        intake.end_overflow()
        intake.cut_begun(now)
        for playout in self._playouts:
            may_be_meant = playout.may_go_on(now)
            if playout is self.avatar.playout:
                may_be_meant |= self.avatar.may_be_playing(now)
            if may_be_meant:
                intake.keep_out(playout.last_turn, playout.last_request_id, now)
        # An utterance that timed out has not ended.
        rest = intake.open or intake.timed_out
        intake.timed_out = None
        if self._is_silent(now) and not self._backlog.queue:
            return
        for utterance in self._drop_all(now):
            intake.keep_out(utterance.turn, utterance.tts_request_id, now)
        if rest is not None:
            self.totals.split(rest.odd_byte)
            intake.keep_out_rest(rest, now)

    def give_up(self, now: float) -> None:
        """The avatar has failed, and there is no voice: audio that was
        written and not heard is lost, all other audio is refused."""
        self._backlog.discard_all_lost()
        self._has_failed = True
        self.close(now)

    def close(self, now: float) -> None:
        """Stop: drop the audio that waits and all that comes from now on.

        To be called between steps. Audio that was written counts as sent.
        """
        assert self.avatar.step is None, "the step before is not settled"
        self._is_closed = True
        if self._intake.open is not None:
            self.totals.split(self._intake.open.odd_byte)
        self._intake.open = None
        self._intake.overflow.cancel()
        self.avatar.in_request = self.avatar.interrupt_due = False
        self.avatar.join_due_at = NEVER
        self._voice.close()
        for utterance in self._take_all(now):
            dropped = utterance.drop(0)
            if self._has_failed:
                utterance.counts.refused += dropped
                self.totals.refuse(dropped)
            else:
                utterance.counts.stopped += dropped
                self.totals.stop(dropped)
            self._backlog.end_audio(utterance, LOST)
            self._backlog.summarize(utterance)

    def tick(self, now: float) -> None:
        """Do all that is due by `now`: ends of speech, of playout, of audio
        that is too old to be said again, and reports."""
        if self._intake.has_timed_out(now):
            self._time_out()
        for playout in self._playouts:
            self._backlog.update(playout, now)
        stale_at = self._stale_at
        if stale_at is not None and now >= stale_at:
            self._backlog.discard_all_lost()
            self._backlog.report_loss()
        self.avatar.release_heard(now)
        self.avatar.stop_joining(now)
        if now >= self._trim_at:
            self._trim(now)
        self._intake.tick(now)

    @property
    def due_at(self) -> float:
        """When `tick` has something to do next, inf for never; for audio that
        waits to be joined with more, `avatar.join_due_at`."""
        stale_at = self._stale_at
        return min(
            self.avatar.playout.due_at,
            self._voice.playout.due_at,
            self._intake.due_at,
            NEVER if stale_at is None else stale_at,
            self._trim_at,
        )

    # The connection

    def connected(self) -> None:
        """There is a connection: audio that it takes is not bounded (rule
        6)."""
        self.avatar.connected()
        self._voice.stop()

    def connection_lost(self, now: float, is_closed: bool = False) -> None:
        """Take back the audio that was written and not heard: it goes first
        on the next session, rewound, or is lost (rules of playout 3).

        `is_closed`: it was healthy and has been closed on purpose, so that
        all audio that was written has arrived. To be called between steps.
        """
        self.avatar.connection_lost(now, is_closed)

    # The voice's writer: the same for the voice.

    def has_voice_step(self, may_begin: bool) -> bool:
        """Return whether `next_voice` has something to do."""
        return self._voice.has_step(may_begin)

    def next_voice(self, now: float, may_begin: bool = True) -> Optional[Say]:
        """Return the voice's next step, None if there is none now.

        The first utterance changes to the voice by it, and stays there;
        without `may_begin` only one that has changed already is said.
        """
        return self._voice.next(now, may_begin)

    def said(self, say: Say, now: float) -> None:
        """Settle a step of the voice: it was sent."""
        self._voice.said(say, now)

    def voice_failed(self, say: Say) -> None:
        """Settle a step of the voice: there is no voice."""
        self._voice.failed(say)

    # Reports of the service about arrival and playback (rules of playout 1)

    def mark(self) -> Optional[Mark]:
        """Return a mark behind all that was written, for a ping to carry;
        None if all of it has arrived."""
        return self.avatar.playout.mark()

    def is_playing_out(self, now: float) -> bool:
        """Return whether audio of the avatar is still to be heard: it takes
        pings to know that the service is there."""
        return self.avatar.playout.is_playing_out(now)

    def ahead_s(self, now: float) -> float:
        """Return how much of the avatar's latest request is still to be
        heard, in seconds."""
        return self.avatar.playout.ahead_s(now)

    @property
    def ask_at(self) -> float:
        """When a ping is to ask whether the avatar has said an utterance to
        its end, inf for never."""
        return self.avatar.playout.ask_at

    def asked(self, now: float) -> None:
        """A ping asks whether the service is there: no utterance is reported
        as heard before one is answered that went out at its end or later."""
        self.avatar.playout.asked(now)

    def arrived(self, mark: Optional[Mark], now: float) -> None:
        """The service has answered a ping: it has received all that is before
        `mark`, if any."""
        self.avatar.playout.arrived(mark, now)
        self._backlog.update(self.avatar.playout, now)

    def doubt(self) -> None:
        """The service does not answer: until it does, no audio since its
        latest answer counts as heard."""
        self.avatar.playout.doubt()

    def playback(
        self,
        req_id: str,
        state: str,
        played_ms: Optional[float],
        reason: str,
        now: float,
    ) -> None:
        """Take a signal of the service about the playback of a request.

        `state` is "playing", "paused", "ended" or "interrupted", `reason` that
        of an interruption.
        """
        self.avatar.signal(req_id, state, played_ms, reason, now)
        self._backlog.update(self.avatar.playout, now)

    # Questions

    def take_events(self) -> list[SpeechEvent]:
        """Remove and return the events to report."""
        events = self._backlog.events
        if not events:
            return []
        taken = events[:]
        events.clear()
        return taken

    def is_idle(self, now: float) -> bool:
        """Return whether no audio is said, waits or plays."""
        return (
            all(each.is_at_rest for each in self._backlog.queue)
            and self.avatar.is_settled
            and not self.avatar.playout.may_play_on(now)
            and self._voice.playout.is_over(now)
        )

    @property
    def is_silent(self) -> bool:
        """Whether all that the avatar was sent has been heard, and no request
        is open."""
        return self.avatar.is_silent

    @property
    def silent_since(self) -> float:
        """When the last audio was heard to its end, -inf if none was."""
        return max(one.last_turn_ends_at for one in self._playouts)

    @property
    def has_waiting(self) -> bool:
        """Whether there is audio that is to be written."""
        for utterance in self._backlog.queue:  # for each frame: no generator
            if utterance.left:
                return True
        return False

    @property
    def next_sample_rate(self) -> Optional[int]:
        """The rate of the audio to be written next, None if there is none."""
        queue = self._backlog.queue
        if not queue or queue[0].is_at_rest:
            return None
        return queue[0].bytes_per_s // BYTES_PER_SAMPLE

    @property
    def waiting_s(self) -> float:
        """How much audio waits, the writer's part included, in seconds."""
        rate = self.next_sample_rate or self._sample_rate
        return self.totals.waiting / rate

    @property
    def kept_s(self) -> float:
        """How much of the audio that was written is kept, to be said again
        after a loss, in seconds."""
        return self.avatar.playout.kept_s

    @property
    def turn(self) -> Optional[Turn]:
        """The turn that is being said, None if none is known."""
        queue = self._backlog.queue
        return queue[0].turn if queue else self.avatar.playout.last_turn

    def __repr__(self) -> str:
        return (
            f"<Speech {len(self._backlog.queue)} utterances, "
            f"{self.waiting_s:.2f} s waiting, {self.totals}>"
        )

    # Internals

    @property
    def _stale_at(self) -> Optional[float]:
        """When audio that was lost is too old to be said again, None while a
        writer may be saying it."""
        is_said = self.avatar.owner is not None or self._voice.step is not None
        return None if is_said else self._backlog.stale_at

    def _is_silent(self, now: float) -> bool:
        """Return whether no output may be audible."""
        return not self.avatar.may_be_playing(
            now
        ) and self._voice.playout.is_over(now)

    def _drop_closed(self, size: int) -> None:
        """Drop a frame that no output will ever speak."""
        if self._has_failed:
            self.totals.refuse_unqueued(size)
        else:
            self.totals.stop_unqueued(size)

    def _time_out(self) -> None:
        """No audio came in time: end the utterance. One that was announced
        pauses first: only the service's request ends."""
        utterance = self._intake.open
        assert utterance is not None
        if utterance.is_begun and not utterance.is_paused:
            self._intake.pause(utterance)
        else:
            self._intake.timed_out = utterance
            self._end_open()

    @property
    def _excess(self) -> int:
        """How much more waits than may for a connection that takes none, in
        bytes. The audio that the writer holds cannot be refused."""
        most = max(self._intake.high, self.avatar.held)
        return self.totals.waiting * BYTES_PER_SAMPLE - most

    @property
    def _trim_at(self) -> float:
        """When to refuse the excess: it came while the connection seemed to
        take it."""
        if self._excess <= 0:
            return NEVER
        if self._intake.overflow.is_refusing and self.avatar.step is not None:
            return 0.0  # at once
        return self.avatar.stalls_at

    def _trim(self, now: float) -> None:
        """Refuse the newest of the audio that waits (rule 6)."""
        for utterance in reversed(list(self._backlog.queue)):
            held = self._held_of(utterance)
            size = min(self._excess, utterance.unwritten(held or 0)) & ~1
            if size <= 0:
                continue  # such as one of which all was refused
            utterance.cut_end(size)
            self.totals.refuse(size)
            self._intake.refuse(utterance, size, now)
            is_untouched = utterance.output is None and held is None
            if is_untouched and utterance.ended and not utterance.left:
                self._backlog.queue.remove(utterance)
                self._backlog.close(utterance)

    def _end_open(self) -> None:
        utterance, self._intake.open = self._intake.open, None
        if utterance is None:
            return
        utterance.ended = True
        self._intake.judge_pace(utterance)
        if (
            not utterance.left
            and self._held_of(utterance) is None
            and not self.avatar.is_open(utterance)
        ):
            # All of it was refused, or written before a pause or a loss:
            # nothing is left for a writer to do.
            self._backlog.queue.remove(utterance)
            self._voice.finish(utterance)

    def _drop_all(self, now: float) -> list[Utterance]:
        """Drop all audio that plays or waits, and have it interrupted. Return
        the utterances."""
        self.avatar.join_due_at = NEVER
        if self.avatar.may_be_playing(now):
            self.avatar.interrupt()
        if self._intake.open is not None:
            self._intake.open.ended = True
            self._intake.open = None
        utterances = self._take_all(now)
        for utterance in utterances:
            held = self._held_of(utterance)
            dropped = utterance.drop(held or 0)
            utterance.counts.flushed += dropped
            self.totals.flush(dropped)
            utterance.flushed = True
            self._backlog.end_audio(utterance, CUT)
            # The outcome of audio that a writer holds is known later.
            if held is None:
                self._backlog.summarize(utterance)
        return utterances

    def _held_of(self, utterance: Utterance) -> Optional[int]:
        """Return how many bytes of an utterance a writer holds, None if none
        does."""
        if utterance is self.avatar.owner:
            return self.avatar.held
        say = self._voice.step
        if say is not None and say.utterance is utterance:
            return len(say.audio)
        return None

    def _take_all(self, now: float) -> list[Utterance]:
        """Remove and return all that plays or waits, in order."""
        taken: dict[int, Utterance] = {}
        for playout in self._playouts:
            self._backlog.update(playout, now)
            while playout.has_been_heard(now):
                self._backlog.pop(playout)
            for request in playout.take_all(now):
                if not request.utterance.flushed:
                    taken[id(request.utterance)] = request.utterance
        for utterance in self._backlog.queue:
            taken[id(utterance)] = utterance
        self._backlog.queue.clear()
        return list(taken.values())
