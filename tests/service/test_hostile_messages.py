"""No message of another node ends the worker."""

import pytest
from agent import play, properties, speech

from devkit.harness.messages import hostile_data, hostile_frames


@pytest.mark.wire
@pytest.mark.parametrize(
    "name", ["pcm_frame", "tts_audio_start", "tts_audio_end", "finalize"]
)
def test_hostile_message_does_not_end_the_worker(motion_server, name):
    """Afterwards a flush is answered, and valid speech is sent unchanged."""
    pcm = speech(100, seed=7)

    async def script(agent):
        await agent.state("ready")
        if name == "pcm_frame":
            messages = hostile_frames(speech(10))
        else:
            messages = hostile_data(name)
        for message in messages.values():
            await agent.send(message)
        await agent.flush()
        await agent.say(pcm, turn_id=1000)
        await agent.end(turn_id=1000)
        await motion_server.until(
            lambda record: any(
                request.closed and request.audio == pcm
                for request in record.requests
            )
        )

    play(script, properties(motion_server))
