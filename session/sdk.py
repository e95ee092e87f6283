"""The one place that imports the Spatius SDK, under either of its names.

`Session` is one connection with deadlines; every error that it meets becomes
a `Failure`, which says in an operator's words what happened and what to
check, and whether a new attempt can help.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import ModuleType
from typing import Any, Optional

from ..config import Params

OPUS_FRAME_MS = 20
"""The encoder's step: it sends nothing of a request that is shorter so far,
and an interrupt would name a request that the service has never seen."""

MAX_VENDOR_TEXT = 500
"""No more of a service's words is passed on: they may be a whole page."""

MAX_ID = 100

OPEN_DEADLINE_S = 10.0
"""avatarkit waits 300 s for a silent console, and for ever for a handshake."""

ABORTED_S = 0.2
"""How long a call may take to notice that its connection was dropped."""

CLOSE_DEADLINE_S = 3.0
"""The SDK waits up to 20 s for a silent peer."""

PACKAGES = ("spatius", "avatarkit")
"""The successor goes first; they cannot both be loaded into one process."""

DEFAULT_REGION = "us-west"
AUTO_REGION = "auto"

SDK_VARIABLE = "SPATIUS_SDK"
"""Environment variable that decides between the two packages."""


@dataclass(frozen=True)
class Failure:
    """Why there is no session, or what the service complained of."""

    message: str
    """What happened and what to check; may repeat the service's words."""
    fatal: bool = False
    """A new attempt cannot help: somebody has to change something."""
    ends_session: bool = True
    """False for a complaint after which the session goes on."""
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


def _choose_package() -> Optional[str]:
    """Return the name of the SDK package to use, None if there is none.

    `SPATIUS_SDK` decides; else the one that another extension of the worker
    has loaded already, else the successor where it is installed.
    """
    wanted = os.environ.get(SDK_VARIABLE, "").strip().lower()
    if wanted:
        return wanted
    for name in PACKAGES:
        if name in sys.modules:
            return name
    for name in PACKAGES:
        if importlib.util.find_spec(name) is not None:
            return name
    return None


def _import_package() -> tuple[Optional[ModuleType], str]:
    """Return the SDK, or None and the sentence that says what to install."""
    name = _choose_package()
    if name is None:
        return None, (
            "no Spatius SDK is installed; run pip install -r requirements.txt "
            "in the extension's folder"
        )
    if name not in PACKAGES:
        return None, (
            f"the environment variable {SDK_VARIABLE} names no SDK; expected "
            f"{' or '.join(PACKAGES)}"
        )
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # whatever it is, the worker must go on
        return None, (
            f"the Spatius SDK {name} cannot be imported "
            f"({type(error).__name__}: {error}); avatarkit needs protobuf "
            ">= 6.31.1, spatius >= 5.28.3: install what is missing, or the "
            "other SDK package"
        )


# Imported with the extension: doing it later would hold the event loop that
# all extensions of the worker share.
_sdk, _import_problem = _import_package()


_is_loaded = False


async def _load_what_is_put_off() -> None:
    """Do what the SDK leaves to its first connection: on the event loop, the
    websocket client and the machine's certificates would hold it for 30 ms.

    On a thread of its own: others may keep the loop's own threads busy.
    """
    global _is_loaded
    if _is_loaded:
        return
    _is_loaded = True
    loop = asyncio.get_running_loop()
    loaded = asyncio.Event()

    def load() -> None:
        _load()
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(loaded.set)

    threading.Thread(target=load, name="load-spatius", daemon=True).start()
    await loaded.wait()


def _load() -> None:
    with contextlib.suppress(Exception):  # then it does so itself
        importlib.import_module("websockets.asyncio.client")
        if _sdk is not None and _sdk.__name__ == "spatius":
            importlib.import_module("spatius.net").get_ssl_context()


