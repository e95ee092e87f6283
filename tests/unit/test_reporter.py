"""Reports, once per episode."""

from dataclasses import replace

import pytest
from avatar_stage import (
    BAD_KEY,
    FIRST,
    REFUSED,
    SECOND,
    SERVICE_ERROR,
    held,
    pcm,
    ready,
    say,
    set_up,
)
from fakes import LOST, FakeClock, settle
from spatius_avatar_python.avatar.plan import Lifetime
from spatius_avatar_python.avatar.reporter import (
    SERVICE_ERROR_PAUSES_S,
    TOKEN_EXPIRY_WARNING_S,
)
from spatius_avatar_python.avatar.retry import STABLE_AFTER_S
from spatius_avatar_python.messages import payloads as reports
from spatius_avatar_python.speech.avatar_output import BEHIND_AFTER_S

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_secrets_of_each_connection_are_redacted():
    """They are handed over as soon as they are known, also if opening the
    session fails."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    await stage.start()
    await stage.until_attempt(2)
    assert stage.service.secrets == ["token-1", "token-2"]


async def test_utterance_is_summarized_once(stage):
    """Each utterance has one metrics message and one log line."""
    say(stage, 500)
    await stage.clock.advance(10.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["audio_ms"] == 500
    assert utterance["metrics"]["sent_ms"] == 500
    assert utterance["metadata"]["turn_id"] == 1
    assert utterance["metadata"]["connection_id"] == "connection-1"
    lines = [text for _, text in stage.outbox.lines if "utterance" in text]
    assert len(lines) == 1


async def test_one_error_and_one_state_per_outage(stage):
    """However many attempts and frames, an outage is reported once."""
    await stage.clock.advance(STABLE_AFTER_S)
    stage.session.on_failure(LOST)
    stage.service.openings += [REFUSED] * 4
    await settle()
    for _ in range(300):
        stage.speak(pcm(10), FIRST)
        await stage.clock.advance(0.1)
    assert stage.avatar.state == "ready"
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    assert stage.outbox.states == [
        "connecting",
        "ready",
        "recovering",
        "ready",
    ]


async def test_next_outage_is_reported_again(stage):
    """Each outage has an error of its own."""
    for number in (2, 3):
        await stage.clock.advance(STABLE_AFTER_S)
        stage.session.on_failure(LOST)
        await stage.until_attempt(number)
    assert stage.outbox.error_codes == [reports.NON_FATAL] * 2
    assert stage.outbox.states[-2:] == ["recovering", "ready"]


async def test_error_names_the_turn_and_the_connection():
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
        "vendor_metadata": {"avatar_session_id": "connection-1"},
    }
    assert error["vendor_info"]["code"] == "connectionClosed"


async def test_overflow_in_an_outage_is_one_error():
    """Refused audio is reported once, with the amount."""
    stage = await ready(max_buffered_s=1.0)
    stage.session.on_failure(LOST)
    stage.service.openings += ["hang"]
    await settle()
    for _ in range(150):
        stage.speak(pcm(10), FIRST)
    await stage.clock.advance(20.0)
    assert stage.outbox.error_codes == [reports.NON_FATAL] * 2
    overflow = stage.outbox.errors[-1]
    assert overflow["vendor_info"]["code"] == "overflow"
    assert "0.5 s" in overflow["message"]


async def test_fatal_error_names_the_turn():
    """The error has the turn of the waiting speech."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    stage.speak(pcm(100), FIRST)
    await stage.start()
    [error] = stage.outbox.errors
    assert error["metadata"]["turn_id"] == 1


async def test_overflow_names_the_turn_that_was_refused():
    """While a call is blocked, too; not the one whose speech is in its way."""
    stage = await held(max_buffered_s=1.0)
    await stage.clock.advance(BEHIND_AFTER_S)
    stage.speak(pcm(980), FIRST)
    stage.speak(pcm(500), SECOND)
    await stage.clock.advance(1.1)
    assert stage.session.is_held
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "overflow"
    assert error["metadata"]["turn_id"] == SECOND.id


