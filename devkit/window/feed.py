"""Turns what a server records and an extension reports into what pages show.

Safe from any thread.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from ..motion_server import Connection, Event, Record, Request
from . import words
from .board import Board
from .session import Session
from .speech import SpeechOnBoard
from .viewers import Viewer


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
        self._lock = threading.RLock()
        self._board = Board(clock, now)
        self._speech = SpeechOnBoard(self._board)
        self._session = self._board.session
        self._has_reports = False
        self._record: Record | None = None
        self._refusal = ""
        # Milliseconds lost of each turn, by who told of it.
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

    # What buttons do and ask.

    @property
    def session(self) -> Session:
        """What the page shows of the session."""
        return self._session

    @property
    def is_heard(self) -> bool:
        """Whether an answer has begun to be heard, and has not ended."""
        return self._session.is_heard

    @property
    def has_failed(self) -> bool:
        """Whether the extension has reported a fatal failure."""
        return self._has_reports and self._session.state == "failed"

    def show(self, **values: Any) -> None:
        """Change what the page shows; the names are those of `Session`."""
        with self._lock:
            for name, value in values.items():
                setattr(self._session, name, value)
            self._board.show_session()

    def plan_refusal(self, detail: str) -> None:
        """Note that the next upgrade will be refused, with this detail."""
        with self._lock:
            self._refusal = detail
            self._session.refusals_planned += 1
            self._board.show_session()

    def start_over(self) -> None:
        """Note that another extension takes the former one's place."""
        with self._lock:
            self._ended_s = None
            self._was_lost = False
            self._session.failure = ""
            self._board.add("note", "extension", "The extension starts again")

    # What the extension on the stage sends.

    def take_report(
        self, time_s: float, name: str, payload: dict[str, Any]
    ) -> None:
        """Take a data message."""
        said = words.report(name, payload)
        with self._lock:
            self._has_reports = True
            self._board.add(
                said.kind,
                "extension",
                said.title,
                said.detail,
                time_s,
                raw=said.raw,
                is_raw=said.is_raw,
            )
            if name == "avatar_state":
                self._session.state = str(payload.get("state", ""))
                if self._session.state == "ready":
                    self._session.problem = ""
            elif name == "error":
                self._session.problem = str(payload.get("message", ""))
                if payload.get("code", 0) < 0:
                    self._session.failure = self._session.problem
            elif name == "avatar_audio_start":
                self._session.is_heard = True
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
            if not self._session.is_heard:
                self._session.is_heard = True
                self._board.show_session()

    def _end_answer(self, time_s: float, payload: dict[str, Any]) -> None:
        speech = self._session.speech
        heard_ms = payload.get("playback_position_ms", 0)
        total_ms = payload.get("request_total_audio_duration_ms", 0)
        speech["heardMs"] += heard_ms
        if payload.get("reason") == 2:
            speech["cutMs"] += total_ms - heard_ms
        elif payload.get("reason") == 3:
            self._lose(payload, "end", total_ms - heard_ms)
        self._session.is_heard = False
        self._speech.answer_ended()
        if self._speech.is_voice:
            is_cut = payload.get("reason") != 1
            outcome = "interrupted" if is_cut else "ended"
            self._speech.end_voice(outcome, time_s)
            if is_cut:
                self._board.silence()

    def _count(self, payload: dict[str, Any]) -> None:
        metrics = payload.get("metrics", {})
        self._session.speech["resumedMs"] += metrics.get("resent_ms", 0)
        self._lose(payload, "metrics", metrics.get("lost_ms", 0))

    def _lose(
        self, payload: dict[str, Any], source: str, lost_ms: float
    ) -> None:
        """Count what was lost of a turn; metrics and the end of its audio may
        both tell of it."""
        turn = payload.get("metadata", {}).get("turn_id")
        told = self._lost.setdefault(turn, {"metrics": 0, "end": 0})
        self._session.speech["lostMs"] -= max(told.values())
        told[source] += lost_ms
        self._session.speech["lostMs"] += max(told.values())

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
            self._speech.take(connection, request, audio)

    def _on_paused(self, event: Event, _: Connection | None) -> None:
        self._board.add(
            "fault", "service", "The port is closed", time_s=event.time_s
        )

    def _on_token(self, event: Event, _: Connection | None) -> None:
        if words.refused_token(event):
            self._board.add(
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
        self._board.add(
            "loss", "service", "Connection refused", event.detail, event.time_s
        )
        self._board.show_session()

    def _on_opened(self, event: Event, connection: Connection | None) -> None:
        assert connection is not None and self._record is not None
        session = self._session
        session.counts["connections"] += 1
        session.connection = connection.number
        session.connection_id = ""
        session.is_open = True
        session.is_live = session.is_stalled = False
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
        self._board.show_session()

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
        self._board.show_session()

    def _on_rejected(self, event: Event, connection: Connection | None) -> None:
        self._board.add(
            "fatal", "service", "Session refused", event.detail, event.time_s
        )

    def _on_confirmed(
        self, event: Event, connection: Connection | None
    ) -> None:
        assert connection is not None and connection.config is not None
        number = connection.number
        title = f"Connection {number} is live"
        if self._ended_s is not None:
            after = f"{event.time_s - self._ended_s:.2f} s after the last one"
            verb = "recovered" if self._was_lost else "renewed"
            title = f"Connection {number}: {verb}, {after}"
        self._board.add(
            "session" if self._ended_s is None else "good",
            "service",
            title,
            words.publishing(connection.config),
            event.time_s,
        )
        self._was_lost = False
        self._session.connection_id = connection.connection_id
        self._session.is_live = True
        if not self._has_reports:
            self._session.state = "ready"
        self._board.show_session()

    def _on_end(self, event: Event, _: Connection | None) -> None:
        self._speech.finish(
            event.connection or 0, event.req_id, "ended", event.time_s
        )

    def _on_interrupt(self, event: Event, _: Connection | None) -> None:
        utterance = self._speech.finish(
            event.connection or 0, event.req_id, "interrupted", event.time_s
        )
        self._session.counts["interrupts"] += 1
        detail = event.req_id
        if utterance is not None:
            detail = f"utterance {utterance.number} stops"
        self._board.add(
            "interrupt", "client", "Interrupt", detail, event.time_s
        )
        self._board.silence()
        self._board.show_session()

    def _on_fault(self, event: Event, _: Connection | None) -> None:
        title, detail = words.fault(event.detail)
        self._board.add("fault", "service", title, detail, event.time_s)
        # Not from the connection: it has not been stalled yet.
        name = words.fault_name(event.detail)
        if event.connection == self._session.connection:
            if name in ("Stall", "Silence"):
                self._session.is_stalled = True
            elif name in ("Resume", "Reset", "Close"):
                self._session.is_stalled = False
        self._board.show_session()

    def _on_closed(self, event: Event, connection: Connection | None) -> None:
        assert connection is not None
        session = self._session
        closing = words.closing(connection)
        lost = words.was_lost(connection)
        self._board.add(
            "loss" if lost else "session",
            "client" if connection.closed_by == "client" else "service",
            f"Connection {connection.number} "
            + ("is lost" if lost else "is closed"),
            closing,
            event.time_s,
        )
        self._speech.end_connection(connection.number, event.time_s)
        if connection.number == session.connection:
            session.is_open = session.is_live = session.is_stalled = False
            session.last_close = f"{connection.number}: {closing}"
            self._ended_s = event.time_s
            self._was_lost = lost
            if not self._has_reports:
                session.state = "closed"
            if not self._speech.is_voice:
                self._board.silence()
        self._board.show_session()

    def _on_violation(self, event: Event, _: Connection | None) -> None:
        self._session.counts["violations"] += 1
        self._board.add(
            "broken",
            "client",
            "A rule of the protocol is broken",
            event.detail,
            event.time_s,
        )
        self._board.show_session()

    def _on_note(self, event: Event, _: Connection | None) -> None:
        self._board.add("note", "client", "Unusual", event.detail, event.time_s)
