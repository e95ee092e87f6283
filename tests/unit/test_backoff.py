"""When to make the next attempt, and for how long a session may last."""

import random
from typing import Optional

import pytest
from fakes import FakeService
from spatius_avatar_python.avatar.plan import (
    MIN_TIME_LIMIT_S,
    Plan,
    lifetime_of,
)
from spatius_avatar_python.avatar.retry import (
    FIRST_RETRY_S,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
    RESTART_CODES,
    RESTART_SPREAD_S,
    STABLE_AFTER_S,
    Backoff,
)
from spatius_avatar_python.session.errors import Failure

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
    assert STABLE_AFTER_S == 5.0


def test_restart_codes_are_those_of_the_websocket_protocol():
    """RFC 6455: going away, and service restart."""
    assert set(RESTART_CODES) == {"1001", "1012"}


def test_second_short_session_in_a_row_backs_off(backoff, rng):
    """Only the first short session is followed at once."""
    backoff.lasted(STABLE_AFTER_S - 0.1)
    assert backoff.next_s(LOST, was_ready=True) == FIRST_RETRY_S
    backoff.lasted(STABLE_AFTER_S - 0.1)
    backoff.next_s(LOST, was_ready=True)
    assert (rng.low, rng.high) == (INITIAL_BACKOFF_S, 2 * INITIAL_BACKOFF_S)


def test_session_that_lasts_resets_the_backoff(backoff, rng):
    """After it the first attempt comes at once again."""
    ranges(backoff, rng, 5)
    backoff.lasted(STABLE_AFTER_S)
    assert backoff.next_s(LOST, was_ready=True) == FIRST_RETRY_S
    assert ranges(backoff, rng, 1) == [(0.5, 1.0)]


@pytest.mark.parametrize("was_ready", [True, False])
def test_slow_retry_waits_for_long_at_once(backoff, rng, was_ready):
    """An attempt helps only once another session has ended."""
    assert backoff.next_s(SLOW, was_ready) == MAX_BACKOFF_S
    assert rng.low == MAX_BACKOFF_S / 2
    assert ranges(backoff, rng, 1) == [(0.5, 1.0)]


@pytest.mark.parametrize(
    ("asked_s", "least_s"),
    [(0.0, 0.5), (0.2, 0.5), (40.0, 40.0)],
)
def test_wait_that_the_service_asks_for_is_the_least(asked_s, least_s):
    """`Retry-After`, and not to the second: all that were refused were told
    the same."""
    waits = set()
    for seed in range(20):
        backoff = Backoff(random.Random(seed))
        failure = Failure("busy", retry_after_s=asked_s)
        wait_s = backoff.next_s(failure, was_ready=False)
        assert least_s <= wait_s <= max(1.0, least_s) + RESTART_SPREAD_S
        waits.add(wait_s)
        slow = Failure("busy", retry_slowly=True, retry_after_s=asked_s)
        assert backoff.next_s(slow, was_ready=False) >= MAX_BACKOFF_S / 2
    assert len(waits) == 20


# Lifetimes


def test_lifetime_is_a_share_of_the_session():
    """Renewal from 70 % on, at the latest 15 s before the end; a spare is
    used up to 35 %."""
    lifetime = lifetime_of(30, 1.9e9)
    assert lifetime.renew_after_s == pytest.approx(1260)
    assert lifetime.renew_latest_s == pytest.approx(1785)
    assert lifetime.spare_max_age_s == pytest.approx(630)
    assert lifetime.token_expires_at_s == 1.9e9


@pytest.mark.parametrize("minutes", [1, 30, 1440])
def test_lifetime_leaves_time_to_renew(minutes):
    """The last safe moment leaves 13 s to close and open again."""
    lifetime = lifetime_of(minutes)
    assert 0 < lifetime.spare_max_age_s < lifetime.renew_after_s
    assert lifetime.renew_after_s < lifetime.renew_latest_s
    assert lifetime.renew_latest_s <= minutes * 60 - 13


LIMIT = Failure("time limit", code="4002", reached_time_limit=True)


def times_of(
    minutes: float, plan_minutes: Optional[float] = None, learned_s: float = 0
) -> tuple[float, float]:
    """Return when a session is renewed, by seconds from its begin; it was
    opened 100 s after its tokens were made."""
    plan = Plan(lifetime_of(minutes), max_session_minutes=plan_minutes)
    if learned_s:
        plan.learn(LIMIT, learned_s)
    session = FakeService().open_session(lambda: None, 24000)
    session.began_at, session.opened_at = 1000.0, 1100.0
    return (
        plan.renew_at(session) - 1000.0,
        plan.renew_latest_at(session) - 1000.0,
    )


def test_unknown_time_limit_leaves_the_lifetime_as_it_is():
    """It counts from the making of the tokens."""
    assert times_of(30) == pytest.approx((1260, 1785))


def test_time_limit_of_the_plan_is_learned_from_the_first_cut():
    """The next session is renewed before it, counted from its opening."""
    times = times_of(30, learned_s=600.0)
    assert times == pytest.approx((100 + 420, 100 + 585))


def test_time_limit_can_be_configured():
    """Then the first session is renewed in time, too."""
    assert times_of(30, 10) == pytest.approx((520, 685))


def test_time_limit_never_makes_a_session_longer():
    """The configured time of its tokens holds."""
    assert times_of(10, 120) == times_of(10)
    plan = Plan(max_session_minutes=10)
    plan.learn(LIMIT, 3600.0)
    assert plan.time_limit_s == 600.0
    plan.learn(LIMIT, 300.0)
    assert plan.time_limit_s == 300.0


@pytest.mark.parametrize(
    ("failure", "lasted_s"),
    [(None, 600.0), (LOST, 600.0), (LIMIT, MIN_TIME_LIMIT_S - 1)],
)
def test_other_ends_teach_no_time_limit(failure, lasted_s):
    """Nor does one that comes at once: it would make a storm of renewals."""
    plan = Plan()
    plan.learn(failure, lasted_s)
    assert plan.time_limit_s == float("inf")
