"""The demo's three acts, and the checks after each.

An answer is heard to its end, a second one is cut short by the user, and
under a third one the connection breaks.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..harness.stage import Said, SentReport, Stage, open_stage
from ..motion_server import Record, Request, Reset
from ..motion_server.listener import Audible, Listener
from ..window.performer import STALE_FRAMES
from .timeline import TimelinePrinter

RATE = 24000
BYTES_PER_MS = RATE * 2 // 1000

BARGE_IN_AFTER_S = 1.5

TTS_SPEED = 5
"""How much faster than speech the third answer is synthesized."""

MAX_THIRD_MS = 4500
"""No more of the speech than this is the third answer."""

MAX_TWICE_MS = 800
"""The rewind of 500 ms, and 300 ms for the uncertain position."""

MAX_BACK_MS = 2000

LIMIT_S = 30.0


@dataclass(frozen=True)
class Check:
    """One thing that must hold, and how it came out."""

    what: str
    ok: bool
    got: str


@dataclass(frozen=True)
class Played:
    """The results of the acts."""

    record: Record
    checks: Sequence[Check]
    delays_ms: Sequence[float]
    """How long each message took from its last frame to the server."""


def play(console: Console, pcm: bytes) -> Played:
    """Play the three acts. Raises AssertionError if one gets stuck."""
    say = TimelinePrinter(console).say
    ends = _Ends()
    listener = Listener(RATE)

    def take(report: SentReport) -> None:
        words = in_words(report)
        if words:
            style = "red" if report.name == "error" else ""
            say("extension", words, report.time_s, style)
        ends.take(report)

    with open_stage(on_report=take, flush_wired=True) as stage:
        server = stage.server
        listener.follow(server.record)
        server.wait_for(lambda record: record.live_connections)
        say("Motion Server", f"session confirmed at {server.ingress_url}")
        acts = _Acts(console, stage, say, ends)
        first = acts.speak_to_the_end(pcm)
        checks = [_whole(stage, first)]
        second = acts.barge_in(pcm)
        checks.append(_interrupted(stage, second))
        third = acts.break_connection(pcm[: MAX_THIRD_MS * BYTES_PER_MS])
        parts = [
            one
            for one in listener.audible()
            if one.start_s >= third.frames[0][0]
        ]
        checks += resumed(parts, bytes(third.audio))
        checks += _session_checks(server.record)
        delays_ms = _delays_ms(server.record.requests[0], first)
    return Played(server.record, checks, delays_ms)


class _Ends:
    """Knows which answers the extension says have been heard out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reasons: dict[str, int] = {}

    def take(self, report: SentReport) -> None:
        if report.name == "avatar_audio_end":
            with self._changed:
                payload = report.payload
                self._reasons[payload["request_id"]] = payload["reason"]
                self._changed.notify_all()

    def wait_for(self, said: Said, timeout_s: float) -> None:
        """Raises AssertionError."""
        name = f"tts-{said.turn_id}"
        with self._changed:
            met = self._changed.wait_for(
                lambda: name in self._reasons, timeout_s
            )
        assert met, f"no avatar_audio_end of {name} within {timeout_s:.0f} s"


