"""Turns a server's record and an extension's reports into the content of pages.

Safe from any thread.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from ..motion_server import Connection, Event, Record, Request
from . import words
from .board import Board, Who
from .speech import SpeechOnBoard
from .utterance import Utterance
from .viewers import Viewer
from .words import Kind, Line

REFUSAL = "refused from the window"
"""The detail of upgrades that a button has the service refuse."""

_LINES: dict[str, tuple[Kind, Who, str]] = {
    "paused": ("fault", "service", "The port is closed"),
    "upgrade": ("loss", "service", "Connection refused"),
    "rejected": ("fatal", "service", "Session refused"),
    "violation": ("broken", "client", "A rule of the protocol is broken"),
    "note": ("note", "client", "Unusual"),
    "vanished": ("fault", "service", "The service's host is gone"),
}
"""Events that are a line with their own detail."""


class Feed:
    """The past that pages are given, and the news for all of them.

    `now` gives epoch seconds, `clock` the seconds of the server's clock.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lock = threading.RLock()
        self._board = Board(clock, now)
        self._speech = SpeechOnBoard(self._board)
        self.session = self._board.session
        """The session's figures on the page."""

        self._has_reports = False
        self._record: Record | None = None
        # Milliseconds lost of each turn, by the message that reports it.
        self._lost: dict[Any, dict[str, float]] = {}
        # When the latest connection ended, and whether it was lost.
        self._ended_s: float | None = None
        self._was_lost = False

    def attach(self, record: Record) -> None:
        """Follow a server's record, its past included."""
        self._record = record
        with self._lock:
            self._board.begin_at(record.started_s)
        record.on_event(self._take_event, past=True)
        record.on_audio(self._take_audio)
        with self._lock:
            # Reports may have come before the record was followed.
            self._board.begin_at(record.started_s)

    def subscribe(self, viewer: Viewer, about: dict[str, Any]) -> None:
        """Give a page the past, then all that comes; `about` goes along."""
        with self._lock:
            self._board.subscribe(viewer, about)

    def unsubscribe(self, viewer: Viewer) -> None:
        """Forget a page."""
        with self._lock:
            self._board.unsubscribe(viewer)

    # Called by buttons.

    def show(self, **values: Any) -> None:
        """Change the session's figures; the names are those of `Session`."""
        with self._lock:
            for name, value in values.items():
                setattr(self.session, name, value)
            self._board.show_session()

    def start_over(self) -> None:
        """Note that another extension takes the former one's place."""
        with self._lock:
            self._ended_s = None
            self._was_lost = False
            self.session.failure = ""
            line = Line("note", "The extension starts again")
            self._board.add("extension", line)

    # Messages of the extension on the stage.

    def take_report(
        self, time_s: float, name: str, payload: dict[str, Any]
    ) -> None:
        """Take a data message."""
        with self._lock:
            self._has_reports = True
            line = words.report(name, payload)
            self._board.add("extension", line, time_s)
            if name == "avatar_state":
                self.session.state = str(payload.get("state", ""))
                if self.session.state == "ready":
                    self.session.problem = ""
            elif name == "error":
                self.session.problem = str(payload.get("message", ""))
                if payload.get("code", 0) < 0:
                    self.session.failure = self.session.problem
            elif name == "avatar_audio_start":
                self.session.is_heard = True
            elif name == "avatar_audio_end":
                self._end_answer(time_s, payload)
            elif name == "metrics":
                self._count(payload)
            self._board.show_session()

    def take_voice(
        self, time_s: float, turn: str, audio: bytes, sample_rate: int
    ) -> None:
        """Take an audio frame; `sample_rate` in Hz."""
        with self._lock:
            self._speech.take_voice(turn, audio, sample_rate, time_s)
            if not self.session.is_heard:
                self.session.is_heard = True
                self._board.show_session()

    def _end_answer(self, time_s: float, payload: dict[str, Any]) -> None:
        speech = self.session.speech
        heard_ms = payload.get("playback_position_ms", 0)
        total_ms = payload.get("request_total_audio_duration_ms", 0)
        speech["heardMs"] += heard_ms
        if payload.get("reason") == 2:
            speech["cutMs"] += total_ms - heard_ms
        elif payload.get("reason") == 3:
            self._lose(payload, "end", total_ms - heard_ms)
        self.session.is_heard = False
        self._speech.cut_off = None
        if self._speech.is_voice:
            is_cut = payload.get("reason") != 1
            self._speech.end_voice("interrupted" if is_cut else "ended", time_s)
            if is_cut:
                self._board.silence()

    def _count(self, payload: dict[str, Any]) -> None:
        metrics = payload.get("metrics", {})
        self.session.speech["resumedMs"] += metrics.get("resent_ms", 0)
        self._lose(payload, "metrics", metrics.get("lost_ms", 0))

    def _lose(
        self, payload: dict[str, Any], source: str, lost_ms: float
    ) -> None:
        """Count speech that was lost of a turn; `metrics` and the end of its
        audio may both report it."""
        turn = payload.get("metadata", {}).get("turn_id")
        reported = self._lost.setdefault(turn, {"metrics": 0, "end": 0})
        self.session.speech["lostMs"] -= max(reported.values())
        reported[source] += lost_ms
        self.session.speech["lostMs"] += max(reported.values())

    # The record's listeners. The record's lock is held here, and never
    # asked for while only the feed's is.

    def _take_event(self, event: Event) -> None:
        take = getattr(self, f"_on_{event.kind}", None)
        connection = None
        if event.connection is not None and self._record is not None:
            connection = self._record.connection(event.connection)
        with self._lock:
            if event.kind in _LINES:
                self._say(event, *_LINES[event.kind], event.detail)
            if take is not None:
                take(event, connection)
            if event.kind != "audio":
                self._board.show_session()

    def _say(
        self, event: Event, kind: Kind, who: Who, title: str, detail: str = ""
    ) -> None:
        self._board.add(who, Line(kind, title, detail), event.time_s)

    def _take_audio(
        self, connection: Connection, request: Request, audio: bytes
    ) -> None:
        with self._lock:
            self._speech.take(connection, request, audio)

    def _on_token(self, event: Event, _: Connection | None) -> None:
        if words.refused_token(event):
            title = "Session token refused"
            self._say(event, "loss", "service", title, event.detail)

    def _on_upgrade(self, event: Event, _: Connection | None) -> None:
        if event.detail.endswith(REFUSAL):
            planned = self.session.refusals_planned - 1
            self.session.refusals_planned = max(0, planned)

    def _on_opened(self, _: Event, connection: Connection) -> None:
        assert self._record is not None
        session = self.session
        session.latest = connection
        session.is_stalled = False
        session.session_token_end = next(
            (
                request.expire_at
                for request in reversed(self._record.token_requests)
                if request.session_token == connection.session_token
            ),
            None,
        )
        self._infer("connecting")

    def _on_confirmed(self, event: Event, connection: Connection) -> None:
        assert connection.config is not None
        title = f"Connection {connection.number} is live"
        if self._ended_s is not None:
            after = f"{event.time_s - self._ended_s:.2f} s after the last one"
            verb = "recovered" if self._was_lost else "renewed"
            title = f"Connection {connection.number}: {verb}, {after}"
        kind: Kind = "session" if self._ended_s is None else "good"
        detail = words.publishing(connection.config)
        self._say(event, kind, "service", title, detail)
        self._was_lost = False
        ago_s = self._board.clock() - event.time_s
        self.session.live_since = self._board.now() - ago_s
        self._infer("ready")

    def _on_end(self, event: Event, _: Connection | None) -> None:
        self._speech.finish(event.connection or 0, event.req_id, "ended")

    def _on_interrupt(self, event: Event, _: Connection | None) -> None:
        self.session.counts["interrupts"] += 1
        utterance = self._interrupt(event)
        stops = utterance and f"utterance {utterance.number} stops"
        self._say(
            event, "interrupt", "client", "Interrupt", stops or event.req_id
        )

    def _on_cut(self, event: Event, _: Connection | None) -> None:
        self._interrupt(event)
        title = "The service cuts the request"
        self._say(event, "interrupt", "service", title, event.detail)

    def _interrupt(self, event: Event) -> Utterance | None:
        self._board.silence()
        return self._speech.finish(
            event.connection or 0, event.req_id, "interrupted"
        )

    def _on_fault(self, event: Event, connection: Connection | None) -> None:
        title, detail = words.fault(event.detail)
        self._say(event, "fault", "service", title, detail)
        # Not from the connection: it has not been stalled yet.
        name = words.fault_name(event.detail)
        if connection is not None and connection is self.session.latest:
            if name in ("Stall", "Silence", "BlackHole"):
                self.session.is_stalled = True
            elif name in ("Resume", "Reset", "Close"):
                self.session.is_stalled = False

    def _on_closed(self, event: Event, connection: Connection) -> None:
        session = self.session
        closing = words.closing(connection)
        lost = words.was_lost(connection)
        self._say(
            event,
            "loss" if lost else "session",
            "client" if connection.closed_by == "client" else "service",
            f"Connection {connection.number} is {'lost' if lost else 'closed'}",
            closing,
        )
        session.ended_credits += connection.credits(event.time_s)
        self._speech.end_connection(connection.number, event.time_s)
        if connection is session.latest:
            session.is_stalled = False
            session.live_since = None
            session.last_close = f"{connection.number}: {closing}"
            self._ended_s = event.time_s
            self._was_lost = lost
            self._infer("closed")
            if not self._speech.is_voice:
                self._board.silence()

    def _on_violation(self, _: Event, __: Connection | None) -> None:
        self.session.counts["violations"] += 1

    def _infer(self, state: str) -> None:
        """Without an extension on the stage the connection tells the state."""
        if not self._has_reports:
            self.session.state = state
