"""The facade: start, stop in every state, and the handlers' methods."""

import asyncio
import functools
import re
from typing import Optional

import pytest
from avatar_stage import (
    BAD_KEY,
    FALLBACK_AFTER_S,
    FIRST,
    REFUSED,
    SECOND,
    held,
    pcm,
    ready,
    say,
    set_up,
    without_session,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.supervisor import Supervisor


async def test_start_returns_before_it_connects():
    """The connection is made in the background."""
    stage = set_up()
    stage.service.openings.append("hang")
    stage.avatar.start()
    assert stage.service.sessions == []
    await settle()
    assert stage.outbox.states == ["connecting"]
    await stage.finish()


async def test_second_start_does_nothing(stage):
    """An avatar has one task."""
    await stage.start()
    assert len(stage.service.sessions) == 1


async def test_flush_is_reported_after_its_result(stage):
    """The command's result does not wait for the report, and the report not
    for a socket that takes nothing."""
    stage.speak(pcm(500), FIRST)
    await settle()
    stage.service.calls.append("hold")
    stage.flush()
    assert stage.outbox.utterances == []
    await settle()
    assert stage.session.is_held
    assert len(stage.outbox.utterances) == 1


async def test_later_utterance_ends_after_the_timeout():
    """Each utterance has the timer set, when nothing else is due for long."""
    stage = await ready(end_timeout_s=1.5)
    stage.speak(pcm(20), FIRST)
    await stage.clock.advance(53.0)
    assert len(stage.session.ended) == 1
    stage.speak(pcm(20), SECOND)
    await stage.clock.advance(1.4)
    assert len(stage.session.ended) == 1
    await stage.clock.advance(0.2)
    assert len(stage.session.ended) == 2
    await stage.finish()


async def test_failed_avatar_discards_speech():
    """A failed avatar takes frames, ends and flushes, and is silent."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    stage.speak(pcm(100), FIRST)
    await stage.start()
    reported = len(stage.outbox.sent)
    for _ in range(100):
        say(stage, 1000)
        stage.flush()
        await stage.clock.advance(1.0)
    assert len(stage.outbox.sent) == reported
    assert stage.speech.waiting_s == 0
    assert stage.speech.totals.refused == stage.speech.totals.received
    await stage.finish()


async def test_stop_when_never_started():
    """An avatar that was not started is closed at once."""
    stage = set_up()
    stage.speak(pcm(100))
    await stage.stopped()
    stage.avatar.start()
    await settle()
    assert stage.service.sessions == []


async def test_stop_while_connecting():
    """An opening that hangs is given up, and closed."""
    stage = set_up()
    stage.service.openings += ["hang"]
    stage.speak(pcm(100))
    await stage.start()
    await stage.stopped()
    assert stage.session.closes == 1
    assert stage.outbox.errors == []


async def test_stop_while_ready(stage):
    """A session is closed, and no error is reported."""
    stage.speak(pcm(100), FIRST)
    await settle()
    await stage.stopped()
    assert stage.session.closes == 1
    assert stage.outbox.states == ["connecting", "ready", "closed"]
    assert stage.outbox.errors == []
    assert len(stage.outbox.utterances) == 1


async def test_stop_while_a_call_is_blocked():
    """A full socket is dropped after 200 ms, as no close handshake would get
    through; that is no outage."""
    stage = await held()
    assert await stage.stopped() == pytest.approx(0.2)
    assert stage.session.aborts >= 1
    assert stage.outbox.errors == []
    assert stage.outbox.states == ["connecting", "ready", "closed"]


async def test_stop_while_backing_off():
    """A wait for the next attempt is not waited for."""
    stage = set_up()
    stage.service.openings += [REFUSED] * 9
    await stage.start()
    await stage.until_attempt(6)
    assert await stage.stopped() < 1.0


async def test_stop_while_closing_hangs(stage):
    """A close that never returns does not hold up the stop."""
    stage.service.close_hangs = True
    await stage.stopped()
    assert stage.session.aborts >= 1


async def test_stop_while_a_lost_session_hangs_in_its_close(stage):
    """A recovery that is stuck in the old session's close is given up."""
    stage.service.close_hangs = True
    stage.session.on_failure(LOST)
    await settle()
    await stage.stopped()
    assert stage.session.aborts >= 1


async def test_stop_when_failed():
    """A failed avatar stops at once; its last state is failed."""
    stage = set_up()
    stage.service.openings += [BAD_KEY]
    await stage.start()
    await stage.stopped("failed")
    assert stage.outbox.states == ["connecting", "failed"]


async def test_stop_twice(stage):
    """A second stop has no effect."""
    await stage.stopped()
    await stage.stopped()
    assert stage.outbox.states == ["connecting", "ready", "closed"]
    assert stage.session.closes == 1


async def test_messages_during_and_after_the_stop_are_taken(stage):
    """Frames, ends and flushes have no effect."""
    stage.service.close_hangs = True
    stop: Optional[asyncio.Task[None]] = asyncio.ensure_future(stage.stop())
    for _ in range(2):
        await settle()
        stage.speak(pcm(20), FIRST)
        stage.speech_starts(FIRST)
        stage.speech_ends(FIRST)
        stage.flush()
        if stop is not None:
            await stage.clock.run(stop)
        stop = None
    await stage.stopped()


@pytest.mark.parametrize("what", ["speech", "call"])
async def test_end_is_reported_before_the_close(what: str, stage):
    """A main that stops as well takes messages for a moment only."""
    stage.speak(pcm(5000), FIRST)
    await stage.clock.advance(1.0)
    if what == "call":
        stage.service.calls.append("hold")
        stage.speak(pcm(20), FIRST)
        await settle()
    stage.service.close_hangs = True
    stopping = asyncio.ensure_future(stage.stop())
    await stage.clock.advance(0.0 if what != "call" else 0.2)
    assert not stopping.done()
    assert stage.outbox.states[-1] == "closed"
    [end] = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 3
    await stage.clock.run(stopping)
    assert stage.outbox.states.count("closed") == 1
    await stage.stopped()


async def test_stop_as_the_session_becomes_ready():
    """It is closed, without a report."""
    stage = set_up()
    stage.service.openings += ["hold"]
    await stage.start()
    stage.session.release()
    for _ in range(100):
        if not stage.session.owner.is_ready:
            await asyncio.sleep(0)
    assert stage.avatar.state == "connecting"
    await stage.stop()
    await stage.stopped()
    assert stage.outbox.states == ["connecting", "closed"]
    assert stage.outbox.errors == []


async def test_speech_that_goes_on_in_a_stall_is_ended_in_time():
    """Its request has the timeout of any, though the driver waits for an
    answer of the service meanwhile."""
    stage = await ready(end_timeout_s=0.3)
    stage.service.answers_pings = False
    stage.speech_starts(FIRST, "request")
    for ended in (1, 2):
        await settle()
        stage.speak(pcm(500), FIRST)
        await stage.clock.advance(0.3)
        assert len(stage.session.ended) == ended


DEFECTS = (
    "arrived",
    "close",
    "connection_lost",
    "mark",
    "tick",
    "avatar.next",
    "avatar.written",
)
"""Methods of `Speech` and its output that the driver and the writer call."""


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "each time"])
@pytest.mark.parametrize("name", DEFECTS)
async def test_defect_of_ours_is_one_failure(
    monkeypatch: pytest.MonkeyPatch, name: str, lasts: bool
):
    """It is reported once, the session is closed, no attempt follows, and
    the loop is not kept busy."""
    stage = await ready()
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if not lasts:
            patched.undo()
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        *owners, method = name.split(".")
        owner = functools.reduce(getattr, owners, stage.speech)
        patched.setattr(owner, method, fail)
        # The avatar itself writes what it makes of it: no handler waits.
        await stage.lose(LOST)
        say(stage, 500)
        await stage.clock.advance(10.0)
        is_live = [session.is_live for session in stage.service.sessions]
        assert name == "close" or not any(is_live)
        await stage.clock.run(stage.stop())
        await stage.clock.advance(100.0)
        assert 1 <= calls <= 250
    [failure] = [
        error["message"]
        for error in stage.outbox.errors
        if "ZeroDivisionError" in error["message"]
    ]
    assert re.search(r"internal error: .* at avatar/\w+\.py:\d+$", failure)
    assert stage.outbox.states[-1] == "failed"
    assert stage.clock.pending() == 0
    assert len(stage.service.sessions) <= 2


