"""Whatever happens in whatever order, the avatar's alarm never spins.

A part whose `due_at` stays in the past would have the alarm go off at once,
again and again, and keep the loop of the whole worker busy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Optional

from avatar_stage import (
    FIRST,
    REFUSED,
    RENEWED,
    SECOND,
    SERVICE_ERROR,
    AvatarStage,
    pcm,
    set_up,
)
from fakes import LOST, FakeClock, FakeTimer, run, settle
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from spatius_avatar_python.avatar.avatar import Avatar

UID = 7

TURNS = st.sampled_from([None, FIRST, SECOND])
REQUEST_IDS = st.sampled_from(["", "one", "two"])
WAITS_S = st.sampled_from([0.0, 0.01, 0.25, 1.0, 5.0, 30.0, 130.0])
OUTCOMES = st.sampled_from(["hold", LOST, REFUSED, None])
STATES = st.sampled_from(["playing", "paused", "ended", "interrupted"])
PLAYED_MS = st.sampled_from([None, 0.0, 40.0, 1000.0])

OPTIONS = st.fixed_dictionaries(
    {
        "lifetime": st.just(RENEWED),
        "has_voice": st.booleans(),
        "max_buffered_s": st.sampled_from([0.5, 60.0]),
        "resume_within_s": st.sampled_from([0.0, 2.0, 15.0]),
        "uid": st.sampled_from([0, UID]),
        "fallback_after_s": st.sampled_from([0.0, 1.5]),
        "idle_disconnect_s": st.sampled_from([0.0, 20.0]),
        "auto_connect": st.booleans(),
        "sample_rate": st.sampled_from([None, 24000]),
    }
)

Happening = Callable[[AvatarStage], Optional[Awaitable[None]]]


def speak(stage: AvatarStage, ms: int, turn) -> None:
    stage.speak(pcm(ms), turn)


def start(stage: AvatarStage, turn, request_id: str) -> None:
    stage.speech_starts(turn, request_id)


def end(stage: AvatarStage, turn, cut: bool, request_id: str) -> None:
    stage.speech_ends(turn, cut=cut, request_id=request_id)


def plan(stage: AvatarStage, of_opening: bool, outcome) -> None:
    service = stage.service
    (service.openings if of_opening else service.calls).append(outcome)


def release(stage: AvatarStage) -> None:
    for session in stage.service.sessions:
        session.release()


def fail(stage: AvatarStage, failure) -> None:
    for session in stage.service.sessions:
        if session.is_live:
            session.on_failure(failure)


def play(stage: AvatarStage, state: str, played_ms) -> None:
    for session in stage.service.sessions:
        for req_id in list(session.requests)[-2:]:
            session.play(req_id, state, played_ms)


def leave_pings(stage: AvatarStage, unanswered: bool) -> None:
    stage.service.answers_pings = not unanswered


def report_user(stage: AvatarStage, uid: int, has_joined: bool) -> None:
    if has_joined:
        stage.avatar.user_joined(str(uid))
    else:
        stage.avatar.user_left(str(uid))


def wait(stage: AvatarStage, seconds: float) -> Awaitable[None]:
    return stage.clock.advance(seconds)


def stand_still(stage: AvatarStage, seconds: float) -> None:
    stage.clock.jump(seconds)


def happening(function: Callable, *values) -> st.SearchStrategy[Happening]:
    """Return a strategy that calls `function` with such values."""
    return st.tuples(*values).map(lambda drawn: _Call(function, drawn))


class _Call:
    def __init__(self, function: Callable, values: tuple) -> None:
        self._function, self._values = function, values

    def __call__(self, stage: AvatarStage) -> Optional[Awaitable[None]]:
        return self._function(stage, *self._values)

    def __repr__(self) -> str:
        return f"{self._function.__name__}{self._values}"


HAPPENINGS = st.lists(
    st.one_of(
        happening(speak, st.sampled_from([1, 20, 1000, 5000]), TURNS),
        happening(start, TURNS, REQUEST_IDS),
        happening(end, TURNS, st.booleans(), REQUEST_IDS),
        happening(AvatarStage.flush),
        happening(AvatarStage.connect),
        happening(plan, st.booleans(), OUTCOMES),
        happening(release),
        happening(fail, st.sampled_from([LOST, SERVICE_ERROR])),
        happening(play, STATES, PLAYED_MS),
        happening(leave_pings, st.booleans()),
        happening(report_user, st.sampled_from([UID, 8]), st.booleans()),
        happening(wait, WAITS_S),
        happening(wait, WAITS_S),
        happening(stand_still, WAITS_S),
    ),
    min_size=10,
    max_size=25,
)


class AlarmWatch:
    """Counts the alarms of the avatar that are set in the past, in a row."""

    def __init__(self, clock: FakeClock) -> None:
        self.in_a_row = self.most = 0
        self._clock = clock
        self._call_at = clock.call_at
        clock.call_at = self.call_at  # type: ignore[method-assign]

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        if getattr(callback, "__self__", None).__class__ is Avatar:
            is_past = when <= self._clock.monotonic()
            self.in_a_row = self.in_a_row + 1 if is_past else 0
            self.most = max(self.most, self.in_a_row)
        return self._call_at(when, callback)


@settings(
    max_examples=50,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(OPTIONS, HAPPENINGS)
def test_alarm_is_not_set_in_the_past_twice_in_a_row(options, happenings):
    """At most once, and each happening is handled at once."""
    run(_run(partial(set_up, **options), happenings))


async def _run(
    make: Callable[[], AvatarStage], happenings: list[Happening]
) -> None:
    stage = make()
    watch = AlarmWatch(stage.clock)
    await stage.start()
    for happens in happenings:
        watch.in_a_row = 0
        waits = happens(stage)
        if waits is not None:
            await waits
        await settle()
        assert watch.most <= 1, f"{happens} has the alarm spin"
    release(stage)
    await stage.clock.run(stage.stop())
    assert stage.raised == []
    assert stage.service.violations == []
    assert not any(
        "internal error" in e["message"] for e in stage.outbox.errors
    )
    assert stage.clock.pending() == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
