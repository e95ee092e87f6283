"""How a service gets its avatars back after a restart, in model time.

The backoff is the package's own code; the service, the network and time are
a model: it carries 10,000 avatars, closes all their sessions at once, is down
for 5 s, and from then on accepts 500 connections a second. All others are
answered with HTTP 503, at once. Nothing is sent.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from spatius_avatar_python.avatar.retry import Backoff
from spatius_avatar_python.session.errors import (
    ConnectionEnded,
    Failure,
    failure_of,
)

from .runner import Outcome, Row, Settings, compare
from .service import Service

AVATARS = 10_000
DOWN_S = 5.0
ACCEPTED_PER_S = 500.0
BURST = 50.0
"""How many the service accepts at once where nobody has come for a while."""

ROUNDS = 5

BIN_S = 0.5
"""Of the plot's time."""

RESTART_CODE = 1012
UNKNOWN_CODE = 1006
"""A connection that ended without a code, which counts as a single loss."""

SIDES = {"with the spread": RESTART_CODE, "without": UNKNOWN_CODE}


@dataclass(frozen=True)
class Storm:
    """The events, in seconds from the loss on."""

    attempts: list[float]
    """When each attempt was made, in order."""
    accepted: list[float]
    """When each avatar was back, in order."""

    def busiest_second(self, begin_s: float = 0.0) -> int:
        """Return the most attempts that any second holds, from `begin_s` on."""
        times = [at for at in self.attempts if at >= begin_s]
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - 1.0:
                first += 1
            most = max(most, last + 1 - first)
        return most


class _Gate:
    """Lets so many connections in, as a bucket of tokens."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._at = DOWN_S

    def accepts(self, now: float) -> bool:
        if now < DOWN_S:
            return False
        new = (now - self._at) * ACCEPTED_PER_S
        self._tokens = min(self._tokens + new, BURST)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def simulate(close_code: int, avatars: int, seed: int) -> Storm:
    """Let a service that carries so many avatars restart."""
    loss = failure_of(ConnectionEnded(close_code, "", ""))
    refused = Failure("the service refused", code="serverError")
    rng = random.Random(seed)
    backoffs = [Backoff(random.Random(rng.random())) for _ in range(avatars)]
    due: list[tuple[float, int]] = []
    for number, backoff in enumerate(backoffs):
        backoff.lasted(rng.uniform(10, 1000))
        due.append((backoff.next_s(loss, was_ready=True), number))
    heapq.heapify(due)
    gate = _Gate()
    attempts: list[float] = []
    accepted: list[float] = []
    while due:
        now, number = heapq.heappop(due)
        attempts.append(now)
        if gate.accepts(now):
            accepted.append(now)
        else:
            wait_s = backoffs[number].next_s(refused, was_ready=False)
            heapq.heappush(due, (now + wait_s, number))
    return Storm(attempts, accepted)


def run(settings: Settings, _service: Service) -> Outcome:
    """Let the service restart, with close code 1012 and without a code."""
    outcome = Outcome()
    avatars = 200 if settings.short else AVATARS
    for name, code in SIDES.items():
        storms = [
            simulate(code, avatars, seed)
            for seed in range(settings.rounds(ROUNDS))
        ]
        outcome.rows += _rows(name, storms)
        outcome.curves |= _curves(name, storms[0])
    return outcome


def _rows(name: str, storms: list[Storm]) -> list[Row]:
    half = len(storms[0].accepted) // 2
    figures: list[tuple[str, str, Callable[[Storm], float]]] = [
        ("most attempts in a second", "", Storm.busiest_second),
        (
            "the same, once the service is up",
            "",
            lambda storm: storm.busiest_second(DOWN_S),
        ),
        ("half are back after", "s", lambda storm: storm.accepted[half]),
        ("all are back after", "s", lambda storm: storm.accepted[-1]),
        (
            "attempts of each avatar",
            "",
            lambda storm: len(storm.attempts) / len(storm.accepted),
        ),
    ]
    return [
        compare(
            f"restart, {name}: {what}",
            unit,
            {"ours": [[figure(storm)] for storm in storms]},
        )
        for what, unit, figure in figures
    ]


def _curves(name: str, storm: Storm) -> dict[str, list[float]]:
    """Return attempts a second, and the share that is back, over time."""
    bins = int(storm.accepted[-1] / BIN_S) + 2
    attempts, back = [0.0] * bins, [0.0] * bins
    for at in storm.attempts:
        attempts[int(at / BIN_S)] += 1 / BIN_S
    for at in storm.accepted:
        back[int(at / BIN_S)] += 100 / len(storm.accepted)
    for number in range(1, bins):
        back[number] += back[number - 1]
    return {f"storm attempts {name}": attempts, f"storm back {name}": back}
