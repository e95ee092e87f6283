"""What a Motion Server saw, with times, readable from any thread.

The server's loop writes, tests and printers read. All of it stands under one
condition variable, so a reader sees whole events and can wait for them. No
secret is ever kept where it could be printed: session tokens are numbered,
API keys are not kept at all, and an Agora token stays out of every repr.
"""

import asyncio
import hashlib
import os
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .rules import judge_audio, judge_interrupt, judge_size

T = TypeVar("T")

EventKind = Literal[
    "listening",  # the port is open
    "paused",  # the port is closed, connections live on
    "token",  # a token request was answered
    "upgrade",  # a websocket upgrade was refused, hangs, or is late
    "opened",  # a websocket is open
    "configured",  # the client has sent its session configuration
    "rejected",  # the configuration was refused with a server_error
    "confirmed",  # the session was confirmed
    "audio",  # an audio message was read
    "end",  # the end of a request was read
    "interrupt",  # an interrupt was read
    "fault",  # a fault has acted
    "closed",  # a websocket is closed
    "violation",  # the client has broken a rule of the protocol
    "note",  # unusual, but allowed
]

# How many events the text of a timeline shows at most.
_SHOWN_EVENTS = 200


@dataclass(frozen=True)
class Event:
    """One line of the timeline."""

    # Seconds of the server's clock.
    time_s: float
    kind: EventKind
    connection: int | None = None
    req_id: str = ""
    detail: str = ""
    audio_bytes: int = 0


@dataclass(frozen=True)
class TokenRequest:
    """A POST of {"expireAt": ...} to the console."""

    time_s: float
    # HTTP status of the answer; None: it never came (a planned Hang).
    status: int | None
    key_ok: bool
    # Epoch seconds, as asked for; None: unreadable.
    expire_at: float | None
    # Number of the session token that was handed out.
    session_token: int | None


@dataclass(frozen=True)
class Upgrade:
    """An attempt to open the websocket."""

    time_s: float
    # HTTP status of the answer, 101 for success; None: it never came.
    status: int | None
    app_id: str
    avatar_id: str
    # Number of the session token shown; None: unknown to the service.
    session_token: int | None
    # Number of the connection that came of it.
    connection: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class SessionConfig:
    """What client_configure_session said."""

    # Hz.
    sample_rate: int
    # "pcm_s16le" or "ogg_opus".
    audio_format: str
    # bit/s; 0 for PCM.
    bitrate: int
    channel: str
    uid: int
    publisher_id: str
    agora_token: str = field(repr=False)
    # App ID inside the token; empty for tokens that could not be read.
    agora_app_id: str = ""
    # Epoch seconds at which the Agora token ends; None: never or unknown.
    agora_token_end_s: float | None = None


@dataclass(frozen=True)
class Message:
    """One audio message."""

    time_s: float
    audio: bytes = field(repr=False)


@dataclass(frozen=True)
class Interrupt:
    time_s: float
    connection: int
    req_id: str


