"""Keeps secrets out of texts that are not all our own.

Our own sentences hold no secrets; the words of a service, of an exception or
of a configuration value may repeat one, in whole or in part.
"""

from collections import deque
from collections.abc import Iterable
from urllib.parse import urlsplit

PIECE = 6
"""The longest piece of a secret that may still be shown is one shorter."""

MASK = "***"

MAX_RECENT = 32
"""Tokens are new with each connection; those of older ones are forgotten, or
they would pile up indefinitely."""

ALLOWLIST = """
spatius_avatar_python Spatius spatius_api_key spatius_app_id spatius_avatar_id
agora_appid agora_appcert agora_token agora_channel agora_uid params. channel
session_expire_minutes sample_rate connection session_token websocket_runtime
websocket_connect websocket_handshake websocket_send recovering connecting
avatar_state
"""
"""No piece of these is masked, or a key that begins with "spatius" would make
our sentences unreadable."""


def _pieces(text: str) -> set[str]:
    return {text[i : i + PIECE] for i in range(len(text) - PIECE + 1)}


class Redactor:
    """Masks every piece of the known secrets in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._allowed = _pieces(ALLOWLIST)
        self._permanent: set[str] = set()
        self._recent: deque[str] = deque(maxlen=MAX_RECENT)
        self._hidden: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Keep `secret` out of every text from now on."""
        self._permanent |= _pieces(secret)
        self._gather()

    def add_recent(self, secret: str) -> None:
        """Keep `secret` out of texts until `MAX_RECENT` newer ones came."""
        if secret not in self._recent:
            self._recent.append(secret)
            self._gather()

    def _gather(self) -> None:
        self._hidden = set(self._permanent)
        for secret in self._recent:
            self._hidden |= _pieces(secret)
        self._hidden -= self._allowed

    def __call__(self, text: str) -> str:
        """Return `text` with each run of secret characters masked."""
        secret = bytearray(len(text))
        for i in range(len(text) - PIECE + 1):
            if text[i : i + PIECE] in self._hidden:
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
        return f"<Redactor of {len(self._hidden)} pieces>"


def hidden_in(url: str) -> list[str]:
    """Return the parts of `url` that `bare_url` leaves out."""
    parts = urlsplit(url)
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
