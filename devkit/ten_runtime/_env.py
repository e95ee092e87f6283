"""What extensions, addons and apps call: AsyncTenEnv and TenEnv."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from ._errors import (
    TenError,
    TenErrorCode,
    _TenError,
    as_ten_error,
    closed,
)
from ._log import LogMethods
from ._messages import AudioFrame, Cmd, CmdResult, Data, Msg
from ._options import SendOptions
from ._schema import Schemas, mismatch_in_object
from ._tree import PropertyTree, check_float, check_int, check_str

_T = TypeVar("_T")

CmdOutcome = tuple[CmdResult | None, TenError | None]


class Outlet(Protocol):
    """Where an env's messages go: the host of its extension."""

    name: str
    schemas: Schemas

    def emit(self, msg: Msg) -> TenError | None: ...

    def emit_cmd(self, cmd: Cmd) -> "Future[CmdOutcome]": ...


class AsyncTenEnv(LogMethods):
    """An extension's way to the runtime.

    Sends do not yield to the event loop unless SendOptions asks for the
    result; property calls and send_cmd do. After on_deinit every call gives
    a TenError. Errors are returned, never raised.
    """

    def __init__(self, host: Outlet, properties: PropertyTree) -> None:
        self._host = host
        self._properties = properties
        self._log_source = host.name
        self._closed = False

    def _log_error(self) -> TenError | None:
        return closed() if self._closed else None

    async def send_data(
        self, data: Data, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(data, options)

    async def send_audio_frame(
        self, audio_frame: AudioFrame, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(audio_frame, options)

    async def return_result(
        self, result: CmdResult, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(result, options)

    async def send_cmd(self, cmd: Cmd) -> CmdOutcome:
        """Send and wait for the final result, without a limit."""
        if self._closed:
            return None, closed()
        return await asyncio.wrap_future(self._host.emit_cmd(cmd))

    async def get_property_to_json(
        self, path: str | None = None
    ) -> tuple[str, TenError | None]:
        return await self._get(lambda tree: tree.to_json(path), "")

    async def set_property_from_json(
        self, path: str, json_str: str
    ) -> TenError | None:
        text = check_str(json_str)
        return await self._set(lambda tree: tree.set_from_json(path, text))

    async def get_property_int(self, path: str) -> tuple[int, TenError | None]:
        return await self._get(lambda tree: tree.get_int(path), 0)

    async def set_property_int(self, path: str, value: int) -> TenError | None:
        number = check_int(value)
        return await self._set(lambda tree: tree.set(path, number))

    async def get_property_string(
        self, path: str
    ) -> tuple[str, TenError | None]:
        return await self._get(lambda tree: tree.get_string(path), "")

    async def set_property_string(
        self, path: str, value: str
    ) -> TenError | None:
        text = check_str(value)
        return await self._set(lambda tree: tree.set(path, text))

    async def get_property_bool(
        self, path: str
    ) -> tuple[bool, TenError | None]:
        return await self._get(lambda tree: tree.get_bool(path), False)

    async def set_property_bool(
        self, path: str, value: bool
    ) -> TenError | None:
        return await self._set(lambda tree: tree.set(path, bool(value)))

    async def get_property_float(
        self, path: str
    ) -> tuple[float, TenError | None]:
        return await self._get(lambda tree: tree.get_float(path), 0.0)

    async def set_property_float(
        self, path: str, value: float
    ) -> TenError | None:
        number = check_float(value)
        return await self._set(lambda tree: tree.set(path, number))

    async def is_property_exist(
        self, path: str
    ) -> tuple[bool, TenError | None]:
        return await self._get(lambda tree: (tree.exists(path), None), False)

    async def init_property_from_json(self, json_str: str) -> TenError | None:
        return await self.set_property_from_json("", json_str)

    async def _send(
        self, msg: Msg, options: SendOptions | None
    ) -> TenError | None:
        if self._closed:
            return closed()
        error = self._host.emit(msg)
        if options is None or not options.wait_for_result:
            return None
        await asyncio.sleep(0)
        return error

    async def _get(
        self,
        read: Callable[[PropertyTree], tuple[_T, _TenError | None]],
        default: _T,
    ) -> tuple[_T, TenError | None]:
        if self._closed:
            return default, closed()
        # The real one asks another thread, and so always yields.
        await asyncio.sleep(0)
        value, error = read(self._properties)
        return value, as_ten_error(error)

    async def _set(
        self, write: Callable[[PropertyTree], _TenError | None]
    ) -> TenError | None:
        if self._closed:
            return closed()
        await asyncio.sleep(0)
        changed = self._properties.copy()
        error = write(changed)
        if error is not None:
            return as_ten_error(error)
        reason = mismatch_in_object(self._host.schemas.properties, changed.root)
        if reason is not None:
            return TenError.create(TenErrorCode.ErrorCodeInvalidType, reason)
        self._properties.root = changed.root
        return None


class TenEnv(LogMethods):
    """What an addon or an App is called with: `on_*_done` and properties.

    It carries no messages: it is offered for on_create_instance and for the
    callbacks of App only.
    """

    def __init__(self, name: str = "app") -> None:
        self._log_source = name
        self._properties = PropertyTree()
        self._done: dict[str, threading.Event] = {}
        self._instance: Any = None

    def on_configure_done(self) -> None:
        self._event("on_configure").set()

    def on_init_done(self) -> None:
        self._event("on_init").set()

    def on_deinit_done(self) -> None:
        self._event("on_deinit").set()

    def on_create_instance_done(self, instance: Any, context: object) -> None:
        self._instance = instance
        self._event("on_create_instance").set()

    def init_property_from_json(self, json_str: str) -> TenError | None:
        return self.set_property_from_json("", json_str)

    def get_property_to_json(
        self, path: str | None = None
    ) -> tuple[str, TenError | None]:
        text, error = self._properties.to_json(path)
        return text, as_ten_error(error)

    def set_property_from_json(
        self, path: str, json_str: str
    ) -> TenError | None:
        error = self._properties.set_from_json(path, check_str(json_str))
        return as_ten_error(error)

    def _event(self, step: str) -> threading.Event:
        return self._done.setdefault(step, threading.Event())
