"""The buttons that make the service go wrong."""

from collections.abc import Callable

from ..motion_server import (
    BlackHole,
    Close,
    Connection,
    MotionServer,
    PlaybackSignals,
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
IDLE = "no audio input for 60s"
DEADLINE_EXCEEDED = 4


class FaultButtons:
    """Each button does one thing to the service and returns a sentence about
    it.

    On the server's own thread. Raises `Refused`.
    """

    def __init__(self, server: MotionServer, feed: Feed) -> None:
        self._server = server
        self._feed = feed
        self._is_console_down = False

    def buttons(self) -> dict[str, Callable[[], str]]:
        """The buttons of a page, by name."""
        return {
            press.__name__: press
            for press in (
                self.drop,
                self.stall,
                self.black_hole,
                self.refuse,
                self.console_down,
                self.idle_timeout,
                self.playback_signals,
                self.preempts,
                self.exhaust,
            )
        }

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
            return "The service reads again: what has waited arrives at once."
        if not open_ones:
            raise Refused("No connection is open: nothing to stall.")
        self._server.now(Stall())
        return f"The service has stopped reading from {_named(open_ones)}."

    def black_hole(self) -> str:
        """Lose the packets of every open connection, until `stall` resumes."""
        open_ones = self._open()
        if not open_ones:
            raise Refused("No connection is open: no packets to lose.")
        self._server.now(BlackHole())
        return (
            f"The network loses all packets of {_named(open_ones)}, in both "
            "directions, until Resume."
        )

    def refuse(self) -> str:
        """Refuse the next connection."""
        if self._feed.has_failed:
            raise Refused("The avatar has failed already: start it again.")
        self._server.faults.upgrade(Refuse(503, detail=REFUSAL))
        self._feed.plan_refusal(REFUSAL)
        return (
            "The next connection will be refused with status 503: drop the "
            "current one to see it."
        )

    def exhaust(self) -> str:
        """Report that the credits are used up, and end the session."""
        if self._feed.has_failed:
            raise Refused("The avatar has failed already: start it again.")
        live = self._live()
        error = ServerError(CREDITS_EXHAUSTED, "credits exhausted")
        if not live:
            self._server.faults.handshake(error)
            return "No session is live: the next one will have no credits."
        self._server.now(error)
        self._server.now(Close(CREDITS_EXHAUSTED, "credits exhausted"))
        return "The service reports that the credits are exhausted (4001)."

    def idle_timeout(self) -> str:
        """End the session as the service does when nobody speaks."""
        if not self._live():
            raise Refused("No session is live: nothing to end.")
        if self._feed.is_heard:
            raise Refused("The avatar speaks: the session is not idle.")
        self._server.now(ServerError(DEADLINE_EXCEEDED, IDLE))
        self._server.now(Close(1000, IDLE))
        return "The service ended the idle session. Speak wakes the avatar."

    def console_down(self) -> str:
        """Take the console down, or up again."""
        self._is_console_down = not self._is_console_down
        self._feed.show(is_console_down=self._is_console_down)
        if self._is_console_down:
            self._server.console_down()
            return "The console is down: no new session tokens."
        self._server.console_up()
        return "The console answers again."

    def playback_signals(self) -> str:
        """Have the service report playback, or stop that."""
        is_on = self._server.playback_signals is None
        self._server.playback_signals = PlaybackSignals() if is_on else None
        self._feed.show(has_signals=is_on)
        if is_on:
            return "The service reports what it has played."
        return "The service reports no playback: the extension estimates it."

    def preempts(self) -> str:
        """Have a newer request cut the one that plays, or wait for it."""
        is_on = not self._server.preempts
        self._server.preempts = is_on
        # Positions are sent to the sessions of clients that know them.
        self._server.capabilities = ("playback_state",) if is_on else ()
        self._feed.show(preempts=is_on)
        if is_on:
            return "A newer request cuts the one that plays."
        return "A newer request waits until the one before has been played."

    def _live(self) -> list[Connection]:
        return [one for one in self._open() if one.confirmed_s is not None]

    def _open(self) -> list[Connection]:
        connections = self._server.record.connections
        return [one for one in connections if one.closed_s is None]


def _named(connections: list[Connection]) -> str:
    numbers = [str(connection.number) for connection in connections]
    if len(numbers) == 1:
        return f"connection {numbers[0]}"
    return f"connections {', '.join(numbers)}"
