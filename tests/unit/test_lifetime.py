"""Sessions are renewed before they expire."""

import pytest
from avatar_stage import (
    FIRST,
    REFUSED,
    RENEWED,
    pcm,
    ready,
    say,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.supervisor import IDLE_POLL_S
from spatius_avatar_python.messages import payloads as reports
from spatius_avatar_python.speech.playout import PLAYBACK_MARGIN_S

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_session_is_renewed_while_it_is_idle():
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


async def test_renewal_waits_for_the_end_of_playout():
    """An utterance that plays is played to its end first."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(98.0)
    say(stage, 5000)
    await stage.clock.advance(5.0 + PLAYBACK_MARGIN_S - 0.1)
    assert len(stage.service.sessions) == 1
    await stage.clock.advance(0.2 + IDLE_POLL_S)
    assert len(stage.service.sessions) == 2


async def test_renewal_at_the_last_safe_moment():
    """Speech without a pause goes on in the new session, complete."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(95.0)
    frames = []
    while stage.clock.monotonic() < 1000 + 130.0:
        frames.append(pcm(10))
        stage.speak(frames[-1], FIRST)
        await stage.clock.advance(0.25)
        late = stage.clock.monotonic() > 1000 + 120.0 + IDLE_POLL_S
        assert len(stage.service.sessions) == (2 if late else 1) or (
            stage.clock.monotonic() >= 1000 + 120.0
        )
    first, second = stage.service.sessions
    assert first.received + second.received == b"".join(frames)
    assert first.received and second.received
    assert stage.outbox.errors == []


async def test_stop_during_a_renewal_refuses_waiting_audio():
    """Frames wait for the new session; a stop refuses them."""
    stage = await ready(lifetime=RENEWED)
    stage.service.openings += ["hang"]
    await stage.clock.advance(100.1)
    audio = pcm(300)
    stage.speak(audio, FIRST)
    await settle()
    assert stage.service.session.received == b""
    await stage.stop()
    assert stage.speech.totals.stopped == len(audio) // 2
    assert stage.service.violations == []


async def test_renewal_that_fails_is_an_outage():
    """A new session that does not open is an outage like any other."""
    stage = await ready(lifetime=RENEWED)
    stage.service.openings += [REFUSED]
    await stage.clock.advance(100.1)
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    assert stage.avatar.state == "recovering"
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"


async def test_every_session_is_renewed():
    """Every session is renewed in its turn."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(1001.0)
    assert len(stage.service.sessions) == 11
    assert stage.outbox.errors == []


@pytest.mark.parametrize("why", ["loss", "renewal"])
async def test_summary_names_the_connection_that_it_was_sent_on(why):
    """Speech that a renewal or loss ends is reported as the old
    connection's."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(95.0)
    say(stage, 40_000)
    await settle()
    if why == "loss":
        stage.session.on_failure(LOST)
    await stage.clock.advance(30.0)
    assert len(stage.service.sessions) == 2
    await stage.clock.advance(20.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metadata"]["connection_id"] == "connection-1"


async def test_renewal_that_waits_checks_four_times_a_second():
    """A quiet moment may be short."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(99.0)
    say(stage, 3000)
    await stage.clock.advance(3.0 + PLAYBACK_MARGIN_S)
    for _ in range(3):
        await stage.clock.advance(0.1)
    assert len(stage.service.sessions) == 2
