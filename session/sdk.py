"""The one place that imports the Spatius SDK, under any of its names.

`Sdk` makes its sessions, with new tokens; every error that one of them meets
becomes a `Failure`.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import re
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from datetime import datetime, timezone
from types import ModuleType
from typing import Any, Optional
from urllib.parse import urlsplit

from ..clock import Clock
from ..settings import Params
from .errors import Failure, SessionError, Surroundings, failure_of

OPUS_FRAME_MS = 20
"""The encoder's step: it sends nothing of a request that is shorter so far,
and an interrupt would name a request that the service has never seen."""

PACKAGES = ("spatius", "avatarkit", "spatialreal")
"""In the order in which they are taken if several are installed."""

EXCLUSIVE = ("spatius", "avatarkit")
"""These cannot both be loaded into one process."""

REGIONS = ("us-west", "ap-northeast", "cn-beijing")
DEFAULT_REGION = "us-west"
AUTO_REGION = "auto"

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")

BOOTSTRAP_DEADLINE_S = 6.0
"""For the nearest region; spatius itself waits 5 s."""

BOOTSTRAP_RETRY_S = 300.0
"""How long the default region is used before spatius is asked again."""

SDK_VARIABLE = "SPATIUS_SDK"
"""Environment variable that decides between the packages."""


def _choose_package() -> Optional[str]:
    """Return the name of the SDK package to use, None if there is none.

    `SPATIUS_SDK` decides; else the one that another extension of the worker
    has loaded already and that excludes the other, else the first of
    `PACKAGES` that is installed.
    """
    wanted = os.environ.get(SDK_VARIABLE, "").strip().lower()
    if wanted:
        return wanted
    for name in EXCLUSIVE:
        if name in sys.modules:
            return name
    for name in PACKAGES:
        if importlib.util.find_spec(name) is not None:
            return name
    return None


def _import_package() -> tuple[Optional[ModuleType], str]:
    """Return the SDK, or None and the sentence that names the package to
    install."""
    name = _choose_package()
    if name is None:
        return None, (
            "no Spatius SDK is installed; run pip install -r requirements.txt "
            "in the extension's folder"
        )
    if name not in PACKAGES:
        return None, (
            f"the environment variable {SDK_VARIABLE} names no SDK package; "
            f"expected one of {', '.join(PACKAGES)}"
        )
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # of any kind: the worker must go on
        if "duplicate file name" in str(error):
            return None, (
                f"the Spatius SDK {name} cannot be imported beside another "
                "package that registers the same protobuf file (avatarkit and "
                "spatius both do): have all extensions of the worker use one "
                f"SDK package, and set {SDK_VARIABLE} to its name"
            )
        return None, (
            f"the Spatius SDK {name} cannot be imported "
            f"({type(error).__name__}: {error}); avatarkit needs protobuf "
            ">= 6.31.1, spatialreal >= 6.31, spatius >= 5.28.3: install what "
            "is missing, or another SDK package"
        )


# Imported with the extension: doing it later would block the event loop that
# all extensions of the worker share.
_sdk, _import_problem = _import_package()


class _Console:
    """The calls of the console for one session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers: dict[str, str] = {}
        """Of the latest answer, names in lower case."""


_console: "ContextVar[Optional[_Console]]" = ContextVar("console", default=None)


class _Aiohttp:
    """aiohttp as the SDK's modules see it.

    Its sessions use the proxy that the websocket library uses, which the SDKs
    do not ask for, and keep the headers of an answer, which they drop.
    """

    def __init__(self, aiohttp: Any) -> None:
        self._aiohttp = aiohttp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._aiohttp, name)

    def ClientSession(self, **options: Any) -> Any:
        console = _console.get()
        if console is not None:  # else another extension uses the SDK
            tracing = self._aiohttp.TraceConfig()
            tracing.on_request_end.append(_keep_headers)
            options["trace_configs"] = [tracing]
            _, proxy = _proxy_of(console.url)
            if _is_http(proxy):
                options["proxy"] = proxy
        return self._aiohttp.ClientSession(**options)


