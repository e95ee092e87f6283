"""Sessions and tokens that run out, in virtual time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent import APP_ID, CERTIFICATE, PATIENT, properties, speech
from scene import virtual_server, virtually
from spatius_avatar_python import token

from devkit.harness.messages import audio_frame, metadata
from devkit.harness.rig import Rig

pytestmark = pytest.mark.wire

MINUTE_S = 60.0
AWAKE = {**PATIENT, "idle_disconnect_s": 0}


@asynccontextmanager
async def stage(**params: Any) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Yield clock, server and a rig that is ready."""
    async with virtual_server() as (server, clock):
        rig = Rig(properties(server, **{**AWAKE, **params}), clock)
        try:
            await rig.start()
            await rig.state("ready")
            yield clock, server, rig
        finally:
            await rig.stop()


async def say(rig: Rig, pcm: bytes, turn_id: int) -> None:
    for at in range(0, len(pcm), 960):
        await rig.send_frame(audio_frame(pcm[at : at + 960], turn_id))
    await rig.send_data(
        "tts_audio_end", {"reason": 1, "metadata": metadata(turn_id)}
    )


@virtually
async def test_a_session_is_renewed_before_it_ends() -> None:
    """In silence: the old one is closed first, tokens are new, no error."""
    async with stage(session_expire_minutes=30) as (clock, server, rig):
        await asyncio.sleep(20 * MINUTE_S)
        assert len(server.record.connections) == 1
        await asyncio.sleep(5 * MINUTE_S)
        await rig.state("ready")
        old, new = server.record.connections
        assert old.closed_s < new.opened_s
        assert (old.close_code, old.closed_by) == (1000, "client")
        assert old.session_token != new.session_token
        opened_s = clock.epoch() - (clock.monotonic() - new.opened_s)
        ends_s = new.config.agora_token_end_s - opened_s
        assert 29.5 * MINUTE_S < ends_s <= 30 * MINUTE_S
        await say(rig, speech(200), 1)
        await server.until(lambda r: r.requests[-1].closed)
        assert server.record.received(2) == speech(200)
        assert rig.errors == []
        assert rig.states == ["connecting", "ready", "connecting", "ready"]
        states = rig.env.reports.sent("avatar_state")
        reasons = [state["reason"] for state in states[1:]]
        assert reasons == ["connected", "renewal", "renewed"]
        assert server.record.violations == []


@virtually
async def test_a_given_token_that_nears_its_expiry_is_reported_once() -> None:
    """With advice; the session is renewed with the same token."""
    given = token.sign(
        APP_ID, CERTIFICATE, "room", 1001, int(time.time() + 3600)
    )
    async with stage(
        agora_token=given, agora_appcert=None, session_expire_minutes=30
    ) as (_, server, rig):
        await asyncio.sleep(50 * MINUTE_S)
        await rig.state("ready")
        assert len(server.record.connections) == 3
        assert rig.errors == []
        await asyncio.sleep(8 * MINUTE_S)
        (error,) = rig.errors
        assert error["code"] == 1000
        assert "params.agora_token" in error["message"]
        assert "params.agora_appcert" in error["message"]
        used = {
            connection.config.agora_token
            for connection in server.record.connections
            if connection.config is not None  # one may be on its way
        }
        assert used == {given}
