"""The avatar's state: one enum, one table, one function that changes it.

The states are those of the message `avatar_state` (docs/messages.md).
"""

from enum import Enum


class State(Enum):
    """Whether the avatar can speak, and why not."""

    NEW = ""
    CONNECTING = "connecting"
    READY = "ready"
    RECOVERING = "recovering"
    FALLBACK = "fallback"
    ASLEEP = "asleep"
    FAILED = "failed"
    CLOSED = "closed"


class Event(Enum):
    """Everything that may change the state."""

    CONNECT = "a session is wanted, and none was before"
    OPENED = "a session is ready"
    RENEW = "a session is closed to make room for the next"
    LOST = "a session was lost, or could not be opened"
    VOICE = "the voice speaks in place of the avatar"
    SLEEP = "the session was closed because nothing was said"
    FAIL = "a new attempt cannot help"
    STOP = "the extension stops"


class IllegalTransition(RuntimeError):
    """An event came that the table does not have in this state."""


_ALWAYS = {Event.FAIL: State.FAILED, Event.STOP: State.CLOSED}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.NEW: {
        Event.CONNECT: State.CONNECTING,
        Event.SLEEP: State.ASLEEP,
        **_ALWAYS,
    },
    State.CONNECTING: {
        Event.OPENED: State.READY,
        Event.LOST: State.RECOVERING,
        Event.VOICE: State.FALLBACK,
        Event.SLEEP: State.ASLEEP,
        **_ALWAYS,
    },
    State.READY: {
        Event.RENEW: State.CONNECTING,
        Event.LOST: State.RECOVERING,
        Event.VOICE: State.FALLBACK,
        Event.SLEEP: State.ASLEEP,
        **_ALWAYS,
    },
    State.RECOVERING: {
        Event.OPENED: State.READY,
        # Of a session that is not in its channel.
        Event.RENEW: State.RECOVERING,
        Event.LOST: State.RECOVERING,
        Event.VOICE: State.FALLBACK,
        Event.SLEEP: State.ASLEEP,
        **_ALWAYS,
    },
    # Lasts until a session is ready: the listener hears the voice.
    State.FALLBACK: {
        Event.CONNECT: State.FALLBACK,
        Event.OPENED: State.READY,
        Event.RENEW: State.FALLBACK,
        Event.LOST: State.FALLBACK,
        Event.VOICE: State.FALLBACK,
        Event.SLEEP: State.ASLEEP,
        **_ALWAYS,
    },
    State.ASLEEP: {
        Event.CONNECT: State.CONNECTING,
        Event.VOICE: State.FALLBACK,
        **_ALWAYS,
    },
    # The voice speaks on; the reports say no more about it.
    State.FAILED: {
        Event.VOICE: State.FAILED,
        Event.FAIL: State.FAILED,
        Event.STOP: State.FAILED,
    },
    State.CLOSED: {
        Event.FAIL: State.CLOSED,
        Event.STOP: State.CLOSED,
        Event.VOICE: State.CLOSED,
    },
}


def after(state: State, event: Event) -> State:
    """Return the state that `event` leads to; raises `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(
            f"{event.name} in the state {state.name}"
        ) from None
