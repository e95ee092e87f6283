"""The table of the avatar's states, walked at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatius_avatar_python.avatar.state import (
    STOP_BUDGET,
    TRANSITIONS,
    AvatarState,
    Trigger,
    after,
)
from spatius_avatar_python.transitions import IllegalTransition

LAST = (AvatarState.FAILED, AvatarState.CLOSED)


@given(st.lists(st.sampled_from(Trigger)))
def test_walk(triggers: list[Trigger]):
    """Legal triggers lead where the table says, illegal ones raise and change
    nothing; FAILED and CLOSED are last."""
    table = {state: dict(row) for state, row in TRANSITIONS.items()}
    state, visited = AvatarState.NEW, [AvatarState.NEW]
    for trigger in triggers:
        if trigger in table[state]:
            state = after(state, trigger)
            assert state is table[visited[-1]][trigger]
        else:
            with pytest.raises(IllegalTransition, match=trigger.name):
                after(state, trigger)
        visited.append(state)
    assert table == TRANSITIONS
    ends = [each for each in visited if each in LAST]
    assert visited[len(visited) - len(ends) :] == ends, "it left a last state"
    assert len(set(ends)) <= 1


@pytest.mark.parametrize("state", AvatarState)
def test_each_event_in_each_state(state: AvatarState):
    """It is in the table, or illegal and named with the state."""
    row = TRANSITIONS[state]
    for trigger in Trigger:
        if trigger in row:
            assert after(state, trigger) is row[trigger]
            continue
        with pytest.raises(IllegalTransition) as raised:
            after(state, trigger)
        assert str(raised.value) == f"{trigger.name} in the state {state.name}"


@pytest.mark.parametrize("state", AvatarState)
def test_stop_and_failure_are_always_legal(state: AvatarState):
    """In any state."""
    for trigger in (Trigger.STOP, Trigger.FAIL):
        assert after(state, trigger) in LAST


def test_every_state_can_be_reached():
    """From NEW."""
    reached, waiting = {AvatarState.NEW}, [AvatarState.NEW]
    while waiting:
        new = set(TRANSITIONS[waiting.pop()].values()) - reached
        reached |= new
        waiting += new
    assert reached == set(AvatarState)


@pytest.mark.parametrize(
    ("triggers", "state"),
    [
        ("CONNECT OPENED", AvatarState.READY),
        ("CONNECT LOST LOST OPENED", AvatarState.READY),
        ("CONNECT OPENED RENEW OPENED", AvatarState.READY),
        ("CONNECT OPENED RENEW LOST", AvatarState.RECOVERING),
        ("CONNECT LOST VOICE LOST RENEW", AvatarState.FALLBACK),
        ("CONNECT LOST VOICE OPENED", AvatarState.READY),
        ("SLEEP CONNECT OPENED SLEEP", AvatarState.ASLEEP),
        ("CONNECT VOICE SLEEP CONNECT", AvatarState.CONNECTING),
        ("CONNECT FAIL VOICE STOP", AvatarState.FAILED),
        ("CONNECT STOP FAIL", AvatarState.CLOSED),
    ],
)
def test_ways_of_a_conversation(triggers: str, state: AvatarState):
    """As docs/messages.md describes the states."""
    now = AvatarState.NEW
    for name in triggers.split():
        now = after(now, Trigger[name])
    assert now is state


@pytest.mark.parametrize(
    "trigger", [Trigger.CONNECT, Trigger.OPENED, Trigger.LOST]
)
@pytest.mark.parametrize("state", LAST)
def test_nothing_follows_the_last_state(state: AvatarState, trigger: Trigger):
    """No session is wanted, opened or lost any more."""
    with pytest.raises(IllegalTransition):
        after(state, trigger)


def test_parts_of_a_stop_add_up_to_its_budget():
    """4 s by contract (rule 7 of the session)."""
    assert sum(STOP_BUDGET) == pytest.approx(4.0)
    assert all(part_s > 0 for part_s in STOP_BUDGET)
