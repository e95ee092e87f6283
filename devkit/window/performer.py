"""The buttons of an extension on the stage: it speaks, and is cut short."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING

from ..harness.stage import Said, SentReport, Stage
from .button import Button, Refused
from .feed import Feed

if TYPE_CHECKING:
    from ten_runtime import AudioFrame

STALE_FRAMES = 20
"""Frames of a cut answer that the TTS still sends after the flush."""

TTS_SPEEDS = (1, 5, 20)
"""How much faster than speech a TTS is."""


class Performer:
    """The agent of the extension on a stage. Its methods block; any thread.

    `pcm` is its speech: 16-bit mono at 24 kHz.
    """

    def __init__(self, stage: Stage, pcm: bytes, feed: Feed) -> None:
        self._stage = stage
        self._pcm = pcm
        self._feed = feed
        self._lock = threading.Lock()
        self._speaking: threading.Thread | None = None
        self._cut = threading.Event()
        self._said: Said | None = None
        self._speed = TTS_SPEEDS[0]

    def buttons(self) -> dict[str, Button]:
        """The buttons of a page, by name."""
        return {
            press.__name__: _in_thread(press)
            for press in (
                self.speak,
                self.barge_in,
                self.tts_speed,
                self.start_again,
            )
        }

    def speak(self, pcm: bytes | None = None) -> str:
        """Begin to say the sentence, or `pcm`, as a TTS does."""
        pcm = pcm or self._pcm
        with self._lock:
            if self._is_speaking():
                raise Refused(
                    "The agent is speaking already: barge in to cut it."
                )
            self._cut.clear()
            self._feed.show(is_speaking=True)
            self._speaking = threading.Thread(
                target=self._speak, args=(pcm,), name="agent", daemon=True
            )
            self._speaking.start()
            return f"The agent speaks for {len(pcm) / 48000:.1f} s."

    def barge_in(self) -> str:
        """Flush, as the agent does when the user begins to speak."""
        with self._lock:
            was_speaking = self._is_speaking()
            was_heard = was_speaking or self._feed.session.is_heard
            self._hush()
            try:
                took_s = self._stage.flush()
            except (RuntimeError, futures.TimeoutError) as error:
                raise Refused(f"flush got no good answer: {error}") from error
            said = self._said
            if was_speaking and said is not None:
                for _ in range(STALE_FRAMES):
                    self._stage.send_frame(bytes(480), said)
                self._stage.send_data("tts_audio_end", said.turn_id, reason=2)
        answered = f"flush was answered in {took_s * 1000:.1f} ms."
        if was_heard:
            return f"Cut the answer short; {answered}"
        return f"The agent was not speaking; {answered}"

    def tts_speed(self) -> str:
        """Change the speed of the TTS, from the next answer on."""
        with self._lock:
            at = TTS_SPEEDS.index(self._speed) + 1
            self._speed = TTS_SPEEDS[at % len(TTS_SPEEDS)]
            self._feed.show(tts_speed=self._speed)
        if self._speed == 1:
            return "The TTS is as fast as speech."
        return f"The TTS is {self._speed} times as fast as speech."

    def start_again(self) -> str:
        """Stop the extension and start a new one."""
        with self._lock:
            self._hush()
            self._stage.stop()
            self._feed.start_over()
            self._stage.start()
        return "The extension was started again."

    def leave(self) -> None:
        """Fall silent, and stop an extension that was started again."""
        with self._lock:
            self._hush()
            self._stage.stop()

    def _is_speaking(self) -> bool:
        return self._speaking is not None and self._speaking.is_alive()

    def _hush(self) -> None:
        self._cut.set()
        if self._speaking is not None:
            self._speaking.join()

    def _speak(self, pcm: bytes) -> None:
        self._said = None
        said = self._stage.speak(
            pcm, end=False, speed=self._speed, is_over=self._cut.is_set
        )
        self._said = said
        if not self._cut.is_set():
            self._stage.send_data("tts_audio_end", said.turn_id, reason=1)
        self._feed.show(is_speaking=False)


def _in_thread(press: Callable[[], str]) -> Button:
    async def button() -> str:
        return await asyncio.to_thread(press)

    return button


def report_to(feed: Feed, report: SentReport) -> None:
    """Give the feed a message of the extension."""
    feed.take_report(report.time_s, report.name, report.payload)


def voice_to(feed: Feed, frame: "AudioFrame") -> None:
    """Give the feed a frame of the voice."""
    turn, _ = frame.get_property_int("metadata.turn_id")
    feed.take_voice(
        time.monotonic(),
        str(turn),
        bytes(frame.get_buf()),
        frame.get_sample_rate(),
    )
