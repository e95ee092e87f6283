"""Testers: they test one extension from the place of its graph."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ._app import require_app
from ._env import StepsDone
from ._extension import OnThread
from ._host import ExtensionHost, deliver_result
from ._log import TenEnvBase
from ._messages import AudioFrame, Cmd, CmdResult, Data, Msg, VideoFrame
from ._process import (
    HandlerFailed,
    ProcessAborted,
    ProcessEnded,
    report_to,
    wait_without_limit,
)
from ._values import SendOptions, TenError, TenErrorCode, closed

_S = TypeVar("_S", bound="ExtensionTester")


class TenEnvTesterBase(TenEnvBase):
    _log_source = "tester"


class AsyncTenEnvTester(TenEnvTesterBase):
    """A tester's way to the extension. Sends do not yield to the loop."""

    def __init__(
        self, host: ExtensionHost, stop: Callable[[TenError | None], None]
    ) -> None:
        self._host = host
        self._stop = stop

    async def send_cmd(
        self, cmd: Cmd
    ) -> tuple[CmdResult | None, TenError | None]:
        """Send and wait for the final result, without a limit."""
        return await self._host.send_cmd(cmd)

    async def send_cmd_ex(
        self, cmd: Cmd
    ) -> AsyncIterator[tuple[CmdResult | None, TenError | None]]:
        """Give the final result; those before it are not offered."""
        yield await self.send_cmd(cmd)

    async def send_data(
        self, data: Data, options: SendOptions | None = None
    ) -> TenError | None:
        self._host.send_data(data)
        return await self._sent(options)

    async def send_audio_frame(
        self, audio_frame: AudioFrame, options: SendOptions | None = None
    ) -> TenError | None:
        self._host.send_audio_frame(audio_frame)
        return await self._sent(options)

    async def send_video_frame(
        self, video_frame: VideoFrame, options: SendOptions | None = None
    ) -> TenError | None:
        self._host.send_video_frame(video_frame)
        return await self._sent(options)

    async def return_result(
        self, cmd_result: CmdResult, options: SendOptions | None = None
    ) -> TenError | None:
        deliver_result(cmd_result)
        return await self._sent(options)

    def stop_test(self, error: TenError | None = None) -> TenError | None:
        """End the test; run() gives `error`. The first call counts."""
        self._stop(error)
        return None

    async def _sent(self, options: SendOptions | None) -> TenError | None:
        if options is not None and options.wait_for_result:
            await asyncio.sleep(0)
            return closed() if self._host.is_gone() else None
        return None


class TenEnvTester(StepsDone, TenEnvTesterBase):
    """A synchronous tester's way to the extension.

    A handler that is passed with a message is called on the tester's thread,
    with this env, the result of a command, and the error.
    """

    def __init__(
        self,
        host: ExtensionHost,
        stop: Callable[[TenError | None], None],
        call: Callable[..., None],
    ) -> None:
        super().__init__()
        self._host = host
        self._stop = stop
        self._call = call

    def send_cmd(
        self, cmd: Cmd, result_handler: Callable[..., None] | None = None
    ) -> TenError | None:
        """Send; the handler gets the final result, or an error."""
        sent = self._host.submit_cmd(cmd)
        if result_handler is not None:
            sent.add_done_callback(
                lambda done: self._call(result_handler, *done.result())
            )
        return None

    def send_cmd_ex(
        self, cmd: Cmd, result_handler: Callable[..., None] | None = None
    ) -> TenError | None:
        """Like send_cmd: results that are not final are not offered."""
        return self.send_cmd(cmd, result_handler)

    def send_data(
        self, data: Data, error_handler: Callable[..., None] | None = None
    ) -> TenError | None:
        return self._send(self._host.send_data, data, error_handler)

    def send_audio_frame(
        self,
        audio_frame: AudioFrame,
        error_handler: Callable[..., None] | None = None,
    ) -> TenError | None:
        send = self._host.send_audio_frame
        return self._send(send, audio_frame, error_handler)

    def send_video_frame(
        self,
        video_frame: VideoFrame,
        error_handler: Callable[..., None] | None = None,
    ) -> TenError | None:
        send = self._host.send_video_frame
        return self._send(send, video_frame, error_handler)

    def return_result(
        self,
        cmd_result: CmdResult,
        error_handler: Callable[..., None] | None = None,
    ) -> TenError | None:
        return self._send(deliver_result, cmd_result, error_handler)

    def stop_test(self, error: TenError | None = None) -> TenError | None:
        """End the test; run() gives `error`. The first call counts."""
        self._stop(error)
        return None

    def _send(
        self,
        send: Callable[[Any], None],
        msg: Msg,
        handler: Callable[..., None] | None,
    ) -> TenError | None:
        send(msg)
        if handler is not None:
            self._call(handler, None)
        return None


