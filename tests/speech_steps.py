"""Makes `Speech`, carries out its steps, and reads its totals."""

import dataclasses
import itertools

from spatius_avatar_python.speech import Interrupt, Limits, Speech
from spatius_avatar_python.speech.avatar_output import Send, Step
from spatius_avatar_python.speech.events import (
    AudioEnd,
    AudioStart,
    Overflow,
    Summary,
    Turn,
)

from devkit.harness.conversation import unaccounted
from devkit.motion_server.judge import unique_pcm

RATE = 24000
BYTES_PER_MS = 48

FIRST = Turn("session", 1)
SECOND = Turn("session", 2)
THIRD = Turn("session", 3)

_seeds = itertools.count()


def pcm(ms: float) -> bytes:
    """Return so much audio, different from all that was made before."""
    return unique_pcm(ms, RATE, next(_seeds))


def make(max_buffered_s: float = 60.0, end_timeout_s: float = 1.5) -> Speech:
    return Speech(
        sample_rate=RATE,
        limits=Limits(
            max_buffered_s=max_buffered_s,
            end_timeout_s=end_timeout_s,
            resume_within_s=0,
        ),
    )


def written(
    speech: Speech,
    now: float,
    req_id: str = "",
    connection_id: str = "",
) -> bool:
    """Settle the writer's step; it arrives at once."""
    more = speech.avatar.written(now, req_id, connection_id)
    mark = speech.mark()
    if mark is not None:
        speech.arrived(mark, now)
    return more


def write(
    speech: Speech,
    now: float = 0.0,
    req_id: str = "r",
    connection_id: str = "",
) -> list[Step]:
    """Carry out all steps that there are, and return them."""
    steps: list[Step] = []
    while (step := speech.avatar.next(now)) is not None:
        written(speech, now, req_id, connection_id)
        steps.append(step)
    check_sum(speech)
    return steps


def audio_of(steps: list[Step]) -> bytes:
    return b"".join(step.audio for step in steps if isinstance(step, Send))


def ends_of(steps: list[Step]) -> int:
    return sum(isinstance(step, Send) and step.end for step in steps)


def interrupts_of(steps: list[Step]) -> int:
    return sum(isinstance(step, Interrupt) for step in steps)


def check_sum(speech: Speech) -> None:
    """Check that each sample is accounted for, once."""
    totals = speech.totals
    assert unaccounted(totals) == 0
    assert min(dataclasses.astuple(totals)) >= 0


def take_events(speech: Speech) -> list:
    """Return the reports, without the starts and ends of playout."""
    return [
        event
        for event in speech.take_events()
        if not isinstance(event, (AudioStart, AudioEnd))
    ]


def summaries_of(speech: Speech) -> list[Summary]:
    return [
        event for event in take_events(speech) if isinstance(event, Summary)
    ]


def overflows_of(speech: Speech) -> list[Overflow]:
    return [
        event for event in take_events(speech) if isinstance(event, Overflow)
    ]
