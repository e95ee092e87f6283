#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The vendor's side of the honest avatar: one connection, one writer."""

import asyncio
import contextlib
import json
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

CONNECT_LIMIT_S = 2.0
RETRY_S = 0.1
MAX_RETRY_S = 2.0
MAX_WAITING_S = 120.0
MESSAGE_BYTES = 4800

FINISHED, CUT, LOST = 1, 2, 3
"""The `reason` of an avatar_audio_end."""


@dataclass(eq=False)
class Utterance:
    """Audio up to one end of speech."""

    number: int
    turn_id: int | None
    request_id: str
    rest: bytes = b""
    """Half a sample that waits for the next frame."""
    written_bytes: int = 0
    begins_s: float | None = None
    """When it begins to be heard; None: nothing of it was written."""
    started: bool = False
    over: bool = False
    by_voice: bool = False


class Host(Protocol):
    """The part of the extension that the player uses."""

    def report(self, name: str, payload: dict[str, Any]) -> None: ...
    def status(self, current: str) -> None: ...
    def fail(self, message: str, vendor_code: str) -> None: ...
    def complain(self, message: str) -> None: ...
    def voice(self, pcm: bytes) -> None: ...
    def written(self, utterance: Utterance) -> None: ...


class VendorSaid(Exception):
    """The service has ended the session; the text is its reason."""


