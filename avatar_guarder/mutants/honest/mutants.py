"""Mutants of the honest avatar: each breaks the one rule that names it."""

import struct
from typing import Any

from ten_runtime import AudioFrame, Cmd

from .extension import HonestExtension

MUTANTS: dict[str, type[HonestExtension]] = {}
"""By the name of the rule that is broken."""


def breaks(rule: str) -> Any:
    """Class decorator: this mutant breaks `rule` and no other."""

    def enter(cls: type[HonestExtension]) -> type[HonestExtension]:
        MUTANTS[rule] = cls
        return cls

    return enter


@breaks("answers_unknown_commands")
class Mute(HonestExtension):
    async def on_unknown(self, cmd: Cmd) -> None:
        pass


@breaks("survives_huge_integers")
class Int64(HonestExtension):
    def turn_of(self, frame: AudioFrame) -> int | None:
        text, _ = frame.get_property_to_json("metadata.turn_id")
        if text:
            struct.pack("q", int(text))
        return super().turn_of(frame)