@dataclass(eq=False)
class Request:
    """All audio under one request id: one utterance."""

    connection: int
    req_id: str
    opened_s: float
    last_audio_s: float
    audio_bytes: int = 0
    message_count: int = 0
    ended_at_s: float | None = None
    interrupted_at_s: float | None = None
    # Whether a message was noted as over-long; one note is enough.
    has_long_message: bool = False
    # Audio messages in order; empty when the record keeps no audio.
    messages: list[Message] = field(default_factory=list, repr=False)
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    @property
    def audio(self) -> bytes:
        """The joined audio. Raises AudioNotKept."""
        if self.message_count and not self.messages:
            raise AudioNotKept()
        return b"".join(message.audio for message in self.messages)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the audio, kept or not."""
        return self._digest.hexdigest()

    @property
    def closed(self) -> bool:
        """Whether the request has come to its end or was interrupted."""
        return self.ended_at_s is not None or self.interrupted_at_s is not None


@dataclass(eq=False)
class Connection:
    """One websocket, from the upgrade to its end."""

    number: int
    opened_s: float
    app_id: str
    avatar_id: str
    session_token: int
    config: SessionConfig | None = None
    connection_id: str = ""
    confirmed_s: float | None = None
    closed_s: float | None = None
    # Code of the first close frame; 1006 when TCP ended without one.
    close_code: int | None = None
    close_reason: str = ""
    closed_by: Literal["client", "server"] | None = None
    # Whether the server has stopped reading (a planned Stall or Silence).
    stalled: bool = False
    requests: list[Request] = field(default_factory=list, repr=False)
    interrupts: list[Interrupt] = field(default_factory=list, repr=False)
    # Audio messages in the order of arrival, over all requests.
    messages: list[Message] = field(default_factory=list, repr=False)
    audio_bytes: int = 0
    message_count: int = 0
    _by_id: dict[str, Request] = field(default_factory=dict, repr=False)

    @property
    def live(self) -> bool:
        """Whether the session is confirmed and not closed."""
        return self.confirmed_s is not None and self.closed_s is None

    def request(self, req_id: str) -> Request | None:
        """The request with this id, None when it was never seen here."""
        return self._by_id.get(req_id)


class AudioNotKept(RuntimeError):
    """The record was told to keep counts and digests only."""

    def __init__(self) -> None:
        super().__init__("the record keeps no audio (keep_audio=False)")


class Unmet(AssertionError):
    """What was waited for did not happen in time."""


class Record:
    """Everything that happened on a server.

    `clock` gives seconds; `keep_audio=False` is for long runs: audio is
    counted and digested, but neither kept nor put into the timeline.
    """

    def __init__(
        self, clock: Callable[[], float], *, keep_audio: bool = True
    ) -> None:
        self.keep_audio = keep_audio
        self._clock = clock
        # Re-entrant: predicates run under it and use the views.
        self._changed = threading.Condition(threading.RLock())
        # Those who wait on event loops.
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, Any]] = set()
        self._listeners: list[Callable[[Event], None]] = []
        self._hearers: list[Callable[[Connection, Request, bytes], None]] = []
        self._connection_count = 0
        self._token_uses: dict[int, int] = {}
        self.started_s = clock()
        self.events: list[Event] = []
        self.token_requests: list[TokenRequest] = []
        self.upgrades: list[Upgrade] = []
        self.connections: list[Connection] = []
        # Sentences about broken rules of the protocol.
        self.violations: list[str] = []
        # Sentences about what is unusual, but allowed.
        self.notes: list[str] = []

    def __repr__(self) -> str:
        with self._changed:
            return (
                f"<Record connections={len(self.connections)} "
                f"requests={len(self.requests)} "
                f"violations={len(self.violations)} "
                f"events={len(self.events)}>"
            )

    # What readers use.

    @property
    def requests(self) -> list[Request]:
        """All requests, by connection, each in the order of opening."""
        with self._changed:
            return [r for c in self.connections for r in c.requests]

    @property
    def interrupts(self) -> list[Interrupt]:
        """All interrupts, by connection."""
        with self._changed:
            return [i for c in self.connections for i in c.interrupts]

    @property
    def live_connections(self) -> list[Connection]:
        """Sessions that are confirmed and not closed."""
        with self._changed:
            return [c for c in self.connections if c.live]

    def connection(self, number: int) -> Connection:
        """The connection with this number. Raises KeyError."""
        with self._changed:
            for connection in self.connections:
                if connection.number == number:
                    return connection
        raise KeyError(f"no connection {number}")

    def heard(self, connection: int | None = None) -> bytes:
        """Join all audio in the order of arrival.

        Of one connection, or of all of them. Raises AudioNotKept, KeyError.
        """
        with self._changed:
            heard = [
                message
                for one in self._chosen(connection)
                for message in one.messages
            ]
            if not self.keep_audio:
                raise AudioNotKept()
        if connection is None:
            heard.sort(key=lambda message: message.time_s)
        return b"".join(message.audio for message in heard)

    def write_wav(
        self, path: str | os.PathLike[str], connection: int | None = None
    ) -> None:
        """Save `heard(connection)` as a mono 16-bit WAV file.

        Raises AudioNotKept, KeyError, and ValueError when the audio is not
        PCM of one sample rate.
        """
        with self._changed:
            formats = {
                (one.config.audio_format, one.config.sample_rate)
                for one in self._chosen(connection)
                if one.config is not None and one.message_count
            }
        if len(formats) != 1:
            raise ValueError(f"no audio of one format: {sorted(formats)}")
        ((audio_format, sample_rate),) = formats
        if audio_format != "pcm_s16le":
            raise ValueError(f"not PCM: {audio_format}")
        with wave.open(os.fspath(path), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(sample_rate)
            wav.writeframes(self.heard(connection))

    def on_event(
        self, listener: Callable[[Event], None], *, past: bool = False
    ) -> None:
        """Call `listener` with each event from now on.

        It is called on the server's thread and must not block; audio events
        come too when they are not kept. `past`: at once with each event so
        far, on this thread.
        """
        with self._changed:
            if past:
                for event in self.events:
                    listener(event)
            self._listeners.append(listener)

    def on_audio(
        self, hearer: Callable[["Connection", "Request", bytes], None]
    ) -> None:
        """Call `hearer` with the audio of each message from now on.

        Kept or not, before the event of the same message, and as listeners
        are called: on the server's thread, not to block.
        """
        with self._changed:
            self._hearers.append(hearer)

    def wait_for(
        self, predicate: Callable[["Record"], T], timeout_s: float = 5.0
    ) -> T:
        """Block until `predicate(record)` is true, and return its value.

        It is asked after every event; a LookupError of its own counts as
        "not yet", so `lambda r: r.requests[0].closed` is a fine predicate.
        Raises Unmet, which shows the timeline. Not for the server's own
        thread.
        """
        with self._changed:
            value = self._changed.wait_for(
                lambda: self._ask(predicate), timeout_s
            )
            if not value:
                raise self._unmet(timeout_s)
            return value

    async def until(
        self, predicate: Callable[["Record"], T], timeout_s: float = 5.0
    ) -> T:
        """Do what `wait_for` does on any event loop. Raises Unmet."""
        woken = asyncio.Event()
        sleeper = (asyncio.get_running_loop(), woken)
        with self._changed:
            self._sleepers.add(sleeper)

        async def watch() -> T:
            while True:
                woken.clear()
                with self._changed:
                    value = self._ask(predicate)
                if value:
                    return value
                await woken.wait()

        try:
            return await asyncio.wait_for(watch(), timeout_s)
        except asyncio.TimeoutError:
            raise self._unmet(timeout_s) from None
        finally:
            with self._changed:
                self._sleepers.discard(sleeper)

    def timeline(self) -> str:
        """The events as text, one line each, runs of audio in one line."""
        with self._changed:
            lines = list(_lines(self.events, self.started_s))
        left_out = len(lines) - _SHOWN_EVENTS
        if left_out > 0:
            lines = [f"({left_out} earlier lines)", *lines[left_out:]]
        return "\n".join(lines)

    def as_json(self, *, events: bool = True) -> dict[str, Any]:
        """The record as JSON values, without audio and without secrets."""
        with self._changed:
            answer: dict[str, Any] = {
                "started_s": self.started_s,
                "now_s": self._clock(),
                "token_requests": [vars(t) for t in self.token_requests],
                "upgrades": [vars(u) for u in self.upgrades],
                "connections": [_connection_json(c) for c in self.connections],
                "violations": list(self.violations),
                "notes": list(self.notes),
            }
            if events:
                answer["events"] = [vars(e) for e in self.events]
            return answer

    def clear(self) -> None:
        """Forget the past. Open connections stay, without their requests."""
        with self._changed:
            self.started_s = self._clock()
            self.connections = [
                c for c in self.connections if c.closed_s is None
            ]
            for connection in self.connections:
                connection.requests.clear()
                connection.interrupts.clear()
                connection.messages.clear()
                connection.audio_bytes = connection.message_count = 0
                connection._by_id.clear()
            for past in (
                self.events,
                self.token_requests,
                self.upgrades,
                self.violations,
                self.notes,
            ):
                past.clear()

    # What the server writes.

    def listening(self, listening: bool) -> None:
        self._happened("listening" if listening else "paused")

    def token_answered(self, status: int | None, **details: Any) -> None:
        """Note a token request; `details` are the fields of TokenRequest."""
        with self._changed:
            request = TokenRequest(self._clock(), status, **details)
            self.token_requests.append(request)
            number = request.session_token
            self._happened(
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
        with self._changed:
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
        with self._changed:
            upgrade = Upgrade(self._clock(), status, detail=detail, **details)
            self.upgrades.append(upgrade)
            text = f"status {status or 'none'}"
            self._happened("upgrade", detail=f"{text} {detail}".rstrip())

    def opened(
        self, *, app_id: str, avatar_id: str, session_token: int
    ) -> Connection:
        """Note a successful upgrade."""
        with self._changed:
            self._connection_count += 1
            connection = Connection(
                self._connection_count,
                self._clock(),
                app_id,
                avatar_id,
                session_token,
            )
            self.connections.append(connection)
            self.upgrades.append(
                Upgrade(
                    connection.opened_s,
                    101,
                    app_id,
                    avatar_id,
                    session_token,
                    connection.number,
                )
            )
            self._happened(
                "opened",
                connection.number,
                detail=f"session token #{session_token}",
            )
            return connection

    def configured(self, connection: Connection, config: SessionConfig) -> None:
        with self._changed:
            connection.config = config
            self._happened(
                "configured",
                connection.number,
                detail=f"{config.audio_format} {config.sample_rate} Hz, "
                f"channel {config.channel}, uid {config.uid}",
            )

    def rejected(self, connection: Connection, code: int, text: str) -> None:
        self._happened(
            "rejected", connection.number, detail=f"code {code}: {text}"
        )

    def confirmed(self, connection: Connection, connection_id: str) -> None:
        """Note that a session goes live, and look for a second publisher.

        Agora throws out the older of two publishers with one uid.
        """
        with self._changed:
            config = connection.config
            assert config is not None
            for other in self.live_connections:
                same = (
                    other.config is not None
                    and (other.config.channel, other.config.uid)
                    == (config.channel, config.uid)
                    and config.uid != 0
                )
                # A client cannot end a session whose server does not listen.
                if same and not other.stalled:
                    self.violation(
                        f"connection {connection.number} publishes as uid "
                        f"{config.uid} in channel {config.channel} while "
                        f"connection {other.number} does",
                        connection.number,
                    )
            connection.connection_id = connection_id
            connection.confirmed_s = self._clock()
            self._happened("confirmed", connection.number, detail=connection_id)

    def audio(
        self, connection: Connection, req_id: str, audio: bytes, end: bool
    ) -> None:
        """Note one audio message."""
        with self._changed:
            now_s = self._clock()
            request = connection.request(req_id)
            broken = list(judge_audio(connection, request, audio, end))
            if request is None:
                request = Request(connection.number, req_id, now_s, now_s)
                connection.requests.append(request)
                connection._by_id[req_id] = request
            unusual = judge_size(connection, request, audio)
            if audio:
                self._add_audio(connection, request, audio, now_s)
                for hearer in self._hearers:
                    hearer(connection, request, audio)
            event = Event(
                now_s, "audio", connection.number, req_id, "", len(audio)
            )
            self._tell(event, keep=self.keep_audio)
            if end:
                request.ended_at_s = now_s
                self._happened("end", connection.number, req_id)
            for sentence in broken:
                self.violation(sentence, connection.number, req_id)
            if unusual:
                self.notes.append(unusual)
                self._happened("note", connection.number, req_id, unusual)

    def interrupt(self, connection: Connection, req_id: str) -> None:
        """Note an interrupt."""
        with self._changed:
            now_s = self._clock()
            request = connection.request(req_id)
            connection.interrupts.append(
                Interrupt(now_s, connection.number, req_id)
            )
            if request is not None and request.interrupted_at_s is None:
                request.interrupted_at_s = now_s
            self._happened("interrupt", connection.number, req_id)
            for sentence in judge_interrupt(connection, request):
                self.violation(sentence, connection.number, req_id)

    def fault(self, text: str, connection: int | None = None) -> None:
        """Note that a fault has acted."""
        self._happened("fault", connection, detail=text)

    def closed(
        self,
        connection: Connection,
        by: Literal["client", "server"],
        code: int,
        reason: str = "",
    ) -> None:
        """Note the end of a connection; only the first one counts."""
        with self._changed:
            if connection.closed_s is not None:
                return
            connection.closed_s = self._clock()
            connection.closed_by = by
            connection.close_code = code
            connection.close_reason = reason
            self._happened(
                "closed",
                connection.number,
                detail=f"by {by}, code {code} {reason}".rstrip(),
            )

    def violation(
        self, sentence: str, connection: int | None = None, req_id: str = ""
    ) -> None:
        """Note that the client broke a rule of the protocol."""
        with self._changed:
            self.violations.append(sentence)
            self._happened("violation", connection, req_id, sentence)

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """Note whether the server reads from the connection."""
        with self._changed:
            connection.stalled = stalled

    def _add_audio(
        self,
        connection: Connection,
        request: Request,
        audio: bytes,
        now_s: float,
    ) -> None:
        connection.audio_bytes += len(audio)
        connection.message_count += 1
        request.audio_bytes += len(audio)
        request.message_count += 1
        request.last_audio_s = now_s
        request._digest.update(audio)
        if self.keep_audio:
            message = Message(now_s, audio)
            request.messages.append(message)
            connection.messages.append(message)

    def _happened(
        self,
        kind: EventKind,
        connection: int | None = None,
        req_id: str = "",
        detail: str = "",
    ) -> None:
        self._tell(
            Event(self._clock(), kind, connection, req_id, detail), keep=True
        )

    def _tell(self, event: Event, *, keep: bool) -> None:
        with self._changed:
            if keep:
                self.events.append(event)
            for listener in self._listeners:
                listener(event)
            self._changed.notify_all()
            for loop, woken in list(self._sleepers):
                if woken.is_set():
                    continue
                try:
                    loop.call_soon_threadsafe(woken.set)
                except RuntimeError:
                    # The loop was closed while somebody waited on it.
                    self._sleepers.discard((loop, woken))

    def _ask(self, predicate: Callable[["Record"], T]) -> T | None:
        try:
            return predicate(self)
        except LookupError:
            return None

    def _chosen(self, connection: int | None) -> list[Connection]:
        if connection is None:
            return self.connections
        return [self.connection(connection)]

    def _unmet(self, timeout_s: float) -> Unmet:
        return Unmet(
            f"did not happen within {timeout_s} s; this did:\n{self.timeline()}"
        )


def event_line(event: Event, started_s: float = 0.0) -> str:
    """One event as a line of text, its time counted from `started_s`."""
    parts = [f"{event.time_s - started_s:9.3f} s", f"{event.kind:<10}"]
    if event.connection is not None:
        parts.append(f"connection {event.connection}")
    if event.req_id:
        parts.append(event.req_id)
    if event.kind == "audio":
        parts.append(f"{event.audio_bytes} bytes")
    if event.detail:
        parts.append(event.detail)
    return "  ".join(parts)


def _lines(events: list[Event], started_s: float) -> Iterator[str]:
    """Yield lines; neighbouring audio of one request makes one line."""
    at = 0
    while at < len(events):
        first = events[at]
        run = at
        while (
            run < len(events)
            and events[run].kind == first.kind == "audio"
            and events[run].connection == first.connection
            and events[run].req_id == first.req_id
        ):
            run += 1
        if run - at < 2:
            yield event_line(first, started_s)
            at += 1
            continue
        total = sum(event.audio_bytes for event in events[at:run])
        yield (
            f"{event_line(first, started_s)}  and {run - at - 1} more until "
            f"{events[run - 1].time_s - started_s:.3f} s, {total} bytes in all"
        )
        at = run


def _connection_json(connection: Connection) -> dict[str, Any]:
    config = None
    if connection.config is not None:
        config = dict(vars(connection.config))
        del config["agora_token"]
    return {
        "number": connection.number,
        "app_id": connection.app_id,
        "avatar_id": connection.avatar_id,
        "session_token": connection.session_token,
        "connection_id": connection.connection_id,
        "config": config,
        "opened_s": connection.opened_s,
        "confirmed_s": connection.confirmed_s,
        "closed_s": connection.closed_s,
        "close_code": connection.close_code,
        "close_reason": connection.close_reason,
        "closed_by": connection.closed_by,
        "audio_bytes": connection.audio_bytes,
        "message_count": connection.message_count,
        "requests": [
            {
                "req_id": request.req_id,
                "opened_s": request.opened_s,
                "last_audio_s": request.last_audio_s,
                "ended_at_s": request.ended_at_s,
                "interrupted_at_s": request.interrupted_at_s,
                "audio_bytes": request.audio_bytes,
                "message_count": request.message_count,
                "sha256": request.sha256,
            }
            for request in connection.requests
        ],
        "interrupts": [vars(i) for i in connection.interrupts],
    }
