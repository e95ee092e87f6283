"""Inbound messages: each of TEN's becomes a value, or a problem to report.

With typed getters only: TEN's core ends the process when it is asked for the
JSON of a message that holds an integer above 2**63 - 1 or an object with the
same key twice, and other nodes may send both.
"""

import functools
from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Optional, Union

from ten_runtime import AudioFrame, Cmd, Data

from ..speech import BYTES_PER_SAMPLE, Turn
from .redact import clean_id

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8000, 192000
"""Taken if the configuration names no rate. At one of a few Hz, a piece of
audio would have no samples."""

REASON_INTERRUPTED = 2
"""The `reason` of a tts_audio_end whose speech was cut."""

USER_REPORTS = {"on_user_joined": True, "on_user_left": False}
"""Commands of TEN's RTC extension: whether a user has joined the channel, or
has left it."""

TURN_ID = "metadata.turn_id"

NO_TURN_ID = -1
"""The `turn_id` that TEN's own nodes send if they know no turn."""

MAX_UNKNOWN = 100

MAX_RECENT = 8
"""So many turns may wait or play when a flush cuts them."""

MAX_FLUSHED = 64
"""Of so many flushed turns each frame's session is read: one may trail behind
the flush, and be of another session with the same `turn_id`."""


class Frame(NamedTuple):
    """The audio of one pcm_frame: signed 16-bit mono."""

    pcm: bytes
    sample_rate: int
    turn: Optional[Turn]


class SpeechStart(NamedTuple):
    """A `tts_audio_start`."""

    turn: Optional[Turn]
    request_id: str


class SpeechEnd(NamedTuple):
    """A `tts_audio_end` or `finalize`."""

    turn: Optional[Turn]
    request_id: str
    is_cut: bool
    """The speech was interrupted (reason 2)."""


class Connect(NamedTuple):
    """A `trigger_connect`."""


class User(NamedTuple):
    """A user who has joined or left the channel."""

    uid: str
    """Empty if the report names none."""
    has_joined: bool


class Unknown(NamedTuple):
    """A message of a name that is not used here; reported once per name."""

    name: str


class Refused(NamedTuple):
    """Frames that cannot be spoken; reported once per layout."""

    problem: str


