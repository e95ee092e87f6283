"""What is written to the avatar next, and what the voice says in its place.

The rules that are quoted are those of docs/design.md.
"""

from collections import deque
from typing import NamedTuple, Optional, Union

from .intake import Overflow, TurnIdReused
from .playout import Playout, Request
from .utterance import (
    KEPT_FACTOR,
    KEPT_MARGIN_S,
    LOST,
    PLAYED,
    VOICE_FRAME_MS,
    AudioEnd,
    AudioStart,
    Limits,
    Summary,
    Totals,
    Utterance,
    size_of,
)

Event = Union[Summary, AudioStart, AudioEnd, Overflow, TurnIdReused]


class Backlog:
    """The queue, the sum of what became of audio, and what is to be reported.

    Each utterance that begins to be heard has one `AudioStart` and one
    `AudioEnd` (rules of playout 2), each that came at all one `Summary`.
    """

    def __init__(self, limits: Limits) -> None:
        self.queue: deque[Utterance] = deque()
        self.totals = Totals()
        self.limits = limits
        self.events: list[Event] = []
        self.stale_at: Optional[float] = None
        """When audio that was lost is too old to be said again."""
        self._unnamed = 0  # utterances that were given an id
        self._max_kept_s = 0.0
        if limits.resume_within_s:
            self._max_kept_s = KEPT_FACTOR * limits.max_buffered_s

    def room_kept(self, utterance: Utterance, playout: Playout) -> int:
        """Return how much of an utterance may be kept for another session,
        in bytes: what all else that plays leaves free."""
        kept = 0
        for request in playout.requests:
            if request.utterance is not utterance:
                kept += request.utterance.kept_bytes
        return size_of(self._max_kept_s, utterance.bytes_per_s) - kept

    def update(self, playout: Playout, now: float) -> None:
        """Report what has begun and what has been heard by now."""
        while playout.requests:
            request = playout.requests[0]
            utterance = request.utterance
            if not utterance.flushed:
                if now < request.begins_at:
                    return
                self.start_audio(utterance)
                if now < request.surely_ends_at or not request.is_whole:
                    return
                self.finish(request)
            playout.requests.popleft()

    def finish(self, request: Request) -> None:
        """Take a request that has been heard to its end."""
        utterance = request.utterance
        utterance.heard = utterance.reached
        utterance.source = request.source
        self.end_audio(utterance, PLAYED)
        self.summarize(utterance)

    def close(self, utterance: Utterance) -> None:
        """Take an utterance of which nothing is left to be written."""
        self.end_audio(utterance, LOST if utterance.counts.lost else PLAYED)
        self.summarize(utterance)

    def start_audio(self, utterance: Utterance) -> None:
        if not utterance.started:
            utterance.started = True
            if not (utterance.request_id or utterance.req_id):
                # The voice has begun it, which has no requests.
                self._unnamed += 1
                utterance.request_id = f"voice-{self._unnamed}"
            self.events.append(utterance.audio_start())

    def end_audio(self, utterance: Utterance, reason: int) -> None:
        if utterance.heard:
            self.start_audio(utterance)  # it was chained to the one before
        if utterance.started and not utterance.is_over:
            utterance.is_over = True
            self.events.append(utterance.audio_end(reason))

    def summarize(self, utterance: Utterance) -> None:
        if utterance.counts.received:
            self.events.append(utterance.summary())

    def lose(self, utterance: Utterance, size: int) -> None:
        """Count audio that was written and will not be heard."""
        if size:
            self.totals.lose(size)
            utterance.counts.lost += size

    def drop_held(self, utterance: Utterance, size: int) -> None:
        """Take what a writer held of an utterance that was flushed, and did
        not write."""
        new = max(0, size - utterance.again)
        self.totals.flush(new)
        utterance.counts.flushed += new
        self.summarize(utterance)

    def discard_lost(self, utterance: Utterance) -> None:
        """Do not say again what was lost of an utterance."""
        self.lose(utterance, utterance.skip_again())
        if utterance.ended and not utterance.left:
            self.queue.remove(utterance)
            self.close(utterance)

    def discard_all_lost(self) -> None:
        """Do not say again what was lost."""
        self.stale_at = None
        for utterance in list(self.queue):
            self.discard_lost(utterance)


class Send(NamedTuple):
    """Send `audio`; `end` closes the request behind it."""

    audio: bytes
    end: bool


class Interrupt(NamedTuple):
    """Interrupt the latest request."""


Step = Union[Send, Interrupt]


