"""What has been said and what goes next: pure, without I/O or a clock."""

from .overflow import Overflow as Overflow
from .queue import Event as Event
from .queue import Interrupt as Interrupt
from .queue import Send as Send
from .queue import Speech as Speech
from .queue import Step as Step
from .staleness import TurnIdReused as TurnIdReused
from .totals import BYTES_PER_SAMPLE as BYTES_PER_SAMPLE
from .totals import Totals as Totals
from .turn import Turn as Turn
from .utterance import Summary as Summary