async def _keep_headers(_session: Any, _context: Any, answer: Any) -> None:
    console = _console.get()
    if console is not None:
        console.headers = {
            name.lower(): value
            for name, value in answer.response.headers.items()
        }


def _proxy_of(url: str) -> tuple[str, str]:
    """Return the environment variable that names the proxy for a URL, and the
    proxy; both "" if there is none.

    By the rules of the websocket library, for the console, too.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host and urllib.request.proxy_bypass(host):
        return "", ""
    if parts.scheme in ("http", "ws"):
        names = ("ws_proxy", "socks_proxy", "https_proxy", "http_proxy")
    else:
        names = ("wss_proxy", "socks_proxy", "https_proxy")
    for name in names:
        for variable in (name, name.upper()):
            if proxy := os.environ.get(variable, ""):
                return variable, proxy
    return "", ""


def _is_http(proxy: str) -> bool:
    return proxy.lower().startswith(("http://", "https://"))


def _use_proxies() -> None:
    """Have the SDK call the console the way that its websocket takes."""
    if _sdk is None or importlib.util.find_spec("websockets.proxy") is None:
        return  # an older websocket library knows no proxies
    prefix = f"{_sdk.__name__}."
    for name, module in list(sys.modules.items()):
        aiohttp = getattr(module, "aiohttp", None)
        if name.startswith(prefix) and isinstance(aiohttp, ModuleType):
            module.aiohttp = _Aiohttp(aiohttp)  # type: ignore[attr-defined]


_use_proxies()


class _NearestRegion:
    """The region that spatius' global service names, kept for the life of the
    worker: while that cannot be reached, each session would lose 5 s."""

    def __init__(self) -> None:
        self.name = ""
        self._ask_at = float("-inf")
        self._is_reported = False

    async def find(self, app_id: str, clock: Clock) -> Optional[Failure]:
        """Ask for it unless it is known; return the problem to report."""
        if clock.monotonic() < self._ask_at:
            return None
        bootstrap = importlib.import_module("spatius.bootstrap")
        try:
            answer = await asyncio.wait_for(
                bootstrap.fetch_bootstrap(app_id=app_id), BOOTSTRAP_DEADLINE_S
            )
            region = answer["region"]["current"]
            if not _REGION.fullmatch(region):
                raise ValueError("it names no region")
        except Exception as error:
            # The SDK, too, takes its default, or the last good answer.
            self.name = self.name or DEFAULT_REGION
            self._ask_at = clock.monotonic() + BOOTSTRAP_RETRY_S
            if self._is_reported:
                return None
            self._is_reported = True
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            return Failure(
                "the nearest Spatius region is not known, since the global "
                f"service does not answer as expected ({reason}); "
                f"{self.name} is used. Set params.region "
                f"({', '.join(REGIONS)}): then it is not asked",
                ends_session=False,
                code="regionUnknown",
                phase="bootstrap",
            )
        self.name = region
        self._ask_at = float("inf")
        return None


_nearest_region = _NearestRegion()


def region_in_use(params: Params) -> str:
    """Return the region that sessions are opened in, "" if it is not known
    or the URLs decide."""
    if params.console_endpoint_url:
        return ""
    region = params.region or AUTO_REGION
    return _nearest_region.name if region == AUTO_REGION else region


async def find_region(params: Params, clock: Clock) -> Optional[Failure]:
    """Ask spatius for the nearest region unless it is configured or known;
    return the problem to report."""
    if not _is("spatius") or endpoints(params) is not None:
        return None
    return await _nearest_region.find(params.spatius_app_id, clock)


_loading: "Optional[Future[None]]" = None


async def _preload() -> None:
    """Load the websocket client and the machine's certificates: the SDK leaves
    both to its first connection, and blocks the event loop for 30 ms.

    On a thread of its own: others may keep the loop's own threads busy.
    """
    global _loading
    if _loading is None:
        loading: Future[None] = Future()
        loading.set_running_or_notify_cancel()  # not cancelled with a waiter
        threading.Thread(
            target=_load, args=(loading,), name="load-spatius", daemon=True
        ).start()
        _loading = loading
    await asyncio.wrap_future(_loading)


def _load(loading: "Future[None]") -> None:
    with contextlib.suppress(Exception):  # then the SDK does so itself
        importlib.import_module("websockets.asyncio.client")
        if _is("spatius"):
            importlib.import_module("spatius.net").get_ssl_context()
    loading.set_result(None)


class _NoDebug(logging.Filter):
    """Drops the websocket library's debug lines: they show the session key,
    and all that the service says, unredacted."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


