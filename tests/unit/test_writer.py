"""Writing: one call after the other, and the outcome for its audio."""

import asyncio
from dataclasses import replace

import pytest
from avatar_stage import (
    BYTES_PER_MS,
    FIRST,
    MESSAGE,
    SECOND,
    held,
    pcm,
    ready,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.avatar.avatar import BURST_GAP_S
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.session.session import STALL_LIMIT_S
from spatius_avatar_python.speech.avatar_output import JOIN_AHEAD_S, JOIN_WAIT_S
from spatius_avatar_python.speech.playout import END_MARGIN_S
from spatius_avatar_python.speech.utterance import MESSAGE_MS

pytestmark = pytest.mark.usefixtures("finished_stages")


async def test_one_call_at_a_time():
    """While a call waits, no event starts another."""
    stage = await held()
    for _ in range(10):
        say(stage, 20)
        stage.flush()
        stage.speak(pcm(20), SECOND)
        await stage.clock.advance(0.1)
    assert stage.service.events[-1] == (1, "open")
    stage.session.release()
    await settle()
    assert stage.service.violations == []


async def test_frame_waits_for_others_for_a_moment(stage):
    """With a second ahead at the service, and no frame behind it."""
    ahead, frame = pcm(int(JOIN_AHEAD_S * 1000) + 500), pcm(10)
    stage.speak(ahead, FIRST)
    await stage.clock.advance(0.1)
    assert stage.session.received == ahead
    stage.speak(frame, FIRST)
    await settle()
    assert stage.session.received == ahead
    await stage.clock.advance(JOIN_WAIT_S)
    assert stage.session.received == ahead + frame


async def test_a_full_frame_does_not_wait(stage):
    """It is a message by itself."""
    ahead = pcm(int(JOIN_AHEAD_S * 1000) + 500)
    stage.speak(ahead, FIRST)
    await stage.clock.advance(0.1)
    frame = pcm(MESSAGE_MS)
    stage.speak(frame, FIRST)
    await settle()
    assert stage.session.received == ahead + frame


async def test_an_empty_frame_is_no_message(stage):
    """In mid-request, too."""
    stage.speak(pcm(20), FIRST)
    await stage.clock.advance(0.01)
    stage.speak(b"", FIRST)
    await stage.clock.advance(0.01)
    assert len(stage.session.messages) == 1


@pytest.mark.parametrize(
    ("pace", "wakings", "timers"), [(5, 1, 15), (20, 4, 8)]
)
async def test_hardly_anything_wakes_up_for_messages_that_fill_in_time(
    stage, pace, wakings, timers
):
    """Its last frame writes it: an alarm that would go off before the next
    frame is cancelled then, any other is left for the messages that follow."""
    stage.speak(pcm(int(JOIN_AHEAD_S * 1000) + 500), FIRST)
    await stage.clock.advance(0.1)
    before, gone_off = len(stage.session.messages), stage.clock.gone_off
    count = stage.clock.set_count
    for _ in range(10 * 10):
        stage.speak(pcm(10), FIRST)
        await stage.clock.advance(0.01 / pace)
    assert len(stage.session.messages) == before + 10
    assert stage.clock.gone_off <= gone_off + wakings  # one is for a ping
    assert stage.clock.set_count <= count + timers


async def test_frame_leaves_in_its_own_handler(stage):
    """At the pace of speech, and also when they come in no time."""
    frames = [pcm(10) for _ in range(5)]
    for count, frame in enumerate(frames, 1):
        stage.speak(frame, FIRST)
        await asyncio.sleep(0)  # the handler's turn
        assert stage.session.messages == frames[:count]
        await stage.clock.advance(2 * BURST_GAP_S)


async def test_frames_that_come_at_once_are_joined(stage):
    """The first one leaves at once, the others in the next turn of the
    loop."""
    frames = [pcm(10) for _ in range(25)]
    for frame in frames:
        stage.speak(frame, FIRST)
    await asyncio.sleep(0)  # the handlers' turn
    assert stage.session.messages == frames[:1]
    await settle()
    assert stage.session.messages == [
        frames[0],
        b"".join(frames[1:11]),
        b"".join(frames[11:21]),
        b"".join(frames[21:]),
    ]
    await stage.clock.advance(0.1)
    for frame in frames[:3]:
        stage.speak(frame, FIRST)
    await settle()
    assert stage.session.messages[4:] == [frames[0], b"".join(frames[1:3])]


async def test_end_follows_the_frames_that_come_at_once(stage):
    """It closes the request behind the last of them."""
    frames = [pcm(10) for _ in range(5)]
    for frame in frames:
        stage.speak(frame, FIRST)
    stage.speech_ends(FIRST)
    await settle()
    assert stage.session.messages == [frames[0], b"".join(frames[1:])]
    assert len(stage.session.ended) == 1


async def test_flush_drops_the_frames_that_come_at_once(stage):
    """Audio that has not left yet never does."""
    frames = [pcm(10) for _ in range(5)]
    for frame in frames:
        stage.speak(frame, FIRST)
    stage.flush()
    await settle()
    assert stage.session.messages == frames[:1]
    assert len(stage.session.interrupted) == 1


async def test_flush_is_taken_while_a_call_is_blocked():
    """A flush clears the queue at once; the interrupt is the next call."""
    stage = await held()
    stage.speak(pcm(5000), FIRST)
    stage.flush()
    assert stage.speech.waiting_s == pytest.approx(0.02)  # the call's own
    answer = pcm(20)
    stage.speak(answer, SECOND)
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


async def test_backlog_does_not_block_the_event_loop():
    """Other callbacks run after each message of a backlog."""
    stage = set_up(max_buffered_s=600)
    stage.speak(pcm(60_000))
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


async def test_resumed_speech_does_not_block_the_event_loop():
    """Other callbacks run after each message that is written again."""
    stage = await ready(resume_within_s=15.0)
    stage.speak(pcm(30_000), FIRST)
    await settle()
    stage.session.on_failure(LOST)
    first = stage.session
    seen: list[int] = []

    async def neighbor() -> None:
        while True:
            if stage.session is not first:
                seen.append(len(stage.session.messages))
            await asyncio.sleep(0)

    other = asyncio.ensure_future(neighbor())
    await stage.until_attempt(2)
    other.cancel()
    assert seen[-1] >= 300
    assert max(after - before for before, after in zip(seen, seen[1:])) == 1


async def test_first_failure_is_the_cause_of_a_loss():
    """The callback's failure is reported, not the one of the call."""
    stage = await held()
    cause = Failure("time limit", code="4002")
    stage.session.on_failure(cause)
    stage.session.on_failure(LOST)
    stage.session.fail(LOST)
    await settle()
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "4002"


async def test_unwritten_audio_goes_to_the_new_session(stage):
    """The rest of an utterance is sent under a new request, no byte twice."""
    audio = pcm(500)
    stage.service.calls += [None, None, LOST]
    stage.speak(audio, FIRST)
    stage.speech_ends(FIRST)
    await settle()
    assert stage.session.received == audio[: 2 * MESSAGE]
    await stage.until_attempt(2)
    assert stage.session.received == audio[2 * MESSAGE :]
    assert stage.session.ended == ["request-2.0"]
    await stage.clock.advance(10.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["sent_ms"] == 300


async def test_lost_interrupt_is_not_sent_to_the_new_session(stage):
    """An interrupt dies with its session; the next answer is spoken."""
    stage.speak(pcm(500), FIRST)
    await settle()
    stage.service.calls += [LOST]
    stage.flush()
    answer = pcm(20)
    stage.speak(answer, SECOND)
    await stage.until_attempt(2)
    assert stage.session.received == answer
    assert stage.session.interrupted == []


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), asyncio.CancelledError()]
)
async def test_unexpected_exception_of_a_call_is_reported(error, stage):
    """Any exception of a call is reported, and the session replaced."""
    stage.service.calls += [error]
    stage.speak(pcm(20), FIRST)
    await stage.clock.advance(2.0)
    assert len(stage.outbox.errors) == 1
    spoken_again = stage.avatar.state == "ready" and stage.session.received
    assert stage.avatar.state == "failed" or spoken_again
    assert not stage.service.sessions[0].is_live


