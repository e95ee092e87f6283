"""The action of a button of the page."""

from collections.abc import Awaitable, Callable

Button = Callable[[], Awaitable[str]]
"""Does something and returns a sentence about it. Raises `Refused`."""


class Refused(RuntimeError):
    """The button does nothing now; the text says why."""
