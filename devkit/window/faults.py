"""The buttons that make the service go wrong."""

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
from .button import Button, Refused
from .feed import REFUSAL, Feed

CREDITS_EXHAUSTED = 4001
IDLE = "no audio input for 60s"
DEADLINE_EXCEEDED = 4


class FaultButtons:
    """Each button does one thing to the service and returns a sentence about
    it.

    To be awaited on the server's own loop. Raises `Refused`.
    """

    def __init__(self, server: MotionServer, feed: Feed) -> None:
        self._server = server
        self._feed = feed
        self._session = feed.session

    def buttons(self) -> dict[str, Button]:
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

    async def drop(self) -> str:
        """Break every open connection."""
        named = _named(self._open("nothing to drop"))
        self._server.now(Reset())
        return f"Broke {named} with a TCP reset."

    async def stall(self) -> str:
        """Stop reading from every open connection, or read on."""
        open_ones = self._open("nothing to stall")
        if any(connection.stalled for connection in open_ones):
            self._server.now(Resume())
            return "The service reads again: what has waited arrives at once."
        self._server.now(Stall())
        return f"The service has stopped reading from {_named(open_ones)}."

    async def black_hole(self) -> str:
        """Lose the packets of every open connection, until `stall` resumes."""
        named = _named(self._open("no packets to lose"))
        self._server.now(BlackHole())
        return (
            f"The network loses all packets of {named}, in both directions, "
            "until Resume."
        )

    async def refuse(self) -> str:
        """Refuse the next connection."""
        self._refuse_if_failed()
        self._server.faults.upgrade(Refuse(503, detail=REFUSAL))
        planned = self._session.refusals_planned + 1
        self._feed.show(refusals_planned=planned)
        return (
            "The next connection will be refused with status 503: drop the "
            "current one to see it."
        )

    async def exhaust(self) -> str:
        """Report that the credits are used up, and end the session."""
        self._refuse_if_failed()
        error = ServerError(CREDITS_EXHAUSTED, "credits exhausted")
        if not self._server.record.live_connections:
            self._server.faults.handshake(error)
            return "No session is live: the next one will have no credits."
        self._server.now(error)
        self._server.now(Close(CREDITS_EXHAUSTED, "credits exhausted"))
        return "The service reports that the credits are exhausted (4001)."

    async def idle_timeout(self) -> str:
        """End the session as the service does when nobody speaks."""
        if not self._server.record.live_connections:
            raise Refused("No session is live: nothing to end.")
        if self._session.is_heard:
            raise Refused("The avatar speaks: the session is not idle.")
        self._server.now(ServerError(DEADLINE_EXCEEDED, IDLE))
        self._server.now(Close(1000, IDLE))
        return "The service ended the idle session. Speak wakes the avatar."

    async def console_down(self) -> str:
        """Take the console down, or up again."""
        is_down = not self._session.is_console_down
        self._feed.show(is_console_down=is_down)
        if is_down:
            self._server.console_down()
            return "The console is down: no new session tokens."
        self._server.console_up()
        return "The console answers again."

    async def playback_signals(self) -> str:
        """Have the service report playback, or stop that."""
        is_on = self._server.playback_signals is None
        self._server.playback_signals = PlaybackSignals() if is_on else None
        self._feed.show(has_signals=is_on)
        if is_on:
            return "The service reports what it has played."
        return "The service reports no playback: the extension estimates it."

    async def preempts(self) -> str:
        """Have a newer request cut the one that plays, or wait for it."""
        is_on = not self._server.preempts
        self._server.preempts = is_on
        # Positions are sent to the sessions of clients that know them.
        self._server.capabilities = ("playback_state",) if is_on else ()
        self._feed.show(preempts=is_on)
        if is_on:
            return "A newer request cuts the one that plays."
        return "A newer request waits until the one before has been played."

    def _refuse_if_failed(self) -> None:
        if self._session.has_failed:
            raise Refused("The avatar has failed already: start it again.")

    def _open(self, consequence: str) -> list[Connection]:
        connections = self._server.record.connections
        open_ones = [one for one in connections if one.closed_s is None]
        if not open_ones:
            raise Refused(f"No connection is open: {consequence}.")
        return open_ones


def _named(connections: list[Connection]) -> str:
    numbers = ", ".join(str(connection.number) for connection in connections)
    return f"connection{'s' if len(connections) > 1 else ''} {numbers}"
