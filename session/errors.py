"""Why a session failed, in an operator's words.

Needs no SDK: an error is read by its attributes, so that this holds for each
package and version. `ROWS` is the one table that maps errors to meanings: the
first row whose conditions all hold decides. The SDKs give the same codes for
different causes, so the close code, the status and the service's words come
before the code.
"""

import email.utils
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Optional

MAX_VENDOR_TEXT = 500
"""More of a service's words is cut off: they may be a whole page."""

MAX_ID = 100

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


# Phases

CONSOLE = "session_token"
UPGRADE = "websocket_connect"
RUNTIME = "websocket_runtime"

Outcome = Literal["fatal", "retry", "retry_slowly", "idle", "harmless"]
"""A new attempt cannot help; it can; it can once another session has ended; it
is of no use until somebody speaks; the running session goes on."""


class Meaning(NamedTuple):
    """The meaning of an error to an operator, with the advice.

    `{proxy}` in the text stands for the proxy and its variable.
    """

    code: str
    """The code to report; "" for the SDK's own."""
    text: str
    outcome: Outcome = "retry"
    is_spatius: bool = True
    """Whether it is Spatius that has answered."""
    is_configuration: bool = False


API_KEY = Meaning(
    "apiKeyInvalid",
    "Spatius refused the API key: check params.spatius_api_key, and that it "
    "belongs to this region or endpoint",
    "fatal",
)
APP_ID = Meaning(
    "appIDUnrecognized",
    "Spatius does not know the App ID: check params.spatius_app_id, and the "
    "region or the endpoints",
    "fatal",
)
APP_OF_KEY = Meaning(
    "appIDUnrecognized",
    "Spatius does not know the app that the API key belongs to: check "
    "params.spatius_api_key and params.spatius_app_id",
    "fatal",
)
APP_MISMATCH = Meaning(
    "appIDMismatch",
    "the Spatius App ID and the API key belong to different apps: check "
    "params.spatius_app_id and params.spatius_api_key",
    "fatal",
)
AVATAR = Meaning(
    "avatarNotFound",
    "Spatius does not know the avatar: check params.spatius_avatar_id",
    "fatal",
)
BILLING = Meaning(
    "billingRequired",
    "Spatius denies the session until billing is set up: check the account "
    "in the Spatius console",
    "fatal",
)
CREDITS = Meaning(
    "creditsExhausted",
    "the Spatius credits are exhausted: top up the account in the Spatius "
    "console",
    "fatal",
)
SAMPLE_RATE = Meaning(
    "unsupportedSampleRate",
    "Spatius does not support the sample rate: check params.sample_rate",
    "fatal",
)
EGRESS = Meaning(
    "invalidEgressConfig",
    "Spatius cannot publish to Agora with these parameters: check "
    "params.agora_appid, agora_appcert or agora_token, agora_channel and "
    "agora_uid",
    "fatal",
)
EGRESS_TOKEN_EXPIRED = Meaning(
    "agoraTokenExpired",
    "Agora calls a token expired that was signed just now: check this "
    "machine's clock; the next attempt signs a new one",
)
TOKEN_EXPIRED = Meaning(
    "sessionTokenExpired", "the Spatius session token was refused"
)
TOKEN_INVALID = TOKEN_EXPIRED._replace(code="sessionTokenInvalid")
TOKEN_REFUSED = TOKEN_EXPIRED._replace(code="")
TIME_LIMIT = Meaning(
    "sessionDurationExceeded", "the Spatius session reached its time limit"
)
IDLE = Meaning(
    "idleTimeout", "Spatius ended the session because nobody spoke", "idle"
)
CONCURRENCY = Meaning(
    "concurrencyLimit",
    "too many Spatius sessions run at once; the likely cause is the limit of "
    "concurrent sessions of your plan: end another session, or check the "
    "limit in the Spatius console",
    "retry_slowly",
)
UNAVAILABLE = Meaning(
    "serviceUnavailable", "Spatius is not available at the moment"
)
REFUSED = Meaning(
    "sessionRefused", "Spatius refused the session permanently", "fatal"
)
REGION = Meaning(
    "unknownRegion",
    "the SDK does not know the region: check params.region",
    "fatal",
    is_configuration=True,
)
AGORA_DOWN = Meaning(
    "egressUnavailable", "Spatius cannot reach Agora at the moment"
)
UNREACHABLE = Meaning(
    "connectionFailed",
    "Spatius cannot be reached: check the network, the region and the "
    "endpoints",
)
CLOSED = Meaning("connectionClosed", "the connection to Spatius was lost")
UPSTREAM = Meaning(
    "upstreamError", "Spatius failed to animate the speech", "harmless"
)
PROTOCOL = Meaning(
    "protocolError",
    "Spatius sent a message that the SDK does not understand",
    "harmless",
)
SERVER = Meaning(
    "serverError", "Spatius reported an error of its own", "harmless"
)
REQUEST = Meaning("invalidRequest", "Spatius refused the request", "harmless")
NO_CODE = Meaning("", "the Spatius session failed", "harmless")
UNKNOWN = Meaning("", "the Spatius session failed")
CONSOLE_DOWN = Meaning("serverError", "the Spatius console is not available")
INGRESS_DOWN = Meaning("serverError", "the Spatius ingress is not available")
INGRESS_FULL = Meaning(
    "concurrencyLimit",
    "the Spatius ingress is not available: too many requests or sessions; "
    "the likely cause is the limit of concurrent sessions of your plan",
    "retry_slowly",
)
NO_CONSOLE_THERE = Meaning(
    "avatarNotFound",
    "there is no Spatius console at this address: check "
    "params.console_endpoint_url first, then params.spatius_app_id and "
    "params.spatius_avatar_id",
    "fatal",
)
NO_INGRESS_THERE = Meaning(
    "",
    "there is no Spatius ingress at this address: check "
    "params.ingress_endpoint_url first, then params.spatius_app_id and "
    "params.spatius_avatar_id",
    "fatal",
)
NOT_A_CONSOLE = Meaning(
    "",
    "what answers is no Spatius console: check params.console_endpoint_url, "
    "the region, and whether a proxy answers in its place",
    is_spatius=False,
)
NOT_AN_INGRESS = Meaning(
    "",
    "what answers is no Spatius ingress: check params.ingress_endpoint_url, "
    "the region, and whether a proxy answers in its place",
    is_spatius=False,
)
CLOCK_BEHIND = Meaning(
    "clockBehind",
    "the time at which the session is to end has passed already at Spatius: "
    "check this machine's clock",
)
UNTRUSTED = Meaning(
    "certificateUntrusted",
    "this machine does not trust the certificate of the server: where a "
    "proxy or a server of your own has one, set SSL_CERT_FILE to a file with "
    "its CA; check this machine's clock, too",
    is_spatius=False,
)
PROXY_PASSWORD = Meaning(
    "proxyRefused",
    "{proxy} asks for a user name and a password: put them into the "
    "variable's URL, or name the host in NO_PROXY",
    "fatal",
    is_spatius=False,
)
PROXY_FAILED = Meaning(
    "proxyFailed",
    "{proxy} does not pass the connection on: check the variable, or name "
    "the host in NO_PROXY",
    is_spatius=False,
)
PROXY_INVALID = Meaning(
    "proxyInvalid",
    "{proxy} has no valid URL: check the variable",
    "fatal",
    is_spatius=False,
    is_configuration=True,
)
SOCKS_PACKAGE = Meaning(
    "socksPackageMissing",
    "{proxy} speaks SOCKS, which needs a package: run pip install "
    "python-socks, or take the variable away",
    "fatal",
    is_spatius=False,
    is_configuration=True,
)

