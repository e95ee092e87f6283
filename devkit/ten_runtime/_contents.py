"""The contents behind message objects; moved from one to the next by
sending."""

from concurrent.futures import Future, InvalidStateError
from typing import Any

from ._process import _abort
from ._tree import PropertyTree
from ._values import Loc, TenError

_NO_PLACE = Loc()


class Reply:
    """Where the result of one sent command goes. Any thread; first wins."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: Future[Any] = Future()
        """Gets (CmdResult | None, TenError | None)."""

    def give(self, result: Any, error: TenError | None = None) -> None:
        try:
            self.future.set_result((result, error))
        except InvalidStateError:
            pass  # a second result is ignored, and so is one nobody awaits


class Content:
    __slots__ = ("name", "source", "tree")

    locked = 0
    """Views of the buffer that are still out; only buffers have any."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Made on first use: most frames carry no property.
        self.tree: PropertyTree | None = None
        self.source: Loc = _NO_PLACE

    def copy_to(self, other: Any) -> Any:
        if self.tree is not None:
            other.tree = self.tree.copy()
        other.source = self.source
        return other


class CmdContent(Content):
    __slots__ = ("reply",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reply: Reply | None = None


class ResultContent(Content):
    __slots__ = ("cmd_name", "final", "reply", "status")

    def __init__(self, status: int, cmd: CmdContent) -> None:
        super().__init__("")
        self.status = status
        self.reply = cmd.reply
        self.final = True
        self.cmd_name = cmd.name


class BufferContent(Content):
    __slots__ = ("buffer", "locked")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.buffer: bytearray | None = None
        self.locked = 0

    def copy_to(self, other: Any) -> Any:
        if self.buffer is not None:
            other.buffer = bytearray(self.buffer)
        return super().copy_to(other)


class AudioContent(BufferContent):
    __slots__ = (
        "bytes_per_sample",
        "data_fmt",
        "eof",
        "line_size",
        "number_of_channels",
        "sample_rate",
        "samples_per_channel",
        "timestamp",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = None
        self.source = _NO_PLACE
        self.buffer = None
        self.locked = 0
        self.sample_rate = 0
        self.bytes_per_sample = 0
        self.number_of_channels = 0
        self.samples_per_channel = 0
        self.timestamp = 0
        self.data_fmt = 1  # AudioFrameDataFmt.INTERLEAVE
        self.line_size = 0
        self.eof = False

    def copy_to(self, other: Any) -> Any:
        for field in AudioContent.__slots__:
            setattr(other, field, getattr(self, field))
        return super().copy_to(other)


class VideoContent(BufferContent):
    __slots__ = ("eof", "height", "pixel_fmt", "timestamp", "width")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.width = 0
        self.height = 0
        self.timestamp = 0
        self.pixel_fmt = 2  # PixelFmt.RGBA
        self.eof = False

    def copy_to(self, other: Any) -> Any:
        for field in VideoContent.__slots__:
            setattr(other, field, getattr(self, field))
        return super().copy_to(other)


class _Consumed:
    """In place of a sent message's content, so that getters, which come by
    the thousand, need no check of their own.

    The real binding raises where it reads a name, a source or a property,
    and aborts elsewhere.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name in Content.__slots__:
            raise ValueError("Msg is invalidated.")
        _abort("a message was used after it had been sent; clone() it first")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__getattr__(name)


CONSUMED = _Consumed()