logging.getLogger("websockets.client").addFilter(_NoDebug())


def package() -> str:
    """Return name and version of the SDK in use, "" if there is none."""
    if _sdk is None:
        return ""
    version = getattr(_sdk, "__version__", "unknown version")
    return f"{_sdk.__name__} {version}"


def problem(ogg_opus: bool = False, extra_params: bool = False) -> str:
    """Return the error message for an SDK that cannot be used here, or not
    with these options; "" if it can."""
    if _sdk is None:
        return _import_problem
    if extra_params and not _is("spatius"):
        return (
            f"params.extra_params: the SDK package {_sdk.__name__} cannot send "
            "them; leave them out, or install spatius"
        )
    if ogg_opus:
        return _opus_problem(_sdk)
    return ""


def _opus_problem(sdk: ModuleType) -> str:
    if _is("spatialreal"):
        return (
            "params.audio_format ogg_opus: the SDK package spatialreal does "
            "not encode; use pcm_s16le, or install spatius"
        )
    name = "opuslib_next" if _is("spatius") else "opuslib"
    advice = (
        f'audio_format ogg_opus needs pip install "{sdk.__name__}[opus]" and '
        "the system's libopus (Debian: apt-get install libopus0)"
    )
    try:
        importlib.import_module(name)
    except Exception as error:  # the binding raises a bare Exception
        return f"{advice}; {name}: {error or type(error).__name__}"
    return ""


def configure_telemetry(enabled: bool, endpoint: Optional[str] = None) -> None:
    """Switch the SDK's telemetry; call before any session.

    It goes to the vendor if no `endpoint` is given. It is one setting for
    the process: if another extension has started telemetry already, it
    stays as it is.
    """
    configure = getattr(_sdk, "configure_telemetry", None)
    if configure is None:
        return  # only spatius has any
    with contextlib.suppress(RuntimeError):
        configure(endpoint if enabled else "")


def endpoints(params: Params) -> Optional[tuple[str, str]]:
    """Return the URLs of console and ingress, None if the SDK asks the
    service itself for the nearest region."""
    if params.console_endpoint_url and params.ingress_endpoint_url:
        return params.console_endpoint_url, params.ingress_endpoint_url
    region = params.region or AUTO_REGION
    if _is("spatialreal"):
        return None
    if region == AUTO_REGION:
        if _is("spatius"):
            return None
        region = DEFAULT_REGION
    domain = "spatialwalk.top" if region.startswith("cn-") else "spatius.ai"
    return (
        f"https://console.{region}.{domain}/v1/console",
        f"wss://api.{region}.{domain}/v2/driveningress",
    )


def _is(name: str) -> bool:
    """Return whether this is the SDK package in use."""
    return _sdk is not None and _sdk.__name__ == name


def _endpoint_arguments(params: Params) -> dict[str, str]:
    """Return the SDK's arguments that locate the service.

    avatarkit knows no regions, and ignores the argument in silence.
    """
    if not params.console_endpoint_url:
        if _is("spatius"):
            return {"region": region_in_use(params) or AUTO_REGION}
        if _is("spatialreal"):
            region = params.region or AUTO_REGION
            return {} if region == AUTO_REGION else {"environment": region}
    urls = endpoints(params)
    assert urls is not None
    return {"console_endpoint_url": urls[0], "ingress_endpoint_url": urls[1]}


