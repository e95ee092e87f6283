"""The agent's voice while the avatar cannot speak."""

import asyncio
from collections.abc import Callable
from typing import Optional, Protocol

from ..clock import Clock
from ..eager import run_eagerly
from ..speech import Speech, Turn

FRAMES_A_TURN = 10
"""How many frames go out before others have their turn on the event loop."""


class Voice(Protocol):
    """Where speech goes without the avatar."""

    async def say(
        self, pcm: bytes, sample_rate: int, turn: Optional[Turn]
    ) -> bool:
        """Send one frame; return False where nothing is connected."""
        ...


class Fallback:
    """Decides when the voice speaks, and has it speak.

    `after_s` is how long speech waits for a session before (0 = until the
    avatar has failed for good). `on_start` is called when the voice begins to
    stand in, `on_missing` once, when it turns out that there is none, with what
    it has raised, if anything, `on_done` when a task has ended that said what
    `speak` did not.
    """

    def __init__(
        self,
        speech: Speech,
        voice: Voice,
        clock: Clock,
        after_s: float,
        *,
        on_start: Callable[[], None],
        on_missing: Callable[[str], None],
        on_done: Callable[[], None],
    ) -> None:
        self._speech = speech
        self._voice = voice
        self._clock = clock
        self._after_s = after_s
        self._on_start = on_start
        self._on_missing = on_missing
        self._on_done = on_done
        self.is_missing = False
        """There is no voice: nothing is connected."""
        self._is_on = False
        self._has_started = False  # since it is on
        self._is_speaking = False
        self._waits_since: Optional[float] = None
        self._task: Optional[asyncio.Task[None]] = None

    def switch_on(self) -> None:
        """The avatar has failed for good."""
        self._is_on = True

    def speak(self, has_session: bool) -> None:
        """Have the voice say what it is to say, unless it does already.

        With a session the avatar speaks again, from the next utterance on.
        """
        if self.is_missing:
            return
        if has_session:
            self._is_on = self._has_started = False
            self._waits_since = None
        elif self._after_s:
            self._watch()
        if not self._is_speaking and (
            self._is_on or self._speech.voice_has_begun
        ):
            self._task = run_eagerly(self._speak())
            if self._task is not None:
                self._task.add_done_callback(lambda _: self._on_done())

    def deadline(self) -> Optional[float]:
        """Return when `speak` has something to decide."""
        if self._waits_since is None or self._is_on or self.is_missing:
            return None
        return self._waits_since + self._after_s

    def _watch(self) -> None:
        """Switch on once speech has waited for too long."""
        now = self._clock.monotonic()
        if not self._speech.has_waiting:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now >= self._waits_since + self._after_s:
            self._is_on = True

    async def _speak(self) -> None:
        speech = self._speech
        frames = 0
        self._is_speaking = True
        try:
            while True:
                say = speech.next_voice(self._clock.monotonic(), self._is_on)
                if say is None:
                    break
                utterance = say.utterance
                rate = utterance.bytes_per_s // 2
                problem = ""
                try:
                    is_connected = await self._voice.say(
                        say.audio, rate, utterance.turn
                    )
                except BaseException as error:  # it must not end the avatar
                    is_connected, problem = False, repr(error)
                if not is_connected:
                    speech.voice_failed(say)
                    self.is_missing = True
                    self._on_missing(problem)
                    break
                speech.said(say, self._clock.monotonic())
                if self._is_on and not self._has_started:
                    self._has_started = True
                    self._on_start()
                frames += 1
                if frames % FRAMES_A_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._is_speaking = False
