"""The state machine of speech: pure, without I/O or a clock."""

from . import events
from .avatar_output import Interrupt, Step
from .events import Turn
from .playout import Mark
from .speech import Speech
from .utterance import BYTES_PER_SAMPLE, Limits, Totals

__all__ = [
    "BYTES_PER_SAMPLE",
    "Interrupt",
    "Limits",
    "Mark",
    "Speech",
    "Step",
    "Totals",
    "Turn",
    "events",
]
