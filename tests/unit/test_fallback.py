"""The agent's voice while the avatar cannot speak."""

import asyncio

import pytest
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

pytestmark = pytest.mark.usefixtures("finished_stages")

NOW = 1000.0
NEVER = float("inf")

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


async def test_voice_does_not_speak_where_it_is_switched_off():
    """0 means never, as long as there is hope."""
    stage = await without_session(fallback_after_s=0.0)
    say(stage, 300)
    await stage.clock.advance(5.0)
    assert stage.voice.said == b""
    assert stage.avatar.state == "recovering"


async def test_wait_is_that_of_speech_not_of_the_outage():
    """The first sentence after a silence waits as long as any."""
    stage = await without_session()
    await stage.clock.advance(4.0)
    say(stage, 300)
    await stage.clock.advance(FALLBACK_AFTER_S - 0.1)
    assert stage.voice.said == b""


async def test_flushed_speech_does_not_wait_any_more():
    """Later speech waits anew."""
    stage = await without_session()
    say(stage, 300)
    await stage.clock.advance(1.0)
    stage.flush()
    await settle()
    audio = say(stage, 300, SECOND)
    await stage.clock.advance(FALLBACK_AFTER_S - 0.1)
    assert stage.voice.said == b""
    await stage.clock.advance(0.2)
    assert stage.voice.said == audio


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


async def test_once_it_speaks_the_voice_speaks_at_once():
    """The next utterance of the outage waits no more."""
    stage = await without_session()
    first = say(stage, 100)
    await stage.clock.advance(2.0)
    second = say(stage, 100, SECOND)
    await settle()
    assert stage.voice.said == first + second


async def test_begun_utterance_stays_with_the_voice():
    """Though a session is ready again; the next one is the avatar's."""
    stage = set_up(
        has_voice=True, fallback_after_s=FALLBACK_AFTER_S, end_timeout_s=60
    )
    stage.service.openings += [REFUSED] * 4
    begin, rest = pcm(100), pcm(100)
    stage.speak(begin, FIRST)
    await stage.start()
    await stage.clock.advance(20.0)
    assert stage.outbox.states == ["connecting", *LOST_AND_BACK]
    assert stage.voice.said == begin
    stage.speak(rest, FIRST)
    stage.speech_ends(FIRST)
    answer = say(stage, 100, SECOND)
    await settle()
    assert stage.voice.said == begin + rest
    assert stage.session.received == b"", "two outputs at a time"
    await stage.clock.advance(2.0)
    assert stage.session.received == answer
    assert stage.voice.said == begin + rest
    assert stage.outbox.states == ["connecting", *LOST_AND_BACK]


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


async def test_fallback_lasts_until_a_session_is_ready():
    """Attempts that fail meanwhile do not change the state."""
    stage = await without_session()
    say(stage, 100)
    await stage.clock.advance(2.0)
    stage.service.openings += [REFUSED] * 3
    stage.session.fail(REFUSED)
    await stage.until_attempt(6)
    assert stage.outbox.states == ["connecting", "ready", *LOST_AND_BACK]


async def test_utterance_of_the_voice_is_measured_as_such():
    """Its metrics count the voice's audio."""
    stage = await without_session()
    say(stage, 300)
    await stage.clock.advance(5.0)
    [utterance] = stage.outbox.utterances
    assert utterance["metrics"]["voice_ms"] == 300
    assert utterance["metrics"]["sent_ms"] == 0


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


async def test_voice_goes_on_where_the_listener_was():
    """Rewound by half a second; repeated audio is counted apart."""
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


async def test_failed_avatar_has_the_voice_speak_at_once():
    """Also speech that waited before; the state stays failed."""
    stage = set_up(has_voice=True, fallback_after_s=FALLBACK_AFTER_S)
    stage.service.openings += [BAD_KEY]
    first = say(stage, 100)
    await stage.start()
    assert stage.voice.said == first
    second = say(stage, 100, SECOND)
    await settle()
    assert stage.voice.said == first + second
    assert stage.outbox.states == ["connecting", "failed"]


