"""The interface for extensions, addons and apps: AsyncTenEnv and TenEnv."""

import asyncio
import concurrent.futures
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ._log import TenEnvBase
from ._messages import (
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    Msg,
    VideoFrame,
    take,
)
from ._process import wait_without_limit
from ._properties import Schemas, mismatch_in_object
from ._tree import PropertyAccess, PropertyTree
from ._values import (
    SendOptions,
    TenError,
    TenErrorCode,
    _TenError,
    as_ten_error,
    closed,
)

_T = TypeVar("_T")
_P = ParamSpec("_P")

CmdOutcome = tuple[CmdResult | None, TenError | None]
ResultHandler = Callable[
    ["TenEnv", "CmdResult | None", "TenError | None"], None
]
ErrorHandler = Callable[["TenEnv", "TenError | None"], None]


class Outlet(Protocol):
    """Where an env's messages go: the host of its extension."""

    name: str
    schemas: Schemas

    def emit(self, msg: Msg) -> TenError | None: ...

    def emit_cmd(self, cmd: Cmd) -> "Future[CmdOutcome]": ...

    def on_loop(self, callback: Callable[[], object]) -> None: ...

    def on_extension_thread(self, function: Any, *args: Any) -> None: ...


class StepsDone:
    """`on_<step>_done()`, which end the steps of a life without coroutines."""

    def __init__(self) -> None:
        self._done: dict[str, Future[None]] = {}

    def on_configure_done(self) -> None:
        self._set_done("on_configure")

    def on_init_done(self) -> None:
        self._set_done("on_init")

    def on_start_done(self) -> None:
        self._set_done("on_start")

    def on_stop_done(self) -> None:
        self._set_done("on_stop")

    def on_deinit_done(self) -> None:
        self._set_done("on_deinit")

    def _set_done(self, step: str) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._done_with(step).set_result(None)

    def _done_with(self, step: str) -> "Future[None]":
        """The future of `on_<step>_done()`."""
        return self._done.setdefault(step, Future())

    def _wait_until_done(self, step: str, awaited: str) -> None:
        done = self._done_with(step)
        wait_without_limit(
            lambda limit_s: bool(concurrent.futures.wait([done], limit_s).done),
            awaited,
        )


class TenEnv(PropertyAccess, StepsDone, TenEnvBase):
    """The environment of a synchronous extension, an addon or an App.

    Calls do not wait: a handler that is passed with a message is called on
    the extension's thread. An addon's and an App's send no messages. After
    on_deinit every call gives a TenError. Errors are returned, never raised.
    """

    def __init__(
        self,
        name: str = "app",
        host: Outlet | None = None,
        properties: PropertyTree | None = None,
    ) -> None:
        super().__init__()
        self._log_source = name
        self._host = host
        self._properties = properties or PropertyTree()
        self._instance: Any = None
        self._closed = False

    def on_create_instance_done(self, instance: Any, context: object) -> None:
        self._instance = instance
        self._set_done("on_create_instance")

    def send_cmd(
        self, cmd: Cmd, result_handler: ResultHandler | None = None
    ) -> TenError | None:
        """Send; the handler gets the final result, or an error."""
        return self._send(cmd, result_handler)

    def send_cmd_ex(
        self, cmd: Cmd, result_handler: ResultHandler | None = None
    ) -> TenError | None:
        """Like send_cmd: results that are not final are not offered."""
        return self._send(cmd, result_handler)

    def send_data(
        self, data: Data, error_handler: ErrorHandler | None = None
    ) -> TenError | None:
        return self._send(data, error_handler)

    def send_video_frame(
        self,
        video_frame: VideoFrame,
        error_handler: ErrorHandler | None = None,
    ) -> TenError | None:
        return self._send(video_frame, error_handler)

    def send_audio_frame(
        self,
        audio_frame: AudioFrame,
        error_handler: ErrorHandler | None = None,
    ) -> TenError | None:
        return self._send(audio_frame, error_handler)

    def return_result(
        self, result: CmdResult, error_handler: ErrorHandler | None = None
    ) -> TenError | None:
        return self._send(result, error_handler)

    def init_property_from_json(self, json_str: str) -> _TenError | None:
        return self.set_property_from_json("", json_str)

    def is_property_exist(self, path: str) -> tuple[bool, TenError | None]:
        if self._closed:
            return False, closed()
        return self._properties.exists(path), None

    def _log_error(self) -> TenError | None:
        return closed() if self._closed else None

    def _send(self, msg: Msg, handler: Any) -> TenError | None:
        host = self._host
        if self._closed or host is None:
            return closed()
        sent = take(msg)

        def emit() -> None:
            if isinstance(sent, Cmd):
                future = host.emit_cmd(sent)
                if handler is not None:
                    future.add_done_callback(
                        lambda done: host.on_extension_thread(
                            handler, self, *done.result()
                        )
                    )
                return
            error = host.emit(sent)
            if handler is not None:
                host.on_extension_thread(handler, self, error)

        host.on_loop(emit)
        return None

    def _read(self, getter: str, path: str | None) -> Any:
        if self._closed:
            return _DEFAULTS[getter], closed()
        value, error = getattr(self._properties, getter)(path)
        return value, as_ten_error(error)

    def _write(self, setter: str, path: str | None, value: Any) -> Any:
        if self._closed:
            return closed()
        changed = self._properties.copy()
        error = getattr(changed, setter)(path, value)
        if error is not None:
            return as_ten_error(error)
        if self._host is not None:
            declared = self._host.schemas.properties
            reason = mismatch_in_object(declared, changed.root)
            if reason is not None:
                code = TenErrorCode.ErrorCodeInvalidType
                return TenError.create(code, reason)
        self._properties.root = changed.root
        return None


