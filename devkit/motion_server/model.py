"""The values that a Motion Server records, without the rules.

No secret is kept that could be printed: session tokens are numbered, API
keys are not kept at all, and an Agora token stays out of every repr.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Connected time is billed, silence included.
MS_PER_CREDIT = 6000

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
    "playback",  # a playback signal was sent
    "cut",  # the service has cut a request of its own accord
    "vanished",  # the service's host is gone, and nothing plays any more
    "fault",  # a fault has acted
    "closed",  # a websocket is closed
    "violation",  # the client has broken a rule of the protocol
    "note",  # unusual, but allowed
]


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
    """The contents of client_configure_session."""

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
    # Further parameters, as `spatius` can send them.
    extra_params: Mapping[str, str] = field(default_factory=dict)


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
    # How much later than it arrives it is played.
    playback_delay_s: float = 0.0
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
    # Whether the server has stopped reading: a planned Stall, BlackHole or
    # Silence.
    stalled: bool = False
    # Whether that happened before the confirmation: it comes late, perhaps to
    # a client that has given up and opened another session.
    was_held: bool = False
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

    def credits(self, now_s: float) -> int:
        """Return the price of the session, or its price by `now_s`."""
        if self.confirmed_s is None:
            return 0
        end_s = now_s if self.closed_s is None else self.closed_s
        duration_ms = 1000 * (end_s - self.confirmed_s)
        return max(1, math.ceil(duration_ms / MS_PER_CREDIT))

    def collides_with(self, other: "Connection") -> bool:
        """Whether both publish to one channel under one uid."""
        if self.config is None or other.config is None or not self.config.uid:
            return False
        return (self.config.channel, self.config.uid) == (
            other.config.channel,
            other.config.uid,
        )

    def open_request(
        self, req_id: str, now_s: float, playback_delay_s: float
    ) -> Request:
        request = Request(self.number, req_id, now_s, now_s, playback_delay_s)
        self.requests.append(request)
        self._by_id[req_id] = request
        return request

    def add_audio(
        self, request: Request, message: Message, *, keep: bool
    ) -> None:
        """Count a message of one of the requests, and keep it if wanted."""
        size = len(message.audio)
        for one in (self, request):
            one.audio_bytes += size
            one.message_count += 1
            if keep:
                one.messages.append(message)
        request.last_audio_s = message.time_s
        request._digest.update(message.audio)

    def clear(self) -> None:
        """Forget all requests, messages and interrupts."""
        self.requests.clear()
        self.interrupts.clear()
        self.messages.clear()
        self.audio_bytes = self.message_count = 0
        self._by_id.clear()


class AudioNotKept(RuntimeError):
    """The record keeps counts and digests only."""

    def __init__(self) -> None:
        super().__init__("the record keeps no audio (keep_audio=False)")