class AvatarOutput:
    """The writer's steps, and what is known of the connection's requests.

    The writer asks `next` for a step, carries it out, and reports with
    `written` or `failed` how it went; there is one step at a time.
    """

    def __init__(
        self,
        backlog: Backlog,
        other: Playout,
    ) -> None:
        self.playout = Playout(is_acknowledged=True)
        self.step: Optional[Step] = None
        """The step in progress."""
        self.owner: Optional[Utterance] = None
        """Whose audio the writer holds."""
        self.interrupt_due = False
        self.in_request = False
        """The service holds an open request of the first utterance."""
        self._room_kept = 0  # for what is written of the first utterance
        self._backlog = backlog
        self._other = other
        self._margin_s = backlog.limits.resume_rewind_s + KEPT_MARGIN_S

    @property
    def held(self) -> int:
        """How much audio the writer holds, in bytes."""
        return len(self.step.audio) if isinstance(self.step, Send) else 0

    @property
    def is_settled(self) -> bool:
        """Whether the service holds nothing open and nothing is due."""
        return (
            self.step is None and not self.interrupt_due and not self.in_request
        )

    @property
    def is_silent(self) -> bool:
        """Whether it is settled, and nothing of it is still to be heard."""
        return self.is_settled and not self.playout.requests

    def may_be_playing(self, now: float) -> bool:
        return (
            self.in_request
            or isinstance(self.step, Send)
            or self.playout.may_be_audible(now)
        )

    def interrupt(self) -> None:
        """Have an interrupt be the next step."""
        self.interrupt_due = not isinstance(self.step, Interrupt)

    @property
    def has_step(self) -> bool:
        """Whether `next` would return a step."""
        return self.step is None and (
            self.interrupt_due or self._has_audio_step()
        )

    def next(self) -> Optional[Step]:
        """Return the writer's next step, None if there is none now."""
        assert self.step is None, "the step before is not settled"
        if self.interrupt_due:
            self.interrupt_due = False
            self.step = Interrupt()
        elif self._has_audio_step():
            utterance = self.owner = self._backlog.queue[0]
            utterance.output = "avatar"
            audio = b""
            if utterance.left:
                audio = utterance.take(utterance.message_size)
            self.step = Send(audio, utterance.ended and not utterance.left)
        return self.step

    def written(
        self, now: float, req_id: str = "", connection_id: str = ""
    ) -> bool:
        """Settle the step: it is on the wire, as a part of `req_id`.

        Return whether there may be another.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt):
            self.in_request = False
            self.playout.take_all(now)
            return True
        assert utterance is not None
        backlog = self._backlog
        if not self.in_request:
            backlog.stale_at = None  # what was lost is being said again
            self._room_kept = 0
            utterance.req_id = req_id
            utterance.connection_id = connection_id
            if utterance.first_sent_at is None:
                utterance.first_sent_at = now
        if utterance.kept_bytes >= self._room_kept:
            # There may be more by now: what is heard is not kept.
            self._room_kept = backlog.room_kept(utterance, self.playout)
        size = len(step.audio)
        new = utterance.advance(step.audio, self._room_kept)
        backlog.totals.send(new)
        if new < size:
            backlog.totals.resend(size - new)
            utterance.counts.resent += size - new
        self.playout.wrote(utterance, size, req_id, now, step.end)
        self.in_request = not step.end
        if utterance.flushed:
            # It was cut while the writer held a part of it.
            backlog.summarize(utterance)
            return True
        if not utterance.started:
            backlog.update(self.playout, now)
        if step.end:
            backlog.queue.popleft()
            return True
        return self.interrupt_due or utterance.ended or utterance.left > 0

    def failed(self) -> None:
        """Settle the step: it did not reach the wire.

        Its audio goes first on the next connection, unless it was flushed.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt) or utterance is None:
            return
        if utterance.flushed:
            self._backlog.drop_held(utterance, len(step.audio))
            return
        if step.audio:
            utterance.put_back(step.audio)
        if not self.in_request:
            utterance.output = None

    def connection_lost(self, now: float) -> None:
        """Nothing plays any more. What was written and not heard goes first
        on the next session, rewound, or is lost (rules of playout 3).

        To be called between steps.
        """
        backlog = self._backlog
        limits = backlog.limits
        backlog.update(self.playout, now)
        self.in_request = False
        self.interrupt_due = False
        requests = [
            request
            for request in self.playout.take_all(now)
            if not request.utterance.flushed
        ]
        backlog.queue.extendleft(
            request.utterance
            for request in reversed(requests)
            if request.is_complete
        )
        for request in requests:
            utterance = request.utterance
            utterance.output = None
            # The rewind covers what the estimate is ahead of the truth, right
            # after the end, too.
            position = request.position(now - limits.resume_rewind_s)
            backlog.lose(utterance, utterance.rewind(position))
            if not limits.resume_within_s or not utterance.again:
                backlog.discard_lost(utterance)
            elif backlog.stale_at is None:
                backlog.stale_at = now + limits.resume_within_s

    def release_heard(self, now: float) -> None:
        """Discard what has surely been heard: it is not said again."""
        for request in self.playout.requests:
            utterance = request.utterance
            margin = self._margin_s * utterance.bytes_per_s
            utterance.release(request.position(now) - margin)

    def _settle(self) -> tuple[Step, Optional[Utterance]]:
        step, utterance = self.step, self.owner
        assert step is not None, "there is no step to settle"
        self.step = self.owner = None
        return step, utterance

    def _has_audio_step(self) -> bool:
        """Return whether audio, or the end of a request, is to be sent."""
        queue = self._backlog.queue
        if not queue or queue[0].output == "voice" or self._other.requests:
            return False  # one output at a time
        utterance = queue[0]
        if not utterance.left:
            return utterance.ended and self.in_request
        return self.in_request or not self._is_too_short(utterance)

    def _is_too_short(self, utterance: Utterance) -> bool:
        """Return whether the encoder needs more to begin a request with."""
        least_ms = self._backlog.limits.first_message_ms
        return (
            least_ms > 0
            and not utterance.ended
            and utterance.ms(utterance.left) < least_ms
        )


