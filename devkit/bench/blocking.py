"""How long one step of ours blocks the event loop that extensions share.

Every step of a task that runs our code, and every callback of ours that the
event loop calls, is measured by itself. The goal is for the thread's CPU time,
which other processes do not disturb; the wall-clock time, and the longest time
that a probe on the same loop had to wait, are printed beside it. Python's
garbage collections go over the whole process and run in any step: they are
taken out, and the longest is printed too.
"""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

from spatius_avatar_python.clock import SystemClock, Timer
from spatius_avatar_python.session import sdk
from ten_runtime import AudioFrame, Cmd

from devkit import package
from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig

from .figures import Outcome, Row, Settings, middle_half
from .service import Service, motion_server
from .sides import BYTES_PER_S, RATE, params

GOAL_MS = 5.0

_FRAME_MS = 10
_PROBE_S = 0.001
_DEVELOPERS = ("devkit",)


class Steps:
    """The longest of all steps so far."""

    def __init__(self) -> None:
        self.cpu_ms = 0.0
        self.wall_ms = 0.0
        self.where = ""
        self.collection_ms = 0.0
        self._collected_s = 0.0  # in this step
        self._collection_began = 0.0

    def begin(self) -> tuple[float, float]:
        self._collected_s = 0.0
        return time.thread_time(), time.perf_counter()

    def end(self, began: tuple[float, float], where: str) -> None:
        cpu_s = time.thread_time() - began[0] - self._collected_s
        cpu_ms = cpu_s * 1000
        self.wall_ms = max(
            self.wall_ms, (time.perf_counter() - began[1]) * 1000
        )
        if cpu_ms > self.cpu_ms:
            self.cpu_ms, self.where = cpu_ms, where

    def callback(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a callback that is measured."""

        def measured(*args: Any) -> None:
            began = self.begin()
            try:
                callback(*args)
            finally:
                self.end(began, callback.__qualname__)

        return measured

    def on_collection(self, phase: str, _: Any) -> None:
        """Take what Python says of a collection (`gc.callbacks`)."""
        now = time.thread_time()
        if phase == "start":
            self._collection_began = now
            return
        took_s = now - self._collection_began
        self._collected_s += took_s
        self.collection_ms = max(self.collection_ms, took_s * 1000)

    def tasks(
        self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> "asyncio.Task[Any]":
        """Make a task, as the loop's task factory."""
        if _is_ours(work):
            work = _Stepwise(work, self)
        return asyncio.Task(work, loop=loop, **options)


class _Stepwise(Coroutine):
    """A coroutine whose steps are measured."""

    def __init__(self, work: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._work = work
        self._steps = steps
        self._name = work.__qualname__

    def send(self, value: Any) -> Any:
        began = self._steps.begin()
        try:
            return self._work.send(value)
        finally:
            self._steps.end(began, self._name)

    def throw(self, *error: Any) -> Any:
        began = self._steps.begin()
        try:
            return self._work.throw(*error)
        finally:
            self._steps.end(began, self._name)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


class _SteppedClock(SystemClock):
    """The machine's time, whose callbacks are measured."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return super().call_at(when, self._steps.callback(callback))


def _stepped_loop(kind: Any) -> Any:
    """Return a loop of a kind that measures our callbacks of `call_soon`,
    where its `steps` are set."""

    class Loop(kind):
        steps: Steps | None = None

        def call_soon(
            self, callback: Callable[..., Any], *args: Any, context: Any = None
        ) -> asyncio.Handle:
            if self.steps is not None and _is_ours(callback):
                callback = self.steps.callback(callback)
            return super().call_soon(callback, *args, context=context)

    return Loop()


def _is_ours(work: Any) -> bool:
    """Return whether a coroutine or a callback is of our code."""
    code = getattr(work, "cr_code", getattr(work, "__code__", None))
    file = code.co_filename if code is not None else ""
    root = f"{package.ROOT}/"
    return file.startswith(root) and not file[len(root) :].startswith(
        (*_DEVELOPERS, ".venv")
    )


class _Probe:
    """Wakes every millisecond, and knows the longest it had to wait."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(_PROBE_S)
            now = time.perf_counter()
            late_ms = (now - before - _PROBE_S) * 1000
            self.longest_ms = max(self.longest_ms, late_ms)
            before = now

    def end(self) -> None:
        self._task.cancel()


def run(settings: Settings) -> Outcome:
    """Measure what makes long steps likely."""
    with motion_server() as service:
        kind: Any = asyncio.SelectorEventLoop
        if os.environ.get("TEN_STAND_IN_LOOP") != "asyncio":
            import uvloop

            kind = uvloop.Loop
        loop = _stepped_loop(kind)
        try:
            return loop.run_until_complete(_run(service, settings))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


async def _run(service: Service, settings: Settings) -> Outcome:
    frames_s = 10 if settings.short else 60
    backlog_s = 10 if settings.short else 600
    scenes: dict[str, _Scene] = {
        "10 s frames": _Scene(_long_frames, frames_s),
        f"{backlog_s} s backlog": _Scene(_backlog, backlog_s),
    }
    if not sdk.problem(True):
        scenes["10 s frames, Ogg Opus"] = _Scene(
            _long_frames, frames_s, {"audio_format": "ogg_opus"}
        )
    outcome = Outcome()
    for name, scene in scenes.items():
        runs = [
            await _measure(service, scene) for _ in range(settings.choose(3, 1))
        ]
        outcome.rows.append(_row(name, runs))
        if not scene.params.get("audio_format"):
            outcome.sent_bytes += sum(run.sent_bytes for run in runs)
    outcome.received_bytes = await asyncio.to_thread(
        service.received_all, outcome.sent_bytes
    )
    return outcome


@dataclass(frozen=True)
class _Scene:
    play: Callable[[Rig, Service, float], Awaitable[None]]
    backlog_s: int
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _BlockingRun:
    steps: Steps
    probe_ms: float
    sent_bytes: int


async def _measure(service: Service, scene: _Scene) -> _BlockingRun:
    loop: Any = asyncio.get_running_loop()
    steps = Steps()
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(
            {
                "dump": True,
                "dump_path": folder,
                "params": params(
                    service,
                    0,
                    max_buffered_speech_s=scene.backlog_s,
                    **scene.params,
                ),
            },
            _SteppedClock(steps),
        )
        rig.env.keeps_lines = False
        gc.collect()
        loop.set_task_factory(steps.tasks)
        loop.steps = steps
        gc.callbacks.append(steps.on_collection)
        probe = _Probe()
        try:
            await loop.create_task(rig.extension.on_init(rig.env))
            await loop.create_task(rig.extension.on_start(rig.env))
            await rig.state("ready")
            await scene.play(rig, service, scene.backlog_s)
            await loop.create_task(rig.extension.on_stop(rig.env))
        finally:
            probe.end()
            gc.callbacks.remove(steps.on_collection)
            loop.set_task_factory(None)
            loop.steps = None
        await asyncio.sleep(0.2)  # the dump's thread closes its file
    return _BlockingRun(steps, probe.longest_ms, rig.totals.sent * 2)


async def _long_frames(rig: Rig, service: Service, backlog_s: float) -> None:
    """Say as many frames of 10 s as the queue holds."""
    for _ in range(int(backlog_s / 10)):
        _deliver(rig, audio_frame(bytes(10 * BYTES_PER_S), 1))
    await _silent(rig)


async def _backlog(rig: Rig, service: Service, backlog_s: float) -> None:
    """Let the queue fill up, flush it, let it fill up again and drain."""
    await asyncio.to_thread(service.now, "stall")
    await _fill(rig, 1, backlog_s)
    await asyncio.get_running_loop().create_task(
        rig.extension.on_cmd(rig.env, Cmd.create("flush"))
    )
    await _fill(rig, 2, backlog_s)
    await asyncio.to_thread(service.now, "resume")
    await _silent(rig)


async def _fill(rig: Rig, turn_id: int, backlog_s: float) -> None:
    pcm = bytes(BYTES_PER_S * _FRAME_MS // 1000)
    while rig.totals.waiting < (backlog_s - 0.5) * RATE:
        for _ in range(20):
            _deliver(rig, audio_frame(pcm, turn_id))
        await asyncio.sleep(0)


def _deliver(rig: Rig, frame: AudioFrame) -> None:
    """Deliver a frame as TEN does: in a task of its own."""
    task = asyncio.get_running_loop().create_task(
        rig.extension.on_audio_frame(rig.env, frame)
    )
    _delivering.add(task)
    task.add_done_callback(_delivering.discard)


# The loop itself has weak references to tasks only.
_delivering: "set[asyncio.Task[None]]" = set()


async def _silent(rig: Rig) -> None:
    while _delivering or rig.totals.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _row(name: str, runs: list[_BlockingRun]) -> Row:
    longest = max((run.steps for run in runs), key=lambda one: one.cpu_ms)
    collection_ms = max(run.steps.collection_ms for run in runs)
    wall_ms = max(run.steps.wall_ms for run in runs)
    probe_ms = max(run.probe_ms for run in runs)
    return Row(
        f"longest blocking step: {name}, dump on",
        "ms",
        longest.cpu_ms,
        spread=middle_half([run.steps.cpu_ms for run in runs]),
        goal=f"<= {GOAL_MS} ms",
        met=longest.cpu_ms <= GOAL_MS,
        note=f"CPU, in {longest.where}; {wall_ms:.1f} ms of wall-clock time; "
        f"lag of the probe {probe_ms:.1f} ms; longest collection "
        f"{collection_ms:.1f} ms",
    )
