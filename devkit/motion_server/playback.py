"""Plays the audio of a session in real time and reports it to the client.

`Playback` is pure; `PlaybackReporter` sends its changes to the client as the
server's settings have it.
"""

import math
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from . import wire
from .clock import Clock, Timer
from .faults import CutReason
from .model import Connection, SessionConfig
from .record import Record

BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class Span:
    """A part of a request that plays without a pause."""

    req_id: str
    begin_byte: int
    end_byte: int
    start_s: float
    end_s: float


class Player:
    """Plays audio in order and in real time, from its arrival on.

    Pure: times are handed in, in seconds. Audio is 16-bit mono PCM.
    """

    def __init__(self, sample_rate: int) -> None:
        self._bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        # When all that was written will have been played.
        self.ends_at_s = -math.inf
        self._spans: deque[Span] = deque()
        # Request id -> bytes written.
        self._written: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Player spans={len(self._spans)} until={self.ends_at_s:.3f}>"

    def write(self, req_id: str, size: int, now_s: float) -> float:
        """Play `size` more bytes of a request; return when they begin."""
        start_s = max(self.ends_at_s, now_s)
        end_s = self.ends_at_s = start_s + size / self._bytes_per_s
        begin = self._written.get(req_id, 0)
        end = self._written[req_id] = begin + size
        last = self._spans[-1] if self._spans else None
        # A request may go on right at the place of a cut.
        if last and (last.req_id, last.end_byte, last.end_s) == (
            req_id,
            begin,
            start_s,
        ):
            self._spans[-1] = replace(last, end_byte=end, end_s=end_s)
        else:
            self._spans.append(Span(req_id, begin, end, start_s, end_s))
        return start_s

    def cut(self, now_s: float) -> None:
        """Discard the audio that has not been played by `now_s`."""
        self.ends_at_s = min(self.ends_at_s, now_s)
        while self._spans and self._spans[-1].end_s > now_s:
            span = self._spans.pop()
            played = int((now_s - span.start_s) * self._bytes_per_s)
            played -= played % BYTES_PER_SAMPLE
            if played > 0:
                end = span.begin_byte + played
                self._spans.append(replace(span, end_byte=end, end_s=now_s))

    def take(self, until_s: float = math.inf) -> list[Span]:
        """Return the spans that were played by `until_s`, and forget them."""
        taken = []
        while self._spans and self._spans[0].end_s <= until_s:
            taken.append(self._spans.popleft())
        return taken


State = Literal["playing", "ended", "interrupted"]


@dataclass(frozen=True)
class PlaybackSignals:
    """How the service reports playback, irregularities included.

    `ServerResponseAnimation` messages: one without `end` when a request
    begins to play, one with `end` when it has been played to its end. To
    clients of a server with the capability `playback_state` it sends
    `ServerPlaybackState` as well.
    """

    # Each signal comes that much later.
    late_ms: float = 0
    # Each signal comes twice.
    doubled: bool = False
    # Each signal is followed by one for a request that never was.
    foreign: bool = False
    # Each signal is followed by one of an older connection.
    older: bool = False
    # Further signals while a request plays; 0: none.
    progress_ms: float = 0
    # An interrupted request gets its `end`, too.
    end_when_interrupted: bool = False


@dataclass(frozen=True)
class Change:
    """A request begins to play, goes on, has ended, or was interrupted."""

    req_id: str
    state: State
    played_ms: float
    # Why it was interrupted.
    reason: CutReason | Literal["explicit", ""] = ""


@dataclass
class _Playing:
    """A request that has not been played to its end."""

    req_id: str
    start_s: float
    # When all of it that has arrived will have been played.
    until_s: float
    duration_s: float = 0.0
    ended_at_s: float | None = None
    # When the next "playing" is due; None: none any more.
    report_at_s: float | None = None

    @property
    def over_at_s(self) -> float | None:
        """When it will have been played to its end, None if not known."""
        if self.ended_at_s is None:
            return None
        return max(self.until_s, self.ended_at_s)

    def played_ms(self, now_s: float) -> float:
        left_s = max(0.0, self.until_s - now_s)
        return 1000 * max(0.0, self.duration_s - left_s)


