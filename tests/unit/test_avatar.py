"""The rules of the session, one by one, with a session that obeys the test."""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Optional

import pytest
from fakes import (
    LOST,
    FakeClock,
    FakeOutbox,
    FakeService,
    FakeSession,
    FakeVoice,
    settle,
)
from spatius_avatar_python import reports
from spatius_avatar_python.avatar import Avatar
from spatius_avatar_python.reporter import (
    SERVICE_ERROR_PAUSE_S,
    TOKEN_EXPIRY_WARNING_S,
)
from spatius_avatar_python.session.backoff import (
    BACKOFF_RESET_S,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
)
from spatius_avatar_python.session.failures import Failure
from spatius_avatar_python.session.link import (
    STALL_LIMIT_S,
    Lifetime,
    lifetime_of,
)
from spatius_avatar_python.speech import Limits, Speech
from spatius_avatar_python.speech.limits import MESSAGE_MS
from spatius_avatar_python.speech.playout import PLAYBACK_MARGIN_S
from spatius_avatar_python.speech.turn import Turn
from spatius_avatar_python.supervisor import (
    IDLE_POLL_S,
    MAX_REJECTED_UPGRADES,
    Plan,
)

BYTES_PER_MS = 48
MESSAGE = MESSAGE_MS * BYTES_PER_MS

FIRST = Turn("session", 1)
SECOND = Turn("session", 2)

FOREVER = Lifetime(renew_after_s=1e9, renew_latest_s=1e9)

REFUSED = Failure("the console is not available", code="connectionFailed")
BAD_KEY = Failure("check params.spatius_api_key", code="key", fatal=True)
REJECTED = Failure(
    "the session token was refused",
    code="sessionTokenInvalid",
    vendor_message="Unauthorized",
    rejected_upgrade=True,
)
SERVICE_ERROR = Failure("upstream", code="upstreamError", ends_session=False)

_random = random.Random(1)


def pcm(ms: int) -> bytes:
    return _random.randbytes(ms * BYTES_PER_MS)


@dataclass
class Stage:
    """An avatar and all that it meets."""

    clock: FakeClock
    service: FakeService
    outbox: FakeOutbox
    voice: FakeVoice
    speech: Speech
    avatar: Avatar

    @property
    def session(self) -> FakeSession:
        return self.service.session

    async def start(self) -> None:
        self.avatar.start()
        await settle()

    async def finish(self) -> None:
        """Stop, and see that no damage was done and nothing is left."""
        for session in self.service.sessions:
            session.release()
        await settle()
        await self.avatar.stop()
        await settle()
        assert self.service.wrongs == []
        self.check_sum()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert tasks == set()
        assert self.clock.pending() == 0

    def check_sum(self) -> None:
        totals = self.speech.totals
        assert totals.received == (
            totals.sent
            + totals.voice
            + totals.flushed
            + totals.refused
            + totals.lost
            + totals.waiting
        )
        heard = sum(len(session.heard) for session in self.service.sessions)
        assert totals.sent + totals.lost + totals.resent == heard // 2

    async def until_attempt(self, number: int) -> float:
        """Move on to this attempt and return how long that took."""
        began = self.clock.monotonic()
        while len(self.service.sessions) < number:
            assert self.clock.monotonic() < began + 100, "no attempt is made"
            await self.clock.advance_to_timer()
        return self.clock.monotonic() - began


def set_up(
    *,
    lifetime: Lifetime = FOREVER,
    seed: int = 7,
    max_buffered_s: float = 60.0,
    end_timeout_s: float = 1.5,
    resume_within_s: float = 0,
    has_voice: bool = False,
    **plan,
) -> Stage:
    clock = FakeClock()
    voice = FakeVoice(has_voice)
    service = FakeService()
    outbox = FakeOutbox()
    speech = Speech(
        sample_rate=24000,
        limits=Limits(
            max_buffered_s=max_buffered_s,
            end_timeout_s=end_timeout_s,
            resume_within_s=resume_within_s,
        ),
    )
    avatar = Avatar(
        speech=speech,
        open_session=service.make,
        outbox=outbox,
        voice=voice,
        plan=Plan(lifetime, 24000, **plan),
        clock=clock,
        rng=random.Random(seed),
    )
    return Stage(clock, service, outbox, voice, speech, avatar)


async def ready(**options) -> Stage:
    """Return a stage whose avatar is connected."""
    stage = set_up(**options)
    await stage.start()
    assert stage.avatar.state == "ready"
    return stage


async def held(**options) -> Stage:
    """Return a stage whose first send waits for the socket."""
    stage = await ready(**options)
    stage.service.calls.append("hold")
    stage.avatar.speak(pcm(20), FIRST)
    await settle()
    assert stage.session.is_held
    return stage


# Rule 1: the start


@pytest.mark.asyncio
async def test_start_returns_before_it_connects():
    """The connection is made in the background."""
    stage = set_up()
    stage.service.openings.append("hang")
    stage.avatar.start()
    assert stage.service.sessions == []
    await settle()
    assert stage.outbox.states == ["connecting"]
    await stage.finish()


