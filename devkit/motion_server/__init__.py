"""A local Spatius service, for tests, benchmarks and demonstrations.

It speaks the real protocol to the real SDK, records all that a client does,
and fails on demand.
"""

from .clock import Clock
from .faults import (
    Animate,
    AudioBytes,
    AudioMessages,
    BlackHole,
    Close,
    Faults,
    Hang,
    Malformed,
    OnConfirm,
    OnEnd,
    OnInterrupt,
    Quiet,
    Refuse,
    Reset,
    Resume,
    ServerError,
    Silence,
    Slow,
    SlowReader,
    Stall,
    StopPlayback,
    Unreachable,
)
from .ingress import PlanLimits
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
    "BlackHole",
    "Clock",
    "Close",
    "Connection",
    "Event",
    "Faults",
    "Hang",
    "Interrupt",
    "Malformed",
    "MotionServer",
    "OnConfirm",
    "OnEnd",
    "OnInterrupt",
    "PlanLimits",
    "PlaybackSignals",
    "Quiet",
    "Record",
    "Refuse",
    "Request",
    "Reset",
    "Resume",
    "ServerError",
    "SessionConfig",
    "Silence",
    "Slow",
    "SlowReader",
    "Stall",
    "StopPlayback",
    "TokenRequest",
    "Unreachable",
    "Upgrade",
    "WaitTimeout",
    "event_line",
]
