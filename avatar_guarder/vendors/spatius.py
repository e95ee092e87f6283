"""Spatius, by way of the local Motion Server."""

import contextlib
from collections.abc import Iterator
from typing import Any

from devkit.motion_server import (
    Close,
    Hang,
    MotionServer,
    Refuse,
    Reset,
    ServerError,
    Stall,
)

API_KEY = "Gk3vT9xQ2mLr7WzB"
APP_ID = "0123456789abcdef0123456789abcdef"
CERTIFICATE = "fedcba9876543210fedcba9876543210"
CREDITS = ServerError(4001, "credits exhausted")

# So small that an extension soon feels it when nothing is read.
RECEIVE_BUFFER_BYTES = 8192


class Vendor:
    """See `avatar_guarder.vendor.Vendor`."""

    def __init__(self) -> None:
        self._server: Any = None

    @contextlib.contextmanager
    def listen(self) -> Iterator[dict[str, Any]]:
        with MotionServer.in_thread(
            api_keys={API_KEY},
            app_ids={"guard-app"},
            avatar_ids={"guard-avatar"},
            certificates={APP_ID: CERTIFICATE},
            receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
        ) as self._server:
            yield {
                "spatius_api_key": API_KEY,
                "spatius_app_id": "guard-app",
                "spatius_avatar_id": "guard-avatar",
                "agora_appid": APP_ID,
                "agora_appcert": CERTIFICATE,
                "agora_channel": "guard",
                "agora_uid": 1001,
                "console_endpoint_url": self._server.console_url,
                "ingress_endpoint_url": self._server.ingress_url,
            }

    def confirmed(self) -> int:
        return sum(
            connection.confirmed_s is not None
            for connection in self._server.record.connections
        )

    def received(self) -> list[bytes]:
        return [request.audio for request in self._server.record.requests]

    def ends(self) -> list[int]:
        return self._numbers("end")

    def interrupts(self) -> list[int]:
        return self._numbers("interrupt")

    def fault(self, name: str) -> None:
        server, faults = self._server, self._server.faults
        if name == "refuse":
            faults.upgrade(Refuse(503), times=2)
        elif name == "hang":
            faults.upgrade(Hang(), times=None)
        elif name == "credits":
            faults.handshake(CREDITS, times=None)
            server.now(CREDITS)
            server.now(Close(4001, CREDITS.message))
        else:
            now = {
                "reset": Reset(),
                "close": Close(1011),
                "leave": Close(1000),
                "stall": Stall(),
            }
            server.now(now[name])

    def _numbers(self, kind: str) -> list[int]:
        """Return the utterance of each event of a kind, in their order."""
        record = self._server.record
        ids = [request.req_id for request in record.requests]
        return [
            ids.index(event.req_id) if event.req_id in ids else -1
            for event in list(record.events)
            if event.kind == kind
        ]
