"""The buttons of an extension on the stage: it speaks, and is cut short."""

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures

from ..harness.stage import Said, SentReport, Stage
from .button import Button, Refused
from .feed import Feed

STALE_FRAMES = 20
"""Frames of a cut answer that the TTS still sends after the flush."""


class Performer:
    """The agent of the extension on a stage. Its methods block; any thread.

    `pcm` is what it says: 16-bit mono at 24 kHz.
    """

    def __init__(self, stage: Stage, pcm: bytes, feed: Feed) -> None:
        self._stage = stage
        self._pcm = pcm
        self._feed = feed
        self._lock = threading.Lock()
        self._speaking: threading.Thread | None = None
        self._cut = threading.Event()
        self._said: Said | None = None

    def buttons(self) -> dict[str, Button]:
        """What a page may press, by name."""
        return {
            press.__name__: _in_thread(press)
            for press in (self.speak, self.barge_in, self.start_again)
        }

    def speak(self) -> str:
        """Begin to say the sentence, as a TTS does."""
        with self._lock:
            if self._feed.state == "failed":
                raise Refused(
                    "The extension has failed for good: start it again."
                )
            if self._is_speaking():
                raise Refused(
                    "The agent is speaking already: barge in to cut it."
                )
            self._cut.clear()
            self._speaking = threading.Thread(
                target=self._speak, name="agent", daemon=True
            )
            self._speaking.start()
        return f"The agent speaks for {len(self._pcm) / 48000:.1f} s."

    def barge_in(self) -> str:
        """Flush, as the agent does when the user begins to speak."""
        with self._lock:
            was_speaking = self._is_speaking()
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
        if was_speaking:
            return f"Cut the answer short; {answered}"
        return f"The agent was not speaking; {answered}"

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

    def _speak(self) -> None:
        self._said = None
        said = self._stage.speak(self._pcm, end=False, is_over=self._cut.is_set)
        self._said = said
        if not self._cut.is_set():
            self._stage.send_data("tts_audio_end", said.turn_id, reason=1)


def _in_thread(press: Callable[[], str]) -> Button:
    async def button() -> str:
        return await asyncio.to_thread(press)

    return button


def report_to(feed: Feed, report: SentReport) -> None:
    """Give the feed what the extension sent."""
    feed.take_report(report.time_s, report.name, report.payload)
