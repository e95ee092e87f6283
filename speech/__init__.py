"""What has been said and what goes next: pure, without I/O or a clock."""

from .intake import Overflow as Overflow
from .intake import TurnIdReused as TurnIdReused
from .outputs import Event as Event
from .outputs import Interrupt as Interrupt
from .outputs import Say as Say
from .outputs import Send as Send
from .outputs import Step as Step
from .playout import Mark as Mark
from .speech import Speech as Speech
from .utterance import BYTES_PER_SAMPLE as BYTES_PER_SAMPLE
from .utterance import AudioEnd as AudioEnd
from .utterance import AudioStart as AudioStart
from .utterance import Limits as Limits
from .utterance import Summary as Summary
from .utterance import Totals as Totals
from .utterance import Turn as Turn