_BY_CODE = (
    API_KEY,
    APP_ID,
    APP_MISMATCH,
    AVATAR,
    BILLING,
    CREDITS,
    SAMPLE_RATE,
    EGRESS,
    TOKEN_EXPIRED,
    TOKEN_INVALID,
    TIME_LIMIT,
    IDLE,
    CONCURRENCY,
    UNAVAILABLE,
    REFUSED,
    REGION,
    AGORA_DOWN,
    UNREACHABLE,
    CLOSED,
    UPSTREAM,
    PROTOCOL,
    SERVER,
    REQUEST,
    NO_CODE,
)
_TOKEN_CODES = (TOKEN_EXPIRED.code, TOKEN_INVALID.code)


class Row(NamedTuple):
    """A meaning, and the conditions that an error has to meet.

    A condition that is None holds for each error.
    """

    meaning: Meaning
    codes: Optional[Container[str]] = None
    """The SDK's."""
    phase: Optional[str] = None
    statuses: Optional[Container[Optional[int]]] = None
    close_codes: Optional[Container[Optional[int]]] = None
    """Of the connection, or announced by a server_error."""
    server_codes: Optional[Container[str]] = None
    """gRPC's, or words of the console's."""
    phrases: Optional[tuple[str, ...]] = None
    """Words of the service or of the SDK, in lower case."""
    about_egress: Optional[bool] = None
    """Whether the words are about Agora's side."""
    errors: Optional[tuple[str, ...]] = None
    """Parts of the class names of the error and its causes."""
    own_endpoints: Optional[bool] = None
    signs_agora_token: Optional[bool] = None


