"""The meaning of an error, read from its attributes alone.

Which errors the SDKs really raise is shown in service/test_sdk.py.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spatius_avatar_python.session.errors import (
    MAX_RETRY_AFTER_S,
    ConnectionEnded,
    Surroundings,
    failure_of,
)

ROOT = Path(__file__).resolve().parents[2]


class Error(Exception):
    """An error with the attributes that the SDKs give theirs."""

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        for name, value in attributes.items():
            setattr(self, name, value)


def running(code: str, message: str = "", **attributes: Any) -> Error:
    """Return an error of a session that is open."""
    return Error(message, code=code, phase="websocket_runtime", **attributes)


@pytest.mark.parametrize(
    ("code", "fatal", "ends_session"),
    [
        ("appIDUnrecognized", True, True),
        ("appIDMismatch", True, True),
        ("avatarNotFound", True, True),
        ("billingRequired", True, True),
        ("creditsExhausted", True, True),
        ("unsupportedSampleRate", True, True),
        ("invalidEgressConfig", True, True),
        ("sessionTokenExpired", False, True),
        ("sessionTokenInvalid", False, True),
        ("sessionDurationExceeded", False, True),
        ("idleTimeout", False, True),
        ("concurrencyLimit", False, True),
        ("serviceUnavailable", False, True),
        ("sessionRefused", True, True),
        ("egressUnavailable", False, True),
        ("connectionFailed", False, True),
        ("connectionClosed", False, True),
        ("unknown", False, True),
        ("aCodeOfTomorrow", False, True),
        ("upstreamError", False, False),
        ("protocolError", False, False),
        ("serverError", False, False),
        ("invalidRequest", False, False),
        ("", False, False),
    ],
)
def test_outcome_of_each_code(code, fatal, ends_session):
    """A code is final, recovered from, or leaves the session running."""
    failure = failure_of(running(code))
    assert (failure.fatal, failure.ends_session) == (fatal, ends_session)
    assert failure.code == code


@pytest.mark.parametrize("phase", ["websocket_handshake", "websocket_send"])
def test_harmless_error_outside_a_running_session_ends_it(phase):
    """An error that a running session survives ends one that met a call."""
    failure = failure_of(Error("boom", code="serverError", phase=phase))
    assert failure.ends_session
    assert not failure.fatal


@pytest.mark.parametrize("close_code", [None, 1008, 1011, 4500])
@pytest.mark.parametrize(
    "words", ["driven server request failed", "unexpected message type"]
)
def test_closed_connection_has_ended_for_any_close_code(words, close_code):
    """These words stand for errors that a running session survives."""
    for error in (
        Error(
            words,
            code="connectionClosed",
            phase="websocket_runtime",
            close_code=close_code,
        ),
        ConnectionEnded(close_code, words, ""),
    ):
        failure = failure_of(error)
        assert failure.ends_session
        assert not failure.fatal
        assert words in failure.message


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("agora_egress: token is expired", "invalidEgressConfig"),
        ("Session Token Expired", "sessionTokenExpired"),
        ("egress: empty token", "invalidEgressConfig"),
        ("egress: credits exhausted", "creditsExhausted"),
    ],
)
def test_tokens_of_the_egress_are_not_the_sessions(words, code):
    """Only a token that is not Agora's is the session's."""
    assert failure_of(running("invalidEgressConfig", words)).code == code


@pytest.mark.parametrize(
    ("close_code", "code"),
    [
        (1001, "1001"),
        (1012, "1012"),
        (1000, "connectionClosed"),
        (1005, "connectionClosed"),
        (1006, "connectionClosed"),
        (None, "connectionClosed"),
        ("1001", "connectionClosed"),
    ],
)
def test_clean_close_has_its_code_where_it_says_something(close_code, code):
    """A restart of the service (1001, 1012) differs from any other close."""
    failure = failure_of(ConnectionEnded(close_code, None, "conn-1"))
    assert failure.code == code
    assert failure.ends_session
    assert not failure.fatal
    assert failure.connection_id == "conn-1"
    assert failure.vendor_message == ""
    assert "was lost" in failure.message


def test_reason_of_a_clean_close_is_read():
    """A service may say why it closes in the close's own words."""
    ended = ConnectionEnded(1000, "no audio input for 60s", "conn-1")
    failure = failure_of(ended)
    assert failure.code == "idleTimeout"
    assert failure.vendor_message == "no audio input for 60s"


