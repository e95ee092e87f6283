#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Mutants of the honest avatar: each breaks the one rule that names it."""

from typing import Any

from .extension import HonestExtension
from .player import Player

MUTANTS: dict[str, type[HonestExtension]] = {}
"""By the name of the rule that is broken."""


def breaks(rule: str) -> Any:
    """Class decorator: this mutant breaks `rule` and no other.

    A player becomes a mutant that has this player.
    """

    def enter(cls: type) -> type:
        if issubclass(cls, Player):
            members = {"player_class": cls}
            MUTANTS[rule] = type(cls.__name__, (HonestExtension,), members)
        else:
            MUTANTS[rule] = cls
        return cls

    return enter
