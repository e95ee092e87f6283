"""The data messages of an extension, for those who wait for one."""

import asyncio
from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]


class ReportLog(list[tuple[str, Payload]]):
    """The data that an extension has sent so far, as (name, payload)."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def add(self, name: str, payload: Payload) -> None:
        """Add a message, and wake those who wait."""
        self.append((name, payload))
        self._changed.set()

    def sent(self, name: str) -> list[Payload]:
        """Return the payloads of this name."""
        return [payload for kind, payload in self if kind == name]

    @property
    def states(self) -> list[str]:
        """The avatar's states, in order."""
        return [payload["state"] for payload in self.sent("avatar_state")]

    async def until(
        self, condition: Callable[[], Any], timeout_s: float, expected: str
    ) -> None:
        """Wait until a condition holds, checked after each message.

        AssertionError, which names what was `expected`.
        """

        async def watch() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(watch(), timeout_s)
        except asyncio.TimeoutError:
            raise AssertionError(
                f"{expected} within {timeout_s} s: {list(self)}"
            ) from None
