"""Why a session failed, in an operator's words.

Needs no SDK: an error is read by its attributes, so that this holds for each
package and version. Its meaning is that of a row of `error_table.ROWS`.
"""

import email.utils
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from ..messages import redact
from .error_table import (
    CLOCK_BEHIND,
    CONSOLE,
    EGRESS_WORDS,
    ROWS,
    RUNTIME,
    TIME_LIMIT,
    TOKEN_CODES,
    UNREACHABLE,
    UPGRADE,
    Meaning,
    Row,
)

MAX_VENDOR_TEXT = 500
"""More of a service's words is cut off: they may be a whole page."""

MAX_RETRY_AFTER_S = 300.0
"""A `Retry-After` beyond this is not honored."""

MIN_CLOCK_ERROR_S = 60.0
"""A smaller difference from the console's clock is not mentioned."""


@dataclass(frozen=True)
class Failure:
    """Why there is no session, or a non-fatal error of the service."""

    message: str
    """The problem and the advice; may repeat the service's words."""
    fatal: bool = False
    """A new attempt cannot help: a person has to change something."""
    ends_session: bool = True
    """False for a non-fatal error after which the session goes on."""
    code: str = ""
    """The SDK's code, or the close code of the connection."""
    vendor_message: str = ""
    phase: str = ""
    connection_id: str = ""
    req_id: str = ""
    rejected_upgrade: bool = False
    """The session token was refused (401, 4010); fatal when it repeats."""
    retry_slowly: bool = False
    """A new attempt helps only once another session has ended."""
    retry_after_s: float = 0.0
    """How long the service asked to wait (`Retry-After`), 0 if it did not."""
    idle: bool = False
    """The service ended the session for lack of speech: no outage."""
    reached_time_limit: bool = False
    """The service ended the session after the longest time that it allows."""
    keeps_token: bool = False
    """The session token was not used up: it may open the next connection."""
    is_configuration: bool = False
    """A wrong configuration, found before the service was asked."""


class SessionError(Exception):
    """A call of the session failed; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class ConnectionEnded(Exception):
    """The service ended a connection with a clean close, which the SDKs
    report without its code."""

    code = "connectionClosed"
    phase = "websocket_runtime"

    def __init__(
        self, close_code: Any, reason: Any, connection_id: str
    ) -> None:
        says_nothing = close_code in (1000, 1005, 1006)
        self.close_code = (
            close_code
            if isinstance(close_code, int) and not says_nothing
            else None
        )
        self.connection_id = connection_id
        super().__init__(str(reason or ""))


@dataclass(frozen=True)
class Surroundings:
    """Facts besides the error that decide its meaning."""

    own_endpoints: bool = False
    """The service's URLs are configured by hand: they may be the cause of a
    404."""
    signs_agora_token: bool = False
    """Each session has an Agora token of its own, signed here."""
    proxy_variable: str = ""
    """Name of the environment variable that sends connections to a proxy."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the console's latest answer, names in lower case."""
    now_s: Optional[float] = None
    """This machine's time since 1970, if it is known."""


class _Facts(NamedTuple):
    """The parts of an error that the conditions of a row test."""

    code: str
    phase: str
    status: Optional[int]
    closed_with: Optional[int]
    """The close code of the connection."""
    close_code: Optional[int]
    """The same, or the one that a server_error announces."""
    server_code: str
    vendor_message: str
    words: str
    """The service's, in lower case, with the body of a refused upgrade."""
    errors: str
    """The class names of the error and its causes."""
    surroundings: Surroundings

    def fit(self, row: Row) -> bool:
        return (
            _is_in(self.code, row.codes)
            and self.phase.startswith(row.phase or "")
            and _is_in(self.status, row.statuses)
            and _is_in(self.close_code, row.close_codes)
            and _is_in(self.server_code, row.server_codes)
            and _has_one(self.words, row.phrases)
            and row.about_egress in (None, _has_one(self.words, EGRESS_WORDS))
            and _has_one(self.errors, row.errors)
            and row.own_endpoints in (None, self.surroundings.own_endpoints)
            and row.signs_agora_token
            in (None, self.surroundings.signs_agora_token)
        )


def _is_in(value: Any, values: Optional[Container[Any]]) -> bool:
    return values is None or value in values


def _has_one(text: str, parts: Optional[tuple[str, ...]]) -> bool:
    return parts is None or any(part in text for part in parts)


def failure_of(
    error: BaseException, surroundings: Surroundings = Surroundings()
) -> Failure:
    """Return the failure that an exception of the SDK stands for."""
    facts = _facts_of(error, surroundings)
    phase, status = facts.phase, facts.status
    meaning = next(row.meaning for row in ROWS if facts.fit(row))
    code = meaning.code or facts.code
    # The reason of a close does not matter.
    is_closed = (
        facts.code == "connectionClosed" or facts.closed_with is not None
    )
    is_harmless = (
        meaning.outcome == "harmless" and phase == RUNTIME and not is_closed
    )
    is_final = meaning.outcome == "fatal"
    rejected_upgrade = facts.close_code == 4010 or (
        phase == UPGRADE and status == 401
    )
    return Failure(
        message=_message_of(meaning, code, facts),
        fatal=is_final,
        ends_session=not is_harmless,
        code=code if facts.closed_with is None else str(facts.closed_with),
        vendor_message=facts.vendor_message,
        phase=phase,
        connection_id=redact.clean_id(getattr(error, "connection_id", None)),
        req_id=redact.clean_id(getattr(error, "req_id", None)),
        rejected_upgrade=rejected_upgrade,
        retry_slowly=meaning.outcome == "retry_slowly",
        retry_after_s=_retry_after_s(
            _causes_of(error), surroundings, phase, status
        ),
        idle=meaning.outcome == "idle",
        reached_time_limit=meaning is TIME_LIMIT,
        keeps_token=phase == UPGRADE
        and not (is_final or rejected_upgrade or code in TOKEN_CODES),
        is_configuration=meaning.is_configuration,
    )


