"""The events of a session, as the supervisor returns them to the driver."""

from typing import NamedTuple, Union

from ..session import Failure, Session


class Wanted(NamedTuple):
    """A session is wanted, and none was before."""

    reason: str
    """start or wake"""


class Connecting(NamedTuple):
    """An attempt to open a session has begun."""


class Opened(NamedTuple):
    """A session is ready."""

    session: Session
    reason: str
    """connected, recovered or renewed"""


class Lost(NamedTuple):
    """A session was lost, or could not be opened. A new attempt follows."""

    failure: Failure
    begins_outage: bool


class OutageLasts(NamedTuple):
    """There has been no stable session for a while."""

    failure: Failure
    """Of the latest attempt."""
    outage_s: float
    attempts: int
    next_attempt_in_s: float


class Renewing(NamedTuple):
    """A session is being closed, and the next one takes its place."""


class GaveUp(NamedTuple):
    """A new attempt cannot help."""

    failure: Failure


class Left(NamedTuple):
    """A session that had been ready is closed."""

    session: Session
    connected_s: float


class Slept(NamedTuple):
    """No session is open until there is something to say."""

    reason: str


SupervisorEvent = Union[
    Wanted,
    Connecting,
    Opened,
    Lost,
    OutageLasts,
    Renewing,
    GaveUp,
    Left,
    Slept,
]
