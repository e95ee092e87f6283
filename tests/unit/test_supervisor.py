"""Sessions one after the other: opened, lost, recovered, given up."""

import asyncio
from typing import Any

import pytest
from avatar_stage import (
    BAD_KEY,
    FIRST,
    IDLE,
    REFUSED,
    REJECTED,
    SERVICE_ERROR,
    AvatarStage,
    pcm,
    ready,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.retry import (
    FIRST_RETRY_S,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
    STABLE_AFTER_S,
)
from spatius_avatar_python.avatar.supervisor import MAX_REJECTED_TOKENS
from spatius_avatar_python.messages import payloads as reports

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_speech_waits_for_the_connection():
    """Audio from before start and while connecting is sent afterwards."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    first, second, third = pcm(30), pcm(30), pcm(30)
    stage.speak(first)
    await stage.start()
    stage.speak(second)
    await settle()
    stage.speak(third)
    stage.speech_ends()
    assert stage.speech.totals.sent == 0
    await stage.until_attempt(2)
    assert list(stage.session.requests.values()) == [first + second + third]
    assert len(stage.session.ended) == 1


async def test_each_attempt_is_a_new_session():
    """A session object is opened once, and closed before the next."""
    stage = set_up()
    stage.service.openings += [REFUSED, REFUSED, REFUSED]
    await stage.start()
    await stage.until_attempt(4)
    assert stage.avatar.state == "ready"
    assert [e for e in stage.service.events if e[1] != "closed"] == [
        (1, "open"),
        (1, "close"),
        (2, "open"),
        (2, "close"),
        (3, "open"),
        (3, "close"),
        (4, "open"),
    ]


async def test_attempts_back_off():
    """The waits grow from 0.5 s to 15 s and stay there, each by chance."""
    waits = {}
    for seed in (1, 2):
        stage = set_up(seed=seed)
        stage.service.openings += [REFUSED] * 12
        await stage.start()
        waits[seed] = [await stage.until_attempt(n) for n in range(2, 13)]
        assert set(stage.outbox.error_codes) == {reports.NON_FATAL}
        await stage.finish()
    for index, (one, other) in enumerate(zip(waits[1], waits[2])):
        longest = min(2 * INITIAL_BACKOFF_S * 2**index, MAX_BACKOFF_S)
        for wait in (one, other):
            assert longest / 2 - 0.02 <= wait <= longest + 0.02
        assert one != other


async def test_stable_session_resets_the_backoff():
    """After a session that lasted, the first wait is short again."""
    stage = set_up()
    stage.service.openings += [REFUSED] * 6
    await stage.start()
    await stage.until_attempt(7)
    await stage.clock.advance(STABLE_AFTER_S)
    stage.session.on_failure(LOST)
    assert await stage.until_attempt(8) <= 2 * INITIAL_BACKOFF_S + 0.02


async def test_short_sessions_back_off(stage):
    """A service that accepts and closes at once is not called in a loop."""
    for number in range(2, 9):
        stage.session.on_failure(LOST)
        waited = await stage.until_attempt(number)
    assert waited >= MAX_BACKOFF_S / 2 - 0.02


async def test_late_failure_of_an_older_session_is_ignored(stage):
    """Callbacks of an older session neither end the new one nor show."""
    old = stage.session
    old.on_failure(LOST)
    await stage.until_attempt(2)
    reported = len(stage.outbox.sent)
    old.on_failure(LOST)
    old.on_failure(BAD_KEY)
    old.on_failure(SERVICE_ERROR)
    await stage.clock.advance(5.0)
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2
    assert len(stage.outbox.sent) == reported


@pytest.mark.parametrize("failure", [LOST, BAD_KEY, SERVICE_ERROR])
async def test_late_failure_between_two_sessions_is_ignored(failure, stage):
    """Callbacks of a closed session are ignored before the next, too."""
    stage.session.on_failure(LOST)
    await settle()
    assert stage.avatar.state == "recovering"
    stage.session.on_failure(failure)
    await stage.clock.advance(20.0)
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2
    assert stage.outbox.error_codes == [reports.NON_FATAL]


async def test_session_lost_as_soon_as_it_opens_is_replaced(stage):
    """A loss between opening and serving a session is recovered."""
    stage.session.on_failure(LOST)
    await stage.until_attempt(2)
    stage.session.on_failure(LOST)  # before the avatar has seen it open
    await stage.until_attempt(3)
    assert stage.avatar.state == "ready"


async def test_session_that_cannot_be_made_is_retried():
    """A failure of making the session object counts as an attempt."""
    stage = set_up()
    stage.service.makings += [REFUSED]
    await stage.start()
    assert stage.avatar.state == "recovering"
    await stage.until_attempt(1)
    assert stage.avatar.state == "ready"


@pytest.mark.parametrize("is_open", [False, True])
async def test_fatal_failure_ends_all_attempts(is_open):
    """One error -1000, state failed, and no further attempt; also where it
    ends a session that speaks, as exhausted credits do."""
    stage = set_up()
    if not is_open:
        stage.service.openings += [BAD_KEY]
    stage.speak(pcm(100), FIRST)
    await stage.start()
    if is_open:
        stage.session.on_failure(BAD_KEY)
    await stage.clock.advance(1000.0)
    assert stage.outbox.error_codes == [reports.FATAL]
    ready_once = ["ready"] if is_open else []
    assert stage.outbox.states == ["connecting", *ready_once, "failed"]
    assert len(stage.service.sessions) == 1
    assert not stage.session.is_live


async def test_fatal_failure_after_an_outage():
    """An outage that turns out to be final has both errors."""
    stage = set_up()
    stage.service.openings += [REFUSED, BAD_KEY]
    await stage.start()
    await stage.until_attempt(2)
    await stage.clock.advance(1000.0)
    assert stage.outbox.error_codes == [reports.NON_FATAL, reports.FATAL]
    assert len(stage.service.sessions) == 2


@pytest.mark.parametrize("failure", [LOST, SERVICE_ERROR, BAD_KEY])
async def test_failed_avatar_ignores_its_session(failure):
    """Late callbacks of its session are not reported."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    await stage.start()
    stage.session.on_failure(failure)
    await stage.clock.advance(20.0)
    assert stage.outbox.error_codes == [reports.FATAL]
    assert stage.clock.pending() == 0


async def test_rejected_upgrades_in_a_row_are_fatal():
    """Three refused session tokens in a row are a wrong configuration."""
    stage = set_up()
    stage.service.openings += [REJECTED] * 10
    await stage.start()
    await stage.clock.advance(1000.0)
    assert len(stage.service.sessions) == MAX_REJECTED_TOKENS
    assert stage.outbox.error_codes == [reports.NON_FATAL, reports.FATAL]
    assert "spatius_app_id" in stage.outbox.errors[-1]["message"]


async def test_rejected_upgrades_with_others_between_are_retried():
    """Two refused tokens, another failure, two refused tokens: go on."""
    stage = set_up()
    stage.service.openings += [REJECTED, REJECTED, REFUSED, REJECTED, REJECTED]
    await stage.start()
    await stage.until_attempt(6)
    assert stage.avatar.state == "ready"
    assert stage.outbox.error_codes == [reports.NON_FATAL]


async def test_session_in_between_resets_rejected_upgrades():
    """Refused tokens before and after a good session are not in a row."""
    stage = set_up()
    stage.service.openings += [REJECTED, REJECTED, None, REJECTED]
    await stage.start()
    await stage.until_attempt(3)
    await stage.clock.advance(STABLE_AFTER_S)
    stage.session.on_failure(LOST)
    await stage.until_attempt(5)
    assert stage.avatar.state == "ready"


async def test_tokens_that_end_long_sessions_were_not_refused(stage):
    """Each had been taken at first, and a new one will be."""
    for _ in range(2 * MAX_REJECTED_TOKENS):
        await stage.clock.advance(STABLE_AFTER_S)
        await stage.lose(REJECTED)
        await stage.clock.advance(1.0)
        assert stage.avatar.state == "ready"
    assert reports.FATAL not in stage.outbox.error_codes


async def test_tokens_that_are_taken_for_a_moment_were_refused(stage):
    """The service confirms each session and closes it at once."""
    for _ in range(MAX_REJECTED_TOKENS):
        await stage.lose(REJECTED)
        await stage.clock.advance(2.0)
    assert stage.avatar.state == "failed"


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), asyncio.CancelledError()]
)
async def test_unexpected_exception_of_open_is_retried(error):
    """Any exception of open is reported, and tried again with a backoff."""
    stage = set_up()
    stage.service.openings += [error] * 50
    await stage.start()
    assert 1 <= len(stage.service.sessions) <= 2, "it spins"
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    stage.service.openings.clear()
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"