@pytest.mark.asyncio
async def test_speech_waits_for_the_connection():
    """What is said before start and while connecting is spoken then."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    first, second, third = pcm(30), pcm(30), pcm(30)
    stage.avatar.speak(first)
    await stage.start()
    stage.avatar.speak(second)
    await settle()
    stage.avatar.speak(third)
    stage.avatar.speech_ends()
    assert stage.speech.totals.sent == 0
    await stage.until_attempt(2)
    await settle()
    assert list(stage.session.requests.values()) == [first + second + third]
    assert len(stage.session.ended) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_second_start_starts_nothing():
    """One avatar has one task."""
    stage = await ready()
    await stage.start()
    assert len(stage.service.sessions) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_connection_is_reported():
    """State, delay and connection id are told when the avatar is ready."""
    stage = await ready()
    assert stage.outbox.states == ["connecting", "ready"]
    [(_, metrics)] = [s for s in stage.outbox.sent if s[0] == "metrics"]
    assert metrics["metrics"] == {"connect_delay_ms": 0, "connect_delay": 0}
    assert metrics["metadata"] == {"connection_id": "connection-1"}
    assert stage.outbox.errors == []
    await stage.finish()


@pytest.mark.asyncio
async def test_secrets_of_each_connection_are_kept():
    """The outbox knows a session's secrets, also when it was not opened."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    await stage.start()
    await stage.until_attempt(2)
    await settle()
    assert stage.outbox.secrets == ["token-1", "token-2"]
    await stage.finish()


# Rule 2: one call at a time


@pytest.mark.asyncio
async def test_one_call_at_a_time():
    """While a call waits, nothing that happens starts another."""
    stage = await held()
    for _ in range(10):
        stage.avatar.speak(pcm(20), FIRST)
        stage.avatar.speech_ends(FIRST)
        stage.avatar.flush()
        stage.avatar.speak(pcm(20), SECOND)
        await stage.clock.advance(0.1)
    assert stage.service.events[-1] == (1, "open")
    stage.session.release()
    await settle()
    assert stage.service.wrongs == []
    await stage.finish()


@pytest.mark.asyncio
async def test_frames_are_sent_in_order():
    """What is said is heard, in one request, with its end."""
    stage = await ready()
    frames = [pcm(10) for _ in range(40)]
    for frame in frames:
        stage.avatar.speak(frame)
    stage.avatar.speech_ends()
    await settle()
    assert stage.session.heard == b"".join(frames)
    assert len(stage.session.requests) == len(stage.session.ended) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_flush_is_taken_while_a_call_is_blocked():
    """A flush clears the queue at once; the interrupt is the next call."""
    stage = await held()
    stage.avatar.speak(pcm(5000), FIRST)
    stage.avatar.flush()
    assert stage.speech.waiting_s == pytest.approx(0.02)  # the call's own
    answer = pcm(20)
    stage.avatar.speak(answer, SECOND)
    await settle()
    assert stage.session.is_held
    stage.session.release()
    await settle()
    assert stage.service.events == [
        (1, "open"),
        (1, "send"),
        (1, "interrupt"),
        (1, "send"),
    ]
    assert stage.session.messages[-1] == answer
    await stage.finish()


@pytest.mark.asyncio
async def test_many_flushes_make_one_interrupt():
    """Twenty flushes while a call is blocked are one on the wire."""
    stage = await held()
    for _ in range(20):
        stage.avatar.flush()
    stage.session.release()
    await settle()
    for _ in range(20):
        stage.avatar.flush()
    await settle()
    assert len(stage.session.interrupted) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_flush_is_reported_after_it_was_answered():
    """The command's result does not wait for the report, and the report not
    for a socket that takes nothing."""
    stage = await ready()
    stage.avatar.speak(pcm(500), FIRST)
    await settle()
    stage.service.calls.append("hold")
    stage.avatar.flush()
    assert stage.outbox.utterances == []
    await settle()
    assert stage.session.is_held
    assert len(stage.outbox.utterances) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_flush_with_nothing_said_calls_nothing():
    """A flush while the avatar is silent is not seen by the session."""
    stage = await ready()
    stage.avatar.flush()
    await settle()
    assert stage.service.events == [(1, "open")]
    await stage.finish()