async def test_stalled_call_is_aborted_and_recovered():
    """A socket that stays full for the limit is given up."""
    stage = await held()
    await stage.clock.advance(STALL_LIMIT_S - 1)
    assert stage.session.aborts == 0
    await stage.clock.advance(STALL_LIMIT_S / 2)
    assert stage.service.sessions[0].aborts >= 1
    [error] = stage.outbox.errors
    assert error["vendor_info"]["code"] == "stalled"
    assert stage.avatar.state == "ready"
    assert len(stage.session.received) == 20 * BYTES_PER_MS


async def test_call_made_by_a_timer_is_watched_too():
    """An end of speech by timeout that stalls is given up as any call."""
    stage = await ready(end_timeout_s=1.5)
    stage.speak(pcm(20), FIRST)
    await settle()
    stage.service.calls.append("hold")
    await stage.clock.advance(1.5)
    assert stage.session.is_held
    await stage.clock.advance(STALL_LIMIT_S * 1.5)
    assert stage.service.sessions[0].aborts >= 1
    assert stage.avatar.state == "ready"


@pytest.mark.parametrize("code", ["", "creditsExhausted"])
async def test_failure_ends_a_call_that_is_blocked(code):
    """The service's reason neither waits for the socket nor is lost."""
    stage = await held()
    failure = replace(LOST, code=code, message="why", fatal=bool(code))
    stage.session.on_failure(failure)
    await stage.clock.advance(0.1)
    assert stage.service.sessions[0].aborts == 1
    assert stage.outbox.errors[0]["message"] == "why"
    assert (stage.avatar.state == "failed") == bool(code)