async def test_failed_avatar_has_a_voice_where_waiting_has_none():
    """With `fallback_after_s` 0 the voice is for the failed avatar only."""
    stage = set_up(has_voice=True, fallback_after_s=0.0)
    stage.service.openings += [BAD_KEY]
    await stage.start()
    audio = say(stage, 100)
    await settle()
    assert stage.voice.said == audio


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


async def test_flush_silences_the_voice():
    """The unsaid rest is dropped."""
    stage = set_up(has_voice=True)
    stage.avatar.fail(BAD_KEY)
    stage.speak(pcm(15), FIRST)  # 5 ms wait for the rest of a frame
    await settle()
    stage.flush()
    await settle()
    answer = say(stage, 20, SECOND)
    await settle()
    assert stage.voice.said[-len(answer) :] == answer
    assert stage.speech.totals.flushed == 5 * 24


async def test_stop_while_the_voice_speaks():
    """The unsaid rest is refused, and the sum is whole."""
    stage = await without_session()
    stage.speak(pcm(15), FIRST)
    await stage.clock.advance(2.0)
    assert stage.voice.said
    await stage.stopped()


# A voice that is not connected, or fails


async def test_missing_voice_is_noted_once():
    """One line at level info, no error; speech waits for the avatar."""
    stage = await without_session(has_voice=False)
    audio = say(stage, 300)
    await stage.clock.advance(5.0)
    say(stage, 300, SECOND)
    await stage.clock.advance(2.0)
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert [level for level, _ in lines] == ["info"]
    assert "fallback" not in stage.outbox.states
    assert stage.outbox.error_codes == [reports.NON_FATAL]
    stage.session.release()
    await settle()
    assert stage.avatar.state == "ready"
    assert stage.session.received.startswith(audio)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
@pytest.mark.parametrize("at_frame", [0, 3, 12])
async def test_voice_that_raises_is_given_up(at_frame, error):
    """At once or later: one warning, and the avatar lives on."""
    stage = await without_session()
    stage.voice.errors[at_frame] = error("the runtime is closing")
    audio = say(stage, 300)
    await stage.clock.advance(3.0)
    assert len(stage.voice.frames) == at_frame
    [(level, _)] = [line for line in stage.outbox.lines if "closing" in line[1]]
    assert level == "warn"
    stage.session.release()
    await stage.clock.advance(1.0)
    assert stage.avatar.state == "ready"
    assert stage.voice.said + stage.session.received == audio


async def test_failed_avatar_without_a_voice_discards_speech():
    """Speech that waits or comes is refused, and reported once."""
    stage = set_up(has_voice=False)
    stage.avatar.fail(BAD_KEY)
    for _ in range(3):
        say(stage, 100)
        await settle()
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert len(lines) == 1
    assert stage.speech.totals.refused == stage.speech.totals.received
    assert stage.speech.totals.waiting == 0


async def test_voice_that_turned_out_missing_before_the_failure():
    """Speech is refused from the failure on, without another line."""
    stage = await without_session(has_voice=False)
    say(stage, 100)
    await stage.clock.advance(2.0)
    stage.avatar.fail(BAD_KEY)
    say(stage, 100)
    lines = [line for line in stage.outbox.lines if "pcm_frame" in line[1]]
    assert len(lines) == 1
    assert stage.speech.totals.refused == stage.speech.totals.received
    await stage.stopped("failed")


# Alone


class SlowVoice(FakeVoice):
    """One whose frames wait to be released."""

    def __init__(self) -> None:
        super().__init__(is_connected=True)
        self.may_say = asyncio.Event()

    async def say(self, pcm, sample_rate, turn) -> bool:
        await self.may_say.wait()
        return await super().say(pcm, sample_rate, turn)


def make(voice: FakeVoice) -> tuple[Speech, Fallback]:
    speech = Speech(sample_rate=RATE_HZ)
    return speech, Fallback(speech, voice, FakeClock(NOW), FALLBACK_AFTER_S)