@pytest.mark.asyncio
async def test_flush_while_connecting_drops_what_waits():
    """What was flushed before the connection is there is never spoken."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    await stage.start()
    stage.avatar.speak(pcm(500), FIRST)
    stage.avatar.flush()
    answer = pcm(20)
    stage.avatar.speak(answer, SECOND)
    await stage.until_attempt(2)
    await settle()
    assert stage.session.heard == answer
    assert stage.session.interrupted == []
    await stage.finish()


@pytest.mark.asyncio
async def test_utterance_ends_by_itself():
    """Speech whose end never comes is ended by the avatar's own timer."""
    stage = await ready(end_timeout_s=1.5)
    stage.avatar.speak(pcm(20))
    await stage.clock.advance(1.4)
    assert stage.session.ended == []
    await stage.clock.advance(0.2)
    assert len(stage.session.ended) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_utterance_is_summarised_once():
    """One metrics message and one line tell of each utterance."""
    stage = await ready()
    stage.avatar.speak(pcm(500), FIRST)
    stage.avatar.speech_ends(FIRST)
    await stage.clock.advance(10.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["audio_ms"] == 500
    assert utterance["metrics"]["sent_ms"] == 500
    assert utterance["metadata"]["turn_id"] == 1
    assert utterance["metadata"]["connection_id"] == "connection-1"
    lines = [text for _, text in stage.outbox.lines if "utterance" in text]
    assert len(lines) == 1
    await stage.finish()


# Fairness


@pytest.mark.asyncio
async def test_backlog_leaves_the_loop_to_others():
    """Other callbacks have their turn after each message of a backlog."""
    stage = set_up(max_buffered_s=600)
    stage.avatar.speak(pcm(60_000))
    seen: list[int] = []

    async def neighbour() -> None:
        while stage.speech.waiting_s or not stage.service.sessions:
            if stage.service.sessions:
                seen.append(len(stage.session.messages))
            await asyncio.sleep(0)

    other = asyncio.ensure_future(neighbour())
    stage.avatar.start()
    await other
    messages = 60_000 // MESSAGE_MS
    assert len(seen) >= messages
    assert max(after - before for before, after in zip(seen, seen[1:])) == 1
    await settle()
    assert len(stage.session.messages) == messages
    await stage.finish()


# Rules 3 and 4: loss and recovery


@pytest.mark.asyncio
async def test_each_attempt_is_a_new_session():
    """A session object is opened once, and closed before the next."""
    stage = set_up()
    stage.service.openings += [REFUSED, REFUSED, REFUSED]
    await stage.start()
    await stage.until_attempt(4)
    await settle()
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
    await stage.finish()


@pytest.mark.asyncio
async def test_backoff_doubles_with_jitter_to_its_limit():
    """The waits grow from 0.5 s to 15 s and stay there, each by chance."""
    waits = {}
    for seed in (1, 2):
        stage = set_up(seed=seed)
        stage.service.openings += [REFUSED] * 12
        await stage.start()
        waits[seed] = [await stage.until_attempt(n) for n in range(2, 13)]
        assert stage.outbox.error_codes == [reports.NON_FATAL]
        await stage.finish()
    for index, (one, other) in enumerate(zip(waits[1], waits[2])):
        longest = min(2 * INITIAL_BACKOFF_S * 2**index, MAX_BACKOFF_S)
        for wait in (one, other):
            assert longest / 2 - 0.02 <= wait <= longest + 0.02
        assert one != other


@pytest.mark.asyncio
async def test_backoff_is_reset_by_a_stable_session():
    """After a session that lasted, the first wait is short again."""
    stage = set_up()
    stage.service.openings += [REFUSED] * 6
    await stage.start()
    await stage.until_attempt(7)
    await stage.clock.advance(BACKOFF_RESET_S)
    stage.session.on_failure(LOST)
    assert await stage.until_attempt(8) <= 2 * INITIAL_BACKOFF_S + 0.02
    await stage.finish()


@pytest.mark.asyncio
async def test_backoff_grows_over_sessions_that_do_not_last():
    """A service that accepts and closes at once is not called in a loop."""
    stage = await ready()
    for number in range(2, 9):
        stage.session.on_failure(LOST)
        waited = await stage.until_attempt(number)
    assert waited >= MAX_BACKOFF_S / 2 - 0.02
    await stage.finish()


@pytest.mark.asyncio
async def test_one_error_and_one_state_per_outage():
    """However many attempts and frames, trouble is told of once."""
    stage = await ready()
    await stage.clock.advance(BACKOFF_RESET_S)
    stage.session.on_failure(LOST)
    stage.service.openings += [REFUSED] * 4
    await settle()
    for _ in range(300):
        stage.avatar.speak(pcm(10), FIRST)
        await stage.clock.advance(0.1)
    assert stage.avatar.state == "ready"
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    assert stage.outbox.states == [
        "connecting",
        "ready",
        "recovering",
        "ready",
    ]
    await stage.finish()


@pytest.mark.asyncio
async def test_next_outage_is_told_again():
    """Each outage has an error of its own."""
    stage = await ready()
    for number in (2, 3):
        await stage.clock.advance(BACKOFF_RESET_S)
        stage.session.on_failure(LOST)
        await stage.until_attempt(number)
        await settle()
    assert stage.outbox.error_codes == [reports.NON_FATAL] * 2
    assert stage.outbox.states[-2:] == ["recovering", "ready"]
    await stage.finish()


@pytest.mark.asyncio
async def test_error_names_the_speech_that_is_hit():
    """The error of a loss has the turn, the connection and the code."""
    stage = await held()
    stage.session.on_failure(LOST)
    stage.session.fail(LOST)
    await settle()
    [error] = stage.outbox.errors
    assert error["metadata"] == {
        "turn_id": 1,
        "session_id": "session",
        "connection_id": "connection-1",
        "vendor_metadata": {
            "code": "connectionClosed",
            "connection_id": "connection-1",
        },
    }
    assert error["vendor_info"]["code"] == "connectionClosed"
    await stage.finish()


@pytest.mark.asyncio
async def test_cause_of_a_loss_is_the_callbacks():
    """What the callback said first is told, not what the call met."""
    stage = await held()
    cause = Failure("time limit", code="4002")
    stage.session.on_failure(cause)
    stage.session.on_failure(LOST)
    stage.session.fail(LOST)
    await settle()
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "4002"
    await stage.finish()


@pytest.mark.asyncio
async def test_unwritten_audio_goes_to_the_new_session():
    """The rest of an utterance is sent under a new request, no byte twice."""
    stage = await ready()
    audio = pcm(500)
    stage.service.calls += [None, None, LOST]
    stage.avatar.speak(audio, FIRST)
    stage.avatar.speech_ends(FIRST)
    await settle()
    assert stage.session.heard == audio[: 2 * MESSAGE]
    await stage.until_attempt(2)
    await settle()
    assert stage.session.heard == audio[2 * MESSAGE :]
    assert stage.session.ended == ["request-2.0"]
    await stage.clock.advance(10.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["sent_ms"] == 300
    await stage.finish()


@pytest.mark.asyncio
async def test_written_utterance_is_not_repeated():
    """What the old session has heard is not said again."""
    stage = await ready()
    stage.avatar.speak(pcm(500), FIRST)
    stage.avatar.speech_ends(FIRST)
    await settle()
    stage.session.on_failure(LOST)
    await stage.until_attempt(2)
    await settle()
    assert stage.session.heard == b""
    await stage.finish()


@pytest.mark.asyncio
async def test_lost_end_makes_no_empty_request():
    """An end whose audio went with the old session is not sent alone."""
    stage = await ready()
    stage.avatar.speak(pcm(20), FIRST)
    await settle()
    stage.service.calls += [LOST]
    stage.avatar.speech_ends(FIRST)
    await settle()
    await stage.until_attempt(2)
    await settle()
    assert stage.session.requests == {}
    await stage.finish()


@pytest.mark.asyncio
async def test_lost_interrupt_is_not_sent_to_the_new_session():
    """An interrupt dies with its session; the next answer is spoken."""
    stage = await ready()
    stage.avatar.speak(pcm(500), FIRST)
    await settle()
    stage.service.calls += [LOST]
    stage.avatar.flush()
    answer = pcm(20)
    stage.avatar.speak(answer, SECOND)
    await settle()
    await stage.until_attempt(2)
    await settle()
    assert stage.session.heard == answer
    assert stage.session.interrupted == []
    await stage.finish()


@pytest.mark.asyncio
async def test_frames_of_an_outage_are_spoken_after_it():
    """What is said while there is no session waits for the next."""
    stage = await ready()
    stage.session.on_failure(LOST)
    await settle()
    frames = [pcm(10) for _ in range(20)]
    for frame in frames:
        stage.avatar.speak(frame)
    await stage.until_attempt(2)
    await settle()
    assert stage.session.heard == b"".join(frames)
    await stage.finish()


@pytest.mark.asyncio
async def test_overflow_in_an_outage_is_one_error():
    """What finds no room is told once, with the amount."""
    stage = await ready(max_buffered_s=1.0)
    stage.session.on_failure(LOST)
    stage.service.openings += ["hang"]
    await settle()
    for _ in range(150):
        stage.avatar.speak(pcm(10), FIRST)
    await stage.clock.advance(20.0)
    assert stage.outbox.error_codes == [reports.NON_FATAL] * 2
    overflow = stage.outbox.errors[-1]
    assert overflow["vendor_info"]["code"] == "overflow"
    assert "0.5 s" in overflow["message"]
    await stage.finish()


@pytest.mark.asyncio
async def test_late_failure_of_an_older_session_is_ignored():
    """What an older session says neither ends nor troubles the new one."""
    stage = await ready()
    old = stage.session
    old.on_failure(LOST)
    await stage.until_attempt(2)
    await settle()
    told = len(stage.outbox.sent)
    old.on_failure(LOST)
    old.on_failure(BAD_KEY)
    old.on_failure(SERVICE_ERROR)
    await stage.clock.advance(5.0)
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2
    assert len(stage.outbox.sent) == told
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize("failure", [LOST, BAD_KEY, SERVICE_ERROR])
async def test_late_failure_between_two_sessions_is_ignored(failure):
    """A session that was given up has nothing to say before the next."""
    stage = await ready()
    stage.session.on_failure(LOST)
    await settle()
    assert stage.avatar.state == "recovering"
    stage.session.on_failure(failure)
    await stage.clock.advance(20.0)
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    await stage.finish()


@pytest.mark.asyncio
async def test_failure_while_opening_is_not_lost():
    """A session that is over as soon as it is open is recovered."""
    stage = await ready()
    stage.session.on_failure(LOST)
    await stage.until_attempt(2)
    stage.session.on_failure(LOST)  # before the avatar has seen it open
    await stage.until_attempt(3)
    await settle()
    assert stage.avatar.state == "ready"
    await stage.finish()


@pytest.mark.asyncio
async def test_session_that_cannot_be_made_is_retried():
    """A failure of making the session object counts as an attempt."""
    stage = set_up()
    stage.service.makings += [REFUSED]
    await stage.start()
    assert stage.avatar.state == "recovering"
    await stage.until_attempt(1)
    await settle()
    assert stage.avatar.state == "ready"
    await stage.finish()


# Rule 5: fatal


@pytest.mark.asyncio
async def test_fatal_failure_of_opening_is_the_end():
    """One error -1000, state failed, and no further attempt."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    stage.avatar.speak(pcm(100), FIRST)
    await stage.start()
    await stage.clock.advance(1000.0)
    assert stage.outbox.error_codes == [reports.FATAL]
    assert stage.outbox.states == ["connecting", "failed"]
    assert len(stage.service.sessions) == 1
    assert not stage.session.is_live
    await stage.finish()


@pytest.mark.asyncio
async def test_fatal_failure_of_a_session_is_the_end():
    """Exhausted credits end it while the avatar speaks."""
    stage = await ready()
    stage.avatar.speak(pcm(100), FIRST)
    await settle()
    stage.session.on_failure(BAD_KEY)
    await stage.clock.advance(1000.0)
    assert stage.outbox.error_codes == [reports.FATAL]
    assert stage.outbox.states == ["connecting", "ready", "failed"]
    assert len(stage.service.sessions) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_fatal_failure_after_trouble():
    """An outage that turns out to be final has both of its errors."""
    stage = set_up()
    stage.service.openings += [REFUSED, BAD_KEY]
    await stage.start()
    await stage.until_attempt(2)
    await stage.clock.advance(1000.0)
    assert stage.outbox.error_codes == [reports.NON_FATAL, reports.FATAL]
    assert len(stage.service.sessions) == 2
    await stage.finish()


@pytest.mark.asyncio
async def test_speech_is_let_go_of_after_the_end():
    """A failed avatar takes frames, ends and flushes without a word."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    stage.avatar.speak(pcm(100), FIRST)
    await stage.start()
    told = len(stage.outbox.sent)
    for _ in range(100):
        stage.avatar.speak(pcm(1000), FIRST)
        stage.avatar.speech_ends(FIRST)
        stage.avatar.flush()
        await stage.clock.advance(1.0)
    assert len(stage.outbox.sent) == told
    assert stage.speech.waiting_s == 0
    assert stage.speech.totals.refused == stage.speech.totals.received
    await stage.finish()


@pytest.mark.asyncio
async def test_fatal_error_names_the_speech_that_is_hit():
    """The error has the turn of what waited for the avatar."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    stage.avatar.speak(pcm(100), FIRST)
    await stage.start()
    [error] = stage.outbox.errors
    assert error["metadata"]["turn_id"] == 1
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize("failure", [LOST, SERVICE_ERROR, BAD_KEY])
async def test_failed_avatar_hears_no_more_of_its_session(failure):
    """Late callbacks after the end are not told."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    await stage.start()
    stage.session.on_failure(failure)
    await stage.clock.advance(20.0)
    assert stage.outbox.error_codes == [reports.FATAL]
    assert stage.clock.pending() == 0
    await stage.finish()


@pytest.mark.asyncio
async def test_rejected_upgrades_in_a_row_are_fatal():
    """Three refused session tokens in a row are a configuration's fault."""
    stage = set_up()
    stage.service.openings += [REJECTED] * 10
    await stage.start()
    await stage.clock.advance(1000.0)
    assert len(stage.service.sessions) == MAX_REJECTED_UPGRADES
    assert stage.outbox.error_codes == [reports.NON_FATAL, reports.FATAL]
    assert "spatius_app_id" in stage.outbox.errors[-1]["message"]
    await stage.finish()


@pytest.mark.asyncio
async def test_rejected_upgrades_with_others_between_are_retried():
    """Two refused tokens, another failure, two refused tokens: go on."""
    stage = set_up()
    stage.service.openings += [REJECTED, REJECTED, REFUSED, REJECTED, REJECTED]
    await stage.start()
    await stage.until_attempt(6)
    await settle()
    assert stage.avatar.state == "ready"
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    await stage.finish()


@pytest.mark.asyncio
async def test_session_in_between_forgives_rejected_upgrades():
    """Refused tokens before and after a good session are not in a row."""
    stage = set_up()
    stage.service.openings += [REJECTED, REJECTED, None, REJECTED]
    await stage.start()
    await stage.until_attempt(3)
    await stage.clock.advance(BACKOFF_RESET_S)
    stage.session.on_failure(LOST)
    await stage.until_attempt(5)
    await settle()
    assert stage.avatar.state == "ready"
    await stage.finish()


# What nobody expects


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), asyncio.CancelledError()]
)
async def test_unexpected_exception_of_open_is_retried(error):
    """Whatever open raises, it is told of, and tried again in good time."""
    stage = set_up()
    stage.service.openings += [error] * 50
    await stage.start()
    assert 1 <= len(stage.service.sessions) <= 2, "it spins"
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    stage.service.openings.clear()
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), asyncio.CancelledError()]
)
async def test_unexpected_exception_of_a_call_is_told(error):
    """Whatever a call raises, it is told of; no avatar dies in silence."""
    stage = await ready()
    stage.service.calls += [error]
    stage.avatar.speak(pcm(20), FIRST)
    await settle()
    await stage.clock.advance(2.0)
    assert len(stage.outbox.errors) == 1
    spoken_again = stage.avatar.state == "ready" and stage.session.heard
    assert stage.avatar.state == "failed" or spoken_again
    assert not stage.service.sessions[0].is_live
    await stage.finish()


