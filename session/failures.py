"""What an error of the SDK means: to an operator, and for the session.

Needs no SDK: an error is read by its attributes, so that this holds for every
package and version.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Optional

MAX_VENDOR_TEXT = 500
"""More of a service's words is cut off: they may be a whole page."""

MAX_ID = 100

Outcome = Literal["fatal", "retry", "harmless"]
"""Whether a new attempt cannot help, whether it can, or whether the running
session goes on."""


@dataclass(frozen=True)
class Failure:
    """Why there is no session, or a non-fatal error of the service."""

    message: str
    """What happened and what to check; may repeat the service's words."""
    fatal: bool = False
    """A new attempt cannot help: somebody has to change something."""
    ends_session: bool = True
    """False for a non-fatal error after which the session goes on."""
    code: str = ""
    """The SDK's code, or the close code of the connection."""
    vendor_message: str = ""
    phase: str = ""
    connection_id: str = ""
    req_id: str = ""
    rejected_upgrade: bool = False
    """The session token was refused (401); fatal when it repeats."""


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


class _Meaning(NamedTuple):
    """What one code means to an operator, and what to check."""

    text: str
    outcome: Outcome = "retry"
    phrases: tuple[str, ...] = ()
    """Words of the service, in lower case, that stand for this code: the SDK
    reads every server code 3 as one of two codes, and code 16 as the
    egress's."""
    close_codes: tuple[int, ...] = ()


