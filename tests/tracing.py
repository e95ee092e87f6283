"""Traces the package's own calls, for tests of who calls whom.

The caller of a function is the nearest frame of the package below it on the
stack, across frames of an SDK, pydantic or TEN. A callback that
the event loop runs has no caller: scheduling is no call.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("avatar", "messages", "session", "settings", "speech")

Graph = dict[str, set[str]]
"""Which module calls which others."""


class Call(NamedTuple):
    """One call, or one resumption of a coroutine."""

    caller: Optional[str]
    """The module of the caller; None if the event loop or TEN has called."""
    module: str
    """For example `avatar/writer`."""
    function: str
    """For example `Writer.write`, or `write` before Python 3.11."""

    @property
    def name(self) -> str:
        """The module and the function's own name."""
        return f"{self.module}.py:{self.function.rpartition('.')[2]}"


class Trace:
    """The calls of the package's functions, in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.injected: set[str] = set()
        """Functions of the package that its constructors were given, each
        with the parameter's name."""
        self._modules: dict[str, str] = {}

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of `sys.setprofile`."""
        if event != "call":
            return
        module = self._module_of(frame)
        if not module:
            return
        below = frame.f_back
        while below is not None and not self._module_of(below):
            below = below.f_back
        caller = None if below is None else self._module_of(below)
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        self.calls.append(Call(caller, module, name))
        if code.co_name == "__init__":
            for parameter in code.co_varnames[1 : _count_of(code)]:
                self._note_injected(parameter, frame.f_locals[parameter])

    def between_modules(self) -> Graph:
        """Return the calls from one module to another."""
        graph: Graph = {}
        for call in self.calls:
            if call.caller is not None and call.caller != call.module:
                graph.setdefault(call.caller, set()).add(call.module)
        return graph

    def turns(self) -> list[list[Call]]:
        """Return the calls by the turn of the event loop (or the call of
        TEN) that led to them, in order."""
        turns: list[list[Call]] = []
        for call in self.calls:
            if call.caller is None:
                turns.append([])
            turns[-1].append(call)
        return turns

    def _note_injected(self, parameter: str, value: Any) -> None:
        code = getattr(value, "__code__", None)
        if code is not None and _module_of(Path(code.co_filename)):
            self.injected.add(f"{parameter}: {value.__qualname__}")

    def _module_of(self, frame: FrameType) -> str:
        """Return the module of a frame of the package, "" for any other."""
        name = frame.f_code.co_filename
        if name not in self._modules:
            self._modules[name] = _module_of(Path(name))
        return self._modules[name]


def _count_of(code: CodeType) -> int:
    """Return how many parameters a function has."""
    return code.co_argcount + code.co_kwonlyargcount


def _module_of(path: Path) -> str:
    if path.parent == ROOT or (
        path.parent.parent == ROOT and path.parent.name in ROOMS
    ):
        return path.relative_to(ROOT).with_suffix("").as_posix()
    return ""


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace this thread until the end of the block."""
    trace = Trace()
    before = sys.getprofile()
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(before)


def circle_in(graph: Graph) -> set[str]:
    """Return the modules that call each other, directly or not."""
    left = {name: set(others) for name, others in graph.items()}
    while True:
        free = {name for name in left if not left[name] & set(left)}
        if not free:
            break
        left = {name: left[name] for name in left if name not in free}
    # Those that only call into a circle are no part of it.
    while True:
        called = set().union(*left.values())
        outside = set(left) - called
        if not outside:
            return set(left)
        left = {name: left[name] for name in left if name not in outside}
