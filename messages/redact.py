"""Keeps secrets and line breaks out of texts that are not all our own.

Our own sentences hold no secrets; the words of a service, of an exception or
of a configuration value may repeat one, in whole or in part.
"""

import traceback
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

MAX_ID = 100
"""How many characters of an id are kept."""

PIECE = 6
"""The longest piece of a secret that may still be shown is one shorter."""

MASK = "***"

MAX_RECENT = 32
MAX_RECENT_SIZE = 1 << 18
"""Tokens are new with each connection; those of older ones are forgotten, or
they would pile up indefinitely. At most so many are kept, with at most so many
characters in all; the latest always is."""

ALLOWLIST = """
spatius_avatar_python Spatius spatius_api_key spatius_app_id spatius_avatar_id
agora_appid agora_appcert agora_token agora_channel agora_uid params. channel
region audio_format sample_rate session_expire_minutes console_endpoint_url
ingress_endpoint_url end_of_speech_timeout_ms max_buffered_speech_s
resume_rewind_ms resume_within_s fallback_after_ms idle_disconnect_s
max_session_minutes one_request_at_a_time prebuffer_ms extra_params telemetry
telemetry_endpoint connection session_token websocket_runtime
websocket_connect websocket_handshake websocket_send recovering connecting
avatar_state
"""
"""No piece of these is masked, or a key that begins with "spatius" would make
our sentences unreadable."""


_PACKAGE = __name__.removesuffix("messages.redact")


def _pieces(text: str) -> set[str]:
    return {text[i : i + PIECE] for i in range(len(text) - PIECE + 1)}


class Redactor:
    """Masks every piece of the known secrets in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._allowed = _pieces(ALLOWLIST)
        self._permanent: set[str] = set()
        self._recent: deque[str] = deque()
        # Each piece of them, with how many have it.
        self._counts: Counter[str] = Counter()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Keep `secret` out of every text from now on."""
        self._permanent |= self._hidden_pieces(secret)

    def add_recent(self, secret: str) -> None:
        """Keep `secret` out of texts until enough newer ones have come."""
        if secret in self._recent:
            return
        self._recent.append(secret)
        self._counts.update(self._hidden_pieces(secret))
        while len(self._recent) > 1 and (
            len(self._recent) > MAX_RECENT
            or sum(map(len, self._recent)) > MAX_RECENT_SIZE
        ):
            self._forget(self._recent.popleft())

    def _forget(self, secret: str) -> None:
        for piece in self._hidden_pieces(secret):
            self._counts[piece] -= 1
            if not self._counts[piece]:
                del self._counts[piece]

    def _hidden_pieces(self, secret: str) -> set[str]:
        return _pieces(secret) - self._allowed

    def __call__(self, text: str) -> str:
        """Return `text` with each run of secret characters masked."""
        secret = bytearray(len(text))
        for i in range(len(text) - PIECE + 1):
            piece = text[i : i + PIECE]
            if piece in self._counts or piece in self._permanent:
                secret[i : i + PIECE] = b"\x01" * PIECE
        if not any(secret):
            return text
        shown: list[str] = []
        for i, character in enumerate(text):
            if not secret[i]:
                shown.append(character)
            elif i == 0 or not secret[i - 1]:
                shown.append(MASK)
        return "".join(shown)

    def __repr__(self) -> str:
        count = len(self._permanent) + len(self._counts)
        return f"<Redactor of {count} pieces>"


def hidden_in(url: str) -> list[str]:
    """Return the parts of `url` that `bare_url` leaves out."""
    try:
        parts = urlsplit(url)
    except ValueError:  # half of an IPv6 address
        return []
    hidden = (parts.username, parts.password, parts.query, parts.fragment)
    return [part for part in hidden if part]


def bare_url(url: str) -> str:
    """Return `url` without the parts that can hold a password or a key."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a port out of range, half of an IPv6 address
        return "an invalid URL"
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def defect(error: BaseException) -> str:
    """Return an exception that was not expected, for a report: with the last
    line of this package that it came from, as in `messages/redact.py:42`."""
    try:
        text = repr(error)
    except Exception:
        text = type(error).__name__
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_PACKAGE):
            path = module.removeprefix(_PACKAGE).replace(".", "/")
            place = f" at {path}.py:{line}"
    return text + place


def one_line(text: str) -> str:
    """Return `text` as one line that forges no other in a log."""
    spaced = " ".join(text.split())
    return "".join(one for one in spaced if one.isprintable())


def clean_id(id_: Any) -> str:
    """Return an id of a service or node, short and on one line."""
    return one_line(str(id_ or "")[:MAX_ID])
