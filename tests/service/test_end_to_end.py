"""The real extension with the real SDK against the local Motion Server."""

import importlib.util
import json
import time
from pathlib import Path

import pytest
from agent import (
    APP_ID,
    CERTIFICATE,
    Agent,
    play,
    play_here,
    properties,
    speech,
)
from fakes import FakeClock
from spatius_avatar_python import token
from spatius_avatar_python.session import sdk
from ten_runtime import Data

from devkit.harness.messages import audio_frame
from devkit.motion_server import Close, MotionServer, ServerError

pytestmark = pytest.mark.wire


def _is_over(count: int):
    """Return whether `count` requests have been ended or interrupted."""
    return lambda record: (
        len(record.requests) >= count
        and all(request.closed for request in record.requests[:count])
    )


def test_utterances_are_received_byte_for_byte(
    motion_server: MotionServer,
) -> None:
    """Two utterances become two requests with just their audio."""
    first, second = speech(1000, 1), speech(350, 2)

    async def script(agent: Agent) -> None:
        await agent.say(first, 1)
        await agent.end(1)
        await agent.say(second, 2, frame_ms=37)
        await agent.end(2)
        await motion_server.until(_is_over(2))

    play(script, properties(motion_server))
    received = [request.audio for request in motion_server.record.requests]
    assert received == [first, second]
    assert motion_server.record.violations == []


@pytest.mark.parametrize("frame_ms", [10, 20, 100, 250, 10_000])
def test_frames_of_any_length_are_received(
    motion_server: MotionServer, frame_ms: float
) -> None:
    """The length of the TTS's frames does not change the audio received."""
    pcm = speech(12_340)

    async def script(agent: Agent) -> None:
        await agent.say(pcm, frame_ms=frame_ms)
        await agent.end()
        await motion_server.until(_is_over(1))

    play(script, properties(motion_server))
    (request,) = motion_server.record.requests
    assert request.audio == pcm
    assert all(len(one.audio) <= 4800 for one in request.messages)


def test_a_frame_on_an_idle_connection_leaves_at_once(
    motion_server: MotionServer,
) -> None:
    """It waits for no other frame to be joined with."""
    frames = [speech(10, seed) for seed in range(20)]

    async def script(agent: Agent) -> None:
        await agent.state("ready")
        for count, frame in enumerate(frames, 1):
            await agent.say(frame)
            await motion_server.until(
                lambda record, count=count: (
                    record.requests
                    and record.requests[0].message_count == count
                )
            )
        await agent.end()
        await motion_server.until(_is_over(1))

    play(script, properties(motion_server))
    (request,) = motion_server.record.requests
    assert request.audio == b"".join(frames)


class BargeIn:
    """An agent that is interrupted; `turn_ids` are those of the answers."""

    def __init__(self, server: MotionServer, *turn_ids: int | None) -> None:
        self.server = server
        self.cut, self.answer = speech(800, 1), speech(500, 3)
        self.turn_ids = turn_ids

    async def script(self, agent: Agent) -> None:
        one, other = self.turn_ids
        await agent.state("ready")
        await agent.say(self.cut, one)
        await self.server.until(lambda r: r.requests[0].audio == self.cut)
        for _ in range(20):
            await agent.flush()
        await agent.say(speech(300, 2), one)
        await agent.end(one, reason=2)
        await agent.say(self.answer, other)
        await agent.end(other)
        await self.server.until(_is_over(2))

    def check(self) -> None:
        record = self.server.record
        assert [r.audio for r in record.requests] == [self.cut, self.answer]
        assert len(record.interrupts) == 1
        assert record.requests[0].interrupted_at_s is not None
        assert record.requests[0].ended_at_s is None
        assert record.violations == []


def test_a_barge_in_silences_the_answer(motion_server: MotionServer) -> None:
    """The cut answer is interrupted once, its late frames are dropped, and
    the next one is received in full."""
    barge_in = BargeIn(motion_server, 1, 2)
    play(barge_in.script, properties(motion_server))
    barge_in.check()


@pytest.mark.parametrize("no_turn", [None, -1])
async def test_a_barge_in_without_turns_silences_the_answer(
    motion_server: MotionServer, no_turn: int | None
) -> None:
    """The same, since the late frames come within a second."""
    barge_in = BargeIn(motion_server, no_turn, no_turn)
    clock = FakeClock(epoch=time.time())
    await play_here(barge_in.script, properties(motion_server), clock)
    barge_in.check()