_DEFAULTS: dict[str, Any] = {
    "to_json": "",
    "get_int": 0,
    "get_string": "",
    "get_bool": False,
    "get_float": 0.0,
}
"""The value of each getter once the env is closed."""


def _yielding(
    method: Callable[Concatenate[Any, _P], _T],
) -> Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]]:
    """Return the method of an AsyncTenEnv that does the same as a TenEnv's."""

    @functools.wraps(method)
    async def call(env: Any, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        # The real one asks another thread, and so always yields.
        if not env._closed:
            await asyncio.sleep(0)
        return method(env._sync, *args, **kwargs)

    return call


class AsyncTenEnv(TenEnvBase):
    """An extension's way to the runtime.

    Sends do not yield to the event loop unless SendOptions asks for the
    result; property calls and send_cmd do. After on_deinit every call gives
    a TenError. Errors are returned, never raised.
    """

    def __init__(self, host: Outlet, properties: PropertyTree) -> None:
        self._host = host
        # Properties are the same for both kinds of extension.
        self._sync = TenEnv(host.name, host, properties)
        self._log_source = host.name

    @property
    def _closed(self) -> bool:
        return self._sync._closed

    @_closed.setter
    def _closed(self, closed: bool) -> None:
        self._sync._closed = closed

    def _log_error(self) -> TenError | None:
        return self._sync._log_error()

    async def send_data(
        self, data: Data, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(data, options)

    async def send_audio_frame(
        self, audio_frame: AudioFrame, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(audio_frame, options)

    async def send_video_frame(
        self, video_frame: VideoFrame, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(video_frame, options)

    async def return_result(
        self, result: CmdResult, options: SendOptions | None = None
    ) -> TenError | None:
        return await self._send(result, options)

    async def send_cmd(self, cmd: Cmd) -> CmdOutcome:
        """Send and wait for the final result, without a limit."""
        if self._closed:
            return None, closed()
        return await asyncio.wrap_future(self._host.emit_cmd(cmd))

    async def send_cmd_ex(self, cmd: Cmd) -> AsyncIterator[CmdOutcome]:
        """Give the final result; those before it are not offered."""
        yield await self.send_cmd(cmd)

    get_property_to_json = _yielding(TenEnv.get_property_to_json)
    set_property_from_json = _yielding(TenEnv.set_property_from_json)
    get_property_int = _yielding(TenEnv.get_property_int)
    set_property_int = _yielding(TenEnv.set_property_int)
    get_property_string = _yielding(TenEnv.get_property_string)
    set_property_string = _yielding(TenEnv.set_property_string)
    get_property_bool = _yielding(TenEnv.get_property_bool)
    set_property_bool = _yielding(TenEnv.set_property_bool)
    get_property_float = _yielding(TenEnv.get_property_float)
    set_property_float = _yielding(TenEnv.set_property_float)
    is_property_exist = _yielding(TenEnv.is_property_exist)
    init_property_from_json = _yielding(TenEnv.init_property_from_json)

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
