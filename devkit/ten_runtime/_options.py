"""Small values that calls take: log levels, log and send options, places."""

from enum import IntEnum
from typing import NamedTuple


class LogLevel(IntEnum):
    INVALID = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class LogOption:
    """How a log call finds its caller; the stand-in does not read it."""

    __slots__ = ("skip", "sync")

    def __init__(self, skip: int = 2, sync: bool = False) -> None:
        self.skip = skip
        self.sync = sync


DefaultLogOption = LogOption(skip=2)


class SendOptions:
    """`wait_for_result`: wait until the message is on its way, or has failed.

    Without it a send neither waits nor reports an error.
    """

    __slots__ = ("wait_for_result",)

    def __init__(self, wait_for_result: bool = False) -> None:
        self.wait_for_result = wait_for_result


class Loc(NamedTuple):
    """Where a message comes from; all None for one made by oneself."""

    app_uri: str | None = None
    graph_id: str | None = None
    extension_name: str | None = None
