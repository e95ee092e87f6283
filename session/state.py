"""A session's states and their transitions, and the events that it reports."""

from enum import Enum
from typing import NamedTuple, Optional, Union

from .errors import Failure

PLAYBACK_STATES = ("playing", "paused", "ended", "interrupted")


class SessionState(Enum):
    """The state of a session."""

    NEW = "new"
    PREPARING = "preparing"
    """`prepare` is in progress."""
    PREPARED = "prepared"
    """It has its token, and no connection."""
    OPENING = "opening"
    """`open` is in progress, with the console call if it has no token."""
    READY = "ready"
    RETIRED = "retired"
    """No more audio is written; the audio sent so far may still play."""
    LOST = "lost"
    """It cannot be used any more; `loss` says why."""
    CLOSING = "closing"
    CLOSED = "closed"


TRANSITIONS: dict[SessionState, frozenset[SessionState]] = {
    SessionState.NEW: frozenset(
        {SessionState.PREPARING, SessionState.OPENING, SessionState.CLOSING}
    ),
    SessionState.PREPARING: frozenset(
        {SessionState.PREPARED, SessionState.LOST, SessionState.CLOSING}
    ),
    SessionState.PREPARED: frozenset(
        {SessionState.OPENING, SessionState.CLOSING}
    ),
    SessionState.OPENING: frozenset(
        {
            SessionState.READY,
            SessionState.PREPARED,
            SessionState.LOST,
            SessionState.CLOSING,
        }
    ),
    SessionState.READY: frozenset(
        {SessionState.RETIRED, SessionState.LOST, SessionState.CLOSING}
    ),
    SessionState.RETIRED: frozenset({SessionState.LOST, SessionState.CLOSING}),
    SessionState.LOST: frozenset({SessionState.CLOSING}),
    SessionState.CLOSING: frozenset({SessionState.CLOSED}),
    SessionState.CLOSED: frozenset(),
}
"""The states that may follow each state."""


class PlaybackSignal(NamedTuple):
    """The service's report of the playback of one request."""

    req_id: str
    state: str
    """One of `PLAYBACK_STATES`."""
    played_ms: Optional[float]
    """None if the service does not say."""
    reason: str = ""
    """Why playback was interrupted, in the service's words."""
    at_s: float = 0.0
    """When it came, in monotonic seconds."""


class PingAnswered(NamedTuple):
    """The service has received all that was sent before the latest ping."""

    at_s: float


class ServiceError(NamedTuple):
    """A non-fatal error of the service: the session goes on."""

    failure: Failure
    at_s: float


SessionEvent = Union[PlaybackSignal, PingAnswered, ServiceError]
