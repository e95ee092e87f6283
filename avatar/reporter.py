"""Reports for operators and for the graph: each thing once per episode.

Renders only: no decision about the avatar is made here.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Optional, Protocol

from ..clock import Clock
from ..messages import payloads
from ..session import Failure, Session
from ..speech import Turn
from ..speech import events as speech_events
from .events import OutageLasts

SERVICE_ERROR_DELAY_S = 0.5
"""A non-fatal service error is reported this much later: it may be the reason
of a loss, and then it is a part of that report."""

SERVICE_ERROR_PAUSES_S = (10.0, 60.0, 300.0)
"""How long after a report of a non-fatal service error the next one follows
at the earliest; the last pause counts from then on."""

TOKEN_EXPIRY_WARNING_S = 300.0
"""How long before its end the expiry of a given Agora token is reported."""

TOKEN_POLL_S = 10.0
"""How often the expiry is checked: the machine's time may be set anew."""


class Outbox(Protocol):
    """Takes the reports. All of it returns at once."""

    def send(self, name: str, payload: payloads.Payload) -> None:
        """Send a message of this name."""
        ...

    def log(
        self,
        level: payloads.LogLevel,
        text: str,
        category: str = "",
        fields: Optional[payloads.Payload] = None,
    ) -> None:
        """Log a line, with `fields` for programs that read the log."""
        ...


