"""An avatar without speech sleeps: without a session, and no outage."""

import pytest
from avatar_stage import (
    FIRST,
    IDLE,
    REFUSED,
    SECOND,
    AvatarStage,
    pcm,
    ready,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.plan import lifetime_of
from spatius_avatar_python.avatar.retry import (
    FIRST_RETRY_S,
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
)
from spatius_avatar_python.session.session import ABORTED_S, CLOSE_DEADLINE_S

pytestmark = pytest.mark.usefixtures("finished_stages")

DISCONNECT_S = 30.0


async def asleep() -> AvatarStage:
    """Return a stage whose service has ended the idle session."""
    stage = await ready()
    await stage.lose(IDLE)
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "asleep"
    return stage


async def test_service_that_ends_an_idle_session_is_no_outage(stage):
    """The avatar is asleep: no error, and no attempt."""
    await stage.lose(IDLE)
    await stage.clock.advance(1000.0)
    assert stage.outbox.states == ["connecting", "ready", "asleep"]
    assert stage.outbox.payloads("avatar_state")[-1]["reason"] == "idleTimeout"
    assert stage.outbox.errors == []
    assert len(stage.service.sessions) == 1
    assert stage.session.closes == 1


@pytest.mark.parametrize("is_ours", [False, True], ids=["service", "ours"])
async def test_a_session_that_ends_idle_has_ended_the_outage(is_ours: bool):
    """However short it was: the next outage is another, with its own error."""
    stage = await ready(idle_disconnect_s=2.0 * is_ours)
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    if not is_ours:
        await stage.lose(IDLE)
    await stage.clock.advance(1000.0)
    assert stage.avatar.state == "asleep"
    stage.service.openings += [LOST]
    stage.speak(pcm(20), FIRST)
    await settle()
    await stage.clock.advance(MAX_BACKOFF_S)
    assert [error["message"] for error in stage.outbox.errors] == [
        LOST.message
    ] * 2


async def test_first_frame_wakes_it():
    """Without a wait; it is spoken."""
    stage = await asleep()
    audio = pcm(20)
    stage.speak(audio, FIRST)
    await settle()
    assert stage.outbox.states[-3:] == ["asleep", "connecting", "ready"]
    assert stage.outbox.payloads("avatar_state")[-2]["reason"] == "wake"
    assert stage.session.received == audio


@pytest.mark.parametrize("what", ["connect", "start"])
async def test_speech_to_come_wakes_it(what):
    """As `trigger_connect` asks, or before the first frame, which then finds a
    session."""
    stage = await asleep()
    if what == "connect":
        stage.connect()
    else:
        stage.speech_starts(FIRST)
    await settle()
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2


@pytest.mark.parametrize("is_started", [False, True])
async def test_connect_with_the_start_is_not_forgotten(is_started):
    """All nodes of a graph start together, in any order."""
    stage = set_up(auto_connect=False)
    if is_started:
        stage.avatar.start()
    stage.connect()
    await stage.start()
    assert stage.avatar.state == "ready"


@pytest.mark.parametrize("what", ["connect", "start"])
@pytest.mark.parametrize("is_lost", [True, False])
async def test_call_while_the_idle_session_ends_is_not_forgotten(is_lost, what):
    """Its close takes its time, and speech meanwhile wakes the avatar."""
    stage = await ready(idle_disconnect_s=DISCONNECT_S)
    stage.service.closing = "hold"
    if is_lost:
        stage.session.on_failure(IDLE)
    else:
        await stage.clock.advance(DISCONNECT_S)
    if what == "connect":
        stage.connect()
    else:
        stage.speech_starts(FIRST)
    await settle()
    stage.service.closing = None
    stage.session.release()
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready"
    assert stage.outbox.states.count("asleep") == 1


async def test_connect_is_not_forgotten_when_the_attempt_is_refused():
    """Not even when the service calls the new session idle."""
    stage = await asleep()
    stage.service.openings += [IDLE]
    stage.connect()
    await stage.clock.advance(2 * INITIAL_BACKOFF_S)
    assert stage.avatar.state == "ready"


async def test_need_that_was_met_does_not_wake_it_again():
    """A session was opened for it; the next one is not."""
    stage = await asleep()
    stage.connect()
    await stage.clock.advance(1.0)
    stage.connect()
    await settle()
    await stage.lose(IDLE)
    await stage.clock.advance(100.0)
    assert stage.avatar.state == "asleep"
    assert len(stage.service.sessions) == 2


@pytest.mark.parametrize("what", ["end", "flush"])
async def test_end_of_speech_and_flush_do_not_wake_it(what):
    """There is nothing to say."""
    stage = await asleep()
    if what == "end":
        stage.speech_ends(FIRST)
    else:
        stage.flush()
    await settle()
    assert stage.avatar.state == "asleep"


async def test_a_stale_frame_does_not_wake_it(stage):
    """Its turn goes on behind its flush."""
    stage.speak(pcm(20), FIRST)
    await settle()
    stage.flush()
    await settle()
    await stage.lose(IDLE)
    for _ in range(3):
        await stage.clock.advance(3.0)
        stage.speak(pcm(20), FIRST)
        await settle()
        assert stage.avatar.state == "asleep"
    stage.speak(pcm(20), SECOND)
    await settle()
    assert stage.avatar.state == "ready"


async def test_it_sleeps_again_and_wakes_again(stage):
    """Every time there is nothing to say, and something."""
    for number in (2, 3, 4):
        await stage.lose(IDLE)
        assert stage.avatar.state == "asleep"
        await stage.clock.advance(100.0)
        stage.speak(pcm(20), FIRST)
        await settle()
        assert len(stage.service.sessions) == number
        assert stage.avatar.state == "ready"


async def test_speech_that_waits_keeps_it_awake(stage):
    """A session that ends while audio waits is replaced at once."""
    stage.service.calls.append("hold")
    stage.speak(pcm(20), FIRST)
    audio = pcm(20)
    stage.speak(audio, FIRST)
    await settle()
    await stage.lose(IDLE)
    await stage.clock.advance(FIRST_RETRY_S)
    assert stage.avatar.state == "ready"
    assert stage.session.received.endswith(audio)
    assert stage.outbox.errors == []


async def test_service_that_calls_speech_idle_is_not_hammered(stage):
    """Attempts back off as after any other failure."""
    stage.service.openings += [IDLE] * 6
    await stage.lose(IDLE)
    stage.speak(pcm(20), FIRST)
    waits = [await stage.until_attempt(number) for number in range(2, 9)]
    assert min(waits[1:]) >= INITIAL_BACKOFF_S - 0.02
    assert waits[-1] >= MAX_BACKOFF_S / 2 - 0.02


async def test_silent_session_is_closed_after_the_time():
    """Counted from when it was ready."""
    stage = await ready(idle_disconnect_s=DISCONNECT_S)
    await stage.clock.advance(DISCONNECT_S - 0.1)
    assert stage.avatar.state == "ready"
    await stage.clock.advance(0.2)
    assert stage.avatar.state == "asleep"
    assert stage.outbox.payloads("avatar_state")[-1]["reason"] == "idle"
    assert stage.session.closes == 1
    assert stage.outbox.errors == []


async def test_close_of_a_silent_session_is_billed():
    """The service counts until the connection is closed."""
    stage = await ready(idle_disconnect_s=DISCONNECT_S)
    stage.service.close_hangs = True
    await stage.clock.advance(DISCONNECT_S + CLOSE_DEADLINE_S + 1.0)
    metrics = stage.outbox.payloads("metrics")[-1]["metrics"]
    lasted_s = DISCONNECT_S + CLOSE_DEADLINE_S - ABORTED_S
    assert metrics["connected_ms"] == 1000 * lasted_s


async def test_silence_begins_when_the_last_audio_was_played():
    """Not when it was written."""
    stage = await ready(idle_disconnect_s=DISCONNECT_S)
    await stage.clock.advance(20.0)
    say(stage, 10_000)
    await stage.clock.advance(10.0 + DISCONNECT_S - 0.1)
    assert stage.avatar.state == "ready"
    await stage.clock.advance(0.2)
    assert stage.avatar.state == "asleep"


async def test_open_utterance_keeps_the_session():
    """Its end may be long in coming."""
    stage = await ready(idle_disconnect_s=DISCONNECT_S, end_timeout_s=0)
    stage.speak(pcm(20), FIRST)
    await stage.clock.advance(3 * DISCONNECT_S)
    assert stage.avatar.state == "ready"
    stage.speech_ends(FIRST)
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready" or stage.outbox.errors == []
    await stage.clock.advance(DISCONNECT_S)
    assert stage.avatar.state == "asleep"


async def test_session_is_kept_where_no_time_is_given():
    """0 means never."""
    stage = await ready(idle_disconnect_s=0.0)
    await stage.clock.advance(100 * DISCONNECT_S)
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 1


async def test_avatar_that_does_not_connect_by_itself_is_asleep():
    """Until there is something to say."""
    stage = set_up(auto_connect=False)
    await stage.start()
    await stage.clock.advance(100.0)
    assert stage.outbox.states == ["asleep"]
    [state] = stage.outbox.payloads("avatar_state")
    assert state["reason"] == "notConnected"
    assert stage.service.sessions == []
    audio = pcm(20)
    stage.speak(audio, FIRST)
    await settle()
    assert stage.outbox.states == ["asleep", "connecting", "ready"]
    assert stage.session.received == audio


async def test_speech_from_before_the_start_wakes_it():
    """It does not wait for another frame."""
    stage = set_up(auto_connect=False)
    audio = pcm(20)
    stage.speak(audio, FIRST)
    await stage.start()
    assert stage.avatar.state == "ready"
    assert stage.session.received == audio


async def test_attempt_after_waking_that_fails_is_an_outage():
    """Reported and retried as any."""
    stage = await asleep()
    stage.service.openings += [LOST]
    stage.speak(pcm(20), FIRST)
    await settle()
    assert stage.avatar.state == "recovering"
    assert len(stage.outbox.errors) == 1
    await stage.clock.advance(2.0)
    assert stage.avatar.state == "ready"


@pytest.mark.parametrize("asleep_s", [0.0, 1000.0, 4 * 3600.0])
async def test_wake_up_needs_no_new_token(asleep_s):
    """However long it has slept: a token is kept at hand, at the cost of one
    call of the console in a third of its lifetime."""
    lifetime = lifetime_of(30)
    stage = await ready(lifetime=lifetime, idle_disconnect_s=DISCONNECT_S)
    await stage.clock.advance(DISCONNECT_S + 1.0)
    assert stage.avatar.state == "asleep"
    await stage.clock.advance(asleep_s)
    made = len(stage.service.sessions)
    assert made <= 2 + asleep_s / lifetime.spare_max_age_s
    stage.service.makings.append(REFUSED)
    stage.connect()
    await settle()
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == made
    assert stage.outbox.errors == []
    stage.service.makings.clear()


async def test_console_that_is_down_while_it_sleeps_is_no_outage():
    """It is asked again later, and when there is something to say."""
    lifetime = lifetime_of(30)
    stage = await ready(lifetime=lifetime, idle_disconnect_s=DISCONNECT_S)
    await stage.clock.advance(DISCONNECT_S + 1.0)
    stage.service.preparations += [REFUSED] * 3
    await stage.clock.advance(3.5 * lifetime.spare_max_age_s)
    assert len(stage.service.sessions) == 2 + 3
    assert stage.outbox.errors == []
    assert stage.avatar.state == "asleep"
    stage.connect()
    await settle()
    assert stage.avatar.state == "ready"
    assert len(stage.service.sessions) == 2 + 3 + 1


async def test_avatar_that_never_connected_has_no_token_made():
    """Until something is to be said, nothing is wanted of Spatius."""
    stage = set_up(lifetime=lifetime_of(30), auto_connect=False)
    await stage.start()
    await stage.clock.advance(7200.0)
    assert stage.service.sessions == []


async def test_stop_while_asleep():
    """No session is opened any more."""
    stage = await asleep()
    assert await stage.stopped() == 0
    assert stage.outbox.states[-2:] == ["asleep", "closed"]
    assert len(stage.service.sessions) == 1


async def delay_ms(stage: AvatarStage) -> float:
    """Let a session open in 0.7 s, have SECOND spoken, and return how late
    its first audio was."""
    reported = len(stage.outbox.utterances)
    await stage.clock.advance(0.3)
    stage.speak(pcm(20), SECOND)
    await stage.clock.advance(0.4)
    stage.session.release()
    stage.speech_ends(SECOND)
    await stage.clock.advance(3.0)
    [utterance] = stage.outbox.utterances[reported:]
    return utterance["metrics"]["first_audio_delay_ms"]


async def test_delay_of_the_first_audio_counts_from_its_frame():
    """The time that waking takes is a part of it."""
    stage = await asleep()
    stage.service.openings += ["hold"]
    say(stage, 20, SECOND)
    await stage.clock.advance(0.7)
    stage.session.release()
    await stage.clock.advance(1.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["first_audio_delay_ms"] == 700


async def test_delay_counts_from_the_start_of_speech_that_wakes_it():
    """For the utterance that woke it, and for no other."""
    stage = await asleep()
    stage.service.openings += ["hold"]
    stage.speech_starts(SECOND)
    assert await delay_ms(stage) == 700
    assert await delay_ms(stage) == 0


@pytest.mark.parametrize("first", ["start", "connect"])
async def test_delay_does_not_count_from_a_start_that_does_not_wake_it(first):
    """It is awake already, though no session is open yet."""
    stage = set_up(auto_connect=first == "start")
    stage.service.openings += ["hold"]
    await stage.start()
    if first == "connect":
        assert stage.avatar.state == "asleep"
        stage.connect()
    stage.speech_starts(SECOND)
    assert await delay_ms(stage) == 400


@pytest.mark.parametrize("what", ["frame", "end", "flush"])
async def test_delay_does_not_count_from_the_start_of_another_turn(what):
    """One that had no audio is not in the next one's, for any end."""
    stage = await asleep()
    stage.service.openings += ["hold"]
    stage.speech_starts(FIRST)
    if what == "end":
        stage.speech_ends(FIRST)
    elif what == "flush":
        stage.flush()
    assert await delay_ms(stage) == 400


async def test_delay_does_not_count_the_time_asleep():
    """The start of speech woke it, and no audio followed."""
    stage = await asleep()
    stage.speech_starts(SECOND)
    await settle()
    await stage.lose(IDLE)
    await stage.clock.advance(100.0)
    stage.service.openings += ["hold"]
    stage.connect()
    assert await delay_ms(stage) == 400
