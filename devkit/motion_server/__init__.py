"""A local Spatius service, for tests, benchmarks and demonstrations.

It speaks the real protocol to the real SDK, records all that a client does,
and fails on demand.
"""

from .clock import Clock, ScaledClock
from .faults import (
    Animate,
    AudioBytes,
    AudioMessages,
    Close,
    Faults,
    Hang,
    Malformed,
    OnEnd,
    OnInterrupt,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    SlowReader,
    Stall,
    Unreachable,
)
from .model import (
    AudioNotKept,
    Connection,
    Event,
    Interrupt,
    Request,
    SessionConfig,
    TokenRequest,
    Upgrade,
)
from .playback import PlaybackSignals
from .record import Record
from .server import MotionServer
from .timeline import WaitTimeout
from .views import event_line

__all__ = [
    "Animate",
    "AudioBytes",
    "AudioMessages",
    "AudioNotKept",
    "Clock",
    "Close",
    "Connection",
    "Event",
    "Faults",
    "Hang",
    "Interrupt",
    "Malformed",
    "MotionServer",
    "OnEnd",
    "OnInterrupt",
    "PlaybackSignals",
    "Record",
    "Refuse",
    "Request",
    "Reset",
    "Resume",
    "ScaledClock",
    "ServerError",
    "SessionConfig",
    "Silence",
    "Slow",
    "SlowReader",
    "Stall",
    "TokenRequest",
    "Unreachable",
    "Upgrade",
    "WaitTimeout",
    "event_line",
]
