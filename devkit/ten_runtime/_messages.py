"""Messages: commands and their results, data, audio frames.

A message object is a handle on a content. Sending moves the content to the
receiver's handle and leaves the sender's empty ("consumed"): the getters of
its name, source and properties then raise ValueError, and all else that is
done with it, sending it again as well, ends the process.
"""

import operator
from enum import IntEnum
from typing import Any, TypeVar

from ._contents import (
    CONSUMED,
    AudioContent,
    BufferContent,
    CmdContent,
    ResultContent,
    VideoContent,
)
from ._process import _abort
from ._tree import PropertyTree, check_float, check_int, check_str
from ._values import Loc, _TenError

# The content of a fresh buffer: its memory is not zeroed in TEN.
_UNSET_BYTE = b"\xa5"

_M = TypeVar("_M", bound="Msg")
_F = TypeVar("_F", bound="AudioFrame")
_D = TypeVar("_D", bound="Data")
_R = TypeVar("_R", bound="CmdResult")
_V = TypeVar("_V", bound="VideoFrame")
_G = TypeVar("_G", bound="_RuntimeCmd")


class StatusCode(IntEnum):
    OK = 0
    ERROR = 1


class AudioFrameDataFmt(IntEnum):
    INTERLEAVE = 1
    NON_INTERLEAVE = 2


class PixelFmt(IntEnum):
    RGB24 = 1
    RGBA = 2
    BGR24 = 3
    BGRA = 4
    I422 = 5
    I420 = 6
    NV21 = 7
    NV12 = 8


class Msg:
    """The base of all messages: a name, a source, a tree of properties.

    Getters give `(value, None)` or `(default, error)` and convert nothing;
    setters give None or an error, which is no instance of TenError. Both
    raise ValueError on a consumed message.
    """

    __slots__ = ("_content",)

    _content: Any
    handler = ""
    """Name of the method that receives such a message."""
    schema_kind = ""
    """The stem of the manifest's `<kind>_in` and `<kind>_out`."""

    def __init__(self, *args: object) -> None:
        if not args:
            raise ValueError("Failed to parse arguments.")
        kind = type(self).__name__
        raise NotImplementedError(f"{kind}.create() makes a {kind}.")

    def get_name(self) -> str:
        return self._content.name

    def set_name(self, name: str) -> None:
        self._content.name = check_str(name)

    def get_source(self) -> Loc:
        return self._content.source

    def set_dests(self, locs: list[Loc]) -> _TenError | None:
        """Accepted and not used: all messages go to the host's callbacks."""
        self._tree()  # as the other setters: ValueError after a send
        return None

    def get_property_to_json(
        self, path: str | None = None
    ) -> tuple[str, _TenError | None]:
        """JSON at a dotted path (None or "": all), indented by 4.

        Not for messages of other nodes: it ends the process where an integer
        above 2**63 - 1 or an object with the same key twice is to be written.
        """
        return self._tree().to_json(path)

    def set_property_from_json(
        self, path: str | None, json_str: str
    ) -> _TenError | None:
        """Set the value at `path`; None replaces the whole tree."""
        return self._tree().set_from_json(path, check_str(json_str))

    def get_property_int(self, path: str) -> tuple[int, _TenError | None]:
        return self._tree().get_int(path)

    def set_property_int(self, path: str, value: int) -> _TenError | None:
        return self._tree().set(path, check_int(value))

    def get_property_string(self, path: str) -> tuple[str, _TenError | None]:
        return self._tree().get_string(path)

    def set_property_string(self, path: str, value: str) -> _TenError | None:
        return self._tree().set(path, check_str(value))

    def get_property_bool(self, path: str) -> tuple[bool, _TenError | None]:
        return self._tree().get_bool(path)

    def set_property_bool(self, path: str, value: bool) -> _TenError | None:
        return self._tree().set(path, bool(value))

    def get_property_float(self, path: str) -> tuple[float, _TenError | None]:
        return self._tree().get_float(path)

    def set_property_float(self, path: str, value: float) -> _TenError | None:
        return self._tree().set(path, check_float(value))

    def get_property_buf(self, path: str) -> tuple[bytearray, _TenError | None]:
        return self._tree().get_buf(path)

    def set_property_buf(
        self, path: str, value: bytes | bytearray
    ) -> _TenError | None:
        """Not to be followed by get_property_to_json: TypeError here."""
        return self._tree().set(path, bytes(value))

    def _tree(self) -> PropertyTree:
        content = self._content
        if content.tree is None:
            content.tree = PropertyTree()
        return content.tree

    def __repr__(self) -> str:
        kind = type(self).__name__
        if is_consumed(self):
            return f"<{kind} (consumed)>"
        return f"<{kind} {self._content.name!r}>"


