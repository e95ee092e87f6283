"""The way between the worker and the service: proxies, clocks, regions.

Through the real SDK; each test starts the servers that it needs.
"""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Optional
from urllib.parse import urlsplit

import pytest
from opener_stage import RATE_HZ, OpenerStage
from spatius_avatar_python.session import sdk
from spatius_avatar_python.session.state import ServiceError

pytestmark = [pytest.mark.wire, pytest.mark.asyncio]

NAME = sdk.package().partition(" ")[0]
PROXY_VARIABLES = ("http_proxy", "https_proxy", "socks_proxy", "no_proxy")


class Server:
    """An HTTP server or proxy that answers all requests alike, or passes
    them on where `answer` is None."""

    def __init__(self, answer: Optional[bytes]) -> None:
        self.answer = answer
        self.targets: list[str] = []
        """The second words of the requests."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve; yield the URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.targets.append(target)
        if self.answer is not None:
            writer.write(self.answer)
            writer.close()
            return
        is_tunnel = method == "CONNECT"
        address = urlsplit(f"//{target}" if is_tunnel else target)
        up_reader, up_writer = await asyncio.open_connection(
            address.hostname, address.port
        )
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            path = target.partition(address.netloc)[2]
            up_writer.write(head.replace(target.encode(), path.encode(), 1))
        await asyncio.gather(
            self._copy(reader, up_writer), self._copy(up_reader, writer)
        )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()


def answer(status: str, body: Any = "", *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + data


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The machine's own proxies are not tested."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Proxies


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY"])
async def test_console_and_ingress_go_through_the_proxy(
    motion_server, monkeypatch, variable
):
    """Both the same way, whichever of the variables is set."""
    proxy = Server(None)
    async with proxy.running() as url:
        monkeypatch.setenv(variable, url)
        attempt = OpenerStage(motion_server)
        session = await attempt.ready()
        assert await session.send(bytes(480), True)
        await attempt.closed(session)
    console, ingress = proxy.targets
    address = urlsplit(console)
    assert address.netloc == urlsplit(motion_server.console_url).netloc
    assert "session-token" in address.path
    assert ingress == f"127.0.0.1:{motion_server.port}"


async def test_host_of_no_proxy_is_reached_directly(motion_server, monkeypatch):
    """Console and ingress both."""
    proxy = Server(None)
    async with proxy.running() as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        attempt = OpenerStage(motion_server)
        session = await attempt.ready()
        await attempt.closed(session)
    assert proxy.targets == []


@pytest.mark.parametrize("is_down", [False, True])
async def test_proxy_that_fails_on_the_way_to_the_ingress_is_named(
    motion_server, monkeypatch, is_down
):
    """By its variable; for the console's see test_operator.py."""
    proxy = Server(answer("407 Proxy Authentication Required"))
    attempt = OpenerStage(motion_server)
    session = attempt.session()
    session.prepare()
    await attempt.until(lambda: session.has_token)
    async with proxy.running() as url:
        monkeypatch.setenv(
            "HTTP_PROXY", "http://127.0.0.1:9" if is_down else url
        )
        await attempt.opened(session)
        failure = session.loss
        assert failure is not None
        assert session.has_token == is_down
        await attempt.closed(session)
    assert failure.fatal != is_down
    assert (failure.code == "proxyRefused") != is_down
    assert "HTTP_PROXY" in failure.message
    assert "Spatius says" not in failure.message


# The console's headers


async def test_wait_that_the_console_asks_for(motion_server):
    """`Retry-After` of an answer that refuses."""
    server = Server(answer("429 Too Many Requests", {}, "Retry-After: 40"))
    async with server.running() as url:
        attempt = OpenerStage(motion_server, console_endpoint_url=url)
        failure = await attempt.failure()
    assert failure.retry_slowly
    assert failure.retry_after_s == 40.0


# The nearest region


@pytest.fixture
def nearest_region(monkeypatch):
    """It is not known, as in a new worker."""
    if NAME != "spatius":
        pytest.skip(f"{NAME} asks no global service")
    monkeypatch.setattr(sdk, "_nearest_region", sdk._NearestRegion())
    return importlib.import_module("spatius.bootstrap")


class Regional(OpenerStage):
    """An attempt that is given no region and no endpoints."""

    def __init__(self, server: Any) -> None:
        super().__init__(
            server, console_endpoint_url="", ingress_endpoint_url=""
        )

    async def asked_in(self) -> tuple[str, list[Any]]:
        """Return the region of a session, and the reports."""
        session = self.session()
        problem = await session._sdk.preload()
        events = [problem] if problem else []
        return session._sdk.new_session(RATE_HZ).config.region, events


async def test_nearest_region_is_asked_for_once(
    motion_server, nearest_region, monkeypatch
):
    """And kept for the life of the worker."""
    server = Server(answer("200 OK", {"region": {"current": "ap-northeast"}}))
    attempt = Regional(motion_server)
    async with server.running() as url:
        monkeypatch.setattr(nearest_region, "BOOTSTRAP_URL", url)
        for _ in range(3):
            assert await attempt.asked_in() == ("ap-northeast", [])
    assert len(server.targets) == 1


@pytest.mark.parametrize(
    "answered",
    [
        answer("503 Service Unavailable"),
        answer("200 OK", {"region": {"current": "evil.example/"}}),
        answer("200 OK", {"region": None}),
        answer("200 OK", []),
        b"",
    ],
)
async def test_region_that_is_not_known_is_reported_once(
    motion_server, nearest_region, monkeypatch, answered
):
    """With its cure; and not asked for again at each session."""
    server = Server(answered)
    attempt = Regional(motion_server)
    async with server.running() as url:
        monkeypatch.setattr(nearest_region, "BOOTSTRAP_URL", url)
        region, [problem] = await attempt.asked_in()
        assert region == sdk.DEFAULT_REGION
        assert "params.region" in problem.message
        assert "cn-beijing" in problem.message
        assert not problem.ends_session
        assert await attempt.asked_in() == (sdk.DEFAULT_REGION, [])
    assert len(server.targets) == 1


async def test_problem_with_the_region_is_an_event(
    motion_server, nearest_region, monkeypatch
):
    """The session goes on with the default."""
    attempt = Regional(motion_server)
    monkeypatch.setattr(nearest_region, "BOOTSTRAP_URL", "http://127.0.0.1:9")
    session = attempt.session()
    local = OpenerStage(motion_server).session()._sdk
    session._sdk.new_session = local.new_session
    session.open()
    await attempt.until(lambda: session.is_ready)
    [event] = session.take_events()
    assert isinstance(event, ServiceError)
    assert event.failure.code == "regionUnknown"
    await attempt.closed(session)
