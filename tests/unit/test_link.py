"""One attempt: its session, its times, and why it is lost."""

import asyncio

import pytest
from avatar_stage import BAD_KEY, REFUSED, SERVICE_ERROR
from fakes import LOST, FakeClock, FakeService, settle
from spatius_avatar_python.session.errors import Failure, SessionError
from spatius_avatar_python.session.link import (
    STALL_LIMIT_S,
    Link,
    PlaybackSignal,
    lifetime_of,
)

SIGNAL = PlaybackSignal("request-1.0", "playing", None)


class Made:
    """A link and what it reports."""

    def __init__(self, *makings: Failure) -> None:
        self.clock = FakeClock(now=100.0)
        self.service = FakeService()
        self.service.makings.extend(makings)
        self.changes = 0
        self.service_errors: list[Failure] = []
        self.signals: list[PlaybackSignal] = []
        self.link = Link(
            self.service.make,
            24000,
            self.clock,
            on_change=self._on_change,
            on_service_error=self.service_errors.append,
            on_playback=self.signals.append,
        )

    def _on_change(self) -> None:
        self.changes += 1

    async def opened(self) -> Link:
        await self.link.open()
        assert self.link.is_ready
        return self.link


async def test_link_makes_a_session_for_its_rate():
    """It is neither ready nor lost before it is opened."""
    made = Made()
    assert made.service.session.sample_rate_hz == 24000
    assert not made.link.is_ready
    assert not made.link.was_ready
    assert made.link.loss is None
    assert made.link.began_at == 100.0


async def test_link_is_ready_when_it_is_open():
    """With its connection's id, and the times that a report needs."""
    made = Made()
    await made.clock.advance(5.0)
    link = await made.opened()
    assert link.connection_id == "connection-1"
    assert (link.began_at, link.opened_at, link.ready_at) == (100, 105, 105)
    assert link.was_ready


async def test_session_that_cannot_be_made_is_lost():
    """All calls of such a link are harmless."""
    made = Made(REFUSED)
    assert made.link.loss == REFUSED
    await made.link.open()
    assert not made.link.was_ready
    assert made.link.secrets() == []
    made.link.abort()
    await made.link.close()


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (REFUSED, REFUSED.message),
        (RuntimeError("odd"), "odd"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_opening_that_fails_loses_the_link(outcome, message):
    """Whatever it raises; the task itself never does."""
    made = Made()
    made.service.openings.append(outcome)
    await made.link.open()
    assert made.link.loss is not None
    assert message in made.link.loss.message
    assert not made.link.is_ready
    assert not made.link.was_ready


async def test_prepared_link_has_its_token_and_is_not_ready():
    """The console was asked, nothing is connected."""
    made = Made()
    await made.link.prepare()
    assert made.service.session.is_prepared
    assert made.service.events == [(1, "prepare")]
    assert not made.link.is_ready
    assert made.link.loss is None


async def test_preparation_that_fails_loses_the_link():
    """It cannot be opened any more."""
    made = Made()
    made.service.preparations.append(REFUSED)
    await made.link.prepare()
    assert made.link.loss == REFUSED


@pytest.mark.parametrize("call", ["send", "interrupt"])
async def test_call_is_in_progress_while_it_waits(call):
    """Since when is known as long as it does."""
    made = Made()
    link = await made.opened()
    await link.send(b"\0\0", False)
    made.service.calls.append("hold")
    await made.clock.advance(1.0)
    assert link.call_since is None
    calling = asyncio.ensure_future(
        link.send(b"\0\0", False) if call == "send" else link.interrupt()
    )
    await settle()
    assert link.call_since == 101.0
    made.service.session.release()
    assert await calling == "request-1.0"
    assert link.call_since is None


@pytest.mark.parametrize("call", ["send", "interrupt"])
async def test_call_that_fails_loses_the_link(call):
    """And raises what failed."""
    made = Made()
    link = await made.opened()
    await link.send(b"\0\0", False)
    made.service.calls.append(LOST)
    with pytest.raises(SessionError):
        await (link.send(b"", True) if call == "send" else link.interrupt())
    assert link.loss == LOST
    assert not link.is_ready
    assert link.was_ready
    assert link.call_since is None


async def test_first_loss_is_the_cause():
    """Later ones are its consequences."""
    made = Made()
    link = await made.opened()
    link.failed(BAD_KEY)
    link.failed(LOST)
    link.lose(REFUSED)
    assert link.loss == BAD_KEY


async def test_loss_is_reported_as_a_change():
    """A call that waits is ended, an idle connection needs no abort."""
    made = Made()
    link = await made.opened()
    link.failed(LOST)
    assert made.changes == 1
    assert made.service.session.aborts == 0


async def test_loss_ends_a_call_that_waits():
    """It might wait for long."""
    made = Made()
    link = await made.opened()
    made.service.calls.append("hold")
    calling = asyncio.ensure_future(link.send(b"\0\0", False))
    await settle()
    link.failed(LOST)
    assert made.service.session.aborts == 1
    with pytest.raises(SessionError):
        await calling


async def test_service_error_leaves_the_link_ready():
    """It is passed on."""
    made = Made()
    link = await made.opened()
    link.failed(SERVICE_ERROR)
    assert made.service_errors == [SERVICE_ERROR]
    assert link.is_ready
    assert made.changes == 0


async def test_playback_is_passed_on():
    """As it came."""
    made = Made()
    link = await made.opened()
    link.playback(SIGNAL)
    assert made.signals == [SIGNAL]


async def test_closed_link_reports_nothing():
    """What an older session says no longer matters."""
    made = Made()
    link = await made.opened()
    await link.close()
    link.failed(LOST)
    link.failed(SERVICE_ERROR)
    link.playback(SIGNAL)
    assert link.loss is None
    assert (made.changes, made.service_errors, made.signals) == (0, [], [])
    assert not link.is_ready
    assert link.was_ready


async def test_retired_link_is_not_written_to():
    """It is to be closed; its loss is still noticed."""
    made = Made()
    link = await made.opened()
    link.retire()
    assert not link.is_ready
    link.failed(LOST)
    assert link.loss == LOST


async def test_call_that_stalls_is_given_up_at_the_limit():
    """With a failure of its own; not a moment earlier."""
    made = Made()
    link = await made.opened()
    made.service.calls.append("hold")
    calling = asyncio.ensure_future(link.send(b"\0\0", False))
    await settle()
    link.watch_call(100.0 + STALL_LIMIT_S - 0.1)
    assert link.loss is None
    link.watch_call(100.0 + STALL_LIMIT_S)
    assert link.loss == Failure(
        "Spatius has taken no data for 30 s",
        code="stalled",
        phase="websocket_send",
        connection_id="connection-1",
    )
    assert made.service.session.aborts == 1
    with pytest.raises(SessionError):
        await calling


async def test_idle_link_never_stalls():
    """There is no call to be watched."""
    made = Made()
    link = await made.opened()
    link.watch_call(1e9)
    assert link.loss is None


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