def _holding(cls: type[_M], content: Any) -> _M:
    msg = cls.__new__(cls)
    msg._content = content
    return msg


def is_consumed(msg: Msg) -> bool:
    """Whether it has been sent."""
    return msg._content is CONSUMED


def take(msg: _M, source: Loc | None = None) -> _M:
    """Move the content of `msg` into a new handle, as sending does.

    A consumed message ends the process.
    """
    content = msg._content
    if content is CONSUMED:
        _abort("a message was sent a second time; clone() it first")
    if source is not None:
        content.source = source
    msg._content = CONSUMED
    taken = type(msg).__new__(type(msg))
    taken._content = content
    return taken


def is_locked(msg: Msg) -> bool:
    """Whether a view of the buffer is out: such a message is not sent."""
    return msg._content.locked > 0


def properties_of(msg: Msg) -> dict:
    """The message's property tree itself, for schema checks."""
    tree = msg._content.tree
    return {} if tree is None else tree.root


class Cmd(Msg):
    """A command; its sender waits for a CmdResult."""

    __slots__ = ()

    handler = "on_cmd"
    schema_kind = "cmd"

    @classmethod
    def create(cls: type[_M], name: str) -> _M:
        return _holding(cls, CmdContent(check_str(name)))

    def clone(self) -> "Cmd":
        content = self._content
        return _holding(Cmd, content.copy_to(CmdContent(content.name)))


class _RuntimeCmd(Cmd):
    """A command to the runtime; the stand-in runs none, and sends it on."""

    __slots__ = ()

    reserved_name = ""

    @classmethod
    def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls: type[_G],
    ) -> _G:
        return _holding(cls, CmdContent(cls.reserved_name))

    def _set(self, field: str, value: str) -> bool:
        return self.set_property_string(f"ten.{field}", value) is None


class StartGraphCmd(_RuntimeCmd):
    __slots__ = ()

    reserved_name = "ten:start_graph"

    def set_predefined_graph_name(self, predefined_graph_name: str) -> bool:
        return self._set("predefined_graph", predefined_graph_name)

    def set_graph_from_json(self, json_str: str) -> bool:
        return self._set("graph", json_str)


class StopGraphCmd(_RuntimeCmd):
    __slots__ = ()

    reserved_name = "ten:stop_graph"

    def set_graph_id(self, graph_id: str) -> bool:
        return self._set("graph_id", graph_id)


class TriggerLifeCycleCmd(_RuntimeCmd):
    __slots__ = ()

    reserved_name = "ten:trigger_life_cycle"

    def set_stage(self, stage: str) -> bool:
        return self._set("stage", stage)


class CmdResult(Msg):
    """The answer to a command that was received."""

    __slots__ = ()

    schema_kind = "result"

    @classmethod
    def create(cls: type[_R], status_code: StatusCode, target_cmd: Cmd) -> _R:
        """An object that is no Cmd ends the process: its memory is read."""
        if not isinstance(target_cmd, Cmd):
            kind = type(target_cmd).__name__
            _abort(f"CmdResult.create() was called with a {kind}, no Cmd")
        return _holding(
            cls, ResultContent(int(status_code), target_cmd._content)
        )

    def clone(self) -> "CmdResult":
        content = self._content
        copy = object.__new__(ResultContent)
        copy.name, copy.tree, copy.source = content.name, None, content.source
        copy.status, copy.reply = content.status, content.reply
        copy.final, copy.cmd_name = content.final, content.cmd_name
        return _holding(CmdResult, content.copy_to(copy))

    def get_status_code(self) -> StatusCode:
        return StatusCode(self._content.status)

    def cmd_name(self) -> str:
        """Name of the answered command. Not in the real runtime."""
        return self._content.cmd_name

    def set_final(self, is_final: bool) -> None:
        self._content.final = bool(is_final)

    def is_final(self) -> bool:
        return self._content.final

    def is_completed(self) -> bool:
        return self._content.final


class _Buffered(Msg):
    __slots__ = ()

    def alloc_buf(self, size: int) -> None:
        """Allocate `size` bytes (more than 0); they are not zeroed."""
        content = self._content
        size = operator.index(size)
        if size <= 0:
            raise ValueError("a buffer needs more than 0 bytes")
        content.buffer = bytearray(_UNSET_BYTE) * size

    def lock_buf(self) -> memoryview:
        """A writable view of the buffer; unlock it before sending."""
        content = self._content
        if content.buffer is None:
            raise SystemError("Failed to lock a buffer that is not allocated.")
        content.locked += 1
        return memoryview(content.buffer)

    def unlock_buf(self, buf: memoryview) -> None:
        content = self._content
        if buf.obj is not content.buffer or not content.locked:
            raise RuntimeError("Failed to unlock the buffer.")
        content.locked -= 1


