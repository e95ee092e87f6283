"""One driver calls its parts: calls between files have no circle."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from avatar_stage import (
    BAD_KEY,
    FIRST,
    IDLE,
    REFUSED,
    RENEWED,
    SECOND,
    SERVICE_ERROR,
    Stage,
    say,
    set_up,
)
from fakes import LOST, settle
from spatius_avatar_python.speech import Turn

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("avatar", "messages", "session", "speech")

Calls = dict[str, set[str]]


def module_of(frame: FrameType) -> str:
    """Return the module of a frame of the package, "" for any other."""
    path = Path(frame.f_code.co_filename)
    if path.parent == ROOT or (
        path.parent.parent == ROOT and path.parent.name in ROOMS
    ):
        return str(path.relative_to(ROOT).with_suffix(""))
    return ""


@contextmanager
def traced() -> Iterator[Calls]:
    """Collect which module calls which others, until the end of the block."""
    calls: Calls = {}
    modules: dict[str, str] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        caller = frame.f_back
        if event != "call" or caller is None:
            return
        ends = []
        for each in (caller, frame):
            path = each.f_code.co_filename
            if path not in modules:
                modules[path] = module_of(each)
            ends.append(modules[path])
        if all(ends) and ends[0] != ends[1]:
            calls.setdefault(ends[0], set()).add(ends[1])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def circle_in(calls: Calls) -> set[str]:
    """Return the modules that call each other, directly or not."""
    left = {name: set(others) for name, others in calls.items()}
    while True:
        free = {name for name in left if not left[name] & set(left)}
        if not free:
            break
        left = {name: left[name] for name in left if name not in free}
    # Those that only call into a circle are no part of it.
    while True:
        called = set().union(*left.values())
        outside = set(left) - called
        if not outside:
            return set(left)
        left = {name: left[name] for name in left if name not in outside}


async def conversation() -> Stage:
    """Play speech, a flush, a loss, the voice, a renewal and a failure."""
    stage = set_up(
        lifetime=RENEWED,
        has_voice=True,
        fallback_after_s=1.5,
        resume_within_s=15.0,
        idle_disconnect_s=1e6,
    )
    await stage.start()
    stage.speech_starts(FIRST, "tts")
    say(stage, 3000)
    await stage.clock.advance(1.0)
    stage.flush()
    await settle()
    say(stage, 3000, SECOND)
    await stage.clock.advance(1.0)
    stage.session.on_failure(SERVICE_ERROR)
    stage.session.play("request-1.1", "playing")
    stage.service.openings += [REFUSED] * 10
    await stage.lose(LOST)
    await stage.clock.advance(70.0)
    say(stage, 300, Turn("session", 3))
    await stage.clock.advance(30.0)
    stage.service.openings.clear()
    for number in (4, 5):
        await stage.clock.advance(50.0)
        say(stage, 300, Turn("session", number))
    await stage.clock.advance(90.0)
    await stage.lose(IDLE)
    reasons = [p["reason"] for p in stage.outbox.payloads("avatar_state")]
    assert "renewal" in reasons
    assert stage.avatar.state == "asleep"
    stage.connect()
    await stage.clock.advance(2.0)
    await stage.lose(BAD_KEY)
    say(stage, 300, Turn("session", 6))
    await stage.finish()
    return stage


async def test_calls_have_no_circle():
    """A part returns what happened; it does not call its driver."""
    with traced() as calls:
        stage = await conversation()
    assert {"ready", "recovering", "fallback", "failed"} <= set(
        stage.outbox.states
    )
    assert len(calls["avatar/avatar"]) >= 6, "too little was traced"
    assert circle_in(calls) == set(), calls


def test_circles_are_found():
    """Also a long one, and not the modules around it."""
    calls = {"a": {"b"}, "b": {"c"}, "c": {"d", "x"}, "d": {"b"}}
    assert circle_in(calls) == {"b", "c", "d"}
    assert circle_in({"a": {"b", "c"}, "b": {"c"}}) == set()
