"""The steps of the avatar's writer, which sends the speech to Spatius.

The writer asks `next` for a step, carries it out, and reports how it went. The
rules that are quoted are those of docs/design.md.
"""

from typing import NamedTuple, Optional, Union

from .backlog import STALLED_AFTER_S, Backlog
from .events import Preempted, Turn
from .playout import Playout, Request
from .utterance import KEPT_MARGIN_S, Utterance, size_of

BEHIND_AFTER_S = 10.0
"""A connection that leaves audio to be written for so long does not take it
as fast as it comes."""

JOIN_AHEAD_S = 1.0
"""How much of a request must be ahead at the service for its frames to be
joined into fewer messages, each of which costs CPU at any size."""

JOIN_WAIT_S = 0.019
"""How long a frame waits for others to be joined with: at most 20 ms with a
timer that is up to 1 ms late."""

MAX_CUTS = 3
"""How often the service may cut an utterance at one position before the rest
of it is given up."""


NEVER = float("inf")


class Send(NamedTuple):
    """Send `audio`; `end` closes the request behind it."""

    audio: bytes
    end: bool


class Interrupt(NamedTuple):
    """Interrupt the latest request."""


Step = Union[Send, Interrupt]


class AvatarOutput:
    """The steps of the avatar's writer, one at a time."""

    def __init__(self, backlog: Backlog, other: Playout) -> None:
        self.playout = Playout(is_acknowledged=True)
        self.step: Optional[Step] = None
        """The step in progress."""
        self.owner: Optional[Utterance] = None
        """Whose audio the writer holds."""
        self.interrupt_due = False
        self.in_request = False
        """The service holds an open request of the first utterance."""
        self._is_connected = False
        self._step_at = NEVER  # when the step in progress began
        self._behind_since: Optional[float] = None
        """Since when the writer has had something to write."""
        self.join_due_at = NEVER
        """When the audio that waits for more to be joined with is to be sent,
        inf if none does."""
        self._room_kept = 0  # for the audio written of the first utterance
        self._cut: Optional[tuple[Request, int]] = None
        """A request that the service cut, and its position."""
        self._preempts = False  # the service does so
        self._backlog = backlog
        self._other = other
        self._margin_s = backlog.limits.resume_rewind_s + KEPT_MARGIN_S

    # Questions

    @property
    def held(self) -> int:
        """How much audio the writer holds, in bytes."""
        return len(self.step.audio) if isinstance(self.step, Send) else 0

    @property
    def is_settled(self) -> bool:
        """Whether the service has no open request, and no step is due."""
        return (
            self.step is None and not self.interrupt_due and not self.in_request
        )

    @property
    def has_step(self) -> bool:
        """Whether `next` would return a step."""
        return self.step is None and (
            self.interrupt_due or self._has_audio_step()
        )

    @property
    def has_backlog(self) -> bool:
        """Whether more of the first utterance waits to be written."""
        queue = self._backlog.queue
        return bool(queue) and queue[0].left > 0

    @property
    def is_joining(self) -> bool:
        """Whether the audio that waits is to wait for more."""
        return self.join_due_at < NEVER and not self._has_audio_step()

    @property
    def is_silent(self) -> bool:
        """Whether it is settled, and none of its audio is still to be
        heard."""
        return self.is_settled and not self.playout.requests

    def is_open(self, utterance: Utterance) -> bool:
        """Return whether the service holds an open request of an
        utterance."""
        return self.in_request and self._backlog.queue[0] is utterance

    def may_be_playing(self, now: float) -> bool:
        return (
            self.in_request
            or isinstance(self.step, Send)
            or self.playout.may_be_audible(now)
        )

    def takes_audio(self, now: float) -> bool:
        """Return whether the connection takes audio as fast as it comes.
        If the writer has no step, audio waits for another reason."""
        if not self._is_connected or now >= self.stalls_at:
            return False
        return (
            self._behind_since is None
            or now < self._behind_since + BEHIND_AFTER_S
            or (self.step is None and not self.has_step)
        )

    @property
    def stalls_at(self) -> float:
        """When the step in progress has waited for too long, inf if there is
        none."""
        if self.step is None:
            return NEVER
        return self._step_at + STALLED_AFTER_S

    # Steps

    def take(self, utterance: Utterance, pcm: bytes, now: float) -> bool:
        """Take a frame that goes on with a request: it is the next step at
        once, or waits for others (rule of speech 7).

        Return False if something else is to be written before: it is not
        taken.
        """
        # With an open request, the voice does not speak.
        if (
            not self.in_request
            or self.step is not None
            or self.interrupt_due
            or self._backlog.queue[0] is not utterance
        ):
            return False
        if utterance.left:
            if self.join_due_at == NEVER or now >= self.join_due_at:
                return False
            utterance.add(pcm)
            if utterance.left < utterance.message_size:
                return True
            self.join_due_at = NEVER
            pcm = utterance.take(utterance.message_size)
        elif (
            len(pcm) < utterance.message_size
            and self.playout.ahead_s(now) >= JOIN_AHEAD_S
        ):
            utterance.add(pcm)
            self.join_due_at = now + JOIN_WAIT_S
            return True
        self.owner = utterance
        self.step = Send(pcm, False)
        self._step_at = now
        if self._behind_since is None:
            self._behind_since = now
        return True

    def next(self, now: float) -> Optional[Step]:
        """Return the writer's next step, None if there is none now."""
        assert self.step is None, "the step before is not settled"
        self.stop_joining(now)
        if self.interrupt_due:
            self.interrupt_due = False
            self.step = Interrupt()
        elif self._has_audio_step():
            utterance = self.owner = self._backlog.queue[0]
            utterance.output = "avatar"
            audio = b""
            if utterance.left:
                audio = utterance.take(utterance.message_size)
                self.join_due_at = NEVER
            is_end = utterance.is_closing and not utterance.left
            self.step = Send(audio, is_end)
        self._step_at = now
        if self.step is not None and self._behind_since is None:
            self._behind_since = now
        return self.step

    def written(
        self, now: float, req_id: str = "", connection_id: str = ""
    ) -> bool:
        """Settle the step: it is on the wire, as a part of `req_id`.

        Return whether there may be another.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt):
            self.in_request = False
            self._cut = None
            self.playout.take_all(now)
        else:
            assert utterance is not None
            self._sent(step, utterance, now, req_id, connection_id)
            if self._cut is not None:
                self._take_cut(now)
        if not self.interrupt_due and not self._has_audio_step():
            self._behind_since = None
            return False
        return True

    def failed(self) -> None:
        """Settle the step: it did not reach the wire.

        Its audio goes first on the next connection, unless it was flushed.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt) or utterance is None:
            return
        if utterance.flushed:
            self._backlog.drop_held(utterance, len(step.audio))
            return
        if step.audio:
            utterance.put_back(step.audio)
        if not self.in_request:
            utterance.output = None

    def interrupt(self) -> None:
        """Have an interrupt be the next step."""
        self.interrupt_due = not isinstance(self.step, Interrupt)
        self._cut = None

    def join(self, utterance: Utterance, now: float) -> None:
        """Have a frame that has just come in wait for others, if the service
        has enough of its request ahead (rule of speech 7)."""
        self.join_due_at = NEVER
        if (
            self.in_request
            and self._backlog.queue[0] is utterance
            and self.playout.ahead_s(now) >= JOIN_AHEAD_S
        ):
            self.join_due_at = now + JOIN_WAIT_S

    def stop_joining(self, now: float) -> None:
        """Have the audio sent that has waited long enough."""
        if now >= self.join_due_at:
            self.join_due_at = NEVER

    def connected(self) -> None:
        """There is a connection that takes audio."""
        self._is_connected = True
        self._behind_since = None

    def connection_lost(self, now: float, is_closed: bool) -> None:
        """Nothing plays any more. Audio that was written and not heard goes
        first on the next session, rewound, or is lost (rules of playout 3).

        To be called between steps.
        """
        backlog = self._backlog
        backlog.update(self.playout, now)
        self._is_connected = self.in_request = self.interrupt_due = False
        self._cut, self.join_due_at = None, NEVER
        self.playout.doubt_arrival(now, is_closed)
        self._take_back(now, backlog.limits.resume_rewind_s)
        self.playout.renew()
        if backlog.stale_at is None and any(
            utterance.again for utterance in backlog.queue
        ):
            backlog.stale_at = now + backlog.limits.resume_within_s

    def signal(
        self,
        req_id: str,
        state: str,
        played_ms: Optional[float],
        reason: str,
        now: float,
    ) -> None:
        """Take a signal of the service about the playback of a request."""
        playout = self.playout
        playout.arrived(None, now)  # it is there
        if state == "interrupted":
            self._interrupted(req_id, played_ms, reason, now)
            return
        if played_ms:
            playout.played(req_id, played_ms / 1000, now)
        elif state == "playing" and (
            played_ms is None or playout.is_next(req_id)
        ):
            playout.started(req_id, now)
        if state == "paused":
            playout.silenced(req_id)
        if state == "ended":
            playout.ended(req_id, now)

    def _interrupted(
        self,
        req_id: str,
        played_ms: Optional[float],
        reason: str,
        now: float,
    ) -> None:
        """The service has interrupted a request that it was not asked to:
        the rest is said again before all that came after it."""
        self.playout.silenced(req_id)
        request = self.playout.find(req_id)
        if (
            request is None
            or request.utterance.flushed
            or self.interrupt_due
            or isinstance(self.step, Interrupt)
        ):
            return  # it has ended, or is to be interrupted anyway
        position = self.playout.position(request, now)
        if played_ms is not None:
            played = size_of(played_ms / 1000, request.utterance.bytes_per_s)
            position = request.base + min(played, request.size)
        if request.is_complete and position >= request.end:
            self.playout.ended(req_id, now)
            self._backlog.update(self.playout, now)
            return
        if not self._preempts:
            self._preempts = True
            self._backlog.events.append(Preempted(req_id, reason))
        self._cut = request, position
        if self.step is None:
            self._take_cut(now)

    def release_heard(self, now: float) -> None:
        """Discard audio that has surely been heard: it is not said again."""
        for request in self.playout.requests:
            utterance = request.utterance
            margin = self._margin_s * utterance.bytes_per_s
            position = self.playout.position(request, now)
            utterance.release(position - margin)
            if position < request.end:
                return

    # Internals

    def _sent(
        self,
        step: Send,
        utterance: Utterance,
        now: float,
        req_id: str,
        connection_id: str,
    ) -> None:
        backlog = self._backlog
        self._is_connected = True
        if not self.in_request:
            backlog.stale_at = None  # audio that was lost is said again
            self._room_kept = 0
            utterance.req_id = req_id
            utterance.connection_id = connection_id
            if utterance.first_sent_at is None:
                utterance.first_sent_at = now
        if utterance.kept_bytes >= self._room_kept:
            # There may be more by now: audio that was heard is not kept.
            self.release_heard(now)
            self._room_kept = backlog.room_kept(utterance, self.playout)
        size = len(step.audio)
        new = utterance.advance(step.audio, self._room_kept)
        backlog.totals.send(new)
        if new < size:
            backlog.totals.resend(size - new)
            utterance.counts.resent += size - new
        self.playout.wrote(utterance, size, req_id, now, step.end)
        self.in_request = not step.end
        if utterance.flushed:
            # It was cut while the writer held a part of it.
            backlog.summarize(utterance)
            return
        if step.end and utterance.ended and not utterance.left:
            backlog.queue.popleft()
            utterance.is_written = True
        if step.end or not utterance.started:
            backlog.update(self.playout, now)

    def _settle(self) -> tuple[Step, Optional[Utterance]]:
        step, utterance = self.step, self.owner
        assert step is not None, "there is no step to settle"
        self.step = self.owner = None
        return step, utterance

    def _take_cut(self, now: float) -> None:
        """Have said again the audio that a cut by the service left unheard,
        and all audio behind it, on the same session."""
        assert self._cut is not None, "there is no cut"
        (request, position), self._cut = self._cut, None
        backlog, playout = self._backlog, self.playout
        if request not in playout.requests:
            return
        utterance = request.utterance
        utterance.cuts = utterance.cuts * (position <= utterance.cut_at) + 1
        utterance.cut_at = position
        playout.stop_at(request, position, now)
        while playout.requests[0] is not request:
            backlog.pop(playout)
        limits = backlog.limits
        is_last = playout.requests[-1] is request
        is_said_again = (
            limits.resume_within_s > 0
            and limits.one_request_at_a_time is not False
            and utterance.cuts <= MAX_CUTS
        )
        if (self.in_request and is_last) or (is_said_again and not is_last):
            # The SDK would go on with this request; or another one plays.
            self.interrupt_due = True
            self.in_request = False
            self.join_due_at = NEVER
        if is_said_again:
            self._take_back(now, 0.0)
            return
        playout.drop(request, now)
        backlog.lose(utterance, utterance.rewind(position))
        backlog.lose(utterance, utterance.skip_again())
        backlog.report_loss()
        if utterance.is_written and not playout.plays(utterance):
            backlog.close(utterance)

    def _take_back(self, now: float, rewind_s: float) -> None:
        """Put the audio that was written and not heard back to the front of
        the queue, rewound; or lose it, if it is not to be said again."""
        backlog, playout = self._backlog, self.playout
        found: dict[int, tuple[Utterance, int]] = {}
        for request in playout.requests:
            utterance = request.utterance
            key = id(utterance)
            if utterance.flushed or (
                key in found and found[key][1] < request.base
            ):
                continue
            # The rewind covers how much the estimate is ahead of the truth,
            # right after the end, too.
            position = playout.position(request, now, rewind_s)
            found[key] = utterance, position
        playout.take_all(now)
        queue = backlog.queue
        back = [each for each, _ in found.values() if each not in queue]
        queue.extendleft(reversed(back))
        for utterance, position in found.values():
            utterance.output = None
            utterance.is_written = False
            backlog.lose(utterance, utterance.rewind(position))
            if not backlog.limits.resume_within_s or not utterance.again:
                backlog.discard_lost(utterance)
        backlog.report_loss()

    def _has_audio_step(self) -> bool:
        """Return whether audio, or the end of a request, is to be sent."""
        queue = self._backlog.queue
        if not queue or queue[0].output == "voice" or self._other.requests:
            return False  # one output at a time
        utterance = queue[0]
        if self.in_request and (utterance.ended or utterance.is_paused):
            return True
        if self.join_due_at < NEVER:
            return utterance.left >= utterance.message_size
        if self.in_request:
            return utterance.left > 0
        return (
            utterance.left > 0
            and not self._is_held_back()
            and not self._is_too_short(utterance)
        )

    def _is_held_back(self) -> bool:
        """Return whether a new request would cut the one that plays."""
        one_at_a_time = self._backlog.limits.one_request_at_a_time
        if one_at_a_time == "auto":
            one_at_a_time = self._preempts
        return one_at_a_time and bool(self.playout.requests)

    def _is_too_short(self, utterance: Utterance) -> bool:
        """Return whether more is collected before a request begins: as much
        as its encoder needs, and as the prebuffer of a turn holds."""
        if utterance.is_closing:
            return False
        limits = self._backlog.limits
        least_ms = float(limits.first_message_ms)
        if (
            limits.prebuffer_ms
            and not utterance.reached
            and not self._is_of_last_turn(utterance.turn)
        ):
            room_ms = limits.max_buffered_s * 1000
            least_ms = max(least_ms, min(limits.prebuffer_ms, room_ms))
        return least_ms > 0 and utterance.ms(utterance.left) < least_ms

    def _is_of_last_turn(self, turn: Optional[Turn]) -> bool:
        """Return whether a turn plays already."""
        last = self.playout.last_turn
        if turn is None or last is None:
            return bool(self.playout.requests)
        return turn.matches(last)
