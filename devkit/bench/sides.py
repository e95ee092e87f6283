"""The sides that are compared, on the loop that a worker's extensions share.

*Ours* is the extension, hosted as TEN hosts it. *Thinnest* is an extension
that reads the audio of each frame and awaits the SDK's `send_audio`. *Bare* is
a session of the SDK with the same arguments. Frames may come from any thread.
"""

import asyncio
import importlib
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from datetime import datetime, timezone
from typing import Any, TypeVar

from spatius_avatar_python import token
from spatius_avatar_python.session import sdk
from ten_runtime import (
    Addon,
    AsyncExtension,
    AsyncTenEnv,
    AudioFrame,
    Cmd,
    Data,
    TenEnv,
    register_addon_as_extension,
)
from ten_runtime import _loop as shared_loop
from ten_runtime._host import CmdOutcome, ExtensionHost

from devkit import package
from devkit.credentials import APP_ID, CERTIFICATE
from devkit.harness.messages import audio_frame

from .service import Service

T = TypeVar("T")

RATE = 24000
BYTES_PER_S = RATE * 2

WAIT_LIMIT_S = 30.0


def on_shared_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the loop that the hosted extensions share."""
    loop = shared_loop.acquire()
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        thread = shared_loop.release()
        if thread is not None:
            thread.join()


def params(service: Service, uid: int, **others: Any) -> dict[str, Any]:
    """Return the extension's `params` for the avatar with this Agora uid."""
    return {
        "spatius_api_key": "bench-api-key",
        "spatius_app_id": "bench-app",
        "spatius_avatar_id": "bench-avatar",
        "agora_appid": APP_ID,
        "agora_appcert": CERTIFICATE,
        "agora_channel": "bench",
        "agora_uid": uid,
        "region": "",
        "sample_rate": RATE,
        "idle_disconnect_s": 0,
        # No voice is there; a stalled session is not to be replaced soon.
        "fallback_after_ms": 0,
        "console_endpoint_url": service.console_url,
        "ingress_endpoint_url": service.ingress_url,
        **others,
    }


class Bare:
    """A session of the SDK; `callbacks` are the SDK's."""

    def __init__(self, service: Service, uid: int, **callbacks: Any) -> None:
        sdk.configure_telemetry(False)
        spatius = importlib.import_module(sdk.package().split()[0])
        expires_at_s = int(time.time()) + 3600
        self.uid = uid
        self.session = spatius.new_avatar_session(
            api_key="bench-api-key",
            app_id="bench-app",
            avatar_id="bench-avatar",
            expire_at=datetime.fromtimestamp(expires_at_s, timezone.utc),
            sample_rate=RATE,
            agora_egress=spatius.AgoraEgressConfig(
                channel_name="bench",
                token=token.sign(
                    APP_ID, CERTIFICATE, "bench", uid, expires_at_s
                ),
                uid=uid,
                publisher_id=str(uid),
            ),
            console_endpoint_url=service.console_url,
            ingress_endpoint_url=service.ingress_url,
            **callbacks,
        )
        self._writing: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Bare":
        await self.session.init()
        await self.session.start()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.session.close()

    def frame(self, pcm: bytes, turn_id: int) -> bytes:
        return pcm

    def send(self, frame: bytes) -> None:
        self._loop.call_soon_threadsafe(self._write, frame)

    def _write(self, pcm: bytes) -> None:
        task = self._loop.create_task(self.session.send_audio(pcm))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settled(self) -> None:
        await asyncio.sleep(
            0
        )  # for callbacks that another thread has scheduled
        await _until(lambda: not self._writing)

    async def end_turn(self) -> None:
        pass


class _Hosted:
    """An extension in a host of the stand-in for TEN's runtime."""

    def __init__(self, addon: str, properties: dict[str, Any]) -> None:
        self.state = ""
        """The latest `avatar_state`."""
        self.host = ExtensionHost(
            addon, properties, name="avatar", on_data=self._take
        )

    @property
    def extension(self) -> Any:
        return self.host._extension

    def frame(self, pcm: bytes, turn_id: int) -> AudioFrame:
        return audio_frame(pcm, turn_id)

    def send(self, frame: AudioFrame) -> None:
        self.host.send_audio_frame(frame)

    async def delivered(self) -> None:
        """Wait until every message that was sent has been handled."""
        host: Any = self.host
        await _until(lambda: not host._inbox and not host._handling)

    async def settled(self) -> None:
        await self.delivered()

    async def end_turn(self) -> None:
        pass

    def _take(self, data: Data) -> None:
        if data.get_name() == "avatar_state":
            self.state, _ = data.get_property_string("state")


class Ours(_Hosted):
    """The extension; it is entered when its session is ready."""

    def __init__(self, service: Service, uid: int, **others: Any) -> None:
        self.uid = uid
        tree = {"params": params(service, uid, **others)}
        super().__init__(package.NAME, tree)

    async def __aenter__(self) -> "Ours":
        await asyncio.to_thread(self.host.start)
        await self.reached("ready")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.host.stop)

    async def reached(self, state: str) -> None:
        """Wait for an `avatar_state`. TimeoutError."""
        await _until(lambda: self.state == state)

    async def prepared(self) -> None:
        """Wait until the next session has its token. TimeoutError."""
        spare = self.extension.avatar._supervisor._spare
        await _until(lambda: spare._session and spare._session.has_token)

    @property
    def totals(self) -> Any:
        """The sum of all the audio so far, in samples."""
        return self.extension.avatar.totals

    def tell(self, data: Data) -> None:
        """Deliver a data message of the TTS."""
        self.host.send_data(data)

    def flush(self) -> "Future[CmdOutcome]":
        """Barge in; the future gets the command's result."""
        return self.host.submit_cmd(Cmd.create("flush"))

    async def settled(self) -> None:
        await self.delivered()
        speech = self.extension.avatar._speech  # resumed audio, too
        await _until(lambda: not self.totals.waiting and not speech.has_waiting)

    async def end_turn(self) -> None:
        # Now, rather than in another side's turn.
        await asyncio.wrap_future(self.flush())


class Thinnest(_Hosted):
    """The least that an extension has to do, with a session of its own."""

    def __init__(self, service: Service, uid: int) -> None:
        super().__init__("thinnest", {})
        self.uid = uid
        self._bare = Bare(service, uid)

    async def __aenter__(self) -> "Thinnest":
        await self._bare.__aenter__()
        await asyncio.to_thread(self.host.start)
        self.extension.session = self._bare.session
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.host.stop)
        await self._bare.__aexit__()


class _ThinnestExtension(AsyncExtension):
    session: Any = None

    async def on_audio_frame(
        self, _ten_env: AsyncTenEnv, _audio_frame: AudioFrame
    ) -> None:
        await self.session.send_audio(bytes(_audio_frame.get_buf()))


# Beside our manifest.json, so that the host checks the same schemas.
@register_addon_as_extension("thinnest", str(package.ROOT / "manifest.json"))
class _ThinnestAddon(Addon):
    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(_ThinnestExtension(name), context)


SIDES: dict[str, Any] = {"ours": Ours, "thinnest": Thinnest, "bare": Bare}
"""Each is open within `async with`. `frame` makes what `send` takes, `send`
hands it over from any thread, `settled` waits until all of it was written, and
`end_turn` prepares the next turn."""


async def _until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds. TimeoutError."""
    until = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("a side of the benchmark hangs")
        await asyncio.sleep(0.002)