class _Acts:
    def __init__(
        self,
        console: Console,
        stage: Stage,
        say: Callable[..., None],
        ends: _Ends,
    ) -> None:
        self._console = console
        self._stage = stage
        self._say = say
        self._ends = ends

    def speak_to_the_end(self, pcm: bytes) -> Said:
        server = self._stage.server
        self._say("agent", "speaks the first answer")
        said = self._speak(pcm)
        server.wait_for(lambda record: record.requests[0].closed)
        request = server.record.requests[0]
        self._say(
            "Motion Server",
            f"received {request.audio_bytes / BYTES_PER_MS:.0f} ms in "
            f"{request.message_count} messages, and its end",
        )
        self._ends.wait_for(said, LIMIT_S)
        return said

    def barge_in(self, pcm: bytes) -> Said:
        stage, server = self._stage, self._stage.server
        self._say("agent", "speaks the second answer")
        until_s = time.monotonic() + BARGE_IN_AFTER_S
        said = self._speak(
            pcm, end=False, is_over=lambda: time.monotonic() >= until_s
        )
        self._say("user", "barges in")
        flushed_s = time.monotonic()
        answered_s = stage.flush()
        for _ in range(STALE_FRAMES):
            stage.send_frame(bytes(480), said)
        stage.send_data("tts_audio_end", said.turn_id, reason=2)
        server.wait_for(lambda record: record.interrupts)
        interrupt = server.record.interrupts[0]
        after_ms = (interrupt.time_s - flushed_s) * 1000
        answered = f"answered flush after {answered_s * 1000:.1f} ms"
        interrupted = f"interrupted {after_ms:.1f} ms after the flush"
        for at_s, who, what in sorted(
            [
                (flushed_s + answered_s, "extension", answered),
                (interrupt.time_s, "Motion Server", interrupted),
            ]
        ):
            self._say(who, what, at_s)
        # Commands and frames arrive in order: stale frames have come by now.
        stage.flush()
        return said

    def break_connection(self, pcm: bytes) -> Said:
        server = self._stage.server
        self._say(
            "agent",
            f"speaks the third answer, {TTS_SPEED} times as fast as speech",
        )
        said = self._speak(pcm, speed=TTS_SPEED)
        length_ms = len(pcm) // BYTES_PER_MS
        server.wait_for(lambda record: record.requests[-1].closed)
        self._say("Motion Server", f"received all {length_ms} ms, and its end")
        # In mid-sentence, all of which has been received by then.
        cut_at_s = said.frames[0][0] + 0.4 * length_ms / 1000
        time.sleep(max(0.0, cut_at_s - time.monotonic()))
        spoken_ms = 1000 * (time.monotonic() - said.frames[0][0])
        sessions = len(server.record.connections)
        self._say(
            "Motion Server",
            f"breaks the connection, about {spoken_ms:.0f} ms into the answer",
        )
        broken_s = time.monotonic()
        server.now(Reset())
        server.wait_for(
            lambda record: (
                len(record.connections) > sessions
                and record.requests[-1].connection > sessions
                and record.requests[-1].closed
            )
        )
        rest = server.record.requests[-1]
        rest_ms = rest.audio_bytes / BYTES_PER_MS
        after_ms = 1000 * (rest.opened_s - broken_s)
        self._say(
            "Motion Server",
            f"received the last {rest_ms:.0f} ms again, {after_ms:.0f} ms "
            "after the break",
        )
        self._ends.wait_for(said, LIMIT_S + length_ms / 1000)
        return said

    def _speak(self, pcm: bytes, **options: Any) -> Said:
        with Progress(
            TextColumn("           "),
            BarColumn(40),
            TextColumn("{task.percentage:3.0f} %"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as progress:
            bar = progress.add_task("", total=1.0)
            return self._stage.speak(
                pcm,
                on_progress=lambda part: progress.update(bar, completed=part),
                **options,
            )


def _whole(stage: Stage, said: Said) -> Check:
    request = stage.server.record.requests[0]
    return Check(
        "first answer received byte for byte",
        request.audio == bytes(said.audio) and request.ended_at_s is not None,
        f"{request.audio_bytes} of {len(said.audio)} bytes",
    )


def _interrupted(stage: Stage, said: Said) -> Check:
    record = stage.server.record
    requests = record.requests
    before_flush = bytes(said.audio[: -480 * STALE_FRAMES])
    return Check(
        "second answer interrupted, nothing of it received after that",
        len(requests) == 2
        and requests[1].interrupted_at_s is not None
        and before_flush.startswith(requests[1].audio),
        f"interrupts: {len(record.interrupts)}, requests: {len(requests)}",
    )


def resumed(parts: Sequence[Audible], said: bytes) -> list[Check]:
    """Check the audible parts of the answer whose connection broke."""
    first = parts[0].connection
    before = b"".join(one.audio for one in parts if one.connection == first)
    after = b"".join(one.audio for one in parts if one.connection != first)
    # The repetition is the answer's end: so its place is known.
    resumed_at = len(said) - len(after)
    is_known = said.startswith(before) and said[resumed_at:] == after
    missing_ms = max(0, resumed_at - len(before)) / BYTES_PER_MS
    twice_ms = max(0, len(before) - resumed_at) / BYTES_PER_MS
    back_ms = _back_ms(parts)
    return [
        Check(
            "third answer cut off by a lost connection: nothing missing",
            is_known and not missing_ms,
            f"{missing_ms:.0f} ms missing"
            if is_known
            else "other audio than was said",
        ),
        Check(
            f"... no more than {MAX_TWICE_MS} ms of it heard twice",
            twice_ms <= MAX_TWICE_MS,
            f"{twice_ms:.0f} ms twice",
        ),
        Check(
            f"... speech back within {MAX_BACK_MS} ms",
            back_ms is not None and back_ms <= MAX_BACK_MS,
            "never" if back_ms is None else f"after {back_ms:.0f} ms",
        ),
    ]


def _back_ms(parts: Sequence[Audible]) -> float | None:
    """Return for how long nothing was audible between two connections."""
    for one, following in zip(parts, parts[1:]):
        if one.connection != following.connection:
            return 1000 * (following.start_s - one.end_s)
    return None


def _session_checks(record: Record) -> list[Check]:
    connections = record.connections
    config = connections[0].config
    assert config is not None
    left_min = ((config.agora_token_end_s or 0) - time.time()) / 60
    return [
        Check(
            "a second session after the loss, protocol kept",
            len(connections) == 2 and not record.violations,
            f"sessions: {len(connections)}, "
            f"violations: {len(record.violations)}",
        ),
        Check(
            "channel and uid",
            (config.channel, config.uid, config.publisher_id)
            == ("demo", 1001, "1001"),
            f"{config.channel}, {config.uid}",
        ),
        Check(
            "Agora token signed for the session's 30 minutes",
            29 < left_min <= 30,
            f"{left_min:.1f} minutes left",
        ),
    ]


def _delays_ms(request: Request, said: Said) -> list[float]:
    delays = []
    frames = iter(said.frames)
    sent_s, sent_bytes = next(frames)
    received = 0
    for message in request.messages:
        received += len(message.audio)
        while sent_bytes < received:
            sent_s, sent_bytes = next(frames)
        delays.append((message.time_s - sent_s) * 1000)
    return delays


def in_words(report: SentReport) -> str:
    """Describe a report of the extension; "" if another one says it."""
    payload = report.payload
    if report.name == "connection_status_changed":
        return ""
    if report.name == "avatar_state":
        return f"is {payload['state']} ({payload['reason']})"
    if report.name == "error":
        return f"error {payload['code']}: {payload['message']}"
    if report.name == "avatar_audio_start":
        return f"avatar_audio_start: {payload['request_id']} begins to be heard"
    if report.name == "avatar_audio_end":
        how = {1: "heard to its end", 2: "cut", 3: "lost"}[payload["reason"]]
        return (
            f"avatar_audio_end: {payload['request_id']} {how}, at "
            f"{payload['playback_position_ms']} of "
            f"{payload['request_total_audio_duration_ms']} ms"
        )
    values = payload.get("metrics", payload)
    known = [
        name if value is True else f"{name} {value}"
        for name, value in values.items()
        if value and name != "connect_delay"  # connect_delay_ms, in TEN's words
    ]
    return f"{report.name}: " + ", ".join(known)
