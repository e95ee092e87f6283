"""What each code of the service means, as one table, and how codes are found.

The SDKs give the same codes for different causes: the close code, the status
and the service's words decide first.
"""

from typing import Literal, NamedTuple, Optional

Outcome = Literal["fatal", "retry", "retry_slowly", "idle", "harmless"]
"""A new attempt cannot help; it can; it can once another session has ended; it
is of no use until somebody speaks; the running session goes on."""

TOKEN_REFUSED = 4010
"""The close code that refuses the session token; a new one may do."""


class Meaning(NamedTuple):
    """What one code means to an operator, and what to check."""

    text: str
    outcome: Outcome = "retry"
    phrases: tuple[str, ...] = ()
    """Words of the service, in lower case, that stand for this code: the SDK
    reads every server code 3 as one of two codes, and code 16 as the
    egress's."""
    close_codes: tuple[int, ...] = ()
    is_spatius: bool = True
    """Whether it is Spatius that has answered."""


_TOKEN_REFUSED = "the Spatius session token was refused"
MEANINGS = {
    "apiKeyInvalid": Meaning(
        "Spatius refused the API key: check params.spatius_api_key, and that "
        "it belongs to this region or endpoint",
        "fatal",
    ),
    "appIDUnrecognized": Meaning(
        "Spatius does not know the App ID: check params.spatius_app_id, and "
        "the region or the endpoints",
        "fatal",
        ("app id unrecognized", "appidunrecognized"),
    ),
    "appIDMismatch": Meaning(
        "the Spatius App ID and the API key belong to different apps: check "
        "params.spatius_app_id and params.spatius_api_key",
        "fatal",
        ("app id mismatch",),
    ),
    "avatarNotFound": Meaning(
        "Spatius does not know the avatar: check params.spatius_avatar_id",
        "fatal",
        ("avatar not found",),
    ),
    "billingRequired": Meaning(
        "Spatius denies the session until billing is set up: check the "
        "account in the Spatius console",
        "fatal",
        ("session denied",),
    ),
    "creditsExhausted": Meaning(
        "the Spatius credits are exhausted: top up the account in the "
        "Spatius console",
        "fatal",
        ("credits exhausted",),
        (4001,),
    ),
    "unsupportedSampleRate": Meaning(
        "Spatius does not support the sample rate: check params.sample_rate",
        "fatal",
        ("unsupported sample rate",),
    ),
    "invalidEgressConfig": Meaning(
        "Spatius cannot publish to Agora with these parameters: check "
        "params.agora_appid, agora_appcert or agora_token, agora_channel and "
        "agora_uid",
        "fatal",
    ),
    "sessionTokenExpired": Meaning(
        _TOKEN_REFUSED,
        phrases=("session token expired", "token is expired"),
    ),
    "sessionTokenInvalid": Meaning(
        _TOKEN_REFUSED,
        phrases=("invalid session token", "empty token"),
        close_codes=(TOKEN_REFUSED,),
    ),
    "sessionDurationExceeded": Meaning(
        "the Spatius session reached its time limit",
        phrases=("session time limit reached", "maximum session duration"),
        close_codes=(4002,),
    ),
    "idleTimeout": Meaning(
        "Spatius ended the session because nobody spoke",
        "idle",
        phrases=("no audio input for",),
    ),
    "concurrencyLimit": Meaning(
        "too many Spatius sessions run at once: one must end first; check the "
        "account's limit in the Spatius console",
        "retry_slowly",
        close_codes=(4003,),
    ),
    "serviceUnavailable": Meaning(
        "Spatius is not available at the moment", close_codes=(4503,)
    ),
    "sessionRefused": Meaning(
        "Spatius refused the session permanently", "fatal"
    ),
    "unknownRegion": Meaning(
        "the SDK does not know the region: check params.region",
        "fatal",
        ("unknown environment",),
    ),
    "egressUnavailable": Meaning("Spatius cannot reach Agora at the moment"),
    "connectionFailed": Meaning(
        "Spatius cannot be reached: check the network, the region and the "
        "endpoints"
    ),
    "connectionClosed": Meaning("the connection to Spatius was lost"),
    "upstreamError": Meaning(
        "Spatius failed to animate the speech",
        "harmless",
        ("driven server request failed", "driven server returned"),
    ),
    "protocolError": Meaning(
        "Spatius sent a message that the SDK does not understand",
        "harmless",
        ("unexpected message type",),
    ),
    "serverError": Meaning("Spatius reported an error of its own", "harmless"),
    "invalidRequest": Meaning("Spatius refused the request", "harmless"),
    "": Meaning("the Spatius session failed", "harmless"),
}
_CODES_OF_PHRASES = {
    phrase: code
    for code, meaning in MEANINGS.items()
    for phrase in meaning.phrases
}
_CODES_OF_CLOSE_CODES = {
    close_code: code
    for code, meaning in MEANINGS.items()
    for close_code in meaning.close_codes
}
# Where the SDK says no more than that the service reported an error: gRPC's
# codes. An invalid argument may be the egress's, too.
_CODES_OF_SERVER_CODES = {
    "3": "invalidRequest",
    "14": "egressUnavailable",
    "16": "invalidEgressConfig",
}
# Where the SDK has the status only.
_CODES_OF_STATUS = {
    ("session_token", 402): "billingRequired",
    ("session_token", 403): "appIDUnrecognized",
    ("session_token", 404): "avatarNotFound",
    ("session_token", 429): "concurrencyLimit",
    ("websocket_connect", 400): "sessionTokenInvalid",
    ("websocket_connect", 402): "billingRequired",
    ("websocket_connect", 404): "avatarNotFound",
}
_EGRESS_WORDS = ("agora", "egress", "livekit")  # its tokens are not ours
_UNKNOWN = Meaning("the Spatius session failed")
_UNKNOWN_APP = Meaning(
    "Spatius does not know the app that the API key belongs to: check "
    "params.spatius_api_key and params.spatius_app_id",
    "fatal",
)
_NOTHING_THERE = {
    "session_token": Meaning(
        "there is no Spatius console at this address: check "
        "params.console_endpoint_url first, then params.spatius_app_id and "
        "params.spatius_avatar_id",
        "fatal",
    ),
    "websocket_connect": Meaning(
        "there is no Spatius ingress at this address: check "
        "params.ingress_endpoint_url first, then params.spatius_app_id and "
        "params.spatius_avatar_id",
        "fatal",
    ),
}
# A web page, a redirect, a proxy's answer: nothing that says what is wrong.
_NOT_SPATIUS = {
    "session_token": Meaning(
        "what answers is no Spatius console: check "
        "params.console_endpoint_url, the region, and whether a proxy answers "
        "in its place",
        is_spatius=False,
    ),
    "websocket_connect": Meaning(
        "what answers is no Spatius ingress: check "
        "params.ingress_endpoint_url, the region, and whether a proxy answers "
        "in its place",
        is_spatius=False,
    ),
}
_VAGUE_CODES = ("", "unknown", "connectionFailed", "invalidRequest")
_CONSOLE_DOWN = Meaning("the Spatius console is not available")
_INGRESS_DOWN = Meaning("the Spatius ingress is not available")


