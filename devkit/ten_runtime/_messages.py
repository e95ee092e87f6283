"""Messages: commands and their results, data, audio frames.

A message object is a handle on a content. Sending moves the content to the
receiver's handle and leaves the sender's empty ("consumed"): the getters of
its name, source and properties then raise ValueError, and all else that is
done with it, sending it again as well, ends the process.
"""

import operator
from collections.abc import Callable
from enum import IntEnum
from functools import partial
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
from ._tree import PropertyAccess, PropertyTree, check_str
from ._values import Loc, _TenError

# The content of a fresh buffer: its memory is not zeroed in TEN.
_UNSET_BYTE = b"\xa5"

_T = TypeVar("_T")
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


class Msg(PropertyAccess):
    """The base of all messages: a name, a source, a tree of properties.

    The errors of its properties are no instances of TenError. Getters and
    setters raise ValueError on a consumed message.
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

    def get_property_buf(self, path: str) -> tuple[bytearray, _TenError | None]:
        return self._tree().get_buf(path)

    def set_property_buf(
        self, path: str, value: bytes | bytearray
    ) -> _TenError | None:
        """Not to be followed by get_property_to_json: TypeError here."""
        return self._tree().set(path, bytes(value))

    def _read(self, getter: str, path: str | None) -> Any:
        return getattr(self._tree(), getter)(path)

    def _write(self, setter: str, path: str | None, value: Any) -> Any:
        return getattr(self._tree(), setter)(path, value)

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


def _field(
    name: str, convert: Callable[[Any], _T]
) -> tuple[Callable[[Any], _T], Callable[[Any, _T], None]]:
    """Return the getter and the setter of a field of a frame."""

    def get(self: Msg) -> _T:
        return getattr(self._content, name)

    def set_to(self: Msg, value: _T) -> None:
        setattr(self._content, name, convert(value))

    return get, set_to


_number = partial(_field, convert=operator.index)
_flag = partial(_field, convert=bool)


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
    """A piece of PCM audio. Numbers start at 0; setters take int only.

    The `data_fmt` is an AudioFrameDataFmt's value; interleaved if never set.
    """

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

    get_sample_rate, set_sample_rate = _number("sample_rate")
    get_bytes_per_sample, set_bytes_per_sample = _number("bytes_per_sample")
    get_number_of_channels, set_number_of_channels = _number(
        "number_of_channels"
    )
    get_samples_per_channel, set_samples_per_channel = _number(
        "samples_per_channel"
    )
    get_timestamp, set_timestamp = _number("timestamp")
    get_data_fmt, set_data_fmt = _number("data_fmt")
    get_line_size, set_line_size = _number("line_size")
    is_eof, set_eof = _flag("eof")


class VideoFrame(_Buffered):
    """A picture. The `pixel_fmt` is a PixelFmt's value; RGBA if never set."""

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

    get_width, set_width = _number("width")
    get_height, set_height = _number("height")
    get_timestamp, set_timestamp = _number("timestamp")
    get_pixel_fmt, set_pixel_fmt = _number("pixel_fmt")
    is_eof, set_eof = _flag("eof")


def _buffer_of(content: Any) -> bytearray:
    if content.buffer is None:
        raise SystemError("Failed to get buffer.")
    return bytearray(content.buffer)
