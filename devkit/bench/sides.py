"""The sides that are compared, on the loop that a worker's extensions share.

*Ours* is the extension, hosted as TEN hosts it. *Bare* is a session of the
SDK with the same arguments. *Nothing* is an extension that ignores what it
gets: what it costs is what the runtime spends to deliver. *Reading* is one that
also reads each frame: that is the runtime's work too, and here a stand-in's.
*Thinnest* reads the audio of each frame and awaits the SDK's send_audio.
"""

import asyncio
import importlib
import json
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import datetime, timezone
from types import TracebackType
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

from .service import Service

T = TypeVar("T")

RATE = 24000
BYTES_PER_S = RATE * 2

READY_LIMIT_S = 30.0


def on_shared_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the loop that the hosted extensions share."""
    loop = shared_loop.acquire()
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        thread = shared_loop.release()
        if thread is not None:
            thread.join()


def loop_kind() -> str:
    """Return the module of the loop that is running: uvloop or asyncio."""
    return type(asyncio.get_running_loop()).__module__.split(".")[0]


def params(service: Service, number: int, **others: Any) -> dict[str, Any]:
    """Return the extension's `params` for avatar `number`."""
    return {
        "spatius_api_key": "bench-api-key",
        "spatius_app_id": "bench-app",
        "spatius_avatar_id": "bench-avatar",
        "agora_appid": APP_ID,
        "agora_appcert": CERTIFICATE,
        "agora_channel": "bench",
        "agora_uid": number + 1,
        "region": "",
        "sample_rate": RATE,
        "console_endpoint_url": service.console_url,
        "ingress_endpoint_url": service.ingress_url,
        **others,
    }


class _Hosted:
    """An extension in a host; used on the loop, as `async with`."""

    def __init__(self, addon: str, properties: dict[str, Any]) -> None:
        self._ready = asyncio.Event()
        self._host = ExtensionHost(
            addon, properties, name="avatar", on_data=self._take
        )

    async def __aenter__(self) -> Any:
        await self.begin()
        return self

    async def begin(self) -> None:
        """Have the extension started; what is sent now is kept for it."""
        await asyncio.to_thread(self._host.start)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._host.stop)

    def send(self, frame: AudioFrame) -> None:
        """Deliver one pcm_frame."""
        self._host.send_audio_frame(frame)

    def tell(self, data: Data) -> None:
        """Deliver what a TTS says."""
        self._host.send_data(data)

    async def delivered(self) -> None:
        """Wait until every message that was sent has been handled."""
        host: Any = self._host
        while host._inbox or host._handling:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    def _take(self, data: Data) -> None:
        text, _ = data.get_property_to_json(None)
        if json.loads(text).get("state") in ("ready", "failed"):
            self._ready.set()


class Ours(_Hosted):
    """The extension with its session; entered when that is ready."""

    def __init__(
        self,
        service: Service,
        number: int = 0,
        *,
        properties: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        tree = {"params": params(service, number, **others)}
        super().__init__(package.NAME, {**tree, **(properties or {})})

    async def __aenter__(self) -> "Ours":
        await self.begin()
        await self.ready()
        return self

    async def ready(self) -> None:
        """Wait until there is a session. TimeoutError."""
        await asyncio.wait_for(self._ready.wait(), READY_LIMIT_S)

    @property
    def totals(self) -> Any:
        """What became of the audio so far, in samples."""
        extension: Any = self._host._extension
        return extension.avatar.totals

    @property
    def has_spare(self) -> bool:
        """Whether there is a session token for the next session."""
        extension: Any = self._host._extension
        session = extension.avatar._supervisor._spare._session
        return session is not None and session.has_token

    def flush(self) -> "Future[CmdOutcome]":
        """Barge in; the future gets the command's result."""
        return self._host.submit_cmd(Cmd.create("flush"))

    async def silent(self, timeout_s: float = 30.0) -> None:
        """Wait until nothing waits to be sent. TimeoutError."""
        until = time.monotonic() + timeout_s
        while self.totals.waiting:
            if time.monotonic() > until:
                raise TimeoutError(f"still waits: {self.totals}")
            await asyncio.sleep(0.002)


class Nothing(_Hosted):
    """An extension that ignores all."""

    def __init__(self) -> None:
        super().__init__("nothing", {})


class Reading(_Hosted):
    """An extension that reads from a frame what ours does, and no more."""

    def __init__(self) -> None:
        super().__init__("reading", {})


class Thinnest(_Hosted):
    """An extension that does no more than it must, with a session."""

    def __init__(self, service: Service, number: int) -> None:
        super().__init__("thinnest", {})
        self._bare = Bare(service, number)

    async def __aenter__(self) -> "Thinnest":
        await self._bare.__aenter__()
        await self.begin()
        host: Any = self._host
        host._extension.session = self._bare.session
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, trace)
        await self._bare.__aexit__(exc_type, exc, trace)


# Beside our manifest.json, so that the host checks the same schemas.
_MANIFEST = str(package.ROOT / "manifest.json")


@register_addon_as_extension("nothing", _MANIFEST)
class _NothingAddon(Addon):
    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(AsyncExtension(name), context)


class _ReadingExtension(AsyncExtension):
    async def on_audio_frame(
        self, _ten_env: AsyncTenEnv, _audio_frame: AudioFrame
    ) -> None:
        _audio_frame.get_name()
        _audio_frame.get_sample_rate()
        _audio_frame.get_bytes_per_sample()
        _audio_frame.get_number_of_channels()
        bytes(_audio_frame.get_buf())
        _audio_frame.get_property_int("metadata.turn_id")
        _audio_frame.get_property_string("metadata.session_id")


@register_addon_as_extension("reading", _MANIFEST)
class _ReadingAddon(Addon):
    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(_ReadingExtension(name), context)


class _ThinnestExtension(AsyncExtension):
    session: Any = None

    async def on_audio_frame(
        self, _ten_env: AsyncTenEnv, _audio_frame: AudioFrame
    ) -> None:
        await self.session.send_audio(bytes(_audio_frame.get_buf()))


@register_addon_as_extension("thinnest", _MANIFEST)
class _ThinnestAddon(Addon):
    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(_ThinnestExtension(name), context)


class Bare:
    """One session of the SDK, entered when it has been confirmed.

    `callbacks` are the SDK's.
    """

    def __init__(
        self, service: Service, number: int = 500, **callbacks: Any
    ) -> None:
        sdk.configure_telemetry(False)
        spatius = importlib.import_module(sdk.package().split()[0])
        expires_at_s = int(time.time()) + 3600
        uid = number + 1
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

    async def __aenter__(self) -> "Bare":
        await self.session.init()
        await self.session.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.session.close()
