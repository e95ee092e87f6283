"""The messages out have the form that TEN's conventions give them."""

import json
from typing import Any

import pytest
from spatius_avatar_python.messages import payloads as reports
from spatius_avatar_python.speech import Turn
from spatius_avatar_python.speech.events import AudioEnd, AudioStart, Summary

VENDOR_METADATA = {
    "name": "spatius",
    "avatar_id": "avatar",
    "avatar_session_id": "conn-1",
}

TURN = Turn("session-1", 3)


def summary(**changed: Any) -> Summary:
    values: dict[str, Any] = {
        "turn": TURN,
        "connection_id": "conn-1",
        "req_id": "req-1",
        "audio_ms": 1000.0,
        "sent_ms": 700.0,
        "flushed_ms": 200.0,
        "refused_ms": 100.0,
        "first_audio_delay_ms": 1.26,
        "interrupted": True,
        "voice_ms": 30.0,
        "voice_heard_ms": 25.0,
        "lost_ms": 10.0,
        "resent_ms": 20.0,
    }
    return Summary(**{**values, **changed})


def status(reason: str, code: str = "", message: str = "") -> dict[str, Any]:
    return reports.connection_status(
        "conn-1", "disconnected", "connected", reason, code, message
    )


def audio_end(**changed: Any) -> AudioEnd:
    values: dict[str, Any] = {
        "turn": TURN,
        "request_id": "tts-1",
        "reason": 2,
        "playback_position_ms": 399.6,
        "total_ms": 1000.4,
        "source": "service",
    }
    return AudioEnd(**{**values, **changed})


def every_payload() -> dict[str, dict[str, Any]]:
    """Return payloads with all that is known, and with nothing known."""
    return {
        "error": reports.error(
            reports.NON_FATAL,
            "the connection was lost",
            turn=TURN,
            vendor_code="1011",
            vendor_message="closed",
            phase="websocket_runtime",
            connection_id="conn-1",
            req_id="req-1",
            vendor_metadata=VENDOR_METADATA,
            more={"attempts": 3},
        ),
        "bare error": reports.error(reports.FATAL, "wrong key"),
        "connected": reports.connected("conn-1", 123.4),
        "disconnected": reports.disconnected("conn-1", 61234.4, 35),
        "status": status("lost", "1011", "closed"),
        "audio start": reports.audio_start(AudioStart(TURN, "tts-1")),
        "audio end": reports.audio_end(audio_end(turn=TURN)),
        "bare audio end": reports.audio_end(audio_end(turn=None)),
        "utterance": reports.utterance(summary(), "conn-1"),
        "bare utterance": reports.utterance(
            summary(
                turn=None, req_id="", sent_ms=0.0, first_audio_delay_ms=None
            ),
            "",
        ),
        "state": reports.state("ready", "conn-1", "connected"),
    }


def values_in(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in values_in(item)]
    return [tree]


@pytest.mark.parametrize("name", every_payload())
def test_payload_is_json_without_nulls(name):
    """TEN's messages hold JSON, and no null."""
    payload = every_payload()[name]
    assert json.loads(json.dumps(payload)) == payload
    for value in values_in(payload):
        assert isinstance(value, (str, int, float, bool))


EXPECTED: dict[str, dict[str, Any]] = {
    "error": {
        "id": "3",
        "module": "avatar",
        "code": 1000,
        "message": "the connection was lost",
        "vendor_info": {
            "vendor": "spatius",
            "code": "1011",
            "message": "closed",
        },
        "metadata": {
            "session_id": "session-1",
            "turn_id": 3,
            "phase": "websocket_runtime",
            "connection_id": "conn-1",
            "req_id": "req-1",
            "vendor_metadata": VENDOR_METADATA,
            "attempts": 3,
        },
    },
    "bare error": {
        "id": "0",
        "module": "avatar",
        "code": -1000,
        "message": "wrong key",
        "vendor_info": {"vendor": "spatius", "code": "", "message": ""},
        "metadata": {},
    },
    "connected": {
        "id": "conn-1",
        "module": "avatar",
        "vendor": "spatius",
        "metrics": {"connect_delay_ms": 123, "connect_delay": 123},
        "metadata": {"connection_id": "conn-1"},
    },
    "disconnected": {
        "id": "conn-1",
        "module": "avatar",
        "vendor": "spatius",
        "metrics": {
            "connected_ms": 61234,
            "credits": 11,
            "credits_total": 35,
        },
        "metadata": {"connection_id": "conn-1"},
    },
    "status": {
        "id": "conn-1",
        "module": "avatar",
        "vendor": "spatius",
        "vendor_info": {
            "vendor": "spatius",
            "code": "1011",
            "message": "closed",
        },
        "current": "disconnected",
        "last": "connected",
        "code": 1000,
        "message": "lost",
        "metadata": {"connection_id": "conn-1"},
    },
    "audio start": {
        "request_id": "tts-1",
        "metadata": {"session_id": "session-1", "turn_id": 3},
    },
    "audio end": {
        "request_id": "tts-1",
        "reason": 2,
        "playback_position_ms": 400,
        "request_total_audio_duration_ms": 1000,
        "source": "service",
        "metadata": {"session_id": "session-1", "turn_id": 3},
    },
    "utterance": {
        "id": "req-1",
        "module": "avatar",
        "vendor": "spatius",
        "metrics": {
            "audio_ms": 1000,
            "sent_ms": 700,
            "voice_ms": 30,
            "voice_heard_ms": 25,
            "resent_ms": 20,
            "lost_ms": 10,
            "dropped_ms": 300,
            "dropped_by_flush_ms": 200,
            "dropped_by_overflow_ms": 100,
            "dropped_by_stop_ms": 0,
            "first_audio_delay_ms": 1.3,
            "interrupted": True,
        },
        "metadata": {
            "session_id": "session-1",
            "turn_id": 3,
            "connection_id": "conn-1",
            "req_id": "req-1",
        },
    },
    "state": {
        "state": "ready",
        "connection_id": "conn-1",
        "reason": "connected",
    },
}
"""The form of a ModuleError, and those that TEN's speech recognition and TTS
send; unknown values are left out."""


