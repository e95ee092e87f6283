"""The agent's voice while the avatar cannot speak."""

import asyncio

from avatar_stage import (
    BAD_KEY,
    BYTES_PER_MS,
    FALLBACK_AFTER_S,
    FIRST,
    RATE_HZ,
    REFUSED,
    SECOND,
    pcm,
    ready,
    say,
    set_up,
    without_session,
)
from fakes import LOST, FakeClock, FakeVoice, settle
from spatius_avatar_python.avatar.fallback import FRAMES_A_TURN, Fallback
from spatius_avatar_python.messages import payloads as reports
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.speech import Speech
from spatius_avatar_python.speech.playout import END_MARGIN_S
from spatius_avatar_python.speech.utterance import VOICE_FRAME_MS

LOST_AND_BACK = ["recovering", "fallback", "ready"]


async def test_voice_speaks_when_speech_has_waited_for_too_long():
    """Not a moment earlier; it says all that waits."""
    stage = await without_session()
    audio = say(stage, 300)
    await stage.clock.advance(FALLBACK_AFTER_S - 0.1)
    assert stage.voice.said == b""
    await stage.clock.advance(0.2)
    assert stage.voice.said == audio
    assert stage.avatar.state == "fallback"
    await stage.finish()


async def test_voice_does_not_speak_where_it_is_switched_off():
    """0 means never, as long as there is hope."""
    stage = await without_session(fallback_after_s=0.0)
    say(stage, 300)
    await stage.clock.advance(5.0)
    assert stage.voice.said == b""
    assert stage.avatar.state == "recovering"
    await stage.finish()


async def test_wait_is_that_of_speech_not_of_the_outage():
    """The first sentence after a silence waits as long as any."""
    stage = await without_session()
    await stage.clock.advance(4.0)
    say(stage, 300)
    await stage.clock.advance(FALLBACK_AFTER_S - 0.1)
    assert stage.voice.said == b""
    await stage.finish()


async def test_flushed_speech_does_not_wait_any_more():
    """What comes after it waits anew."""
    stage = await without_session()
    say(stage, 300)
    await stage.clock.advance(1.0)
    stage.avatar.flush()
    await settle()
    audio = say(stage, 300, SECOND)
    await stage.clock.advance(FALLBACK_AFTER_S - 0.1)
    assert stage.voice.said == b""
    await stage.clock.advance(0.2)
    assert stage.voice.said == audio
    await stage.finish()