@pytest.mark.asyncio
async def test_unexpected_exception_of_making_a_session_is_told():
    """A session that cannot even be constructed is told of."""
    stage = set_up()
    stage.service.makings += [TypeError("unexpected keyword")]
    await stage.start()
    assert len(stage.outbox.errors) == 1
    assert "unexpected keyword" in stage.outbox.errors[0]["message"]
    await stage.finish()


@pytest.mark.asyncio
async def test_unexpected_exception_of_close_is_told():
    """A close that raises is not the silent end of the avatar."""
    stage = await ready()
    stage.service.close_raises = RuntimeError("odd")
    stage.session.on_failure(LOST)
    await settle()
    stage.service.close_raises = None
    await stage.clock.advance(2.0)
    assert stage.avatar.state in ("ready", "failed")
    assert len(stage.outbox.errors) <= 2
    await stage.finish()


# A call that waits for ever


@pytest.mark.asyncio
async def test_stalled_call_is_aborted_and_recovered():
    """A socket that takes nothing for the limit is given up."""
    stage = await held()
    await stage.clock.advance(STALL_LIMIT_S - 1)
    assert stage.session.aborts == 0
    await stage.clock.advance(STALL_LIMIT_S / 2)
    assert stage.service.sessions[0].aborts == 1
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "stalled"
    assert stage.avatar.state == "ready"
    assert len(stage.session.heard) == 20 * BYTES_PER_MS
    await stage.finish()


