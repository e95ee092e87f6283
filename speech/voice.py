"""What the voice says while the avatar cannot speak."""

from collections.abc import Callable
from typing import NamedTuple, Optional

from .backlog import Backlog
from .playout import Playout
from .utterance import VOICE_FRAME_MS, Utterance


class Say(NamedTuple):
    """Have the voice say `audio`, a part of `utterance`."""

    audio: bytes
    utterance: Utterance


class VoiceSteps:
    """The voice's writer asks `next` for what to say, and reports with `said`
    or `failed` how it went."""

    def __init__(
        self,
        backlog: Backlog,
        playout: Playout,
        may_speak: Callable[[float], bool],
    ) -> None:
        self.playout = playout
        self.step: Optional[Say] = None
        """The step in progress."""
        self._backlog = backlog
        self._may_speak = may_speak  # the avatar has ended

    @property
    def has_begun(self) -> bool:
        """Whether the first utterance has gone over to the voice."""
        queue = self._backlog.queue
        return bool(queue) and queue[0].output == "voice"

    def next(self, now: float, may_begin: bool = True) -> Optional[Say]:
        """Return what is said next, None if there is nothing now.

        The first utterance goes over to the voice by it, and stays there;
        without `may_begin` only one that has gone over already is said.
        """
        assert self.step is None, "the step before is not settled"
        queue = self._backlog.queue
        while queue and self._may_speak(now):
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
            if not self.playout.complete(utterance):
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