async def test_voice_gets_frames_of_10_ms_with_rate_and_turn():
    """As an RTC extension takes them."""
    stage = await without_session()
    say(stage, 25)
    await stage.clock.advance(2.0)
    sizes = [len(frame) for frame, _, _ in stage.voice.frames]
    whole = VOICE_FRAME_MS * 48
    assert sizes == [whole, whole, whole // 2]
    assert {(rate, turn) for _, rate, turn in stage.voice.frames} == {
        (RATE_HZ, FIRST)
    }
    await stage.finish()


async def test_once_it_speaks_the_voice_speaks_at_once():
    """The next utterance of the outage waits no more."""
    stage = await without_session()
    first = say(stage, 100)
    await stage.clock.advance(2.0)
    second = say(stage, 100, SECOND)
    await settle()
    assert stage.voice.said == first + second
    await stage.finish()


async def test_frame_leaves_in_its_own_turn_of_the_loop():
    """A voice that waits for nothing is not a task's."""
    stage = await without_session()
    say(stage, 100)
    await stage.clock.advance(2.0)
    audio = pcm(10)
    stage.avatar.speak(audio, SECOND)
    assert stage.voice.frames[-1][0] == audio
    await stage.finish()


async def test_begun_utterance_stays_with_the_voice():
    """Though a session is ready again; the next one is the avatar's."""
    stage = set_up(
        has_voice=True, fallback_after_s=FALLBACK_AFTER_S, end_timeout_s=60
    )
    stage.service.openings += [REFUSED] * 4
    begin, rest = pcm(100), pcm(100)
    stage.avatar.speak(begin, FIRST)
    await stage.start()
    await stage.clock.advance(20.0)
    assert stage.outbox.states == ["connecting", *LOST_AND_BACK]
    assert stage.voice.said == begin
    stage.avatar.speak(rest, FIRST)
    stage.avatar.speech_ends(FIRST)
    answer = say(stage, 100, SECOND)
    await settle()
    assert stage.voice.said == begin + rest
    assert stage.session.received == b"", "two outputs at a time"
    await stage.clock.advance(2.0)
    assert stage.session.received == answer
    assert stage.voice.said == begin + rest
    assert stage.outbox.states == ["connecting", *LOST_AND_BACK]
    await stage.finish()


async def test_fallback_is_reported_once_per_outage():
    """And again in the next."""
    stage = await without_session()
    say(stage, 100)
    await stage.clock.advance(2.0)
    say(stage, 100)
    await stage.clock.advance(2.0)
    assert stage.outbox.states.count("fallback") == 1
    [fallback] = [
        payload
        for name, payload in stage.outbox.sent
        if payload.get("state") == "fallback"
    ]
    assert fallback["reason"] == "noSession"
    stage.session.release()
    await settle()
    assert stage.avatar.state == "ready"
    stage.service.openings += ["hold"]
    await stage.lose(LOST)
    say(stage, 100)
    await stage.clock.advance(3.0)
    assert stage.outbox.states.count("fallback") == 2
    await stage.finish()


async def test_fallback_lasts_until_a_session_is_ready():
    """Attempts that fail meanwhile do not change the state."""
    stage = await without_session()
    say(stage, 100)
    await stage.clock.advance(2.0)
    stage.service.openings += [REFUSED] * 3
    stage.session.fail(REFUSED)
    await stage.until_attempt(6)
    await settle()
    assert stage.outbox.states == ["connecting", "ready", *LOST_AND_BACK]
    await stage.finish()


async def test_utterance_of_the_voice_is_measured_as_such():
    """Its metrics say what the voice has said."""
    stage = await without_session()
    say(stage, 300)
    await stage.clock.advance(5.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["voice_ms"] == 300
    assert utterance["metrics"]["sent_ms"] == 0
    await stage.finish()


async def test_end_of_playout_is_reported_in_time():
    """Also where the voice had more to say than goes out at once, and no
    session is watched."""
    stage = set_up(has_voice=True)
    stage.avatar.fail(BAD_KEY)
    say(stage, 300)
    await stage.clock.advance(0.3 + END_MARGIN_S - 0.01)
    assert stage.outbox.utterances == []
    await stage.clock.advance(0.02)
    assert len(stage.outbox.utterances) == 1
    await stage.finish()


async def test_voice_goes_on_where_the_listener_was():
    """Rewound by half a second; what is said twice is counted apart."""
    stage = await ready(
        has_voice=True, fallback_after_s=FALLBACK_AFTER_S, resume_within_s=15.0
    )
    audio = say(stage, 5000)
    await stage.clock.advance(2.0)
    stage.service.openings += ["hold"]
    await stage.lose(LOST)
    await stage.clock.advance(10.0)
    assert stage.voice.said == audio[1500 * BYTES_PER_MS :]
    [utterance] = stage.outbox.utterances
    metrics = utterance["metrics"]
    # The avatar said 2 s; 0.5 s of them are the voice's, too.
    assert (metrics["sent_ms"], metrics["voice_ms"]) == (2000, 3000)
    assert (metrics["lost_ms"], metrics["resent_ms"]) == (0, 3500)
    assert stage.speech.totals.resent == 3500 * BYTES_PER_MS // 2
    assert len(stage.outbox.payloads("avatar_audio_start")) == 1
    assert len(stage.outbox.payloads("avatar_audio_end")) == 1
    stage.session.release()
    await stage.finish()


async def test_failed_avatar_has_the_voice_speak_at_once():
    """Also what waited before; the state stays failed."""
    stage = set_up(has_voice=True, fallback_after_s=FALLBACK_AFTER_S)
    stage.service.openings += [BAD_KEY]
    first = say(stage, 100)
    await stage.start()
    assert stage.voice.said == first
    second = say(stage, 100, SECOND)
    assert stage.voice.said == first + second
    assert stage.outbox.states == ["connecting", "failed"]
    await stage.finish()


async def test_failed_avatar_has_a_voice_where_waiting_has_none():
    """With `fallback_after_s` 0 the voice is for the failed avatar only."""
    stage = set_up(has_voice=True, fallback_after_s=0.0)
    stage.service.openings += [BAD_KEY]
    await stage.start()
    audio = say(stage, 100)
    await settle()
    assert stage.voice.said == audio
    await stage.finish()


async def test_avatar_without_configuration_has_a_voice():
    """`fail` in place of `start`."""
    stage = set_up(has_voice=True)
    stage.avatar.fail(Failure("no key", fatal=True, code="invalid"))
    audio = say(stage, 100)
    await settle()
    assert stage.voice.said == audio
    assert stage.service.sessions == []
    assert stage.outbox.error_codes == [reports.FATAL]
    assert stage.outbox.states == ["failed"]
    await stage.finish()


async def test_flush_silences_the_voice():
    """What it has not said yet is dropped."""
    stage = set_up(has_voice=True)
    stage.avatar.fail(BAD_KEY)
    stage.avatar.speak(pcm(15), FIRST)  # 5 ms wait for the rest of a frame
    await settle()
    stage.avatar.flush()
    await settle()
    answer = say(stage, 20, SECOND)
    await settle()
    assert stage.voice.said[-len(answer) :] == answer
    assert stage.speech.totals.flushed == 5 * 24
    await stage.finish()


async def test_stop_while_the_voice_speaks():
    """What it has not said is refused, and the sum is whole."""
    stage = await without_session()
    stage.avatar.speak(pcm(15), FIRST)
    await stage.clock.advance(2.0)
    assert stage.voice.said
    await stage.stopped()


# Alone


class SlowVoice(FakeVoice):
    """One whose frames wait to be released."""

    def __init__(self) -> None:
        super().__init__(is_connected=True)
        self.may_say = asyncio.Event()

    async def say(self, pcm, sample_rate, turn) -> bool:
        await self.may_say.wait()
        return await super().say(pcm, sample_rate, turn)


def make(voice: FakeVoice) -> tuple[Speech, Fallback, list[str]]:
    speech = Speech(sample_rate=RATE_HZ)
    events: list[str] = []
    fallback = Fallback(
        speech,
        voice,
        FakeClock(),
        FALLBACK_AFTER_S,
        on_start=lambda: events.append("start"),
        on_missing=lambda problem: events.append(f"missing {problem}".strip()),
        on_done=lambda: events.append("done"),
    )
    return speech, fallback, events


async def test_one_frame_at_a_time_goes_to_the_voice():
    """However often `speak` is called while one is on its way."""
    voice = SlowVoice()
    speech, fallback, events = make(voice)
    audio = pcm(40)
    speech.frame(audio, 1000.0)
    fallback.switch_on()
    for _ in range(5):
        fallback.speak(False)
        await settle()
    assert events == []
    voice.may_say.set()
    await settle()
    assert voice.said == audio
    assert events == ["start", "done"]


async def test_backlog_of_the_voice_does_not_block_the_event_loop():
    """Others have their turn after each few frames."""
    voice = FakeVoice(is_connected=True)
    speech, fallback, _ = make(voice)
    speech.frame(pcm(10 * FRAMES_A_TURN * 4), 1000.0)
    fallback.switch_on()
    fallback.speak(False)
    assert len(voice.frames) == FRAMES_A_TURN
    counts = []
    while len(voice.frames) < 4 * FRAMES_A_TURN:
        await asyncio.sleep(0)
        counts.append(len(voice.frames))
    assert set(counts) == {n * FRAMES_A_TURN for n in (1, 2, 3, 4)}
    await settle()
    assert len(voice.frames) == 4 * FRAMES_A_TURN


async def test_end_of_a_backlog_is_noted():
    """Others have to know when the voice has said more than at once."""
    speech, fallback, events = make(FakeVoice(is_connected=True))
    speech.frame(pcm(10 * FRAMES_A_TURN - 1), 1000.0)
    fallback.switch_on()
    fallback.speak(False)
    await settle()
    assert events == ["start"]
    speech.frame(pcm(10 * FRAMES_A_TURN), 1000.0)
    fallback.speak(False)
    assert events == ["start"]
    await settle()
    assert events == ["start", "done"]


async def test_deadline_is_that_of_the_speech_that_waits():
    """None where nothing waits, where it speaks, and with a session."""
    speech, fallback, _ = make(FakeVoice(is_connected=True))
    fallback.speak(False)
    assert fallback.deadline() is None
    speech.frame(pcm(20), 1000.0)
    fallback.speak(False)
    assert fallback.deadline() == 1000.0 + FALLBACK_AFTER_S
    fallback.speak(True)
    assert fallback.deadline() is None
    fallback.speak(False)
    fallback.switch_on()
    assert fallback.deadline() is None


async def test_nothing_is_due_once_there_is_no_voice():
    """Though it was missing only when a second outage had begun."""
    voice = FakeVoice(is_connected=True)
    speech, fallback, events = make(voice)
    speech.frame(pcm(15), 1000.0)
    fallback.switch_on()
    fallback.speak(False)
    fallback.speak(True)
    fallback.speak(False)
    assert fallback.deadline() == 1000.0 + FALLBACK_AFTER_S
    voice.is_connected = False
    speech.frame(pcm(15), 1000.0)
    fallback.speak(False)
    assert events == ["start", "missing"]
    assert fallback.deadline() is None
