"""The state machine of speech: pure, without I/O or a clock."""

from .avatar_output import Interrupt as Interrupt
from .avatar_output import Send as Send
from .avatar_output import Step as Step
from .playout import Mark as Mark
from .speech import Speech as Speech
from .utterance import BYTES_PER_SAMPLE as BYTES_PER_SAMPLE
from .utterance import AudioEnd as AudioEnd
from .utterance import AudioStart as AudioStart
from .utterance import Limits as Limits
from .utterance import Overflow as Overflow
from .utterance import Preempted as Preempted
from .utterance import SlowDelivery as SlowDelivery
from .utterance import SpeechEvent as SpeechEvent
from .utterance import SpeechLost as SpeechLost
from .utterance import Summary as Summary
from .utterance import Totals as Totals
from .utterance import Turn as Turn
from .utterance import TurnIdReused as TurnIdReused
from .voice_output import Say as Say
