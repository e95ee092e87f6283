"""A network with a delay between the SDK and the service."""

import time

import pytest
from sdk_client import FRAME, failure, opened

from devkit.motion_server import Close, MotionServer, Reset
from devkit.motion_server.proxy import DelayingProxy


def urls(server: MotionServer, proxy: DelayingProxy) -> dict[str, str]:
    return {
        "console_endpoint_url": proxy.url(server.console_url),
        "ingress_endpoint_url": proxy.url(server.ingress_url),
    }


@pytest.mark.asyncio
async def test_every_step_takes_its_round_trip():
    """Connecting, token, connecting, upgrade, handshake: five of them."""
    async with (
        MotionServer() as server,
        DelayingProxy(server.port, delay_ms=10) as proxy,
    ):
        began_s = time.monotonic()
        client = await opened(server, **urls(server, proxy))
        assert time.monotonic() - began_s >= 5 * 0.02
        began_s = time.monotonic()
        await (await client.session._connection.ping())
        assert time.monotonic() - began_s >= 0.02
        await client.session.close()


@pytest.mark.asyncio
async def test_bytes_come_whole_and_in_order():
    """However many; a close comes through as well."""
    audio = bytes(range(250)) * 4000
    async with (
        MotionServer() as server,
        DelayingProxy(server.port, delay_ms=1) as proxy,
    ):
        client = await opened(server, **urls(server, proxy))
        await client.say(audio, audio, end=True)
        await server.until(lambda r: r.requests[0].closed)
        assert server.record.received() == audio * 2
        server.now(Close(1011, "why"))
        await client.until(lambda: client.errors)
        assert client.errors[0].close_code == 1011


@pytest.mark.asyncio
async def test_a_reset_comes_through():
    """The client sees a lost connection."""
    async with (
        MotionServer() as server,
        DelayingProxy(server.port, delay_ms=1) as proxy,
    ):
        client = await opened(server, **urls(server, proxy))
        await client.say(FRAME)
        server.now(Reset())
        await client.until(lambda: client.closes)


@pytest.mark.asyncio
async def test_a_service_that_is_down_is_down_behind_the_proxy():
    """Connections end; open ones end with the proxy."""
    async with MotionServer() as server:
        async with DelayingProxy(server.port, delay_ms=1) as proxy:
            client = await opened(server, **urls(server, proxy))
            server.pause_listening()
            await failure(server, **urls(server, proxy))
            assert client.closes == 0
        await client.until(lambda: client.closes)
