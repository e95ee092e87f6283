"""Reads what a Motion Server has recorded, from any thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .model import (
    AudioNotKept,
    Connection,
    Event,
    Interrupt,
    Request,
    TokenRequest,
    Upgrade,
)
from .timeline import Timeline
from .views import connection_json, pcm_rate, write_wav

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class RecordView:
    """The reading half of a `Record`."""

    def __init__(
        self, clock: Callable[[], float], *, keep_audio: bool = True
    ) -> None:
        self.keep_audio = keep_audio
        self._clock = clock
        self._timeline = Timeline(clock())
        self._lock = self._timeline.lock
        self._audio_listeners: list[
            Callable[[Connection, Request, bytes], None]
        ] = []
        self.token_requests: list[TokenRequest] = []
        self.upgrades: list[Upgrade] = []
        self.connections: list[Connection] = []
        # Sentences about broken rules of the protocol.
        self.violations: list[str] = []
        # Sentences about what is unusual, but allowed.
        self.notes: list[str] = []

    def __repr__(self) -> str:
        with self._lock:
            return (
                f"<{type(self).__name__} connections={len(self.connections)} "
                f"requests={len(self.requests)} "
                f"violations={len(self.violations)} "
                f"events={len(self.events)}>"
            )

    @property
    def started_s(self) -> float:
        """The server's clock when the record began."""
        return self._timeline.started_s

    @property
    def events(self) -> list[Event]:
        return self._timeline.events

    @property
    def requests(self) -> list[Request]:
        """All requests, by connection, each in the order of opening."""
        with self._lock:
            return [r for c in self.connections for r in c.requests]

    @property
    def interrupts(self) -> list[Interrupt]:
        """All interrupts, by connection."""
        with self._lock:
            return [i for c in self.connections for i in c.interrupts]

    @property
    def credits(self) -> int:
        """What all sessions cost so far, in Spatius credits."""
        with self._lock:
            now_s = self._clock()
            return sum(c.credits(now_s) for c in self.connections)

    @property
    def live_connections(self) -> list[Connection]:
        """Sessions that are confirmed and not closed."""
        with self._lock:
            return [c for c in self.connections if c.live]

    @property
    def tokens_issued(self) -> int:
        """How many session tokens the console has handed out."""
        with self._lock:
            return sum(
                one.session_token is not None for one in self.token_requests
            )

    @property
    def token_connections(self) -> dict[int, list[int]]:
        """Session token -> numbers of the connections that it opened."""
        with self._lock:
            opened: dict[int, list[int]] = {}
            for one in self.connections:
                opened.setdefault(one.session_token, []).append(one.number)
            return opened

    def connection(self, number: int) -> Connection:
        """The connection with this number. Raises KeyError."""
        with self._lock:
            for connection in self.connections:
                if connection.number == number:
                    return connection
        raise KeyError(f"no connection {number}")

    def received(self, connection: int | None = None) -> bytes:
        """Join all audio in the order of arrival.

        Of one connection, or of all of them. Raises AudioNotKept, KeyError.
        """
        with self._lock:
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
        with self._lock:
            rate = pcm_rate(self._chosen(connection))
        write_wav(path, self.received(connection), rate)

    def on_event(
        self, listener: Callable[[Event], None], *, past: bool = False
    ) -> None:
        """Call `listener` with each event from now on.

        It is called on the server's thread and must not block; audio events
        come too when they are not kept. `past`: at once with each event so
        far, on this thread.
        """
        self._timeline.on_event(listener, past=past)

    def on_audio(
        self, listener: Callable[[Connection, Request, bytes], None]
    ) -> None:
        """Call `listener` with the audio of each message from now on.

        Kept or not, before the event of the same message, on the server's
        thread; it must not block.
        """
        with self._lock:
            self._audio_listeners.append(listener)

    def wait_for(
        self, predicate: Callable[[Self], T], timeout_s: float = 30.0
    ) -> T:
        """Block until `predicate(record)` is true, and return its value.

        It is evaluated after every event; a LookupError of its own counts as
        "not yet", so `lambda r: r.requests[0].closed` is a fine predicate.
        Raises WaitTimeout, which shows the timeline. Not for the server's own
        thread.
        """
        return self._timeline.wait_for(lambda: predicate(self), timeout_s)

    async def until(
        self, predicate: Callable[[Self], T], timeout_s: float = 30.0
    ) -> T:
        """Do what `wait_for` does on any event loop. Raises WaitTimeout."""
        return await self._timeline.until(lambda: predicate(self), timeout_s)

    def timeline(self) -> str:
        """The events as text, one line each, runs of audio in one line."""
        return self._timeline.text()

    def as_json(self, *, events: bool = True) -> dict[str, Any]:
        """The record as JSON values, without audio and without secrets."""
        with self._lock:
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
        with self._lock:
            self._timeline.clear(self._clock())
            self.connections = [
                c for c in self.connections if c.closed_s is None
            ]
            for connection in self.connections:
                connection.clear()
            for past in (
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
