"""The content of pages: the timeline's lines, and the session's figures.

The latest of it is kept for pages that are opened later.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .session import Session
from .utterance import Utterance
from .viewers import Viewer
from .words import Line

MAX_ENTRIES = 300

Who = Literal["client", "service", "extension"]


@dataclass
class Entry:
    """One line of the timeline."""

    number: int
    time_s: float
    """Seconds of the server's clock."""

    who: Who
    line: Line
    utterance: Utterance | None = None


class Board:
    """Lines, session and open pages; not safe from several threads.

    `now` gives epoch seconds, `clock` the seconds of the server's clock.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.session = Session()
        self.clock = clock
        self.now = now
        self._base_s = clock()
        self._viewers: set[Viewer] = set()
        self._entries: dict[int, Entry] = {}
        self._entry_count = 0

    def begin_at(self, base_s: float) -> None:
        """Count from there; earlier lines are put in order."""
        self._base_s = base_s
        entries = sorted(self._entries.values(), key=lambda e: e.time_s)
        self._entries = {entry.number: entry for entry in entries}

    def subscribe(self, viewer: Viewer, about: dict[str, Any]) -> None:
        """Give a page the past, then all that comes; `about` goes along."""
        viewer.put(
            {
                "type": "hello",
                **about,
                "nowEpochS": self.now(),
                "session": self.session.as_json(),
                "entries": [
                    self._as_json(entry, with_peaks=True)
                    for entry in self._entries.values()
                ],
            }
        )
        self._viewers.add(viewer)

    def unsubscribe(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def add(
        self,
        who: Who,
        line: Line,
        time_s: float | None = None,
        utterance: Utterance | None = None,
    ) -> Entry:
        """Add a line, of now without `time_s`."""
        self._entry_count += 1
        at_s = self.clock() if time_s is None else time_s
        entry = Entry(self._entry_count, at_s, who, line, utterance)
        self._entries[entry.number] = entry
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self.show_entry(entry)
        return entry

    def show_entry(self, entry: Entry) -> None:
        """Show a line that has changed."""
        self.publish(lambda: {"type": "entry", "entry": self._as_json(entry)})

    def show_session(self) -> None:
        """Show the session, which has changed."""
        self.publish(
            lambda: {"type": "session", "session": self.session.as_json()}
        )

    def silence(self) -> None:
        """Have pages stop playing."""
        self.publish(lambda: {"type": "silence"})

    def play(self, utterance: Utterance, peaks: bytes, pcm: bytes) -> None:
        """Have pages draw and play an utterance's latest audio."""
        self.publish(
            lambda: {
                "type": "sound",
                "utterance": utterance.number,
                "rate": utterance.sample_rate,
                "peaks": _base64(peaks),
                "pcm": _base64(pcm),
            }
        )

    def publish(self, message: Callable[[], dict[str, Any]]) -> None:
        """Send a message, which is made only if there is a page."""
        if self._viewers:
            made = message()
            for viewer in self._viewers:
                viewer.put(made)

    def _as_json(
        self, entry: Entry, *, with_peaks: bool = False
    ) -> dict[str, Any]:
        values = asdict(entry.line)
        values["isRaw"] = values.pop("is_raw")
        values |= {
            "number": entry.number,
            "timeS": round(entry.time_s - self._base_s, 3),
            "who": entry.who,
        }
        if entry.utterance is not None:
            values["utterance"] = entry.utterance.as_json()
            if with_peaks:
                values["utterance"]["peaks"] = _base64(entry.utterance.peaks)
        return values


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()
