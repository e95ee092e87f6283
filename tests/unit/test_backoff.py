"""How long to wait before the next attempt."""

import random

import pytest
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.session.retry import (
    BACKOFF_RESET_S,
    FIRST_RETRY_S,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
    RESTART_CODES,
    RESTART_SPREAD_S,
    Backoff,
)

LOST = Failure("lost", code="connectionClosed")
SLOW = Failure("another session is active", retry_slowly=True)


class Range(random.Random):
    """Returns the highest number asked for; keeps the lowest, too."""

    low = high = 0.0

    def uniform(self, a: float, b: float) -> float:
        self.low, self.high = a, b
        return b


def ranges(backoff: Backoff, rng: Range, count: int) -> list[tuple]:
    """Return the bounds of the waits after attempts that were refused."""
    bounds = []
    for _ in range(count):
        backoff.next_s(LOST, was_ready=False)
        bounds.append((rng.low, rng.high))
    return bounds


@pytest.fixture
def rng() -> Range:
    return Range()


@pytest.fixture
def backoff(rng: Range) -> Backoff:
    return Backoff(rng)


def test_wait_doubles_up_to_the_maximum(backoff, rng):
    """From 0.5 to 1 s on, each wait is cut at random by up to a half."""
    assert ranges(backoff, rng, 6) == [
        (0.5, 1.0),
        (1.0, 2.0),
        (2.0, 4.0),
        (4.0, 8.0),
        (7.5, 15.0),
        (7.5, 15.0),
    ]


def test_first_attempt_after_a_session_comes_at_once(backoff, rng):
    """Within 100 ms; the next one backs off."""
    assert backoff.next_s(LOST, was_ready=True) == FIRST_RETRY_S
    assert rng.low == 0.0
    assert ranges(backoff, rng, 2) == [(0.5, 1.0), (1.0, 2.0)]


@pytest.mark.parametrize("code", RESTART_CODES)
def test_first_attempt_is_spread_where_the_service_restarts(backoff, rng, code):
    """All its avatars are lost at once, and must not come back at once."""
    restart = Failure("going away", code=code)
    assert backoff.next_s(restart, was_ready=True) == RESTART_SPREAD_S
    assert rng.low == 0.0


def test_waits_are_those_of_the_rules():
    """Rule 4 of the session, in seconds."""
    assert (FIRST_RETRY_S, RESTART_SPREAD_S) == (0.1, 2.0)
    assert (INITIAL_BACKOFF_S, MAX_BACKOFF_S) == (0.5, 15.0)
    assert BACKOFF_RESET_S == 5.0


def test_restart_codes_are_those_of_the_websocket_protocol():
    """RFC 6455: going away, and service restart."""
    assert set(RESTART_CODES) == {"1001", "1012"}


def test_second_short_session_in_a_row_backs_off(backoff, rng):
    """Only the first short session is followed at once."""
    backoff.lasted(BACKOFF_RESET_S - 0.1)
    assert backoff.next_s(LOST, was_ready=True) == FIRST_RETRY_S
    backoff.lasted(BACKOFF_RESET_S - 0.1)
    backoff.next_s(LOST, was_ready=True)
    assert (rng.low, rng.high) == (INITIAL_BACKOFF_S, 2 * INITIAL_BACKOFF_S)


def test_session_that_lasts_resets_the_backoff(backoff, rng):
    """After it the first attempt comes at once again."""
    ranges(backoff, rng, 5)
    backoff.lasted(BACKOFF_RESET_S)
    assert backoff.next_s(LOST, was_ready=True) == FIRST_RETRY_S
    assert ranges(backoff, rng, 1) == [(0.5, 1.0)]


@pytest.mark.parametrize("was_ready", [True, False])
def test_slow_retry_waits_for_long_at_once(backoff, rng, was_ready):
    """An attempt helps only once another session has ended."""
    assert backoff.next_s(SLOW, was_ready) == MAX_BACKOFF_S
    assert rng.low == MAX_BACKOFF_S / 2
    assert ranges(backoff, rng, 1) == [(0.5, 1.0)]