class Inbox:
    """Reads frames and data messages; `rates_hz` are expected, any if empty."""

    def __init__(self, rates_hz: Sequence[int] = ()) -> None:
        self.turn: Optional[Turn] = None
        """Of the latest frame."""
        self._rates_hz = tuple(rates_hz)
        # Of the latest frame, if the next one with it is of the same turn.
        self._turn_id: Optional[int] = None
        self._flushed_ids: deque[Hashable] = deque(maxlen=MAX_FLUSHED)
        # Of the frames since the latest flush: the next one may cut them all.
        self._recent_ids: deque[Hashable] = deque(maxlen=MAX_RECENT)
        # Of the latest frame: rate, bytes per sample, channels.
        self._layout: Optional[tuple[int, int, int]] = None
        self._is_refused = False  # frames of that layout
        self._unknown: set[str] = set()  # names already reported

    def frame(self, frame: AudioFrame) -> Union[Frame, Unknown, Refused, None]:
        """Return a frame's audio; None if it holds none, or was reported."""
        if frame.get_name() != "pcm_frame":
            return self._unknown_once(f"audio frame {frame.get_name()!r}")
        rate = frame.get_sample_rate()
        layout = (
            rate,
            frame.get_bytes_per_sample(),
            frame.get_number_of_channels(),
        )
        if layout != self._layout:
            self._layout = layout
            problem = _problem_of(*layout, self._rates_hz)
            self._is_refused = bool(problem)
            if problem:
                return Refused(problem)
        if self._is_refused:
            return None
        try:
            pcm = bytes(frame.get_buf())
        except SystemError:  # it was never given a buffer
            return None
        if not pcm:
            return None
        turn_id, error = frame.get_property_int(TURN_ID)
        if turn_id != self._turn_id or error is not None:
            self._take_turn(frame, turn_id if error is None else None)
        return Frame(pcm, rate, self.turn)

    def data(
        self, data: Data
    ) -> Union[SpeechStart, SpeechEnd, Connect, Unknown, None]:
        """Return the value of a data message; None if it was reported."""
        name = data.get_name()
        if name == "trigger_connect":
            return Connect()
        if name not in ("tts_audio_start", "tts_audio_end", "finalize"):
            return self._unknown_once(f"data {name!r}")
        self._turn_id = None
        turn_id, error = data.get_property_int(TURN_ID)
        turn = _turn_of(data, turn_id if error is None else None)
        request_id, _ = data.get_property_string("request_id")
        request_id = clean_id(request_id)
        if name == "tts_audio_start":
            return SpeechStart(turn, request_id)
        reason, _ = data.get_property_int("reason")
        is_cut = name == "tts_audio_end" and reason == REASON_INTERRUPTED
        if is_cut:
            self.flush()
        return SpeechEnd(turn, request_id, is_cut)

    def user(self, name: str, cmd: Cmd) -> Optional[User]:
        """Return the user that a report of the RTC extension is about, None
        if a command of this name is no such report."""
        if name not in USER_REPORTS:
            return None
        uid, error = cmd.get_property_string("remote_user_id")
        if error is not None:
            number, error = cmd.get_property_int("remote_user_id")
            uid = "" if error is not None else str(number)
        return User(uid.strip(), USER_REPORTS[name])

    def command(self, name: str) -> Optional[Unknown]:
        """Return an unknown command's name, None if it was reported."""
        return self._unknown_once(f"command {name!r}")

    def flush(self) -> None:
        """Take a flush: frames that trail behind it may be of another session
        with the same `turn_id`."""
        self._turn_id = None
        self._flushed_ids.extend(self._recent_ids)
        self._recent_ids.clear()

    def _take_turn(self, frame: AudioFrame, turn_id: Optional[int]) -> None:
        """Read the turn of a frame that may be of another than the latest."""
        self.turn = _turn_of(frame, turn_id)
        self._turn_id = None if turn_id in self._flushed_ids else turn_id
        if self.turn is not None and self.turn.id not in self._recent_ids:
            self._recent_ids.append(self.turn.id)

    def _unknown_once(self, name: str) -> Optional[Unknown]:
        if name in self._unknown or len(self._unknown) >= MAX_UNKNOWN:
            return None
        self._unknown.add(name)
        return Unknown(name)


def _problem_of(
    rate: int, width: int, channels: int, rates_hz: tuple[int, ...]
) -> str:
    """Return why frames of this layout are refused, "" if they are not."""
    is_rate_right = rate in rates_hz
    rates = ", ".join(map(str, rates_hz))
    if not rates_hz:
        is_rate_right = LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ
        rates = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
    is_form_right = width == BYTES_PER_SAMPLE and channels == 1
    if is_form_right and is_rate_right:
        return ""
    layout = "mono" if channels == 1 else f"{channels} channels"
    advice = []
    if not is_form_right:
        advice.append("Have the TTS send signed 16-bit mono PCM")
    if not is_rate_right:
        advice.append(_advice_on_rate(rates_hz))
    return (
        f"pcm_frames of {rate} Hz, {layout}, {8 * width} bit are refused: "
        f"expected {rates} Hz, mono, {8 * BYTES_PER_SAMPLE} bit. "
        f"{'. '.join(advice)}. Nothing is resampled."
    )


def _advice_on_rate(rates_hz: tuple[int, ...]) -> str:
    """Return how to bring the rates of the TTS and the avatar together."""
    if len(rates_hz) != 1:  # "auto" is configured
        return "Set the TTS to one of these rates"
    return (
        'Set params.sample_rate to the rate of the TTS or to "auto", or the '
        "TTS to this one"
    )


def _turn_of(
    message: Union[AudioFrame, Data], number: Optional[int]
) -> Optional[Turn]:
    """Return the turn that a message's metadata names, None if none.

    `number` is its `turn_id`, None if that is no integer.
    """
    turn_id: Union[int, str, None] = number
    if number is None:
        turn_id, _ = message.get_property_string(TURN_ID)
    if turn_id in ("", NO_TURN_ID):
        return None
    session, _ = message.get_property_string("metadata.session_id")
    return _turn(session or None, turn_id)


# One object for one turn: that frames belong together is then quick to see.
_turn = functools.lru_cache(maxsize=8)(Turn)
