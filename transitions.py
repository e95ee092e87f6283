"""The check that the state machines of avatar and session have in common."""

from collections.abc import Container, Mapping
from enum import Enum
from typing import TypeVar

_State = TypeVar("_State", bound=Enum)
_Step = TypeVar("_Step", bound=Enum)


class IllegalTransition(RuntimeError):
    """A step that the table does not have in this state."""


def check(
    table: Mapping[_State, Container[_Step]], state: _State, step: _Step
) -> None:
    """Raise `IllegalTransition` unless `table` has `step` in `state`.

    A step is the event that comes, or the state that is to follow.
    """
    if step not in table[state]:
        raise IllegalTransition(f"{step.name} in the state {state.name}")
