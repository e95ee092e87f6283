"""The voice while the avatar cannot speak, as the listener hears both."""

import asyncio
from typing import Any

import pytest
from agent import RATE, Agent, play, properties
from scene import REWIND_MS, Scene, scene, virtually

from devkit.harness.messages import audio_frame
from devkit.motion_server import (
    Close,
    MotionServer,
    OnEnd,
    Refuse,
    Reset,
    ServerError,
)


def frame_facts(frame: Any) -> tuple[int, int, int, int]:
    return (
        frame.get_sample_rate(),
        frame.get_bytes_per_sample(),
        frame.get_number_of_channels(),
        frame.get_samples_per_channel(),
    )


def keep_frames(on: Scene) -> list[Any]:
    """Return a list that gets the voice's frames; the listener has them."""
    kept: list[Any] = []
    to_listener = on.rig.env.on_audio_frame

    def take(frame: Any) -> None:
        kept.append(frame)
        to_listener(frame)

    on.rig.env.on_audio_frame = take
    return kept


def voice_ms(on: Scene) -> float:
    return on.rig.totals.voice / RATE * 1000


@virtually
async def test_the_voice_speaks_when_spatius_cannot_be_reached() -> None:
    """After fallback_after_ms; an utterance stays with the voice to its end,
    and the next one is the avatar's when it is back."""
    async with scene(voice_wired=True) as on:
        frames = keep_frames(on)
        await on.rig.state("ready")
        await asyncio.sleep(6)
        on.server.pause_listening()
        on.server.now(Reset())
        await asyncio.sleep(1)
        said_s = on.clock.monotonic()
        await on.talk.utter(1, 6000, 5)
        await on.until(lambda: frames)
        waited_s = on.clock.monotonic() - said_s
        assert waited_s == pytest.approx(1.5, abs=0.1)
        assert on.rig.states[-1] == "fallback"
        on.server.resume_listening()
        await on.until(lambda: on.rig.states[-1] == "ready")
        # The voice still speaks: the avatar waits for its end.
        await on.talk.utter(2, 1000)
        await on.silence()
        verdict = on.whole(max_repeat_ms=0)
        assert verdict.overlap_ms == 0
        assert on.ends == [("tts-1", 1), ("tts-2", 1)]
        assert voice_ms(on) == 6000
        assert {frame_facts(frame) for frame in frames} == {(RATE, 2, 1, 240)}
        turn_id, _ = frames[0].get_property_int("metadata.turn_id")
        session_id, _ = frames[0].get_property_string("metadata.session_id")
        assert (turn_id, session_id) == (1, "session")
        metrics = [
            one["metrics"]
            for one in on.sent("metrics")
            if "voice_ms" in one["metrics"]
        ]
        assert [one["voice_ms"] for one in metrics] == [6000, 0]
        assert [one["sent_ms"] for one in metrics] == [0, 1000]


@pytest.mark.wire
@virtually
async def test_the_voice_goes_on_when_credits_end_in_mid_sentence() -> None:
    """From where the listener was, rewound; the avatar is not tried again,
    and all later speech is the voice's."""
    async with scene(voice_wired=True) as on:
        await on.talk.utter(1, 8000, 20)
        await asyncio.sleep(3)
        on.server.now(ServerError(4001, "credits exhausted"))
        on.server.now(Close(4001))
        lost_s = on.clock.monotonic()
        frames = keep_frames(on)
        await on.until(lambda: frames)
        assert on.clock.monotonic() - lost_s < 0.1
        await on.talk.utter(2, 1000)
        await on.silence()
        verdict = on.whole()
        assert len(verdict.repeats) == 1
        assert verdict.overlap_ms == 0
        assert on.ends == [("tts-1", 1), ("tts-2", 1)]
        assert [error["code"] for error in on.rig.errors] == [-1000]
        assert len(on.server.record.connections) == 1
        totals = on.rig.totals
        assert totals.sent + totals.voice == totals.received
        assert totals.sent / 24 == pytest.approx(3400, abs=400)


