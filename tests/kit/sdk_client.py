"""The real SDK as a client of the local Spatius service."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from agora_token_builder import RtcTokenBuilder

from devkit.motion_server import (
    MotionServer,
    wire,
)

sdk = wire.sdk
if wire.sdk_name == "spatius":
    sdk.configure_telemetry("")

AGORA_APP_ID = "970CA35de60c44645bbae8a215061b33"
CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
CHANNEL = "room"
SAMPLE_RATE = 24000
# 20 ms of PCM.
FRAME = bytes(range(240)) * 4

# Some uids, so that sessions side by side do not collide.
_uids = itertools.count(1000)


def epoch_s(delay_s: float = 0) -> int:
    return int(datetime.now(timezone.utc).timestamp() + delay_s)


def agora_token(
    *,
    channel: str = CHANNEL,
    uid: int,
    certificate: str = CERTIFICATE,
    role: int = 1,
    life_s: float = 3600,
) -> str:
    return RtcTokenBuilder.buildTokenWithUid(
        AGORA_APP_ID, certificate, channel, uid, role, epoch_s(life_s)
    )


class Client:
    """One SDK session and the calls of its callbacks."""

    def __init__(
        self,
        server: MotionServer,
        *,
        uid: int | None = None,
        channel: str = CHANNEL,
        token: str | None = None,
        life_s: float = 3600,
        **options: Any,
    ) -> None:
        self.uid = next(_uids) if uid is None else uid
        self.errors: list[Any] = []
        self.closes = 0
        self.changed = asyncio.Event()
        if token is None:
            token = agora_token(channel=channel, uid=self.uid)
        settings: dict[str, Any] = {
            "avatar_id": "avatar",
            "api_key": "key",
            "app_id": "app",
            "sample_rate": SAMPLE_RATE,
            "expire_at": datetime.now(timezone.utc) + timedelta(seconds=life_s),
            "console_endpoint_url": server.console_url,
            "ingress_endpoint_url": server.ingress_url,
            "agora_egress": sdk.AgoraEgressConfig(
                channel_name=channel, token=token, uid=self.uid
            ),
            "on_error": self._on_error,
            "on_close": self._on_close,
        }
        self.session = sdk.new_avatar_session(**{**settings, **options})

    def _on_error(self, error: Any) -> None:
        self.errors.append(error)
        self.changed.set()

    def _on_close(self) -> None:
        self.closes += 1
        self.changed.set()

    async def open(self) -> str:
        await self.session.init()
        return await self.session.start()

    async def say(self, *frames: bytes, end: bool = False) -> str:
        """Send frames, the last of them with `end`."""
        for frame in frames[:-1]:
            await self.session.send_audio(frame)
        return await self.session.send_audio(frames[-1], end=end)

    async def until(self, happened: Callable[[], Any]) -> None:
        """Wait until the callbacks have said so."""
        while not happened():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)


async def opened(server: MotionServer, **options: Any) -> Client:
    client = Client(server, **options)
    await client.open()
    return client


async def failure(server: MotionServer, **options: Any) -> Any:
    """The SDK's error of an init() or start() that has to fail."""
    with pytest.raises(sdk.AvatarSDKError) as caught:
        await Client(server, **options).open()
    return caught.value


def assert_reads(error: Any, code: str, phase: str) -> None:
    """The SDK's own state; `spatialreal` has codes of its own."""
    assert error.phase == phase
    if wire.sdk_name != "spatialreal":
        assert error.code.value == code
