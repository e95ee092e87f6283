"""Why a session failed, in an operator's words.

Needs no SDK: an error is read by its attributes, so that this holds for each
package and version. What each code means stands in meanings.py.
"""

from dataclasses import dataclass
from typing import Any, Optional

from .meanings import TOKEN_REFUSED, meaning_of, refine_code

MAX_VENDOR_TEXT = 500
"""More of a service's words is cut off: they may be a whole page."""

MAX_ID = 100


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
    """The session token was refused (401, 4010); fatal when it repeats."""
    retry_slowly: bool = False
    """A new attempt helps only once another session has ended."""
    idle: bool = False
    """The service ended the session because nobody spoke: no outage."""


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


def failure_of(error: BaseException, own_endpoints: bool = False) -> Failure:
    """Return what an exception of the SDK means.

    `own_endpoints`: the service's URLs are configured by hand, and may be the
    cause of a 404.
    """
    sdk_code = getattr(error, "code", "")
    code = str(getattr(sdk_code, "value", sdk_code))
    phase = str(getattr(error, "phase", ""))
    status = getattr(error, "http_status", None)
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
    # Whatever words it was closed with.
    is_closed = code == "connectionClosed" or close_code is not None
    fate = close_code or _fate_of(server_code)
    code, is_said = refine_code(
        code,
        phase=phase,
        status=status,
        fate=fate,
        server_code=server_code,
        words=f"{vendor_message} {_body_of(error)}",
    )
    meaning = meaning_of(code, phase, status, own_endpoints and not is_said)

    text = meaning.text
    details = [f"HTTP {status}"] if status is not None else []
    if close_code is not None:
        details.append(f"close code {close_code}")
    if details:
        text += f" ({', '.join(details)})"
    if vendor_message not in text:
        # Where Spatius was not reached, the words are the SDK's own.
        is_spatius = meaning.is_spatius and code != "connectionFailed"
        who = "Spatius" if is_spatius else "The SDK"
        text += f". {who} says: {vendor_message}"
    is_harmless = (
        meaning.outcome == "harmless"
        and phase == "websocket_runtime"
        and not is_closed
    )
    return Failure(
        message=text,
        fatal=meaning.outcome == "fatal",
        ends_session=not is_harmless,
        code=str(close_code) if close_code is not None else code,
        vendor_message=vendor_message,
        phase=phase,
        connection_id=clean_id(getattr(error, "connection_id", None)),
        req_id=clean_id(getattr(error, "req_id", None)),
        rejected_upgrade=fate == TOKEN_REFUSED
        or (phase == "websocket_connect" and status == 401),
        retry_slowly=meaning.outcome == "retry_slowly",
        idle=meaning.outcome == "idle",
    )


def _fate_of(server_code: str) -> Optional[int]:
    """Return the close code that a server_error announces, None if none."""
    if server_code.isascii() and server_code.isdigit():
        code = int(server_code[:5])
        return code if 4000 <= code <= 4999 else None
    return None


def _body_of(error: BaseException) -> str:
    """Return how the service answered an upgrade, where the SDK left it in the
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
