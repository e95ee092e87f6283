"""TEN's own checks of its avatar, speech recognition and TTS extensions.

A node that replaces TEN's bundled one is judged by them.
"""

import time
from typing import Any

import pytest
from agent import (
    API_KEY,
    CERTIFICATE,
    Agent,
    play,
    properties,
    speech,
)
from ten_runtime import StatusCode

from devkit.motion_server import Close, MotionServer, Refuse

pytestmark = pytest.mark.wire

RECONNECT_WITHIN_S = 8.0
"""TEN's speech recognition guarder waits this long for an attempt."""

VENDOR_METADATA = {
    "name",
    "region",
    "mode",
    "avatar_id",
    "avatar_session_id",
    "app_id",
}
"""The keys that TEN's avatars have there."""

WRONG: dict[str, dict[str, Any]] = {
    "no key": {"spatius_api_key": ""},
    "no avatar": {"spatius_avatar_id": None},
    "a wrong type": {"agora_uid": "one"},
    "out of range": {"sample_rate": 11025},
    "no channel": {"agora_channel": None},
    "no region": {"region": "us west"},
}


def assert_vendor_metadata(metadata: Any) -> None:
    """Strings that name the avatar: nothing empty, no URL and no key."""
    vendor = metadata["vendor_metadata"]
    assert vendor["name"] == "spatius"
    assert set(vendor) <= VENDOR_METADATA
    for value in vendor.values():
        assert isinstance(value, str) and value
        assert "://" not in value
        assert API_KEY[:4] not in value and CERTIFICATE[:4] not in value


def is_attempt(status: dict[str, Any]) -> bool:
    return (status["last"], status["current"]) == ("disconnected", "connecting")


@pytest.mark.parametrize("name", ["dance", "Flush", "update_configs"])
def test_unknown_command_is_answered_ok(
    motion_server: MotionServer, name: str
) -> None:
    """Its detail names the command; no error is reported."""
    details: list[str] = []

    async def script(agent: Agent) -> None:
        result = await agent.ask(name)
        assert result.get_status_code() == StatusCode.OK
        detail, error = result.get_property_string("detail")
        assert error is None
        details.append(detail)
        await agent.flush()

    agent = play(script, properties(motion_server))
    assert repr(name) in details[0]
    assert agent.errors == []


@pytest.mark.parametrize("case", WRONG)
def test_configuration_error(motion_server: MotionServer, case: str) -> None:
    """It comes from on_start, with the code and the ids of TEN's avatars."""

    async def script(agent: Agent) -> None:
        await agent.report("error")
        await agent.state("failed")

    agent = play(script, properties(motion_server, **WRONG[case]))
    (error,) = agent.sent("error")
    assert error["code"] == -1012
    assert error["id"] == "0"
    assert error["module"] == "avatar"
    assert error["message"]
    assert error["vendor_info"]["vendor"] == "spatius"
    assert error["vendor_info"]["code"] == "ValueError"
    assert error["metadata"]["phase"] == "configuration"
    assert_vendor_metadata(error["metadata"])


def test_failure_after_the_start_has_another_code(
    motion_server: MotionServer,
) -> None:
    """-1000: the configuration could be used, and the service refuses it."""
    motion_server.faults.console(Refuse(401), times=None)

    async def script(agent: Agent) -> None:
        await agent.state("failed")

    agent = play(script, properties(motion_server))
    (error,) = agent.sent("error")
    assert error["code"] == -1000
    assert error["vendor_info"]["code"] != "ValueError"
    assert_vendor_metadata(error["metadata"])


def test_error_has_the_id_of_its_turn(motion_server: MotionServer) -> None:
    """As text; our own ids stand beside the vendor's in the metadata."""

    async def script(agent: Agent) -> None:
        await agent.say(speech(3000), 7)
        await motion_server.until(lambda record: record.requests)
        motion_server.now(Close(1011))
        await agent.report("error")
        await agent.been("ready", 2)

    agent = play(script, properties(motion_server, region="us-west"))
    (error,) = agent.sent("error")
    assert (error["id"], error["code"]) == ("7", 1000)
    assert error["metadata"]["turn_id"] == 7
    assert error["metadata"]["phase"] == "websocket_runtime"
    connection_id = error["metadata"]["connection_id"]
    assert connection_id
    assert_vendor_metadata(error["metadata"])
    vendor = error["metadata"]["vendor_metadata"]
    assert vendor == {
        "name": "spatius",
        "region": "us-west",
        "avatar_id": "good-avatar",
        "avatar_session_id": connection_id,
        "app_id": "good-app",
    }


def test_vendor_metadata_is_in_every_report(
    motion_server: MotionServer,
) -> None:
    """In metrics and in connection_status_changed, too."""

    async def script(agent: Agent) -> None:
        await agent.say(speech(300), 1)
        await agent.end(1)
        await agent.report("metrics", lambda m: "audio_ms" in m["metrics"])

    agent = play(script, properties(motion_server))
    for name in ("metrics", "connection_status_changed"):
        assert agent.sent(name)
        for payload in agent.sent(name):
            assert_vendor_metadata(payload["metadata"])


@pytest.mark.takes_s(8)
def test_unreachable_service_is_tried_again(
    motion_server: MotionServer,
) -> None:
    """At least two attempts are reported, and a disconnected before the
    second, within 8 s; for the avatar's state it is one outage."""
    motion_server.pause_listening()

    async def script(agent: Agent) -> None:
        began_s = time.monotonic()
        await agent.report(
            "connection_status_changed",
            lambda status: is_attempt(status) and len(attempts(agent)) >= 2,
            RECONNECT_WITHIN_S,
        )
        assert time.monotonic() - began_s < RECONNECT_WITHIN_S

    agent = play(script, properties(motion_server))
    statuses = agent.sent("connection_status_changed")
    assert [one["last"] for one in statuses[1:]] == [
        one["current"] for one in statuses[:-1]
    ]
    assert agent.states[:2] == ["connecting", "recovering"]
    assert agent.states.count("recovering") == 1
    assert agent.errors == [1000]


def attempts(agent: Agent) -> list[Any]:
    return list(filter(is_attempt, agent.sent("connection_status_changed")))