@pytest.mark.asyncio
async def test_call_that_a_timer_led_to_is_watched_too():
    """An end of speech by timeout that stalls is given up as any call."""
    stage = await ready(end_timeout_s=1.5)
    stage.avatar.speak(pcm(20), FIRST)
    await settle()
    stage.service.calls.append("hold")
    await stage.clock.advance(1.5)
    assert stage.session.is_held
    await stage.clock.advance(STALL_LIMIT_S * 1.5)
    assert stage.service.sessions[0].aborts == 1
    assert stage.avatar.state == "ready"
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize("code", ["", "creditsExhausted"])
async def test_failure_ends_a_call_that_is_blocked(code):
    """The service's words are not held up by the socket, nor forgotten."""
    stage = await held()
    failure = replace(LOST, code=code, message="why", fatal=bool(code))
    stage.session.on_failure(failure)
    await stage.clock.advance(0.1)
    assert stage.service.sessions[0].aborts == 1
    assert stage.outbox.errors[0]["message"] == "why"
    assert (stage.avatar.state == "failed") == bool(code)
    await stage.finish()


@pytest.mark.asyncio
async def test_overflow_is_told_while_a_call_is_blocked():
    """What is refused behind a stalled socket is told of in time."""
    stage = await held(max_buffered_s=1.0)
    for _ in range(150):
        stage.avatar.speak(pcm(10), FIRST)
    await stage.clock.advance(1.1)
    assert stage.session.is_held
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "overflow"
    await stage.finish()