def _facts_of(error: BaseException, surroundings: Surroundings) -> _Facts:
    """Read an exception of the SDK by its attributes."""
    sdk_code = getattr(error, "code", "")
    code = str(getattr(sdk_code, "value", sdk_code))
    phase = str(getattr(error, "phase", ""))
    causes = _causes_of(error)
    status = getattr(error, "http_status", None)
    if status is None and getattr(causes[-1], "status", None) == 407:
        status = 407
    close_code = getattr(error, "close_code", None)
    server_code = str(getattr(error, "server_code", None) or "")
    if server_code:
        close_code = None  # `spatialreal` repeats an error's code there
    words = str(getattr(error, "message", "") or error)
    vendor_message = redact.one_line(words[:MAX_VENDOR_TEXT])
    if not vendor_message and not isinstance(error, ConnectionEnded):
        vendor_message = type(error).__name__
    if len(words) > MAX_VENDOR_TEXT:
        vendor_message += " ..."
    if isinstance(error, ValueError) and "connection" in vendor_message:
        # The SDK forgets a closed connection and then misses it.
        code, phase = "connectionClosed", "websocket_send"
    return _Facts(
        code=code,
        phase=phase,
        status=status,
        closed_with=close_code,
        close_code=close_code or _announced_by(server_code),
        server_code=server_code,
        vendor_message=vendor_message,
        words=f"{vendor_message} {_body_of(error)}".lower(),
        errors=" ".join(f"{type(each).__name__}'" for each in causes),
        surroundings=surroundings,
    )


def _message_of(meaning: Meaning, code: str, facts: _Facts) -> str:
    """Return the meaning's text with the details and the service's words."""
    surroundings = facts.surroundings
    text = meaning.text.format(proxy=_proxy(surroundings))
    if meaning is CLOCK_BEHIND:
        text += _clock_error(surroundings)
    details = []
    if facts.status is not None:
        details.append(f"HTTP {facts.status}")
    if facts.closed_with is not None:
        details.append(f"close code {facts.closed_with}")
    if meaning is UNREACHABLE and surroundings.proxy_variable:
        details.append(f"through the proxy of {surroundings.proxy_variable}")
    if details:
        text += f" ({', '.join(details)})"
    if facts.vendor_message not in text:
        # If Spatius was not reached, the words are the SDK's own.
        is_spatius = meaning.is_spatius and code != "connectionFailed"
        who = "Spatius" if is_spatius else "The SDK"
        text += f". {who} says: {facts.vendor_message}"
    return text


def _causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and its causes."""
    causes = [error]
    while causes[-1].__cause__ is not None and len(causes) < 10:
        causes.append(causes[-1].__cause__)
    return causes


def _announced_by(server_code: str) -> Optional[int]:
    """Return the close code that a server_error announces, None if none."""
    if server_code.isascii() and server_code.isdigit():
        code = int(server_code[:5])
        return code if 4000 <= code <= 4999 else None
    return None


def _proxy(surroundings: Surroundings) -> str:
    variable = surroundings.proxy_variable
    if not variable:
        return (
            "the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, "
            "SOCKS_PROXY)"
        )
    return f"the proxy of the environment variable {variable}"


def _clock_error(surroundings: Surroundings) -> str:
    """Return by how much this machine's clock is wrong, "" if unknown."""
    console_s = _epoch_of(surroundings.headers.get("date", ""))
    if console_s is None or surroundings.now_s is None:
        return ""
    behind_s = console_s - surroundings.now_s
    if abs(behind_s) < MIN_CLOCK_ERROR_S:
        return ""
    direction = "behind" if behind_s > 0 else "ahead of"
    return (
        f", which is {abs(behind_s) / 60:.0f} min {direction} that of the "
        "Spatius console"
    )


def _retry_after_s(
    causes: list[BaseException],
    surroundings: Surroundings,
    phase: str,
    status: Optional[int],
) -> float:
    """Return for how long the service asks to wait, 0 if it does not."""
    value: Any = ""
    if phase == UPGRADE:
        for cause in causes:
            headers = getattr(getattr(cause, "response", None), "headers", {})
            value = value or headers.get("Retry-After", "")
    elif phase == CONSOLE and status is not None:
        value = surroundings.headers.get("retry-after", "")
    value = str(value).strip()
    if value.isascii() and value.isdigit():
        wait_s = float(value[:9])
    else:
        until_s = _epoch_of(value)
        if until_s is None or surroundings.now_s is None:
            return 0.0
        wait_s = until_s - surroundings.now_s
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def _epoch_of(date: str) -> Optional[float]:
    """Return the time of a header's date, None if it is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _body_of(error: BaseException) -> str:
    """Return the service's answer to an upgrade, if the SDK left it in the
    websocket library's error."""
    body = getattr(getattr(error.__cause__, "response", None), "body", None)
    if not isinstance(body, (bytes, bytearray)):
        return ""
    return bytes(body[:MAX_VENDOR_TEXT]).decode(errors="replace")