class Player:
    """Sends speech to the vendor and estimates its playback."""

    def __init__(self, params: dict[str, Any], host: Host) -> None:
        self.params = params
        self.host = host
        self.queue: deque[tuple[str, Utterance, bytes]] = deque()
        self.waiting_bytes = 0
        self.open: Utterance | None = None
        self.count = 0
        self.stale: set[int | None] = set()
        """Turns that were flushed; None: speech without a turn."""
        self.cut_requests: set[str] = set()
        self.heard: list[Utterance] = []
        """Written, and not over yet."""
        self.busy_until_s = 0.0
        self.connected = False
        self.renewing = False
        self.failed = False
        self.overflows = False
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def bytes_per_s(self) -> int:
        return self.params.get("sample_rate", 24000) * 2

    # Called by the extension

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=1)
        self.cut_playback(LOST)

    def speak(self, pcm: bytes, turn_id: int | None, request_id: str) -> None:
        if turn_id in self.stale:
            return
        if self.open is not None and self.open.turn_id != turn_id:
            self.end()
        utterance = self.open
        if utterance is None:
            self.count += 1
            utterance = Utterance(self.count, turn_id, request_id)
            self.open = utterance
        if utterance.by_voice:
            self.host.voice(pcm)
            return
        pcm = utterance.rest + pcm
        whole = len(pcm) // 2 * 2
        pcm, utterance.rest = pcm[:whole], pcm[whole:]
        if not pcm or self.refuses(pcm):
            return
        if not self.connected and not self.waiting_bytes:
            wait_s = self.params.get("fallback_after_ms", 1500) / 1000
            asyncio.get_running_loop().call_later(wait_s, self.fall_back)
        for at in range(0, len(pcm), MESSAGE_BYTES):
            self.put("audio", utterance, pcm[at : at + MESSAGE_BYTES])

    def begin(self, request_id: str) -> None:
        """Take a tts_audio_start: audio of a new request is not stale."""
        self.stale.discard(None)
        if request_id not in self.cut_requests:
            self.stale.clear()

    def end(self) -> None:
        utterance, self.open = self.open, None
        if utterance is not None and not utterance.by_voice:
            self.put("end", utterance)

    def flush(self) -> None:
        flushed = [entry[1] for entry in self.queue] + self.heard
        if self.open is not None:
            flushed.append(self.open)
        self.open = None
        if flushed:
            self.cut_requests = {one.request_id for one in flushed}
        self.forget_turns({utterance.turn_id for utterance in flushed})
        self.clear_queue()
        if self.heard:
            self.put("interrupt", self.heard[-1])
        self.cut_playback(CUT)

    def forget_turns(self, turns: set[int | None]) -> None:
        if turns:
            self.stale = turns

    def clear_queue(self) -> None:
        """Discard speech; an interrupt that waits is still to be sent."""
        waiting = [entry for entry in self.queue if entry[0] == "interrupt"]
        self.queue = deque(waiting)
        self.waiting_bytes = 0

    def refuses(self, pcm: bytes) -> bool:
        """Whether the queue is full; one report for each time it is."""
        limit_bytes = MAX_WAITING_S * self.bytes_per_s
        full = self.waiting_bytes + len(pcm) > limit_bytes
        if full and not self.overflows:
            self.host.complain("speech is discarded: too much is waiting")
        self.overflows = full
        return full

    def put(self, kind: str, utterance: Utterance, pcm: bytes = b"") -> None:
        self.queue.append((kind, utterance, pcm))
        self.waiting_bytes += len(pcm)
        self.wake.set()

    def fall_back(self) -> None:
        """Send waiting speech out by the voice, as there is no session."""
        if self.connected or self.renewing:
            return
        for _, utterance, pcm in self.queue:
            utterance.by_voice = True
            if pcm:
                self.host.voice(pcm)
        self.clear_queue()

    # The connection

    async def run(self) -> None:
        loses = False
        pause_s = RETRY_S
        while True:
            self.host.status("connecting")
            try:
                await asyncio.wait_for(self.connect(), CONNECT_LIMIT_S)
                loses, pause_s = False, RETRY_S
                reason = await self.session()
            except (OSError, ValueError, asyncio.TimeoutError) as error:
                reason = type(error).__name__
            except VendorSaid as said:
                reason = str(said)
            finally:
                self.connected = False
            if reason == "renew":
                continue
            self.renewing = False
            self.cut_playback(LOST)
            self.host.status("disconnected")
            if self.is_final(reason):
                self.failed = True
                self.host.fail(f"the vendor has ended it: {reason}", reason)
                self.fall_back()
                return
            if not loses:
                self.host.complain(f"no connection ({reason}); trying again")
            loses = True
            await self.pause(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_S)

    async def pause(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)

    def is_final(self, reason: str) -> bool:
        return reason in ("credits", "key")

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.params["port"]
        )
        # Data in the kernel's buffer cannot be flushed.
        link = self.writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.write(hello=self.params["api_key"])
        answer = await self.answer()
        if "ready" not in answer:
            raise VendorSaid(answer.get("error", "closed"))
        self.connected, self.renewing = True, False
        self.host.status("connected")

    async def answer(self) -> dict[str, Any]:
        return json.loads(await self.reader.readline() or "{}")

    async def session(self) -> str:
        """Serve until the session ends; return why."""
        listening = asyncio.ensure_future(self.listen())
        renewal = asyncio.ensure_future(self.renew())
        writing = asyncio.ensure_future(self.write_queue())
        tasks = (listening, renewal, writing)
        try:
            done, _ = await asyncio.wait(
                tasks, return_when=asyncio.FIRST_COMPLETED
            )
            if done == {renewal}:
                await self.hand_over()
                return renewal.result()
            return done.pop().result() or "closed"
        finally:
            for task in tasks:
                task.cancel()
            self.connected = False
            with contextlib.suppress(Exception):
                self.writer.transport.abort()

    async def hand_over(self) -> None:
        """Send the written data to its end; the rest waits."""
        self.connected, self.renewing = False, True
        while self.writer.transport.get_write_buffer_size():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.writer.write_eof()
        await asyncio.sleep(0.05)

    async def listen(self) -> str:
        line = await self.reader.readline()
        return json.loads(line or "{}").get("error", "closed")

    async def renew(self) -> str:
        await asyncio.sleep(self.params.get("renew_after_s", 3600))
        return "renew"

    async def write_queue(self) -> str:
        while True:
            while not (self.queue and self.connected):
                self.wake.clear()
                await self.wake.wait()
            await self.before_write()
            if not self.queue:
                continue
            kind, utterance, pcm = self.queue.popleft()
            self.waiting_bytes -= len(pcm)
            if kind == "audio":
                self.write(audio=pcm.hex(), id=utterance.number)
                self.play(utterance, len(pcm))
            elif kind == "end":
                if utterance.written_bytes:
                    self.write(end=utterance.number)
                    self.host.written(utterance)
                    self.call_at(self.busy_until_s, utterance, FINISHED)
            else:
                self.write(interrupt=utterance.number)
            await self.writer.drain()

    async def before_write(self) -> None:
        """Wait until the next message may be written."""

    def write(self, **message: Any) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")

    # Playback

    def play(self, utterance: Utterance, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if utterance.begins_s is None:
            utterance.begins_s = max(now_s, self.busy_until_s)
            self.heard.append(utterance)
            self.call_at(utterance.begins_s, utterance, 0)
        utterance.written_bytes += size
        self.busy_until_s = (
            utterance.begins_s + utterance.written_bytes / self.bytes_per_s
        )

    def call_at(self, time_s: float, utterance: Utterance, reason: int) -> None:
        """Have playback begin (reason 0) or end then."""
        call = self.playback_ends if reason else self.playback_starts
        asyncio.get_running_loop().call_at(time_s, call, utterance, reason)

    def playback_starts(self, utterance: Utterance, _: int = 0) -> None:
        if not utterance.over:
            for earlier in self.heard[: self.heard.index(utterance)]:
                self.playback_ends(earlier, FINISHED)  # due at this moment
            utterance.started = True
            self.host.report("avatar_audio_start", self.about(utterance))

    def playback_ends(self, utterance: Utterance, reason: int) -> None:
        if utterance.over:
            return
        utterance.over = True
        self.heard.remove(utterance)
        if utterance.started:
            self.host.report(
                "avatar_audio_end",
                {
                    **self.about(utterance),
                    "reason": reason,
                    "playback_position_ms": self.position_ms(utterance),
                    "request_total_audio_duration_ms": self.whole_ms(utterance),
                    "source": "estimate",
                },
            )

    def position_ms(self, utterance: Utterance) -> int:
        now_s = asyncio.get_running_loop().time()
        played_ms = (now_s - (utterance.begins_s or now_s)) * 1000
        return min(int(played_ms), self.whole_ms(utterance))

    def whole_ms(self, utterance: Utterance) -> int:
        return utterance.written_bytes * 1000 // self.bytes_per_s

    def cut_playback(self, reason: int) -> None:
        for utterance in list(self.heard):
            self.playback_ends(utterance, reason)
        self.busy_until_s = 0.0

    def about(self, utterance: Utterance) -> dict[str, Any]:
        metadata = (
            {}
            if utterance.turn_id is None
            else {
                "session_id": "guard",
                "turn_id": utterance.turn_id,
            }
        )
        return {"request_id": utterance.request_id, "metadata": metadata}
