"""Commands: each is answered, `flush` at once."""

import statistics

import pytest

from avatar_guarder.avatar import Avatar
from avatar_guarder.graph import Broken, Graph, speech

FLUSH_LIMIT_S = 0.1
FLUSHES = 5


async def flush_promptly(graph: Graph, turn_id: int = 1) -> None:
    """Flush several times; the median counts, as the machine may be busy."""
    took_s = []
    for seed in range(FLUSHES):
        await graph.say(speech(50, graph.rate_hz, seed), turn_id + seed)
        took_s.append(await graph.flush())
    median_s = statistics.median(took_s)
    if median_s > FLUSH_LIMIT_S:
        raise Broken(f"flush took {median_s * 1000:.0f} ms")


@pytest.mark.rule("answers_unknown_commands")
def test_unknown_command(avatar: Avatar) -> None:
    async def script(graph: Graph) -> None:
        await graph.ask("guard_unknown_command", 2)

    avatar.play(script)


@pytest.mark.rule("answers_flush_while_connecting")
def test_flush_while_connecting(avatar: Avatar) -> None:
    avatar.play(flush_promptly)