async def test_speech_goes_on_after_a_stall():
    """A stall that ends in time costs no audio within the bound."""
    stage = await held()
    audio = pcm(3000)
    stage.speak(audio, FIRST)
    await stage.clock.advance(STALL_LIMIT_S - 1)
    stage.session.release()
    await settle()
    assert stage.session.received.endswith(audio)
    assert stage.outbox.errors == []


async def test_end_of_playout_is_reported_in_time(stage):
    """Also where more was written than goes out at once."""
    say(stage, 500)
    await stage.clock.advance(0.5 + END_MARGIN_S - 0.01)
    assert stage.outbox.utterances == []
    await stage.clock.advance(0.02)
    assert len(stage.outbox.utterances) == 1


async def test_audio_that_was_blocked_is_reported_when_it_is_written():
    """The begin at once, the end in time."""
    stage = await held()
    stage.speech_ends(FIRST)
    await stage.clock.advance(1.0)
    assert "avatar_audio_start" not in stage.outbox.names
    stage.session.release()
    await settle()
    assert "avatar_audio_start" in stage.outbox.names
    await stage.clock.advance(0.02 + END_MARGIN_S + 0.01)
    assert len(stage.outbox.utterances) == 1


async def test_audio_is_stale_after_the_first_loss_not_the_last():
    """However often sessions are lost before they take any of it."""
    stage = await ready(resume_within_s=15.0)
    say(stage, 5000)
    await settle()
    stage.service.calls += [LOST] * 50
    await stage.lose(LOST)
    await stage.clock.advance(14.9)
    assert stage.speech.totals.lost == 0
    await stage.clock.advance(0.2)
    assert stage.speech.totals.lost == 5000 * BYTES_PER_MS // 2
    stage.service.calls.clear()