def test_a_flush_while_an_ended_answer_still_plays_interrupts_it(
    motion_server: MotionServer,
) -> None:
    """Half a minute that was sent at once can be cut after its end."""

    async def script(agent: Agent) -> None:
        await agent.say(speech(30_000), 1)
        await agent.end(1)
        await motion_server.until(_is_over(1))
        await agent.flush()
        await motion_server.until(lambda record: record.interrupts)
        await agent.report(
            "metrics", lambda m: m["metrics"].get("interrupted") is True
        )

    play(script, properties(motion_server))
    (request,) = motion_server.record.requests
    assert request.interrupted_at_s is not None


@pytest.mark.parametrize("payload", [None, '{"reason": 3, "metadata": {}}'])
@pytest.mark.parametrize("name", ["tts_audio_end", "finalize"])
def test_an_end_ends_with_any_payload(
    motion_server: MotionServer, name: str, payload: str | None
) -> None:
    """Both names, all reasons but 2, and no payload at all."""

    async def script(agent: Agent) -> None:
        await agent.send_json(name, payload)  # nothing is open: it does nothing
        await agent.say(speech(100))
        await agent.send_json(name, payload)
        await agent.send_json(name, payload)
        await motion_server.until(_is_over(1))

    play(script, properties(motion_server))
    (request,) = motion_server.record.requests
    assert request.ended_at_s is not None
    assert motion_server.record.violations == []


def test_the_service_gets_the_configuration(
    motion_server: MotionServer,
) -> None:
    """Channel, uid, publisher id, rate, and a token for the session's time."""
    wanted = properties(
        motion_server,
        agora_uid="4294967295",
        session_expire_minutes="45",
        sample_rate="16000",
    )
    wanted["channel"] = "from the server"

    async def script(agent: Agent) -> None:
        await agent.state("ready")

    play(script, wanted)
    (connection,) = motion_server.record.connections
    config = connection.config
    assert config is not None
    assert (config.channel, config.uid) == ("from the server", 4294967295)
    assert config.publisher_id == "4294967295"
    assert (config.sample_rate, config.audio_format) == (16000, "pcm_s16le")
    asked = motion_server.record.token_requests[0]
    assert config.agora_token_end_s is not None and asked.expire_at is not None
    assert 44.5 * 60 < config.agora_token_end_s - time.time() <= 45 * 60
    assert 44.5 * 60 < asked.expire_at - time.time() <= 45 * 60
    assert connection.avatar_id == "good-avatar"


def test_a_given_token_is_used_verbatim(motion_server: MotionServer) -> None:
    """The extension signs nothing where it has a token."""
    given = token.sign(
        APP_ID, CERTIFICATE, "room", 1001, int(time.time()) + 7200
    )

    async def script(agent: Agent) -> None:
        await agent.state("ready")

    play(
        script,
        properties(motion_server, agora_token=given, agora_appcert=None),
    )
    config = motion_server.record.connections[0].config
    assert config is not None and config.agora_token == given


def test_frames_of_another_format_are_refused_with_one_error(
    motion_server: MotionServer,
) -> None:
    """One error per episode names the format received and the one expected."""
    good = speech(100)

    async def script(agent: Agent) -> None:
        for _ in range(10):
            await agent.send(audio_frame(bytes(320), sample_rate=16000))
        await agent.say(good)
        for _ in range(10):
            await agent.send(audio_frame(bytes(960), channels=2))
        for _ in range(10):
            await agent.send(audio_frame(bytes(960), sample_width=4))
        await agent.end()
        await motion_server.until(_is_over(1))
        await agent.report("error", lambda e: "32 bit" in e["message"])

    agent = play(script, properties(motion_server))
    messages = [error["message"] for error in agent.sent("error")]
    assert agent.errors == [1000, 1000, 1000]
    assert "16000 Hz, mono, 16 bit are refused" in messages[0]
    assert "24000 Hz, 2 channels, 16 bit are refused" in messages[1]
    assert "24000 Hz, mono, 32 bit are refused" in messages[2]
    assert ["sample_rate" in message for message in messages] == [1, 0, 0]
    assert "Have the TTS send signed 16-bit mono PCM." in messages[2]
    assert all("expected 24000 Hz" in message for message in messages)
    assert motion_server.record.received() == good


