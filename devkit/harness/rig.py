"""The extension on the caller's event loop, with its time handed in.

No TEN runtime runs here: the rig calls the handlers as TEN does, each message
in a task of its own. For what needs many extensions, or another time than
the machine's: random walks, renewals, the soak.
"""

import asyncio
import heapq
import json
import time
from collections.abc import Callable
from typing import Any

from .. import package

package.use_ten_runtime()
_package = package.load()

from spatius_avatar_python.clock import Timer  # noqa: E402
from spatius_avatar_python.extension import (  # noqa: E402
    SpatiusAvatarExtension,
)
from ten_runtime import AudioFrame, Cmd, CmdResult, Data  # noqa: E402

Payload = dict[str, Any]


class FastClock:
    """A clock that runs `speed` times as fast as the machine's."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began = time.monotonic()
        self._began_epoch = time.time()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self.speed

    def epoch(self) -> float:
        return self._began_epoch + self.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        delay_s = max(0.0, when - self.monotonic()) / self.speed
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s / self.speed)


class MovableClock:
    """The machine's clock, which `advance` moves ahead."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead_s

    def epoch(self) -> float:
        return time.time() + self._ahead_s

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self._count += 1
        timer = _MovableTimer(self, when, callback)
        heapq.heappush(self._due, (when, self._count, timer.ring))
        timer.handle = asyncio.get_running_loop().call_later(
            max(0.0, when - self.monotonic()), timer.ring
        )
        return timer

    def advance(self, duration_s: float) -> None:
        """Let `duration_s` pass at once, and what is due by then happen."""
        self._ahead_s += duration_s
        while self._due and self._due[0][0] <= self.monotonic():
            _, _, ring = heapq.heappop(self._due)
            ring()


class _MovableTimer:
    """Rings once, whichever time comes first."""

    def __init__(
        self, clock: MovableClock, when: float, callback: Callable[[], None]
    ) -> None:
        self.handle: asyncio.TimerHandle | None = None
        self._callback: Callable[[], None] | None = callback

    def ring(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()


class RigEnv:
    """What the extension needs of an AsyncTenEnv; keeps what it sends."""

    def __init__(self, properties: Payload) -> None:
        self.reports: list[tuple[str, Payload]] = []
        self.lines: list[tuple[str, str]] = []
        """What was logged, as (level, text)."""
        self.news = asyncio.Event()
        self.keeps_lines = True
        self.renewals = 0
        self._properties = properties

    async def get_property_to_json(self, path: str) -> tuple[str, None]:
        return json.dumps(self._properties), None

    async def send_data(self, data: Data) -> None:
        text, _ = data.get_property_to_json(None)
        name, payload = data.get_name(), json.loads(text)
        self.reports.append((name, payload))
        self.renewals += payload.get("reason") == "renewed"
        self.news.set()

    async def return_result(self, result: CmdResult) -> None:
        self.last_result = result

    def _log(self, level: str, text: str) -> None:
        if self.keeps_lines:
            self.lines.append((level, text))

    def log_debug(self, text: str, category: Any = None) -> None:
        self._log("debug", text)

    def log_info(self, text: str, category: Any = None) -> None:
        self._log("info", text)

    def log_warn(self, text: str, category: Any = None) -> None:
        self._log("warn", text)

    def log_error(self, text: str, category: Any = None) -> None:
        self._log("error", text)


class Rig:
    """One extension, from `start` to `stop`."""

    def __init__(self, properties: Payload, clock: Any = None) -> None:
        self.env: Any = RigEnv(properties)
        self.extension = SpatiusAvatarExtension("rig")
        if clock is not None:
            self.extension.clock = clock

    async def start(self) -> None:
        await self.extension.on_init(self.env)
        await self.extension.on_start(self.env)

    async def stop(self) -> None:
        await self.extension.on_stop(self.env)

    async def send_frame(self, message: AudioFrame) -> None:
        await self.extension.on_audio_frame(self.env, message)

    async def send_data(self, name: str, payload: Any = None) -> None:
        message = Data.create(name)
        if payload is not None:
            message.set_property_from_json(None, json.dumps(payload))
        await self.extension.on_data(self.env, message)

    async def send_cmd(self, name: str) -> CmdResult:
        await self.extension.on_cmd(self.env, Cmd.create(name))
        return self.env.last_result

    @property
    def totals(self) -> Any:
        """What became of all the audio so far, in samples."""
        assert self.extension.avatar is not None
        return self.extension.avatar.totals

    @property
    def states(self) -> list[str]:
        return [
            payload["state"]
            for name, payload in self.env.reports
            if name == "avatar_state"
        ]

    @property
    def errors(self) -> list[Payload]:
        return [
            payload for name, payload in self.env.reports if name == "error"
        ]

    async def state(self, state: str, timeout_s: float = 10.0) -> None:
        """Wait until the avatar is in `state`. AssertionError in the end."""
        until = time.monotonic() + timeout_s
        while self.extension.avatar is None or (
            self.extension.avatar.state != state
        ):
            self.env.news.clear()
            try:
                await asyncio.wait_for(
                    self.env.news.wait(), until - time.monotonic()
                )
            except asyncio.TimeoutError:
                raise AssertionError(
                    f"not {state} within {timeout_s} s: {self.env.reports}"
                ) from None
