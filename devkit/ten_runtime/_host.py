"""Runs one extension by the runtime's rules; the tester is built on it.

A host works without an App and without a tester, for demos and benchmarks:
messages go in by `send_*`, the extension's messages come out by callbacks.
Several hosts share the process's one event loop.
"""

import asyncio
import contextlib
import contextvars
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from . import _log, _loop, _process
from ._app import find_addon
from ._contents import Reply
from ._env import AsyncTenEnv, CmdOutcome
from ._extension import AsyncExtension, Extension, OnThread
from ._messages import (
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    Msg,
    StatusCode,
    VideoFrame,
    is_consumed,
    is_locked,
    take,
)
from ._process import (
    HandlerFailed,
    ProcessAborted,
    ProcessEnded,
    wait_without_limit,
)
from ._properties import Schemas, load_properties, read_manifest
from ._tree import PropertyTree, parse_json
from ._values import (
    Loc,
    LogLevel,
    TenError,
    TenErrorCode,
    closed,
    not_connected,
)


class ExtensionHost:
    """Hosts the extension that the addon `addon_name` makes.

    `node_property` has the form of a graph node's `property`: a dict or its
    JSON text. `on_data`, `on_cmd`, `on_audio_frame` and `on_video_frame`
    take the extension's messages; a kind without a callback is not connected.
    They are called on the extensions' event loop and must not block; `on_cmd`
    answers through `host.return_result`. `on_failure` gets the ProcessEnded
    where the real process ends; without it this one ends, too.

    All `send_*` may be called from any thread, in the order in which the
    extension is to get the messages.
    """

    def __init__(
        self,
        addon_name: str,
        node_property: dict | str | None = None,
        *,
        name: str | None = None,
        on_data: Callable[[Data], None] | None = None,
        on_cmd: Callable[[Cmd], None] | None = None,
        on_audio_frame: Callable[[AudioFrame], None] | None = None,
        on_video_frame: Callable[[VideoFrame], None] | None = None,
        on_failure: Callable[[ProcessEnded], None] | None = None,
    ) -> None:
        self.name = name or addon_name
        self.schemas = Schemas()
        self.failure: ProcessEnded | None = None
        """The first reason for which the process would have ended."""
        self._addon_name = addon_name
        self._node_property = _as_tree(node_property)
        self._sinks: dict[str, Callable[[Any], None] | None] = {
            Data.handler: on_data,
            Cmd.handler: on_cmd,
            AudioFrame.handler: on_audio_frame,
            VideoFrame.handler: on_video_frame,
        }
        self._on_failure = on_failure
        self._place = Loc("localhost", None, self.name)
        self._extension: AsyncExtension | OnThread | None = None
        self._env: Any = None
        self._loop: Any = None
        self._life: asyncio.Task[None] | None = None
        self._stop_asked: Any = None
        self._inbox: deque[Msg] = deque()
        self._drain_due = False
        # By message, and dropped by _handle itself: event loops hold tasks
        # weakly, and a done callback per frame would cost another turn.
        self._handling: dict[Msg, asyncio.Task[None]] = {}
        # Messages wait in the inbox until on_init is done, and are dropped
        # from on_deinit on.
        self._accepting = False
        self._dropping = False
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._ending_loop: threading.Thread | None = None

    def __enter__(self) -> "ExtensionHost":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Create the extension and set its life going; does not wait for it.

        Without such an addon the process ends.
        """
        with contextlib.suppress(_process.Ended):
            contextvars.copy_context().run(self._create)
        if self._extension is None:
            self._started.set()
            self._stopped.set()
            return
        self._loop = _loop.acquire()
        self._loop.call_soon_threadsafe(self._begin)

    def _create(self) -> None:
        self._report_ends()
        addon = find_addon(self._addon_name)
        manifest = read_manifest(addon.base_dir)
        self.schemas = Schemas(manifest.get("api"))
        properties = load_properties(
            addon.base_dir, self._node_property, self.schemas, self.name
        )
        self._env = AsyncTenEnv(self, PropertyTree(properties))

        def create() -> None:
            self._report_ends()
            try:
                extension = addon.create(self.name)
                if isinstance(extension, Extension):
                    self._env = self._env._sync
                    extension = OnThread(
                        extension, self._env, self.name, self._report_ends
                    )
                self._extension = extension
            except _process.Ended:
                pass  # reported
            except BaseException as exc:
                with contextlib.suppress(_process.Ended):
                    _process._abort(
                        f"creating '{self.name}' failed: {exc!r}\n"
                        + traceback.format_exc()
                    )

        # On a thread of its own: no event loop runs there, for any
        # caller's thread does.
        creation = threading.Thread(target=create, name=f"create-{self.name}")
        creation.start()
        creation.join()

    def send_data(self, data: Data) -> None:
        self._post(data)

    def send_audio_frame(self, audio_frame: AudioFrame) -> None:
        self._post(audio_frame)

    def send_video_frame(self, video_frame: VideoFrame) -> None:
        self._post(video_frame)

    def submit_cmd(self, cmd: Cmd) -> "Future[CmdOutcome]":
        """Send a command; the future gets its final result."""
        reply = _reply_to(cmd)
        self._post(cmd)
        return reply.future

    async def send_cmd(self, cmd: Cmd) -> CmdOutcome:
        """Send a command and wait for its final result, on any loop."""
        return await asyncio.wrap_future(self.submit_cmd(cmd))

    def return_result(self, result: CmdResult) -> None:
        """Answer a command that `on_cmd` was called with."""
        deliver_result(result)

    def request_stop(self) -> None:
        """Ask for on_stop and on_deinit; does not wait. Any thread."""
        if self._loop is not None and not self._stopped.is_set():
            self.on_loop(lambda: self._stop_asked.set())

    def wait(self) -> None:
        """Wait until the extension is gone; without limit, as in the real
        runtime.
        """
        wait_without_limit(self._stopped.wait, f"'{self.name}' to stop")
        if self._ending_loop is not None:
            self._ending_loop.join()
        self._drop_inbox()

    def wait_until_started(self) -> None:
        """Wait for the end of on_start, or of the extension."""
        wait_without_limit(self._started.wait, f"'{self.name}' to start")

    def is_gone(self) -> bool:
        """Whether on_deinit has begun: from then on messages are dropped."""
        return self._dropping

    def stop(self) -> None:
        """`request_stop` and `wait`. Not for the extensions' own thread."""
        self.request_stop()
        self.wait()

    def _post(self, msg: Msg) -> None:
        if self._loop is None:
            raise RuntimeError(f"the host of '{self.name}' is not running")
        self._inbox.append(take(msg))
        # One wake-up serves all messages that arrive before it runs.
        if not self._drain_due:
            self._drain_due = True
            self.on_loop(self._drain)

    def on_loop(self, callback: Callable[[], object]) -> None:
        """Call it on the extensions' event loop. Any thread."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop has ended, and the extension before it.
            self._drop_inbox()

    def _begin(self) -> None:
        self._stop_asked = asyncio.Event()
        self._life = self._loop.create_task(self._live())

    async def _live(self) -> None:
        self._report_ends()
        try:
            if not await self._step("on_configure"):
                return
            # One that is stopped at once is neither initialized nor started.
            if not self._stop_asked.is_set():
                if not await self._step("on_init"):
                    return
                self._accepting = True
                self._drain()
                # A task: it begins after the handlers of kept messages.
                if not await self._loop.create_task(self._step("on_start")):
                    return
                self._started.set()
            await self._stop_asked.wait()
            if not await self._step("on_stop"):
                return
            self._accepting = False
            self._dropping = True
            await self._step("on_deinit")
        except asyncio.CancelledError:
            pass  # only a failure cancels this task
        finally:
            self._accepting = False
            self._dropping = True
            self._env._closed = True
            if isinstance(self._extension, OnThread):
                self._extension.close()
            self._drop_inbox()
            self._ending_loop = _loop.release()
            self._started.set()
            self._stopped.set()

    async def _step(self, step: str) -> bool:
        try:
            await getattr(self._extension, step)(self._env)
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._fail(step, exc)
            return False
        return self.failure is None

    def _drain(self) -> None:
        # Before the inbox is looked at: a message that comes later than that
        # must cause a wake-up of its own.
        self._drain_due = False
        if self._dropping:
            self._drop_inbox()
            return
        if not self._accepting:
            return
        inbox = self._inbox
        while inbox:
            msg = inbox.popleft()
            reason = self.schemas.mismatch_incoming(msg)
            if reason is None and not is_locked(msg):
                task = self._loop.create_task(self._handle(msg))
                self._handling[msg] = task
            else:
                self._refuse(msg, reason or "its buffer is still locked")

    async def _handle(self, msg: Msg) -> None:
        self._report_ends()
        try:
            await getattr(self._extension, msg.handler)(self._env, msg)
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._fail(msg.handler, exc)
        finally:
            self._handling.pop(msg, None)

    def _refuse(self, msg: Msg, reason: str) -> None:
        _log.emit(
            LogLevel.WARN,
            self.name,
            f"{type(msg).__name__} '{msg.get_name()}' dropped: {reason}",
        )
        if isinstance(msg, Cmd):
            result = CmdResult.create(StatusCode.ERROR, msg)
            result.set_property_string("detail", reason)
            deliver_result(result)

    def _drop_inbox(self) -> None:
        while self._inbox:
            msg = self._inbox.popleft()
            if isinstance(msg, Cmd) and msg._content.reply is not None:
                msg._content.reply.give(None, closed())

    def _report_ends(self) -> None:
        """Have the context's ends of the process reported, if they can be."""
        _process.report_to(None if self._on_failure is None else self._abort)

    def _abort(self, reason: str) -> None:
        self._end(ProcessAborted(f"'{self.name}'", reason))

    def _fail(self, where: str, cause: BaseException) -> None:
        if self.failure is None:
            self._end(HandlerFailed(f"{where} of '{self.name}'", cause))

    def _end(self, failure: ProcessEnded) -> None:
        if self.failure is not None:
            return
        if self._on_failure is None:
            _process._exit_process(str(failure))
        self.failure = failure
        if self._life is not None:
            # From any thread: an end may come from one of the extension's.
            self.on_loop(self._life.cancel)
        self._on_failure(failure)

    def emit(self, msg: Msg) -> TenError | None:
        """Send a message of the extension. Called on the extensions' loop."""
        if isinstance(msg, CmdResult):
            return self._emit_result(msg)
        sent = take(msg, self._place)
        if is_locked(sent):
            return self._unsent(sent, "its buffer is still locked")
        reason = self.schemas.mismatch_outgoing(sent)
        if reason is not None:
            return self._unsent(sent, reason)
        sink = self._sinks[sent.handler]
        if sink is None:
            error = not_connected(sent.get_name())
            _log.emit(LogLevel.WARN, self.name, error.error_message())
            return error
        try:
            sink(sent)
        except Exception as exc:
            self._fail(f"the {sent.handler} callback of the host", exc)
        return None

    def on_extension_thread(self, function: Any, *args: Any) -> None:
        """Call the callback that a synchronous extension passed with a
        message."""
        assert isinstance(self._extension, OnThread)
        self._extension.call(self._fail, function, *args)

    def emit_cmd(self, cmd: Cmd) -> "Future[CmdOutcome]":
        """Send a command of the extension's; the future gets the result."""
        reply = _reply_to(cmd)
        error = self.emit(cmd)
        if error is not None:
            reply.give(None, error)
        return reply.future

    def _emit_result(self, result: CmdResult) -> TenError | None:
        reason = self.schemas.mismatch_outgoing(result)
        if reason is not None:
            return self._unsent(take(result), reason)
        deliver_result(result, self._place)
        return None

    def _unsent(self, msg: Msg, reason: str) -> TenError:
        text = f"{type(msg).__name__} '{msg.get_name()}' not sent: {reason}"
        _log.emit(LogLevel.WARN, self.name, text)
        return TenError.create(TenErrorCode.ErrorCodeGeneric, text)


def deliver_result(result: CmdResult, source: Loc | None = None) -> None:
    """Hand a result to the sender of the command. Any thread.

    A second result is ignored, and so is one that is not final: send_cmd
    waits for the final one.
    """
    sent = take(result, source)
    content = sent._content
    if content.reply is not None and content.final:
        content.reply.give(sent)


def _reply_to(cmd: Cmd) -> Reply:
    reply = Reply()
    # A consumed command ends the process, but in take(), as all messages do.
    if not is_consumed(cmd):
        cmd._content.reply = reply
    return reply


def _as_tree(node_property: dict | str | None) -> dict:
    if not node_property:
        return {}
    tree = (
        parse_json(node_property)
        if isinstance(node_property, str)
        else node_property
    )
    if not isinstance(tree, dict):
        raise ValueError("a node's property must be a JSON object")
    return tree