class Say(NamedTuple):
    """Have the voice say `audio`, a part of `utterance`."""

    audio: bytes
    utterance: Utterance


class VoiceOutput:
    """The voice's writer asks `next` for what to say, and reports with `said`
    or `failed` how it went."""

    def __init__(
        self,
        backlog: Backlog,
        playout: Playout,
        avatar: AvatarOutput,
    ) -> None:
        self.playout = playout
        self.step: Optional[Say] = None
        """The step in progress."""
        self._backlog = backlog
        self._avatar = avatar  # one output at a time

    @property
    def has_begun(self) -> bool:
        """Whether the first utterance has gone over to the voice."""
        queue = self._backlog.queue
        return bool(queue) and queue[0].output == "voice"

    def has_step(self, now: float, may_begin: bool) -> bool:
        """Return whether `next` has something to do."""
        queue = self._backlog.queue
        if self.step is not None or not queue or not self._avatar.is_silent:
            return False
        utterance = queue[0]
        if not may_begin and utterance.output != "voice":
            return False
        return utterance.ended or utterance.left >= utterance.size_of(
            VOICE_FRAME_MS
        )

    def next(self, now: float, may_begin: bool = True) -> Optional[Say]:
        """Return what is said next, None if there is nothing now.

        The first utterance goes over to the voice by it, and stays there;
        without `may_begin` only one that has gone over already is said.
        """
        assert self.step is None, "the step before is not settled"
        queue = self._backlog.queue
        while queue and self._avatar.is_silent:
            utterance = queue[0]
            if not may_begin and utterance.output != "voice":
                return None
            size = utterance.size_of(VOICE_FRAME_MS)
            if utterance.left >= size or (utterance.ended and utterance.left):
                utterance.output = "voice"
                self.step = Say(utterance.take(size), utterance)
                return self.step
            if not utterance.ended:
                return None
            queue.popleft()
            if self.playout.plays_last(utterance):
                self.playout.complete()
            else:
                self._backlog.close(utterance)
        return None

    def said(self, say: Say, now: float) -> None:
        """Settle what was given to the voice."""
        if not self._settle(say):
            return
        backlog, utterance, size = self._backlog, say.utterance, len(say.audio)
        backlog.stale_at = None  # what was lost is being said again
        begin, reached = utterance.position, utterance.reached
        new = utterance.advance(say.audio, room=0)
        utterance.forget()  # it does not get lost
        backlog.totals.say(new)
        utterance.counts.voice += new
        if new < size:
            # What the avatar was sent and nobody heard is the voice's now.
            unheard = min(begin + size, reached) - max(begin, utterance.heard)
            moved = max(0, unheard)
            backlog.totals.say_again(moved)
            utterance.counts.voice += moved
            backlog.totals.resend(size - new)
            utterance.counts.resent += size - new
        if utterance.first_sent_at is None:
            utterance.first_sent_at = now
        if utterance.flushed:
            backlog.summarize(utterance)
            return
        self.playout.wrote(utterance, size, "", now, end=False)
        if not utterance.started:
            backlog.update(self.playout, now)

    def failed(self, say: Say) -> None:
        """Settle what could not be said: there is no voice."""
        if not self._settle(say):
            return
        utterance = say.utterance
        if utterance.flushed:
            self._backlog.drop_held(utterance, len(say.audio))
            return
        utterance.put_back(say.audio)
        utterance.output = None
        self.playout.leave(utterance)

    def close(self) -> None:
        """Nobody waits for what is being said."""
        if self.step is not None:
            self.step.utterance.put_back(self.step.audio)
            self.step = None

    def _settle(self, say: Say) -> bool:
        is_current = say is self.step
        if is_current:
            self.step = None
        return is_current