@pytest.mark.asyncio
async def test_overflow_names_the_turn_that_was_refused():
    """Not the one whose speech is in its way."""
    stage = await held(max_buffered_s=1.0)
    stage.avatar.speak(pcm(980), FIRST)
    stage.avatar.speak(pcm(500), SECOND)
    await stage.clock.advance(1.1)
    [error] = stage.outbox.errors
    assert error["metadata"]["turn_id"] == SECOND.id
    await stage.finish()


@pytest.mark.asyncio
async def test_speech_goes_on_after_a_stall():
    """A stall that ends in time costs nothing of what there is room for."""
    stage = await held()
    audio = pcm(3000)
    stage.avatar.speak(audio, FIRST)
    await stage.clock.advance(STALL_LIMIT_S - 1)
    stage.session.release()
    await settle()
    assert stage.session.heard.endswith(audio)
    assert stage.outbox.errors == []
    await stage.finish()


# Complaints of the service


@pytest.mark.asyncio
async def test_harmless_complaint_is_passed_on():
    """A complaint after which the session goes on changes nothing else."""
    stage = await ready()
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(1.0)
    [error] = stage.outbox.errors
    assert error["code"] == reports.NON_FATAL
    assert error["vendor_info"]["code"] == "upstreamError"
    assert stage.outbox.states == ["connecting", "ready"]
    assert len(stage.service.sessions) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_harmless_complaints_are_limited():
    """One complaint per pause is passed on, not each of a storm."""
    stage = await ready()
    for _ in range(int(SERVICE_ERROR_PAUSE_S * 10) - 1):
        stage.session.on_failure(SERVICE_ERROR)
        await stage.clock.advance(0.1)
    assert len(stage.outbox.errors) == 1
    await stage.clock.advance(0.2)
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(1.0)
    assert len(stage.outbox.errors) == 2
    await stage.finish()


@pytest.mark.asyncio
async def test_complaint_before_a_loss_explains_it():
    """A complaint with which the session ends is in the outage's error."""
    stage = await ready()
    stage.session.on_failure(SERVICE_ERROR)
    stage.session.on_failure(LOST)
    await stage.clock.advance(20.0)
    [error] = stage.outbox.errors
    assert SERVICE_ERROR.message in error["message"]
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize("later_s", [0.0, 5.0])
async def test_latest_complaint_explains_a_loss(later_s):
    """Also where another was told of shortly before; an old one does not."""
    stage = await ready()
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(2.0)
    stage.session.on_failure(replace(SERVICE_ERROR, message="node is drained"))
    await stage.clock.advance(later_s)
    stage.session.on_failure(LOST)
    await stage.clock.advance(20.0)
    _, outage = stage.outbox.errors
    assert ("node is drained" in outage["message"]) == (later_s == 0)
    await stage.finish()


