"""The content of pages: the timeline's lines, the session, and sound.

The latest of it is kept for pages that are opened later.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .session import Session
from .utterance import Utterance
from .viewers import Viewer
from .words import Kind

MAX_ENTRIES = 300

Who = Literal["client", "service", "extension"]


@dataclass
class Entry:
    """One line of the timeline."""

    number: int
    time_s: float
    """Seconds of the server's clock."""

    kind: Kind
    who: Who
    title: str
    detail: str = ""
    raw: str = ""
    """The message itself, shown on demand."""

    is_raw: bool = False
    """All of the line is shown on demand only."""

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
        self._now = now
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
                "nowEpochS": self._now(),
                "nowS": self.clock() - self._base_s,
                "session": self.session.as_json(),
                "entries": [
                    self._entry_json(entry, with_peaks=True)
                    for entry in self._entries.values()
                ],
            }
        )
        self._viewers.add(viewer)

    def unsubscribe(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def add(
        self,
        kind: Kind,
        who: Who,
        title: str,
        detail: str = "",
        time_s: float | None = None,
        **more: Any,
    ) -> Entry:
        """Add a line, of now without `time_s`; `more` as Entry has it."""
        self._entry_count += 1
        at_s = self.clock() if time_s is None else time_s
        entry = Entry(self._entry_count, at_s, kind, who, title, detail, **more)
        self._entries[entry.number] = entry
        while len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self.show_entry(entry)
        return entry

    def show_entry(self, entry: Entry) -> None:
        """Show a line that has changed."""
        if self._viewers:
            self.publish({"type": "entry", "entry": self._entry_json(entry)})

    def show_session(self) -> None:
        """Show the session, which has changed."""
        if self._viewers:
            self.publish({"type": "session", "session": self.session.as_json()})

    def silence(self) -> None:
        """Have pages stop playing."""
        self.publish({"type": "silence"})

    def play(self, utterance: Utterance, peaks: bytes, pcm: bytes) -> None:
        """Have pages draw and play an utterance's latest audio."""
        if self._viewers:
            self.publish(
                {
                    "type": "sound",
                    "utterance": utterance.number,
                    "rate": utterance.sample_rate,
                    "peaks": _base64(peaks),
                    "pcm": _base64(pcm),
                }
            )

    def publish(self, message: dict[str, Any]) -> None:
        for viewer in self._viewers:
            viewer.put(message)

    def _entry_json(
        self, entry: Entry, *, with_peaks: bool = False
    ) -> dict[str, Any]:
        values: dict[str, Any] = {
            "number": entry.number,
            "timeS": round(entry.time_s - self._base_s, 3),
            "kind": entry.kind,
            "who": entry.who,
            "title": entry.title,
            "detail": entry.detail,
            "raw": entry.raw,
            "isRaw": entry.is_raw,
        }
        utterance = entry.utterance
        if utterance is not None:
            values["utterance"] = utterance.as_json()
            if with_peaks:
                values["utterance"]["peaks"] = _base64(utterance.peaks)
        return values


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()
