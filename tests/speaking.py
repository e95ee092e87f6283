"""A Speech with its writers, for tests of the sound."""

from typing import Any, Optional, Union

from spatius_avatar_python.speech import Limits, Speech, Turn
from spatius_avatar_python.speech.avatar_output import Send, Step
from spatius_avatar_python.speech.events import AudioEnd, AudioStart, Summary
from spatius_avatar_python.speech.voice_output import Say
from speech_steps import BYTES_PER_MS as BYTES_PER_MS
from speech_steps import RATE, check_sum, pcm, written

TURN = Turn("session", 1)


def audio_of(steps: Union[list[Step], list[Say]]) -> bytes:
    return b"".join(
        step.audio for step in steps if isinstance(step, (Send, Say))
    )


class Speaking:
    """A TTS in `speak`, the writers in `write` and `say`, and a clock."""

    def __init__(
        self,
        *,
        max_buffered_s: float = 60.0,
        rewind_s: float = 0.5,
        within_s: float = 15.0,
        end_timeout_s: float = 0.0,
        **more: Any,
    ) -> None:
        limits = Limits(
            max_buffered_s=max_buffered_s,
            end_timeout_s=end_timeout_s,
            resume_rewind_s=rewind_s,
            resume_within_s=within_s,
            **more,
        )
        self.speech = Speech(sample_rate=RATE, limits=limits)
        self.now = 0.0
        self._reports: list = []

    def speak(
        self,
        ms: float,
        *,
        end: bool = True,
        turn: Optional[Turn] = None,
        request_id: str = "",
    ) -> bytes:
        """Have an utterance come in, or a part of it; return its audio."""
        if request_id:
            self.speech.start(self.now, turn, request_id)
        audio = pcm(ms)
        self.frame(audio, turn)
        if end:
            self.speech.end(self.now, turn)
        return audio

    def frame(self, audio: bytes, turn: Optional[Turn] = None) -> None:
        """Have a frame come in, as the avatar takes it."""
        if not self.speech.frame_in_request(audio, self.now, turn, RATE):
            self.speech.frame(audio, self.now, turn)

    @property
    def due_at(self) -> float:
        """When something is due next, a write of joined frames, too."""
        return min(self.speech.due_at, self.speech.avatar.join_due_at)

    def next(self) -> Optional[Step]:
        """Return the avatar's next step, or the frame that is it already."""
        return self.speech.avatar.step or self.speech.avatar.next(self.now)

    def written(self, req_id: str = "r") -> None:
        """Settle the avatar's step; it arrives at once."""
        written(self.speech, self.now, req_id, "c")

    def write(self, req_id: str = "r", most: int = 1000) -> list[Step]:
        """Carry out the avatar's steps, and return them."""
        steps: list[Step] = []
        while len(steps) < most:
            step = self.next()
            if step is None:
                break
            self.written(req_id)
            steps.append(step)
        self.check_sum()
        return steps

    def say(self, most: int = 100_000) -> list[Say]:
        """Have the voice say its steps, and return the audio."""
        said: list[Say] = []
        while len(said) < most:
            say = self.speech.next_voice(self.now)
            if say is None:
                break
            self.speech.said(say, self.now)
            said.append(say)
        self.check_sum()
        return said

    def wait(self, seconds: float) -> None:
        """Let time pass, and do all that is due in time."""
        until = self.now + seconds
        while (at := self.due_at) <= until:
            assert at > self.now or at == 0.0, "it stays due"
            self.now = at
            self.speech.tick(at)
        self.now = until
        self.speech.tick(until)

    def silent(self, seconds: float) -> None:
        """Let time pass in which the service answers no ping."""
        self.speech.doubt()
        self.wait(seconds)

    def answer(self) -> None:
        """Have the service answer a ping behind all that was written."""
        self.speech.arrived(self.speech.mark(), self.now)

    def lose(self) -> None:
        """Lose the connection."""
        self.speech.connection_lost(self.now)
        self.check_sum()

    def reports(self, kind: type) -> list:
        """Return the reports of one kind so far."""
        self._reports += self.speech.take_events()
        return [each for each in self._reports if isinstance(each, kind)]

    @property
    def starts(self) -> list[AudioStart]:
        return self.reports(AudioStart)

    @property
    def ends(self) -> list[AudioEnd]:
        return self.reports(AudioEnd)

    @property
    def summaries(self) -> list[Summary]:
        return self.reports(Summary)

    def end(self) -> AudioEnd:
        """Return the only end that was reported."""
        (end,) = self.ends
        return end

    def summary(self) -> Summary:
        """Return the only summary that was reported."""
        (summary,) = self.summaries
        return summary

    def check_sum(self) -> None:
        check_sum(self.speech)
