"""The rest of the graph, as an extension meets it: a TTS and an agent.

A script (an async function that takes a `Graph`) runs inside TEN's standalone
tester, so it works with the real runtime and with any stand-in for it.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from ten_runtime import (
    AsyncExtensionTester,
    AsyncTenEnvTester,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

from .loader import Unusable

T = TypeVar("T")
Payload = dict[str, Any]
Script = Callable[["Graph"], Awaitable[None]]

FRAME_MS = 10
SAMPLE_WIDTH = 2  # bytes
POLL_S = 0.005
SETTLE_S = 0.3


class Broken(AssertionError):
    """The extension breaks a rule; the text is one line that says how."""


class Message(NamedTuple):
    """A data message that the extension sent."""

    time_s: float
    name: str
    payload: Payload


def speech(duration_ms: float, rate_hz: int, seed: int = 1) -> bytes:
    """Return s16le mono noise; each seed gives different noise."""
    return random.Random(seed).randbytes(
        int(rate_hz * duration_ms / 1000) * SAMPLE_WIDTH
    )


def frame(
    pcm: bytes | None,
    rate_hz: int,
    metadata: str | None = None,
    *,
    channels: int = 1,
    width: int = SAMPLE_WIDTH,
) -> AudioFrame:
    """Return a pcm_frame; without `pcm` it has no buffer.

    `metadata` is JSON text, so that it can hold what Python's types cannot.
    """
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


class Graph(AsyncExtensionTester):
    """Plays `script` against one extension; see `play`."""

    def __init__(self, script: Script, rate_hz: int) -> None:
        super().__init__()
        self.rate_hz = rate_hz
        self.messages: list[Message] = []
        self.voice: list[bytes] = []
        """The audio of each pcm_frame that the extension sent."""
        self.commands: list[str] = []
        """Names of the commands that the extension sent."""
        self.answers_commands = True
        self.keeps_voice = True
        self.stop_asked_s = 0.0
        self.failure: BaseException | None = None
        self._script = script
        self._env: Any = None
        self._playing: asyncio.Task[None] | None = None

    # What the tester calls

    async def on_start(self, ten_env: AsyncTenEnvTester) -> None:
        self._env = ten_env
        self._playing = asyncio.get_running_loop().create_task(self._play())

    async def on_data(self, ten_env: AsyncTenEnvTester, data: Data) -> None:
        text, _ = data.get_property_to_json(None)
        self.messages.append(
            Message(time.monotonic(), data.get_name(), json.loads(text))
        )

    async def on_audio_frame(
        self, ten_env: AsyncTenEnvTester, audio_frame: AudioFrame
    ) -> None:
        if self.keeps_voice:
            self.voice.append(bytes(audio_frame.get_buf()))

    async def on_cmd(self, ten_env: AsyncTenEnvTester, cmd: Cmd) -> None:
        self.commands.append(cmd.get_name())
        if self.answers_commands:
            await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    async def _play(self) -> None:
        try:
            await self._script(self)
        except BaseException as failure:
            self.failure = failure  # a rule is broken, or time is up
        self.stop_asked_s = time.monotonic()
        self._env.stop_test()

    # What a script calls

    async def send(self, message: AudioFrame | Data) -> None:
        """Send a data message or an audio frame."""
        if isinstance(message, AudioFrame):
            await self._env.send_audio_frame(message)
        else:
            await self._env.send_data(message)

    async def tell(self, name: str, payload: Payload | str = "") -> None:
        """Send a data message; `payload` may be JSON text."""
        data = Data.create(name)
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        if payload:
            data.set_property_from_json(None, payload)
        await self.send(data)

    async def say(
        self, pcm: bytes, turn_id: int | None = 1, *, frame_ms: int = FRAME_MS
    ) -> None:
        """Send `pcm` as pcm_frames at once, as a fast TTS does."""
        size = self.rate_hz * frame_ms // 1000 * SAMPLE_WIDTH
        metadata = (
            None if turn_id is None else json.dumps(turn_metadata(turn_id))
        )
        for at in range(0, len(pcm), size):
            await self.send(frame(pcm[at : at + size], self.rate_hz, metadata))

    async def begin(self, turn_id: int = 1) -> None:
        """Send the TTS's tts_audio_start."""
        await self._mark("tts_audio_start", turn_id)

    async def end(
        self, turn_id: int = 1, reason: int = 1, name: str = "tts_audio_end"
    ) -> None:
        """Send the end of speech."""
        await self._mark(name, turn_id, reason=reason)

    async def utter(self, pcm: bytes, turn_id: int = 1) -> None:
        """Say `pcm` as one whole request of a TTS."""
        await self.begin(turn_id)
        await self.say(pcm, turn_id)
        await self.end(turn_id)

    async def ask(self, name: str, timeout_s: float = 3.0) -> CmdResult:
        """Send a command and return its result. Raises `Broken`."""
        try:
            result, error = await asyncio.wait_for(
                self._env.send_cmd(Cmd.create(name)), timeout_s
            )
        except asyncio.TimeoutError:
            raise Broken(f"{name} had no result in {timeout_s:g} s") from None
        if result is None:
            text = error.error_message() if error is not None else "no result"
            raise Broken(f"{name} had no result: {text}")
        return result

    async def settle(self) -> None:
        """Give the avatar time to take all that was sent.

        Messages keep their order, so the result of a command says that it
        did; an avatar that answers no unknown commands just gets a moment.
        """
        with contextlib.suppress(Broken):
            await self.ask("guard_settle", SETTLE_S)

    async def flush(self) -> float:
        """Barge in; return how long the answer took, in seconds."""
        asked = time.monotonic()
        result = await self.ask("flush")
        took_s = time.monotonic() - asked
        if result.get_status_code() != StatusCode.OK:
            raise Broken("flush was answered with an error")
        return took_s

    async def until(
        self, ready: Callable[[], T], what: str, timeout_s: float = 5.0
    ) -> T:
        """Wait until `ready()` is true and return its value.

        Raises `Broken` with `what` and the limit.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            value = ready()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Broken(f"{what} within {timeout_s:g} s")
            await asyncio.sleep(POLL_S)

    async def until_quiet(
        self,
        count: Callable[[], int],
        quiet_s: float = 0.3,
        limit_s: float = 3.0,
    ) -> int:
        """Return `count()` once it has not changed for `quiet_s`.

        For what must not come: a longer silence proves more. What goes on
        changing is returned after `limit_s`.
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

    def errors(self, code: int) -> list[Payload]:
        """Return the `error` messages with this code so far."""
        return [e for e in self.sent("error") if e.get("code") == code]

    async def _mark(self, name: str, turn_id: int, **values: Any) -> None:
        await self.tell(
            name,
            {
                "request_id": f"request-{turn_id}",
                "metadata": turn_metadata(turn_id),
                **values,
            },
        )