def test_metrics_tell_of_each_connection_and_utterance(
    motion_server: MotionServer,
) -> None:
    """With the turn they belong to, and sums that agree."""

    async def script(agent: Agent) -> None:
        await agent.say(speech(400), 7)
        await agent.end(7)
        await agent.report("metrics", lambda m: "audio_ms" in m["metrics"])
        # The messages of on_stop may come too late: the tester stops as well.
        motion_server.now(Close(1000))
        await agent.report("metrics", lambda m: "connected_ms" in m["metrics"])

    agent = play(script, properties(motion_server))
    connected, utterance, ended = agent.sent("metrics")[:3]
    assert connected["metrics"]["connect_delay_ms"] >= 0
    values = utterance["metrics"]
    assert (values["audio_ms"], values["sent_ms"]) == (400, 400)
    assert (values["dropped_ms"], values["interrupted"]) == (0, False)
    assert values["first_audio_delay_ms"] >= 0
    assert utterance["metadata"]["turn_id"] == 7
    assert utterance["metadata"]["session_id"] == "session"
    (request,) = motion_server.record.requests
    assert utterance["id"] == request.req_id
    assert agent.states[:2] == ["connecting", "ready"]
    assert ended["metrics"]["connected_ms"] >= 400


def test_a_dump_that_cannot_be_written_is_one_error(
    motion_server: MotionServer, tmp_path: Path
) -> None:
    """Speech goes on without it."""
    (tmp_path / "file").write_text("in the way")
    wanted = properties(motion_server)
    wanted.update(dump=True, dump_path=str(tmp_path / "file" / "folder"))
    pcm = speech(200)

    async def script(agent: Agent) -> None:
        await agent.report("error")
        await agent.say(pcm)
        await agent.end()
        await motion_server.until(_is_over(1))

    agent = play(script, wanted)
    assert agent.errors == [1000]
    assert "dump" in agent.sent("error")[0]["message"]
    assert motion_server.record.received() == pcm


@pytest.mark.skipif(
    bool(sdk.problem(True)),
    reason=f"Ogg Opus cannot be encoded here: {sdk.problem(True)}",
)
def test_ogg_opus_is_one_stream_per_utterance(
    motion_server: MotionServer,
) -> None:
    """The SDK encodes; each request begins with a header of its own."""

    async def script(agent: Agent) -> None:
        for turn_id in (1, 2):
            await agent.say(speech(500, turn_id), turn_id)
            await agent.end(turn_id)
        await motion_server.until(_is_over(2))

    play(script, properties(motion_server, audio_format="ogg_opus"))
    for request in motion_server.record.requests:
        assert request.audio.startswith(b"OggS")
        assert b"OpusHead" in request.audio[:64]
        assert len(request.audio) < 24_000
    assert motion_server.record.violations == []


@pytest.mark.skipif(
    importlib.util.find_spec("agora_token_builder") is None,
    reason="agora-token-builder is not installed",
)
def test_stopping_leaves_the_channel_at_once(
    motion_server: MotionServer,
) -> None:
    """The session is closed with 1000 (how soon: test_stopping.py)."""

    async def script(agent: Agent) -> None:
        await agent.say(speech(100))
        await agent.state("ready")

    play(script, properties(motion_server))
    connection = motion_server.wait_for(
        lambda record: [c for c in record.connections if c.closed_s]
    )[0]
    assert (connection.close_code, connection.closed_by) == (1000, "client")


def test_a_page_for_an_error_is_cut_short(motion_server: MotionServer) -> None:
    """A megabyte of a service's words holds nobody up."""
    motion_server.faults.handshake(ServerError(14, "very sorry " * 100_000))

    async def script(agent: Agent) -> None:
        await agent.state("ready")

    agent = play(script, properties(motion_server))
    (error,) = agent.sent("error")
    assert len(error["message"]) < 2000


def test_metadata_that_cannot_be_read_loses_no_speech(
    motion_server: MotionServer,
) -> None:
    """Nested so deeply that reading it fails: taken as if there were none."""
    pcm = speech(100)
    deep = json.dumps("[" * 100_000)

    async def script(agent: Agent) -> None:
        message = audio_frame(pcm)
        message.set_property_from_json("metadata", deep)
        await agent.send(message)
        end = Data.create("tts_audio_end")
        end.set_property_from_json("metadata", deep)
        await agent.send(end)
        await motion_server.until(_is_over(1))

    agent = play(script, properties(motion_server))
    assert motion_server.record.received() == pcm
    assert agent.errors == []
