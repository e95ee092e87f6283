"""The demo: an answer, one that is cut short, one whose connection breaks.

Everything goes the way it goes in a TEN app; only the service is local. The
local Motion Server's record is compared with the audio sent.
"""

import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import package
from ..harness.speech_file import SpeechFileError, read_speech
from ..harness.stage import FRAME_MS, SentReport, open_stage
from ..motion_server import Record
from ..motion_server.guard import is_loopback
from ..web import (
    CLIENT,
    BuildError,
    Unusable,
    build,
    page_settings,
    serve_face,
    variables,
)
from ..window import Window, page_url
from ..window.performer import Performer, report_to, voice_to
from .acts import Played, in_words, play
from .output import NotWritten, print_line, reason_of, run, try_to_write
from .timeline import TimelinePrinter

SENTENCE = package.ROOT / "devkit" / "assets" / "sentence_24k.wav"
FAILED, UNUSABLE = 1, 2

LONG_S = 60
"""A WAV that is longer is announced with the time that it takes."""

OTHER_ACTS_S = 10
"""How long the second and the third answer take."""


def main(
    speech: Annotated[
        Path,
        typer.Argument(
            metavar="WAV", help="What to speak: 24 kHz, mono, 16 bit."
        ),
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
    web: Annotated[
        bool,
        typer.Option(
            "--web",
            help="Let the real avatar speak in your browser, with your "
            "credentials; until Ctrl-C. Sessions are billed.",
        ),
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where --web reads environment variables.",
            show_default=".env, if it is there",
        ),
    ] = None,
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
    """Speak, barge in, and lose the connection, without credentials.

    Exit code: 0 the local Motion Server received exactly the expected audio, 1
    it did not, 2 a file, an option or the configuration cannot be used, 130
    stopped by Ctrl-C. With --window and --web the page has the controls; Ctrl-C
    ends it.
    """
    console = Console(highlight=False)
    if window and web:
        raise typer.BadParameter("--window and --web exclude each other")
    if host is not None and not window:
        raise typer.BadParameter("--host belongs to --window")
    if port is not None and not (window or web):
        raise typer.BadParameter("--port belongs to --window and --web")
    if env_file is not None and not web:
        raise typer.BadParameter("--env-file belongs to --web")
    if web:
        raise typer.Exit(_show_face(console, speech, env_file, port, browser))
    try:
        pcm = read_speech(speech)
        if not window:
            try_to_write(heard, [speech], "the file that is spoken")
    except (SpeechFileError, NotWritten) as error:
        print_line(console, error, "red")
        raise typer.Exit(UNUSABLE) from None
    if window:
        host = host or "127.0.0.1"
        raise typer.Exit(_show(console, pcm, host, port or 0, browser))
    try:
        played = _run(console, pcm, speech)
    except AssertionError as error:  # the expected event did not come
        print_line(console, f"The demo stopped half-way: {error}", "red")
        raise typer.Exit(FAILED) from None
    _print_verdict(console, played)
    is_written = _write(console, played.record, heard)
    ok = is_written and all(check.ok for check in played.checks)
    raise typer.Exit(0 if ok else FAILED)


def _write(console: Console, record: Record, path: Path) -> bool:
    try:
        record.write_wav(path)
    except OSError as error:
        print_line(console, NotWritten(error, path), "red")
        return False
    shown = min(str(path), os.path.relpath(path), key=len)
    print_line(console, f"what the server received: {shown}")
    return True


def _run(console: Console, pcm: bytes, speech: Path) -> Played:
    console.print(
        Text.assemble(
            (speech.name, "bold"),
            f", {_length(len(pcm) / 48000)}, as {FRAME_MS} ms frames\n",
        ),
        soft_wrap=True,
    )
    if len(pcm) / 48000 > LONG_S:
        whole_s = len(pcm) / 48000 + OTHER_ACTS_S
        print_line(
            console,
            f"This takes about {_length(whole_s)}: the first answer is spoken "
            "to its end. Ctrl-C stops it.\n",
        )
    return play(console, pcm)


def _length(seconds: float) -> str:
    if seconds < LONG_S:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _show(
    console: Console, pcm: bytes, host: str, port: int, browser: bool
) -> int:
    """Serve the window until Ctrl-C; the exit status."""
    if not is_loopback(host):
        print_line(
            console,
            f"{host} is not loopback: whoever reaches this machine can listen "
            "and press the buttons",
            "yellow",
        )
    window = Window(shlex.join(["bin/demo", *sys.argv[1:]]))
    try:
        with contextlib.ExitStack() as stack:
            stage = stack.enter_context(
                open_stage(
                    on_report=lambda report: report_to(window.feed, report),
                    on_audio_frame=lambda frame: voice_to(window.feed, frame),
                    voice_wired=True,
                    flush_wired=True,
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
            _wait(console, "The window", page_url(stage.server), browser)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        text = f"Cannot listen at {host}, port {port}: {reason}"
        print_line(console, text, "red")
        return FAILED
    return 0


def _show_face(
    console: Console,
    speech: Path,
    env_file: Path | None,
    port: int | None,
    browser: bool,
) -> int:
    """Let the real avatar speak on a page until Ctrl-C; the exit status."""
    say = TimelinePrinter(console).say

    def tell(report: SentReport) -> None:
        if report.name in ("avatar_state", "error"):
            say("extension", in_words(report), report.time_s)

    try:
        with tempfile.TemporaryDirectory() as site:
            build(CLIENT, Path(site))
            os.environ.update(variables(env_file))
            settings = page_settings()
            pcm = read_speech(speech)
            served = serve_face(
                Path(site), settings, pcm, port=port or 0, on_report=tell
            )
            with served as url:
                _wait(console, "The avatar", url, browser)
    except (BuildError, SpeechFileError, Unusable) as error:
        print_line(console, error, "red")
        return UNUSABLE
    except OSError as error:
        print_line(console, f"Port {port or 0}: {reason_of(error)}", "red")
        return FAILED
    return 0


def _wait(console: Console, name: str, url: str, browser: bool) -> None:
    """Print where a page is, open it, and wait for Ctrl-C."""
    asked_to_end: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked_to_end.append(number))
    # Not as markup: an IPv6 address stands in brackets.
    console.print(
        Text.assemble(f"{name}: ", (url, "bold"), "   (Ctrl-C ends it)")
    )
    if browser and _has_desktop():
        webbrowser.open(url)
    # A wait without a limit may begin just after the signal, whose handler
    # would run when it ends; one for an Event may hold the lock of its set().
    while not asked_to_end:
        time.sleep(0.1)


def _has_desktop() -> bool:
    """Whether a browser would open beside this terminal, and not in it."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _print_verdict(console: Console, played: Played) -> None:
    delays_ms = played.delays_ms
    table = Table(title="\nVerdict", title_justify="left", box=None)
    table.add_column("")
    table.add_column("")
    table.add_column("", style="dim")
    for check in played.checks:
        mark = "[green]ok[/green]" if check.ok else "[red]FAILED[/red]"
        table.add_row(mark, check.what, check.got)
    console.print(table)
    p99 = ""
    if len(delays_ms) > 1:
        p99 = f", p99 {quantiles(delays_ms, n=100)[98]:.2f} ms"
    console.print(
        "\nframe in to bytes at the server: median "
        f"{median(delays_ms):.2f} ms{p99} over {len(delays_ms)} message"
        f"{'' if len(delays_ms) == 1 else 's'}"
    )


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/demo")
