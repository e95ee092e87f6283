"""What the voice says while the avatar cannot speak."""

from collections.abc import Callable
from typing import NamedTuple, Optional

from .backlog import Backlog
from .limits import VOICE_FRAME_MS, size_of
from .playout import Playout
from .utterance import Utterance


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
        on_drained: Callable[[], None],
    ) -> None:
        self.playout = playout
        self._backlog = backlog
        self._may_speak = may_speak  # the avatar has ended
        self._on_drained = on_drained
        self._held: Optional[Say] = None  # given out, and not settled

    @property
    def has_begun(self) -> bool:
        """Whether the first utterance has gone over to the voice."""
        queue = self._backlog.queue
        return bool(queue) and queue[0].output == "voice"

    def next(self, now: float) -> Optional[Say]:
        """Return what is said next, None if there is nothing now.

        The first utterance goes over to the voice by it, and stays there.
        """
        queue = self._backlog.queue
        while queue and self._may_speak(now):
            utterance = queue[0]
            size = size_of(VOICE_FRAME_MS / 1000, utterance.bytes_per_s)
            if utterance.left >= size or (utterance.ended and utterance.left):
                utterance.output = "voice"
                utterance.stale_at = None
                self._held = Say(utterance.take(size), utterance)
                return self._held
            if not utterance.ended:
                return None
            queue.popleft()
            if not self.playout.complete(utterance):
                self._backlog.close(utterance)
        return None

    def said(self, say: Say, now: float) -> None:
        """Settle what was given to the voice."""
        if say is not self._held:
            return  # withdrawn
        self._held = None
        utterance, size = say.utterance, len(say.audio)
        totals = self._backlog.totals
        begin, reached = utterance.position, utterance.reached
        new = utterance.advance(say.audio, keep=False)
        totals.say(new)
        utterance.voice_bytes += new
        if new < size:
            # What the avatar was sent and nobody heard is the voice's now.
            unheard = min(begin + size, reached) - max(begin, utterance.heard)
            moved = max(0, unheard)
            totals.say_again(moved)
            utterance.sent_bytes -= moved
            utterance.voice_bytes += moved
            totals.resend(size - new)
            utterance.resent_bytes += size - new
        if utterance.first_sent_at is None:
            utterance.first_sent_at = now
        self.playout.wrote(utterance, size, "", now, end=False)
        if not utterance.started:
            self._backlog.note_starts(self.playout, now)
        self._on_drained()

    def failed(self, say: Say) -> None:
        """Settle what could not be said: there is no voice."""
        if say is self._held:
            self.withdraw()
            say.utterance.output = None

    def withdraw(self) -> None:
        """Count what is not settled yet as not said."""
        say, self._held = self._held, None
        if say is not None:
            say.utterance.put_back(say.audio)
