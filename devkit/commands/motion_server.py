"""Run the service on its own: `python -m devkit.commands.motion_server`."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence

from ..motion_server.agora import APP_ID_LENGTH
from ..motion_server.guard import is_loopback
from ..motion_server.model import Event
from ..motion_server.server import MotionServer
from ..motion_server.views import event_line
from ..window import Window, page_url

CERTIFICATE_VARIABLE = "AGORA_APP_CERTIFICATE"


def _certificate(text: str) -> tuple[str, str]:
    """Read APP_ID or APP_ID=CERTIFICATE."""
    app_id, _, certificate = text.partition("=")
    certificate = certificate or os.environ.get(CERTIFICATE_VARIABLE, "")
    if len(app_id) != APP_ID_LENGTH:
        raise argparse.ArgumentTypeError("an App ID has 32 digits")
    if not certificate:
        raise argparse.ArgumentTypeError(
            f"no certificate given, and {CERTIFICATE_VARIABLE} is not set"
        )
    return app_id, certificate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devkit.commands.motion_server",
        description="A local Spatius service, console and ingress, with a "
        "page that shows what comes in. Point a TEN graph at it by the two "
        "endpoint URLs that it prints.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="default: loopback only"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="default: any free one"
    )
    parser.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="an API key to take; may be repeated; default: any",
    )
    parser.add_argument(
        "--app-id",
        action="append",
        metavar="ID",
        help="a Spatius app to know; may be repeated; default: any",
    )
    parser.add_argument(
        "--avatar-id",
        action="append",
        metavar="ID",
        help="an avatar to know; may be repeated; default: any",
    )
    parser.add_argument(
        "--certificate",
        action="append",
        type=_certificate,
        default=[],
        metavar="AGORA_APP_ID[=CERTIFICATE]",
        help="check signatures of this App ID's tokens; without "
        f"=CERTIFICATE it is read from {CERTIFICATE_VARIABLE}",
    )
    parser.add_argument(
        "--no-audio",
        action="store_true",
        help="count audio, but do not keep it (for long runs)",
    )
    parser.add_argument(
        "--no-window",
        action="store_true",
        help="serve no page that shows what happens (for measurements)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no events")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the URLs as one line of JSON",
    )
    return parser


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


async def _run(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on loops; Ctrl-C raises there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    window = None if options.no_window else Window()
    server = MotionServer(
        host=options.host,
        port=options.port,
        api_keys=options.api_key,
        app_ids=options.app_id,
        avatar_ids=options.avatar_id,
        certificates=dict(options.certificate),
        keep_audio=not options.no_audio,
        routes=() if window is None else window.routes,
    )
    if window is not None:
        window.attach(server)
    if not is_loopback(options.host):
        print(
            f"warning: {options.host} is not loopback: whoever reaches this "
            "machine can use the service, listen, and press the buttons",
            file=sys.stderr,
        )
    async with server:
        if options.json:
            urls = {
                "console_url": server.console_url,
                "ingress_url": server.ingress_url,
                "control_url": server.control_url,
            }
            if window is not None:
                urls["page_url"] = page_url(server)
            print(json.dumps(urls), flush=True)
        else:
            print(f"console_endpoint_url  {server.console_url}")
            print(f"ingress_endpoint_url  {server.ingress_url}", flush=True)
            if window is not None:
                print(f"the window            {page_url(server)}", flush=True)
        if not options.quiet:
            server.record.on_event(_Printer(server.record.started_s))
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except KeyboardInterrupt:
        pass
    except OSError as exc:
        print(f"cannot listen: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
