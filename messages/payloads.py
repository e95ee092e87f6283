"""The payloads of the messages that go out.

Their form follows TEN's conventions (ModuleError and the like); texts that
come from outside must have been through a `Redactor` before.
"""

import math
from typing import Any, Literal, Optional

from ..speech import Turn, events

MODULE = "avatar"
VENDOR = "spatius"

CONFIGURATION = -1012
"""The configuration cannot be used; TEN's other avatars use this code, too."""

CONFIGURATION_VENDOR_CODE = "ValueError"
"""Its `vendor_info.code`: TEN's avatars give the exception's class."""

FATAL = -1000
"""The module has stopped for good; a new attempt cannot help."""

NON_FATAL = 1000
"""The module goes on by itself."""

NO_TURN = "0"
"""The `id` of an error, as TEN's avatars have it if no turn is known."""

Payload = dict[str, Any]

MS_PER_CREDIT = 6000
"""Spatius bills connected time, silence included: 10 credits a minute."""

VendorMetadata = dict[str, str]
"""The content of `metadata.vendor_metadata`: name, region, mode, avatar_id,
avatar_session_id and app_id; no empty value, no URL, no key."""

LogLevel = Literal["info", "warn", "error"]

_CODES = {"lost": NON_FATAL, "failed": FATAL}


def error(
    code: int,
    message: str,
    *,
    turn: Optional[Turn] = None,
    vendor_code: str = "",
    vendor_message: str = "",
    phase: str = "",
    connection_id: str = "",
    req_id: str = "",
    vendor_metadata: Optional[VendorMetadata] = None,
    more: Optional[Payload] = None,
) -> Payload:
    """Return an `error`; `code` is `CONFIGURATION`, `FATAL` or `NON_FATAL`.

    `more` is added to its metadata.
    """
    metadata = _metadata(
        turn,
        vendor_metadata,
        phase=phase,
        connection_id=connection_id,
        req_id=req_id,
    )
    return {
        "id": NO_TURN if turn is None else str(turn.id),
        "module": MODULE,
        "code": code,
        "message": message,
        "vendor_info": {
            "vendor": VENDOR,
            "code": vendor_code,
            "message": vendor_message,
        },
        "metadata": {**metadata, **(more or {})},
    }


def connected(
    connection_id: str,
    connect_delay_ms: float,
    vendor_metadata: Optional[VendorMetadata] = None,
) -> Payload:
    """Return the `metrics` of a connection."""
    return _metrics(
        connection_id,
        {
            "connect_delay_ms": round(connect_delay_ms),
            "connect_delay": round(connect_delay_ms),  # as TEN's TTS names it
        },
        _metadata(None, vendor_metadata, connection_id=connection_id),
    )


def credits_of(connected_ms: float) -> int:
    """Return the price of a session in credits: rounded up, at least 1."""
    return max(1, math.ceil(round(connected_ms) / MS_PER_CREDIT))


def disconnected(
    connection_id: str,
    connected_ms: float,
    credits_total: int,
    vendor_metadata: Optional[VendorMetadata] = None,
) -> Payload:
    """Return the `metrics` of a connection that has ended; `credits_total`
    is the price of all the sessions of this extension so far."""
    return _metrics(
        connection_id,
        {
            "connected_ms": round(connected_ms),
            "credits": credits_of(connected_ms),
            "credits_total": credits_total,
        },
        _metadata(None, vendor_metadata, connection_id=connection_id),
    )