def test_too_many_sessions_are_retried_slowly():
    """Nothing but the end of another session helps; the likely cause is named,
    whichever way the service says so."""
    for error in (
        running("connectionClosed", close_code=4003),
        running("serverError", server_code="4003"),
        Error("", code="x", phase="session_token", http_status=429),
        Error("", code="x", phase="websocket_connect", http_status=429),
    ):
        failure = failure_of(error)
        assert failure.retry_slowly
        assert not failure.fatal
        assert "limit of concurrent sessions of your plan" in failure.message
    assert not failure_of(running("connectionClosed")).retry_slowly


def test_idle_session_is_no_outage():
    """A session that was ended for lack of speech is recognized."""
    failure = failure_of(running("serverError", "no audio input for 60s"))
    assert failure.idle
    assert failure.ends_session
    assert not failure_of(running("connectionClosed")).idle


@pytest.mark.parametrize(
    "error",
    [
        running("connectionClosed", close_code=4010),
        running("serverError", server_code="4010"),
        running("sessionTokenInvalid", close_code=4010, server_code="4010"),
        Error("", code="x", phase="websocket_handshake", server_code="4010"),
        Error("", code="x", phase="websocket_connect", http_status=401),
    ],
)
def test_refused_session_token_is_counted(error):
    """Close code 4010 has the meaning of a 401 of the upgrade."""
    failure = failure_of(error)
    assert failure.rejected_upgrade
    assert not failure.fatal
    assert failure.ends_session
    assert "session token was refused" in failure.message


@pytest.mark.parametrize("phase", ["session_token", "websocket_connect"])
def test_404_blames_urls_of_ones_own_first(phase):
    """A wrong URL is likelier than an unknown avatar where it was given."""
    param = {
        "session_token": "params.console_endpoint_url",
        "websocket_connect": "params.ingress_endpoint_url",
    }[phase]
    error = Error("", code="appIDUnrecognized", phase=phase, http_status=404)
    blamed = failure_of(error, Surroundings(own_endpoints=True))
    assert blamed.fatal
    assert param in blamed.message
    assert blamed.message.index(param) < blamed.message.index("avatar_id")
    assert param not in failure_of(error).message


def test_404_that_names_the_avatar_blames_no_url():
    """The service's own words are believed."""
    error = Error(
        "avatar not found",
        code="avatarNotFound",
        phase="websocket_connect",
        http_status=404,
    )
    failure = failure_of(error, Surroundings(own_endpoints=True))
    assert "endpoint_url" not in failure.message
    assert failure.code == "avatarNotFound"


def test_answer_to_the_upgrade_is_read():
    """Where the SDK has the status only, the answer's body says the cause."""

    class Response:
        body = b"app id mismatch"

    error = Error(
        "HTTP 400",
        code="connectionFailed",
        phase="websocket_connect",
        http_status=400,
    )
    error.__cause__ = Error(response=Response())
    assert failure_of(error).code == "appIDMismatch"


@pytest.mark.parametrize(
    ("server_code", "words", "code"),
    [
        ("3", "agora_egress: bad", "invalidEgressConfig"),
        ("3", "one request", "invalidRequest"),
        ("14", "egress down", "egressUnavailable"),
        ("16", "not allowed", "invalidEgressConfig"),
        ("13", "boom", "serverError"),
        ("13", "driven server request failed", "upstreamError"),
        ("999999999999", "", "serverError"),
        ("four", "", "serverError"),
    ],
)
def test_server_codes_of_an_sdk_that_knows_none(server_code, words, code):
    """`spatialreal` gives the service's code and words, not their meaning."""
    error = running("serverError", words, server_code=server_code)
    assert failure_of(error).code == code


def test_close_code_in_an_error_message_is_no_close():
    """`spatialreal` repeats a server_error's code as that of a close."""
    failure = failure_of(
        running("creditsExhausted", server_code="4001", close_code=4001)
    )
    assert failure.code == "creditsExhausted"
    assert failure.fatal
    assert "close code" not in failure.message


def test_token_in_the_consoles_words_is_not_the_sessions():
    """There is no session token yet when the console answers."""
    error = Error("empty token", code="invalidRequest", phase="session_token")
    assert failure_of(error).code == "invalidRequest"


@pytest.mark.parametrize("status", [500, 503])
def test_status_of_an_sdk_that_says_it_could_not_connect(status):
    """An answer of the ingress is no lack of a network."""
    error = Error(
        f"HTTP {status}",
        code="connectionFailed",
        phase="websocket_connect",
        http_status=status,
    )
    failure = failure_of(error)
    assert failure.code == "serverError"
    assert "ingress is not available" in failure.message
    assert not failure.fatal