class Sdk:
    """The SDK in use, with the node's params.

    Each of its sessions has tokens of its own, which expire
    `session_expire_minutes` after they were made, and are handed to
    `add_secrets` before they can be logged.
    """

    def __init__(
        self,
        params: Params,
        clock: Clock,
        add_secrets: Callable[[list[str]], None],
    ) -> None:
        self._params = params
        self._clock = clock
        self._add_secrets = add_secrets
        self._urls = endpoints(params) or ("", "")

    async def preload(self) -> Optional[Failure]:
        """Do the blocking work of a first connection; return a failure to
        report."""
        if _sdk is None:
            return None  # `new_session` says so
        _console.set(_Console(self._urls[0]))
        await _preload()
        return await find_region(self._params, self._clock)

    def new_session(self, sample_rate_hz: int, **callbacks: Any) -> Any:
        """Return the SDK's session, with those of the callbacks that it has.
        Raises `SessionError`."""
        params = self._params
        unusable = problem(extra_params=bool(params.extra_params))
        if unusable:
            raise SessionError(
                Failure(unusable, fatal=True, is_configuration=True)
            )
        sdk: Any = _sdk
        now_s = int(self._clock.epoch())
        expires_at_s = now_s + params.session_expire_minutes * 60
        try:
            agora_token = params.issue_agora_token(expires_at_s)
        except ImportError as error:
            raise SessionError(
                Failure(
                    f"no Agora token can be signed ({error}): run pip install "
                    "-r requirements.txt in the extension's folder, or give "
                    "params.agora_token",
                    fatal=True,
                    code="noTokenBuilder",
                    is_configuration=True,
                )
            ) from error
        self._add_secrets([agora_token])
        arguments = _arguments(
            sdk, params, agora_token, expires_at_s, sample_rate_hz
        )
        configure_telemetry(params.telemetry, params.telemetry_endpoint)
        return sdk.new_avatar_session(**arguments, **_known(sdk, callbacks))

    def explain(self, error: BaseException) -> Failure:
        """Return the meaning of an exception of the SDK."""
        console = _console.get()
        is_console = getattr(error, "phase", "") == "session_token"
        variable, proxy = _proxy_of(self._urls[0 if is_console else 1])
        if is_console and not _is_http(proxy):
            variable = ""  # the SDKs' HTTP client speaks no SOCKS
        surroundings = Surroundings(
            own_endpoints=bool(self._params.console_endpoint_url),
            signs_agora_token=self._params.agora_token is None,
            proxy_variable=variable,
            headers=console.headers if console else {},
            now_s=self._clock.epoch(),
        )
        return failure_of(error, surroundings)

    def request_of(self, data: bytes) -> tuple[str, str]:
        """Return the ids of request and connection in a
        ServerResponseAnimation; `data` are the bytes of its whole Message."""
        assert _sdk is not None
        messages = importlib.import_module(
            f"{_sdk.__name__}.proto.generated.message_pb2"
        )
        message = messages.Message.FromString(data).server_response_animation
        return message.req_id, message.connection_id


def _arguments(
    sdk: Any,
    params: Params,
    agora_token: str,
    expires_at_s: float,
    sample_rate_hz: int,
) -> dict[str, Any]:
    """Return the SDK's arguments for a session, without its callbacks."""
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
    if params.extra_params:
        arguments["extra_params"] = dict(params.extra_params)
    if params.audio_format == "ogg_opus":
        arguments["audio_format"] = sdk.AudioFormat.OGG_OPUS
        arguments["ogg_opus_encoder"] = sdk.OggOpusEncoderConfig()
    return arguments


def _known(sdk: Any, callbacks: dict[str, Any]) -> dict[str, Any]:
    """Return those of the callbacks that the SDK's sessions have."""
    fields = getattr(sdk.SessionConfig, "__dataclass_fields__", callbacks)
    return {name: callbacks[name] for name in callbacks if name in fields}
