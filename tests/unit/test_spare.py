"""A spare session: made in time, used once, never in the way."""

import asyncio

import pytest
from avatar_stage import BAD_KEY, FIRST, REFUSED, pcm, ready
from fakes import LOST, FakeClock, FakeService, settle
from spatius_avatar_python.avatar.supervisor import IDLE_POLL_S
from spatius_avatar_python.session.link import Lifetime, Link
from spatius_avatar_python.session.retry import FIRST_RETRY_S
from spatius_avatar_python.session.spare import Spare

MAX_AGE_S = 60.0
RATE_HZ = 24000

SPARED = Lifetime(1e9, 1e9, spare_max_age_s=MAX_AGE_S)


class Made:
    """A spare without an avatar."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self.clock = FakeClock(now=100.0)
        self.service = FakeService()
        self.spare = Spare(self._make_link, self.clock, max_age_s)

    def _make_link(self, sample_rate: int) -> Link:
        return Link(
            self.service.make,
            sample_rate,
            self.clock,
            on_change=lambda: None,
            on_service_error=lambda _: None,
            on_playback=lambda _: None,
        )

    async def make(self) -> None:
        self.spare.make(RATE_HZ)
        await settle()


async def test_spare_is_prepared_and_not_opened():
    """It costs a call of the console, and no connection."""
    made = Made()
    await made.make()
    assert made.service.events == [(1, "prepare")]


async def test_spare_is_used_once():
    """After it there is none."""
    made = Made()
    await made.make()
    link = made.spare.take(RATE_HZ)
    assert link is not None
    assert link.sample_rate == RATE_HZ
    assert made.spare.take(RATE_HZ) is None
    await made.spare.close()
    assert made.service.session.closes == 0


async def test_one_spare_is_made_within_its_age():
    """However often it is asked for, and also if it was taken."""
    made = Made()
    assert made.spare.due_at <= made.clock.monotonic()
    await made.make()
    assert made.spare.due_at == 100.0 + MAX_AGE_S
    made.spare.take(RATE_HZ)
    await made.clock.advance(MAX_AGE_S - 0.1)
    await made.make()
    assert len(made.service.sessions) == 1
    await made.clock.advance(0.1)
    await made.make()
    assert len(made.service.sessions) == 2


async def test_new_spare_replaces_the_old_one():
    """Which is closed; the new one is used."""
    made = Made()
    await made.make()
    await made.clock.advance(MAX_AGE_S)
    await made.make()
    first, _ = made.service.sessions
    assert first.closes == 1
    link = made.spare.take(RATE_HZ)
    assert link is not None
    assert link.secrets() == ["token-2"]


async def test_spare_that_is_too_old_is_discarded():
    """Too little of its lifetime is left."""
    made = Made()
    await made.make()
    await made.clock.advance(MAX_AGE_S)
    assert made.spare.take(RATE_HZ) is None
    await settle()
    assert made.service.session.closes == 1


async def test_spare_of_another_rate_is_discarded():
    """A session takes one rate."""
    made = Made()
    await made.make()
    assert made.spare.take(16000) is None
    await settle()
    assert made.service.session.closes == 1


async def test_refused_spare_is_discarded():
    """The attempt takes the long way."""
    made = Made()
    made.service.preparations.append(REFUSED)
    await made.make()
    assert made.spare.take(RATE_HZ) is None
    await settle()
    assert made.service.session.closes == 1


async def test_spare_that_is_not_prepared_yet_is_discarded():
    """Nobody waits for a slow console; its call is cancelled."""
    made = Made()
    made.service.preparations.append("hold")
    await made.make()
    assert made.spare.take(RATE_HZ) is None
    await made.spare.close()
    assert made.service.session.closes == 1
    assert made.service.violations == []


async def test_spares_can_be_switched_off():
    """With an age of 0 none is ever due."""
    made = Made(max_age_s=0.0)
    await made.make()
    assert made.spare.due_at == float("inf")
    assert made.service.sessions == []
    assert made.spare.take(RATE_HZ) is None


async def test_close_waits_for_what_is_being_closed():
    """And leaves nothing behind."""
    made = Made()
    await made.make()
    made.service.close_hangs = True
    closing = asyncio.ensure_future(made.spare.close())
    await settle()
    assert not closing.done()
    closing.cancel()
    made.service.close_hangs = False
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await settle()


async def test_close_without_a_spare_returns_at_once():
    """There is nothing to wait for."""
    await Made().spare.close()


# In an avatar


async def test_avatar_makes_a_spare_while_it_is_silent():
    """Once it is ready, beside its session."""
    stage = await ready(lifetime=SPARED)
    assert stage.service.events == [(1, "open"), (2, "prepare")]
    assert stage.avatar.state == "ready"
    await stage.finish()
    assert [session.closes for session in stage.service.sessions] == [1, 1]


async def test_spare_takes_the_place_of_a_lost_session():
    """It is opened without another call of the console."""
    stage = await ready(lifetime=SPARED)
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert len(stage.service.sessions) == 2
    assert stage.avatar.state == "ready"
    assert stage.service.events[-1] == (2, "open")
    await stage.finish()


async def test_spare_is_made_again_when_it_is_too_old():
    """The old one is closed."""
    stage = await ready(lifetime=SPARED)
    await stage.clock.advance(MAX_AGE_S + IDLE_POLL_S)
    assert len(stage.service.sessions) == 3
    assert stage.service.sessions[1].closes == 1
    assert stage.avatar.state == "ready"
    await stage.finish()


async def test_spare_waits_for_a_quiet_moment():
    """It is not made while the avatar speaks."""
    stage = await ready(lifetime=SPARED)
    await stage.clock.advance(MAX_AGE_S - 1.0)
    stage.avatar.speak(pcm(3000), FIRST)
    stage.avatar.speech_ends(FIRST)
    await stage.clock.advance(3.0)
    assert len(stage.service.sessions) == 2
    await stage.clock.advance(2.0)
    assert len(stage.service.sessions) == 3
    await stage.finish()


async def test_refused_spare_is_not_reported():
    """The next attempt takes the long way, and no other spare is made
    before it is time."""
    stage = await ready(lifetime=SPARED)
    await stage.lose(LOST)
    stage.service.preparations += [BAD_KEY]
    await stage.clock.advance(1.0)
    errors = len(stage.outbox.errors)
    await stage.clock.advance(MAX_AGE_S + 1.0)
    assert len(stage.outbox.errors) == errors
    assert stage.avatar.state == "ready"
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready"
    await stage.finish()


@pytest.mark.parametrize("is_speaking", [False, True])
async def test_renewal_does_not_use_an_older_spare(is_speaking):
    """That has used up some of the lifetime that a renewal is for."""
    stage = await ready(lifetime=Lifetime(100.0, 130.0, spare_max_age_s=90.0))
    await stage.clock.advance(95.0)
    older = {n for n, what in stage.service.events if what == "prepare"}
    assert len(older) == 2
    if is_speaking:
        stage.avatar.speak(pcm(50_000), FIRST)
    await stage.clock.advance(36.0)
    opened = {number for number, what in stage.service.events if what == "open"}
    assert len(opened) == 2
    assert not opened & older
    await stage.finish()


async def test_session_lasts_while_no_token_for_the_next_one_is_to_be_had():
    """It is renewed once the console is back, or at the last safe moment."""
    lifetime = Lifetime(100.0, 200.0, spare_max_age_s=90.0)
    stage = await ready(lifetime=lifetime)
    stage.service.preparations += [None, REFUSED, REFUSED]
    await stage.clock.advance(115.1)
    assert stage.outbox.states == ["connecting", "ready"]
    await stage.clock.advance(16.0)
    assert stage.outbox.states == ["connecting", "ready"] * 2
    assert stage.outbox.errors == []
    await stage.finish()


async def test_session_is_renewed_at_last_without_a_token():
    """Its own does not last any longer."""
    lifetime = Lifetime(100.0, 200.0, spare_max_age_s=90.0)
    stage = await ready(lifetime=lifetime)
    stage.service.preparations += [None, *[REFUSED] * 20]
    await stage.clock.advance(199.0)
    assert stage.outbox.states == ["connecting", "ready"]
    await stage.clock.advance(1.5)
    assert stage.outbox.states == ["connecting", "ready"] * 2
    await stage.finish()


async def test_renewal_is_followed_by_another_spare():
    """The one that it used up is no reason to be without."""
    lifetime = Lifetime(100.0, 200.0, spare_max_age_s=90.0)
    stage = await ready(lifetime=lifetime)
    await stage.clock.advance(102.0)
    opened = [number for number, what in stage.service.events if what == "open"]
    assert len(opened) == 2
    assert stage.service.events[-1] == (opened[-1] + 1, "prepare")
    await stage.finish()


async def test_no_session_is_opened_twice():
    """Whatever is spare, each is opened once at the most."""
    stage = await ready(lifetime=SPARED)
    for _ in range(6):
        await stage.clock.advance(20.0)
        await stage.lose(LOST)
        await stage.clock.advance(1.0)
    opened = [number for number, what in stage.service.events if what == "open"]
    assert len(opened) == len(set(opened)) == 7
    assert stage.avatar.state == "ready"
    await stage.finish()


async def test_spare_that_is_refused_when_it_is_opened_is_closed():
    """Before the long way is taken, in the same attempt and without a wait."""
    stage = await ready(lifetime=SPARED)
    await stage.clock.advance(10.0)
    stage.service.openings += [REFUSED]
    await stage.lose(LOST)
    await stage.clock.advance(FIRST_RETRY_S)
    assert stage.service.events[-4:] == [
        (2, "open"),
        (2, "close"),
        (2, "closed"),
        (3, "open"),
    ]
    assert len(stage.outbox.errors) == 1  # the loss
    await stage.finish()
    assert [session.closes for session in stage.service.sessions][:3] == [1] * 3
