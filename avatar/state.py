"""The avatar's state: one enum, one table, one function that changes it.

The states are those of the message `avatar_state` (docs/messages.md). The last
one is entered by a stop, which has a budget.
"""

from enum import Enum
from typing import NamedTuple

from ..transitions import check


class StopBudget(NamedTuple):
    """How long each part of a stop may take, one after the other.

    4 s in all: rule 7 of the session in docs/design.md.
    """

    call_s: float
    """A call in progress, before the connection is dropped: the socket is
    full, so no close handshake would get through."""
    close_s: float
    """The close of the session: no speech waits any more."""
    late_s: float
    """Beyond those, for an event loop that others block."""
    dump_s: float
    """The last audio of the dump."""
    reports_s: float
    """The last reports."""


STOP_BUDGET = StopBudget(
    call_s=0.2, close_s=0.7, late_s=2.7, dump_s=0.3, reports_s=0.1
)


class AvatarState(Enum):
    """Whether the avatar can speak, and why not."""

    NEW = ""
    CONNECTING = "connecting"
    READY = "ready"
    RECOVERING = "recovering"
    FALLBACK = "fallback"
    ASLEEP = "asleep"
    FAILED = "failed"
    CLOSED = "closed"


class Trigger(Enum):
    """Everything that may change the state."""

    CONNECT = "a session is wanted, and none was before"
    OPENED = "a session is ready"
    RENEW = "a session is closed to make room for the next"
    LOST = "a session was lost, or could not be opened"
    VOICE = "the voice speaks in place of the avatar"
    SLEEP = "the session was closed because nothing was said"
    FAIL = "a new attempt cannot help"
    STOP = "the extension stops"


_ALWAYS = {Trigger.FAIL: AvatarState.FAILED, Trigger.STOP: AvatarState.CLOSED}

TRANSITIONS: dict[AvatarState, dict[Trigger, AvatarState]] = {
    AvatarState.NEW: {
        Trigger.CONNECT: AvatarState.CONNECTING,
        Trigger.SLEEP: AvatarState.ASLEEP,
        **_ALWAYS,
    },
    AvatarState.CONNECTING: {
        Trigger.OPENED: AvatarState.READY,
        Trigger.LOST: AvatarState.RECOVERING,
        Trigger.VOICE: AvatarState.FALLBACK,
        Trigger.SLEEP: AvatarState.ASLEEP,
        **_ALWAYS,
    },
    AvatarState.READY: {
        Trigger.RENEW: AvatarState.CONNECTING,
        Trigger.LOST: AvatarState.RECOVERING,
        Trigger.VOICE: AvatarState.FALLBACK,
        Trigger.SLEEP: AvatarState.ASLEEP,
        **_ALWAYS,
    },
    AvatarState.RECOVERING: {
        Trigger.OPENED: AvatarState.READY,
        # Of a session that is not in its channel.
        Trigger.RENEW: AvatarState.RECOVERING,
        Trigger.LOST: AvatarState.RECOVERING,
        Trigger.VOICE: AvatarState.FALLBACK,
        Trigger.SLEEP: AvatarState.ASLEEP,
        **_ALWAYS,
    },
    # Lasts until a session is ready: the listener hears the voice.
    AvatarState.FALLBACK: {
        Trigger.CONNECT: AvatarState.FALLBACK,
        Trigger.OPENED: AvatarState.READY,
        Trigger.RENEW: AvatarState.FALLBACK,
        Trigger.LOST: AvatarState.FALLBACK,
        Trigger.VOICE: AvatarState.FALLBACK,
        Trigger.SLEEP: AvatarState.ASLEEP,
        **_ALWAYS,
    },
    AvatarState.ASLEEP: {
        Trigger.CONNECT: AvatarState.CONNECTING,
        Trigger.VOICE: AvatarState.FALLBACK,
        **_ALWAYS,
    },
    # The voice speaks on; the reports say no more about it.
    AvatarState.FAILED: {
        Trigger.VOICE: AvatarState.FAILED,
        Trigger.FAIL: AvatarState.FAILED,
        Trigger.STOP: AvatarState.FAILED,
    },
    AvatarState.CLOSED: {
        Trigger.FAIL: AvatarState.CLOSED,
        Trigger.STOP: AvatarState.CLOSED,
        Trigger.VOICE: AvatarState.CLOSED,
    },
}


def after(state: AvatarState, trigger: Trigger) -> AvatarState:
    """Return the state that `trigger` leads to; raises `IllegalTransition`."""
    check(TRANSITIONS, state, trigger)
    return TRANSITIONS[state][trigger]
