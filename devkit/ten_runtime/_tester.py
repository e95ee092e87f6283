"""AsyncExtensionTester: tests one extension from the place of its graph."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ._app import require_app
from ._errors import TenError, TenErrorCode, closed
from ._failures import HandlerFailed, ProcessAborted, ProcessEnded
from ._host import ExtensionHost, deliver_result
from ._log import LogMethods
from ._messages import AudioFrame, Cmd, CmdResult, Data, Msg
from ._options import SendOptions
from ._process import report_to, wait_without_limit


class AsyncTenEnvTester(LogMethods):
    """A tester's way to the extension. Sends do not yield to the loop."""

    _log_source = "tester"

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


class AsyncExtensionTester:
    """Override `on_*`; run() hosts the extension until stop_test().

    The methods run on a thread and an event loop of the tester's own. What
    the extension sends comes to on_data, on_cmd and on_audio_frame.
    """

    def __init__(self) -> None:
        self._addon_name: str | None = None
        self._property_json: str | None = None
        self._timeout_s: float | None = None
        self._host: Any = None
        self._ten_env: Any = None
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
        tester, ProcessAborted for a call that aborts. Raises RuntimeError
        without a running App, LookupError without the addon.
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
            on_failure=self._fail,
        )
        self._ten_env = AsyncTenEnvTester(self._host, self._stop)
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
        if self._failure is not None:
            raise self._failure
        return self._error

    def _test(self) -> None:
        self._host.start()
        self._submit("on_start")
        if self._timeout_s is None:
            wait_without_limit(self._ended, "the tester's stop_test()")
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
        # asyncio.run() cancels what still runs when this returns.
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
            await getattr(self, method)(self._ten_env, *args)
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
        self, _ten_env: AsyncTenEnvTester, _video_frame: Any
    ) -> None:
        """Never called here: the stand-in has no video frames."""