@virtually
async def test_what_the_avatar_was_saying_goes_over_to_the_voice() -> None:
    """An outage in mid-sentence that lasts: the voice says the rest."""
    async with scene(voice_wired=True) as on:
        await on.talk.utter(1, 8000)
        await asyncio.sleep(3)
        on.server.pause_listening()
        on.server.now(Reset())
        await asyncio.sleep(3)
        assert on.rig.states[-1] == "fallback"
        on.server.resume_listening()
        await on.silence()
        verdict = on.whole()
        assert verdict.overlap_ms == 0
        assert on.ends == [("tts-1", 1)]
        assert on.rig.totals.lost == 0


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
@virtually
async def test_a_bad_configuration_leaves_the_voice(rate: int) -> None:
    """The frames go out at their own rate, in 10 ms, with their metadata."""
    async with scene(voice_wired=True, spatius_avatar_id=None) as on:
        frames: list[Any] = []
        on.rig.env.on_audio_frame = frames.append
        pcm = bytes(range(250)) * (rate // 125)
        await on.rig.send_frame(audio_frame(pcm, 3, sample_rate=rate))
        await on.talk.end(3)
        await on.until(
            lambda: (
                sum(f.get_samples_per_channel() for f in frames)
                == len(pcm) // 2
            )
        )
        assert b"".join(bytes(f.get_buf()) for f in frames) == pcm
        # The last one may be shorter.
        assert {frame_facts(f) for f in frames[:-1]} == {
            (rate, 2, 1, rate // 100)
        }
        await on.silence()
        assert [error["code"] for error in on.rig.errors] == [-1012]
        (start,) = on.sent("avatar_audio_start")
        assert start["metadata"]["turn_id"] == 3
        assert start["request_id"] == "voice-1"  # no tts_audio_start named it
        assert on.ends == [("voice-1", 1)]
        assert on.server.record.token_requests == []


@pytest.mark.parametrize("is_back", [False, True])
@virtually
async def test_a_flush_silences_the_voice(is_back: bool) -> None:
    """It goes on downstream, where the rest waits to be played; the next
    answer is heard whole."""
    async with scene(voice_wired=True) as on:
        on.server.pause_listening()
        await on.talk.utter(1, 8000, 20)
        await on.until(lambda: on.rig.totals.voice > 3 * RATE)
        if is_back:
            on.server.resume_listening()
            await on.until(lambda: on.rig.states[-1] == "ready")
        await asyncio.sleep(1)
        await on.talk.flush()
        await on.talk.utter(2, 1000)
        await on.silence()
        verdict = on.whole(max_repeat_ms=0)
        assert verdict.stale_ms == 0
        assert on.ends == [("tts-1", 2), ("tts-2", 1)]
        (cut,) = [e for e in on.sent("avatar_audio_end") if e["reason"] == 2]
        assert cut["playback_position_ms"] < 8000


@virtually
async def test_speech_that_the_tts_cuts_silences_the_voice() -> None:
    """As a flush does: audio that waits to be played downstream was cut,
    too."""
    async with scene(voice_wired=True, fallback_after_ms=300) as on:
        on.server.pause_listening()
        await on.talk.start(1)
        await on.talk.say(1, 8000)
        await on.until(lambda: on.rig.totals.voice == 8 * RATE)
        await asyncio.sleep(0.5)
        on.talk.discard(on.talk.unheard(), on.clock.monotonic())
        await on.talk.end(1, reason=2)
        await on.talk.end(1, reason=2)  # nothing is open any more
        await on.talk.utter(2, 1000)
        await on.silence()
        verdict = on.whole(max_repeat_ms=0)
        assert verdict.stale_ms == 0
        assert on.ends == [("tts-1", 2), ("tts-2", 1)]


@virtually
async def test_outages_that_come_and_go() -> None:
    """Avatar and voice take turns at the boundaries of utterances; never
    both, nothing missing."""
    async with scene(voice_wired=True, fallback_after_ms=300) as on:
        await on.rig.state("ready")
        for turn_id in range(1, 9):
            await on.talk.utter(turn_id, 3000, 5)
            await asyncio.sleep(0.5)
            if turn_id % 2:
                on.server.pause_listening()
                on.server.now(Reset())
            else:
                on.server.resume_listening()
            await asyncio.sleep(2.5)
        await on.silence()
        verdict = on.whole(max_repeat_ms=REWIND_MS + 300)
        assert verdict.overlap_ms == 0
        assert 0 < voice_ms(on) < 24_000
        assert [reason for _, reason in on.ends] == [1] * 8


@virtually
async def test_a_resumption_that_fails_again_at_its_end() -> None:
    """A loss upon the very end of the resumed audio."""
    async with scene(voice_wired=True) as on:
        on.server.faults.runtime(Reset(), after=OnEnd(), times=3)
        await on.talk.utter(1, 4000)
        await on.until(lambda: on.ends, 60)
        await on.silence()
        on.whole()
        assert on.ends == [("tts-1", 1)]


@pytest.mark.wire
def test_the_voice_through_ten(motion_server: MotionServer) -> None:
    """The same through TEN: the console refuses, the voice says it all."""
    motion_server.faults.console(Refuse(402, title="billing"), times=None)
    pcm = bytes(range(240)) * 200

    async def script(agent: Agent) -> None:
        await agent.state("failed")
        await agent.say(pcm, 1, frame_ms=20)
        await agent.end(1)
        end = await agent.report("avatar_audio_end")
        assert end["reason"] == 1
        await agent.flush()
        while agent.cmds != ["flush"]:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)

    agent = play(script, properties(motion_server))
    assert b"".join(bytes(f.get_buf()) for f in agent.audio_frames) == pcm
    assert {frame_facts(f) for f in agent.audio_frames} == {(RATE, 2, 1, 240)}
    assert agent.errors == [-1000]
    assert "fallback" not in agent.states
