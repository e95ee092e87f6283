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

from .. import package
from ..harness.stage import (
    FRAME_MS,
    Report,
    Said,
    SpeechFileError,
    Stage,
    open_stage,
    read_speech,
)
from ..motion_server import Record, Request
from ..motion_server.guard import is_loopback
from ..window import Window, page_url
from ..window.performer import STALE_FRAMES, Performer, report_to

SENTENCE = package.ROOT / "devkit" / "assets" / "sentence_24k.wav"
BARGE_IN_AFTER_S = 1.5


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
        typer.Option(help="Where to write what the Motion Server heard."),
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
        str, typer.Option(help="Where the page is served.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The page's port; 0: any free one.")
    ] = 0,
    browser: Annotated[
        bool,
        typer.Option(help="Open the page, where there is a desktop."),
    ] = True,
) -> None:
    """Speak a sentence, then barge in on a second one, without credentials.

    Exit code 0 only if the local Motion Server heard just what it should.
    With --window the page does the talking, and Ctrl-C is the way out.
    """
    console = Console(highlight=False)
    try:
        pcm = read_speech(speech)
    except SpeechFileError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    if window:
        raise typer.Exit(_show(console, pcm, host, port, browser))
    checks = _run(console, pcm, speech, heard)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _run(
    console: Console, pcm: bytes, speech: Path, heard: Path
) -> Sequence[Check]:
    started = time.monotonic()

    def say(who: str, what: str, at: float | None = None) -> None:
        at_s = (time.monotonic() if at is None else at) - started
        console.print(
            f"[dim]{at_s:7.3f} s[/dim]  [bold]{who:<13}[/bold] {what}",
            soft_wrap=True,
        )

    def tell(report: Report) -> None:
        say("extension", _in_words(report), report.time_s)

    console.print(
        f"[bold]{speech.name}[/bold], {len(pcm) / 48000:.1f} s, as "
        f"{FRAME_MS} ms frames at real time\n"
    )
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
            f"heard {request.audio_bytes / 48:.0f} ms in "
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
        say("extension", f"answered flush after {answered_s * 1000:.1f} ms")
        say(
            "Motion Server",
            f"interrupted {(interrupt.time_s - flushed) * 1000:.1f} ms after "
            "the flush",
            interrupt.time_s,
        )
        # Commands and frames arrive in order: what was stale has come by now.
        stage.flush()
        checks = _checks(stage, first, second)
        delays = _delays_ms(server.record.requests[0], first)
        heard.parent.mkdir(parents=True, exist_ok=True)
        server.record.write_wav(heard)
    _print_verdict(console, checks, delays, heard)
    return checks


def _show(
    console: Console, pcm: bytes, host: str, port: int, browser: bool
) -> int:
    """Serve the window until Ctrl-C; the exit status."""
    if not is_loopback(host):
        console.print(
            f"[yellow]{host} is not loopback: whoever reaches this machine "
            "can listen and press the buttons[/yellow]",
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
    except OSError as error:
        console.print(f"[red]cannot listen: {error}[/red]", soft_wrap=True)
        return 1
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
            "first answer heard byte for byte",
            requests[0].audio == bytes(first.audio)
            and requests[0].ended_at_s is not None,
            f"{requests[0].audio_bytes} of {len(first.audio)} bytes",
        ),
        Check(
            "second answer interrupted, nothing of it heard after that",
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


def _in_words(report: Report) -> str:
    payload = report.payload
    if report.name == "avatar_state":
        return f"is {payload['state']} ({payload['reason']})"
    if report.name == "error":
        return f"[red]error {payload['code']}: {payload['message']}[/red]"
    metrics = payload["metrics"]
    return "reports " + ", ".join(f"{k} {v}" for k, v in metrics.items())


def _print_verdict(
    console: Console,
    checks: Sequence[Check],
    delays_ms: Sequence[float],
    heard: Path,
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
    console.print(f"what the server heard: {heard}", soft_wrap=True)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="bin/demo")