class Reporter:
    """Renders reports, and sends and logs them through `outbox`.

    `token_expires_at_s` is the expiry of a given Agora token, in seconds
    since the epoch; `vendor_metadata` stands in the metadata of reports.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        token_expires_at_s: Optional[float] = None,
        vendor_metadata: Optional[payloads.VendorMetadata] = None,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._token_expires_at_s = token_expires_at_s
        self._vendor_metadata = vendor_metadata or {}
        self._connection_id = ""
        self._credits_total = 0  # of all sessions that have ended
        self._status = "disconnected"
        self._overflow_reported = False
        self._no_voice_reported = False
        self._token_due_at = float("-inf")  # when its expiry is checked
        if token_expires_at_s is None:
            self._token_due_at = float("inf")
        self._service_error: Optional[Failure] = None  # the latest
        self._service_error_at = float("-inf")
        self._service_error_due_at = float("inf")
        self._next_service_error_at = float("-inf")
        self._service_errors = 0  # reported, without a long pause between

    @property
    def due_at(self) -> float:
        """When `tick` has something to do, inf for never."""
        return min(self._service_error_due_at, self._token_due_at)

    def tick(self, now: float, turn: Optional[Turn], in_outage: bool) -> None:
        """Report the things that are due by `now`."""
        if now >= self._service_error_due_at:
            self.report_service_error(turn, in_outage)
        if now >= self._token_due_at and self._token_expires_at_s is not None:
            self._token_due_at = now + TOKEN_POLL_S
            self._watch_token(self._token_expires_at_s, turn)

    # States and sessions

    def state(self, name: str, reason: str) -> None:
        """Report a new state."""
        self._outbox.send(
            "avatar_state", payloads.state(name, self._connection_id, reason)
        )
        self._outbox.log(
            "info", f"{name} ({reason}) {self._connection_id}".rstrip()
        )
        if name in ("asleep", "failed", "closed"):
            self._change_status("disconnected", reason)

    def connecting(self) -> None:
        """Report an attempt to open a session."""
        self._connection_id = ""
        self._change_status("connecting")

    def opened(self, session: Session) -> None:
        """Report a session that is ready."""
        self._connection_id = session.connection_id
        delay_ms = (session.ready_at - session.opened_at) * 1000
        self._outbox.send(
            "metrics",
            payloads.connected(session.connection_id, delay_ms, self._vendor()),
        )
        self._change_status("connected")

    def left(self, session: Session, connected_s: float) -> None:
        """Report a session that had been ready and is closed."""
        if session.loss is None:
            self._change_status("disconnected", "closed")
        connected_ms = connected_s * 1000
        self._credits_total += payloads.credits_of(connected_ms)
        payload = payloads.disconnected(
            session.connection_id,
            connected_ms,
            self._credits_total,
            self._vendor(),
        )
        self._outbox.send("metrics", payload)
        fields = {
            **payload["metrics"],
            "connection_id": session.connection_id,
        }
        self._log_fields("usage", fields, "usage")

    def lost(
        self,
        failure: Failure,
        begins_outage: bool,
        turn: Optional[Turn],
        now: float,
    ) -> None:
        """Report a loss or a failed attempt: an error once per outage."""
        if self._service_error is not None and (
            now <= self._service_error_at + SERVICE_ERROR_DELAY_S
        ):
            # The service's error right before is the better explanation.
            failure = replace(
                failure,
                message=f"{failure.message}. Before that: "
                f"{self._service_error.message}",
            )
            self._discard_service_error()
        if begins_outage:
            self._error(payloads.NON_FATAL, failure, turn)
        self._change_status("disconnected", "lost", failure)

    def outage_lasts(self, outage: OutageLasts, turn: Optional[Turn]) -> None:
        """Report once more that there is no stable session."""
        failure = replace(
            outage.failure,
            message=f"the avatar has had no stable session for "
            f"{outage.outage_s:.0f} s and {outage.attempts} attempts; the next "
            f"one follows in {outage.next_attempt_in_s:.0f} s. The latest "
            f"failure: {outage.failure.message}",
        )
        self._error(
            payloads.NON_FATAL,
            failure,
            turn,
            outage_s=round(outage.outage_s),
            attempts=outage.attempts,
            next_attempt_in_s=round(outage.next_attempt_in_s, 1),
        )

    def failed(self, failure: Failure, turn: Optional[Turn]) -> None:
        """Report that the avatar has stopped for good."""
        self._discard_service_error()  # the failure says more
        code = payloads.FATAL
        if failure.is_configuration:
            code = payloads.CONFIGURATION
        self._error(code, failure, turn)
        self._change_status("disconnected", "failed", failure)

    def no_voice(self, problem: str) -> None:
        """Report that there is no voice to speak in place of the avatar, once.

        `problem` is the error that it has raised, "" if it is not connected.
        """
        if self._no_voice_reported:
            return
        self._no_voice_reported = True
        self._outbox.log(
            "warn" if problem else "info",
            f"{problem or 'pcm_frame is not connected to an RTC extension'}: "
            "the agent is silent while the avatar cannot speak",
        )

    # Errors of the service

    def service_error(self, failure: Failure, at_s: float) -> None:
        """Have a non-fatal service error reported, a moment later."""
        if at_s >= self._service_error_at + 2 * SERVICE_ERROR_PAUSES_S[-1]:
            self._service_errors = 0
        self._service_error = failure
        self._service_error_at = at_s
        if at_s >= self._next_service_error_at:
            pauses = SERVICE_ERROR_PAUSES_S
            pause_s = pauses[min(self._service_errors, len(pauses) - 1)]
            self._service_errors += 1
            self._next_service_error_at = at_s + pause_s
            self._service_error_due_at = at_s + SERVICE_ERROR_DELAY_S

    def report_service_error(
        self, turn: Optional[Turn], in_outage: bool
    ) -> None:
        """Report the service error that is kept for it, if there is one."""
        failure = self._service_error
        if failure is None or self._service_error_due_at == float("inf"):
            return
        self._discard_service_error()
        if in_outage:  # which has been reported
            self._outbox.log("warn", failure.message, "vendor")
        else:
            self._error(payloads.NON_FATAL, failure, turn)

    def _discard_service_error(self) -> None:
        self._service_error = None
        self._service_error_due_at = float("inf")

    # Speech

    def events(
        self,
        events: Iterable[speech_events.SpeechEvent],
        *,
        can_speak: bool,
        has_failed: bool,
    ) -> None:
        """Report the events of the speech.

        `can_speak`: the avatar is connected; `has_failed`: for good.
        """
        for event in events:
            if isinstance(event, speech_events.Overflow):
                self._report_overflow(event, can_speak, has_failed)
            elif isinstance(event, speech_events.TurnIdReused):
                self._outbox.log("warn", _turn_id_reused(event))
            elif isinstance(event, speech_events.SpeechLost):
                self._error(payloads.NON_FATAL, _lost(event), event.turn)
            elif isinstance(event, speech_events.SlowDelivery):
                self._outbox.log("warn", _slow_delivery(event))
            elif isinstance(event, speech_events.Preempted):
                self._outbox.log("warn", _preempted(event))
            elif isinstance(event, speech_events.AudioStart):
                self._outbox.send(
                    "avatar_audio_start", payloads.audio_start(event)
                )
            elif isinstance(event, speech_events.AudioEnd):
                self._outbox.send("avatar_audio_end", payloads.audio_end(event))
            else:
                payload = payloads.utterance(
                    event,
                    event.connection_id or self._connection_id,
                    self._vendor(),
                )
                self._outbox.send("metrics", payload)
                fields = {**payload["metrics"], **payload["metadata"]}
                fields.pop("vendor_metadata", None)
                self._log_fields("utterance", fields)

    def _report_overflow(
        self, event: speech_events.Overflow, can_speak: bool, has_failed: bool
    ) -> None:
        was_reported = self._overflow_reported and not can_speak
        self._overflow_reported = not can_speak
        # An avatar that has failed is not waited for.
        if event.is_continuation or was_reported or has_failed:
            self._outbox.log(
                "warn", f"{event.refused_s:.1f} s more were refused"
            )
            return
        self._error(
            payloads.NON_FATAL,
            Failure(
                f"{event.refused_s:.1f} s of speech were refused: more than "
                "max_buffered_speech_s waited already, because the avatar is "
                "not connected or takes audio too slowly",
                code="overflow",
            ),
            event.turn,
        )

    # Internals

    def _vendor(self) -> payloads.VendorMetadata:
        return payloads.known(
            {**self._vendor_metadata, "avatar_session_id": self._connection_id}
        )

    def _error(
        self,
        code: int,
        failure: Failure,
        turn: Optional[Turn],
        **more: float,
    ) -> None:
        """Send and log an `error`; `more` stands in its metadata."""
        vendor_code = failure.code
        if code == payloads.CONFIGURATION:
            vendor_code = payloads.CONFIGURATION_VENDOR_CODE
        self._outbox.send(
            "error",
            payloads.error(
                code,
                failure.message,
                turn=turn,
                vendor_code=vendor_code,
                vendor_message=failure.vendor_message,
                phase=failure.phase,
                connection_id=failure.connection_id or self._connection_id,
                req_id=failure.req_id,
                vendor_metadata=self._vendor(),
                more=more,
            ),
        )
        self._outbox.log(
            "warn" if code == payloads.NON_FATAL else "error",
            failure.message,
            "vendor" if failure.vendor_message else "",
        )

    def _log_fields(
        self, title: str, fields: payloads.Payload, category: str = ""
    ) -> None:
        """Log a line that both people and programs can read."""
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        self._outbox.log("info", f"{title}: {words}", category, fields)

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
                self._vendor(),
            ),
        )

    def _watch_token(self, expires_at_s: float, turn: Optional[Turn]) -> None:
        left_s = expires_at_s - self._clock.epoch()
        if left_s > TOKEN_EXPIRY_WARNING_S:
            return
        self._token_due_at = float("inf")  # once
        expiry = f"expires in {left_s:.0f} s" if left_s > 0 else "has expired"
        self._error(
            payloads.NON_FATAL,
            Failure(
                f"params.agora_token {expiry}; Agora then removes the avatar "
                "from the channel. The extension cannot renew a given token: "
                "restart the graph with a new one, or set params.agora_appcert "
                "instead, so that the extension signs its own",
                code="agoraTokenEnds",
            ),
            turn,
        )


def _turn_id_reused(event: speech_events.TurnIdReused) -> str:
    return (
        f"turn_id {event.turn.id} was cut by a barge-in more than "
        f"{event.limit_s:.0f} s ago and is used again, without a "
        "tts_audio_start with a request_id of its own: speech of this turn is "
        "dropped for so long after each barge-in. Have the agent count its "
        "turns in metadata.turn_id, or leave it out"
    )


def _lost(event: speech_events.SpeechLost) -> Failure:
    return Failure(
        f"{event.lost_s:.1f} s of speech were lost: they had been written to "
        "a connection that is gone, and were not kept or are too old to be "
        "said again (params.max_buffered_speech_s, params.resume_within_s)",
        code="speechLost",
    )


def _slow_delivery(event: speech_events.SlowDelivery) -> str:
    return (
        f"the TTS delivers {event.pace:.2f} s of audio in a second: the "
        "service may run out of it and stall. Use a TTS that is faster than "
        "real time, or set params.prebuffer_ms"
    )


def _preempted(event: speech_events.Preempted) -> str:
    return (
        f"Spatius interrupted the request {event.req_id} by itself "
        f"({event.reason or 'it gave no reason'}): its rest is said again, and "
        "from now on each request waits until the one before has ended, unless "
        "params.one_request_at_a_time is false"
    )
