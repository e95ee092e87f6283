"""A spare session: made in time, used once, never in the way."""

import pytest
from fakes import FakeClock, FakeService, settle
from spatius_avatar_python.avatar.retry import SPARE_RETRY_S, Spare
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.session.session import CLOSE_DEADLINE_S, Session
from spatius_avatar_python.session.state import SessionState

MAX_AGE_S = 60.0
RATE_HZ = 24000
INF = float("inf")
REFUSED = Failure("the console is not available", code="connectionFailed")


class Made:
    """A spare without an avatar."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self.clock = FakeClock(now=100.0)
        self.service = FakeService(self.clock)
        self.spare = Spare(self.clock, max_age_s)

    async def make(self) -> Session:
        session = self.service.open_session(lambda: None, RATE_HZ)
        self.spare.make(session)
        await settle()
        return session

    def due_for_renewal_at(self, since: float) -> float:
        return self.spare.renewal_due_at(since, RATE_HZ)


@pytest.fixture
def made() -> Made:
    return Made()


async def test_spare_is_prepared_and_not_opened(made):
    """It costs a call of the console, and no connection."""
    await made.make()
    assert made.service.events == [(1, "prepare")]


async def test_spare_is_used_once(made):
    """After it there is none."""
    session = await made.make()
    assert made.spare.take(RATE_HZ) is session
    assert made.spare.take(RATE_HZ) is None
    made.spare.close(1.0)
    await settle()
    assert session.has_token


async def test_next_spare_is_due_at_the_end_of_its_age(made):
    """Also if the one before was taken."""
    assert made.spare.due_at <= made.clock.monotonic()
    await made.make()
    assert made.spare.due_at == 100.0 + MAX_AGE_S
    made.spare.take(RATE_HZ)
    assert made.spare.due_at == 100.0 + MAX_AGE_S


async def test_new_spare_replaces_the_old_one(made):
    """Which is closed; the new one is used."""
    first = await made.make()
    await made.clock.advance(MAX_AGE_S)
    second = await made.make()
    assert first.state is SessionState.CLOSED
    assert made.spare.take(RATE_HZ) is second


@pytest.mark.parametrize(
    "why", ["too old", "of another rate", "refused", "not prepared yet"]
)
async def test_spare_that_is_of_no_use_is_discarded(made, why):
    """Too little of its lifetime is left, a session takes one rate, it has no
    token, or its console is slow: the attempt takes the long way."""
    rate_hz = 16000 if why == "of another rate" else RATE_HZ
    if why == "refused":
        made.service.preparations.append(REFUSED)
    elif why == "not prepared yet":
        made.service.preparations.append("hold")
    session = await made.make()
    if why == "too old":
        await made.clock.advance(MAX_AGE_S)
    assert not made.spare.has_token_since(0.0, rate_hz)
    assert made.spare.take(rate_hz) is None
    await settle()
    assert session.state is SessionState.CLOSED
    assert made.service.session.closes == 1
    assert made.service.violations == []


async def test_spares_can_be_switched_off():
    """With an age of 0 none is ever due."""
    spare = Made(max_age_s=0.0).spare
    assert spare.due_at == INF
    assert spare.renewal_due_at(0.0, RATE_HZ) == INF
    assert spare.take(RATE_HZ) is None


async def test_questions_change_nothing(made):
    """However often they are asked."""
    session = await made.make()
    for _ in range(3):
        assert made.spare.has_token_since(100.0, RATE_HZ)
        assert not made.spare.has_token_since(100.1, RATE_HZ)
        assert not made.spare.has_token_since(0.0, 16000)
        assert made.due_for_renewal_at(100.0) == INF
        assert not made.spare.is_closed
    assert made.service.events == [(1, "prepare")]
    assert made.spare.take(RATE_HZ) is session


# For a renewal


async def test_spare_for_a_renewal_is_a_newer_one(made):
    """An older one has used up some of the lifetime that a renewal is for;
    it may still serve after a loss."""
    session = await made.make()
    assert made.due_for_renewal_at(120.0) == 120.0
    assert made.spare.take(RATE_HZ, since=120.0) is None
    assert made.spare.take(RATE_HZ) is session


async def test_spare_for_a_renewal_is_made_once(made):
    """While it gets its token, and when it has it, none is due."""
    made.service.preparations.append("hold")
    session = await made.make()
    assert made.due_for_renewal_at(100.0) == INF
    made.service.session.release()
    await settle()
    assert made.due_for_renewal_at(100.0) == INF
    assert made.spare.take(RATE_HZ, since=100.0) is session


async def test_spare_for_a_renewal_is_tried_again(made):
    """Until one has got its token the session lasts."""
    made.service.preparations.append(REFUSED)
    await made.make()
    assert made.due_for_renewal_at(100.0) == 100.0 + SPARE_RETRY_S


async def test_spare_for_a_renewal_has_the_sessions_rate(made):
    """One of another rate is no use; the next follows."""
    await made.make()
    assert made.spare.renewal_due_at(100.0, 16000) == 100.0 + SPARE_RETRY_S


async def test_renewal_is_followed_by_another_spare(made):
    """The one that it used up is no reason to be without."""
    await made.make()
    assert made.spare.take(RATE_HZ, since=100.0) is not None
    assert made.spare.due_at <= made.clock.monotonic()


# Closing


async def test_close_without_a_spare_is_done():
    """There is nothing to wait for."""
    spare = Made().spare
    assert spare.is_closed
    spare.close(1.0)
    assert spare.is_closed


@pytest.mark.parametrize("is_discarded", [False, True])
async def test_close_ends_within_the_budget(is_discarded, made):
    """A stop hands its budget down, also to one that is being closed."""
    session = await made.make()
    made.service.close_hangs = True
    if is_discarded:
        assert made.spare.take(16000) is None
    made.spare.close(0.5)
    await made.clock.advance(0.4)
    assert not made.spare.is_closed
    await made.clock.advance(0.1)
    assert made.spare.is_closed
    assert session.state is SessionState.CLOSED
    assert made.clock.pending() == 0
    assert CLOSE_DEADLINE_S > 0.5