class Playback:
    """Plays the requests of one session, one behind the other."""

    def __init__(self, sample_rate: int) -> None:
        self._bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        self._player = Player(sample_rate)
        # By id, in the order of playing.
        self._playing: dict[str, _Playing] = {}
        # Ids of those that the service has cut: their rest is discarded,
        # too.
        self._cut: set[str] = set()

    def has_others(self, req_id: str) -> bool:
        """Return whether another request than this one plays, or waits to."""
        return any(other != req_id for other in self._playing)

    def audio(
        self,
        req_id: str,
        size: int,
        end: bool,
        now_s: float,
        *,
        delay_s: float = 0.0,
    ) -> None:
        """Take a message of a request, which plays `delay_s` later."""
        if req_id in self._cut:
            return
        if size:
            start_s = self._player.write(req_id, size, now_s + delay_s)
            self._player.take(now_s)
            playing = self._playing.setdefault(
                req_id,
                _Playing(req_id, start_s, start_s, report_at_s=start_s),
            )
            playing.until_s = self._player.ends_at_s
            playing.duration_s += size / self._bytes_per_s
        if end and req_id in self._playing:
            self._playing[req_id].ended_at_s = now_s

    def interrupt(
        self,
        now_s: float,
        reason: CutReason | Literal["explicit"] = "explicit",
    ) -> list[Change]:
        """Discard unplayed audio; return the requests that this cuts."""
        self._player.cut(now_s)
        changes = [
            Change(one.req_id, "interrupted", one.played_ms(now_s), reason)
            for one in self._playing.values()
        ]
        if reason != "explicit":
            self._cut.update(self._playing)
        self._playing.clear()
        return changes

    @property
    def due_at_s(self) -> float | None:
        """When the next change happens, None while nothing can."""
        times = [
            at_s
            for one in self._playing.values()
            for at_s in (one.report_at_s, one.over_at_s)
            if at_s is not None
        ]
        return min(times, default=None)

    def due(self, now_s: float, progress_s: float = 0) -> list[Change]:
        """Take the changes up to now, in the order in which they came."""
        changes = []
        for one in list(self._playing.values()):
            while one.report_at_s is not None and one.report_at_s <= now_s:
                played_ms = one.played_ms(one.report_at_s)
                changes.append(Change(one.req_id, "playing", played_ms))
                next_s = one.report_at_s + progress_s
                plays_on = bool(progress_s) and next_s < one.until_s
                one.report_at_s = next_s if plays_on else None
            if one.over_at_s is not None and one.over_at_s <= now_s:
                duration_ms = 1000 * one.duration_s
                changes.append(Change(one.req_id, "ended", duration_ms))
                del self._playing[one.req_id]
        return changes


class SignalReceiver(Protocol):
    """The connection that the signals go to."""

    connection: Connection

    def post(self, data: bytes) -> None: ...