class _Tester:
    """Override `on_*`; run() hosts the extension until stop_test().

    The extension's messages come to on_data, on_cmd, on_audio_frame and
    on_video_frame.
    """

    def _set_up(self) -> None:
        self._addon_name: str | None = None
        self._property_json: str | None = None
        self._timeout_s: float | None = None
        self._host: Any = None
        self._ten_env: Any = None
        self._methods: Any = self
        self._loop: Any = None
        self._initialized = threading.Event()
        self._ended = threading.Event()
        self._finished: Any = None
        self._lock = threading.Lock()
        self._error: TenError | None = None
        self._failure: ProcessEnded | None = None

    def set_test_mode_single(
        self, addon_name: str, property_json_str: str | None = None
    ) -> None:
        """Which addon to test, and its node's property as JSON text."""
        self._addon_name = addon_name
        self._property_json = property_json_str

    def set_timeout(self, timeout_us: int) -> None:
        """End the test with an error after so many microseconds."""
        self._timeout_s = timeout_us / 1_000_000

    def run(self) -> TenError | None:
        """Test until stop_test(), and give the error it was called with.

        Raises ProcessEnded where the real process ends: HandlerFailed for an
        exception that escapes an `on_*` method of the extension or of the
        tester, ProcessAborted for a call that aborts, for an unknown addon
        and for one that cannot make its extension. Raises RuntimeError
        without a running App.
        """
        if self._addon_name is None:
            raise RuntimeError("call set_test_mode_single() before run()")
        require_app()
        self._host = ExtensionHost(
            self._addon_name,
            self._property_json,
            on_data=self._receive,
            on_cmd=self._receive,
            on_audio_frame=self._receive,
            on_video_frame=self._receive,
            on_failure=self._fail,
        )
        self._connect(self._host)
        thread = threading.Thread(
            target=lambda: asyncio.run(self._live()), name="ten-tester"
        )
        thread.start()
        self._initialized.wait()
        try:
            self._test()
        finally:
            self._loop.call_soon_threadsafe(self._finished.set)
            thread.join()
            if isinstance(self._methods, OnThread):
                self._methods.close()
        if self._failure is not None:
            raise self._failure
        return self._error

    def _test(self) -> None:
        self._host.start()
        self._submit("on_start")
        if self._timeout_s is None:
            wait_without_limit(self._ended.wait, "the tester's stop_test()")
        elif not self._ended.wait(self._timeout_s):
            self._stop(
                TenError.create(
                    TenErrorCode.ErrorCodeTimeout,
                    f"the test did not end within {self._timeout_s} s",
                )
            )
        stopping = self._submit("on_stop")
        self._host.stop()
        stopping.result()
        self._submit("on_deinit").result()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()
        await self._guard("on_init")
        self._initialized.set()
        # asyncio.run() cancels running tasks when this returns.
        await self._finished.wait()

    def _submit(self, step: str) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(self._guard(step), self._loop)

    def _receive(self, msg: Msg) -> None:
        self._loop.call_soon_threadsafe(
            lambda: self._loop.create_task(self._guard(msg.handler, msg))
        )

    async def _guard(self, method: str, *args: Any) -> None:
        report_to(self._abort)
        try:
            await getattr(self._methods, method)(self._ten_env, *args)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as exc:
            self._fail(HandlerFailed(f"{method} of the tester", exc))

    def _abort(self, reason: str) -> None:
        self._fail(ProcessAborted("the tester", reason))

    def _stop(self, error: TenError | None) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._error = error
                self._ended.set()

    def _fail(self, failure: ProcessEnded) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = failure
            self._ended.set()

    def _connect(self, host: ExtensionHost) -> None:
        """Make the env that the methods are called with."""
        raise NotImplementedError


class AsyncExtensionTester(_Tester):
    """One whose methods run on a thread and an event loop of its own."""

    def __init__(self) -> None:
        self._set_up()

    def _connect(self, host: ExtensionHost) -> None:
        self._ten_env = AsyncTenEnvTester(host, self._stop)

    async def on_init(self, _ten_env: AsyncTenEnvTester) -> None:
        pass

    async def on_start(self, _ten_env: AsyncTenEnvTester) -> None:
        pass

    async def on_stop(self, _ten_env: AsyncTenEnvTester) -> None:
        pass

    async def on_deinit(self, _ten_env: AsyncTenEnvTester) -> None:
        pass

    async def on_cmd(self, _ten_env: AsyncTenEnvTester, _cmd: Cmd) -> None:
        pass

    async def on_data(self, _ten_env: AsyncTenEnvTester, _data: Data) -> None:
        pass

    async def on_audio_frame(
        self, _ten_env: AsyncTenEnvTester, _audio_frame: AudioFrame
    ) -> None:
        pass

    async def on_video_frame(
        self, _ten_env: AsyncTenEnvTester, _video_frame: VideoFrame
    ) -> None:
        pass


class ExtensionTester(_Tester):
    """The synchronous one: its methods follow one another on one thread.

    A step ends with `ten_env.on_<step>_done()`, as an Extension's does.
    """

    def __new__(cls: type[_S], *args: object, **kwargs: object) -> _S:
        # A subclass's __init__ need not call this class's.
        tester = object.__new__(cls)
        tester._set_up()
        return tester

    def _connect(self, host: ExtensionHost) -> None:
        self._ten_env = TenEnvTester(host, self._stop, self._call)
        self._methods = OnThread(
            self, self._ten_env, "tester", lambda: report_to(self._abort)
        )

    def _call(self, handler: Callable[..., None], *args: Any) -> None:
        self._methods.call(self._fail_in, handler, self._ten_env, *args)

    def _fail_in(self, where: str, cause: BaseException) -> None:
        self._fail(HandlerFailed(f"{where} of the tester", cause))

    def on_init(self, ten_env_tester: TenEnvTester) -> None:
        ten_env_tester.on_init_done()

    def on_start(self, ten_env_tester: TenEnvTester) -> None:
        ten_env_tester.on_start_done()

    def on_stop(self, ten_env_tester: TenEnvTester) -> None:
        ten_env_tester.on_stop_done()

    def on_deinit(self, ten_env_tester: TenEnvTester) -> None:
        ten_env_tester.on_deinit_done()

    def on_cmd(self, _ten_env_tester: TenEnvTester, _cmd: Cmd) -> None:
        pass

    def on_data(self, _ten_env_tester: TenEnvTester, _data: Data) -> None:
        pass

    def on_audio_frame(
        self, _ten_env_tester: TenEnvTester, _audio_frame: AudioFrame
    ) -> None:
        pass

    def on_video_frame(
        self, _ten_env_tester: TenEnvTester, _video_frame: VideoFrame
    ) -> None:
        pass
