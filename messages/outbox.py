"""Sending reports through TEN, with the secrets taken out."""

import asyncio
import contextlib
import json
from typing import Any, Optional

import ten_runtime
from ten_runtime import AsyncTenEnv, Data

from ..clock import Clock, wait_until
from . import payloads
from .payloads import LogLevel
from .redact import Redactor, defect

_INT64 = range(-(2**63), 2**63)

# Values of a report that are the extension's own, or that must go back
# as they came.
_PLAIN = frozenset(
    ("module", "vendor", "state", "phase", "session_id", "turn_id")
)


def _log_option() -> dict[str, Any]:
    """Return the argument that has a log line name the caller of `log`, none
    if the runtime has no such option."""
    for name in ("LogOption", "TenLogOption"):
        option = getattr(ten_runtime, name, None)
        if option is not None:
            # TEN's own frames are two; ours is the third.
            return {"option": option(skip=3)}
    return {}


def _loggable(fields: payloads.Payload) -> dict[str, Any]:
    """Return the fields as TEN's log calls take them: it loses the line of an
    integer beyond 64 bits, so that one is text; lists and the like are left
    out."""
    return {
        name: item if type(item) is not int or item in _INT64 else str(item)
        for name, item in fields.items()
        if type(item) in (bool, int, float, str)
    }


class Outbox:
    """Sends reports through TEN, and keeps secrets out of them.

    It never raises: it is where the handlers turn to when all else fails.
    """

    def __init__(self, ten_env: AsyncTenEnv) -> None:
        self._ten_env = ten_env
        self._redact = Redactor()
        self._log_option = _log_option()
        # TEN takes messages from on_start on; till then they are kept here.
        self._kept: list[tuple[str, payloads.Payload]] | None = []
        self._sending: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Send the messages that were kept, and all others at once."""
        kept, self._kept = self._kept or [], None
        for name, payload in kept:
            self.send(name, payload)

    def send(self, name: str, payload: payloads.Payload) -> None:
        if self._kept is not None:
            self._kept.append((name, payload))
            return
        try:
            data = Data.create(name)
            data.set_property_from_json(None, json.dumps(self._clean(payload)))
            # Sending never waits. Tasks start in order, so they send in it.
            task = asyncio.ensure_future(self._ten_env.send_data(data))
        except Exception as error:
            self.log("warn", f"{name} could not be sent: {defect(error)}")
            return
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def log(
        self,
        level: LogLevel,
        text: str,
        category: str = "",
        fields: Optional[payloads.Payload] = None,
    ) -> None:
        text = self._clean(text)
        if not text.isprintable():
            # The ids of turns come as other nodes send them.
            text = "".join(c if c.isprintable() else " " for c in text)
        log = getattr(self._ten_env, f"log_{level}")
        # Not every runtime knows fields and options, and a line without them
        # is better than none.
        with contextlib.suppress(Exception):
            if fields:
                loggable = _loggable(self._clean(fields))
                if not log(
                    text, category or None, loggable, **self._log_option
                ):
                    return
        with contextlib.suppress(Exception):
            log(text, category or None, **self._log_option)
            return
        with contextlib.suppress(Exception):
            log(text, category or None)

    def add_secrets(self, secrets: list[str]) -> None:
        for secret in secrets:
            self._redact.add_recent(secret)

    def add_permanent_secrets(self, secrets: list[str]) -> None:
        for secret in secrets:
            self._redact.add(secret)

    async def drain(self, clock: Clock, deadline_at: float) -> None:
        """Wait until all reports have been sent, or until `deadline_at`."""
        sent = asyncio.gather(*self._sending, return_exceptions=True)
        await wait_until(clock, deadline_at, sent)

    def _sent(self, task: "asyncio.Task[Any]") -> None:
        self._sending.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log("warn", f"a report was not sent: {defect(error)}")

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            # TEN takes neither NUL nor invalid UTF-8; the characters that are
            # left out must not part the pieces of a secret.
            text = value.replace("\0", "").encode(errors="ignore").decode()
            return self._redact(text)
        if isinstance(value, dict):
            return {
                name: item if name in _PLAIN else self._clean(item)
                for name, item in value.items()
            }
        return value
