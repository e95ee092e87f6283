"""The events of a Motion Server, with their times.

The server's loop writes, tests and printers read, all of them under the
timeline's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from .model import (
    AudioNotKept,
    Connection,
    Event,
    EventKind,
    Interrupt,
    Message,
    Request,
    SessionConfig,
    TokenRequest,
    Upgrade,
)
from .rules import judge_audio, judge_interrupt, judge_size
from .timeline import Timeline
from .views import connection_json, pcm_rate, write_wav


class Record(Timeline):
    """Everything that happened on a server.

    `clock` gives seconds; `keep_audio=False` is for long runs: audio is
    counted and digested, but neither kept nor put into the timeline. Readers
    may be on any thread.
    """

    def __init__(
        self, clock: Callable[[], float], *, keep_audio: bool = True
    ) -> None:
        super().__init__(clock())
        self.keep_audio = keep_audio
        self._clock = clock
        self._connection_count = 0
        # The session tokens that have opened a connection.
        self._used_tokens: set[int] = set()
        self._audio_listeners: list[
            Callable[[Connection, Request, bytes], None]
        ] = []
        self.token_requests: list[TokenRequest] = []
        self.upgrades: list[Upgrade] = []
        self.connections: list[Connection] = []
        # Sentences about broken rules of the protocol.
        self.violations: list[str] = []
        # Sentences about unusual but allowed messages.
        self.notes: list[str] = []

    def __repr__(self) -> str:
        with self.lock:
            return (
                f"<{type(self).__name__} connections={len(self.connections)} "
                f"requests={len(self.requests)} "
                f"violations={len(self.violations)} "
                f"events={len(self.events)}>"
            )

    @property
    def requests(self) -> list[Request]:
        """All requests, by connection, each in the order of opening."""
        with self.lock:
            return [r for c in self.connections for r in c.requests]

    @property
    def interrupts(self) -> list[Interrupt]:
        """All interrupts, by connection."""
        with self.lock:
            return [i for c in self.connections for i in c.interrupts]

    @property
    def credits(self) -> int:
        """The price of all sessions so far, in Spatius credits."""
        with self.lock:
            now_s = self._clock()
            return sum(c.credits(now_s) for c in self.connections)

    @property
    def live_connections(self) -> list[Connection]:
        """Sessions that are confirmed and not closed."""
        with self.lock:
            return [c for c in self.connections if c.live]

    @property
    def tokens_issued(self) -> int:
        """How many session tokens the console has handed out."""
        with self.lock:
            return sum(
                one.session_token is not None for one in self.token_requests
            )

    @property
    def token_connections(self) -> dict[int, list[int]]:
        """Session token -> numbers of the connections that it opened."""
        with self.lock:
            opened: dict[int, list[int]] = {}
            for one in self.connections:
                opened.setdefault(one.session_token, []).append(one.number)
            return opened

    def connection(self, number: int) -> Connection:
        """The connection with this number. Raises KeyError."""
        with self.lock:
            for connection in self.connections:
                if connection.number == number:
                    return connection
        raise KeyError(f"no connection {number}")

    def received(self, connection: int | None = None) -> bytes:
        """Join all audio in the order of arrival.

        Of one connection, or of all of them. Raises AudioNotKept, KeyError.
        """
        with self.lock:
            messages = [
                message
                for one in self._chosen(connection)
                for message in one.messages
            ]
            if not self.keep_audio:
                raise AudioNotKept()
        if connection is None:
            messages.sort(key=lambda message: message.time_s)
        return b"".join(message.audio for message in messages)

    def write_wav(
        self, path: str | os.PathLike[str], connection: int | None = None
    ) -> None:
        """Save `received(connection)` as a mono 16-bit WAV file.

        Raises AudioNotKept, KeyError, and ValueError when the audio is not
        PCM of one sample rate.
        """
        with self.lock:
            rate = pcm_rate(self._chosen(connection))
        write_wav(path, self.received(connection), rate)

    def on_audio(
        self, listener: Callable[[Connection, Request, bytes], None]
    ) -> None:
        """Call `listener` with the audio of each message from now on.

        Kept or not, before the event of the same message, on the server's
        thread; it must not block.
        """
        with self.lock:
            self._audio_listeners.append(listener)

    def as_json(self, *, events: bool = True) -> dict[str, Any]:
        """The record as JSON values, without audio and without secrets."""
        with self.lock:
            answer: dict[str, Any] = {
                "started_s": self.started_s,
                "now_s": self._clock(),
                "tokens_issued": self.tokens_issued,
                "token_requests": [vars(t) for t in self.token_requests],
                "upgrades": [vars(u) for u in self.upgrades],
                "connections": [connection_json(c) for c in self.connections],
                "credits": self.credits,
                "violations": list(self.violations),
                "notes": list(self.notes),
            }
            if events:
                answer["events"] = [vars(e) for e in self.events]
            return answer

    def clear(self) -> None:
        """Forget the past. Open connections stay, without their requests."""
        with self.lock:
            self.started_s = self._clock()
            self.connections = [
                c for c in self.connections if c.closed_s is None
            ]
            for connection in self.connections:
                connection.clear()
            for past in (
                self.events,
                self.token_requests,
                self.upgrades,
                self.violations,
                self.notes,
            ):
                past.clear()

    def _chosen(self, connection: int | None) -> list[Connection]:
        if connection is None:
            return self.connections
        return [self.connection(connection)]

    # Notes of the server.

    def listening(self, listening: bool) -> None:
        self._add_event("listening" if listening else "paused")

    def token_answered(self, status: int | None, **details: Any) -> None:
        """Note a token request; `details` are the fields of TokenRequest."""
        with self.lock:
            request = TokenRequest(self._clock(), status, **details)
            self.token_requests.append(request)
            number = request.session_token
            self._add_event(
                "token",
                detail=f"status {status or 'none'}"
                + (f", session token #{number}" if number else ""),
            )

    def token_shown(self, number: int | None) -> None:
        """Note that a session token was shown for an upgrade.

        One that has opened a connection is used up: that it opens another is
        nothing a client may count on. After an upgrade that was refused it
        may be shown again.
        """
        if number is None:
            return
        with self.lock:
            if number in self._used_tokens:
                self.violation(
                    f"session token #{number} was used for another connection"
                )

    def upgrade_answered(
        self, status: int | None, detail: str = "", **details: Any
    ) -> None:
        """Note an upgrade that did not succeed (yet)."""
        with self.lock:
            upgrade = Upgrade(self._clock(), status, detail=detail, **details)
            self.upgrades.append(upgrade)
            text = f"status {status or 'none'}"
            self._add_event("upgrade", detail=f"{text} {detail}".rstrip())

    def opened(
        self, *, app_id: str, avatar_id: str, session_token: int
    ) -> Connection:
        """Note a successful upgrade."""
        with self.lock:
            self._used_tokens.add(session_token)
            self._connection_count += 1
            number, now_s = self._connection_count, self._clock()
            who = (app_id, avatar_id, session_token)
            connection = Connection(number, now_s, *who)
            self.connections.append(connection)
            self.upgrades.append(Upgrade(now_s, 101, *who, number))
            self._add_event(
                "opened", number, detail=f"session token #{session_token}"
            )
            return connection

    def configured(self, connection: Connection, config: SessionConfig) -> None:
        with self.lock:
            connection.config = config
            self._add_event(
                "configured",
                connection.number,
                detail=f"{config.audio_format} {config.sample_rate} Hz, "
                f"channel {config.channel}, uid {config.uid}",
            )

    def rejected(self, connection: Connection, code: int, text: str) -> None:
        self._add_event(
            "rejected", connection.number, detail=f"code {code}: {text}"
        )

    def confirmed(self, connection: Connection, connection_id: str) -> None:
        """Note that a session goes live, and check for a second publisher.

        Agora kicks out the older of two publishers with one uid.
        """
        with self.lock:
            config = connection.config
            assert config is not None
            for other in self.live_connections:
                # A client cannot end a session whose server does not read.
                if (
                    connection.collides_with(other)
                    and not other.stalled
                    and not connection.was_held
                ):
                    self.violation(
                        f"connection {connection.number} publishes as uid "
                        f"{config.uid} in channel {config.channel} while "
                        f"connection {other.number} does",
                        connection.number,
                    )
            connection.connection_id = connection_id
            connection.confirmed_s = self._clock()
            self._add_event(
                "confirmed", connection.number, detail=connection_id
            )

    def audio(
        self,
        connection: Connection,
        req_id: str,
        audio: bytes,
        end: bool,
        playback_delay_s: float = 0.0,
    ) -> None:
        """Note one audio message; a new request plays with this delay."""
        with self.lock:
            now_s = self._clock()
            number = connection.number
            request = connection.request(req_id)
            broken = list(judge_audio(connection, request, audio, end))
            if request is None:
                request = connection.open_request(
                    req_id, now_s, playback_delay_s
                )
            unusual = judge_size(connection, request, audio)
            if audio:
                message = Message(now_s, audio)
                connection.add_audio(request, message, keep=self.keep_audio)
                for listener in self._audio_listeners:
                    listener(connection, request, audio)
            self.publish(
                Event(now_s, "audio", number, req_id, "", len(audio)),
                keep=self.keep_audio,
            )
            if end:
                request.ended_at_s = now_s
                self._add_event("end", number, req_id)
            for sentence in broken:
                self.violation(sentence, number, req_id)
            if unusual:
                self.notes.append(unusual)
                self._add_event("note", number, req_id, unusual)

    def interrupt(self, connection: Connection, req_id: str) -> None:
        """Note an interrupt."""
        with self.lock:
            now_s = self._clock()
            number = connection.number
            request = connection.request(req_id)
            connection.interrupts.append(Interrupt(now_s, number, req_id))
            if request is not None and request.interrupted_at_s is None:
                request.interrupted_at_s = now_s
            self._add_event("interrupt", number, req_id)
            for sentence in judge_interrupt(connection, request):
                self.violation(sentence, number, req_id)

    def fault(self, text: str, connection: int | None = None) -> None:
        """Note that a fault has acted."""
        self._add_event("fault", connection, detail=text)

    def playback(self, connection: int, req_id: str, text: str) -> None:
        """Note a playback signal that was sent to the client."""
        self._add_event("playback", connection, req_id, text)

    def cut(self, connection: int, req_id: str, text: str) -> None:
        """Note that the service has cut a request of its own accord."""
        self._add_event("cut", connection, req_id, text)

    def vanished(self, connection: int) -> None:
        """Note that the service's host is gone, and plays nothing more."""
        self._add_event("vanished", connection)

    def closed(
        self,
        connection: Connection,
        by: Literal["client", "server"],
        code: int,
        reason: str = "",
    ) -> None:
        """Note the end of a connection; only the first one counts."""
        with self.lock:
            if connection.closed_s is not None:
                return
            connection.closed_s = self._clock()
            connection.closed_by = by
            connection.close_code = code
            connection.close_reason = reason
            self._add_event(
                "closed",
                connection.number,
                detail=f"by {by}, code {code} {reason}".rstrip(),
            )

    def violation(
        self, sentence: str, connection: int | None = None, req_id: str = ""
    ) -> None:
        """Note that the client broke a rule of the protocol."""
        with self.lock:
            self.violations.append(sentence)
            self._add_event("violation", connection, req_id, sentence)

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """Note whether the server reads from the connection."""
        with self.lock:
            connection.stalled = stalled
            if stalled and connection.confirmed_s is None:
                connection.was_held = True

    def _add_event(
        self,
        kind: EventKind,
        connection: int | None = None,
        req_id: str = "",
        detail: str = "",
    ) -> None:
        self.publish(Event(self._clock(), kind, connection, req_id, detail))
