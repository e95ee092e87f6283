"""The base classes of extensions, with asyncio methods and without."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ._env import AsyncTenEnv, StepsDone, TenEnv
from ._messages import AudioFrame, Cmd, Data, Msg, VideoFrame

_A = TypeVar("_A", bound="AsyncExtension")
_E = TypeVar("_E", bound="Extension")


class AsyncExtension:
    """Override the `on_*` methods; none of them may let an exception out.

    `__init__` runs outside any event loop. Each on_cmd, on_data,
    on_audio_frame and on_video_frame is a task of its own. The constructor
    takes the name only, unless a subclass has a `__new__` that passes on no
    more than that.
    """

    name: str

    def __new__(cls: type[_A], name: str) -> _A:
        return object.__new__(cls)

    def __init__(self, name: str) -> None:
        self.name = name

    async def on_configure(self, _ten_env: AsyncTenEnv) -> None:
        pass

    async def on_init(self, _ten_env: AsyncTenEnv) -> None:
        pass

    async def on_start(self, _ten_env: AsyncTenEnv) -> None:
        pass

    async def on_stop(self, _ten_env: AsyncTenEnv) -> None:
        pass

    async def on_deinit(self, _ten_env: AsyncTenEnv) -> None:
        pass

    async def on_cmd(self, _ten_env: AsyncTenEnv, _cmd: Cmd) -> None:
        pass

    async def on_data(self, _ten_env: AsyncTenEnv, _data: Data) -> None:
        pass

    async def on_audio_frame(
        self, _ten_env: AsyncTenEnv, _audio_frame: AudioFrame
    ) -> None:
        pass

    async def on_video_frame(
        self, _ten_env: AsyncTenEnv, _video_frame: VideoFrame
    ) -> None:
        pass


class Extension:
    """The synchronous one: its methods follow one another on one thread.

    A step of its life ends with `ten_env.on_<step>_done()`, which may be
    called later and from another thread. None of the methods may let an
    exception out.
    """

    def __new__(cls: type[_E], name: str) -> _E:
        return object.__new__(cls)

    def __init__(self, name: str) -> None:
        self.name = name

    def on_configure(self, ten_env: TenEnv) -> None:
        ten_env.on_configure_done()

    def on_init(self, ten_env: TenEnv) -> None:
        ten_env.on_init_done()

    def on_start(self, ten_env: TenEnv) -> None:
        ten_env.on_start_done()

    def on_stop(self, ten_env: TenEnv) -> None:
        ten_env.on_stop_done()

    def on_deinit(self, ten_env: TenEnv) -> None:
        ten_env.on_deinit_done()

    def on_cmd(self, _ten_env: TenEnv, _cmd: Cmd) -> None:
        pass

    def on_data(self, _ten_env: TenEnv, _data: Data) -> None:
        pass

    def on_audio_frame(
        self, _ten_env: TenEnv, _audio_frame: AudioFrame
    ) -> None:
        pass

    def on_video_frame(
        self, _ten_env: TenEnv, _video_frame: VideoFrame
    ) -> None:
        pass


class OnThread:
    """The methods of a synchronous extension or tester, as coroutines.

    They run on a thread of their own, in the order in which they were called.
    """

    def __init__(
        self,
        target: object,
        ten_env: StepsDone,
        name: str,
        prepare: Callable[[], None],
    ) -> None:
        self._target = target
        self._ten_env = ten_env
        self._thread = ThreadPoolExecutor(1, f"ten-{name}", prepare)

    def __getattr__(self, method: str) -> Callable[..., Coroutine]:
        """Return a method of the target as the host calls it."""
        if not method.startswith("on_"):
            raise AttributeError(method)

        async def run(_: object, *messages: Msg) -> None:
            await asyncio.wrap_future(
                self._thread.submit(
                    getattr(self._target, method), self._ten_env, *messages
                )
            )
            if not messages:  # a step of its life
                done = self._ten_env._done_with(method)
                await asyncio.wrap_future(done)

        return run

    def call(
        self,
        on_error: Callable[[str, BaseException], None],
        handler: Callable[..., None],
        *args: Any,
    ) -> None:
        """Call the callback of a message, unless the extension has ended."""

        def called(call: "Future[None]") -> None:
            error = call.exception()
            if error is not None:
                on_error("the handler of a result", error)

        with contextlib.suppress(RuntimeError):  # closed
            self._thread.submit(handler, *args).add_done_callback(called)

    def close(self) -> None:
        self._thread.shutdown(wait=False)
