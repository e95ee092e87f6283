"""A connection as operators see it: states, statuses, durations."""

from dataclasses import replace

import pytest
from avatar_stage import (
    BAD_KEY,
    FIRST,
    IDLE,
    REFUSED,
    RENEWED,
    AvatarStage,
    pcm,
    ready,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.plan import Lifetime
from spatius_avatar_python.avatar.retry import STABLE_AFTER_S
from spatius_avatar_python.messages import payloads as reports

pytestmark = pytest.mark.usefixtures("finished_stages")

CLOSED = replace(LOST, code="1011", vendor_message="internal error")

METADATA = {
    "connection_id": "connection-1",
    "vendor_metadata": {"avatar_session_id": "connection-1"},
}


def states(stage: AvatarStage) -> list[tuple[str, str]]:
    """Return (state, reason) of all `avatar_state`."""
    return [
        (payload["state"], payload["reason"])
        for payload in stage.outbox.payloads("avatar_state")
    ]


def statuses(stage: AvatarStage) -> list[tuple[str, str, str]]:
    """Return (last, current, reason) of all `connection_status_changed`."""
    return [
        (payload["last"], payload["current"], payload["message"])
        for payload in stage.outbox.payloads("connection_status_changed")
    ]


# avatar_state


async def test_first_session_is_connected(stage):
    """From start to ready."""
    assert states(stage) == [("connecting", "start"), ("ready", "connected")]


async def test_session_after_an_outage_is_recovered(stage):
    """The state before names the failure's code."""
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert states(stage)[2:] == [
        ("recovering", "connectionClosed"),
        ("ready", "recovered"),
    ]


async def test_loss_without_a_code_is_lost(stage):
    """A state always has a reason."""
    await stage.lose(replace(LOST, code=""))
    assert states(stage)[-1] == ("recovering", "lost")


async def test_session_after_a_renewal_is_renewed():
    """No outage, and no first connection."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(100.1)
    assert states(stage)[2:] == [
        ("connecting", "renewal"),
        ("ready", "renewed"),
    ]


async def test_renewal_long_after_an_outage_is_one():
    """The outage ended with the session that lasted."""
    stage = await ready(lifetime=RENEWED)
    await stage.lose(LOST)
    await stage.clock.advance(1.0 + STABLE_AFTER_S)
    await stage.clock.advance(100.0)
    assert states(stage)[-1] == ("ready", "renewed")


async def test_renewal_soon_after_an_outage_is_one():
    """No audio was lost between the two sessions."""
    renew_after_s = STABLE_AFTER_S / 2
    stage = await ready(lifetime=Lifetime(renew_after_s, 1e9))
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert states(stage)[-1] == ("ready", "recovered")
    await stage.clock.advance(renew_after_s)
    assert states(stage)[-2:] == [
        ("connecting", "renewal"),
        ("ready", "renewed"),
    ]


async def test_renewal_that_fails_is_recovered():
    """It was an outage."""
    stage = await ready(lifetime=RENEWED)
    stage.service.openings += [REFUSED]
    await stage.clock.advance(102.0)
    assert states(stage)[-1] == ("ready", "recovered")


async def test_session_after_a_renewal_and_a_loss_is_recovered():
    """A loss right after a renewal is not another renewal."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(100.1)
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert states(stage)[-1] == ("ready", "recovered")


async def test_session_after_sleep_is_connected(stage):
    """Waking is neither a renewal nor a recovery."""
    await stage.lose(IDLE)
    await stage.clock.advance(1.0)
    stage.connect()
    await settle()
    assert states(stage)[2:] == [
        ("asleep", "idleTimeout"),
        ("connecting", "wake"),
        ("ready", "connected"),
    ]


@pytest.mark.parametrize(("code", "reason"), [("4001", "4001"), ("", "failed")])
async def test_failure_for_good_names_its_code(code, reason, stage):
    """And is the last state, also after a stop."""
    await stage.lose(replace(BAD_KEY, code=code))
    await stage.stopped("failed")
    assert states(stage)[-1] == ("failed", reason)


async def test_state_names_its_connection(stage):
    """None while there is no session."""
    ids = [p["connection_id"] for p in stage.outbox.payloads("avatar_state")]
    assert ids == ["", "connection-1"]


async def test_states_are_logged(stage):
    """One line each, with the reason and the connection."""
    await stage.stopped()
    assert stage.outbox.lines == [
        ("info", "connecting (start)"),
        ("info", "ready (connected) connection-1"),
        ("info", "closed (stopped) connection-1"),
        (
            "info",
            "usage: connected_ms=0 credits=1 credits_total=1 "
            "connection_id=connection-1",
        ),
    ]


async def test_repr_shows_the_state():
    """For a person who debugs."""
    stage = set_up()
    assert repr(stage.avatar).startswith("<Avatar new <Speech 0 utterances")
    await stage.start()
    assert repr(stage.avatar).startswith("<Avatar ready <Speech")


# connection_status_changed


async def test_status_follows_a_connection(stage):
    """From the attempt to the close, each change once."""
    await stage.stopped()
    assert statuses(stage) == [
        ("disconnected", "connecting", ""),
        ("connecting", "connected", ""),
        ("connected", "disconnected", "stopped"),
    ]


async def test_status_follows_each_attempt():
    """Each is reported, and between two of them the status is
    disconnected."""
    stage = set_up()
    stage.service.openings += [REFUSED] * 2
    await stage.start()
    await stage.until_attempt(3)
    assert statuses(stage) == [
        *[
            ("disconnected", "connecting", ""),
            ("connecting", "disconnected", "lost"),
        ]
        * 2,
        ("disconnected", "connecting", ""),
        ("connecting", "connected", ""),
    ]


async def test_status_of_a_loss_does_not_wait_for_the_close(stage):
    """The connection is of no use from the loss on."""
    stage.service.closing = "hold"
    await stage.lose(LOST)
    assert statuses(stage)[-1] == ("connected", "disconnected", "lost")


async def test_status_of_a_loss_has_the_words_of_the_service(stage):
    """With a code that is not 0."""
    await stage.lose(CLOSED)
    payload = stage.outbox.payloads("connection_status_changed")[-1]
    assert payload == {
        "id": "connection-1",
        "module": "avatar",
        "vendor": "spatius",
        "vendor_info": {
            "vendor": "spatius",
            "code": "1011",
            "message": "internal error",
        },
        "current": "disconnected",
        "last": "connected",
        "code": reports.NON_FATAL,
        "message": "lost",
        "metadata": METADATA,
    }


async def test_status_of_a_failure_for_good_says_so(stage):
    """Once, with the fatal code and the service's words."""
    await stage.lose(replace(CLOSED, code="4001", fatal=True))
    await stage.clock.advance(10.0)
    assert statuses(stage)[2:] == [("connected", "disconnected", "failed")]
    payload = stage.outbox.payloads("connection_status_changed")[-1]
    assert payload["code"] == reports.FATAL
    assert payload["vendor_info"]["code"] == "4001"


async def test_status_of_an_avatar_without_configuration_never_changes():
    """It was disconnected before."""
    stage = set_up()
    stage.avatar.fail(BAD_KEY)
    assert statuses(stage) == []


async def test_status_of_a_renewal_is_no_loss():
    """Its code is 0."""
    stage = await ready(lifetime=RENEWED)
    await stage.clock.advance(100.1)
    assert statuses(stage)[2:] == [
        ("connected", "disconnected", "closed"),
        ("disconnected", "connecting", ""),
        ("connecting", "connected", ""),
    ]
    payloads = stage.outbox.payloads("connection_status_changed")
    assert {payload["code"] for payload in payloads} == {0}
    assert {payload["vendor_info"]["code"] for payload in payloads} == {""}


async def test_status_of_a_stop_while_connecting():
    """There is no connection any more."""
    stage = set_up()
    stage.service.openings += ["hang"]
    await stage.start()
    await stage.stopped()
    assert statuses(stage)[-1] == ("connecting", "disconnected", "stopped")


async def test_status_while_the_rate_is_unknown():
    """Nothing is being connected yet."""
    stage = set_up(sample_rate=None)
    await stage.start()
    assert statuses(stage) == []


# Durations


async def test_connect_delay_is_that_of_the_attempt():
    """Not of the attempts before, nor of the token of a spare."""
    stage = set_up()
    stage.service.openings += [REFUSED, "hold"]
    await stage.start()
    await stage.until_attempt(2)
    await stage.clock.advance(0.25)
    stage.session.release()
    await settle()
    [metrics] = stage.outbox.payloads("metrics")
    assert metrics["metrics"] == {"connect_delay_ms": 250, "connect_delay": 250}


@pytest.mark.parametrize("how", ["loss", "stop"])
async def test_duration_of_a_connection_is_reported_at_its_end(how, stage):
    """From when it was ready, however it ends."""
    await stage.clock.advance(12.5)
    if how == "loss":
        await stage.lose(LOST)
    else:
        await stage.stop()
    metrics = stage.outbox.payloads("metrics")[-1]
    assert metrics["metrics"] == {
        "connected_ms": 12500,
        "credits": 3,
        "credits_total": 3,
    }
    assert metrics["metadata"] == METADATA


async def test_attempt_that_fails_has_no_duration():
    """It was no connection."""
    stage = set_up()
    stage.service.openings += [REFUSED]
    await stage.start()
    assert stage.outbox.payloads("metrics") == []


# Playback


async def test_begin_and_end_of_playout_are_reported(stage):
    """With the TTS's request and the turn."""
    stage.speech_starts(FIRST, "tts-1")
    stage.speak(pcm(500), FIRST)
    stage.speech_ends(FIRST, request_id="tts-1")
    await stage.clock.advance(2.0)
    metadata = {"turn_id": 1, "session_id": "session"}
    assert stage.outbox.payloads("avatar_audio_start") == [
        {"request_id": "tts-1", "metadata": metadata}
    ]
    assert stage.outbox.payloads("avatar_audio_end") == [
        {
            "request_id": "tts-1",
            "reason": 1,
            "playback_position_ms": 500,
            "request_total_audio_duration_ms": 500,
            "source": "estimate",
            "metadata": metadata,
        }
    ]


async def test_service_says_when_playout_ends(stage):
    """Its signal counts, and ends the utterance at once."""
    say(stage, 500)
    await settle()
    session = stage.session
    session.play("request-1.0", "playing")
    await stage.clock.advance(0.3)
    session.play("request-1.0", "ended")
    await settle()
    [end] = stage.outbox.payloads("avatar_audio_end")
    assert end["source"] == "service"
    assert end["playback_position_ms"] == 500
    assert len(stage.outbox.utterances) == 1


async def test_service_says_how_much_was_played(stage):
    """A flush then cuts where the listener was."""
    say(stage, 5000)
    await stage.clock.advance(1.0)
    stage.session.play("request-1.0", "playing", 400.0)
    stage.flush()
    await settle()
    [end] = stage.outbox.payloads("avatar_audio_end")
    assert (end["reason"], end["playback_position_ms"]) == (2, 400)
    assert end["source"] == "service"


async def test_playback_of_an_older_session_is_ignored(stage):
    """Its requests are not played any more."""
    old = stage.session
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    say(stage, 5000)
    await settle()
    old.play("request-2.0", "ended")
    await settle()
    assert stage.outbox.payloads("avatar_audio_end") == []


async def test_closed_is_the_last_state(stage):
    """A failure after the stop has no effect."""
    await stage.stopped()
    stage.avatar.fail(BAD_KEY)
    assert states(stage)[-1] == ("closed", "stopped")
    assert stage.clock.pending() == 0


async def test_sessions_are_billed_one_by_one_and_in_all(stage):
    """Each end has a price and the sum so far, in metrics and in a line of
    the category usage; the last, at the stop, holds the whole."""
    await stage.clock.advance(60.0)  # 10 credits
    await stage.lose(LOST)
    await stage.until_attempt(2)
    await stage.clock.advance(7.0)  # 2 credits
    await stage.lose(LOST)
    await stage.until_attempt(3)
    await stage.stop()  # 1 credit
    billed = [
        (one["metrics"]["credits"], one["metrics"]["credits_total"])
        for one in stage.outbox.payloads("metrics")
        if "credits" in one["metrics"]
    ]
    assert billed == [(10, 10), (2, 12), (1, 13)]
    usage = [fields for name, fields in stage.outbox.fields if name == "usage"]
    assert [(one["credits"], one["credits_total"]) for one in usage] == billed
    assert usage[0]["connected_ms"] == 60_000
    assert usage[0]["connection_id"]


async def test_attempt_that_fails_costs_nothing():
    """Failed handshakes are free."""
    stage = set_up()
    stage.service.openings += [REFUSED, REFUSED]
    await stage.start()
    await stage.until_attempt(3)
    await stage.stop()
    usage = [fields for name, fields in stage.outbox.fields if name == "usage"]
    assert [one["credits_total"] for one in usage] == [1]
