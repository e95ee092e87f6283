"""What a Motion Server saw, with times.

The server's loop writes, tests and printers read, all of them under the
timeline's lock.
"""

from collections.abc import Callable
from typing import Any, Literal

from .model import (
    Connection,
    Event,
    EventKind,
    Interrupt,
    Message,
    SessionConfig,
    TokenRequest,
    Upgrade,
)
from .record_view import RecordView
from .rules import judge_audio, judge_interrupt, judge_size


class Record(RecordView):
    """Everything that happened on a server.

    `clock` gives seconds; `keep_audio=False` is for long runs: audio is
    counted and digested, but neither kept nor put into the timeline. The
    methods below are the server's; readers use those of `RecordView`.
    """

    def __init__(
        self, clock: Callable[[], float], *, keep_audio: bool = True
    ) -> None:
        super().__init__(clock, keep_audio=keep_audio)
        self._connection_count = 0
        # Session token -> how many upgrades it was shown for.
        self._token_uses: dict[int, int] = {}

    def listening(self, listening: bool) -> None:
        self._add_event("listening" if listening else "paused")

    def token_answered(self, status: int | None, **details: Any) -> None:
        """Note a token request; `details` are the fields of TokenRequest."""
        with self._lock:
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

        Every attempt has to bring a token of its own: that a used one still
        opens a session is nothing a client may count on.
        """
        if number is None:
            return
        with self._lock:
            uses = self._token_uses.get(number, 0) + 1
            self._token_uses[number] = uses
            if uses > 1:
                self.violation(
                    f"session token #{number} was used for upgrade "
                    f"number {uses}"
                )

    def upgrade_answered(
        self, status: int | None, detail: str = "", **details: Any
    ) -> None:
        """Note an upgrade that did not succeed (yet)."""
        with self._lock:
            upgrade = Upgrade(self._clock(), status, detail=detail, **details)
            self.upgrades.append(upgrade)
            text = f"status {status or 'none'}"
            self._add_event("upgrade", detail=f"{text} {detail}".rstrip())

    def opened(
        self, *, app_id: str, avatar_id: str, session_token: int
    ) -> Connection:
        """Note a successful upgrade."""
        with self._lock:
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
        with self._lock:
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
        with self._lock:
            config = connection.config
            assert config is not None
            for other in self.live_connections:
                # A client cannot end a session whose server does not read.
                if connection.collides_with(other) and not other.stalled:
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
        with self._lock:
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
            self._timeline.add(
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
        with self._lock:
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
        with self._lock:
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
        with self._lock:
            self.violations.append(sentence)
            self._add_event("violation", connection, req_id, sentence)

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """Note whether the server reads from the connection."""
        with self._lock:
            connection.stalled = stalled

    def _add_event(
        self,
        kind: EventKind,
        connection: int | None = None,
        req_id: str = "",
        detail: str = "",
    ) -> None:
        self._timeline.add(
            Event(self._clock(), kind, connection, req_id, detail)
        )
