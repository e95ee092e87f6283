"""A voice agent for tests: it speaks to the extension as TEN's nodes do.

A script (an async function that takes an `Agent`) runs inside TEN's
standalone tester or, where time has to be handed in, beside a `Rig`; a
failure in it fails the test.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Optional, Protocol

from spatius_avatar_python.clock import Clock
from ten_runtime import (
    AsyncExtensionTester,
    AsyncTenEnvTester,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
    TenError,
    TenErrorCode,
)

from devkit.harness.messages import audio_frame, data_with_json, tts_data
from devkit.harness.reports import Payload, ReportLog
from devkit.harness.rig import Rig
from devkit.motion_server import MotionServer
from devkit.motion_server.judge import unique_pcm

ADDON = "spatius_avatar_python"
APP_ID = "0123456789abcdef0123456789abcdef"
CERTIFICATE = "e93c07d1b86a4f52d0f7183b5ac96e24"
API_KEY = "Zq7mXw4Lp9Vt2Rk8"
VARIABLES = {
    "SPATIUS_API_KEY": API_KEY,
    "SPATIUS_APP_ID": "good-app",
    "SPATIUS_AVATAR_ID": "good-avatar",
    "AGORA_APP_ID": APP_ID,
    "AGORA_APP_CERTIFICATE": CERTIFICATE,
    "AGORA_CHANNEL": "room",
    "AGORA_AVATAR_UID": "2000",
}
"""Environment variables that property.json names."""
RATE = 24000

PIECE = 8
"""How much of a secret must not be shown. The redactor hides shorter pieces,
but tokens are random, and those stand in our own words by chance."""

SERVER_OPTIONS: dict[str, Any] = {
    "api_keys": {API_KEY},
    "app_ids": {"good-app"},
    "avatar_ids": {"good-avatar"},
    "certificates": {APP_ID: CERTIFICATE},
}

outgoing: list[str] = []
"""All text that the extension has sent, and where that can be observed has
logged, since this was last cleared."""

with contextlib.suppress(ImportError):  # the real runtime logs elsewhere
    from ten_runtime import _log

    _log.observers.append(
        lambda line: outgoing.append(f"{line.message} {line.fields}")
    )

PATIENT = {"end_of_speech_timeout_ms": 0, "fallback_after_ms": 0}
"""Params of a played node that does not say otherwise. Never: on a busy machine
the pause between two frames, or a wait for the avatar, may be longer than the
defaults."""

Script = Callable[["Agent"], Awaitable[None]]


def properties(server: MotionServer, **params: Any) -> Payload:
    """Return a node's property that is right for `server`.

    A param that is None is left out.
    """
    values = {
        "spatius_api_key": API_KEY,
        "spatius_app_id": "good-app",
        "spatius_avatar_id": "good-avatar",
        "agora_appid": APP_ID,
        "agora_appcert": CERTIFICATE,
        "agora_channel": "room",
        "agora_uid": 1001,
        "console_endpoint_url": server.console_url,
        "ingress_endpoint_url": server.ingress_url,
        **params,
    }
    return {"params": {k: v for k, v in values.items() if v is not None}}


def speech(duration_ms: float, seed: int = 1) -> bytes:
    """Return noise that no other seed gives: any part of it can be found."""
    return unique_pcm(duration_ms, RATE, seed)


class Env(Protocol):
    """How messages reach the extension: TEN's tester has it."""

    async def send_audio_frame(self, audio_frame: AudioFrame) -> Any: ...

    async def send_data(self, data: Data) -> Any: ...

    async def send_cmd(
        self, cmd: Cmd
    ) -> tuple[Optional[CmdResult], Optional[TenError]]: ...


class Agent:
    """A script's connection to the extension."""

    def __init__(self, env: Env, reports: ReportLog | None = None) -> None:
        self.reports = ReportLog() if reports is None else reports
        self.audio_frames: list[AudioFrame] = []
        """The audio frames that it sent so far."""
        self.cmds: list[str] = []
        """The names of the commands that it sent so far, answered with OK."""
        self._env = env

    async def say(
        self,
        pcm: bytes,
        turn_id: int | None = None,
        *,
        frame_ms: float = 10,
        pace_s: float = 0.0,
    ) -> None:
        """Send `pcm` as frames, `pace_s` apart."""
        size = int(RATE * frame_ms / 1000) * 2
        for at in range(0, len(pcm), size):
            await self.send(audio_frame(pcm[at : at + size], turn_id))
            if pace_s:
                await asyncio.sleep(pace_s)

    async def send(self, message: AudioFrame | Data) -> None:
        if isinstance(message, AudioFrame):
            await self._env.send_audio_frame(message)
        else:
            await self._env.send_data(message)

    async def send_json(self, name: str, text: str | None = None) -> None:
        """Send a data message with `text` as its properties."""
        await self.send(data_with_json(name, text))

    async def end(
        self,
        turn_id: int | None = None,
        reason: int | None = 1,
        name: str = "tts_audio_end",
    ) -> None:
        """End the utterance."""
        given = {} if reason is None else {"reason": reason}
        await self.send(tts_data(name, turn_id, **given))

    async def ask(self, name: str) -> CmdResult:
        """Send a command and return its result."""
        result, error = await self._env.send_cmd(Cmd.create(name))
        assert result is not None, error
        return result

    async def flush(self) -> None:
        """Barge in, and wait for the answer."""
        result = await self.ask("flush")
        assert result.get_status_code() == StatusCode.OK

    async def report(
        self,
        name: str,
        where: Callable[[Payload], bool] = lambda _: True,
        timeout_s: float = 30.0,
    ) -> Payload:
        """Wait for a report, from now or from before, and return it."""

        def found() -> list[Payload]:
            return list(filter(where, self.sent(name)))

        await self.reports.until(found, timeout_s, f"no such {name}")
        return found()[0]

    async def state(self, state: str, timeout_s: float = 30.0) -> Payload:
        """Wait until the avatar's latest state is `state`."""
        await self.reports.until(
            lambda: self.states[-1:] == [state], timeout_s, f"never {state}"
        )
        return self.sent("avatar_state")[-1]

    async def been(self, state: str, times: int = 1) -> None:
        """Wait until the avatar has been in `state` so often."""
        await self.report(
            "avatar_state", lambda _: self.states.count(state) >= times
        )

    def sent(self, name: str) -> list[Payload]:
        """Return the reports of this name so far."""
        return self.reports.sent(name)

    @property
    def states(self) -> list[str]:
        return self.reports.states

    @property
    def errors(self) -> list[int]:
        return [payload["code"] for payload in self.sent("error")]


