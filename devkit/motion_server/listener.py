"""What comes out of the listener's speaker, and when.

A model without I/O: what a Motion Server receives and what the extension
hands to the RTC extension go in with their times, and what would have been
audible comes out. The avatar plays in real time, one request behind the
other; an interrupt or the end of its connection discards the rest, and so
do a service that cuts a request, a host that vanishes, and a newer connection
that publishes under the same uid. The voice plays likewise; a flush discards
the rest.

    listener = Listener(24000)
    listener.follow(server.record)
    ...
    verdict = judge.verdict(listener.audible())
"""

import math
import threading
from dataclasses import dataclass, field
from typing import Literal

from .model import AudioNotKept, Connection, Event, Request
from .playout import Playout
from .record import Record

Source = Literal["avatar", "voice"]


@dataclass(frozen=True)
class Audible:
    """A part of a request, or of the voice, that was played without a pause."""

    source: Source
    # Number of the avatar's connection; 0: the voice.
    connection: int
    # Id of the Spatius request; the name given to the voice's audio.
    req_id: str
    begin_byte: int
    end_byte: int
    # Seconds of the server's clock.
    start_s: float
    end_s: float
    # The bytes from `begin_byte` to `end_byte`.
    audio: bytes = field(repr=False)


class _Player:
    """One source of sound: a connection of the avatar, or the voice."""

    def __init__(self, source: Source, connection: int, rate: int) -> None:
        self._source: Source = source
        self._connection = connection
        self._playout = Playout(rate)
        # Request -> its audio, and the byte at which that begins.
        self._audio: dict[str, tuple[int, bytearray]] = {}
        # Set when nothing that comes is audible any more.
        self.muted = False
        # Ids of requests of which nothing more is audible.
        self._cut_off: set[str] = set()

    def write(self, req_id: str, audio: bytes, now_s: float) -> None:
        if not self.muted and req_id not in self._cut_off:
            self._playout.write(req_id, len(audio), now_s)
            self._audio.setdefault(req_id, (0, bytearray()))[1].extend(audio)

    def cut(self, now_s: float) -> None:
        self._playout.cut(now_s)

    def cut_off(self, req_id: str, now_s: float) -> None:
        """Cut all that plays, and ignore what follows of this request."""
        self.cut(now_s)
        self._cut_off.add(req_id)

    def mute(self, now_s: float) -> None:
        self.cut(now_s)
        self.muted = True

    def take(self, until_s: float) -> list[Audible]:
        taken = []
        for span in self._playout.take(until_s):
            first, audio = self._audio[span.req_id]
            piece = bytes(
                audio[span.begin_byte - first : span.end_byte - first]
            )
            # What comes before it was taken or cut: not needed any more.
            del audio[: span.end_byte - first]
            self._audio[span.req_id] = (span.end_byte, audio)
            taken.append(
                Audible(
                    self._source,
                    self._connection,
                    span.req_id,
                    span.begin_byte,
                    span.end_byte,
                    span.start_s,
                    span.end_s,
                    piece,
                )
            )
        if self.muted:
            self._audio.clear()
        return taken


class Listener:
    """One who listens in the channel. Safe from any thread.

    `sample_rate` in Hz; all audio is 16-bit mono PCM of this rate.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._lock = threading.RLock()
        self._voice = _Player("voice", 0, sample_rate)
        # Connection number -> what its session plays.
        self._avatars: dict[int, _Player] = {}
        # Number of the latest connection that publishes.
        self._publisher = 0
        self._past: list[Audible] = []

    def __repr__(self) -> str:
        return f"<Listener connections={len(self._avatars)}>"

    def follow(self, record: Record, delay_s: float = 0.0) -> None:
        """Take what a server receives from now on; it need not keep audio.

        Audio is audible `delay_s` after the server plays it, no earlier.
        """

        def take_audio(
            connection: Connection, request: Request, audio: bytes
        ) -> None:
            self.avatar_audio(
                connection.number,
                request.req_id,
                audio,
                request.last_audio_s + request.playback_delay_s + delay_s,
            )

        record.on_audio(take_audio)
        record.on_event(self._take_event)

    def replay(self, record: Record) -> None:
        """Take all that a server has received so far.

        Raises AudioNotKept where the record keeps no audio.
        """
        if not record.keep_audio:
            raise AudioNotKept()
        requests = {
            (request.connection, request.req_id): (
                iter(request.messages),
                request.playback_delay_s,
            )
            for request in record.requests
        }
        for event in list(record.events):
            if event.kind == "audio" and event.audio_bytes:
                assert event.connection is not None
                messages, delay_s = requests[event.connection, event.req_id]
                message = next(messages)
                self.avatar_audio(
                    event.connection,
                    event.req_id,
                    message.audio,
                    message.time_s + delay_s,
                )
            else:
                self._take_event(event)

    # What the avatar's service receives.

    def avatar_started(self, connection: int, now_s: float) -> None:
        """A session is confirmed: it kicks the older ones out."""
        with self._lock:
            self._publisher = max(self._publisher, connection)
            for number, player in self._avatars.items():
                if number < self._publisher:
                    player.mute(now_s)

    def avatar_audio(
        self, connection: int, req_id: str, audio: bytes, now_s: float
    ) -> None:
        with self._lock:
            player = self._avatars.get(connection)
            if player is None:
                player = _Player("avatar", connection, self._rate)
                # Audio may arrive after a black hole, too late.
                player.muted = connection < self._publisher
                self._avatars[connection] = player
            player.write(req_id, audio, now_s)

    def avatar_interrupted(self, connection: int, now_s: float) -> None:
        with self._lock:
            if connection in self._avatars:
                self._avatars[connection].cut(now_s)

    def avatar_cut(self, connection: int, req_id: str, now_s: float) -> None:
        """The service cuts all that plays; nothing follows of this request."""
        with self._lock:
            if connection in self._avatars:
                self._avatars[connection].cut_off(req_id, now_s)

    def avatar_closed(self, connection: int, now_s: float) -> None:
        with self._lock:
            if connection in self._avatars:
                self._avatars[connection].mute(now_s)

    # What the RTC extension receives.

    def voice_audio(self, audio: bytes, now_s: float, name: str = "") -> None:
        """Take a frame's PCM; `name` is only repeated in what is audible."""
        with self._lock:
            self._voice.write(name, audio, now_s)

    def voice_flushed(self, now_s: float) -> None:
        with self._lock:
            self._voice.cut(now_s)

    # What came of it.

    def audible(self, until_s: float = math.inf) -> list[Audible]:
        """Return all that has been played by `until_s`, in order of time.

        With the default, as if nothing else happened from now on. What is
        returned once counts as played: a later interrupt does not undo it.
        """
        with self._lock:
            for player in (self._voice, *self._avatars.values()):
                self._past += player.take(until_s)
            self._past.sort(key=lambda one: one.start_s)
            return list(self._past)

    def take(self, until_s: float) -> list[Audible]:
        """Do what `audible` does and forget it, for long runs."""
        with self._lock:
            taken = self.audible(until_s)
            self._past.clear()
            return taken

    def _take_event(self, event: Event) -> None:
        if event.connection is None:
            return
        if event.kind == "confirmed":
            self.avatar_started(event.connection, event.time_s)
        elif event.kind == "interrupt":
            self.avatar_interrupted(event.connection, event.time_s)
        elif event.kind == "cut":
            self.avatar_cut(event.connection, event.req_id, event.time_s)
        elif event.kind in ("closed", "vanished"):
            self.avatar_closed(event.connection, event.time_s)
