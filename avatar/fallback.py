"""The agent's voice while the avatar cannot speak."""

import asyncio
from typing import Optional, Protocol

from ..clock import Clock
from ..messages import redact
from ..speech import Speech, Turn

FRAMES_A_TURN = 10
"""How many frames go out before others have their turn on the event loop."""


class Voice(Protocol):
    """The output of speech without the avatar."""

    async def say(
        self, pcm: bytes, sample_rate: int, turn: Optional[Turn]
    ) -> bool:
        """Send one frame; return False if no output is connected."""
        ...


class Fallback:
    """Decides when the voice speaks, and has it speak.

    `after_s` is how long speech waits for a session before (0 = until the
    avatar has failed for good).
    """

    def __init__(
        self, speech: Speech, voice: Voice, clock: Clock, after_s: float
    ) -> None:
        self.due_at = float("inf")
        """When `watch` has something to decide."""
        self.is_missing = False
        """No voice is connected."""
        self.problem = ""
        """The error that the voice has raised, if it is missing for that."""
        self.is_standing_in = False
        """It has spoken since the avatar has been unable to."""
        self._speech = speech
        self._voice = voice
        self._clock = clock
        self._after_s = after_s
        self._is_on = False
        self._is_speaking = False
        self._waits_since: Optional[float] = None

    @property
    def can_speak(self) -> bool:
        """Whether it may stand in for an avatar that has not failed."""
        return self._after_s > 0 and not self.is_missing

    def switch_on(self) -> None:
        """Have the voice speak at once: the avatar has failed for good."""
        self._is_on = True

    def watch(
        self,
        has_session: bool,
        now: float,
        unanswered_since: Optional[float] = None,
    ) -> None:
        """Decide who speaks: with a session the avatar, from the next
        utterance on, else the voice, once speech has waited for too long.

        Since `unanswered_since`, speech has waited for an answer of the
        session that was lost.
        """
        if has_session:
            self._is_on = self.is_standing_in = False
            self._waits_since = None
        elif self._after_s and not self._speech.has_waiting:
            self._waits_since = None
        elif self._after_s and self._waits_since is None:
            self._waits_since = now
            if unanswered_since is not None:
                self._waits_since = unanswered_since
        if self._waits_since is None or self._is_on or self.is_missing:
            self.due_at = float("inf")
            return
        self.due_at = self._waits_since + self._after_s
        if now >= self.due_at:
            self._is_on = True
            self.due_at = float("inf")

    def has_work(self) -> bool:
        """Return whether `speak` would say something."""
        return (
            not self.is_missing
            and not self._is_speaking
            and self._speech.has_voice_step(self._is_on)
        )

    async def speak(self) -> None:
        """Have the voice say the speech that is due, unless another task
        does."""
        if self._is_speaking or self.is_missing:
            return
        frames = 0
        self._is_speaking = True
        try:
            while True:
                say = self._speech.next_voice(
                    self._clock.monotonic(), self._is_on
                )
                if say is None:
                    break
                utterance = say.utterance
                try:
                    is_connected = await self._voice.say(
                        say.audio, utterance.bytes_per_s // 2, utterance.turn
                    )
                except BaseException as error:  # it must not end the avatar
                    is_connected, self.problem = False, redact.defect(error)
                if not is_connected:
                    self._speech.voice_failed(say)
                    self.is_missing = True
                    break
                self._speech.said(say, self._clock.monotonic())
                if self._is_on and not self.is_standing_in:
                    # The driver reports it, and has the rest said.
                    self.is_standing_in = True
                    break
                frames += 1
                if frames % FRAMES_A_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._is_speaking = False
