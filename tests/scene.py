"""A conversation in virtual time: agent, extension, service and listener."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from agent import (
    SERVER_OPTIONS,
    assert_no_secret_leaked,
    outgoing,
    properties,
)

from devkit.harness import virtual_time
from devkit.harness.conversation import Conversation, unaccounted, unpaired
from devkit.harness.rig import Rig
from devkit.motion_server import MotionServer
from devkit.motion_server.judge import Verdict

REWIND_MS = 500
"""The default of params.resume_rewind_ms."""

ALLOWANCE_MS = REWIND_MS + 300
"""How much may be heard twice after one loss."""


def virtually(
    test: Callable[..., Awaitable[None]],
) -> Callable[..., None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        virtual_time.run(_as_coroutine(test(*args, **kwargs)))

    return pytest.mark.virtual(run)


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


@asynccontextmanager
async def virtual_server(
    **options: Any,
) -> AsyncIterator[tuple[MotionServer, virtual_time.VirtualClock]]:
    """Like the fixture `motion_server`, in virtual time."""
    clock = virtual_time.VirtualClock()
    outgoing.clear()
    async with MotionServer(
        **{**SERVER_OPTIONS, **options}, clock=clock, now=clock.epoch
    ) as server:
        yield server, clock
        assert_no_secret_leaked(server)


@dataclass
class Scene:
    """The parts of a conversation."""

    server: MotionServer
    rig: Rig
    clock: virtual_time.VirtualClock
    talk: Conversation

    def sent(self, name: str) -> list[Any]:
        """Return the data of this name that was sent, without the name."""
        return self.rig.env.reports.sent(name)

    @property
    def ends(self) -> list[tuple[str, int]]:
        """The ends of playback so far, as (request id, reason)."""
        return [
            (one["request_id"], one["reason"])
            for one in self.sent("avatar_audio_end")
        ]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The log so far, as (level, text)."""
        return [(line.level, line.text) for line in self.rig.env.lines]

    async def until(
        self, condition: Callable[[], Any], timeout_s: float = 30.0
    ) -> None:
        """Wait until something is so, checked each 50 ms."""
        until_s = self.clock.monotonic() + timeout_s
        while not condition():
            if self.clock.monotonic() > until_s:
                raise AssertionError(
                    f"not within {timeout_s} s: {self.rig.env.reports}\n"
                    f"{self.server.record.timeline()}"
                )
            await asyncio.sleep(0.05)

    async def reports(self, name: str, count: int = 1) -> None:
        """Wait until so many messages of this name were sent."""
        await self.until(lambda: len(self.sent(name)) >= count)

    async def silence(self) -> None:
        """Wait until all that was said has been heard, or is lost."""
        avatar = self.rig.extension.avatar
        assert avatar is not None
        await self.until(lambda: avatar._speech.is_idle(self.clock.monotonic()))
        await asyncio.sleep(0.5)  # an estimated end is reported later

    def whole(self, **allowed: float) -> Verdict:
        """Return the verdict, which must be that nothing is missing."""
        verdict = self.talk.verdict()
        allowed = {"max_repeat_ms": ALLOWANCE_MS, **allowed}
        found = verdict.violations(**allowed)
        assert not found, f"{found}\n{self.server.record.timeline()}"
        return verdict


@asynccontextmanager
async def scene(
    *,
    voice_wired: bool = False,
    node: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    delay_s: float = 0.0,
    **params: Any,
) -> AsyncIterator[Scene]:
    """Begin a conversation, end it, and check the invariants of each.

    `node` are top-level properties, `server` options of the Motion Server.
    """
    async with virtual_server(**(server or {})) as (motion_server, clock):
        rig = Rig(
            {**properties(motion_server, **params), **(node or {})},
            clock,
            voice_wired=voice_wired,
            flush_wired=voice_wired,
        )
        talk = Conversation(rig, motion_server, clock, delay_s=delay_s)
        await rig.start()
        try:
            yield Scene(motion_server, rig, clock, talk)
            assert unaccounted(rig.totals) == 0
        finally:
            await rig.stop()
    assert motion_server.record.violations == []
    assert unaccounted(rig.totals) == 0
    assert unpaired(rig.env.reports) == []