class PlaybackReporter:
    """Sends the playback signals of one session at their time."""

    def __init__(
        self,
        client: SignalReceiver,
        config: SessionConfig,
        record: Record,
        clock: Clock,
        signals: Callable[[], PlaybackSignals | None],
        *,
        states: bool,
    ) -> None:
        self._client = client
        # Only PCM says how long it plays.
        self._playback = (
            Playback(config.sample_rate)
            if config.audio_format == "pcm_s16le"
            else None
        )
        self._record = record
        self._clock = clock
        self._signals = signals
        # Whether `ServerPlaybackState` is sent, too.
        self._states = states
        self._timer: Timer | None = None
        # Late signals that are still to be sent, and a timer for each. Timers
        # that are due at nearly one time go off in any order.
        self._late: deque[tuple[Change, PlaybackSignals]] = deque()
        self._late_timers: set[Timer] = set()

    def supersede(self, req_id: str) -> None:
        """Cut all other requests than this one, which has just begun."""
        self._advance()
        if self._playback is not None and self._playback.has_others(req_id):
            self.cut("preempted")

    def audio(
        self, req_id: str, size: int, end: bool, delay_s: float = 0.0
    ) -> None:
        """Take a message of a request, which plays `delay_s` later."""
        if self._playback is not None:
            now_s = self._clock.monotonic()
            self._playback.audio(req_id, size, end, now_s, delay_s=delay_s)
            self._advance()

    def interrupt(self) -> None:
        """Stop playing at the client's request."""
        if self._playback is not None:
            self._advance()
            now_s = self._clock.monotonic()
            for change in self._playback.interrupt(now_s):
                self._report(change)

    def cut(self, reason: CutReason) -> None:
        """Stop playing of the service's own accord."""
        if self._playback is not None:
            self._advance()
            now_s = self._clock.monotonic()
            for change in self._playback.interrupt(now_s, reason):
                self._record.cut(
                    self._client.connection.number,
                    change.req_id,
                    f"{reason} at {change.played_ms:.0f} ms",
                )
                self._report(change)

    def stop(self) -> None:
        """End with the connection: nothing plays on."""
        self._playback = None
        for timer in (self._timer, *self._late_timers):
            if timer is not None:
                timer.cancel()
        self._late_timers.clear()
        self._late.clear()

    def _advance(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._playback is None:
            return
        signals = self._signals()
        progress_s = signals.progress_ms / 1000 if signals else 0.0
        now_s = self._clock.monotonic()
        for change in self._playback.due(now_s, progress_s):
            self._report(change)
        due_at_s = self._playback.due_at_s
        if due_at_s is not None:
            self._timer = self._clock.call_at(due_at_s, self._advance)

    def _report(self, change: Change) -> None:
        signals = self._signals()
        if signals is None:
            return
        if not signals.late_ms:
            self._send(change, signals)
            return
        at_s = self._clock.monotonic() + signals.late_ms / 1000

        self._late.append((change, signals))

        def send() -> None:
            self._late_timers.discard(timer)
            self._send(*self._late.popleft())

        timer = self._clock.call_at(at_s, send)
        self._late_timers.add(timer)

    def _send(self, change: Change, signals: PlaybackSignals) -> None:
        connection = self._client.connection
        self._send_one(connection.connection_id, change.req_id, change, signals)
        if signals.foreign:
            foreign_id = f"foreign-{secrets.token_hex(4)}"
            self._send_one(
                connection.connection_id, foreign_id, change, signals
            )
        if signals.older:
            self._send_one(*self._older(), change, signals)

    def _send_one(
        self,
        connection_id: str,
        req_id: str,
        change: Change,
        signals: PlaybackSignals,
    ) -> None:
        messages = []
        ends = change.state == "ended" or (
            change.state == "interrupted" and signals.end_when_interrupted
        )
        if ends or change.state == "playing":
            messages.append(wire.animation(connection_id, req_id, end=ends))
        if self._states:
            messages.append(
                wire.playback_state(
                    connection_id,
                    req_id,
                    change.state,
                    int(change.played_ms),  # not more than it was
                    change.reason,
                )
            )
        for message in messages * (2 if signals.doubled else 1):
            self._record.playback(
                self._client.connection.number,
                req_id,
                f"{change.state} at {change.played_ms:.0f} ms",
            )
            self._client.post(message)

    def _older(self) -> tuple[str, str]:
        """Ids of an older connection and of a request of its."""
        mine = self._client.connection.number
        for one in reversed(self._record.connections):
            if one.number < mine and one.connection_id and one.requests:
                return one.connection_id, one.requests[-1].req_id
        return "local-0-older", "older"