class _NoDebug(logging.Filter):
    """Drops the websocket library's debug lines: they show the session key,
    and whatever the service says, as it came."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


logging.getLogger("websockets.client").addFilter(_NoDebug())


def package() -> str:
    """Return name and version of the SDK in use, "" if there is none."""
    if _sdk is None:
        return ""
    version = getattr(_sdk, "__version__", "unknown version")
    return f"{_sdk.__name__} {version}"


def problem(ogg_opus: bool = False) -> str:
    """Return what keeps the SDK from working here, "" if nothing does."""
    if _sdk is None:
        return _import_problem
    if ogg_opus:
        return _opus_problem(_sdk)
    return ""


def _opus_problem(sdk: ModuleType) -> str:
    name = "opuslib_next" if sdk.__name__ == "spatius" else "opuslib"
    advice = (
        f'audio_format ogg_opus needs pip install "{sdk.__name__}[opus]" and '
        "the system's libopus (Debian: apt-get install libopus0)"
    )
    try:
        importlib.import_module(name)
    except Exception as error:  # the binding raises a bare Exception
        return f"{advice}; {name}: {error or type(error).__name__}"
    return ""


def configure_telemetry(enabled: bool) -> None:
    """Switch the SDK's telemetry to its vendor; call before any session.

    It is one setting for the process: where another extension has started
    telemetry already, it stays as it is.
    """
    configure = getattr(_sdk, "configure_telemetry", None)
    if configure is None:
        return  # avatarkit has none
    try:
        configure(None if enabled else "")
    except RuntimeError:
        pass


def endpoints(params: Params) -> Optional[tuple[str, str]]:
    """Return the URLs of console and ingress, None where the SDK asks the
    service itself for the nearest region."""
    if params.console_endpoint_url and params.ingress_endpoint_url:
        return params.console_endpoint_url, params.ingress_endpoint_url
    region = params.region or AUTO_REGION
    if region == AUTO_REGION:
        if _has_regions():
            return None
        region = DEFAULT_REGION
    domain = "spatialwalk.top" if region.startswith("cn-") else "spatius.ai"
    return (
        f"https://console.{region}.{domain}/v1/console",
        f"wss://api.{region}.{domain}/v2/driveningress",
    )


def _has_regions() -> bool:
    """Return whether the SDK knows regions: avatarkit ignores the argument
    in silence."""
    return _sdk is not None and _sdk.__name__ == "spatius"


def _place(params: Params) -> dict[str, str]:
    """Return the SDK's arguments that say where the service is."""
    if _has_regions() and not params.console_endpoint_url:
        return {"region": params.region} if params.region else {}
    urls = endpoints(params)
    assert urls is not None
    return {"console_endpoint_url": urls[0], "ingress_endpoint_url": urls[1]}


