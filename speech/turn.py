"""Whose speech a frame is."""

from collections.abc import Hashable
from typing import NamedTuple


class Turn(NamedTuple):
    """What the agent says in answer to one thing that the user said.

    `id` is unique within `session`; a session of None matches any.
    """

    session: Hashable
    id: Hashable

    def matches(self, other: "Turn") -> bool:
        """Return whether both name one turn; a session may be left out."""
        return self.id == other.id and (
            self.session == other.session
            or self.session is None
            or other.session is None
        )
