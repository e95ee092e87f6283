"""One websocket of the ingress, and the faults that act on it."""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from . import wire
from .clock import Clock, Timer, sleep
from .console import SessionToken, fill
from .faults import (
    Animate,
    BlackHole,
    Close,
    Reset,
    RuntimeFault,
    ServerError,
    Silence,
    SlowReader,
    Stall,
    StopPlayback,
)
from .model import Connection
from .playback import PlaybackReporter
from .record import Record

# gRPC's INVALID_ARGUMENT, which the real service sends for a configuration
# that it does not take.
INVALID_ARGUMENT = 3
# Close codes of RFC 6455.
UNSUPPORTED_DATA = 1003
ABNORMAL_CLOSURE = 1006
POLICY_VIOLATION = 1008

# How long the client may take to answer a close frame of ours.
CLOSE_REPLY_S = 2.0
# One message of the SDK holds the audio of one send_audio(); this is five
# minutes of PCM at 24 kHz.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# RFC 6455 lets a control frame hold 125 bytes, two of which are the code.
MAX_CLOSE_REASON_BYTES = 123


class ClientSocket:
    """The socket of one connection, and the faults that act on it."""

    def __init__(
        self,
        request: web.Request,
        websocket: web.WebSocketResponse,
        connection: Connection,
        token: SessionToken,
        record: Record,
        clock: Clock,
        pong_delay_s: float = 0.0,
    ) -> None:
        self.connection = connection
        # The latest request's id.
        self.req_id = ""
        self.agora_token = ""
        # Set when the session is confirmed.
        self.playback: PlaybackReporter | None = None
        self._timers: dict[str, Timer] = {}
        # The clock's seconds at the confirmation or the last audio message.
        self.last_input_s = clock.monotonic()
        self._request = request
        self._websocket = websocket
        self._token = token
        self._record = record
        self._clock = clock
        # Used where the library does not answer pings by itself.
        self._pong_delay_s = pong_delay_s
        # Messages on their way; the loop itself holds tasks only weakly.
        self._posts: set[asyncio.Task[None]] = set()
        # Set while the server reads from the socket.
        self._reading = asyncio.Event()
        self._reading.set()
        # Set while packets reach the client.
        self._passing = asyncio.Event()
        self._passing.set()
        # Set when nothing will ever be read or sent again.
        self._silent = False
        # Stalls are numbered, so that the end of one that lasts `for_s`
        # does not end a later one.
        self._stalls = itertools.count(1)
        self._stall = 0
        self._bytes_per_s: float | None = None
        # The task that waits for a message.
        self._receiver: asyncio.Task[Any] | None = None
        # From the begin of a close of ours; set at its end.
        self._closed: asyncio.Event | None = None

    async def receive(self) -> Any:
        """The next protobuf message; None when there are no more."""
        while True:
            if not self._reading.is_set():
                await self._reading.wait()
            frame = await self._receive_frame()
            if frame is None:
                return None
            if not self._reading.is_set():
                # A close frame may have slipped through just before.
                await self._reading.wait()
            if frame.type is WSMsgType.BINARY:
                try:
                    return wire.parse(frame.data)
                except wire.DecodeError:
                    await self._refuse_data("a message that is no protobuf")
            elif frame.type is WSMsgType.PING:
                self._keep(self._pong(frame.data))
            elif frame.type is WSMsgType.TEXT:
                await self._refuse_data("a text message")
            elif frame.type is WSMsgType.CLOSE:
                code = frame.data or 1000
                self._record.closed(
                    self.connection, "client", code, frame.extra or ""
                )
                with contextlib.suppress(ConnectionError):
                    await self._websocket.close(code=code)
                return None
            else:
                # TCP ended without a close frame.
                self._record.closed(self.connection, "client", ABNORMAL_CLOSURE)
                return None

    async def _receive_frame(self) -> WSMessage | None:
        """The next frame; None when we have closed."""
        self._receiver = asyncio.current_task()
        try:
            if self._closed is None:
                return await self._websocket.receive()
        except asyncio.CancelledError:
            if self._closed is None:
                raise
        except ConnectionError:
            # The answer to a ping of a client that has gone since.
            self._record.closed(self.connection, "client", ABNORMAL_CLOSURE)
            return None
        finally:
            self._receiver = None
        # The end of the handler ends TCP.
        await self._closed.wait()
        return None

    async def send(self, data: bytes) -> None:
        """Send a message; a connection that is gone does not matter."""
        if await self._can_send():
            with contextlib.suppress(ConnectionError):
                await self._websocket.send_bytes(data)

    async def until_reading(self) -> None:
        """Wait until the socket is read, which may be never."""
        await self._reading.wait()

    def set_timer(
        self, name: str, when_s: float, callback: Callable[[], None]
    ) -> None:
        """Call back unless the connection or the timer ends before.

        A new timer ends the one of the same name.
        """
        self.cancel_timer(name)
        self._timers[name] = self._clock.call_at(when_s, callback)

    def cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """End playback reports, timers, and messages on their way."""
        if self.playback is not None:
            self.playback.stop()
        for post in self._posts:
            post.cancel()
        for name in list(self._timers):
            self.cancel_timer(name)

    def post(self, data: bytes) -> None:
        """Send a message behind those before it, without waiting for it."""
        if not self._silent:
            self._keep(self.send(data))

    async def reject(self, text: str) -> None:
        """Refuse the session configuration, then close."""
        self._record.rejected(self.connection, INVALID_ARGUMENT, text)
        await self.send(wire.server_error(INVALID_ARGUMENT, text))
        await self.close(POLICY_VIOLATION)

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and wait a little for the answer."""
        if self._closed is not None:
            return
        self._closed = asyncio.Event()
        if self._passing.is_set():
            self._resume()
        data = self._fill(reason).encode()[:MAX_CLOSE_REASON_BYTES]
        self._record.closed(self.connection, "server", code, reason)
        if self._receiver is not None:
            # Beside receive(), the library's close() waits for no answer: it
            # closes a socket that may hold unread audio, at which the client
            # gets a reset, and may never see the close frame.
            self._receiver.cancel()
            while self._receiver is not None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        if not await self._can_send():
            return  # and TCP stays open: its end could not be seen either
        try:
            with contextlib.suppress(ConnectionError):
                await self._websocket.close(code=code, message=data)
        finally:
            self._closed.set()

    async def keep_pace(self, size: int) -> None:
        """Wait as long as a slow reader takes for `size` bytes."""
        if self._bytes_per_s:
            await sleep(self._clock, size / self._bytes_per_s)

    async def act(self, fault: RuntimeFault) -> None:
        """Let a fault act to its end."""
        if self.act_at_once(fault):
            return
        self._record.fault(f"{fault}", self.connection.number)
        if isinstance(fault, Close):
            await self.close(fault.code, fault.reason)
        elif isinstance(fault, ServerError):
            await self._send_or_post(
                wire.server_error(
                    fault.code,
                    self._fill(fault.message),
                    connection_id=self.connection.connection_id,
                    req_id=self.req_id,
                )
            )
        elif isinstance(fault, Animate):
            await self._send_or_post(
                wire.animation(
                    self.connection.connection_id,
                    self.req_id,
                    end=fault.end,
                )
            )

    def act_at_once(self, fault: RuntimeFault) -> bool:
        """Let a fault act that sends nothing; False: it sends something."""
        if isinstance(fault, (Close, ServerError, Animate)):
            return False
        self._record.fault(f"{fault}", self.connection.number)
        if isinstance(fault, Reset):
            self._reset()
        elif isinstance(fault, Stall):
            self._stop_reading(fault.for_s)
        elif isinstance(fault, BlackHole):
            self._passing.clear()
            self._stop_reading(fault.for_s)
            if fault.host_vanishes:
                self._silent = True
                self._vanish()
        elif isinstance(fault, Silence):
            self._silent = True
            self._stop_reading()
        elif isinstance(fault, StopPlayback):
            if self.playback is not None:
                self.playback.cut(fault.reason)
        elif isinstance(fault, SlowReader):
            self._bytes_per_s = fault.bytes_per_s
        else:
            self._bytes_per_s = None
            self._resume()
        return True

    async def _send_or_post(self, data: bytes) -> None:
        """Send a message, without waiting for the end of a black hole."""
        if self._passing.is_set():
            await self.send(data)
        else:
            self.post(data)

    async def _pong(self, data: bytes) -> None:
        await sleep(self._clock, self._pong_delay_s)
        if await self._can_send():
            with contextlib.suppress(ConnectionError):
                await self._websocket.pong(data)

    def _keep(self, post: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(post)
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _can_send(self) -> bool:
        """Wait until packets reach the client; False: they never will."""
        if self._silent:
            return False
        await self._passing.wait()
        return True

    def _vanish(self) -> None:
        if self.playback is not None:
            self.playback.stop()
        self._record.vanished(self.connection.number)

    def _stop_reading(self, for_s: float | None = None) -> None:
        stall = self._stall = next(self._stalls)
        if for_s is not None:
            self._clock.call_at(
                self._clock.monotonic() + for_s, lambda: self._resume(stall)
            )
        self._reading.clear()
        self._record.stalled(self.connection, True)
        transport = self._request.transport
        if transport is not None:
            # Without this the library would go on reading into a queue.
            transport.pause_reading()

    def _resume(self, stall: int | None = None) -> None:
        """Read on, unless silent indefinitely or in a later stall by now."""
        if self._silent or self._reading.is_set():
            return
        if stall is not None and stall != self._stall:
            return
        self._passing.set()
        self._reading.set()
        self._record.stalled(self.connection, False)
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def _reset(self) -> None:
        self._record.closed(self.connection, "server", ABNORMAL_CLOSURE)
        transport = self._request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        # Linger on, for zero seconds: close() sends an RST and discards what
        # was still to be sent.
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
        # A stalled handler has to see the end.
        self._silent = False
        self._passing.set()
        self._reading.set()

    def _fill(self, text: str) -> str:
        return fill(
            text,
            api_key=self._token.api_key,
            session_token=self._token.text,
            agora_token=self.agora_token,
        )

    async def _refuse_data(self, data_name: str) -> None:
        number = self.connection.number
        self._record.violation(f"connection {number}: {data_name}", number)
        await self.close(UNSUPPORTED_DATA)