class WorkerEnded(Broken):
    """The extension ended the worker's process, or would have in TEN."""


def play(
    addon: str,
    properties: Payload,
    script: Script,
    rate_hz: int,
    timeout_s: float = 20.0,
) -> tuple[Graph, float]:
    """Run `script` against the extension.

    Returns the graph and how long the extension took to stop, in seconds.
    Raises `Broken`, `Unusable`, and what the script raises.
    """
    graph = Graph(script, rate_hz)
    graph.set_test_mode_single(addon, json.dumps(properties))
    graph.set_timeout(int(timeout_s * 1_000_000))
    try:
        error = graph.run()
    except LookupError:
        raise Unusable(f"the package registers no addon {addon}") from None
    except RuntimeError as ended:
        # A stand-in may raise where the real runtime ends the process.
        raise WorkerEnded(f"the worker ended: {_cause(str(ended))}") from ended
    stop_took_s = time.monotonic() - graph.stop_asked_s
    if error is not None:
        raise Broken(f"the script did not end: {error.error_message()}")
    if graph.failure is not None:
        raise graph.failure
    return graph, stop_took_s


def _cause(report: str) -> str:
    """Return the line of a report that says most: the exception where there
    is a traceback, else the first one."""
    lines = [line for line in report.splitlines() if line.strip()]
    for line in reversed(lines):
        if not line.startswith((" ", "Traceback", "Stack")):
            return line
    return report
