"""Turns what the server records into what a page shows.

Entries of the timeline, the state of the session, and the sound of each
utterance; the latest of them are kept for pages that are opened later. Safe
from any thread.
"""

import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..motion_server import (
    Connection,
    Event,
    Record,
    Request,
)
from . import words
from .utterance import Outcome, Utterance
from .viewers import Sound, Viewer
from .words import Kind

MAX_ENTRIES = 300


@dataclass
class Entry:
    """One line of the timeline."""

    number: int
    time_s: float
    """Seconds of the server's clock."""

    kind: Kind
    who: Literal["client", "service", "extension"]
    title: str
    detail: str = ""
    utterance: Utterance | None = None


@dataclass
class Session:
    """What the page shows of the session; no secret is in it."""

    state: str = "waiting"
    """Of the avatar, as the extension reports it; without one on the stage,
    what its connection tells."""

    connection: int = 0
    connection_id: str = ""
    is_open: bool = False
    is_stalled: bool = False
    refusals_planned: int = 0
    app_id: str = ""
    avatar_id: str = ""
    channel: str = ""
    uid: int | None = None
    sample_rate: int | None = None
    audio_format: str = ""
    session_token: int = 0
    """Number of the session token that opened the connection."""

    session_token_end: float | None = None
    """Epoch seconds, as `agora_token_end`."""

    agora_token_end: float | None = None
    last_close: str = ""
    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "connections",
                "utterances",
                "interrupts",
                "gaps",
                "violations",
                "audioMs",
            ),
            0,
        )
    )

    def as_json(self) -> dict[str, Any]:
        """The session as JSON values, named as JavaScript has it."""
        return {_camel(name): value for name, value in vars(self).items()}


