"""The payloads of the messages out: `error`, `metrics`, `avatar_state`.

Their form follows TEN's conventions (ModuleError and the like); texts that
come from outside must have been through a `Redactor` before.
"""

from typing import Any, Literal, Optional

from ..speech import AudioEnd, AudioStart, Summary, Turn

MODULE = "avatar"
VENDOR = "spatius"

FATAL = -1000
"""The module has stopped for good; somebody has to change something."""

NON_FATAL = 1000
"""The module goes on by itself."""

Payload = dict[str, Any]

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
) -> Payload:
    """Return an `error`; `code` is `FATAL` or `NON_FATAL`."""
    metadata = _metadata(
        turn, phase=phase, connection_id=connection_id, req_id=req_id
    )
    of_vendor = _known(
        code=vendor_code,
        phase=phase,
        connection_id=connection_id,
        req_id=req_id,
    )
    if of_vendor:
        metadata["vendor_metadata"] = of_vendor
    return {
        "id": req_id or connection_id,
        "module": MODULE,
        "code": code,
        "message": message,
        "vendor_info": {
            "vendor": VENDOR,
            "code": vendor_code,
            "message": vendor_message,
        },
        "metadata": metadata,
    }


def connected(connection_id: str, connect_delay_ms: float) -> Payload:
    """Return the `metrics` of a connection."""
    return _metrics(
        connection_id,
        {
            "connect_delay_ms": round(connect_delay_ms),
            "connect_delay": round(connect_delay_ms),  # as TEN's TTS names it
        },
        _metadata(None, connection_id=connection_id),
    )


def disconnected(connection_id: str, connected_ms: float) -> Payload:
    """Return the `metrics` of a connection that has ended."""
    return _metrics(
        connection_id,
        {"connected_ms": round(connected_ms)},
        _metadata(None, connection_id=connection_id),
    )


def utterance(summary: Summary, connection_id: str) -> Payload:
    """Return the `metrics` of one utterance: audio_ms = sent + voice + lost +
    dropped; resent_ms is what was written twice."""
    delay_ms = summary.first_audio_delay_ms
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
            "first_audio_delay_ms": None
            if delay_ms is None
            else round(delay_ms, 1),
            "interrupted": summary.interrupted,
        },
        _metadata(
            summary.turn, connection_id=connection_id, req_id=summary.req_id
        ),
    )


def audio_start(event: AudioStart) -> Payload:
    """Return an `avatar_audio_start`: an utterance begins to be heard."""
    return {"request_id": event.request_id, "metadata": _metadata(event.turn)}


def audio_end(event: AudioEnd) -> Payload:
    """Return an `avatar_audio_end`; reason 1 = played to the end, 2 = cut by
    a flush, 3 = what was left of it was lost."""
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
        "metadata": _metadata(None, connection_id=connection_id),
    }


def state(name: str, connection_id: str, reason: str) -> Payload:
    """Return an `avatar_state`: `name` is connecting, ready, recovering,
    fallback, asleep, failed or closed."""
    return {"state": name, "connection_id": connection_id, "reason": reason}


def _metrics(id_: str, values: Payload, metadata: Payload) -> Payload:
    # TEN has no null: what is not known is left out.
    known = {name: value for name, value in values.items() if value is not None}
    return {
        "id": id_,
        "module": MODULE,
        "vendor": VENDOR,
        "metrics": known,
        "metadata": metadata,
    }


def _known(**values: str) -> Payload:
    return {name: value for name, value in values.items() if value}


def _metadata(turn: Optional[Turn], **known: str) -> Payload:
    metadata = _known(**known)
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
