"""The one place that imports the Spatius SDK, under any of its names.

`opener` makes sessions with deadlines and new tokens; every error that one of
them meets becomes a `Failure`.
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
from datetime import datetime, timezone
from types import ModuleType
from typing import Any, Optional

from ..clock import Clock
from ..params import Params
from .connection import Connection
from .failures import Failure, SessionError
from .link import OpenSession, SessionEvents

OPUS_FRAME_MS = 20
"""The encoder's step: it sends nothing of a request that is shorter so far,
and an interrupt would name a request that the service has never seen."""

PACKAGES = ("spatius", "avatarkit")
"""The successor goes first; they cannot both be loaded into one process."""

DEFAULT_REGION = "us-west"
AUTO_REGION = "auto"

SDK_VARIABLE = "SPATIUS_SDK"
"""Environment variable that decides between the packages."""


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


# Imported with the extension: doing it later would block the event loop that
# all extensions of the worker share.
_sdk, _import_problem = _import_package()


_is_loaded = False


async def _preload() -> None:
    """Do what the SDK leaves to its first connection: there, the websocket
    client and the machine's certificates would block the event loop for 30 ms.

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


def _endpoint_arguments(params: Params) -> dict[str, str]:
    """Return the SDK's arguments that say where the service is."""
    if _has_regions() and not params.console_endpoint_url:
        return {"region": params.region} if params.region else {}
    urls = endpoints(params)
    assert urls is not None
    return {"console_endpoint_url": urls[0], "ingress_endpoint_url": urls[1]}


def opener(
    params: Params, clock: Clock, add_secrets: Callable[[list[str]], None]
) -> OpenSession:
    """Return what makes sessions, each with tokens of its own.

    The tokens expire `session_expire_minutes` after the session was made, and
    are handed to `add_secrets` before anything can repeat them. A call raises
    `SessionError` where there is no SDK.
    """

    def open_session(events: SessionEvents, sample_rate_hz: int) -> Connection:
        if _sdk is None:
            raise SessionError(Failure(_import_problem, fatal=True))
        sdk: Any = _sdk
        expires_at_s = int(clock.epoch()) + params.session_expire_minutes * 60
        agora_token = params.issue_agora_token(expires_at_s)
        add_secrets([agora_token])
        arguments = _arguments(
            sdk, params, agora_token, expires_at_s, sample_rate_hz
        )
        configure_telemetry(params.telemetry)
        return Connection(
            lambda **callbacks: sdk.new_avatar_session(
                **arguments, **callbacks
            ),
            preload=_preload,
            request_of=_request_of,
            events=events,
            clock=clock,
            add_secrets=add_secrets,
        )

    return open_session


def _arguments(
    sdk: Any,
    params: Params,
    agora_token: str,
    expires_at_s: float,
    sample_rate_hz: int,
) -> dict[str, Any]:
    """Return what the SDK takes to make a session, without its callbacks."""
    arguments: dict[str, Any] = {
        "api_key": params.spatius_api_key.get_secret_value(),
        "app_id": params.spatius_app_id,
        "avatar_id": params.spatius_avatar_id,
        "expire_at": datetime.fromtimestamp(expires_at_s, timezone.utc),
        "sample_rate": sample_rate_hz,
        "agora_egress": sdk.AgoraEgressConfig(
            channel_name=params.agora_channel,
            token=agora_token,
            uid=params.agora_uid,
            publisher_id=str(params.agora_uid),
        ),
        **_endpoint_arguments(params),
    }
    if params.audio_format == "ogg_opus":
        arguments["audio_format"] = sdk.AudioFormat.OGG_OPUS
        arguments["ogg_opus_encoder"] = sdk.OggOpusEncoderConfig()
    return arguments


def _request_of(data: bytes) -> str:
    """Return the request that a ServerResponseAnimation is about; `data` are
    the bytes of its whole Message."""
    assert _sdk is not None
    messages = importlib.import_module(
        f"{_sdk.__name__}.proto.generated.message_pb2"
    )
    return messages.Message.FromString(data).server_response_animation.req_id
