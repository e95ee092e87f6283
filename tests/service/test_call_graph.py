"""Calls between the package's files have no circle, with the real SDK."""

import asyncio
import functools

import pytest
from scene import Scene, scene
from tracing import Trace, circle_in, traced

from devkit.harness import virtual_time
from devkit.motion_server import Reset, ServerError

pytestmark = pytest.mark.virtual

PARTS = {
    "avatar/arrival",
    "avatar/fallback",
    "avatar/reporter",
    "avatar/state",
    "avatar/supervisor",
    "avatar/writer",
    "speech/speech",
    "session/session",
}
"""Of the driver."""

INJECTED = {
    "wake: Avatar._drive",  # the SDK's callbacks
    "callback: Avatar._go_off",  # the timer
    "add_secrets: Outbox.add_secrets",  # TEN's log and messages
    "open_session: opener.<locals>.open_session",
}


async def conversation(on: Scene) -> None:
    """Connect, speak, flush, lose, recover, renew, sleep, use the voice."""
    await on.rig.state("ready")
    await on.talk.utter(1, 1000)
    await on.silence()
    await on.talk.utter(2, 8000)
    await asyncio.sleep(1)
    await on.talk.flush()
    await on.talk.utter(3, 6000)
    await asyncio.sleep(2)
    on.server.now(ServerError(13))
    on.server.now(Reset())
    await on.until(lambda: on.rig.states.count("ready") == 2)
    await on.silence()
    while on.rig.env.renewals == 0:  # spoken in, so that it does not sleep
        await asyncio.sleep(10)
        await on.talk.utter(4, 500)
    await on.silence()
    await on.rig.state("asleep", 300)
    await on.talk.utter(5, 1000)
    await on.rig.state("ready")
    await on.silence()
    on.server.pause_listening()
    on.server.now(Reset())
    await asyncio.sleep(1)
    await on.talk.utter(6, 2000)
    await on.rig.state("fallback", 10)
    await asyncio.sleep(2)
    on.server.resume_listening()
    await on.until(lambda: on.rig.states[-1] == "ready")
    await on.rig.send_cmd("dance")
    await on.rig.send_data("dance")
    await on.talk.utter(7, 3000)
    await asyncio.sleep(1)


async def _service_run() -> Trace:
    with traced() as trace:
        async with scene(
            voice_wired=True, session_expire_minutes=2, idle_disconnect_s=30
        ) as on:
            await asyncio.wait_for(conversation(on), 900)
    assert on.rig.states[-1] == "closed"
    assert {"recovering", "asleep", "fallback"} <= set(on.rig.states)
    return trace


@functools.cache
def service_run() -> Trace:
    """Return the calls of a run from start to stop."""
    return virtual_time.run(_service_run())


def test_calls_have_no_circle() -> None:
    """Parts are called by the driver, and call none that calls them."""
    graph = service_run().between_modules()
    assert graph["avatar/avatar"] >= PARTS
    assert circle_in(graph) == set(), graph


def test_driver_is_called_by_ten_and_by_the_loop_only() -> None:
    """Nothing that it calls calls it back."""
    callers = {
        call.caller
        for call in service_run().calls
        if call.module == "avatar/avatar"
    }
    assert callers == {None, "extension", "avatar/avatar"}


def test_injected_callables_are_few() -> None:
    """Each is for an event from outside, or makes the SDK's sessions."""
    assert service_run().injected == INJECTED
    assert len(INJECTED) <= 4


def test_circles_are_found():
    """Also a long one, and not the modules around it."""
    calls = {"a": {"b"}, "b": {"c"}, "c": {"d", "x"}, "d": {"b"}}
    assert circle_in(calls) == {"b", "c", "d"}
    assert circle_in({"a": {"b", "c"}, "b": {"c"}}) == set()
