#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The rest of the graph, as an extension meets it: a TTS and an agent.

A script (an async function that takes a `Graph`) runs inside TEN's standalone
tester, so it works with the real runtime and with any stand-in for it. The
runtime is imported when the first message is made, so that a process that
only starts others stays free of its threads.
"""

import asyncio
import contextlib
import functools
import json
import random
import re
import threading
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import worker
from .loader import Unusable

if TYPE_CHECKING:
    from ten_runtime import AudioFrame, CmdResult, Data

T = TypeVar("T")
Payload = dict[str, Any]
Script = Callable[["Graph"], Awaitable[None]]

FRAME_MS = 10
SAMPLE_WIDTH = 2  # bytes
CONFIGURATION, FATAL, NON_FATAL = -1012, -1000, 1000
"""The codes of an `error`."""

POLL_S = 0.005
LONG_POLL_S = 0.05
WAITED_PART = 0.04
"""A wait is at most this part of itself longer than it had to be."""
SETTLE_S = 0.3
START_LIMIT_S = 10.0
UNSEEN_START_S = 1.5
"""How long on_start is given where its end cannot be seen."""
GAP_LIMIT_S = 0.5
"""How long an event loop may stand still."""
STOP_WAIT_S = 6.0
"""A stop that takes longer is left to the end of the process."""
PROGRESS_S = 1.5
"""Speech that goes on arriving at least so often is waited for."""


class Broken(AssertionError):
    """The extension breaks a rule; the text is one line that says how."""


class Late(Broken):
    """A time limit has passed; a busy machine can be the reason."""


class Message(NamedTuple):
    """A data message that the extension sent."""

    time_s: float
    name: str
    payload: Payload


@functools.lru_cache(maxsize=64)
def speech(duration_ms: float, rate_hz: int, seed: int = 1) -> bytes:
    """Return s16le mono noise below 500 Hz; each seed gives other noise.

    The band is one that resampling to any common rate keeps, also a rough one.
    """
    count = int(rate_hz * duration_ms / 1000)
    step = max(1, rate_hz // 1000)
    points = array("h")
    points.frombytes(random.Random(seed).randbytes(2 * (count // step + 2)))
    samples = array("h")
    for left, right in zip(points, points[1:]):
        rise = right - left
        samples.extend([left + rise * at // step for at in range(step)])
    return samples[:count].tobytes()


def frame(
    pcm: bytes | None,
    rate_hz: int,
    metadata: str | None = None,
    *,
    channels: int = 1,
    width: int = SAMPLE_WIDTH,
) -> "AudioFrame":
    """Return a pcm_frame; without `pcm` it has no buffer.

    `metadata` is JSON text, so that it can hold what Python's types cannot.
    """
    from ten_runtime import AudioFrame

    audio = AudioFrame.create("pcm_frame")
    audio.set_sample_rate(rate_hz)
    audio.set_bytes_per_sample(width)
    audio.set_number_of_channels(channels)
    if pcm:
        audio.set_samples_per_channel(len(pcm) // width // channels)
        audio.alloc_buf(len(pcm))
        buffer = audio.lock_buf()
        buffer[:] = pcm
        audio.unlock_buf(buffer)
    if metadata is not None:
        audio.set_property_from_json("metadata", metadata)
    return audio


def turn_metadata(turn_id: int) -> Payload:
    """Return the metadata that TEN's nodes send with a turn."""
    return {"session_id": "guard", "turn_id": turn_id}