def assert_no_secret_leaked(server: MotionServer) -> None:
    """Compare `outgoing` with every secret that `server` has received."""
    tokens = [
        connection.config.agora_token
        for connection in server.record.connections
        if connection.config is not None
    ]
    text = "\n".join(outgoing)
    shown = {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}
    for secret in [API_KEY, CERTIFICATE, *server.session_tokens(), *tokens]:
        # The App ID in a token is no secret, and its version neither.
        begin = 35 if secret.startswith("006") else 0
        for at in range(begin, len(secret) - PIECE + 1):
            piece = secret[at : at + PIECE]
            assert piece not in shown, f"a secret leaked: {piece!r}"


class _Tester(AsyncExtensionTester):
    """Plays a script in TEN's standalone tester."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.agent: Agent | None = None
        self.failure: BaseException | None = None
        self._script = script
        self._playing: asyncio.Task[None] | None = None

    async def on_start(self, ten_env: AsyncTenEnvTester) -> None:
        agent = self._agent_of(ten_env)
        self._playing = asyncio.get_running_loop().create_task(
            self._play(ten_env, agent)
        )

    async def on_data(self, ten_env: AsyncTenEnvTester, data: Data) -> None:
        agent = self._agent_of(ten_env)
        text, _ = data.get_property_to_json(None)
        outgoing.append(text)
        agent.reports.add(data.get_name(), json.loads(text))

    async def on_audio_frame(
        self, ten_env: AsyncTenEnvTester, audio_frame: AudioFrame
    ) -> None:
        self._agent_of(ten_env).audio_frames.append(audio_frame)

    async def on_cmd(self, ten_env: AsyncTenEnvTester, cmd: Cmd) -> None:
        self._agent_of(ten_env).cmds.append(cmd.get_name())
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    def _agent_of(self, ten_env: AsyncTenEnvTester) -> Agent:
        """Return the agent; the extension may send before on_start."""
        if self.agent is None:
            self.agent = Agent(ten_env)
        return self.agent

    async def _play(self, ten_env: AsyncTenEnvTester, agent: Agent) -> None:
        error = None
        try:
            await self._script(agent)
        except BaseException as failure:
            self.failure = failure
            error = TenError.create(
                TenErrorCode.ErrorCodeGeneric, f"the script failed: {failure}"
            )
        ten_env.stop_test(error)


def play(
    script: Script, node_property: Payload, timeout_s: float = 120
) -> Agent:
    """Run `script` against the extension and return the agent afterwards."""
    tester = _Tester(script)
    tester.set_test_mode_single(ADDON, json.dumps(_patient(node_property)))
    tester.set_timeout(int(timeout_s * 1_000_000))
    error = tester.run()
    if tester.failure is not None:
        raise tester.failure
    assert error is None, error.error_message()
    assert tester.agent is not None
    _check_sums(tester.agent)
    return tester.agent


async def play_here(
    script: Script, node_property: Payload, clock: Clock
) -> Agent:
    """Like `play`, on this loop, with the extension's time handed in."""
    rig = Rig(_patient(node_property), clock)
    agent = Agent(_RigEnv(rig), rig.env.reports)
    await rig.start()
    try:
        await script(agent)
    finally:
        await rig.stop()
        outgoing.extend(json.dumps(payload) for _, payload in agent.reports)
        outgoing.extend(f"{line.text} {line.fields}" for line in rig.env.lines)
    _check_sums(agent)
    return agent


def _patient(node_property: Payload) -> Payload:
    return {**node_property, "params": {**PATIENT, **node_property["params"]}}


class _RigEnv:
    """An `Env` whose messages reach a rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def send_audio_frame(self, audio_frame: AudioFrame) -> None:
        await self._rig.send_frame(audio_frame)

    async def send_data(self, data: Data) -> None:
        await self._rig.extension.on_data(self._rig.env, data)

    async def send_cmd(self, cmd: Cmd) -> tuple[CmdResult, None]:
        await self._rig.extension.on_cmd(self._rig.env, cmd)
        return self._rig.env.last_result, None


def _check_sums(agent: Agent) -> None:
    """All audio of each utterance went somewhere."""
    for utterance in agent.sent("metrics"):
        values = utterance["metrics"]
        if "audio_ms" in values:
            places = ("sent_ms", "voice_ms", "lost_ms", "dropped_ms")
            missing_ms = values["audio_ms"] - sum(map(values.get, places))
            assert abs(missing_ms) < 0.01, f"not accounted for: {utterance}"