@pytest.mark.parametrize("words", ["app id unrecognized", "Unauthorized"])
def test_words_of_a_console_that_is_down_mean_nothing(words):
    """A failing server's words about the configuration are not its fault."""
    error = Error(words, code="", phase="session_token", http_status=503)
    failure = failure_of(error)
    assert failure.code == "serverError"
    assert "console is not available" in failure.message
    assert not failure.fatal


def test_unknown_region_is_final():
    """The SDK names the regions that there are."""
    failure = failure_of(ValueError("Unknown environment 'mars'; known: []"))
    assert failure.fatal
    assert "params.region" in failure.message
    assert "mars" in failure.message


def test_neighbours_of_the_sdk_load_none():
    """The avatar and the parts of a session that it needs work without any
    SDK."""
    script = """
import sys, types
package = types.ModuleType("spatius_avatar_python")
package.__path__ = ["."]
sys.modules[package.__name__] = package
import spatius_avatar_python.avatar.avatar
import spatius_avatar_python.session
loaded = {"spatius", "avatarkit", "spatialreal", "websockets", "aiohttp"}
print(sorted(loaded & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("phase", "status", "words"),
    [
        ("session_token", 402, "billing"),
        ("session_token", 403, "spatius_app_id"),
        ("session_token", 404, "spatius_avatar_id"),
        ("session_token", 429, "too many"),
        ("session_token", 503, "console"),
        ("websocket_connect", 429, "ingress"),
        ("websocket_connect", 503, "ingress"),
    ],
)
def test_status_of_a_refusal_has_advice(phase, status, words):
    """Where the code alone does not."""
    error = Error("refused", code="aNewCode", phase=phase, http_status=status)
    assert words in failure_of(error).message


@pytest.mark.parametrize(
    ("close_code", "fatal", "words"),
    [
        (3999, False, "connection"),
        (4000, True, "refused"),
        (4499, True, "refused"),
        (4500, False, "not available"),
        (4599, False, "not available"),
        (4600, False, "connection"),
    ],
)
def test_unknown_close_code_has_the_meaning_of_its_range(
    close_code, fatal, words
):
    """From 4000 the session is refused, from 4500 the service is down."""
    failure = failure_of(ConnectionEnded(close_code, "", "conn-1"))
    assert failure.fatal == fatal
    assert words in failure.message
    assert f"close code {close_code}" in failure.message


@pytest.mark.parametrize(
    "error",
    [
        running("connectionClosed", close_code=4002),
        running("serverError", "session time limit reached", server_code="9"),
    ],
)
def test_time_limit_is_recognized(error):
    """From it the limit of the plan is learned."""
    assert failure_of(error).reached_time_limit
    assert not failure_of(running("connectionClosed")).reached_time_limit


# Tokens


@pytest.mark.parametrize(
    ("phase", "status", "code", "keeps_token"),
    [
        ("websocket_connect", None, "connectionFailed", True),
        ("websocket_connect", 503, "connectionFailed", True),
        ("websocket_connect", 429, "connectionFailed", True),
        ("websocket_connect", 400, "connectionFailed", False),
        ("websocket_connect", 401, "connectionFailed", False),
        ("websocket_connect", 404, "connectionFailed", False),
        ("websocket_handshake", None, "connectionFailed", False),
        ("websocket_runtime", None, "connectionClosed", False),
        ("session_token", None, "connectionFailed", False),
    ],
)
def test_token_is_kept_where_no_connection_used_it_up(
    phase, status, code, keeps_token
):
    """The next attempt then needs no call of the console."""
    error = Error("no", code=code, phase=phase, http_status=status)
    assert failure_of(error).keeps_token == keeps_token


@pytest.mark.parametrize("phase", ["websocket_handshake", "websocket_runtime"])
@pytest.mark.parametrize("is_signed_here", [False, True])
def test_agora_token_of_our_own_that_is_called_expired(phase, is_signed_here):
    """The next session has a new one, and the clock may be right by then; a
    given token stays expired."""
    error = Error(
        "agora_egress: token is expired",
        code="invalidEgressConfig",
        phase=phase,
        server_code="16",
    )
    failure = failure_of(error, Surroundings(signs_agora_token=is_signed_here))
    assert failure.fatal == (not is_signed_here)
    assert failure.ends_session
    assert ("this machine's clock" in failure.message) == is_signed_here


# Clocks


PAST = Error(
    "Failed to create session token: expireAt is in the past",
    code="invalidRequest",
    phase="session_token",
    http_status=400,
)
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
DATE_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "now_s", "words"),
    [
        ({"date": DATE}, DATE_S - 1800, "30 min behind that of"),
        ({"date": DATE}, DATE_S + 1800, "30 min ahead of that of"),
        ({"date": DATE}, DATE_S + 20, ""),
        ({"date": "soon"}, DATE_S, ""),
        ({}, DATE_S, ""),
        ({"date": DATE}, None, ""),
    ],
)
def test_clock_that_is_behind_is_named(headers, now_s, words):
    """By how much, where the console's answer has a date."""
    failure = failure_of(PAST, Surroundings(headers=headers, now_s=now_s))
    assert "check this machine's clock" in failure.message
    assert words in failure.message
    assert (" min " in failure.message) == bool(words)
    assert not failure.fatal