_DOWN = range(500, 1000)
_NO_ERROR = range(300, 400)
_NO_UPGRADE = range(200, 400)
_VAGUE = ("", "unknown", "connectionFailed", "invalidRequest")
_EGRESS_WORDS = ("agora", "egress", "livekit")  # its tokens are not ours

ROWS: tuple[Row, ...] = (
    # The connection's close code, of the service's own range.
    Row(CREDITS, close_codes=(4001,)),
    Row(TIME_LIMIT, close_codes=(4002,)),
    Row(CONCURRENCY, close_codes=(4003,)),
    Row(TOKEN_INVALID, close_codes=(4010,)),
    Row(UNAVAILABLE, close_codes=(4503,)),
    # Proxies and hosts between here and the service.
    Row(PROXY_PASSWORD, statuses=(407,)),
    Row(SOCKS_PACKAGE, phrases=("requires python-socks",)),
    Row(PROXY_INVALID, errors=("InvalidProxy'",)),
    Row(PROXY_FAILED, errors=("Proxy",)),
    Row(
        UNTRUSTED,
        phrases=("certificate verify failed", "certificate_verify_failed"),
    ),
    # A server that fails has not read the configuration.
    Row(CONSOLE_DOWN, phase=CONSOLE, statuses=_DOWN),
    Row(INGRESS_DOWN, phase=UPGRADE, statuses=_DOWN),
    # The SDKs take it for the egress's.
    Row(API_KEY, phase=CONSOLE, statuses=(401,)),
    Row(API_KEY, phase=CONSOLE, server_codes=("UNAUTHENTICATED",)),
    Row(API_KEY, phase=CONSOLE, phrases=("unauthorized",)),
    Row(
        CLOCK_BEHIND,
        phase=CONSOLE,
        phrases=(
            "is in the past",
            "must be in the future",
            "must be a future",
        ),
    ),
    Row(TOKEN_REFUSED, phase=UPGRADE, statuses=(401,)),
    # Words: the SDK reads every server code 3 as one of two codes, and code
    # 16 as the egress's.
    Row(
        EGRESS_TOKEN_EXPIRED,
        phrases=("token is expired", "token expired", "token has expired"),
        about_egress=True,
        signs_agora_token=True,
    ),
    Row(APP_ID, phrases=("app id unrecognized", "appidunrecognized")),
    Row(APP_MISMATCH, phrases=("app id mismatch",)),
    Row(AVATAR, phrases=("avatar not found",)),
    Row(BILLING, phrases=("session denied",)),
    Row(CREDITS, phrases=("credits exhausted",)),
    Row(SAMPLE_RATE, phrases=("unsupported sample rate",)),
    Row(
        TOKEN_EXPIRED,
        phase="websocket_",
        phrases=("session token expired", "token is expired"),
        about_egress=False,
    ),
    Row(
        TOKEN_INVALID,
        phase="websocket_",
        phrases=("invalid session token", "empty token"),
        about_egress=False,
    ),
    Row(
        TIME_LIMIT,
        phrases=("session time limit reached", "maximum session duration"),
    ),
    Row(IDLE, phrases=("no audio input for",)),
    Row(REGION, phrases=("unknown environment",)),
    Row(
        UPSTREAM,
        phrases=("driven server request failed", "driven server returned"),
    ),
    Row(PROTOCOL, phrases=("unexpected message type",)),
    # The rest of the close codes: the first hundreds refuse for good.
    Row(REFUSED, close_codes=range(4000, 4500)),
    Row(UNAVAILABLE, close_codes=range(4500, 4600)),
    # gRPC's codes, if the SDK says no more. An invalid argument may be the
    # egress's, too.
    Row(EGRESS, codes=("serverError",), server_codes=("3",), about_egress=True),
    Row(REQUEST, codes=("serverError",), server_codes=("3",)),
    Row(AGORA_DOWN, codes=("serverError",), server_codes=("14",)),
    Row(EGRESS, codes=("serverError",), server_codes=("16",)),
    # The status.
    Row(NO_CONSOLE_THERE, phase=CONSOLE, statuses=(404,), own_endpoints=True),
    Row(NO_INGRESS_THERE, phase=UPGRADE, statuses=(404,), own_endpoints=True),
    Row(BILLING, phase=CONSOLE, statuses=(402,)),
    Row(APP_OF_KEY, phase=CONSOLE, statuses=(403,)),
    Row(AVATAR, phase=CONSOLE, statuses=(404,)),
    Row(CONCURRENCY, phase=CONSOLE, statuses=(429,)),
    Row(INGRESS_FULL, phase=UPGRADE, statuses=(429,)),
    Row(
        TOKEN_INVALID,
        ("connectionFailed",),
        phase=UPGRADE,
        statuses=(400,),
    ),
    Row(BILLING, ("connectionFailed",), phase=UPGRADE, statuses=(402,)),
    Row(AVATAR, ("connectionFailed",), phase=UPGRADE, statuses=(404,)),
    # A web page, a redirect, a proxy's answer. The console's answer of 200
    # may hold errors; one without a status holds no token.
    Row(NOT_A_CONSOLE, _VAGUE, phase=CONSOLE, statuses=_NO_ERROR),
    Row(NOT_AN_INGRESS, _VAGUE, phase=UPGRADE, statuses=_NO_UPGRADE),
    Row(NOT_A_CONSOLE, ("protocolError",), phase=CONSOLE, statuses=(None,)),
    # The SDK's code.
    *(Row(meaning, (meaning.code,)) for meaning in _BY_CODE),
    Row(UNKNOWN),
)
"""Which meaning an error has: the first row that fits."""


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
            and row.about_egress in (None, _has_one(self.words, _EGRESS_WORDS))
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
        connection_id=clean_id(getattr(error, "connection_id", None)),
        req_id=clean_id(getattr(error, "req_id", None)),
        rejected_upgrade=rejected_upgrade,
        retry_slowly=meaning.outcome == "retry_slowly",
        retry_after_s=_retry_after_s(
            _causes_of(error), surroundings, phase, status
        ),
        idle=meaning.outcome == "idle",
        reached_time_limit=meaning is TIME_LIMIT,
        keeps_token=phase == UPGRADE
        and not (is_final or rejected_upgrade or code in _TOKEN_CODES),
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
    vendor_message = _printable(words[:MAX_VENDOR_TEXT])
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


def _printable(text: str) -> str:
    """Return `text` as one line that forges no other in a log."""
    spaced = " ".join(text.split())
    return "".join(one for one in spaced if one.isprintable())


def clean_id(id_: Any) -> str:
    """Return an id of the service's, short and printable."""
    return _printable(str(id_ or "")[:MAX_ID])
