"""The steps of the voice's writer, which speaks in place of the avatar."""

from typing import NamedTuple, Optional

from .avatar_output import AvatarOutput
from .backlog import STALLED_AFTER_S, Backlog
from .playout import Playout
from .utterance import VOICE_FRAME_MS, Utterance


class Say(NamedTuple):
    """Have the voice say `audio`, a part of `utterance`."""

    audio: bytes
    utterance: Utterance


class VoiceOutput:
    """The steps of the voice's writer, one at a time."""

    def __init__(
        self,
        backlog: Backlog,
        playout: Playout,
        avatar: AvatarOutput,
    ) -> None:
        self.playout = playout
        self.step: Optional[Say] = None
        """The step in progress."""
        self._began_at = 0.0  # the step
        self._speaks = False  # in place of the avatar
        self._backlog = backlog
        self._avatar = avatar

    def takes_audio(self, now: float) -> bool:
        """Return whether the voice takes audio as fast as it comes."""
        return self._speaks and (
            self.step is None or now < self._began_at + STALLED_AFTER_S
        )

    def has_step(self, may_begin: bool) -> bool:
        """Return whether `next` has something to do."""
        queue = self._backlog.queue
        if self.step is not None or not queue or not self._avatar.is_silent:
            return False
        utterance = queue[0]
        if not may_begin and utterance.output != "voice":
            return False
        return utterance.ended or self._has_frame(utterance)

    def next(self, now: float, may_begin: bool = True) -> Optional[Say]:
        """Return the next audio of the voice, None if there is none now.

        The first utterance changes to the voice by it, and stays there;
        without `may_begin` only one that has changed already is said.
        """
        assert self.step is None, "the step before is not settled"
        queue = self._backlog.queue
        while queue and self._avatar.is_silent:
            utterance = queue[0]
            if not may_begin and utterance.output != "voice":
                return None
            if self._has_frame(utterance):
                utterance.output = "voice"
                self._began_at = now
                size = utterance.size_of(VOICE_FRAME_MS)
                self.step = Say(utterance.take(size), utterance)
                return self.step
            if not utterance.ended:
                return None
            queue.popleft()
            self.finish(utterance)
        return None

    def finish(self, utterance: Utterance) -> None:
        """Take an utterance that is written to its end."""
        utterance.is_written = True
        self.playout.complete(utterance)
        if not (
            self.playout.plays(utterance)
            or self._avatar.playout.plays(utterance)
        ):
            self._backlog.close(utterance)

    def said(self, say: Say, now: float) -> None:
        """Settle a step: it was given to the voice."""
        if not self._settle(say):
            return
        self._speaks = True
        backlog, utterance, size = self._backlog, say.utterance, len(say.audio)
        backlog.stale_at = None  # audio that was lost is said again
        begin, reached = utterance.position, utterance.reached
        new = utterance.advance(say.audio, room=0)
        utterance.forget()  # it does not get lost
        backlog.totals.say(new)
        utterance.counts.voice += new
        if new < size:
            # Unheard audio that the avatar was sent is the voice's.
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
        """Settle a step that could not be said: there is no voice."""
        if not self._settle(say):
            return
        self._speaks = False
        utterance = say.utterance
        if utterance.flushed:
            self._backlog.drop_held(utterance, len(say.audio))
            return
        utterance.put_back(say.audio)
        utterance.output = None
        self.playout.leave(utterance)

    def stop(self) -> None:
        """The avatar speaks again."""
        self._speaks = False

    def close(self) -> None:
        """Take back the step in progress: its result does not matter."""
        if self.step is not None:
            self.step.utterance.put_back(self.step.audio)
            self.step = None

    def _has_frame(self, utterance: Utterance) -> bool:
        """Return whether a frame is full, or is the last one."""
        if utterance.is_closing:
            return utterance.left > 0
        return utterance.left >= utterance.size_of(VOICE_FRAME_MS)

    def _settle(self, say: Say) -> bool:
        is_current = say is self.step
        if is_current:
            self.step = None
        return is_current