class Data(_Buffered):
    """Properties and, rarely, a buffer."""

    __slots__ = ()

    handler = "on_data"
    schema_kind = "data"

    @classmethod
    def create(cls: type[_D], name: str) -> _D:
        return _holding(cls, BufferContent(check_str(name)))

    def clone(self) -> "Data":
        content = self._content
        return _holding(Data, content.copy_to(BufferContent(content.name)))

    def get_buf(self) -> bytearray:
        """A copy of the buffer; empty where none was allocated."""
        return bytearray(self._content.buffer or b"")


class AudioFrame(_Buffered):
    """A piece of PCM audio. Numbers start at 0; setters take int only."""

    __slots__ = ()

    handler = "on_audio_frame"
    schema_kind = "audio_frame"

    @classmethod
    def create(cls: type[_F], name: str) -> _F:
        return _holding(cls, AudioContent(check_str(name)))

    def clone(self) -> "AudioFrame":
        content = self._content
        return _holding(AudioFrame, content.copy_to(AudioContent(content.name)))

    def get_buf(self) -> bytearray:
        """A copy of the samples. SystemError if none were allocated."""
        return _buffer_of(self._content)

    def get_sample_rate(self) -> int:
        """Samples per second and channel."""
        return self._content.sample_rate

    def set_sample_rate(self, sample_rate: int) -> None:
        self._content.sample_rate = operator.index(sample_rate)

    def get_bytes_per_sample(self) -> int:
        return self._content.bytes_per_sample

    def set_bytes_per_sample(self, bytes_per_sample: int) -> None:
        self._content.bytes_per_sample = operator.index(bytes_per_sample)

    def get_number_of_channels(self) -> int:
        return self._content.number_of_channels

    def set_number_of_channels(self, number_of_channels: int) -> None:
        self._content.number_of_channels = operator.index(number_of_channels)

    def get_samples_per_channel(self) -> int:
        return self._content.samples_per_channel

    def set_samples_per_channel(self, samples_per_channel: int) -> None:
        self._content.samples_per_channel = operator.index(samples_per_channel)

    def get_timestamp(self) -> int:
        return self._content.timestamp

    def set_timestamp(self, timestamp: int) -> None:
        self._content.timestamp = operator.index(timestamp)

    def get_data_fmt(self) -> int:
        """An AudioFrameDataFmt's value; interleaved if never set."""
        return self._content.data_fmt

    def set_data_fmt(self, data_fmt: int) -> None:
        self._content.data_fmt = operator.index(data_fmt)

    def get_line_size(self) -> int:
        return self._content.line_size

    def set_line_size(self, line_size: int) -> None:
        self._content.line_size = operator.index(line_size)

    def is_eof(self) -> bool:
        return self._content.eof

    def set_eof(self, is_eof: bool) -> None:
        self._content.eof = bool(is_eof)


class VideoFrame(_Buffered):
    __slots__ = ()

    handler = "on_video_frame"
    schema_kind = "video_frame"

    @classmethod
    def create(cls: type[_V], name: str) -> _V:
        return _holding(cls, VideoContent(check_str(name)))

    def clone(self) -> "VideoFrame":
        content = self._content
        return _holding(VideoFrame, content.copy_to(VideoContent(content.name)))

    def get_buf(self) -> bytearray:
        """A copy of the pixels. SystemError if none were allocated."""
        return _buffer_of(self._content)

    def get_width(self) -> int:
        return self._content.width

    def set_width(self, width: int) -> None:
        self._content.width = operator.index(width)

    def get_height(self) -> int:
        return self._content.height

    def set_height(self, height: int) -> None:
        self._content.height = operator.index(height)

    def get_timestamp(self) -> int:
        return self._content.timestamp

    def set_timestamp(self, timestamp: int) -> None:
        self._content.timestamp = operator.index(timestamp)

    def get_pixel_fmt(self) -> int:
        """A PixelFmt's value; RGBA if never set."""
        return self._content.pixel_fmt

    def set_pixel_fmt(self, pixel_fmt: int) -> None:
        self._content.pixel_fmt = operator.index(pixel_fmt)

    def is_eof(self) -> bool:
        return self._content.eof

    def set_eof(self, is_eof: bool) -> None:
        self._content.eof = bool(is_eof)


def _buffer_of(content: Any) -> bytearray:
    if content.buffer is None:
        raise SystemError("Failed to get buffer.")
    return bytearray(content.buffer)
