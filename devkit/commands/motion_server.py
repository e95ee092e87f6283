"""Runs the local Spatius service on its own."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from typing import Annotated

import typer

from ..motion_server import (
    Event,
    MotionServer,
    PlanLimits,
    PlaybackSignals,
    event_line,
)
from ..motion_server.guard import is_loopback
from ..window import Window, page_url
from .output import run

CERTIFICATE_VARIABLE = "AGORA_APP_CERTIFICATE"
MAX_PORT = 65535
CONTAINER_HOST = "host.docker.internal"

_HEX_32 = re.compile("[0-9a-fA-F]{32}")


def main(
    host: Annotated[
        str, typer.Option(help="Address to listen at; by default loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=MAX_PORT, help="0: any free one.")
    ] = 0,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="An API key to accept; repeatable; default: any.",
        ),
    ] = None,
    app_id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A known Spatius app; repeatable; default: any."
        ),
    ] = None,
    avatar_id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A known avatar; repeatable; default: any."
        ),
    ] = None,
    certificate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AGORA_APP_ID[=CERTIFICATE]",
            help="Check signatures of this App ID's tokens; without "
            f"=CERTIFICATE it is read from {CERTIFICATE_VARIABLE}.",
        ),
    ] = None,
    signals: Annotated[
        bool,
        typer.Option(
            "--signals",
            help="Report playback to clients, and to those of spatialreal "
            "with positions.",
        ),
    ] = False,
    preempts: Annotated[
        bool,
        typer.Option(
            "--preempts",
            help="Let a newer request cut the one that plays; by default it "
            "waits for its end.",
        ),
    ] = False,
    play_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Play this long after receipt."
        ),
    ] = 0.0,
    session_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.01,
            help="End sessions after this time with close 4002, as a plan "
            "of Spatius does.",
        ),
    ] = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help="Refuse more live sessions than this with close 4003.",
        ),
    ] = None,
    no_audio: Annotated[
        bool,
        typer.Option(
            "--no-audio", help="Count audio, but do not keep it (long runs)."
        ),
    ] = False,
    no_window: Annotated[
        bool,
        typer.Option(
            "--no-window", help="Serve no page that shows the events."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no events.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the URLs as a line of JSON.")
    ] = False,
) -> None:
    """Run a local Spatius service, console and ingress, until Ctrl-C.

    Point a TEN graph at it by the two endpoint URLs that it prints. A page
    shows all that it receives. docs/motion-server.md lists the faults that it
    produces on demand.
    """
    host = host or "127.0.0.1"
    window = None if no_window else Window()
    server = MotionServer(
        host=host,
        port=port,
        console_port=None,
        api_keys=api_key,
        app_ids=app_id,
        avatar_ids=avatar_id,
        certificates=dict(map(_certificate, certificate or [])),
        keep_audio=not no_audio,
        playback_signals=PlaybackSignals() if signals else None,
        capabilities=("playback_state",) if signals else (),
        preempts=preempts,
        playback_delay_s=play_after,
        limits=PlanLimits(session_minutes, max_sessions),
        routes=() if window is None else window.routes,
    )
    if window is not None:
        window.attach(server)
    try:
        asyncio.run(_run(server, window, quiet=quiet, as_json=as_json))
    except KeyboardInterrupt:
        pass
    except OSError as exc:
        reason = exc.strerror or exc
        print(
            f"Cannot listen at {host}, port {port}: {reason}", file=sys.stderr
        )
        raise typer.Exit(1) from None


def _certificate(text: str) -> tuple[str, str]:
    """Read APP_ID or APP_ID=CERTIFICATE. Raises typer.BadParameter.

    Neither is shown: either may stand in the place of the other.
    """
    app_id, _, certificate = text.partition("=")
    source = ""
    if not certificate:
        certificate = os.environ.get(CERTIFICATE_VARIABLE, "")
        source = f" in {CERTIFICATE_VARIABLE}"
    if not _HEX_32.fullmatch(app_id):
        problem = _expected("an Agora App ID", app_id)
    elif not certificate:
        problem = f"no certificate given, and {CERTIFICATE_VARIABLE} is not set"
    elif not _HEX_32.fullmatch(certificate):
        problem = _expected("an App Certificate", certificate) + source
    else:
        return app_id, certificate
    raise typer.BadParameter(problem, param_hint="--certificate")


def _expected(name: str, got: str) -> str:
    others = " that are not all such" if len(got) == 32 else ""
    return (
        f"{name} has 32 hexadecimal digits, got {len(got)} characters{others}"
    )


async def _run(
    server: MotionServer, window: Window | None, *, quiet: bool, as_json: bool
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on loops; Ctrl-C raises there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    async with server:
        if not is_loopback(server.host):
            print(
                f"warning: {server.host} is not loopback: whoever reaches "
                "this machine can use the service, listen, and press the "
                "buttons",
                file=sys.stderr,
            )
            print(
                "A container on this machine reaches it as "
                f"{CONTAINER_HOST}:{server.port} in place of the address "
                f"below (docker run --add-host {CONTAINER_HOST}:host-gateway)",
                file=sys.stderr,
            )
        urls = {
            "console_url": server.console_url,
            "ingress_url": server.ingress_url,
            "control_url": server.control_url,
        }
        if window is not None:
            urls["page_url"] = page_url(server)
        if as_json:
            print(json.dumps(urls), flush=True)
        else:
            line = (
                f"Listening: console_endpoint_url {server.console_url}, "
                f"ingress_endpoint_url {server.ingress_url}"
            )
            if window is not None:
                line += f", page {page_url(server)}"
            print(line, flush=True)
        if not quiet:
            server.record.on_event(_Printer(server.record.started_s))
        await stopped.wait()


class _Printer:
    """Prints events; of a request's audio only the first message."""

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        # Connection number -> id of the request whose audio was announced.
        self._announced: dict[int | None, str] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "audio":
            if self._announced.get(event.connection) == event.req_id:
                return
            self._announced[event.connection] = event.req_id
        elif event.kind == "closed":
            self._announced.pop(event.connection, None)
        print(event_line(event, self._started_s), flush=True)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/motion-server")
