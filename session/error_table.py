"""The meaning of each error to an operator: one ordered table.

`ROWS` maps errors to meanings: the first row whose conditions all hold decides.
The SDKs give the same codes for different causes, so the close code, the status
and the service's words come before the code.
"""

from collections.abc import Container
from typing import Literal, NamedTuple, Optional

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
TOKEN_CODES = (TOKEN_EXPIRED.code, TOKEN_INVALID.code)


class Row(NamedTuple):
    """A meaning, and the conditions that an error has to meet.

    A condition that is None holds for each error.
    """

    meaning: Meaning
    codes: Optional[Container[str]] = None
    """The SDK's."""
    phase: Optional[str] = None
    """The begin of the SDK's."""
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
EGRESS_WORDS = ("agora", "egress", "livekit")  # its tokens are not ours

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