def refine_code(
    code: str,
    *,
    phase: str,
    status: Optional[int],
    fate: Optional[int],
    server_code: str,
    words: str,
) -> tuple[str, bool]:
    """Return the code that stands for what the service said, and whether it
    said so in words.

    `code` is the SDK's, `fate` the close code that ends the session.
    """
    if fate in _CODES_OF_CLOSE_CODES:
        return _CODES_OF_CLOSE_CODES[fate], False
    lowered = words.lower()
    is_down = (status or 0) >= 500
    if (
        phase == "session_token"
        and not is_down
        and (
            status == 401
            or server_code == "UNAUTHENTICATED"
            or "unauthorized" in lowered
        )
    ):
        return "apiKeyInvalid", True  # the SDKs take it for the egress's
    is_of_egress = any(word in lowered for word in _EGRESS_WORDS)
    is_other_token = is_of_egress or phase == "session_token"
    for phrase, meant in _CODES_OF_PHRASES.items():
        is_meant = not (is_other_token and "token" in phrase)
        if phrase in lowered and is_meant and not is_down:
            return meant, True
    if fate is not None and 4000 <= fate < 4500:
        return "sessionRefused", False
    if fate is not None and 4500 <= fate < 4600:
        return "serviceUnavailable", False
    if code == "serverError" and server_code == "3" and is_of_egress:
        return "invalidEgressConfig", False
    if code == "serverError" and server_code in _CODES_OF_SERVER_CODES:
        return _CODES_OF_SERVER_CODES[server_code], False
    is_by_status = phase == "session_token" or code == "connectionFailed"
    if is_by_status and is_down:
        return "serverError", False
    if is_by_status and (phase, status or 0) in _CODES_OF_STATUS:
        return _CODES_OF_STATUS[phase, status or 0], False
    return code, False


def meaning_of(
    code: str, phase: str, status: Optional[int], own_endpoints: bool
) -> Meaning:
    """Return what a refined code means in this phase, with this HTTP status.

    `own_endpoints`: a 404 may come from something that is not Spatius.
    """
    is_down = (status or 0) >= 500
    if status == 404 and own_endpoints and phase in _NOTHING_THERE:
        return _NOTHING_THERE[phase]
    # The console's answer of 200 may hold errors.
    least = 300 if phase == "session_token" else 200
    is_no_error = least <= (status or 0) < 400 and code in _VAGUE_CODES
    # Without a status it is about an answer of 200 that holds no token.
    is_page = (
        phase == "session_token" and status is None and code == "protocolError"
    )
    if phase in _NOT_SPATIUS and (is_no_error or is_page):
        return _NOT_SPATIUS[phase]
    if phase == "session_token":
        if is_down:
            return _CONSOLE_DOWN
        if status == 403:
            return _UNKNOWN_APP
    if phase == "websocket_connect":
        if is_down or status == 429:
            return _INGRESS_DOWN
        if status == 401:
            return MEANINGS["sessionTokenExpired"]
    return MEANINGS.get(code, _UNKNOWN)
