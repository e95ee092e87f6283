"""What operators are told: each thing once per episode.

Knows what has been reported, so that nobody else has to: the state, the
outage, the errors of the service, what was refused, how utterances went.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Optional, Protocol

from ..clock import Clock
from ..messages import payloads
from ..messages.payloads import LogLevel
from ..session.errors import Failure
from ..session.link import Link
from ..session.retry import BACKOFF_RESET_S
from ..speech import AudioEnd, AudioStart, Event, Overflow, Turn, TurnIdReused
from ..speech.intake import TURN_REUSE_LIMIT_S

SERVICE_ERROR_DELAY_S = 0.5
"""A non-fatal service error is reported this much later: it may be the reason
of a loss, and then it is a part of that report."""

SERVICE_ERROR_PAUSE_S = 10.0
"""Non-fatal service errors are reported no more often than this."""

TOKEN_EXPIRY_WARNING_S = 300.0
"""How long before its end the expiry of a given Agora token is reported."""


class Outbox(Protocol):
    """Where the reports go. All of it returns at once."""

    def send(self, name: str, payload: payloads.Payload) -> None:
        """Send a message of this name."""
        ...

    def log(
        self,
        level: LogLevel,
        text: str,
        category: str = "",
        fields: Optional[payloads.Payload] = None,
    ) -> None:
        """Log a line, with `fields` for those who read logs by machine."""
        ...

    def add_secrets(self, secrets: list[str]) -> None:
        """Keep these out of whatever is sent and logged."""
        ...


class Reporter:
    """Reports through `outbox`; `current_turn` is what is being said."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        current_turn: Callable[[], Optional[Turn]],
        on_due: Callable[[float], None],
    ) -> None:
        self.state = ""
        """The latest `avatar_state`, "" before the first."""
        self._outbox = outbox
        self._clock = clock
        self._current_turn = current_turn
        self._on_due = on_due  # called with the time at which `tick` is due
        self._connection_id = ""
        self._status = "disconnected"
        # An outage lasts until a session is stable: one that is lost again
        # at once has not ended it.
        self._outage_reported = False
        self._stable_at = float("inf")
        self._overflow_reported = False
        self._service_error: Optional[Failure] = None  # the latest
        self._service_error_at = float("-inf")
        self._service_error_due_at = float("inf")
        self._next_service_error_at = float("-inf")
        self._token_expiry_reported = False

    # States

    def enter(self, state: str, reason: str) -> None:
        """Report a state on change; failed and closed are the last."""
        if state == self.state or self.state in ("failed", "closed"):
            return
        self.state = state
        self._outbox.send(
            "avatar_state", payloads.state(state, self._connection_id, reason)
        )
        self._outbox.log(
            "info", f"{state} ({reason}) {self._connection_id}".rstrip()
        )
        if state in ("asleep", "failed", "closed"):
            self._change_status("disconnected", reason)

    def connecting(self) -> None:
        """A new session is being opened."""
        self._connection_id = ""
        self._change_status("connecting")

    def opened(self, link: Link, is_renewal: bool) -> None:
        """A session has been opened, or could not be."""
        self._outbox.add_secrets(link.secrets())
        if not link.was_ready:
            return
        reason = "recovered" if self.in_outage() else "connected"
        if is_renewal:
            reason = "renewed"
        self._connection_id = link.connection_id
        self._stable_at = link.ready_at + BACKOFF_RESET_S
        delay_ms = (link.ready_at - link.opened_at) * 1000
        self._outbox.send(
            "metrics", payloads.connected(link.connection_id, delay_ms)
        )
        self._change_status("connected")
        self.enter("ready", reason)

    def left(self, link: Link) -> None:
        """A session has been closed, or could not be opened."""
        if link.was_ready:
            if link.loss is None:
                self._change_status("disconnected", "closed")
            else:
                self._change_status("disconnected", "lost", link.loss)
            connected_ms = (self._clock.monotonic() - link.ready_at) * 1000
            self._outbox.send(
                "metrics",
                payloads.disconnected(link.connection_id, connected_ms),
            )

    def fallback(self) -> None:
        """The voice speaks in place of the avatar."""
        self.enter("fallback", "noSession")

    def no_voice(self, problem: str = "") -> None:
        """There is no voice to speak in place of the avatar; `problem` is
        what it has raised, "" where it is just not connected."""
        self._outbox.log(
            "warn" if problem else "info",
            f"{problem or 'pcm_frame is not connected to an RTC extension'}: "
            "the agent is silent while the avatar cannot speak",
        )

    def outage(self, failure: Failure) -> None:
        """Report an outage, once."""
        if self._service_error is not None and (
            self._clock.monotonic()
            <= self._service_error_at + SERVICE_ERROR_DELAY_S
        ):
            # What the service said right before is the better explanation.
            failure = replace(
                failure,
                message=f"{failure.message}. Before that: "
                f"{self._service_error.message}",
            )
            self._discard_service_error()
        if not self.in_outage():
            self._outage_reported = True
            self.error(payloads.NON_FATAL, failure)
        self._stable_at = float("inf")
        if self.state != "fallback":  # which lasts until a session is ready
            self.enter("recovering", failure.code or "lost")

    def in_outage(self) -> bool:
        """Return whether a reported outage has not ended yet."""
        if self._clock.monotonic() >= self._stable_at:
            self._outage_reported = False
        return self._outage_reported

    def failed(self, failure: Failure) -> None:
        """Report that the avatar has stopped for good."""
        self._discard_service_error()  # the failure says more
        self.error(payloads.FATAL, failure)
        self._change_status("disconnected", "failed", failure)

    # What happens beside

    def service_error(self, failure: Failure) -> None:
        """Report a non-fatal service error, a moment later."""
        now = self._clock.monotonic()
        self._service_error = failure
        self._service_error_at = now
        if now >= self._next_service_error_at:
            self._next_service_error_at = now + SERVICE_ERROR_PAUSE_S
            self._service_error_due_at = now + SERVICE_ERROR_DELAY_S
            self._on_due(self._service_error_due_at)

    def tick(self, now: float, token_expires_at_s: Optional[float]) -> None:
        """Report what is due by `now`."""
        if now >= self._service_error_due_at:
            self.report_service_error()
        if token_expires_at_s is not None:
            self._watch_token(token_expires_at_s)

    def report_service_error(self) -> None:
        """Report the latest service error now, if one is due."""
        failure = self._service_error
        if failure is None or self._service_error_due_at == float("inf"):
            return
        self._discard_service_error()
        if self.in_outage():  # which has been reported
            self._outbox.log("warn", failure.message, "vendor")
        else:
            self.error(payloads.NON_FATAL, failure)

    def deadline(self) -> float:
        """Return when `tick` has something to do, inf for never."""
        return self._service_error_due_at

    def events(self, events: Iterable[Event]) -> None:
        """Report what happened to speech."""
        for event in events:
            if isinstance(event, Overflow):
                self._report_overflow(event)
            elif isinstance(event, TurnIdReused):
                self._outbox.log("warn", _turn_id_reused(event.turn))
            elif isinstance(event, AudioStart):
                self._outbox.send(
                    "avatar_audio_start", payloads.audio_start(event)
                )
            elif isinstance(event, AudioEnd):
                self._outbox.send("avatar_audio_end", payloads.audio_end(event))
            else:
                payload = payloads.utterance(
                    event, event.connection_id or self._connection_id
                )
                self._outbox.send("metrics", payload)
                fields = {**payload["metrics"], **payload["metadata"]}
                words = (f"{name}={fields[name]}" for name in fields)
                self._outbox.log(
                    "info", f"utterance: {' '.join(words)}", "", fields
                )

    def error(
        self, code: int, failure: Failure, turn: Optional[Turn] = None
    ) -> None:
        """Send and log an `error`."""
        self._outbox.send(
            "error",
            payloads.error(
                code,
                failure.message,
                turn=turn or self._current_turn(),
                vendor_code=failure.code,
                vendor_message=failure.vendor_message,
                phase=failure.phase,
                connection_id=failure.connection_id or self._connection_id,
                req_id=failure.req_id,
            ),
        )
        self._outbox.log(
            "error" if code == payloads.FATAL else "warn",
            failure.message,
            "vendor" if failure.vendor_message else "",
        )

    # Internals

    def _change_status(
        self, status: str, reason: str = "", failure: Optional[Failure] = None
    ) -> None:
        """Report the connection's status on change, as TEN's base classes
        do: "connecting", "connected" or "disconnected"."""
        if status == self._status:
            return
        last, self._status = self._status, status
        self._outbox.send(
            "connection_status_changed",
            payloads.connection_status(
                self._connection_id,
                status,
                last,
                reason,
                failure.code if failure is not None else "",
                failure.vendor_message if failure is not None else "",
            ),
        )

    def _discard_service_error(self) -> None:
        self._service_error = None
        self._service_error_due_at = float("inf")

    def _report_overflow(self, event: Overflow) -> None:
        has_ended = self.state == "ready" and not self.in_outage()
        reported, self._overflow_reported = (
            self._overflow_reported and not has_ended,
            not has_ended,
        )
        # Nobody waits for an avatar that has failed.
        if event.is_continuation or reported or self.state == "failed":
            self._outbox.log(
                "warn", f"{event.refused_s:.1f} s more were refused"
            )
            return
        self.error(
            payloads.NON_FATAL,
            Failure(
                f"{event.refused_s:.1f} s of speech were refused: more than "
                "max_buffered_speech_s waited already, because the avatar is "
                "not connected or takes audio too slowly",
                code="overflow",
            ),
            event.turn,
        )

    def _watch_token(self, expires_at_s: float) -> None:
        left_s = expires_at_s - self._clock.epoch()
        if self._token_expiry_reported or left_s > TOKEN_EXPIRY_WARNING_S:
            return
        self._token_expiry_reported = True
        expiry = f"expires in {left_s:.0f} s" if left_s > 0 else "has expired"
        self.error(
            payloads.NON_FATAL,
            Failure(
                f"params.agora_token {expiry}; Agora then removes the avatar "
                "from the channel. The extension cannot renew a given token: "
                "restart the graph with a new one, or set params.agora_appcert "
                "instead, so that the extension signs its own",
                code="agoraTokenEnds",
            ),
        )


def _turn_id_reused(turn: Turn) -> str:
    return (
        f"turn_id {turn.id} was cut by a barge-in more than "
        f"{TURN_REUSE_LIMIT_S:.0f} s ago, and its frames still arrive and are "
        "dropped. If the avatar is silent from now on, all turns carry this "
        "id: have the agent count them in metadata.turn_id, or leave it out"
    )
