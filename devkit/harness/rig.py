"""The extension on the caller's event loop, with its time handed in.

No TEN runtime runs here: the rig awaits the handlers itself. For tests with
many extensions, or another time than the machine's: random walks, renewals,
the soak.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import package

package.use_ten_runtime()
_package = package.load()

from spatius_avatar_python.extension import (  # noqa: E402
    SpatiusAvatarExtension,
)
from ten_runtime import (  # noqa: E402
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    SendOptions,
    StatusCode,
    TenError,
    TenErrorCode,
)

from .messages import data_with_json  # noqa: E402
from .reports import Payload, ReportLog  # noqa: E402


class LogEntry(NamedTuple):
    """One log call of the extension."""

    level: str
    text: str
    category: str | None
    fields: Any


class RigEnv:
    """The part of an AsyncTenEnv that the extension needs; keeps its messages.

    Data always has a receiver. Audio frames have one where `voice_wired`;
    commands where `flush_wired`, and are answered with OK.
    """

    def __init__(
        self,
        properties: Payload,
        *,
        voice_wired: bool = False,
        flush_wired: bool = False,
    ) -> None:
        self.voice_wired = voice_wired
        self.flush_wired = flush_wired
        self.reports = ReportLog()
        self.on_report: Callable[[str, Payload], None] = lambda *_: None
        """Gets each of them as well, when it is sent."""
        self.audio_frames: list[AudioFrame] = []
        """The audio frames that had a receiver."""
        self.on_audio_frame: Callable[[AudioFrame], None]
        self.on_audio_frame = self.audio_frames.append
        """Gets each of them; by default it is kept."""
        self.cmds: list[Cmd] = []
        """The commands that had a receiver."""
        self.on_cmd: Callable[[Cmd], None] = self.cmds.append
        """Gets each of them; by default it is kept."""
        self.lines: list[LogEntry] = []
        self.keeps_lines = True
        self.renewals = 0
        self.last_result: Any = None
        self._properties = properties

    async def get_property_to_json(
        self, path: str | None = None
    ) -> tuple[str, TenError | None]:
        value: Any = self._properties
        for name in filter(None, (path or "").split(".")):
            if not isinstance(value, dict) or name not in value:
                return "", _error(f"no property at {path!r}")
            value = value[name]
        return json.dumps(value), None

    async def send_data(
        self, data: Data, options: SendOptions | None = None
    ) -> None:
        text, _ = data.get_property_to_json(None)
        name, payload = data.get_name(), json.loads(text)
        self.on_report(name, payload)
        self.renewals += payload.get("reason") == "renewed"
        self.reports.add(name, payload)

    async def send_audio_frame(
        self, audio_frame: AudioFrame, options: SendOptions | None = None
    ) -> TenError | None:
        if self.voice_wired:
            self.on_audio_frame(audio_frame)
            return None
        if options is None or not options.wait_for_result:
            return None
        return _not_connected(audio_frame.get_name())

    async def send_cmd(
        self, cmd: Cmd
    ) -> tuple[CmdResult | None, TenError | None]:
        if not self.flush_wired:
            return None, _not_connected(cmd.get_name())
        self.on_cmd(cmd)
        return CmdResult.create(StatusCode.OK, cmd), None

    async def return_result(
        self, result: CmdResult, options: SendOptions | None = None
    ) -> None:
        self.last_result = result

    def _log(
        self,
        level: str,
        text: str,
        category: str | None = None,
        fields: Any = None,
        option: Any = None,
    ) -> None:
        if self.keeps_lines:
            self.lines.append(LogEntry(level, text, category, fields))

    log_debug = functools.partialmethod(_log, "debug")
    log_info = functools.partialmethod(_log, "info")
    log_warn = functools.partialmethod(_log, "warn")
    log_error = functools.partialmethod(_log, "error")


def _error(text: str) -> TenError:
    return TenError.create(TenErrorCode.ErrorCodeGeneric, text)


def _not_connected(name: str) -> TenError:
    return TenError.create(
        TenErrorCode.ErrorCodeMsgNotConnected, f"{name} is not connected"
    )


class Rig:
    """One extension, from `start` to `stop`; see `RigEnv` for the wires."""

    def __init__(
        self,
        properties: Payload,
        clock: Any = None,
        *,
        voice_wired: bool = False,
        flush_wired: bool = False,
    ) -> None:
        self.env: Any = RigEnv(
            properties, voice_wired=voice_wired, flush_wired=flush_wired
        )
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

    async def send_message(self, message: Data) -> None:
        await self.extension.on_data(self.env, message)

    async def send_data(self, name: str, payload: Any = None) -> None:
        text = None if payload is None else json.dumps(payload)
        await self.send_message(data_with_json(name, text))

    async def send_cmd(self, name: str) -> CmdResult:
        await self.extension.on_cmd(self.env, Cmd.create(name))
        return self.env.last_result

    @property
    def totals(self) -> Any:
        """The totals of all audio so far, in samples."""
        assert self.extension.avatar is not None
        return self.extension.avatar.totals

    @property
    def states(self) -> list[str]:
        return self.env.reports.states

    @property
    def errors(self) -> list[Payload]:
        return self.env.reports.sent("error")

    async def state(self, state: str, timeout_s: float = 30.0) -> None:
        """Wait until the avatar is in `state`, or raise AssertionError."""

        def is_reached() -> bool:
            avatar = self.extension.avatar
            return avatar is not None and avatar.state == state

        await self.env.reports.until(is_reached, timeout_s, f"not {state}")