_TOKEN_REFUSED = "the Spatius session token was refused"
_MEANINGS = {
    "appIDUnrecognized": _Meaning(
        "Spatius does not know the App ID: check params.spatius_app_id, and "
        "the region or the endpoints",
        "fatal",
        ("app id unrecognized", "appidunrecognized"),
    ),
    "appIDMismatch": _Meaning(
        "the Spatius App ID and the API key belong to different apps: check "
        "params.spatius_app_id and params.spatius_api_key",
        "fatal",
        ("app id mismatch",),
    ),
    "avatarNotFound": _Meaning(
        "Spatius does not know the avatar: check params.spatius_avatar_id",
        "fatal",
        ("avatar not found",),
    ),
    "billingRequired": _Meaning(
        "Spatius denies the session until billing is set up: check the "
        "account in the Spatius console",
        "fatal",
        ("session denied",),
    ),
    "creditsExhausted": _Meaning(
        "the Spatius credits are exhausted: top up the account in the "
        "Spatius console",
        "fatal",
        ("credits exhausted",),
        (4001,),
    ),
    "unsupportedSampleRate": _Meaning(
        "Spatius does not take the sample rate: check params.sample_rate",
        "fatal",
        ("unsupported sample rate",),
    ),
    "invalidEgressConfig": _Meaning(
        "Spatius cannot publish to Agora with what it was given: check "
        "params.agora_appid, agora_appcert or agora_token, agora_channel and "
        "agora_uid",
        "fatal",
    ),
    "sessionTokenExpired": _Meaning(
        _TOKEN_REFUSED,
        phrases=("session token expired", "token is expired"),
    ),
    "sessionTokenInvalid": _Meaning(
        _TOKEN_REFUSED,
        phrases=("invalid session token", "empty token"),
    ),
    "sessionDurationExceeded": _Meaning(
        "the Spatius session reached its time limit",
        phrases=("session time limit reached", "maximum session duration"),
        close_codes=(4002,),
    ),
    "idleTimeout": _Meaning(
        "Spatius ended the session because nobody spoke",
        phrases=("no audio input for",),
    ),
    "egressUnavailable": _Meaning("Spatius cannot reach Agora at the moment"),
    "connectionFailed": _Meaning(
        "Spatius cannot be reached: check the network, the region and the "
        "endpoints"
    ),
    "connectionClosed": _Meaning("the connection to Spatius was lost"),
    "upstreamError": _Meaning(
        "Spatius failed to animate the speech", "harmless"
    ),
    "protocolError": _Meaning(
        "Spatius answered what the SDK does not understand", "harmless"
    ),
    "serverError": _Meaning("Spatius reported an error of its own", "harmless"),
    "invalidRequest": _Meaning("Spatius refused the request", "harmless"),
    "": _Meaning("the Spatius session failed", "harmless"),
}
_UNKNOWN = _Meaning("the Spatius session failed")
_CODES_OF_PHRASES = {
    phrase: code
    for code, meaning in _MEANINGS.items()
    for phrase in meaning.phrases
}
_CODES_OF_CLOSE_CODES = {
    close_code: code
    for code, meaning in _MEANINGS.items()
    for close_code in meaning.close_codes
}
_EGRESS_WORDS = ("agora", "egress", "livekit")  # its tokens are not ours
_BAD_API_KEY = _Meaning(
    "Spatius refused the API key: check params.spatius_api_key, and that it "
    "belongs to this region or endpoint",
    "fatal",
)
_CONSOLE_DOWN = _Meaning("the Spatius console is not available")
_INGRESS_DOWN = _Meaning("the Spatius ingress is not available")


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of the SDK means."""
    sdk_code = getattr(error, "code", "")
    code = str(getattr(sdk_code, "value", sdk_code))
    phase = str(getattr(error, "phase", ""))
    status = getattr(error, "http_status", None)
    close_code = getattr(error, "close_code", None)
    words = str(getattr(error, "message", "") or error)
    vendor_message = _printable(words[:MAX_VENDOR_TEXT])
    if not vendor_message and not isinstance(error, ConnectionEnded):
        vendor_message = type(error).__name__
    if len(words) > MAX_VENDOR_TEXT:
        vendor_message += " ..."
    if isinstance(error, ValueError) and "connection" in vendor_message:
        # The SDK forgets a closed connection and then misses it.
        code, phase = "connectionClosed", "websocket_send"
    if phase != "session_token":
        code = _refine_code(code, close_code, vendor_message)
    rejected_upgrade = phase == "websocket_connect" and status == 401
    meaning = _meaning_of(code, phase, status)

    text = meaning.text
    details = [f"HTTP {status}"] if status is not None else []
    if close_code is not None:
        details.append(f"close code {close_code}")
    if details:
        text += f" ({', '.join(details)})"
    if vendor_message not in text:
        # Where nobody could be reached, the words are the SDK's own.
        who = "The SDK" if code == "connectionFailed" else "Spatius"
        text += f". {who} says: {vendor_message}"
    is_harmless = meaning.outcome == "harmless" and phase == "websocket_runtime"
    return Failure(
        message=text,
        fatal=meaning.outcome == "fatal",
        ends_session=not is_harmless,
        code=str(close_code) if close_code is not None else code,
        vendor_message=vendor_message,
        phase=phase,
        connection_id=clean_id(getattr(error, "connection_id", None)),
        req_id=clean_id(getattr(error, "req_id", None)),
        rejected_upgrade=rejected_upgrade,
    )


def _meaning_of(code: str, phase: str, status: Optional[int]) -> _Meaning:
    is_busy = status == 429 or (status or 0) >= 500
    if phase == "session_token" and is_busy:
        return _CONSOLE_DOWN
    if phase == "session_token" and (
        status in (401, 403) or code == "invalidEgressConfig"
    ):
        # The SDK takes the word "Unauthorized" for the egress's.
        return _BAD_API_KEY
    if phase == "websocket_connect" and is_busy:
        return _INGRESS_DOWN
    if phase == "websocket_connect" and status == 401:
        return _MEANINGS["sessionTokenExpired"]
    return _MEANINGS.get(code, _UNKNOWN)


def _refine_code(code: str, close_code: Optional[int], message: str) -> str:
    """Return the code that the close code or the service's words stand for,
    `code` where they stand for none."""
    if close_code in _CODES_OF_CLOSE_CODES:
        return _CODES_OF_CLOSE_CODES[close_code]
    lowered = message.lower()
    is_of_egress = any(word in lowered for word in _EGRESS_WORDS)
    for phrase, meant in _CODES_OF_PHRASES.items():
        if phrase in lowered and not (is_of_egress and "token" in phrase):
            return meant
    return code


def _printable(text: str) -> str:
    """Return `text` as one line that forges no other in a log."""
    spaced = " ".join(text.split())
    return "".join(one for one in spaced if one.isprintable())


def clean_id(id_: Any) -> str:
    """Return an id of the service's, short and printable."""
    return _printable(str(id_ or "")[:MAX_ID])
