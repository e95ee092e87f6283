"""The buttons that make the service go wrong."""

from ..motion_server import (
    Close,
    Connection,
    MotionServer,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Stall,
)
from .button import Refused
from .feed import Feed

REFUSAL = "refused from the window"
CREDITS_EXHAUSTED = 4001


class FaultButtons:
    """Each method does one thing to the service and says what it did.

    On the server's own thread. Raises `Refused`.
    """

    def __init__(self, server: MotionServer, feed: Feed) -> None:
        self._server = server
        self._feed = feed

    def drop(self) -> str:
        """Break every open connection."""
        open_ones = self._open()
        if not open_ones:
            raise Refused("No connection is open: nothing to drop.")
        self._server.now(Reset())
        return f"Broke {_named(open_ones)} with a TCP reset."

    def stall(self) -> str:
        """Stop reading from every open connection, or read on."""
        open_ones = self._open()
        if any(connection.stalled for connection in open_ones):
            self._server.now(Resume())
            return "The service reads on: what has waited arrives at once."
        if not open_ones:
            raise Refused("No connection is open: nothing to stall.")
        self._server.now(Stall())
        return f"The service has stopped reading from {_named(open_ones)}."

    def refuse(self) -> str:
        """Refuse the next connection."""
        self._server.faults.upgrade(Refuse(503, detail=REFUSAL))
        self._feed.plan_refusal(REFUSAL)
        return (
            "The next connection will be refused with status 503; drop the "
            "present one to see it."
        )

    def exhaust(self) -> str:
        """Say that the credits are used up, and end the session."""
        live = [one for one in self._open() if one.confirmed_s is not None]
        error = ServerError(CREDITS_EXHAUSTED, "credits exhausted")
        if not live:
            self._server.faults.handshake(error)
            return "No session is live: the next one will have no credits."
        self._server.now(error)
        self._server.now(Close(CREDITS_EXHAUSTED, "credits exhausted"))
        return "Told the client that the credits are exhausted (code 4001)."

    def _open(self) -> list[Connection]:
        connections = self._server.record.connections
        return [one for one in connections if one.closed_s is None]


def _named(connections: list[Connection]) -> str:
    numbers = [str(connection.number) for connection in connections]
    if len(numbers) == 1:
        return f"connection {numbers[0]}"
    return f"connections {', '.join(numbers)}"
