"""The events of a Motion Server, for readers on any thread and event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .model import Event
from .views import timeline_text

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class WaitTimeout(AssertionError):
    """An expected event did not happen in time."""


class Timeline:
    """Keeps events, passes them on, and wakes the tasks that wait for one.

    Readers may be on any thread. `lock` guards the state that the events
    report, too: a reader that holds it sees whole events.
    """

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.events: list[Event] = []
        # Re-entrant: predicates run under it and use the record's views.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        # Those who wait on event loops.
        self._waiters: set[tuple[asyncio.AbstractEventLoop, Any]] = set()
        self._listeners: list[Callable[[Event], None]] = []

    def publish(self, event: Event, *, keep: bool = True) -> None:
        """Publish an event; `keep` False: it is not put into `events`."""
        with self.lock:
            if keep:
                self.events.append(event)
            for listener in self._listeners:
                listener(event)
            self._changed.notify_all()
            for loop, woken in list(self._waiters):
                if woken.is_set():
                    continue
                try:
                    loop.call_soon_threadsafe(woken.set)
                except RuntimeError:
                    # The loop was closed while somebody waited on it.
                    self._waiters.discard((loop, woken))

    def on_event(
        self, listener: Callable[[Event], None], *, past: bool = False
    ) -> None:
        """Call `listener` with each event from now on.

        It is called on the server's thread and must not block; audio events
        come too when they are not kept. `past`: at once with each event so
        far, on this thread.
        """
        with self.lock:
            if past:
                for event in self.events:
                    listener(event)
            self._listeners.append(listener)

    def wait_for(
        self, predicate: Callable[[Self], T], timeout_s: float = 30.0
    ) -> T:
        """Block until `predicate(self)` is true, and return its value.

        It is evaluated after every event; a LookupError of its own counts as
        "not yet", so `lambda r: r.requests[0].closed` is a fine predicate.
        Raises WaitTimeout, which shows the timeline. Not for the server's own
        thread.
        """
        with self.lock:
            value = self._changed.wait_for(
                lambda: self._evaluate(predicate), timeout_s
            )
            if not value:
                raise self._timed_out(timeout_s)
            return value

    async def until(
        self, predicate: Callable[[Self], T], timeout_s: float = 30.0
    ) -> T:
        """Wait as `wait_for` does, on any event loop. Raises WaitTimeout."""
        woken = asyncio.Event()
        waiter = (asyncio.get_running_loop(), woken)
        with self.lock:
            self._waiters.add(waiter)

        async def watch() -> T:
            while True:
                woken.clear()
                with self.lock:
                    value = self._evaluate(predicate)
                if value:
                    return value
                await woken.wait()

        try:
            return await asyncio.wait_for(watch(), timeout_s)
        except asyncio.TimeoutError:
            raise self._timed_out(timeout_s) from None
        finally:
            with self.lock:
                self._waiters.discard(waiter)

    def timeline(self) -> str:
        """The events as text, one line each, runs of audio in one line."""
        with self.lock:
            return timeline_text(self.events, self.started_s)

    def _timed_out(self, timeout_s: float) -> WaitTimeout:
        return WaitTimeout(
            f"did not happen within {timeout_s} s; this did:\n{self.timeline()}"
        )

    def _evaluate(self, predicate: Callable[[Self], T]) -> T | None:
        try:
            return predicate(self)
        except LookupError:
            return None
