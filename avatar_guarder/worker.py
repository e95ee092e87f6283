#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Follows the extensions that live in this process.

The runtime calls the `on_*` methods of an extension and says nothing about
it. `follow` has each new extension tell when its on_start has returned, which
exception escaped one of its methods, and how long its event loop stood still.
"""

import asyncio
import functools
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HANDLERS = (
    "on_configure",
    "on_init",
    "on_start",
    "on_stop",
    "on_deinit",
    "on_cmd",
    "on_data",
    "on_audio_frame",
    "on_video_frame",
)
BEAT_S = 0.02


@dataclass(frozen=True)
class Escape:
    """An exception that left a method of the extension."""

    handler: str
    kind: str
    """The exception's type."""
    text: str
    place: str
    """`file.py:line`, inside the extension's folder where it has a part."""

    @property
    def cause(self) -> str:
        """The same for two exceptions that have one defect."""
        return f"{self.handler} {self.kind} {self.place}"

    def __str__(self) -> str:
        # The place first: of a long line the end may be cut.
        what = f"{self.kind}: {self.text}" if self.text else self.kind
        return f"{self.handler} ({self.place}) raised {what}"


class Life:
    """One extension."""

    def __init__(self) -> None:
        self.started = threading.Event()
        """Set when its on_start has returned."""
        self.started_s = 0.0
        """When that was; 0 before."""
        self.ended = threading.Event()
        """Set when its on_deinit has returned."""
        self.begun_s = time.monotonic()
        self.gaps: list[tuple[float, float]] = []
        """When the loop of the extension stood still, and how long (s)."""
        self._beats = False

    def longest_gap_s(self, since_s: float = 0.0) -> float:
        """Return the length of the longest gap that began after a time."""
        return max(
            (length for begun_s, length in self.gaps if begun_s >= since_s),
            default=0.0,
        )

    def beat(self) -> None:
        """Begin to measure the loop that runs here."""
        if self._beats:
            return
        self._beats = True
        loop = asyncio.get_running_loop()
        last_s = time.monotonic()

        def tick() -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s > 5 * BEAT_S:
                self.gaps.append((last_s, now_s - last_s - BEAT_S))
            last_s = now_s
            if not self.ended.is_set():
                loop.call_later(BEAT_S, tick)

        loop.call_later(BEAT_S, tick)


LIVES: list[Life] = []
"""Every extension of this process so far, the oldest first."""

ESCAPES: list[Escape] = []

ADDONS: set[str] = set()
"""Names under which addons have been registered."""

_folder = Path("/")
_report: Path | None = None


def follow(folder: Path, report: Path | None) -> None:
    """Follow every AsyncExtension that is made from now on.

    `folder` is that of the extension under test. What escapes is also
    written to `report`, since it may be the last act of this process.
    """
    global _folder, _report
    from ten_runtime import AsyncExtension

    _folder, _report = folder, report
    _follow_addons()
    make: Any = AsyncExtension.__init__
    if getattr(make, "is_followed", False):
        return

    @functools.wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        _attach(self)

    init.is_followed = True  # type: ignore[attr-defined]
    AsyncExtension.__init__ = init  # type: ignore[method-assign]


def _follow_addons() -> None:
    import ten_runtime

    register: Any = ten_runtime.register_addon_as_extension

    def note_name(name: str, *args: Any, **kwargs: Any) -> Any:
        ADDONS.add(name)
        return register(name, *args, **kwargs)

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == ten_runtime.__name__:
            if getattr(module, register.__name__, None) is register:
                setattr(module, register.__name__, note_name)


def _attach(extension: Any) -> None:
    life = Life()
    LIVES.append(life)
    for name in HANDLERS:
        method = getattr(extension, name, None)
        if method is not None:
            setattr(extension, name, _wrap(life, name, method))


def _wrap(life: Life, name: str, method: Callable[..., Any]) -> Any:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        life.beat()
        try:
            result = await method(*args, **kwargs)
        except BaseException as error:
            note(name, error)
            raise
        if name == "on_start":
            life.started_s = time.monotonic()
            life.started.set()
        elif name == "on_deinit":
            life.ended.set()
        return result

    return call


def note(handler: str, error: BaseException) -> Escape:
    """Record an exception that escaped `handler`."""
    lines = str(error).strip().splitlines()
    escape = Escape(
        handler,
        type(error).__name__,
        lines[0] if lines else "",
        place_of(error, _folder),
    )
    ESCAPES.append(escape)
    if _report is not None:
        with open(_report, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(escape)) + "\n")
    return escape


def read_escapes(report: Path) -> list[Escape]:
    """Return the exceptions that a process recorded by `note`."""
    if not report.is_file():
        return []
    with open(report, encoding="utf-8") as file:
        return [Escape(**json.loads(line)) for line in file]


def place_of(error: BaseException, folder: Path) -> str:
    """Return the line that raised, the deepest one inside `folder`."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_inside(frame.filename, folder)]
    frame = (own or frames or [None])[-1]
    if frame is None:
        return "unknown"
    return f"{Path(frame.filename).name}:{frame.lineno}"


def is_inside(filename: str, folder: Path) -> bool:
    """Whether a file of a traceback is one of the extension's own."""
    try:
        inside = Path(filename).resolve().relative_to(folder)
    except ValueError:
        return False
    return not any(part.startswith(".") for part in inside.parts)