class Session:
    """One connection to the Motion Server; not used again after its end.

    `on_failure` is called, on the event loop, when the service complains or
    the connection ends without our doing; never after `close` has begun.
    `expires_at_s` (seconds since the epoch) is the end that its session token
    gets. Its calls must come one after the other from one task, and none may be
    cancelled (`open` may be): see the SDK's facts on requests.
    """

    def __init__(
        self,
        params: Params,
        agora_token: str,
        expires_at_s: float,
        on_failure: Callable[[Failure], None],
    ) -> None:
        if _sdk is None:
            raise SessionError(Failure(_import_problem, fatal=True))
        sdk: Any = _sdk
        self._on_failure = on_failure
        self._is_open = False
        self._opening: Optional[asyncio.Task[str]] = None
        self._closing: Optional[asyncio.Task[None]] = None
        self._reported = False
        self._connection_id = ""
        arguments: dict[str, Any] = {
            "api_key": params.spatius_api_key.get_secret_value(),
            "app_id": params.spatius_app_id,
            "avatar_id": params.spatius_avatar_id,
            "expire_at": datetime.fromtimestamp(expires_at_s, timezone.utc),
            "sample_rate": params.sample_rate,
            "agora_egress": sdk.AgoraEgressConfig(
                channel_name=params.agora_channel,
                token=agora_token,
                uid=params.agora_uid,
                publisher_id=str(params.agora_uid),
            ),
            "on_error": self._sdk_complains,
            "on_close": self._sdk_closed,
            **_place(params),
        }
        if params.audio_format == "ogg_opus":
            arguments["audio_format"] = sdk.AudioFormat.OGG_OPUS
            arguments["ogg_opus_encoder"] = sdk.OggOpusEncoderConfig()
        configure_telemetry(params.telemetry)
        self._session = sdk.new_avatar_session(**arguments)

    async def open(self) -> str:
        """Connect and return the connection's id, within the deadline.

        Raises `SessionError`. May be cancelled.
        """
        opening = self._opening = asyncio.ensure_future(self._open())
        opening.add_done_callback(_look_at)
        try:
            await asyncio.wait({opening}, timeout=OPEN_DEADLINE_S)
            is_late = not opening.done()
            if is_late:
                # A handshake that was refused is told of after the SDK's own
                # close, which waits for a peer that does not answer.
                self._abort_transport()
                await asyncio.wait({opening}, timeout=ABORTED_S)
        finally:
            if not opening.done():
                # A start() that was cancelled must be followed by close().
                self._begin_close()
        if is_late and not _is_refused(opening):
            raise SessionError(
                Failure(
                    f"Spatius did not answer within {OPEN_DEADLINE_S:.0f} s; "
                    "check the network and the endpoints",
                    code="connectionFailed",
                    phase="open",
                )
            )
        error = opening.exception()
        if error is not None:
            raise SessionError(failure_of(error)) from error
        return opening.result()

    async def _open(self) -> str:
        await _load_what_is_put_off()
        await self._session.init()
        self._connection_id = _short(await self._session.start())
        # Before the loop runs on: the connection may be closed again at once.
        self._is_open = True
        return self._connection_id

    async def send(self, audio: bytes, end: bool) -> str:
        """Send audio, return its request's id. Raises `SessionError`."""
        try:
            return await self._session.send_audio(audio, end)
        except Exception as error:
            raise SessionError(failure_of(error)) from error

    async def interrupt(self) -> str:
        """Interrupt the latest request. Raises `SessionError`."""
        try:
            return await self._session.interrupt()
        except Exception as error:
            raise SessionError(failure_of(error)) from error

    async def close(self) -> None:
        """Close, and return within the deadline whatever the peer does."""
        await asyncio.wait(
            {self._begin_close()}, timeout=CLOSE_DEADLINE_S + 0.5
        )

    def abort(self) -> None:
        """Drop the connection without a goodbye: a call that waits for the
        socket fails at once."""
        self._abort_transport()
        self._begin_close()

    def secrets(self) -> list[str]:
        """Return the secrets that this connection got on its way."""
        session_token = getattr(self._session, "_session_token", None)
        return [str(session_token)] if session_token else []

    def _begin_close(self) -> "asyncio.Task[None]":
        self._is_open = False
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close_in_the_end())
            _unfinished.add(self._closing)
            self._closing.add_done_callback(_unfinished.discard)
        return self._closing

    async def _close_in_the_end(self) -> None:
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait({self._opening}, timeout=CLOSE_DEADLINE_S)
            self._is_open = False
        closing = asyncio.ensure_future(self._session.close())
        closing.add_done_callback(_look_at)
        await asyncio.wait({closing}, timeout=CLOSE_DEADLINE_S)
        if not closing.done():
            self._abort_transport()
            await asyncio.wait({closing})

    def _abort_transport(self) -> None:
        # The SDK has no call for it, and its own close waits for a silent
        # peer for 10 to 20 s; should its inside change, so do we.
        connection = getattr(self._session, "_connection", None)
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()

    def _sdk_complains(self, error: Exception) -> None:
        if self._is_open:
            failure = failure_of(error)
            if failure.ends_session:
                self._reported = True
            self._on_failure(failure)

    def _sdk_closed(self) -> None:
        if self._is_open:
            self._is_open = False
            if not self._reported:
                self._on_failure(
                    Failure(
                        "Spatius closed the connection",
                        code="connectionClosed",
                        phase="websocket_runtime",
                        connection_id=self._connection_id,
                    )
                )