class Feed:
    """The past that pages are given, and what is new to all of them.

    `now` gives epoch seconds, `clock` the seconds of the server's clock.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = threading.RLock()
        self._viewers: set[Viewer] = set()
        self._entries: dict[int, Entry] = {}
        self._entry_count = 0
        # Connection number and request id -> its entry.
        self._speech: dict[tuple[int, str], Entry] = {}
        self._session = Session()
        self._has_reports = False
        self._record: Record | None = None
        self._refusal = ""
        # When the latest connection ended, and whether it was lost.
        self._lost_s: float | None = None
        self._ended_s: float | None = None
        self._base_s = clock()

    def attach(self, record: Record) -> None:
        """Follow a server's record, its past included."""
        self._record = record
        self._base_s = record.started_s
        record.on_event(self._take_event, past=True)
        record.on_audio(self._take_audio)
        with self._lock:
            # Reports may have come before the record was followed.
            entries = sorted(self._entries.values(), key=lambda e: e.time_s)
            self._entries = {entry.number: entry for entry in entries}

    # Pages.

    def subscribe(self, viewer: Viewer, about: dict[str, Any]) -> None:
        """Give a page the past, then all that comes; `about` goes along."""
        with self._lock:
            viewer.put(
                {
                    "type": "hello",
                    **about,
                    "nowEpochS": self._now(),
                    "nowS": self._clock() - self._base_s,
                    "session": self._session.as_json(),
                    "entries": [
                        self._entry_json(entry, with_peaks=True)
                        for entry in self._entries.values()
                    ],
                }
            )
            self._viewers.add(viewer)

    def unsubscribe(self, viewer: Viewer) -> None:
        """Forget a page."""
        with self._lock:
            self._viewers.discard(viewer)

    # What is reported.

    @property
    def state(self) -> str:
        """The session's state, see `Session`."""
        return self._session.state

    def take_report(
        self, time_s: float, name: str, payload: dict[str, Any]
    ) -> None:
        """Take a message that the extension on the stage sent."""
        kind, title, detail = words.report(name, payload)
        with self._lock:
            self._has_reports = True
            self._add(kind, "extension", title, detail, time_s)
            if name == "avatar_state":
                self._session.state = str(payload.get("state", ""))
                self._tell_session()

    def plan_refusal(self, detail: str) -> None:
        """Note that the next upgrade will be refused, with this detail."""
        with self._lock:
            self._refusal = detail
            self._session.refusals_planned += 1
            self._tell_session()

    def start_over(self) -> None:
        """Note that another extension takes the former one's place."""
        with self._lock:
            self._ended_s = self._lost_s = None
            self._add(
                "note",
                "extension",
                "The extension is started again",
                "",
                self._clock(),
            )

    # The record's listeners. The record's lock is held here, and never
    # asked for while only the feed's is.

    def _take_event(self, event: Event) -> None:
        take = getattr(self, f"_on_{event.kind}", None)
        if take is None:
            return
        connection = None
        if event.connection is not None and self._record is not None:
            connection = self._record.connection(event.connection)
        with self._lock:
            take(event, connection)

    def _take_audio(
        self, connection: Connection, request: Request, audio: bytes
    ) -> None:
        with self._lock:
            entry = self._speech.get((connection.number, request.req_id))
            if entry is None:
                entry = self._open_speech(connection, request)
            utterance = entry.utterance
            assert utterance is not None
            heard = utterance.hear(audio, request.last_audio_s)
            self._session.counts["audioMs"] += (
                len(heard.pcm) * 500 / utterance.sample_rate
            )
            if heard.gap is not None:
                self._session.counts["gaps"] += 1
                self._add(
                    "gap",
                    "client",
                    f"Gap of {heard.gap.length_s:.2f} s",
                    f"in utterance {utterance.number}: its audio came slower "
                    "than real time",
                    request.last_audio_s,
                )
                self._tell_entry(entry)
                self._tell_session()
            if heard.pcm:
                self._publish(
                    Sound(
                        utterance.number,
                        utterance.sample_rate,
                        heard.peaks,
                        heard.pcm,
                    )
                )

    def _open_speech(self, connection: Connection, request: Request) -> Entry:
        counts = self._session.counts
        counts["utterances"] += 1
        config = connection.config
        assert config is not None
        utterance = Utterance(
            int(counts["utterances"]),
            connection.number,
            request.req_id,
            request.opened_s,
            config.sample_rate,
            config.audio_format == "pcm_s16le",
        )
        entry = self._add(
            "speech",
            "client",
            f"Utterance {utterance.number}",
            request.req_id,
            request.opened_s,
            utterance,
        )
        self._speech[(connection.number, request.req_id)] = entry
        self._tell_session()
        return entry

    def _on_listening(self, event: Event, _: Connection | None) -> None:
        self._add("session", "service", "The service listens", "", event.time_s)

    def _on_paused(self, event: Event, _: Connection | None) -> None:
        self._add("fault", "service", "The port is closed", "", event.time_s)

    def _on_token(self, event: Event, _: Connection | None) -> None:
        if words.refused_token(event):
            self._add(
                "loss",
                "service",
                "Session token refused",
                event.detail,
                event.time_s,
            )

    def _on_upgrade(self, event: Event, _: Connection | None) -> None:
        session = self._session
        if self._refusal and event.detail.endswith(self._refusal):
            session.refusals_planned = max(0, session.refusals_planned - 1)
        self._add(
            "loss", "service", "Connection refused", event.detail, event.time_s
        )
        self._tell_session()

    def _on_opened(self, event: Event, connection: Connection | None) -> None:
        assert connection is not None and self._record is not None
        session = self._session
        session.counts["connections"] += 1
        session.connection = connection.number
        session.connection_id = ""
        session.is_open = True
        session.is_stalled = False
        session.app_id = connection.app_id
        session.avatar_id = connection.avatar_id
        session.session_token = connection.session_token
        session.session_token_end = next(
            (
                request.expire_at
                for request in reversed(self._record.token_requests)
                if request.session_token == connection.session_token
            ),
            None,
        )
        if not self._has_reports:
            session.state = "connecting"
        self._tell_session()

    def _on_configured(
        self, event: Event, connection: Connection | None
    ) -> None:
        assert connection is not None and connection.config is not None
        config = connection.config
        session = self._session
        session.channel = config.channel
        session.uid = config.uid
        session.sample_rate = config.sample_rate
        session.audio_format = config.audio_format
        session.agora_token_end = config.agora_token_end_s
        self._tell_session()

    def _on_rejected(self, event: Event, connection: Connection | None) -> None:
        self._add(
            "fatal", "service", "Session refused", event.detail, event.time_s
        )

    def _on_confirmed(
        self, event: Event, connection: Connection | None
    ) -> None:
        assert connection is not None and connection.config is not None
        number = connection.number
        title = f"Connection {number} is live"
        kind: Kind = "session"
        if self._ended_s is not None:
            after = f"{event.time_s - self._ended_s:.2f} s after the last one"
            verb = "renewed" if self._lost_s is None else "recovered"
            title = f"Connection {number}: {verb}, {after}"
            kind = "good"
        config = connection.config
        self._add(
            kind,
            "service",
            title,
            f"channel {config.channel}, uid {config.uid}, "
            f"{config.sample_rate / 1000:g} kHz {config.audio_format}",
            event.time_s,
        )
        self._lost_s = None
        self._session.connection_id = connection.connection_id
        if not self._has_reports:
            self._session.state = "ready"
        self._tell_session()

    def _on_end(self, event: Event, _: Connection | None) -> None:
        self._finish(event, "ended")

    def _on_interrupt(self, event: Event, _: Connection | None) -> None:
        entry = self._finish(event, "interrupted")
        self._session.counts["interrupts"] += 1
        detail = event.req_id
        if entry is not None and entry.utterance is not None:
            detail = f"utterance {entry.utterance.number} falls silent"
        self._add("interrupt", "client", "Interrupt", detail, event.time_s)
        self._publish({"type": "silence"})
        self._tell_session()

    def _on_fault(self, event: Event, _: Connection | None) -> None:
        title, detail = words.fault(event.detail)
        self._add("fault", "service", title, detail, event.time_s)
        # Not from the connection: it has not been stalled yet.
        name = words.fault_name(event.detail)
        if event.connection == self._session.connection:
            if name in ("Stall", "Silence"):
                self._session.is_stalled = True
            elif name in ("Resume", "Reset", "Close"):
                self._session.is_stalled = False
        self._tell_session()

    def _on_closed(self, event: Event, connection: Connection | None) -> None:
        assert connection is not None
        session = self._session
        closing = words.closing(connection)
        lost = words.was_lost(connection)
        self._add(
            "loss" if lost else "session",
            "client" if connection.closed_by == "client" else "service",
            f"Connection {connection.number} "
            + ("is lost" if lost else "is closed"),
            closing,
            event.time_s,
        )
        for (number, _), entry in list(self._speech.items()):
            if number == connection.number:
                self._lose(entry, event.time_s)
                del self._speech[(number, entry.detail)]
        if connection.number == session.connection:
            session.is_open = session.is_stalled = False
            session.last_close = f"{connection.number}: {closing}"
            self._ended_s = event.time_s
            self._lost_s = event.time_s if lost else None
            if not self._has_reports:
                session.state = "closed"
            self._publish({"type": "silence"})
        self._tell_session()

    def _on_violation(self, event: Event, _: Connection | None) -> None:
        self._session.counts["violations"] += 1
        self._add(
            "broken",
            "client",
            "A rule of the protocol is broken",
            event.detail,
            event.time_s,
        )
        self._tell_session()

    def _on_note(self, event: Event, _: Connection | None) -> None:
        self._add("note", "client", "Unusual", event.detail, event.time_s)

    # Inside.

    def _finish(self, event: Event, outcome: Outcome) -> Entry | None:
        entry = self._speech.get((event.connection or 0, event.req_id))
        if entry is None or entry.utterance is None:
            return None
        entry.utterance.finish(outcome, event.time_s)
        self._tell_entry(entry)
        return entry

    def _lose(self, entry: Entry, now_s: float) -> None:
        """An open utterance ends with its connection."""
        assert entry.utterance is not None
        if entry.utterance.outcome == "open":
            entry.utterance.finish("lost", now_s)
            self._tell_entry(entry)

    def _add(
        self,
        kind: Kind,
        who: Literal["client", "service", "extension"],
        title: str,
        detail: str,
        time_s: float,
        utterance: Utterance | None = None,
    ) -> Entry:
        self._entry_count += 1
        entry = Entry(
            self._entry_count, time_s, kind, who, title, detail, utterance
        )
        self._entries[entry.number] = entry
        while len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._tell_entry(entry)
        return entry

    def _tell_entry(self, entry: Entry) -> None:
        if self._viewers:
            self._publish({"type": "entry", "entry": self._entry_json(entry)})

    def _tell_session(self) -> None:
        if self._viewers:
            self._publish(
                {"type": "session", "session": self._session.as_json()}
            )

    def _publish(self, message: dict[str, Any] | Sound) -> None:
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
        }
        utterance = entry.utterance
        if utterance is not None:
            values["utterance"] = utterance.as_json()
            if with_peaks:
                values["utterance"]["peaks"] = base64.b64encode(
                    utterance.peaks
                ).decode()
        return values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