async def test_unexpected_exception_of_making_a_session_is_reported():
    """A session that cannot even be constructed is reported."""
    stage = set_up()
    stage.service.makings += [TypeError("unexpected keyword")]
    await stage.start()
    assert len(stage.outbox.errors) == 1
    assert "unexpected keyword" in stage.outbox.errors[0]["message"]


async def test_unexpected_exception_of_close_does_not_end_the_avatar(stage):
    """The connection is dropped, and the next session follows."""
    stage.service.closing = RuntimeError("odd")
    await stage.lose(LOST)
    stage.service.closing = None
    assert stage.session.aborts == 1
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"
    assert stage.outbox.error_codes == [reports.NON_FATAL]


async def test_closing_takes_its_part_of_the_wait(stage):
    """The first attempt comes in time after the loss, not after the close."""
    stage.service.closing = "hold"
    await stage.lose(LOST)
    await stage.clock.advance(FIRST_RETRY_S)
    assert len(stage.service.sessions) == 1
    stage.service.closing = None
    stage.session.release()
    await settle()
    assert len(stage.service.sessions) == 2


# Outages that last


def reminders(stage: AvatarStage) -> list[dict[str, Any]]:
    """Return the errors about the outage but the first."""
    return stage.outbox.errors[1:]


async def in_outage() -> AvatarStage:
    """Return a stage that was ready and gets no session any more."""
    stage = await ready()
    await stage.clock.advance(STABLE_AFTER_S)
    stage.service.openings += [REFUSED] * 1000
    await stage.lose(LOST)
    return stage


