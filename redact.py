"""Keeps secrets out of texts that somebody else wrote.

Our own sentences hold no secrets; the words of a service, of an exception or
of a configuration value may repeat one, in whole or in part.
"""

from collections.abc import Iterable

PIECE = 6
"""The longest piece of a secret that may still be shown is one shorter."""

MASK = "***"


class Redactor:
    """Masks every piece of the known secrets in a text.

    Secrets may be added at any time; those shorter than `PIECE` characters
    are masked where they stand whole.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._pieces: set[str] = set()
        self._short: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Keep `secret` out of every text from now on."""
        if len(secret) < PIECE:
            if secret:
                self._short.add(secret)
            return
        self._pieces.update(
            secret[i : i + PIECE] for i in range(len(secret) - PIECE + 1)
        )

    def __call__(self, text: str) -> str:
        """Return `text` with each run of secret characters masked."""
        hidden = bytearray(len(text))
        for i in range(len(text) - PIECE + 1):
            if text[i : i + PIECE] in self._pieces:
                hidden[i : i + PIECE] = b"\x01" * PIECE
        shown: list[str] = []
        for i, character in enumerate(text):
            if not hidden[i]:
                shown.append(character)
            elif i == 0 or not hidden[i - 1]:
                shown.append(MASK)
        result = "".join(shown)
        for secret in self._short:
            result = result.replace(secret, MASK)
        return result

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._pieces)} pieces>"