class Graph:
    """Plays `script` against one extension; see `play`."""

    def __init__(self, script: Script, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.end_name = "tts_audio_end"
        """The data message that ends speech."""
        self.messages: list[Message] = []
        self.voice: list[bytes] = []
        """The audio of each pcm_frame that the extension sent."""
        self.commands: list[str] = []
        """Names of the commands that the extension sent."""
        self.answers_commands = True
        self.keeps_voice = True
        self.waits_for_start = True
        """Whether the script begins only when on_start has returned."""
        self.start_limit_s = START_LIMIT_S
        self.stop_wait_s = STOP_WAIT_S
        self.progress: Callable[[], int] = lambda: 0
        """A number that grows while speech arrives at the vendor."""
        self.life: worker.Life | None = None
        self.stop_asked_s = 0.0
        self.escapes = 0
        """How many exceptions had escaped handlers when the script ended."""
        self.failure: BaseException | None = None
        self.played = threading.Event()
        self._known = len(worker.LIVES)
        self._script = script
        self._env: Any = None
        self._playing: asyncio.Task[None] | None = None

    # Called by the tester

    async def on_start(self, ten_env: Any) -> None:
        self._env = ten_env
        self._playing = asyncio.get_running_loop().create_task(self._play())

    async def on_data(self, ten_env: Any, data: "Data") -> None:
        text, _ = data.get_property_to_json(None)
        self.messages.append(
            Message(time.monotonic(), data.get_name(), json.loads(text or "{}"))
        )

    async def on_audio_frame(
        self, ten_env: Any, audio_frame: "AudioFrame"
    ) -> None:
        if self.keeps_voice:
            self.voice.append(bytes(audio_frame.get_buf()))

    async def on_cmd(self, ten_env: Any, cmd: Any) -> None:
        from ten_runtime import CmdResult, StatusCode

        self.commands.append(cmd.get_name())
        if self.answers_commands:
            await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    async def _play(self) -> None:
        try:
            if self.waits_for_start:
                await self._wait_for_start()
            await self._script(self)
        except BaseException as failure:
            self.failure = failure  # a rule is broken, or time is up
        self.stop_asked_s = time.monotonic()
        self.escapes = len(worker.ESCAPES)
        self.played.set()
        self._env.stop_test()

    async def _wait_for_start(self) -> None:
        began_s = time.monotonic()
        while time.monotonic() - began_s < UNSEEN_START_S:
            if len(worker.LIVES) > self._known:
                break
            await asyncio.sleep(POLL_S)
        else:
            return  # its methods cannot be followed
        self.life = worker.LIVES[self._known]
        await self.until(
            self.life.started.is_set,
            "on_start has not returned",
            self.start_limit_s,
        )

    # Called by a script

    async def send(self, message: Any) -> None:
        """Send a data message or an audio frame."""
        from ten_runtime import AudioFrame

        if isinstance(message, AudioFrame):
            await self._env.send_audio_frame(message)
        else:
            await self._env.send_data(message)

    async def tell(self, name: str, payload: Payload | str = "") -> None:
        """Send a data message; `payload` may be JSON text."""
        from ten_runtime import Data

        data = Data.create(name)
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        if payload:
            data.set_property_from_json(None, payload)
        await self._env.send_data(data)

    async def say(
        self,
        pcm: bytes,
        turn_id: int | None = 1,
        *,
        frame_ms: int = FRAME_MS,
        rate_hz: int = 0,
    ) -> None:
        """Send `pcm` as pcm_frames at once, as a fast TTS does."""
        rate_hz = rate_hz or self.rate_hz
        size = rate_hz * frame_ms // 1000 * SAMPLE_WIDTH
        metadata = (
            None if turn_id is None else json.dumps(turn_metadata(turn_id))
        )
        for at in range(0, len(pcm), size):
            await self.send(frame(pcm[at : at + size], rate_hz, metadata))

    async def say_slowly(
        self, pcm: bytes, turn_id: int | None = 1, *, frame_ms: int = 100
    ) -> None:
        """Send `pcm` in real time."""
        size = self.rate_hz * frame_ms // 1000 * SAMPLE_WIDTH
        began_s = time.monotonic()
        for number, at in enumerate(range(0, len(pcm), size)):
            due_s = began_s + number * frame_ms / 1000
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self.say(pcm[at : at + size], turn_id, frame_ms=frame_ms)

    async def begin(self, turn_id: int = 1, request_id: str = "") -> None:
        """Send the TTS's tts_audio_start."""
        await self._mark("tts_audio_start", turn_id, request_id)

    async def end(
        self,
        turn_id: int = 1,
        reason: int = 1,
        name: str = "",
        request_id: str = "",
    ) -> None:
        """Send the end of speech."""
        await self._mark(
            name or self.end_name, turn_id, request_id, reason=reason
        )

    async def utter(
        self, pcm: bytes, turn_id: int = 1, request_id: str = ""
    ) -> None:
        """Say `pcm` as one whole request of a TTS."""
        await self.begin(turn_id, request_id)
        await self.say(pcm, turn_id)
        await self.end(turn_id, request_id=request_id)

    async def ask(self, name: str, timeout_s: float = 3.0) -> "CmdResult":
        """Send a command and return its result. Raises `Broken`."""
        from ten_runtime import Cmd

        try:
            result, error = await asyncio.wait_for(
                self._env.send_cmd(Cmd.create(name)), timeout_s
            )
        except asyncio.TimeoutError:
            raise Late(f"{name} had no result in {timeout_s:g} s") from None
        if result is None:
            text = error.error_message() if error is not None else "no result"
            raise Broken(f"{name} had no result: {text}")
        return result

    async def settle(self) -> None:
        """Give the avatar time to take all that was sent.

        A flush begins behind the messages before it. An avatar that does not
        answer it just gets a moment.
        """
        with contextlib.suppress(Broken):
            await self.ask("flush", SETTLE_S)
        await asyncio.sleep(0.05)

    async def flush(self, timeout_s: float = 3.0) -> float:
        """Barge in; return how long the answer took, in seconds."""
        from ten_runtime import StatusCode

        asked = time.monotonic()
        result = await self.ask("flush", timeout_s)
        took_s = time.monotonic() - asked
        if result.get_status_code() != StatusCode.OK:
            raise Broken("flush was answered with an error")
        return took_s

    async def until(
        self,
        ready: Callable[[], T],
        what: str,
        timeout_s: float = 5.0,
        *,
        poll_s: float = POLL_S,
    ) -> T:
        """Wait until `ready()` is true and return its value.

        It is called every `poll_s`, and after long waits less often.

        While speech goes on arriving at the vendor the limit does not count:
        an avatar may send at the pace at which it is heard. Raises `Late`
        with `what` and the limit.
        """
        began_s = now_s = time.monotonic()
        deadline_s, looks_s = now_s + timeout_s, now_s + PROGRESS_S
        seen = None
        while True:
            value = ready()
            if value:
                return value
            now_s = time.monotonic()
            if now_s > looks_s:
                looks_s = now_s + PROGRESS_S
                grown = self.progress()
                if seen is not None and grown > seen:
                    deadline_s = max(deadline_s, looks_s + 0.5)
                seen = grown
            if now_s > deadline_s:
                raise Late(f"{what} within {timeout_s:g} s")
            waited_part_s = (now_s - began_s) * WAITED_PART
            await asyncio.sleep(max(poll_s, min(waited_part_s, LONG_POLL_S)))

    async def until_quiet(
        self,
        count: Callable[[], int],
        quiet_s: float = 0.3,
        limit_s: float = 3.0,
    ) -> int:
        """Return `count()` once it has not changed for `quiet_s`.

        For messages that must not come: a longer silence proves more. A
        count that goes on changing is returned after `limit_s`.
        """
        last, since = count(), time.monotonic()
        deadline = since + limit_s
        while since + quiet_s > time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            if count() != last:
                last, since = count(), time.monotonic()
        return last

    def sent(self, name: str) -> list[Payload]:
        """Return the payloads of this name so far."""
        return [m.payload for m in self.messages if m.name == name]

    def errors(self, *codes: int) -> list[Payload]:
        """Return the `error` messages with one of these codes so far."""
        return [e for e in self.sent("error") if e.get("code") in codes]

    def other_forms(self) -> str:
        """Describe an error that came in another form than data `error`."""
        for message in self.messages:
            code = message.payload.get("code")
            is_code = isinstance(code, int) and not isinstance(code, bool)
            if is_code and code and message.name == "error":
                return f"; an error with code {code} came instead"
            if is_code and code:
                return f"; data `{message.name}` with code {code} came instead"
        return ""

    async def until_error(
        self, *codes: int, why: str = "", limit_s: float = 5.0
    ) -> None:
        """Wait for an error with one of the codes.

        Raises `Late`, which describes one that came in another form.
        """
        named = " or ".join(map(str, codes))
        try:
            await self.until(
                lambda: self.errors(*codes),
                f"{why}no error {named} came",
                limit_s,
            )
        except Late as late:
            raise Late(f"{late}{self.other_forms()}") from None

    async def _mark(
        self, name: str, turn_id: int, request_id: str, **values: Any
    ) -> None:
        await self.tell(
            name,
            {
                "request_id": request_id or f"request-{turn_id}",
                "metadata": turn_metadata(turn_id),
                **values,
            },
        )


class WorkerEnded(Broken):
    """The extension ended the worker's process, or would have in TEN."""

    def __init__(self, text: str, escape: worker.Escape | None = None) -> None:
        super().__init__(text)
        self.escape = escape


class Played(NamedTuple):
    """How a script went."""

    graph: Graph
    stop_took_s: float
    """Infinite for a stop that was given up."""


def play(
    addon: str,
    properties: Payload,
    graph: Graph,
    timeout_s: float = 20.0,
) -> Played:
    """Run the graph's script against the extension.

    Raises `Broken`, `Unusable`, and exceptions of the script.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            # The runtime wants a tester to run on the thread that made it.
            tester = _tester_of(graph)
            tester.set_test_mode_single(addon, json.dumps(properties))
            tester.set_timeout(int(timeout_s * 1_000_000))
            outcome.append(tester.run())
        except BaseException as error:
            outcome.append(error)
        finally:
            graph.played.set()

    thread = threading.Thread(target=run, name="tester", daemon=True)
    escapes = len(worker.ESCAPES)
    thread.start()
    graph.played.wait()
    thread.join(graph.stop_wait_s)
    result = outcome[0] if outcome else None
    if isinstance(result, LookupError):
        raise Unusable(f"the package registers no addon {addon}")
    if isinstance(result, RuntimeError):
        # A stand-in may raise where the real runtime ends the process.
        escape = next(iter(worker.ESCAPES[escapes:]), None)
        at_stop = graph.stop_asked_s and graph.escapes == escapes
        if at_stop and isinstance(graph.failure, Broken):
            raise graph.failure from result  # the first defect counts
        if at_stop and escape is not None and escape.kind == "CancelledError":
            # A handler that still waited when the loop ended.
            return Played(graph, time.monotonic() - graph.stop_asked_s)
        raise WorkerEnded(ended(escape, str(result)), escape) from result
    if isinstance(result, BaseException):
        raise result
    if isinstance(graph.failure, asyncio.CancelledError) or (
        graph.failure is None and not graph.stop_asked_s
    ):
        said = "" if result is None else f": {result.error_message()}"
        raise Late(f"the script did not end{said}")
    if graph.failure is not None:
        raise graph.failure
    if not outcome:
        return Played(graph, float("inf"))
    return Played(graph, time.monotonic() - graph.stop_asked_s)


def ended(escape: worker.Escape | None, said: str) -> str:
    """Return the one line that says why a worker ended."""
    # A stand-in begins with the name of the extension.
    cause = re.sub(r"^'\w+': ", "", _first_line(said))
    if escape is not None and escape.kind == "Ended":
        cause = f"{escape.handler} ({escape.place}): {cause}"
    elif escape is not None:
        cause = str(escape)
    return f"the worker ended: {cause}" if cause else "the worker ended"


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _tester_of(graph: Graph) -> Any:
    """Return TEN's standalone tester, which calls `graph`."""
    from ten_runtime import AsyncExtensionTester

    class Tester(AsyncExtensionTester):
        async def on_start(self, ten_env: Any) -> None:
            await graph.on_start(ten_env)

        async def on_data(self, ten_env: Any, data: Any) -> None:
            await graph.on_data(ten_env, data)

        async def on_audio_frame(self, ten_env: Any, audio_frame: Any) -> None:
            await graph.on_audio_frame(ten_env, audio_frame)

        async def on_cmd(self, ten_env: Any, cmd: Any) -> None:
            await graph.on_cmd(ten_env, cmd)

    return Tester()
