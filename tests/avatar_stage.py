"""An avatar with fakes around it, for the tests of its parts."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

from fakes import (
    LOST,
    FakeClock,
    FakeOutbox,
    FakeService,
    FakeSession,
    FakeVoice,
    settle,
)
from spatius_avatar_python.avatar.avatar import Avatar
from spatius_avatar_python.avatar.plan import Lifetime, Plan
from spatius_avatar_python.session.errors import Failure
from spatius_avatar_python.speech import Limits, Speech, Turn
from spatius_avatar_python.speech.utterance import MESSAGE_MS
from speech_steps import check_sum

RATE_HZ = 24000
BYTES_PER_MS = 48
MESSAGE = MESSAGE_MS * BYTES_PER_MS

FIRST = Turn("session", 1)
SECOND = Turn("session", 2)

FOREVER = Lifetime(renew_after_s=1e9, renew_latest_s=1e9)
RENEWED = Lifetime(renew_after_s=100.0, renew_latest_s=120.0)

STOP_S = 4.0
"""How long a stop may take by contract."""

LONGEST_STOP_S = 1.0
"""How long it takes at most, whatever is in progress."""

REFUSED = Failure("the console is not available", code="connectionFailed")
IDLE = replace(LOST, code="idleTimeout", idle=True)
BAD_KEY = Failure("check params.spatius_api_key", code="key", fatal=True)
REJECTED = Failure(
    "the session token was refused",
    code="sessionTokenInvalid",
    vendor_message="Unauthorized",
    rejected_upgrade=True,
)
SERVICE_ERROR = Failure("upstream", code="upstreamError", ends_session=False)

FALLBACK_AFTER_S = 1.5

made: "list[AvatarStage]" = []
"""By a test, for the fixture `finished_stages`."""

_random = random.Random(1)


def pcm(ms: int) -> bytes:
    """Return this much random audio."""
    return _random.randbytes(ms * BYTES_PER_MS)


@dataclass
class AvatarStage:
    """An avatar and all that it meets."""

    clock: FakeClock
    service: FakeService
    outbox: FakeOutbox
    voice: FakeVoice
    speech: Speech
    avatar: Avatar
    handlers: "set[asyncio.Task[None]]" = field(default_factory=set)
    raised: list[Any] = field(default_factory=list)
    """By handlers, which must not."""

    @property
    def session(self) -> FakeSession:
        """The latest."""
        return self.service.session

    async def start(self) -> None:
        self.avatar.start()
        await settle()

    # Messages are handled in later turns of the loop, in order, as by TEN.

    def speak(
        self, pcm: bytes, turn: Any = None, sample_rate: int = RATE_HZ
    ) -> None:
        handler = asyncio.ensure_future(
            self.avatar.speak(pcm, turn, sample_rate)
        )
        self.handlers.add(handler)
        handler.add_done_callback(self._handled)

    def _handled(self, handler: "asyncio.Task[None]") -> None:
        self.handlers.discard(handler)
        if not handler.cancelled() and handler.exception() is not None:
            self.raised.append(handler.exception())

    def speech_starts(self, *args: Any) -> None:
        self._call_soon(self.avatar.speech_starts, *args)

    def speech_ends(self, *args: Any, **options: Any) -> None:
        self._call_soon(partial(self.avatar.speech_ends, *args, **options))

    def flush(self) -> None:
        self._call_soon(self.avatar.flush)

    def connect(self) -> None:
        self._call_soon(self.avatar.connect)

    def _call_soon(self, call: Any, *args: Any) -> None:
        asyncio.get_running_loop().call_soon(call, *args)

    async def stop(self) -> None:
        await self.avatar.stop(self.clock.monotonic() + STOP_S)

    async def finish(self) -> None:
        """Stop; assert that nothing was violated and nothing is left."""
        for session in self.service.sessions:
            session.release()
        await settle()
        await self.stop()
        await settle()
        self._assert_clean()

    async def stopped(self, state: str = "closed") -> float:
        """Stop in time, with nothing left; return how long it took in s."""
        began = self.clock.monotonic()
        await self.clock.run(self.stop())
        took_s = self.clock.monotonic() - began
        assert took_s <= LONGEST_STOP_S
        assert self.avatar.state == state
        await settle()
        self._assert_clean()
        assert self.speech.totals.waiting == 0
        attempts = len(self.service.sessions)
        await self.clock.advance(100.0)
        assert len(self.service.sessions) == attempts
        return took_s

    def check_sum(self) -> None:
        check_sum(self.speech)
        totals = self.speech.totals
        written = sum(len(s.received) for s in self.service.sessions)
        written += len(self.voice.said)
        assert totals.sent + totals.voice + totals.lost + totals.resent == (
            written // 2
        )

    async def until_attempt(self, number: int) -> float:
        """Advance to this attempt and return how long that took in s."""
        began = self.clock.monotonic()
        while len(self.service.sessions) < number:
            assert self.clock.monotonic() < began + 100, "no attempt is made"
            await self.clock.advance_to_timer()
        await settle()
        return self.clock.monotonic() - began

    async def lose(self, failure: Failure) -> None:
        """Have the open session report its end."""
        [session] = [s for s in self.service.sessions if s.is_live]
        session.on_failure(failure)
        await settle()

    def _assert_clean(self) -> None:
        assert self.service.violations == []
        assert self.raised == []
        self.check_sum()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert tasks == set()
        assert self.clock.pending() == 0


def set_up(
    *,
    lifetime: Lifetime = FOREVER,
    sample_rate: Optional[int] = RATE_HZ,
    seed: int = 7,
    has_voice: bool = False,
    max_buffered_s: float = 60.0,
    end_timeout_s: float = 1.5,
    resume_within_s: float = 0.0,
    uid: int = 0,
    **plan: Any,
) -> AvatarStage:
    """Return a stage that has not been started; `plan` is for `Plan`."""
    clock = FakeClock()
    voice = FakeVoice(has_voice)
    service = FakeService(clock)
    outbox = FakeOutbox()
    speech = Speech(
        sample_rate=RATE_HZ,
        limits=Limits(
            max_buffered_s=max_buffered_s,
            end_timeout_s=end_timeout_s,
            resume_within_s=resume_within_s,
        ),
    )
    avatar = Avatar(
        speech=speech,
        open_session=service.open_session,
        outbox=outbox,
        voice=voice,
        plan=Plan(lifetime, sample_rate, **plan),
        clock=clock,
        rng=random.Random(seed),
        uid=uid,
    )
    stage = AvatarStage(clock, service, outbox, voice, speech, avatar)
    made.append(stage)
    return stage


async def ready(**options: Any) -> AvatarStage:
    """Return a stage whose avatar is connected."""
    stage = set_up(**options)
    await stage.start()
    assert stage.avatar.state == "ready"
    return stage


async def held(**options: Any) -> AvatarStage:
    """Return a stage whose first send waits for the socket."""
    stage = await ready(**options)
    stage.service.calls.append("hold")
    stage.speak(pcm(20), FIRST)
    await settle()
    assert stage.session.is_held
    return stage


async def without_session(**options: Any) -> AvatarStage:
    """Return a stage whose session was lost, and whose next one waits."""
    options = {
        "has_voice": True,
        "fallback_after_s": FALLBACK_AFTER_S,
        **options,
    }
    stage = await ready(**options)
    stage.service.openings += ["hold"]
    await stage.lose(LOST)
    await stage.clock.advance(1.0)
    return stage


def say(stage: AvatarStage, ms: int, turn: Any = FIRST) -> bytes:
    """Have a whole utterance said."""
    audio = pcm(ms)
    stage.speak(audio, turn)
    stage.speech_ends(turn)
    return audio
