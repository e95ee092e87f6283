"""The base class of extensions with asyncio methods."""

from typing import Any, TypeVar

from ._env import AsyncTenEnv
from ._messages import AudioFrame, Cmd, Data

_E = TypeVar("_E", bound="AsyncExtension")


class AsyncExtension:
    """Override the `on_*` methods; none of them may let an exception out.

    `__init__` runs outside any event loop. Each on_cmd, on_data and
    on_audio_frame is a task of its own. The constructor takes the name only,
    unless a subclass has a `__new__` that passes on no more than that.
    """

    name: str

    def __new__(cls: type[_E], name: str) -> _E:
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
        self, _ten_env: AsyncTenEnv, _video_frame: Any
    ) -> None:
        """Never called here: the stand-in has no video frames."""
