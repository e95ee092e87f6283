"""bin/motion-server: its output and its address."""

import ipaddress
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sdk_client import AGORA_APP_ID, CERTIFICATE, FRAME, opened
from typer.testing import CliRunner

from devkit.commands.motion_server import app
from devkit.motion_server import MotionServer, PlanLimits, PlaybackSignals

ROOT = Path(__file__).resolve().parents[2]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


@contextmanager
def motion_server(
    *arguments: str,
) -> Iterator["subprocess.Popen[str]"]:
    """Run the command until it is stopped here."""
    process = subprocess.Popen(
        [
            sys.executable,
            *("-m", "devkit.lifeline", "devkit.commands.motion_server"),
            *arguments,
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said_of(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command to its end; return its exit code and its output."""
    result = CliRunner().invoke(app, arguments, env=environment)
    if result.exception is not None:
        assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "host", ["\u00e9..b", "a" * 300, "no host", "192.0.2.1", "2001:db8::1"]
)
def test_host_that_is_not_this_machine_is_explained_in_one_line(host):
    """Without a traceback, and with nothing else; of IPv6 as of IPv4, and so
    is a machine without IPv6."""
    code, errors = said_of("--host", host)
    assert code == 1
    assert errors.startswith(f"Cannot listen at {host}, port 0: ")
    assert len(errors.splitlines()) == 1


@needs_ipv6
def test_urls_of_an_ipv6_address_can_be_used():
    """The address stands in brackets, and the page answers there."""
    with motion_server("--host", "::1", "--json", "--quiet") as process:
        assert process.stdout is not None and process.stderr is not None
        urls: dict[str, Any] = json.loads(process.stdout.readline())
        assert {url.split("://")[1][:6] for url in urls.values()} == {"[::1]:"}
        with urllib.request.urlopen(urls["page_url"], timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""  # it is loopback


@needs_ipv6
@pytest.mark.asyncio
async def test_session_over_ipv6_is_served():
    """The SDK takes the URLs as they are."""
    async with MotionServer(host="::1") as server:
        client = await opened(server)
        await client.say(FRAME, end=True)
        await client.session.close()
        await server.until(lambda r: r.connections[0].closed_s)
        assert server.record.received() == FRAME
        assert server.record.violations == []


@pytest.mark.parametrize(
    "host", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)]
)
def test_all_addresses_are_warned_of_and_one_can_be_used(host):
    """All hosts that reach the machine could use the service; the URLs name an
    address of this machine, and the way from a container is shown."""
    with motion_server("--host", host, "--json", "--quiet") as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(f"warning: {host} is not loopback")
        urls: dict[str, str] = json.loads(process.stdout.readline())
        port = urlsplit(urls["page_url"]).port
        container = process.stderr.readline()
        assert f"host.docker.internal:{port}" in container
        assert "--add-host host.docker.internal:host-gateway" in container
        for url in urls.values():
            address = ipaddress.ip_address(urlsplit(url).hostname or "")
            assert not address.is_unspecified
        with urllib.request.urlopen(urls["page_url"], timeout=60) as page:
            assert page.status == 200


@pytest.mark.parametrize("given", ["{}={}", "{}"])
def test_the_service_has_its_options(given, monkeypatch):
    """A plan's limits, playback and the order of requests; a certificate
    from the command line, or from the environment."""
    monkeypatch.setenv("AGORA_APP_CERTIFICATE", CERTIFICATE)
    arguments = (
        *("--json", "--quiet", "--no-window", "--signals", "--preempts"),
        *("--play-after", "3.5", "--session-minutes", "10"),
        *("--max-sessions", "2"),
        *("--certificate", given.format(AGORA_APP_ID, CERTIFICATE)),
    )
    with motion_server(*arguments) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        settings_url = f"{urls['control_url']}/set"
        with urllib.request.urlopen(settings_url, timeout=60) as answer:
            assert json.load(answer) == {
                "playback_signals": vars(PlaybackSignals()),
                "capabilities": ["playback_state"],
                "idle_timeout_s": None,
                "limits": vars(PlanLimits(10, 2)),
                "preempts": True,
                "playback_delay_s": 3.5,
            }


@pytest.mark.parametrize(
    ("given", "variable", "said"),
    [
        ("z" * 32, "", "an Agora App ID has 32 hexadecimal digits"),
        ("z" * 31, CERTIFICATE, "an Agora App ID has 32 hexadecimal digits"),
        (f"{AGORA_APP_ID}=secret", "", "an App Certificate has 32"),
        (f"{AGORA_APP_ID}={'secret' * 5}!!", "", "an App Certificate has 32"),
        (AGORA_APP_ID, "secret", "got 6 characters in AGORA_APP_CERTIFICATE"),
        (AGORA_APP_ID, "", "AGORA_APP_CERTIFICATE is not set"),
    ],
)
def test_certificate_that_is_none_is_refused(given, variable, said):
    """Signatures could never be right; nothing of it is shown."""
    code, errors = said_of(
        "--certificate", given, AGORA_APP_CERTIFICATE=variable
    )
    words = re.sub(r"[\s\u2500-\u257f|]+", " ", errors)
    assert code == 2
    assert said in words
    assert "secret" not in words
