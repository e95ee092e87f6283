"""One session with Spatius: its state, the SDK, and its errors.

`sdk` imports an SDK, and so does `opener`. Neither is imported here, so that
the others can be used without one.
"""

from .errors import Failure, SessionError
from .session import OpenSession, Session
from .state import PingAnswered, PlaybackSignal, ServiceError, SessionState

__all__ = [
    "Failure",
    "OpenSession",
    "PingAnswered",
    "PlaybackSignal",
    "ServiceError",
    "Session",
    "SessionError",
    "SessionState",
]
