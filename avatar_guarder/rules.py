"""Every rule that an avatar is held to: the one registry.

A rule's tests carry `@pytest.mark.rule(<name>)`; its mutant has its name in
mutants/broken.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .avatar import Avatar


@dataclass(frozen=True)
class Rule:
    """What an avatar must do."""

    name: str
    sentence: str
    why: str
    tier: Literal[1, 2] = 1
    """1: TEN's messages alone; 2: with a vendor that records."""
    declares: tuple[str, ...] = ()
    """Applies where the manifest's api has all of these."""
    case: str = "basic"
    """Applies where there is this configuration."""
    slow: bool = False
    """Takes most of a minute, of waiting."""

    def inapplicable(self, avatar: Avatar) -> str:
        """Return why the rule does not apply, "" where it does."""
        if self.tier == 2 and avatar.make_vendor is None:
            return "needs a recording vendor"
        for message in self.declares:
            if not avatar.declares(message):
                return f"the manifest does not declare {message}"
        if not avatar.has_case(self.case):
            return f"no property_{self.case}.json"
        return ""


_RULES = [
    Rule(
        "answers_unknown_commands",
        "A command that the avatar does not know gets a result.",
        "Without one the node that sent it waits for minutes.",
    ),
    Rule(
        "answers_flush_while_connecting",
        "`flush` is answered within 100 ms while there is no connection.",
        "The agent waits for the result before it starts its next answer.",
    ),
    Rule(
        "survives_huge_integers",
        "Integers above 2**63 - 1 in metadata and data end nothing.",
        "The runtime aborts the process when such a message is read as JSON.",
    ),
]

RULES = {rule.name: rule for rule in _RULES}