# Rule 6: renewal

RENEWED = Lifetime(renew_after_s=100.0, renew_latest_s=120.0)


def test_lifetime_leaves_time_to_renew():
    """The last safe moment leaves 13 s to close and open again."""
    for minutes in (1, 30, 1440):
        lifetime = lifetime_of(minutes)
        assert 0 < lifetime.renew_after_s < lifetime.renew_latest_s
        assert lifetime.renew_latest_s <= minutes * 60 - 13


@pytest.mark.asyncio
async def test_session_is_renewed_while_it_is_quiet():
    """The old session is closed before the new one opens; no error."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(99.9)
    assert len(stage.service.sessions) == 1
    await stage.clock.advance(0.2)
    assert stage.service.events == [
        (1, "open"),
        (1, "close"),
        (1, "closed"),
        (2, "open"),
    ]
    assert stage.outbox.errors == []
    assert stage.outbox.states == [
        "connecting",
        "ready",
        "connecting",
        "ready",
    ]
    await stage.finish()


@pytest.mark.asyncio
async def test_renewal_waits_for_a_quiet_moment():
    """An utterance that plays is heard to its end first."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(98.0)
    stage.avatar.speak(pcm(5000), FIRST)
    stage.avatar.speech_ends(FIRST)
    await stage.clock.advance(5.0 + PLAYBACK_MARGIN_S - 0.1)
    assert len(stage.service.sessions) == 1
    await stage.clock.advance(0.2 + IDLE_POLL_S)
    assert len(stage.service.sessions) == 2
    await stage.finish()


@pytest.mark.asyncio
async def test_renewal_at_the_last_safe_moment():
    """Speech that never pauses goes on in the new session, all of it."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(95.0)
    frames = []
    while stage.clock.monotonic() < 1000 + 130.0:
        frames.append(pcm(10))
        stage.avatar.speak(frames[-1], FIRST)
        await stage.clock.advance(0.25)
        late = stage.clock.monotonic() > 1000 + 120.0 + IDLE_POLL_S
        assert len(stage.service.sessions) == (2 if late else 1) or (
            stage.clock.monotonic() >= 1000 + 120.0
        )
    first, second = stage.service.sessions
    assert first.heard + second.heard == b"".join(frames)
    assert first.heard and second.heard
    assert stage.outbox.errors == []
    await stage.finish()


@pytest.mark.asyncio
async def test_what_is_said_during_a_renewal_is_spoken():
    """Frames that come while there is no session wait for the new one."""
    stage = await ready(lifetime=RENEWED)
    stage.service.openings += ["hang"]
    await stage.clock.advance(100.1)
    audio = pcm(300)
    stage.avatar.speak(audio, FIRST)
    await settle()
    assert stage.service.session.heard == b""
    await stage.avatar.stop()
    assert stage.speech.totals.refused == len(audio) // 2
    assert stage.service.wrongs == []


@pytest.mark.asyncio
async def test_renewal_that_fails_is_an_outage():
    """A new session that does not open is trouble like any other."""
    stage = await ready(lifetime=RENEWED)
    stage.service.openings += [REFUSED]
    await stage.clock.advance(100.1)
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    assert stage.avatar.state == "recovering"
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"
    await stage.finish()


@pytest.mark.asyncio
async def test_renewals_go_on():
    """Every session is renewed in its turn."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(1001.0)
    assert len(stage.service.sessions) == 11
    assert stage.outbox.errors == []
    await stage.finish()


