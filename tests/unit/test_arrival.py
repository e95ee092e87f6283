"""Arrival of audio at the service, as far as its answers to pings say."""

from typing import Any

import pytest
from avatar_stage import (
    BYTES_PER_MS,
    FIRST,
    SECOND,
    AvatarStage,
    pcm,
    ready,
    say,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.arrival import (
    LOST_AT,
    MISSED_AFTER_S,
    PING_INTERVAL_S,
    PROVED_FOR_S,
)
from spatius_avatar_python.session.session import ABORTED_S, CLOSE_DEADLINE_S
from spatius_avatar_python.speech import Turn
from spatius_avatar_python.speech.playout import END_MARGIN_S

pytestmark = pytest.mark.usefixtures("finished_stages")

THIRD = Turn("session", 3)
RESUMED = {"resume_within_s": 15.0}


async def silent(**limits: float) -> AvatarStage:
    """Return an avatar whose service has 1 s of speech, and answers no more."""
    stage = await ready(**limits)
    stage.speak(pcm(1000), FIRST)
    await stage.clock.advance(PING_INTERVAL_S)
    stage.service.answers_pings = False
    return stage


async def asked(**limits: float) -> AvatarStage:
    """Return one that has asked for 0.1 s more, and gets no answer."""
    stage = await silent(**limits)
    await stage.clock.advance(PING_INTERVAL_S)
    pings = stage.session.pings
    stage.speak(pcm(100), FIRST)
    await settle()
    assert stage.session.pings == pings + 1
    return stage


async def cut(stage: AvatarStage) -> dict[str, Any]:
    """Flush; return the only end of playback."""
    stage.flush()
    await stage.clock.advance(0.0)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    return end


async def test_nothing_is_asked_while_nothing_is_written(stage):
    """A ping follows audio, one after the other, and stops with it."""
    await stage.clock.advance(60.0)
    assert stage.session.pings == 0
    stage.speak(pcm(100), FIRST)
    await stage.clock.advance(0.0)
    assert stage.session.pings == 1
    stage.speak(pcm(100), FIRST)
    await stage.clock.advance(PING_INTERVAL_S - 0.01)
    assert stage.session.pings == 1
    await stage.clock.advance(0.02)
    assert stage.session.pings == 2
    await stage.clock.advance(60.0)
    assert stage.session.pings == 2


async def test_speech_that_goes_on_after_a_pause_is_asked_for_at_once():
    """A peer that vanishes in mid-sentence is noticed as early as any."""
    stage = await ready(end_timeout_s=0.0)
    stage.speak(pcm(100), FIRST)
    await stage.clock.advance(5.0)
    assert stage.session.pings == 1
    stage.speak(pcm(100), FIRST)
    await settle()
    assert stage.session.pings == 2


async def test_speech_ends_when_it_has_arrived():
    """An end of playback is not reported before."""
    stage = await silent()
    say(stage, 100)
    await stage.clock.advance(10.0)
    assert "avatar_audio_end" not in stage.outbox.names
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(0.1 + END_MARGIN_S + 0.01)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1
    assert end["playback_position_ms"] == 1100
    assert len(stage.service.sessions) == 1


async def test_speech_ends_when_the_service_was_there_at_its_end():
    """It may have vanished since its latest answer, before the end."""
    stage = await ready(**RESUMED)
    say(stage, 2600)
    await stage.clock.advance(2.3)
    stage.service.answers_pings = False
    await stage.clock.advance(2.0)
    assert "avatar_audio_end" not in stage.outbox.names
    stage.service.answers_pings = True
    await stage.clock.advance(LOST_AT)
    (error,) = stage.outbox.errors
    assert error["vendor_info"]["code"] == "stalled"
    await stage.clock.advance(1.5)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1
    # The latest answer came at 2.25 s; the rewind is 0.5 s.
    assert len(stage.session.received) == 850 * BYTES_PER_MS


async def test_a_ping_before_an_end_says_nothing_about_it(stage):
    """The service may have vanished right behind its answer."""
    say(stage, 1300)
    await settle()
    await stage.clock.advance(1.2)
    stage.service.answers_pings = False
    await stage.clock.advance(0.6)
    pings = stage.session.pings
    stage.session.answer()  # to the ping at 1.25 s
    await stage.clock.advance(0.9)
    assert stage.session.pings == pings + 1
    assert "avatar_audio_end" not in stage.outbox.names
    stage.session.answer()
    await stage.clock.advance(0.0)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1


async def test_an_end_that_is_proved_waits_for_no_later_ping():
    """Such as one behind the next utterance."""
    stage = await ready()
    say(stage, 1000)
    await settle()
    await stage.clock.advance(1.1)
    stage.service.answers_pings = False
    stage.speak(pcm(1000), SECOND)
    await settle()
    pings = stage.session.pings
    await stage.clock.advance(END_MARGIN_S - 0.1 + 0.01)
    assert stage.session.pings == pings + 1
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1


async def test_what_has_not_arrived_is_said_again():
    """After the service has not answered for so long that it is given up."""
    stage = await silent(**RESUMED)
    say(stage, 2000)
    await stage.clock.advance(LOST_AT - 0.1)
    assert stage.outbox.errors == []
    stage.service.answers_pings = True
    await stage.clock.advance(1.0)
    (error,) = stage.outbox.errors
    assert error["vendor_info"]["code"] == "stalled"
    # 1 s has arrived, but since then no answer tells that it was played.
    assert len(stage.session.received) == 3000 * BYTES_PER_MS
    await stage.clock.advance(3.0 + END_MARGIN_S)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1


@pytest.mark.parametrize("ends", ["loss", "flush"])
async def test_position_of_cut_speech_while_the_service_is_silent(ends: str):
    """Since the latest answer nothing counts, of the next utterance nothing
    at all."""
    stage = await silent()
    say(stage, 2000)
    await stage.clock.advance(2.6)
    stage.speak(pcm(1000), SECOND)
    await stage.clock.advance(1.0)
    if ends == "flush":
        stage.flush()
        await settle()
    else:
        await stage.lose(LOST)
    await stage.clock.advance(1.0)
    first, *rest = stage.outbox.payloads("avatar_audio_end")
    assert first["playback_position_ms"] == 0
    assert all(end["playback_position_ms"] == 0 for end in rest)


@pytest.mark.parametrize(("after_s", "position_ms"), [(0.99, 1490), (1.01, 0)])
async def test_an_answer_is_missed_after_a_second(
    after_s: float, position_ms: int
):
    """Until then written audio counts as heard in its time."""
    stage = await asked()
    stage.speak(pcm(8900), FIRST)
    await stage.clock.advance(after_s)
    end = await cut(stage)
    assert end["playback_position_ms"] == position_ms


@pytest.mark.parametrize("is_answered", [False, True])
async def test_nothing_counts_as_heard_before_the_first_answer(
    is_answered: bool,
):
    """The service may have been gone before."""
    stage = await ready()
    stage.service.answers_pings = False
    stage.speak(pcm(1000), FIRST)
    await settle()
    await stage.clock.advance(0.3)
    if is_answered:
        stage.session.answer()
    await stage.clock.advance(0.1)
    stage.flush()
    await settle()
    await stage.clock.advance(0.0)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    position_ms = 400 if is_answered else 0
    assert end["playback_position_ms"] == pytest.approx(position_ms, abs=2)


async def test_a_new_connection_is_not_in_doubt():
    """Its speech is reported before its first answer."""
    stage = await ready(**RESUMED)
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    assert len(stage.service.sessions) == 2
    stage.service.answers_pings = False
    say(stage, 1000)
    await settle()
    assert stage.outbox.payloads("avatar_audio_start")


async def test_a_signal_says_that_it_is_heard_before_the_first_answer():
    """The service has it: it plays."""
    stage = await ready()
    stage.service.answers_pings = False
    stage.speak(pcm(1000), FIRST)
    await settle()
    await stage.clock.advance(0.2)
    stage.session.play("request-1.0", "playing")
    await stage.clock.advance(0.3)
    stage.flush()
    await settle()
    await stage.clock.advance(0.0)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["playback_position_ms"] == pytest.approx(300, abs=2)


async def test_a_flush_behind_an_end_that_has_not_arrived():
    """That utterance is cut, and was not heard to its end."""
    stage = await silent()
    say(stage, 100)
    await settle()
    await stage.clock.advance(0.95)
    stage.flush()
    await settle()
    await stage.clock.advance(0.0)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 2


async def test_answers_that_come_late_lose_no_connection():
    """Each ping has its own time."""
    stage = await asked()
    for _ in range(3):
        await stage.clock.advance(LOST_AT - 5.0)
        stage.session.answer()
        await stage.clock.advance(PING_INTERVAL_S)
        stage.speak(pcm(100), FIRST)
        await settle()
    assert stage.outbox.errors == []
    assert len(stage.service.sessions) == 1


def test_times_are_those_of_the_rules():
    """Rule 1 of playout, in seconds."""
    assert (MISSED_AFTER_S, LOST_AT * MISSED_AFTER_S) == (1.0, 20.0)


async def test_the_silence_goes_on_after_a_flush():
    """Later audio has not arrived, either."""
    stage = await silent(**RESUMED)
    stage.speak(pcm(100), FIRST)
    await stage.clock.advance(3.0)
    stage.flush()
    await stage.clock.advance(1.0)
    say(stage, 1000, SECOND)
    await stage.clock.advance(LOST_AT - 5.0)
    stage.service.answers_pings = True
    await stage.clock.advance(3.0)
    assert len(stage.service.sessions) == 2
    assert len(stage.session.received) == 1000 * BYTES_PER_MS


async def test_a_flush_of_audio_that_may_arrive_yet():
    """By its length it has ended, but who knows when it plays."""
    stage = await silent()
    say(stage, 100)
    await stage.clock.advance(10.0)
    assert stage.session.interrupted == []
    stage.flush()
    await stage.clock.advance(0.0)
    assert len(stage.session.interrupted) == 1


async def test_a_short_silence_changes_nothing():
    """A connection that is lost then has carried its audio."""
    stage = await silent(**RESUMED)
    say(stage, 2000)
    await stage.clock.advance(0.9)
    await stage.lose(LOST)
    stage.service.answers_pings = True
    await stage.clock.advance(1.0)
    # 1.15 s were heard; the rewind is 0.5 s.
    assert len(stage.session.received) == 2350 * BYTES_PER_MS


async def test_an_answer_ends_the_doubt():
    """Audio written before plays from then on."""
    stage = await silent()
    stage.speak(pcm(9000), FIRST)
    await settle()
    stage.speech_ends(FIRST)
    await stage.clock.advance(5.0)
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(3.0)
    end = await cut(stage)
    # 1 s had arrived in time, the rest plays from then on.
    assert end["playback_position_ms"] == pytest.approx(4000, abs=20)


@pytest.mark.parametrize(
    ("arrived_ms", "turn", "position_ms"),
    [(5000, FIRST, 2500), (1800, SECOND, 500)],
)
async def test_what_had_arrived_before_a_doubt_plays_on(
    arrived_ms: int, turn: Turn, position_ms: int, stage
):
    """Audio written behind it waits for its end, and for the answer."""
    stage.speak(pcm(arrived_ms), FIRST)
    await stage.clock.advance(PING_INTERVAL_S)
    stage.service.answers_pings = False
    say(stage, 2000, turn)
    await stage.clock.advance(2.0 - PING_INTERVAL_S)
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(0.11)
    ends = stage.outbox.payloads("avatar_audio_end")
    assert len(ends) == (turn is SECOND)
    await stage.clock.advance(0.39)
    stage.flush()
    await stage.clock.advance(0.0)
    end = stage.outbox.payloads("avatar_audio_end")[-1]
    assert end["playback_position_ms"] == pytest.approx(position_ms, abs=2)


async def test_utterances_from_a_doubt_play_one_behind_the_other():
    """The pause that was between them has passed already."""
    stage = await silent()
    say(stage, 100)
    await stage.clock.advance(5.0)
    say(stage, 1000, SECOND)
    await stage.clock.advance(0.5)
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(1.1 + END_MARGIN_S - 0.01)
    assert len(stage.outbox.payloads("avatar_audio_end")) == 1
    await stage.clock.advance(0.02)
    assert len(stage.outbox.payloads("avatar_audio_end")) == 2


@pytest.mark.parametrize(
    ("fallback_after_s", "limit_s"),
    [(0.3, MISSED_AFTER_S), (1.5, 1.5), (5.0, 5.0), (60.0, 20.0), (0.0, 20.0)],
)
async def test_a_session_that_was_silent_before_has_less_time_to_answer(
    fallback_after_s: float, limit_s: float
):
    """It may have ended long ago: speech does not wait longer for its first
    answer than it would for a session."""
    stage = await ready(fallback_after_s=fallback_after_s, **RESUMED)
    await stage.clock.advance(PROVED_FOR_S)
    stage.service.answers_pings = False
    say(stage, 1000)
    await stage.clock.advance(limit_s - 0.1)
    assert stage.outbox.errors == []
    stage.service.answers_pings = True
    await stage.clock.advance(0.3)
    (error,) = stage.outbox.errors
    assert f"has not answered for {limit_s:g} s" in error["message"]
    assert len(stage.service.sessions) == 2
    assert len(stage.session.received) == 1000 * BYTES_PER_MS


@pytest.mark.parametrize("proof", ["confirmation", "answer"])
async def test_a_session_that_was_there_a_moment_ago_has_its_time(proof: str):
    """A long write may be ahead of the ping."""
    stage = await ready(fallback_after_s=1.5)
    if proof == "answer":
        await stage.clock.advance(60.0)
        say(stage, 100)
        await settle()
    await stage.clock.advance(PROVED_FOR_S - 0.1)
    stage.service.answers_pings = False
    stage.speak(pcm(100), SECOND)
    await stage.clock.advance(LOST_AT - 0.1)
    assert stage.outbox.errors == []
    await stage.clock.advance(0.2)
    assert len(stage.outbox.errors) == 1


async def test_the_first_answer_is_not_missed_by_a_process_that_stood_still():
    """It may wait in the socket."""
    stage = await ready(fallback_after_s=1.5)
    await stage.clock.advance(60.0)
    stage.service.answers_pings = False
    stage.speak(pcm(100), FIRST)
    await settle()
    stage.clock.jump(60.0)
    await stage.clock.advance(0.5)
    assert stage.outbox.errors == []


async def test_the_voice_speaks_where_a_silent_session_does_not_answer():
    """At the time at which it would without any session."""
    stage = await ready(has_voice=True, fallback_after_s=1.5, **RESUMED)
    await stage.clock.advance(60.0)
    stage.service.answers_pings = False
    stage.service.openings += ["hold"]
    audio = say(stage, 1000)
    await stage.clock.advance(1.4)
    assert stage.voice.said == b""
    await stage.clock.advance(0.2)
    assert stage.voice.said == audio
    stage.session.release()


async def test_time_in_which_nothing_could_be_noticed_does_not_count():
    """A process that stood still for a minute has missed one answer."""
    stage = await silent()
    stage.speak(pcm(100), FIRST)
    await stage.clock.advance(0.1)
    stage.clock.jump(60.0)
    await stage.clock.advance(0.5)
    assert len(stage.service.sessions) == 1
    assert stage.outbox.errors == []


async def test_a_session_that_cannot_be_asked(stage):
    """All that is written counts as arrived."""
    stage.service.takes_pings = False
    say(stage, 1000)
    await stage.clock.advance(1.0 + END_MARGIN_S + PING_INTERVAL_S)
    (end,) = stage.outbox.payloads("avatar_audio_end")
    assert end["reason"] == 1


async def test_an_answer_does_not_cover_audio_after_its_ping():
    """Neither of the same utterance nor of the next one."""
    stage = await asked()
    say(stage, 3000)
    say(stage, 100, SECOND)
    await stage.clock.advance(0.0)
    stage.session.answer()
    await stage.clock.advance(10.0)
    end = await cut(stage)
    assert end["playback_position_ms"] == 500  # at the answer


async def test_an_answer_does_not_cover_audio_after_a_flush():
    """Its ping was sent before: all of that audio is said again."""
    stage = await asked(**RESUMED)
    stage.flush()
    say(stage, 1000, SECOND)
    await settle()
    await stage.clock.advance(0.0)
    stage.session.answer()
    await stage.clock.advance(0.8)
    await stage.lose(LOST)
    stage.service.answers_pings = True
    await stage.clock.advance(1.0)
    assert len(stage.session.received) == 1000 * BYTES_PER_MS


async def test_an_answer_is_for_all_that_was_written_before_its_ping():
    """However many utterances that is."""
    stage = await asked()
    stage.speech_ends(FIRST)
    await settle()
    for turn in (SECOND, THIRD):
        say(stage, 100, turn)
    stage.session.answer()
    await stage.clock.advance(PING_INTERVAL_S)
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(10.0)
    assert len(stage.outbox.payloads("avatar_audio_end")) == 3


async def test_idle_time_counts_from_when_late_speech_was_heard():
    """Not from when it would have been."""
    stage = await asked(idle_disconnect_s=20.0)
    stage.speech_ends(FIRST)
    await stage.clock.advance(10.0)
    stage.service.answers_pings = True
    stage.session.answer()
    await stage.clock.advance(20.0)
    assert stage.avatar.state == "ready"
    await stage.clock.advance(0.5)
    assert stage.avatar.state == "asleep"


# A connection that was lost


async def test_a_connection_that_was_lost_is_not_asked():
    """Though it has not been closed yet."""
    stage = await silent()
    stage.speak(pcm(100), FIRST)
    await settle()
    pings = stage.session.pings
    stage.clock.jump(PING_INTERVAL_S)
    stage.session.on_failure(LOST)
    stage.speak(pcm(100), FIRST)
    await settle()
    assert stage.session.pings == pings


async def test_nothing_is_due_while_a_connection_is_closed():
    """But the time that the close may take."""
    stage = await asked()
    stage.service.closing = "hold"
    await stage.lose(LOST)
    await stage.clock.advance(CLOSE_DEADLINE_S - ABORTED_S - 0.1)
    assert stage.session.is_held
    assert len(stage.service.sessions) == 1
    stage.service.closing = None
    stage.session.release()


# Playback signals


async def test_what_the_service_has_played_has_arrived():
    """The end of an utterance, also where it is the next one that begins."""
    stage = await asked()
    stage.speech_ends(FIRST)
    await settle()
    for turn in (SECOND, THIRD):
        say(stage, 1000, turn)
        await settle()
    await stage.clock.advance(0.0)
    stage.session.play("request-1.1", "playing")
    await stage.clock.advance(END_MARGIN_S + 0.01)
    assert len(stage.outbox.payloads("avatar_audio_end")) == 1
    stage.session.play("request-1.1", "ended")
    await stage.clock.advance(0.0)
    first, second = stage.outbox.payloads("avatar_audio_end")
    assert first["reason"] == second["reason"] == 1


async def test_a_position_is_the_truth_while_pings_are_not_answered():
    """And stays so when an older ping is."""
    stage = await asked()
    say(stage, 8900)
    await stage.clock.advance(3.0)
    stage.session.play("request-1.0", "playing", 2500.0)
    stage.session.answer()
    await stage.clock.advance(5.0)
    end = await cut(stage)
    assert end["playback_position_ms"] == 2500
    assert end["source"] == "service"