def utterance(
    summary: events.Summary,
    connection_id: str,
    vendor_metadata: Optional[VendorMetadata] = None,
) -> Payload:
    """Return the `metrics` of one utterance: audio_ms = sent + voice + lost +
    dropped; resent_ms was written twice."""
    delay_ms = summary.first_audio_delay_ms
    latency_ms, pace = summary.playback_latency_ms, summary.delivery_pace
    return _metrics(
        summary.req_id,
        {
            "audio_ms": _tidy(summary.audio_ms),
            "sent_ms": _tidy(summary.sent_ms),
            "voice_ms": _tidy(summary.voice_ms),
            "voice_heard_ms": _tidy(summary.voice_heard_ms)
            if summary.voice_ms
            else None,
            "resent_ms": _tidy(summary.resent_ms),
            "lost_ms": _tidy(summary.lost_ms),
            "dropped_ms": _tidy(summary.dropped_ms),
            "dropped_by_flush_ms": _tidy(summary.flushed_ms),
            "dropped_by_overflow_ms": _tidy(summary.refused_ms),
            "dropped_by_stop_ms": _tidy(summary.stopped_ms),
            "first_audio_delay_ms": None
            if delay_ms is None
            else round(delay_ms, 1),
            "playback_latency_ms": None
            if latency_ms is None
            else round(latency_ms, 1),
            "delivery_pace": None if pace is None else round(pace, 2),
            "interrupted": summary.interrupted,
        },
        _metadata(
            summary.turn,
            vendor_metadata,
            connection_id=connection_id,
            req_id=summary.req_id,
            request_id=summary.request_id,
        ),
    )


def audio_start(event: events.AudioStart) -> Payload:
    """Return an `avatar_audio_start`: an utterance begins to be heard."""
    return {"request_id": event.request_id, "metadata": _metadata(event.turn)}


def audio_end(event: events.AudioEnd) -> Payload:
    """Return an `avatar_audio_end`; reason 1 = played to the end, 2 = cut by
    a flush, 3 = the rest of it was lost."""
    return {
        "request_id": event.request_id,
        "reason": event.reason,
        "playback_position_ms": round(event.playback_position_ms),
        "request_total_audio_duration_ms": round(event.total_ms),
        "source": event.source,
        "metadata": _metadata(event.turn),
    }


def connection_status(
    connection_id: str,
    current: str,
    last: str,
    reason: str,
    vendor_code: str,
    vendor_message: str,
    vendor_metadata: Optional[VendorMetadata] = None,
) -> Payload:
    """Return a `connection_status_changed`, as TEN's speech recognition and
    TTS base classes send it; `reason` is "lost" or "failed" for a failure."""
    return {
        "id": connection_id,
        "module": MODULE,
        "vendor": VENDOR,
        "vendor_info": {
            "vendor": VENDOR,
            "code": vendor_code,
            "message": vendor_message,
        },
        "current": current,
        "last": last,
        "code": _CODES.get(reason, 0),
        "message": reason,
        "metadata": _metadata(
            None, vendor_metadata, connection_id=connection_id
        ),
    }


def state(name: str, connection_id: str, reason: str) -> Payload:
    """Return an `avatar_state`: `name` is connecting, ready, recovering,
    fallback, asleep, failed or closed."""
    return {"state": name, "connection_id": connection_id, "reason": reason}


def _metrics(id_: str, values: Payload, metadata: Payload) -> Payload:
    # TEN has no null: unknown values are left out.
    known = {name: value for name, value in values.items() if value is not None}
    return {
        "id": id_,
        "module": MODULE,
        "vendor": VENDOR,
        "metrics": known,
        "metadata": metadata,
    }


def known(values: dict[str, str]) -> dict[str, str]:
    """Return the values that are not empty."""
    return {name: value for name, value in values.items() if value}


def _metadata(
    turn: Optional[Turn],
    vendor_metadata: Optional[VendorMetadata] = None,
    **ids: str,
) -> Payload:
    metadata: Payload = known(ids)
    if vendor_metadata:
        metadata["vendor_metadata"] = vendor_metadata
    if turn is not None:
        metadata["turn_id"] = turn.id
        if turn.session is not None:
            metadata["session_id"] = turn.session
    return metadata


def _tidy(duration_ms: float) -> float:
    """Return whole milliseconds as such, others to the microsecond."""
    return (
        int(duration_ms) if duration_ms.is_integer() else round(duration_ms, 3)
    )
