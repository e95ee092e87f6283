"""Inbound audio to WAV files, written by a thread of its own."""

import os
import queue
import re
import threading
import wave
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Optional

ROLL_OVER_BYTES = 2**30
"""A WAV ends at 4 GiB, and some readers at 2: a new file begins here."""

MAX_WAITING_BYTES = 10 * 2**20
"""How much may wait for a slow disk before some is left out."""

_GATHER_S = 0.1  # frames are written in batches: few switches of threads

_END = object()


class Dump:
    """Writes audio to `<name>_in_<UTC time>.wav` in `folder`.

    The header is brought up to date with every batch, so that the file can be
    read after a crash as far as it got. `on_problem` is called once, from any
    thread, with a sentence; no more audio is written after it.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        sample_rate: int,
        on_problem: Callable[[str], None],
    ) -> None:
        self._folder = folder or "."
        self._name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        self.sample_rate = sample_rate
        self._on_problem = on_problem
        self._frames: "queue.SimpleQueue[object]" = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # of the line above
        self._on_closed: Optional[Callable[[], None]] = None
        self._ended = threading.Event()  # by `close`, or by a problem
        self._thread = threading.Thread(
            target=self._run, name=f"{self._name}-dump", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:  # the process may have no more of them
            self._fail(error)

    def write(self, pcm: bytes) -> None:
        """Have `pcm` written soon; never waits.

        If the disk is too slow it is left out: speech must not wait.
        """
        if self._ended.is_set() or self._waiting_bytes > MAX_WAITING_BYTES:
            return
        with self._lock:
            self._waiting_bytes += len(pcm)
        self._frames.put(pcm)

    def close(self, on_closed: Optional[Callable[[], None]] = None) -> None:
        """Have the rest written and the file closed; never waits.

        `on_closed` is called, from the writing thread, when that is done.
        """
        self._on_closed = on_closed
        self._ended.set()
        self._frames.put(_END)
        if self._thread.ident is None and on_closed is not None:
            on_closed()

    def join(self, timeout_s: Optional[float] = None) -> None:
        """Wait until the file is closed. Blocks."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._write_file():
                pass
        except (OSError, ValueError, wave.Error) as error:
            self._fail(error)
            while self._frames.get() is not _END:
                pass
        if self._on_closed is not None:
            self._on_closed()

    def _fail(self, error: Exception) -> None:
        self._ended.set()
        self._on_problem(
            f"the dump cannot be written to {self._folder!r}: "
            f"{getattr(error, 'strerror', None) or error}; speech "
            "continues without it: check dump_path and the disk"
        )

    def _write_file(self) -> bool:
        """Write one file and return whether another is to follow."""
        os.makedirs(self._folder, exist_ok=True)
        started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        path = os.path.join(self._folder, f"{self._name}_in_{started}.wav")
        with open(path, "xb") as file, wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(self.sample_rate)
            wav.writeframes(b"")  # a header, also if nothing is ever said
            file.flush()
            written = 0
            while written < ROLL_OVER_BYTES:
                batch, is_last = self._batch()
                if batch:
                    wav.writeframes(batch)
                    file.flush()
                    written += len(batch)
                if is_last:
                    return False
        return True

    def _batch(self) -> tuple[bytes, bool]:
        """Wait for audio; return the audio gathered, and whether it is the
        last."""
        item = self._frames.get()
        self._ended.wait(_GATHER_S)
        parts: list[bytes] = []
        while item is not _END:
            assert isinstance(item, bytes)
            parts.append(item)
            if self._frames.empty():
                break
            item = self._frames.get()
        batch = b"".join(parts)
        with self._lock:
            self._waiting_bytes -= len(batch)
        return batch, item is _END
