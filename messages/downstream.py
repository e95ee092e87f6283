"""Messages to the RTC extension: the agent's voice, and barge-ins."""

import asyncio
import contextlib
import importlib
import json
from typing import Any, Optional

from ten_runtime import AsyncTenEnv, AudioFrame, Cmd

from ..speech import BYTES_PER_SAMPLE, Turn

NOT_CONNECTED = 7
"""TEN's error code of a message that nothing is connected to."""


def _send_options() -> Any:
    """Return TEN's class of this name; not every runtime exports it at the
    top. None if there is none."""
    for module in ("ten_runtime", "ten_runtime.send_options"):
        with contextlib.suppress(ImportError, AttributeError):
            return importlib.import_module(module).SendOptions
    return None


_SendOptions = _send_options()


class Downstream:
    """Sends `pcm_frame` and `flush` to the nodes that the graph connects."""

    def __init__(self, ten_env: AsyncTenEnv) -> None:
        self._ten_env = ten_env
        self._is_connected = False  # known to be
        self._takes_flush = True  # as far as known
        self._flushes: set[asyncio.Task[None]] = set()
        self._is_flush_due = False

    async def say(
        self, pcm: bytes, sample_rate: int, turn: Optional[Turn]
    ) -> bool:
        """Send one frame; return False if nothing is connected."""
        if self._is_flush_due:
            await asyncio.sleep(0)  # it goes ahead of the next answer
        frame = _frame(pcm, sample_rate, turn)
        if self._is_connected:
            await self._ten_env.send_audio_frame(frame)
            return True
        if _SendOptions is None:
            return False  # it cannot be known, and speech must not vanish
        error = await self._ten_env.send_audio_frame(
            frame, _SendOptions(wait_for_result=True)
        )
        self._is_connected = error is None
        return self._is_connected

    def flush(self) -> None:
        """Pass a `flush` on, ahead of all frames that come later; its
        answer is not waited for.

        No more once TEN has answered that nothing is connected: it logs a
        warning each time.
        """
        if self._takes_flush:
            self._is_flush_due = True
            task = asyncio.ensure_future(self._flush())
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _flush(self) -> None:
        self._is_flush_due = False  # sent before the next turn of the loop
        # If it fails, the flush that came in is answered with OK all the same.
        with contextlib.suppress(Exception):
            _, error = await self._ten_env.send_cmd(Cmd.create("flush"))
            if error is not None and error.error_code() == NOT_CONNECTED:
                self._takes_flush = False

    def close(self) -> None:
        """Pass no flush on, and wait for no answer any more."""
        self._takes_flush = self._is_flush_due = False
        for flush in self._flushes:
            flush.cancel()


def _frame(pcm: bytes, sample_rate: int, turn: Optional[Turn]) -> AudioFrame:
    """Return a pcm_frame of signed 16-bit mono audio."""
    frame = AudioFrame.create("pcm_frame")
    frame.set_sample_rate(sample_rate)
    frame.set_bytes_per_sample(BYTES_PER_SAMPLE)
    frame.set_number_of_channels(1)
    frame.set_samples_per_channel(len(pcm) // BYTES_PER_SAMPLE)
    frame.alloc_buf(len(pcm))
    buffer = frame.lock_buf()
    buffer[:] = pcm
    frame.unlock_buf(buffer)
    if turn is not None:
        metadata = {"turn_id": turn.id}
        if turn.session is not None:
            metadata["session_id"] = turn.session
        frame.set_property_from_json("metadata", json.dumps(metadata))
    return frame