async def test_one_frame_at_a_time_goes_to_the_voice():
    """However often `speak` is called while one is on its way."""
    voice = SlowVoice()
    speech, fallback = make(voice)
    audio = pcm(40)
    speech.frame(audio, NOW)
    fallback.switch_on()
    assert fallback.has_work()
    speaking = asyncio.ensure_future(fallback.speak())
    await settle()
    assert not fallback.has_work()
    await fallback.speak()
    assert not fallback.is_standing_in
    voice.may_say.set()
    await speaking
    # The driver reports it before the rest is said.
    assert fallback.is_standing_in
    assert voice.said == audio[: VOICE_FRAME_MS * BYTES_PER_MS]
    await fallback.speak()
    assert voice.said == audio


async def test_backlog_of_the_voice_does_not_block_the_event_loop():
    """Others have their turn after each few frames."""
    voice = FakeVoice(is_connected=True)
    speech, fallback = make(voice)
    speech.frame(pcm(VOICE_FRAME_MS), NOW)
    fallback.switch_on()
    await fallback.speak()
    voice.frames.clear()
    speech.frame(pcm(VOICE_FRAME_MS * FRAMES_A_TURN * 4), NOW)
    speaking = asyncio.ensure_future(fallback.speak())
    counts = []
    while not speaking.done():
        await asyncio.sleep(0)
        counts.append(len(voice.frames))
    assert set(counts) == {n * FRAMES_A_TURN for n in (1, 2, 3, 4)}


@pytest.mark.parametrize("question", ["has_work", "due_at", "is_missing"])
async def test_questions_change_nothing(question: str):
    """They may be asked at any time, any number of times."""
    voice = FakeVoice(is_connected=True)
    speech, fallback = make(voice)
    speech.frame(pcm(20), NOW)
    fallback.watch(False, NOW)
    before = {**vars(fallback)}
    for _ in range(3):
        answer = getattr(fallback, question)
        if callable(answer):
            answer()
    assert vars(fallback) == before
    assert voice.frames == []


async def test_it_is_due_when_speech_has_waited():
    """Never while nothing waits, while the voice speaks, and with a
    session."""
    speech, fallback = make(FakeVoice(is_connected=True))
    fallback.watch(False, NOW)
    assert fallback.due_at == NEVER
    speech.frame(pcm(20), NOW)
    fallback.watch(False, NOW)
    assert fallback.due_at == NOW + FALLBACK_AFTER_S
    assert not fallback.has_work()
    fallback.watch(True, NOW)
    assert fallback.due_at == NEVER
    fallback.watch(False, NOW)
    fallback.watch(False, NOW + FALLBACK_AFTER_S)
    assert fallback.due_at == NEVER
    assert fallback.has_work()


async def test_nothing_is_due_once_there_is_no_voice():
    """Though it was missing only when a second outage had begun."""
    voice = FakeVoice(is_connected=True)
    speech, fallback = make(voice)
    speech.frame(pcm(15), NOW)
    fallback.switch_on()
    await fallback.speak()
    assert fallback.is_standing_in
    fallback.watch(True, NOW)
    assert not fallback.is_standing_in
    fallback.watch(False, NOW)
    assert fallback.due_at == NOW + FALLBACK_AFTER_S
    voice.is_connected = False
    speech.frame(pcm(15), NOW)
    await fallback.speak()
    assert fallback.is_missing
    fallback.watch(False, NOW)
    assert fallback.due_at == NEVER
    assert not fallback.has_work()


async def test_voice_that_raises_is_missing():
    """The error is kept for the report."""
    voice = FakeVoice(is_connected=True)
    voice.errors[0] = RuntimeError("odd")
    speech, fallback = make(voice)
    speech.frame(pcm(15), NOW)
    fallback.switch_on()
    await fallback.speak()
    assert fallback.is_missing
    assert "odd" in fallback.problem
