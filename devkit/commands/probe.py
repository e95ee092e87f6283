"""Opens a real session, sends silence, closes: `bin/check --connect`."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from .. import loopback
from ..graph.product import clock, failures, opener, redact, sdk
from ..graph.report import NodeReport
from .output import keep_logs_out

SILENCE_S = 1.0
MESSAGE_S = 0.1
LISTEN_S = 0.5
"""How long the service may take to report an error about the silence."""

AUTO_RATE_HZ = 24000
"""The rate of the silence where the first frame of speech decides."""


_OF_THE_NETWORK = ("connectionFailed", "proxyRefused", "proxyFailed")


async def connect(console: Console, report: NodeReport) -> bool:
    """Open a session, send silence, close; say how it went."""
    keep_logs_out()
    loopback.bypass_proxies()
    params = report.config.params
    hide = redact.Redactor(report.config.secrets())

    def say(text: str, style: str = "", indent: int = 0) -> None:
        words = Text(hide(text), style=style)
        console.print(Padding(words, (0, 0, 0, indent)))

    def add_secrets(secrets: list[str]) -> None:
        for secret in secrets:
            hide.add(secret)

    say(
        f"Connecting as uid {params.agora_uid} in the channel "
        f"{params.agora_channel} ..."
    )
    await _find_region(say, params)
    rate = params.sample_rate
    rate_hz = rate if isinstance(rate, int) else AUTO_RATE_HZ
    began = time.monotonic()
    changed = asyncio.Event()
    open_session = opener.opener(params, clock.SystemClock(), add_secrets)
    session = open_session(changed.set, rate_hz)
    reported: list[Any] = []
    try:
        session.open()
        await _until(lambda: session.was_ready or session.loss, changed)
        if session.is_ready:
            took_s = time.monotonic() - began
            say(f"Session {session.connection_id} opened after {took_s:.2f} s.")
            await _send_silence(session, rate_hz)
            with contextlib.suppress(asyncio.TimeoutError):
                failed = _until(lambda: session.loss, changed)
                await asyncio.wait_for(failed, LISTEN_S)
        reported = session.take_events()
    except failures.SessionError:
        pass  # it is the session's loss
    finally:
        session.close()
        await _until(lambda: session.state.value == "closed", changed)
    if session.loss is not None:
        _explain(say, report, session.loss)
        return False
    for event in reported:
        if failure := getattr(event, "failure", None):
            say(f"Spatius reported: {failure.message}", "yellow")
    say(
        f"{SILENCE_S:.0f} s of silence sent, session closed: it works.", "green"
    )
    return True


async def _until(holds: Callable[[], Any], changed: asyncio.Event) -> None:
    """Wait until a session has the state asked for."""
    while not holds():
        await changed.wait()
        changed.clear()


async def _find_region(say: Callable[..., None], params: Any) -> None:
    """Say how long the nearest region takes to find, and how to save it.

    A worker asks for it before its first session.
    """
    if sdk.endpoints(params) is not None or sdk.region_in_use(params):
        return
    began = time.monotonic()
    failure = await sdk.find_region(params, clock.SystemClock())
    took_s = time.monotonic() - began
    if failure is not None:
        say(
            f"No region after {took_s:.1f} s, which each agent waits before "
            f"its first session: {failure.message}.",
            "yellow",
        )
    elif region := sdk.region_in_use(params):
        say(
            f"The nearest region, {region}, was found in {took_s:.1f} s. With "
            f'"region": "{region}" in params no agent waits for that.'
        )


async def _send_silence(session: Any, sample_rate: int) -> None:
    count = round(SILENCE_S / MESSAGE_S)
    message = bytes(2 * round(sample_rate * MESSAGE_S))
    for number in range(1, count + 1):
        await session.send(message, number == count)
        await asyncio.sleep(MESSAGE_S)


def _explain(
    say: Callable[..., None], report: NodeReport, failure: Any
) -> None:
    say(f"No session: {failure.message}", "red")
    for name in dict.fromkeys(re.findall(r"params\.(\w+)", failure.message)):
        row = next((row for row in report.rows if row.name == name), None)
        if row is not None and row.source:
            say(
                f"params.{name} ({row.value}) comes from {row.source}.",
                indent=2,
            )
    for line in _advice(report, failure):
        say(line, indent=2)


def _advice(report: NodeReport, failure: Any) -> list[str]:
    if failure.code in _OF_THE_NETWORK:
        return _advice_on_network(dict(report.facts), failure)
    if failure.fatal:
        return [
            "An agent would stop here and not try again. Correct it, then "
            "run this command once more."
        ]
    return [
        "An agent would retry by itself. Run this command again in a minute, "
        "and check Spatius's status if the error persists."
    ]


def _advice_on_network(facts: dict[str, str], failure: Any) -> list[str]:
    is_ingress = failure.phase.startswith("websocket")
    target = facts["ingress" if is_ingress else "console"]
    host = urlsplit(target).hostname
    if host in loopback.NAMES:
        port = urlsplit(facts["console"]).port or 80
        hint = (
            "The console has answered: check params.ingress_endpoint_url"
            if is_ingress
            else "Is the local Motion Server running? bin/motion-server --port "
            f"{port}"
        )
        return [f"Nothing answers at {target}. {hint}"]
    if not host:
        host = "console.us-west.spatius.ai"
        target = f"https://{host}"
    target = re.sub("^ws", "http", target)  # which curl knows better
    about_proxy = _advice_on_proxy(urlsplit(target).scheme, host)
    if failure.code != "connectionFailed":
        return about_proxy
    return [
        f"Try from this machine: curl -sv {target}",
        "No address: check the region's spelling and the DNS. No "
        "connection: a firewall must let HTTPS and secure WebSockets (port "
        "443) out.",
        *about_proxy,
    ]


def _advice_on_proxy(scheme: str, host: str) -> list[str]:
    """Return the line about the proxy on the way to a host, if there is one."""
    if proxy_bypass(host):
        return []
    names = [f"{scheme}_proxy", "all_proxy"]
    for variable in (v for name in names for v in (name, name.upper())):
        if address := os.environ.get(variable):
            if "://" not in address:
                address = f"http://{address}"
            return [
                f"The environment variable {variable} leads through the proxy "
                f"{redact.bare_url(address)}: it must be reachable from here "
                f"and let through to {host}. NO_PROXY={host} goes past it."
            ]
    return []