async def test_non_fatal_service_error_is_reported(stage):
    """An error after which the session goes on has no other effect."""
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(1.0)
    [error] = stage.outbox.errors
    assert error["code"] == reports.NON_FATAL
    assert error["vendor_info"]["code"] == "upstreamError"
    assert stage.outbox.states == ["connecting", "ready"]
    assert len(stage.service.sessions) == 1


async def test_non_fatal_service_errors_are_limited(stage):
    """One error per pause is reported, not each of a storm."""
    for _ in range(int(SERVICE_ERROR_PAUSES_S[0] * 10) - 1):
        stage.session.on_failure(SERVICE_ERROR)
        await stage.clock.advance(0.1)
    assert len(stage.outbox.errors) == 1
    await stage.clock.advance(0.2)
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(1.0)
    assert len(stage.outbox.errors) == 2


async def test_service_errors_that_go_on_are_thinned_out(stage):
    """After 10 s, a minute, and then every five; anew after a long pause."""
    reported_at = []
    for at_s in range(0, 1000, 10):
        stage.session.on_failure(SERVICE_ERROR)
        before = len(stage.outbox.errors)
        await stage.clock.advance(10.0)
        if len(stage.outbox.errors) > before:
            reported_at.append(at_s)
    assert reported_at == [0, 10, 70, 370, 670, 970]
    reported = len(reported_at)
    await stage.clock.advance(2 * SERVICE_ERROR_PAUSES_S[-1])
    for _ in range(2):
        stage.session.on_failure(SERVICE_ERROR)
        await stage.clock.advance(SERVICE_ERROR_PAUSES_S[0])
        reported += 1
        assert len(stage.outbox.errors) == reported


async def test_service_error_before_a_loss_explains_it(stage):
    """A service error right before a loss is part of the outage's error."""
    stage.session.on_failure(SERVICE_ERROR)
    stage.session.on_failure(LOST)
    await stage.clock.advance(20.0)
    [error] = stage.outbox.errors
    assert SERVICE_ERROR.message in error["message"]


@pytest.mark.parametrize("later_s", [0.0, 5.0])
async def test_latest_service_error_explains_a_loss(later_s, stage):
    """Also where another was just reported; an old one is no explanation."""
    stage.session.on_failure(SERVICE_ERROR)
    await stage.clock.advance(2.0)
    stage.session.on_failure(replace(SERVICE_ERROR, message="node is drained"))
    await stage.clock.advance(later_s)
    stage.session.on_failure(LOST)
    await stage.clock.advance(20.0)
    _, outage = stage.outbox.errors
    assert ("node is drained" in outage["message"]) == (later_s == 0)


async def test_summary_comes_when_its_session_has_ended(stage):
    """Speech that a loss ends is reported before the next session is there."""
    say(stage, 5000)
    await settle()
    stage.session.on_failure(LOST)
    await settle()
    assert stage.avatar.state == "recovering"
    assert len(stage.outbox.utterances) == 1


async def test_expiry_of_a_given_token_is_reported_once():
    """A warning comes before a token that cannot be renewed expires."""
    stage = set_up()
    expires_at_s = stage.clock.epoch() + 2 * TOKEN_EXPIRY_WARNING_S
    stage = set_up(lifetime=Lifetime(1e9, 1e9, expires_at_s))
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


@pytest.mark.parametrize(
    ("left_s", "words"), [(60.0, "expires in 60 s"), (-1.0, "has expired")]
)
async def test_expiry_says_how_long_is_left(left_s, words):
    """Or that nothing is, as soon as the avatar starts."""
    epoch = FakeClock().epoch()
    stage = set_up(lifetime=Lifetime(1e9, 1e9, epoch + left_s))
    await stage.start()
    [error] = stage.outbox.errors
    assert words in error["message"]