async def test_defect_while_frames_wait_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
):
    """The alarm has gone off for them: nothing else would wake the driver."""
    stage = await ready()
    stage.speak(pcm(3000), FIRST)
    await stage.clock.advance(0.1)
    stage.speak(pcm(20), FIRST)
    await settle()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.speech.avatar, "stop_joining", fail)
    await stage.clock.advance(0.1)
    assert stage.outbox.states[-1] == "failed"
    [error] = stage.outbox.errors
    assert "internal error: ZeroDivisionError()" in error["message"]


async def test_defect_behind_a_call_that_waits_keeps_nothing_busy(
    monkeypatch: pytest.MonkeyPatch,
):
    """A frame that waits for others is not due before the driver's pause is
    over."""
    stage = await ready()
    stage.speak(pcm(1500), FIRST)
    await stage.clock.advance(0.1)
    stage.service.calls.append("hold")
    stage.speak(pcm(10), FIRST)
    await stage.clock.advance(0.03)
    assert stage.session.is_held
    stage.speak(pcm(10), FIRST)
    await settle()

    def fail(*_: object) -> None:
        patched.undo()
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(stage.speech, "tick", fail)
        stage.speech_starts(FIRST, "next")
        gone_off = stage.clock.gone_off
        await stage.clock.advance(0.5)
    assert stage.clock.gone_off <= gone_off + 5
    stage.session.release()
    await stage.clock.advance(1.0)


async def test_voice_takes_over_from_a_session_that_cannot_be_ended(
    monkeypatch: pytest.MonkeyPatch,
):
    """A defect of the part that ends it leaves no speech behind."""
    stage = await ready(has_voice=True, resume_within_s=15.0)
    audio = pcm(2000)
    stage.speak(audio, FIRST)
    await settle()
    await stage.clock.advance(0.5)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Supervisor, "step", fail)
    stage.speech_ends(FIRST)
    more = [pcm(100), pcm(100)]
    for frame in more:
        await stage.clock.advance(0.1)
        stage.speak(frame, SECOND)
    await settle()
    assert stage.outbox.states[-1] == "failed"
    # From the begin on: it is rewound by as much as was heard.
    assert stage.voice.said == audio + b"".join(more)


async def test_stop_leaves_a_voice_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    """No task waits for it after the stop."""
    stage = await without_session()
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(stage.voice, "say", lambda *_: never)
    say(stage, 100)
    await stage.clock.advance(FALLBACK_AFTER_S + 1.0)
    lines = len(stage.outbox.lines)
    await stage.stopped()
    assert never.cancelled()
    assert not any("silent" in text for _, text in stage.outbox.lines[lines:])
