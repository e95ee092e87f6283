"""The demo: a sentence is spoken, a second one is cut short.

Everything goes the way it goes in a TEN app; only the service is local. What
the local Motion Server recorded is held against what was sent.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .. import package
from ..harness.speech_file import SpeechFileError, read_speech
from ..harness.stage import (
    FRAME_MS,
    Said,
    SentReport,
    Stage,
    open_stage,
)
from ..motion_server import Record, Request
from ..motion_server.guard import is_loopback
from ..window import Window, page_url
from ..window.performer import STALE_FRAMES, Performer, report_to
from .timeline import TimelinePrinter

SENTENCE = package.ROOT / "devkit" / "assets" / "sentence_24k.wav"
BARGE_IN_AFTER_S = 1.5
FAILED, UNUSABLE = 1, 2


@dataclass(frozen=True)
class Check:
    """One thing that must hold, and how it came out."""

    what: str
    ok: bool
    got: str


def main(
    speech: Annotated[
        Path, typer.Argument(help="A WAV to speak: 24 kHz, mono, 16 bit.")
    ] = SENTENCE,
    heard: Annotated[
        Path,
        typer.Option(help="Where to write what the Motion Server received."),
    ] = package.ROOT / "out" / "heard.wav",
    window: Annotated[
        bool,
        typer.Option(
            "--window",
            help="Serve a page that shows the avatar, with buttons to speak, "
            "barge in and make the service go wrong; until Ctrl-C.",
        ),
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where the page is served.", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="The page's port; 0: any free one.",
            show_default="0",
        ),
    ] = None,
    browser: Annotated[
        bool,
        typer.Option(help="Open the page, where there is a desktop."),
    ] = True,
) -> None:
    """Speak a sentence, then barge in on a second one, without credentials.

    Exit code: 0 the local Motion Server received exactly what it should, 1 it
    did not, 2 a file or an option cannot be used, 130 stopped by Ctrl-C. With
    --window the page has the controls; Ctrl-C ends it.
    """
    console = Console(highlight=False)
    if not window and (host is not None or port is not None):
        raise typer.BadParameter("--host and --port belong to --window")
    try:
        pcm = read_speech(speech)
        if not window:
            _try_to_write(heard)
    except SpeechFileError as error:
        _print_problem(console, error)
        raise typer.Exit(UNUSABLE) from None
    except (OSError, ValueError) as error:
        _print_problem(console, f"{heard} cannot be written: {_reason(error)}")
        raise typer.Exit(UNUSABLE) from None
    if window:
        host = host or "127.0.0.1"
        raise typer.Exit(_show(console, pcm, host, port or 0, browser))
    try:
        record, checks, delays = _run(console, pcm, speech)
    except AssertionError as error:  # what was waited for did not come
        _print_problem(console, f"The demo stopped half-way: {error}")
        raise typer.Exit(FAILED) from None
    _print_verdict(console, checks, delays)
    is_written = _write(console, record, heard)
    ok = is_written and all(check.ok for check in checks)
    raise typer.Exit(0 if ok else FAILED)


def _try_to_write(path: Path) -> None:
    """Raise OSError or ValueError where `path` cannot become a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


def _write(console: Console, record: Record, path: Path) -> bool:
    try:
        record.write_wav(path)
    except OSError as error:
        _print_problem(console, f"{path} cannot be written: {_reason(error)}")
        return False
    shown = min(str(path), os.path.relpath(path), key=len)
    console.print(
        f"what the server received: {shown}", markup=False, soft_wrap=True
    )
    return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _print_problem(console: Console, problem: object) -> None:
    console.print(str(problem), style="red", markup=False, soft_wrap=True)


def _run(
    console: Console, pcm: bytes, speech: Path
) -> tuple[Record, Sequence[Check], Sequence[float]]:
    """Play both answers; the record, what it shows, the delays in ms."""
    console.print(
        Text.assemble(
            (speech.name, "bold"),
            f", {len(pcm) / 48000:.1f} s, as {FRAME_MS} ms frames at real "
            "time\n",
        ),
        soft_wrap=True,
    )
    say = TimelinePrinter(console).say

    def tell(report: SentReport) -> None:
        style = "red" if report.name == "error" else ""
        say("extension", _in_words(report), report.time_s, style)

    with open_stage(on_report=tell) as stage:
        server = stage.server
        server.wait_for(lambda record: record.live_connections, 10)
        say("Motion Server", f"session confirmed at {server.ingress_url}")

        say("agent", "speaks the first answer")
        first = _speak(console, stage, pcm)
        server.wait_for(lambda record: record.requests[0].closed)
        request = server.record.requests[0]
        say(
            "Motion Server",
            f"received {request.audio_bytes / 48:.0f} ms in "
            f"{request.message_count} messages, and its end",
        )

        say("agent", "speaks the second answer")
        until = time.monotonic() + BARGE_IN_AFTER_S
        second = _speak(console, stage, pcm, end=False, until=until)
        say("user", "barges in")
        flushed = time.monotonic()
        answered_s = stage.flush()
        for _ in range(STALE_FRAMES):
            stage.send_frame(bytes(480), second)
        stage.send_data("tts_audio_end", second.turn_id, reason=2)
        server.wait_for(lambda record: record.interrupts)
        interrupt = server.record.interrupts[0]
        after_ms = (interrupt.time_s - flushed) * 1000
        answered = f"answered flush after {answered_s * 1000:.1f} ms"
        interrupted = f"interrupted {after_ms:.1f} ms after the flush"
        for at, who, what in sorted(
            [
                (flushed + answered_s, "extension", answered),
                (interrupt.time_s, "Motion Server", interrupted),
            ]
        ):
            say(who, what, at)
        # Commands and frames arrive in order: what was stale has come by now.
        stage.flush()
        checks = _checks(stage, first, second)
        delays = _delays_ms(server.record.requests[0], first)
    return server.record, checks, delays


