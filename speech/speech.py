"""The queue between the frames that come in and the writers.

A pure state machine: no I/O, no clock of its own (`now` is a monotonic time
in seconds, handed in with each call). Audio is signed 16-bit mono PCM. The
rules that are quoted by number are the rules of speech in docs/design.md.

A *frame* is one pcm_frame. An *utterance* is the audio up to one end of
speech; it becomes one request of the service, and one more on each session
that goes on with it.
"""

from typing import Optional

from .intake import Intake
from .outputs import AvatarSteps, Backlog, Event, VoiceSteps
from .playout import Playout
from .utterance import BYTES_PER_SAMPLE, CUT, LOST, Limits, Turn, Utterance


class Speech:
    """What has been said and what goes next.

    `sample_rate` is that of frames that come without one, in Hz.
    """

    def __init__(
        self, *, sample_rate: int = 24000, limits: Optional[Limits] = None
    ) -> None:
        limits = limits or Limits()
        backlog = self._backlog = Backlog(limits)
        self._intake = Intake(limits, backlog.totals, backlog.events)
        voice = Playout()
        self.steps = AvatarSteps(backlog, voice)
        """What is written to the avatar."""
        self.voice = VoiceSteps(backlog, voice, self._is_avatar_silent)
        """What the voice says in its place."""
        self._playouts = (self.steps.playout, voice)
        self.totals = backlog.totals
        """What became of all the audio, in samples."""
        self._sample_rate = sample_rate
        self._is_closed = False  # nobody will ever speak

    # What comes in

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
                self._backlog.totals.refuse_unqueued(len(pcm))
                return False
            found = self._intake.utterance_of(turn, len(pcm), now, bytes_per_s)
            if found is None:
                return False
            opens = found is not utterance
            if opens:
                self._end_open()
                self._intake.open = found
                self._backlog.queue.append(found)
            utterance = found
        self._intake.add(utterance, pcm, now)
        return opens

    def start(
        self,
        turn: Optional[Turn] = None,
        request_id: str = "",
        woken_at: Optional[float] = None,
    ) -> None:
        """Take a `tts_audio_start`: what follows is not stale (rule 5).

        `woken_at` is when it woke the avatar, None if that was awake.
        """
        self._intake.start(turn, request_id, woken_at)

    def forget_waking(self) -> None:
        """The avatar is asleep again: what woke it does not count."""
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
        if not self._intake.is_end_of_open(turn, request_id):
            return False
        if cut:
            self.flush(now)
            self._intake.staleness.end()  # no more of the cut speech will come
        else:
            self._end_open()
        return cut

    def flush(self, now: float) -> None:
        """Drop what waits, and ask for an interrupt if there is something
        to interrupt (rules 4 and 5)."""
        steps, staleness = self.steps, self._intake.staleness
        self._intake.end_overflow()
        self._intake.timed_out = None
        staleness.mark_flushed(staleness.started_turn, now)
        is_playing = steps.may_be_playing(now)
        if is_playing or steps.playout.may_go_on(now):
            staleness.mark_flushed(steps.playout.last_turn, now)
        if self.voice.playout.may_go_on(now):
            staleness.mark_flushed(self.voice.playout.last_turn, now)
        if not (
            is_playing
            or self._backlog.queue
            or not self.voice.playout.is_over(now)
        ):
            return
        if is_playing:
            steps.interrupt()
        if self._intake.open is not None:
            self._intake.open.ended = True
            self._intake.open = None
            staleness.begin(now)
        for utterance in self._take_all(now):
            staleness.mark_flushed(utterance.turn, now)
            held = self._held_of(utterance)
            dropped = utterance.drop(held or 0)
            utterance.counts.flushed += dropped
            self.totals.flush(dropped)
            utterance.flushed = True
            self._backlog.end_audio(utterance, CUT)
            # What a writer holds is known when it is written, or not.
            if held is None:
                self._backlog.summarize(utterance)

    def give_up(self, now: float) -> None:
        """The avatar has failed, and there is no voice: what was written and
        not heard is lost, and nobody will ever speak."""
        self._backlog.discard_all_lost()
        self.close(now)

    def close(self, now: float) -> None:
        """Nobody will ever speak: drop what waits, refuse all to come.

        To be called between steps. What was written counts as sent.
        """
        assert self.steps.step is None, "the step before is not settled"
        self._is_closed = True
        self._intake.open = None
        self._intake.overflow.cancel()
        self.steps.in_request = self.steps.interrupt_due = False
        self.voice.close()
        for utterance in self._take_all(now):
            dropped = utterance.drop(0)
            utterance.counts.refused += dropped
            self.totals.refuse(dropped)
            self._backlog.end_audio(utterance, LOST)
            self._backlog.summarize(utterance)

    def tick(self, now: float) -> None:
        """Do what is due by `now`: ends of speech, of playout, of audio that
        is too old to be said again, and reports."""
        if self._intake.has_timed_out(now):
            self._intake.timed_out = self._intake.open
            self._end_open()
        for playout in self._playouts:
            self._backlog.update(playout, now)
        stale_at = self._stale_at
        if stale_at is not None and now >= stale_at:
            self._backlog.discard_all_lost()
        self.steps.release_heard(now)
        self._intake.tick(now)

    def deadline(self) -> Optional[float]:
        """Return when `tick` has something to do next, None for never."""
        times = [playout.deadline() for playout in self._playouts]
        times += [self._intake.deadline(), self._stale_at]
        return min((at for at in times if at is not None), default=None)

    def playback(
        self, req_id: str, state: str, played_ms: Optional[float], now: float
    ) -> None:
        """Take what the service says of the playback of a request."""
        self.steps.playout.playback(req_id, state, played_ms, now)
        self._backlog.update(self.steps.playout, now)

    # Queries

    @property
    def has_events(self) -> bool:
        """Whether there is anything to be reported."""
        return bool(self._backlog.events)

    def take_events(self) -> list[Event]:
        """Remove and return what is to be reported."""
        events = self._backlog.events
        if not events:
            return []
        taken = events[:]
        events.clear()
        return taken

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is said, waits or plays."""
        return (
            not self._backlog.queue
            and self.steps.is_idle
            and not self.steps.playout.may_be_audible(now)
            and self.voice.playout.is_over(now)
        )

    @property
    def silent_since(self) -> float:
        """When the last audio was heard to its end, -inf if none was."""
        return max(one.last_turn_ends_at for one in self._playouts)

    @property
    def has_waiting(self) -> bool:
        """Whether there is audio that is to be written."""
        return any(utterance.left for utterance in self._backlog.queue)

    @property
    def next_sample_rate(self) -> Optional[int]:
        """The rate of what is to be written next, None if nothing is."""
        queue = self._backlog.queue
        return queue[0].bytes_per_s // BYTES_PER_SAMPLE if queue else None

    @property
    def waiting_s(self) -> float:
        """How much audio waits, the writer's part included, in seconds."""
        rate = self.next_sample_rate or self._sample_rate
        return self.totals.waiting / rate

    @property
    def turn(self) -> Optional[Turn]:
        """The turn that is being said, None if none is known."""
        queue = self._backlog.queue
        return queue[0].turn if queue else self.steps.playout.last_turn

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
        is_said = self.steps.owner is not None or self.voice.step is not None
        return None if is_said else self._backlog.stale_at

    def _is_avatar_silent(self, now: float) -> bool:
        return self.steps.is_idle and not self.steps.playout.requests

    def _end_open(self) -> None:
        utterance, self._intake.open = self._intake.open, None
        if utterance is None:
            return
        utterance.ended = True
        if (
            not utterance.left
            and utterance.output is None
            and self._held_of(utterance) is None
        ):
            # All of it was refused, or heard before the connection was lost:
            # nothing is left for a writer to do.
            self._backlog.queue.pop()
            self._backlog.close(utterance)

    def _held_of(self, utterance: Utterance) -> Optional[int]:
        """Return how many bytes of an utterance a writer holds, None if none
        does."""
        if utterance is self.steps.owner:
            return self.steps.held
        say = self.voice.step
        if say is not None and say.utterance is utterance:
            return len(say.audio)
        return None

    def _take_all(self, now: float) -> list[Utterance]:
        """Remove and return all that plays or waits, in order."""
        taken: dict[int, Utterance] = {}
        for playout in self._playouts:
            self._backlog.update(playout, now)
            for request in playout.take_all(now):
                if request.utterance.flushed:
                    continue
                if request.is_whole and now >= request.ends_at:
                    self._backlog.finish(request)
                else:
                    taken[id(request.utterance)] = request.utterance
        for utterance in self._backlog.queue:
            taken[id(utterance)] = utterance
        self._backlog.queue.clear()
        return list(taken.values())
