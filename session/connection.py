"""One connection to the Motion Server, with deadlines, through any SDK."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Optional, TypeVar

from ..clock import Clock, wait_until
from .closing import Closing
from .errors import ConnectionEnded, Failure, SessionError, clean_id, failure_of
from .link import PLAYBACK_STATES, PlaybackSignal, SessionEvents

OPEN_DEADLINE_S = 10.0
"""avatarkit waits 300 s for a silent console, and indefinitely for a
handshake."""

ABORTED_S = 0.2
"""How long a call may take to notice that its connection was dropped."""

CLOSE_DEADLINE_S = 3.0
"""The SDK waits up to 20 s for a silent peer."""

_Result = TypeVar("_Result")


class Connection:
    """A `link.Session` made of the SDK's session.

    `make` makes that one with those of the callbacks that it has, `preload`
    does what would block the event loop when it connects, `request_of` reads
    the ids of request and connection out of a ServerResponseAnimation,
    `explain` says what an exception of the SDK means. `add_secrets` gets the
    session token before anything can repeat it.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        *,
        preload: Callable[[], Awaitable[None]],
        request_of: Callable[[bytes], tuple[str, str]],
        explain: Callable[[BaseException], Failure] = failure_of,
        events: SessionEvents,
        clock: Clock,
        add_secrets: Callable[[list[str]], None],
    ) -> None:
        self._preload = preload
        self._request_of = request_of
        self._explain = explain
        self._events = events
        self._clock = clock
        self._add_secrets = add_secrets
        self._is_prepared = False
        self._is_open = False
        self._loss: Optional[Failure] = None  # as it was reported
        self._call: Optional[asyncio.Task[Any]] = None  # prepare or open
        self._peer_closing: Optional[Closing] = None
        self._closing: Optional[asyncio.Task[None]] = None
        self._connection_id = ""
        self._connection: Any = None  # the SDK forgets it before its on_close
        self._session = make(
            on_error=self._on_error,
            on_close=self._on_close,
            transport_frames=self._on_frames,
            on_playback_state=self._on_playback_state,
        )

    async def prepare(self) -> None:
        """Get the session token, within the deadline.

        Raises `SessionError`, after which the session is to be closed. May be
        cancelled.
        """
        await self._within_deadline(self._prepare())

    async def open(self) -> str:
        """Connect and return the connection's id, within the deadline.

        Raises `SessionError`. May be cancelled.
        """
        return await self._within_deadline(self._open())

    async def send(self, audio: bytes, end: bool) -> str:
        """Send audio, return its request's id. Raises `SessionError`."""
        try:
            return await self._session.send_audio(audio, end)
        except Exception as error:
            raise SessionError(await self._reason(error)) from error

    async def interrupt(self) -> str:
        """Interrupt the latest request. Raises `SessionError`."""
        try:
            return await self._session.interrupt()
        except Exception as error:
            raise SessionError(await self._reason(error)) from error

    async def close(self) -> None:
        """Close, and return within the deadline whatever the peer does."""
        await self._done_within(self._begin_close(), CLOSE_DEADLINE_S + 0.5)

    def ping(self, on_answer: Callable[[], None]) -> bool:
        """Have `on_answer` called when the peer has received all that was
        sent before, by a ping (RFC 6455, 5.5.2); return False where the SDK's
        internals are not as expected."""
        if not self._is_open or not hasattr(self._connection, "ping"):
            return False
        _keep(asyncio.ensure_future(self._ping(on_answer)))
        return True

    def abort(self) -> None:
        """Drop the connection without a close handshake: a call that waits for
        the socket fails at once."""
        self._abort_transport()
        self._begin_close()

    def secrets(self) -> list[str]:
        """Return the secrets that this connection got on its way."""
        session_token = getattr(self._session, "_session_token", None)
        return [str(session_token)] if session_token else []

    # Internals

    async def _within_deadline(
        self, call: Coroutine[Any, Any, _Result]
    ) -> _Result:
        """Run `prepare` or `open`; it is the only call while it runs."""
        task = self._call = asyncio.ensure_future(call)
        task.add_done_callback(_retrieve_exception)
        try:
            in_time = await self._done_within(task, OPEN_DEADLINE_S)
            if not in_time:
                # The SDK raises the refusal of a handshake after its own
                # close, which waits for a peer that does not answer.
                self._abort_transport()
                if not await self._done_within(task, ABORTED_S):
                    # spatialreal has forgotten the connection by then; the
                    # websocket library drops it within 20 s.
                    task.cancel()
                    await self._done_within(task, ABORTED_S)
        finally:
            if not task.done():
                # A start() that was cancelled must be followed by close().
                self._begin_close()
        if not in_time and not _is_refused(task):
            raise SessionError(
                Failure(
                    f"Spatius did not answer within {OPEN_DEADLINE_S:.0f} s; "
                    "check the network and the endpoints",
                    code="connectionFailed",
                    phase="open",
                )
            )
        error = task.exception()
        if error is not None:
            raise SessionError(self._explain(error)) from error
        return task.result()

    async def _done_within(
        self, task: "asyncio.Task[Any]", limit_s: float
    ) -> bool:
        """Wait for `task`, not for long; return whether it is done."""
        await wait_until(self._clock, self._clock.monotonic() + limit_s, task)
        return task.done()

    async def _prepare(self) -> None:
        await self._preload()
        await self._session.init()
        self._is_prepared = True
        self._add_secrets(self.secrets())

    async def _open(self) -> str:
        if not self._is_prepared:
            await self._prepare()
        self._connection_id = clean_id(await self._start())
        # Before the loop runs on: the connection may be closed again at once.
        self._connection = getattr(self._session, "_connection", None)
        self._is_open = True
        self._peer_closing = Closing(
            self._connection, self._clock, self._abort_transport
        )
        return self._connection_id

    async def _start(self) -> str:
        """Run the SDK's start; cancelled while it closes a connection that
        was refused, raise the refusal."""
        try:
            return await self._session.start()
        except asyncio.CancelledError as error:
            refusal = error.__context__
            if not isinstance(refusal, Exception):
                raise
        raise refusal

    async def _reason(self, error: Exception) -> Failure:
        """Return why a call failed: where the connection closes, that."""
        if self._loss is None and self._peer_closing is not None:
            await self._peer_closing.wait()
        return self._loss or self._explain(error)

    def _end(self, failure: Failure) -> None:
        """Report that the session has ended."""
        self._loss = self._loss or failure
        self._events.failed(failure)

    def _begin_close(self) -> "asyncio.Task[None]":
        self._stop_reporting()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._finish_close())
            _keep(self._closing)
        return self._closing

    def _stop_reporting(self) -> None:
        self._is_open = False
        if self._peer_closing is not None:
            self._peer_closing.stop()

    async def _finish_close(self) -> None:
        if self._call is not None and not self._call.done():
            self._call.cancel()
            await self._done_within(self._call, CLOSE_DEADLINE_S)
            self._stop_reporting()  # it may have opened all the same
        closing = asyncio.ensure_future(self._session.close())
        closing.add_done_callback(_retrieve_exception)
        if not await self._done_within(closing, CLOSE_DEADLINE_S):
            self._abort_transport()
            await asyncio.wait({closing})

    async def _ping(self, on_answer: Callable[[], None]) -> None:
        try:
            await (await self._connection.ping())
        except Exception:  # the connection has ended, or is no websocket
            return
        if self._is_open:
            on_answer()

    def _abort_transport(self) -> None:
        # The SDK has no call for it, and its own close waits for a silent
        # peer for 10 to 20 s; should its internals change, so do we.
        connection = getattr(self._session, "_connection", None)
        transport = getattr(connection or self._connection, "transport", None)
        if transport is not None:
            transport.abort()

    def _on_error(self, error: Exception) -> None:
        if self._is_open:
            failure = self._explain(error)
            if failure.ends_session:
                self._end(failure)
            else:
                self._events.failed(failure)

    def _on_close(self) -> None:
        if self._peer_closing is not None:
            self._peer_closing.ended()
        if self._is_open:
            self._is_open = False
            if self._loss is None:
                # The SDK does not report the code of a clean close.
                code = getattr(self._connection, "close_code", None)
                reason = getattr(self._connection, "close_reason", None)
                ended = ConnectionEnded(code, reason, self._connection_id)
                self._end(self._explain(ended))

    def _on_frames(self, data: bytes, is_last: bool) -> None:
        """Take the bytes of a ServerResponseAnimation: with Agora egress it
        says that a request plays, or (`is_last`) has been played out."""
        if not self._is_open:
            return
        try:
            req_id, connection_id = self._request_of(data)
        except Exception:  # of no use to us, and no reason to end a session
            return
        state = "ended" if is_last else "playing"
        self._signal(req_id, connection_id, state, None)

    def _on_playback_state(self, event: Any) -> None:
        """Take a ServerPlaybackState, which only `spatialreal` knows."""
        if not self._is_open:
            return
        try:
            state = str(event.state.value)
            played_ms = max(0.0, float(event.played_ms))
            req_id, connection_id = event.req_id, event.connection_id
        except Exception:
            return
        if state in PLAYBACK_STATES:
            self._signal(req_id, connection_id, state, played_ms)

    def _signal(
        self,
        req_id: str,
        connection_id: str,
        state: str,
        played_ms: Optional[float],
    ) -> None:
        """Report playback, unless it is an older connection's."""
        is_older = clean_id(connection_id) not in ("", self._connection_id)
        if req_id and not is_older:
            signal = PlaybackSignal(clean_id(req_id), state, played_ms)
            self._events.playback(signal)


def _is_refused(call: "asyncio.Task[Any]") -> bool:
    """Return whether a call failed for a reason that the service gave."""
    if not call.done() or call.cancelled():
        return False
    error = call.exception()
    return error is not None and failure_of(error).code not in (
        "connectionClosed",
        "connectionFailed",
        "",
    )


def _retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """Keep asyncio from logging an error that nobody waits for any more: its
    text is the service's, and may repeat a secret."""
    if not task.cancelled():
        task.exception()


# What goes on in the background; the loop itself holds tasks weakly.
_unfinished: "set[asyncio.Task[None]]" = set()


def _keep(task: "asyncio.Task[None]") -> None:
    """Hold a task until it is done."""
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
