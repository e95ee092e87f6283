"""Motion Servers side by side, each with a listener, for one process.

    python -m devkit.lifeline devkit.bench.lanes COUNT DELAY_MS CONSOLE_DELAY_S

prints the URLs of so many servers as a line of JSON and serves them until it
is ended. Each is reached through a network with `DELAY_MS` to either side,
and its console takes `CONSOLE_DELAY_S` more. Beside the service's own routes
each one has GET /bench/verdict?speech_ms=N&seed=N: what a listener heard, held
against `unique_pcm(N, seed=N)`. What has been judged is forgotten.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from aiohttp import web

from devkit.motion_server.faults import Slow
from devkit.motion_server.judge import Judge, unique_pcm
from devkit.motion_server.listener import Listener
from devkit.motion_server.proxy import DelayingProxy
from devkit.motion_server.server import MotionServer

RATE = 24000


class _Lane:
    """One server and who listens to what it receives."""

    def __init__(self) -> None:
        self.server = MotionServer(
            console_port=None,
            keep_audio=False,
            routes=[web.get("/bench/verdict", self._get_verdict)],
        )
        self._listener = Listener(RATE)
        self._listener.follow(self.server.record)

    async def _get_verdict(self, request: web.Request) -> web.Response:
        speech_ms = int(request.query["speech_ms"])
        judge = Judge(RATE)
        seed = int(request.query["seed"])
        judge.said("speech", unique_pcm(speech_ms, RATE, seed))
        verdict = judge.verdict(self._listener.take(float("inf")))
        return web.json_response(
            {
                "missing_ms": verdict.missing_ms,
                "repeated_ms": verdict.longest_repeat_ms,
                "others": verdict.order,
                "unknown_ms": verdict.unknown_ms,
            }
        )


async def _serve(count: int, delay_ms: float, console_delay_s: float) -> None:
    async with AsyncExitStack() as stack:
        urls: list[dict[str, str]] = []
        for _ in range(count):
            server = _Lane().server
            await stack.enter_async_context(server)
            console_url, ingress_url = server.console_url, server.ingress_url
            if console_delay_s:
                server.faults.console(Slow(console_delay_s), times=None)
            if delay_ms:
                proxy = await stack.enter_async_context(
                    DelayingProxy(server.port, delay_ms=delay_ms)
                )
                console_url = proxy.url(console_url)
                ingress_url = proxy.url(ingress_url)
            urls.append(
                {
                    "console_url": console_url,
                    "ingress_url": ingress_url,
                    "control_url": server.control_url,
                }
            )
        print(json.dumps(urls), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    count, delay_ms, console_delay_s = sys.argv[1:]
    asyncio.run(_serve(int(count), float(delay_ms), float(console_delay_s)))