async def test_outage_is_reported_again():
    """After a minute, 5, 15 and 60, and then each hour."""
    stage = await in_outage()
    began_at = stage.clock.monotonic()
    for due_s in (60, 300, 900, 3600, 7200):
        reported = len(reminders(stage))
        left_s = began_at + due_s - stage.clock.monotonic()
        await stage.clock.advance(left_s - 0.1)
        assert len(reminders(stage)) == reported
        await stage.clock.advance(0.2)
        assert len(reminders(stage)) == reported + 1
        assert reminders(stage)[-1]["metadata"]["outage_s"] == due_s


async def test_reminder_says_how_the_outage_stands():
    """How long it has lasted, how often it was tried, and when again."""
    stage = await in_outage()
    await stage.clock.advance(60.0)
    [error] = reminders(stage)
    assert error["code"] == reports.NON_FATAL
    attempts = len(stage.service.sessions) - 1
    assert error["metadata"]["attempts"] == attempts
    assert "60 s" in error["message"]
    assert f"{attempts} attempts" in error["message"]
    assert REFUSED.message in error["message"], "the latest failure"
    assert error["vendor_info"]["code"] == REFUSED.code
    assert ("warn", error["message"]) in stage.outbox.lines
    next_s = error["metadata"]["next_attempt_in_s"]
    waited_s = await stage.until_attempt(attempts + 2)
    assert waited_s == pytest.approx(next_s, abs=0.1)


async def test_hanging_attempt_does_not_delay_the_reminder(stage):
    """It comes while the attempt is in progress."""
    stage.service.openings += ["hang"] * 1000
    await stage.lose(LOST)
    await stage.clock.advance(60.1)
    assert len(reminders(stage)) == 1


async def test_reminders_that_were_missed_are_one():
    """The process stood still for an hour."""
    stage = await in_outage()
    stage.clock.jump(4000.0)
    await stage.clock.advance(1.0)
    assert len(reminders(stage)) == 1


@pytest.mark.parametrize("how", ["stable", "failed", "asleep", "stop"])
async def test_outage_that_has_ended_is_not_reported_again(how):
    """For any reason."""
    stage = await in_outage()
    stage.service.openings.clear()
    if how == "failed":
        stage.service.openings += [BAD_KEY]
    elif how == "asleep":
        stage.service.openings += [IDLE]
    await stage.clock.advance(2.0)
    errors = 2 if how == "failed" else 1
    if how == "stop":
        await stage.stop()
    await stage.clock.advance(7200.0)
    assert len(stage.outbox.errors) == errors


async def test_short_sessions_do_not_end_an_outage(stage):
    """Each is lost before it was stable."""
    await stage.lose(LOST)
    while stage.clock.monotonic() < 1000.0 + 70.0:
        await stage.until_attempt(len(stage.service.sessions) + 1)
        await stage.lose(LOST)
    assert len(reminders(stage)) == 1


async def test_next_outage_is_reminded_of_from_its_own_begin():
    """The time of the one before does not count."""
    stage = await in_outage()
    await stage.clock.advance(30.0)
    stage.service.openings.clear()
    await stage.clock.advance(30.0)
    stage.service.openings += [REFUSED] * 100
    await stage.lose(LOST)
    await stage.clock.advance(59.0)
    assert len(stage.outbox.errors) == 2
    await stage.clock.advance(1.1)
    assert len(stage.outbox.errors) == 3