def _show(
    console: Console, pcm: bytes, host: str, port: int, browser: bool
) -> int:
    """Serve the window until Ctrl-C; the exit status."""
    if not is_loopback(host):
        console.print(
            f"{host} is not loopback: whoever reaches this machine can listen "
            "and press the buttons",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    window = Window()
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    try:
        with contextlib.ExitStack() as stack:
            stage = stack.enter_context(
                open_stage(
                    on_report=lambda report: report_to(window.feed, report),
                    host=host,
                    port=port,
                    routes=window.routes,
                    keep_audio=False,
                )
            )
            performer = Performer(stage, pcm, window.feed)
            stack.callback(performer.leave)
            window.put_on_stage(performer.buttons())
            window.attach(stage.server)
            url = page_url(stage.server)
            console.print(f"The window: [bold]{url}[/bold]   (Ctrl-C ends it)")
            if browser and _has_desktop():
                webbrowser.open(url)
            asked_to_end.wait()
    except (OSError, ValueError) as error:
        _print_problem(
            console, f"Cannot listen at {host}, port {port}: {_reason(error)}"
        )
        return FAILED
    return 0


def _has_desktop() -> bool:
    """Whether a browser would open beside this terminal, and not in it."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _speak(
    console: Console,
    stage: Stage,
    pcm: bytes,
    *,
    end: bool = True,
    until: float = float("inf"),
) -> Said:
    with Progress(
        TextColumn("           "),
        BarColumn(40),
        TextColumn("{task.percentage:3.0f} %"),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=1.0)
        return stage.speak(
            pcm,
            end=end,
            on_progress=lambda part: progress.update(bar, completed=part),
            is_over=lambda: time.monotonic() >= until,
        )


def _checks(stage: Stage, first: Said, second: Said) -> list[Check]:
    record = stage.server.record
    requests = record.requests
    before_flush = bytes(second.audio[: -480 * STALE_FRAMES])
    checks = [
        Check(
            "first answer received byte for byte",
            requests[0].audio == bytes(first.audio)
            and requests[0].ended_at_s is not None,
            f"{requests[0].audio_bytes} of {len(first.audio)} bytes",
        ),
        Check(
            "second answer interrupted, nothing of it received after that",
            len(requests) == 2
            and requests[1].interrupted_at_s is not None
            and before_flush.startswith(requests[1].audio),
            f"{len(record.interrupts)} interrupt(s), {len(requests)} requests",
        ),
    ]
    return checks + _session_checks(record)


def _session_checks(record: Record) -> list[Check]:
    connections = record.connections
    config = connections[0].config
    assert config is not None
    left_min = ((config.agora_token_end_s or 0) - time.time()) / 60
    return [
        Check(
            "one session, protocol kept",
            len(connections) == 1 and not record.violations,
            f"{len(connections)} session(s), "
            f"{len(record.violations)} violation(s)",
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
    """Return how long each message took from its last frame to the server."""
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


def _in_words(report: SentReport) -> str:
    payload = report.payload
    if report.name == "avatar_state":
        return f"is {payload['state']} ({payload['reason']})"
    if report.name == "error":
        return f"error {payload['code']}: {payload['message']}"
    values = payload.get("metrics", payload)
    return f"reports {report.name} " + ", ".join(
        f"{name} {value}" for name, value in values.items()
    )


def _print_verdict(
    console: Console,
    checks: Sequence[Check],
    delays_ms: Sequence[float],
) -> None:
    table = Table(title="\nVerdict", title_justify="left", box=None)
    table.add_column("")
    table.add_column("")
    table.add_column("", style="dim")
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]FAILED[/red]"
        table.add_row(mark, check.what, check.got)
    console.print(table)
    p99 = quantiles(delays_ms, n=100)[98] if len(delays_ms) > 1 else 0.0
    console.print(
        f"\nframe in to bytes at the server: median {median(delays_ms):.2f} ms"
        f", p99 {p99:.2f} ms over {len(delays_ms)} messages"
    )


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="bin/demo")