# Retry-After


class Refusal(Exception):
    """The websocket library's error for an upgrade that was refused."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.response = Error(headers=headers)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("40", 40.0),
        ("99999", MAX_RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-1", 0.0),
        ("", 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read(value, wait_s, status):
    """Of the console's answer, and of the answer to the upgrade."""
    error = Error("", code="x", phase="session_token", http_status=status)
    headers = {"retry-after": value} if value else {}
    around = Surroundings(headers=headers, now_s=DATE_S)
    assert failure_of(error, around).retry_after_s == wait_s
    error = Error("", code="x", phase="websocket_connect", http_status=status)
    error.__cause__ = Refusal({"Retry-After": value} if value else {})
    around = Surroundings(now_s=DATE_S)
    assert failure_of(error, around).retry_after_s == wait_s


# Proxies and certificates


class InvalidProxyStatus(Exception):
    """The websocket library's error for an answer of a proxy."""


class InvalidProxy(Exception):
    """The websocket library's error for a URL that is none."""


class ClientHttpProxyError(Exception):
    """aiohttp's error for an answer of a proxy."""

    status = 407


def caused_by(cause: BaseException, message: str = "no", **more: Any) -> Error:
    error = Error(message, code="connectionFailed", **more)
    error.__cause__ = cause
    return error


UPGRADE = {"phase": "websocket_connect"}
CONSOLE = {"phase": "session_token"}


@pytest.mark.parametrize(
    ("error", "code", "fatal"),
    [
        (
            caused_by(InvalidProxyStatus(), http_status=407, **UPGRADE),
            "proxyRefused",
            True,
        ),
        (caused_by(ClientHttpProxyError(), **CONSOLE), "proxyRefused", True),
        (
            caused_by(InvalidProxyStatus(), http_status=502, **UPGRADE),
            "proxyFailed",
            False,
        ),
        (caused_by(InvalidProxy(), **UPGRADE), "proxyInvalid", True),
        (
            caused_by(
                ImportError(),
                "connecting through a SOCKS proxy requires python-socks",
                **UPGRADE,
            ),
            "socksPackageMissing",
            True,
        ),
    ],
)
def test_error_of_a_proxy_is_the_proxys(error, code, fatal):
    """Not Spatius', whose avatar or key has nothing to do with it; the
    message names the variable."""
    failure = failure_of(error, Surroundings(proxy_variable="https_proxy"))
    assert (failure.code, failure.fatal) == (code, fatal)
    assert "variable https_proxy" in failure.message
    assert "Spatius says" not in failure.message
    assert "HTTPS_PROXY" in failure_of(error).message


def test_service_that_is_not_reached_behind_a_proxy():
    """The proxy may be the cause."""
    error = Error("no", code="connectionFailed", phase="websocket_connect")
    around = Surroundings(proxy_variable="HTTPS_PROXY")
    assert "proxy of HTTPS_PROXY" in failure_of(error, around).message
    assert "HTTPS_PROXY" not in failure_of(error).message


def test_untrusted_certificate_names_the_variable():
    """The one that names a file with the certificates to trust."""
    error = Error(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
        "self-signed certificate in certificate chain",
        code="connectionFailed",
        phase="websocket_connect",
    )
    failure = failure_of(error)
    assert "SSL_CERT_FILE" in failure.message
    assert not failure.fatal


def test_configuration_that_is_found_wrong_here():
    """The service was not asked: it is the configuration's error code."""
    assert failure_of(ValueError("Unknown environment 'x'")).is_configuration
    assert not failure_of(running("avatarNotFound")).is_configuration