@pytest.mark.parametrize("name", EXPECTED)
def test_payload_has_its_form(name):
    """Names and values are those that TEN and its TTS have."""
    assert every_payload()[name] == EXPECTED[name]


@pytest.mark.parametrize(
    ("turn", "id_"),
    [
        (None, "0"),
        (Turn("s", 3), "3"),
        (Turn("s", 0), "0"),
        (Turn(None, "t-3"), "t-3"),
    ],
)
def test_id_of_an_error_is_that_of_its_turn(turn, id_):
    """As text, as TEN's avatars have it; no request or connection stands for
    it."""
    payload = reports.error(
        1000, "lost", turn=turn, connection_id="conn-1", req_id="req-1"
    )
    assert payload["id"] == id_


@pytest.mark.parametrize(
    "payload",
    [
        reports.connected("conn-1", 1.0, VENDOR_METADATA),
        reports.disconnected("conn-1", 1.0, 1, VENDOR_METADATA),
        reports.error(1000, "lost", vendor_metadata=VENDOR_METADATA),
        reports.connection_status(
            "conn-1", "connected", "connecting", "", "", "", VENDOR_METADATA
        ),
    ],
)
def test_reports_name_the_vendor_and_the_avatar(payload):
    """In the metadata, as TEN's own avatars do."""
    assert payload["metadata"]["vendor_metadata"] == VENDOR_METADATA


def test_values_that_are_empty_are_not_known():
    """TEN's checks allow no empty value."""
    assert reports.known({"name": "spatius", "region": ""}) == {
        "name": "spatius"
    }


@pytest.mark.parametrize(
    ("turn", "metadata"),
    [
        (None, {}),
        (Turn("s", 3), {"session_id": "s", "turn_id": 3}),
        (Turn("s", 0), {"session_id": "s", "turn_id": 0}),
        (Turn("s", "t-3"), {"session_id": "s", "turn_id": "t-3"}),
        (Turn(None, 3), {"turn_id": 3}),
    ],
)
def test_metadata_names_the_turn(turn, metadata):
    """The turn is reported as the frames had it, without a null."""
    assert reports.error(1000, "lost", turn=turn)["metadata"] == metadata
    payload = reports.utterance(summary(turn=turn, req_id=""), "")
    assert payload["metadata"] == metadata


@pytest.mark.parametrize(
    ("connected_ms", "price"),
    [
        (0.0, 1),
        (1.0, 1),
        (6000.0, 1),
        (6000.4, 1),  # reported as 6000
        (6001.0, 2),
        (60_000.0, 10),
        (600_001.0, 101),
    ],
)
def test_price_of_a_session(connected_ms, price):
    """Ten credits a minute, rounded up, one at least."""
    assert reports.credits_of(connected_ms) == price


@pytest.mark.parametrize(
    ("reason", "code"),
    [("lost", 1000), ("failed", -1000), ("closed", 0), ("idle", 0), ("", 0)],
)
def test_status_has_the_code_of_its_reason(reason, code):
    """0 without a failure."""
    assert status(reason)["code"] == code


def test_delay_that_is_not_known_is_left_out():
    """An utterance of which nothing was sent has no delay to report."""
    metrics = every_payload()["bare utterance"]["metrics"]
    assert "first_audio_delay_ms" not in metrics
    assert metrics["sent_ms"] == 0


@pytest.mark.parametrize(
    ("exact_ms", "reported"),
    [(20.0, 20), (0.0, 0), (1 / 24, 0.042), (1 / 44.1, 0.023)],
)
def test_durations_are_reported_to_the_microsecond(exact_ms, reported):
    """Whole milliseconds are whole numbers; a sample is not lost."""
    payload = reports.utterance(summary(audio_ms=exact_ms), "")
    assert payload["metrics"]["audio_ms"] == reported
    assert isinstance(payload["metrics"]["audio_ms"], type(reported))