def _is_refused(opening: "asyncio.Task[str]") -> bool:
    """Return whether an opening failed for a reason that the service gave."""
    if not opening.done() or opening.cancelled():
        return False
    error = opening.exception()
    return error is not None and failure_of(error).code not in (
        "connectionClosed",
        "connectionFailed",
        "",
    )


def _look_at(task: "asyncio.Task[Any]") -> None:
    """Keep asyncio from logging an error that nobody waits for any more: its
    text is the service's, and may repeat a secret."""
    if not task.cancelled():
        task.exception()


# Closes that go on in the background; the loop itself holds them weakly.
_unfinished: "set[asyncio.Task[None]]" = set()

# What each of the SDK's codes means to an operator, and what to check.
_MEANINGS = {
    "appIDUnrecognized": (
        "Spatius does not know the App ID: check params.spatius_app_id, and "
        "the region or the endpoints"
    ),
    "appIDMismatch": (
        "the Spatius App ID and the API key belong to different apps: check "
        "params.spatius_app_id and params.spatius_api_key"
    ),
    "avatarNotFound": (
        "Spatius does not know the avatar: check params.spatius_avatar_id"
    ),
    "billingRequired": (
        "Spatius denies the session until billing is set up: check the "
        "account in the Spatius console"
    ),
    "creditsExhausted": (
        "the Spatius credits are exhausted: top up the account in the "
        "Spatius console"
    ),
    "unsupportedSampleRate": (
        "Spatius does not take the sample rate: check params.sample_rate"
    ),
    "invalidEgressConfig": (
        "Spatius cannot publish to Agora with what it was given: check "
        "params.agora_appid, agora_appcert or agora_token, agora_channel and "
        "agora_uid"
    ),
    "sessionTokenExpired": "the Spatius session token was refused",
    "sessionTokenInvalid": "the Spatius session token was refused",
    "sessionDurationExceeded": "the Spatius session reached its time limit",
    "egressUnavailable": "Spatius cannot reach Agora at the moment",
    "idleTimeout": "Spatius ended the session because nobody spoke",
    "upstreamError": "Spatius failed to animate the speech",
    "connectionFailed": (
        "Spatius cannot be reached: check the network, the region and the "
        "endpoints"
    ),
    "connectionClosed": "the connection to Spatius was lost",
    "protocolError": "Spatius answered what the SDK does not understand",
    "serverError": "Spatius reported an error of its own",
    "invalidRequest": "Spatius refused the request",
}
_BAD_API_KEY = (
    "Spatius refused the API key: check params.spatius_api_key, and that it "
    "belongs to this region or endpoint"
)
_FATAL = frozenset(
    (
        "appIDUnrecognized",
        "appIDMismatch",
        "avatarNotFound",
        "billingRequired",
        "creditsExhausted",
        "unsupportedSampleRate",
        "invalidEgressConfig",
    )
)
# Complaints after which a running session speaks on.
_HARMLESS = frozenset(
    ("upstreamError", "serverError", "protocolError", "invalidRequest", "")
)
# The SDK reads every server code 3 as one of two codes, so that the cause
# must be read from the words, and takes code 16 for the egress's.
_CODES_OF_WORDS = {
    "unsupported sample rate": "unsupportedSampleRate",
    "avatar not found": "avatarNotFound",
    "app id mismatch": "appIDMismatch",
    "app id unrecognized": "appIDUnrecognized",
    "appidunrecognized": "appIDUnrecognized",
    "invalid session token": "sessionTokenInvalid",
    "session token expired": "sessionTokenExpired",
    "token is expired": "sessionTokenExpired",
    "empty token": "sessionTokenInvalid",
    "credits exhausted": "creditsExhausted",
    "session denied": "billingRequired",
    "session time limit reached": "sessionDurationExceeded",
    "maximum session duration": "sessionDurationExceeded",
    "no audio input for": "idleTimeout",
}
_EGRESS_WORDS = ("agora", "egress", "livekit")  # its tokens are not ours
_CLOSE_CODES = {4001: "creditsExhausted", 4002: "sessionDurationExceeded"}


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of the SDK means."""
    sdk_code = getattr(error, "code", "")
    code = str(getattr(sdk_code, "value", sdk_code))
    phase = str(getattr(error, "phase", ""))
    status = getattr(error, "http_status", None)
    close_code = getattr(error, "close_code", None)
    words = str(getattr(error, "message", "") or error)
    vendor_message = _printable(words[:MAX_VENDOR_TEXT]) or type(error).__name__
    if len(words) > MAX_VENDOR_TEXT:
        vendor_message += " ..."
    if isinstance(error, ValueError) and "connection" in vendor_message:
        # The SDK forgets a closed connection and then misses it.
        code, phase = "connectionClosed", "websocket_send"
    if phase != "session_token":
        code = _closer_code(code, close_code, vendor_message)

    meaning = _MEANINGS.get(code, "the Spatius session failed")
    fatal = code in _FATAL
    rejected_upgrade = False
    is_busy = status == 429 or (status or 0) >= 500
    if phase == "session_token" and is_busy:
        meaning, fatal = "the Spatius console is not available", False
    elif phase == "session_token" and (
        status in (401, 403) or code == "invalidEgressConfig"
    ):
        # The SDK takes the word "Unauthorized" for the egress's.
        meaning, fatal = _BAD_API_KEY, True
    elif phase == "websocket_connect" and is_busy:
        meaning, fatal = "the Spatius ingress is not available", False
    elif phase == "websocket_connect" and status == 401:
        meaning = _MEANINGS["sessionTokenExpired"]
        rejected_upgrade, fatal = True, False

    details = [f"HTTP {status}"] if status is not None else []
    if close_code is not None:
        details.append(f"close code {close_code}")
    if details:
        meaning += f" ({', '.join(details)})"
    if vendor_message and vendor_message not in meaning:
        # Where nobody could be reached, the words are the SDK's own.
        who = "The SDK" if code == "connectionFailed" else "Spatius"
        meaning += f". {who} says: {vendor_message}"
    return Failure(
        message=meaning,
        fatal=fatal,
        ends_session=fatal
        or phase != "websocket_runtime"
        or code not in _HARMLESS,
        code=str(close_code) if close_code is not None else code,
        vendor_message=vendor_message,
        phase=phase,
        connection_id=_short(getattr(error, "connection_id", None)),
        req_id=_short(getattr(error, "req_id", None)),
        rejected_upgrade=rejected_upgrade,
    )


def _printable(text: str) -> str:
    """Return `text` as one line that forges no other in a log."""
    spaced = " ".join(text.split())
    return "".join(one for one in spaced if one.isprintable())


def _short(id_: Any) -> str:
    """Return an id of the service's: its length and letters are not ours."""
    return _printable(str(id_ or "")[:MAX_ID])


def _closer_code(code: str, close_code: Optional[int], message: str) -> str:
    """Return the code that the close code or the service's words tell."""
    if close_code in _CLOSE_CODES:
        return _CLOSE_CODES[close_code]
    lowered = message.lower()
    is_of_egress = any(word in lowered for word in _EGRESS_WORDS)
    for words, meant in _CODES_OF_WORDS.items():
        if words in lowered and not (is_of_egress and "token" in words):
            return meant
    return code
