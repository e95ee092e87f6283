"""The table of the avatar's states, walked at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatius_avatar_python.avatar.state import (
    TRANSITIONS,
    Event,
    IllegalTransition,
    State,
    after,
)

LAST = (State.FAILED, State.CLOSED)


@given(st.lists(st.sampled_from(Event)))
def test_walk(events: list[Event]):
    """Legal events lead where the table says, illegal ones raise and change
    nothing; FAILED and CLOSED are last."""
    table = {state: dict(row) for state, row in TRANSITIONS.items()}
    state, visited = State.NEW, [State.NEW]
    for event in events:
        if event in table[state]:
            state = after(state, event)
            assert state is table[visited[-1]][event]
        else:
            with pytest.raises(IllegalTransition, match=event.name):
                after(state, event)
        visited.append(state)
    assert table == TRANSITIONS
    ends = [each for each in visited if each in LAST]
    assert visited[len(visited) - len(ends) :] == ends, "it left a last state"
    assert len(set(ends)) <= 1


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_each_event_in_each_state(state: State, event: Event):
    """It is in the table, or illegal and named with the state."""
    row = TRANSITIONS[state]
    if event in row:
        assert after(state, event) is row[event]
    else:
        with pytest.raises(IllegalTransition) as raised:
            after(state, event)
        assert str(raised.value) == f"{event.name} in the state {state.name}"


@pytest.mark.parametrize("state", State)
def test_stop_and_failure_are_always_legal(state: State):
    """In any state."""
    for event in (Event.STOP, Event.FAIL):
        assert after(state, event) in LAST


def test_every_state_can_be_reached():
    """From NEW."""
    reached, waiting = {State.NEW}, [State.NEW]
    while waiting:
        new = set(TRANSITIONS[waiting.pop()].values()) - reached
        reached |= new
        waiting += new
    assert reached == set(State)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ("CONNECT OPENED", State.READY),
        ("CONNECT LOST LOST OPENED", State.READY),
        ("CONNECT OPENED RENEW OPENED", State.READY),
        ("CONNECT OPENED RENEW LOST", State.RECOVERING),
        ("CONNECT LOST VOICE LOST RENEW", State.FALLBACK),
        ("CONNECT LOST VOICE OPENED", State.READY),
        ("SLEEP CONNECT OPENED SLEEP", State.ASLEEP),
        ("CONNECT VOICE SLEEP CONNECT", State.CONNECTING),
        ("CONNECT FAIL VOICE STOP", State.FAILED),
        ("CONNECT STOP FAIL", State.CLOSED),
    ],
)
def test_ways_of_a_conversation(events: str, state: State):
    """As docs/messages.md describes the states."""
    now = State.NEW
    for name in events.split():
        now = after(now, Event[name])
    assert now is state


@pytest.mark.parametrize("event", [Event.CONNECT, Event.OPENED, Event.LOST])
@pytest.mark.parametrize("state", LAST)
def test_nothing_follows_the_last_state(state: State, event: Event):
    """No session is wanted, opened or lost any more."""
    with pytest.raises(IllegalTransition):
        after(state, event)