@pytest.mark.asyncio
@pytest.mark.parametrize("why", ["loss", "renewal"])
async def test_summary_names_the_connection_that_it_was_sent_on(why):
    """What a renewal or loss ends is reported as the old connection's."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(95.0)
    stage.avatar.speak(pcm(40_000), FIRST)
    stage.avatar.speech_ends(FIRST)
    await settle()
    if why == "loss":
        stage.session.on_failure(LOST)
    await stage.clock.advance(30.0)
    assert len(stage.service.sessions) == 2
    await stage.clock.advance(20.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metadata"]["connection_id"] == "connection-1"
    await stage.finish()


@pytest.mark.asyncio
async def test_summary_of_what_a_later_connection_never_had():
    """It was sent before the loss, and cut by a flush after it."""
    stage = await ready()
    stage.avatar.speak(pcm(500), FIRST)
    await settle()
    stage.session.on_failure(LOST)
    await stage.until_attempt(2)
    await settle()
    stage.avatar.flush()
    await settle()
    [utterance] = stage.outbox.utterances
    assert utterance["metadata"]["connection_id"] == "connection-1"
    await stage.finish()


@pytest.mark.asyncio
async def test_summary_comes_when_its_session_is_over():
    """What a loss ends is reported before the next session is there."""
    stage = await ready()
    stage.avatar.speak(pcm(5000), FIRST)
    stage.avatar.speech_ends(FIRST)
    await settle()
    stage.session.on_failure(LOST)
    await settle()
    assert stage.avatar.state == "recovering"
    assert len(stage.outbox.utterances) == 1
    await stage.finish()


@pytest.mark.asyncio
async def test_end_of_a_given_token_is_told_once():
    """A token that cannot be renewed is warned of before its end."""
    stage = set_up()
    ends_at_s = stage.clock.epoch() + 2 * TOKEN_EXPIRY_WARNING_S
    stage = set_up(lifetime=Lifetime(1e9, 1e9, ends_at_s))
    await stage.start()
    await stage.clock.advance(TOKEN_EXPIRY_WARNING_S - 1)
    assert stage.outbox.errors == []
    await stage.clock.advance(20.0)
    [error] = stage.outbox.errors
    assert error["code"] == reports.NON_FATAL
    assert error["vendor_info"]["code"] == "agoraTokenEnds"
    assert "agora_appcert" in error["message"]
    await stage.clock.advance(2 * TOKEN_EXPIRY_WARNING_S)
    assert len(stage.outbox.errors) == 1
    await stage.finish()


# Rule 7: the stop

STOP_S = 4.0


async def stopped(stage: Stage, state: str = "closed") -> float:
    """Stop, see that it was in time and left nothing behind, and return how
    many seconds it took."""
    began = stage.clock.monotonic()
    await stage.clock.run(stage.avatar.stop())
    took_s = stage.clock.monotonic() - began
    assert took_s < STOP_S
    assert stage.avatar.state == state
    await settle()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert tasks == set()
    assert stage.clock.pending() == 0
    assert stage.service.wrongs == []
    stage.check_sum()
    assert stage.speech.totals.waiting == 0
    attempts = len(stage.service.sessions)
    await stage.clock.advance(100.0)
    assert len(stage.service.sessions) == attempts
    return took_s


@pytest.mark.asyncio
async def test_stop_when_never_started():
    """An avatar that was not started is closed at once."""
    stage = set_up()
    stage.avatar.speak(pcm(100))
    await stopped(stage)
    stage.avatar.start()
    await settle()
    assert stage.service.sessions == []


@pytest.mark.asyncio
async def test_stop_while_connecting():
    """An opening that hangs is given up, and closed."""
    stage = set_up()
    stage.service.openings += ["hang"]
    stage.avatar.speak(pcm(100))
    await stage.start()
    await stopped(stage)
    assert stage.session.closes == 1
    assert stage.outbox.errors == []


@pytest.mark.asyncio
async def test_stop_while_ready():
    """A session is closed, and no error is told."""
    stage = await ready()
    stage.avatar.speak(pcm(100), FIRST)
    await settle()
    await stopped(stage)
    assert stage.session.closes == 1
    assert stage.outbox.states == ["connecting", "ready", "closed"]
    assert stage.outbox.errors == []
    assert len(stage.outbox.utterances) == 1


@pytest.mark.asyncio
async def test_stop_while_a_call_is_blocked():
    """A socket that takes nothing is dropped; that is no outage."""
    stage = await held()
    await stopped(stage)
    assert stage.session.aborts >= 1
    assert stage.outbox.errors == []
    assert stage.outbox.states == ["connecting", "ready", "closed"]


@pytest.mark.asyncio
async def test_stop_while_backing_off():
    """A wait for the next attempt is not waited for."""
    stage = set_up()
    stage.service.openings += [REFUSED] * 9
    await stage.start()
    await stage.until_attempt(6)
    await settle()
    assert await stopped(stage) < 1.0


@pytest.mark.asyncio
async def test_stop_while_closing_hangs():
    """A close that never returns does not hold up the stop."""
    stage = await ready()
    stage.service.close_hangs = True
    await stopped(stage)
    assert stage.session.aborts >= 1


@pytest.mark.asyncio
async def test_stop_while_a_lost_session_hangs_in_its_close():
    """A recovery that is stuck in the old session's close is given up."""
    stage = await ready()
    stage.service.close_hangs = True
    stage.session.on_failure(LOST)
    await settle()
    await stopped(stage)
    assert stage.session.aborts >= 1


@pytest.mark.asyncio
async def test_stop_when_failed():
    """A failed avatar stops at once, and is still one that failed."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    await stage.start()
    await stopped(stage, "failed")
    assert stage.outbox.states == ["connecting", "failed"]


@pytest.mark.asyncio
async def test_stop_twice():
    """A second stop finds nothing left to do."""
    stage = await ready()
    await stopped(stage)
    await stopped(stage)
    assert stage.outbox.states == ["connecting", "ready", "closed"]
    assert stage.session.closes == 1


@pytest.mark.asyncio
async def test_messages_during_and_after_the_stop_are_taken():
    """Frames, ends and flushes raise nothing and start nothing."""
    stage = await ready()
    stage.service.close_hangs = True
    stop: Optional[asyncio.Task[None]] = asyncio.ensure_future(
        stage.avatar.stop()
    )
    for _ in range(2):
        await settle()
        stage.avatar.speak(pcm(20), FIRST)
        stage.avatar.speech_starts(FIRST)
        stage.avatar.speech_ends(FIRST)
        stage.avatar.flush()
        if stop is not None:
            await stage.clock.run(stop)
        stop = None
    await stopped(stage)
