"""What is written to the avatar next, one step after the other.

The rules that are quoted are those of docs/design.md.
"""

from typing import NamedTuple, Optional, Union

from .backlog import Backlog
from .playout import Playout
from .utterance import KEPT_MARGIN_S, Utterance


class Send(NamedTuple):
    """Send `audio`; `end` closes the request behind it."""

    audio: bytes
    end: bool


class Interrupt(NamedTuple):
    """Interrupt the latest request."""


Step = Union[Send, Interrupt]


class AvatarSteps:
    """The writer's steps, and what is known of the connection's requests.

    The writer asks `next` for a step, carries it out, and reports with
    `written` or `failed` how it went; there is one step at a time.
    """

    def __init__(
        self,
        backlog: Backlog,
        other: Playout,
    ) -> None:
        self.playout = Playout()
        self.step: Optional[Step] = None
        """The step in progress."""
        self.owner: Optional[Utterance] = None
        """Whose audio the writer holds."""
        self.interrupt_due = False
        self.in_request = False
        """The service holds an open request of the first utterance."""
        self._room_kept = 0  # for what is written of the first utterance
        self._backlog = backlog
        self._other = other
        self._margin_s = backlog.limits.resume_rewind_s + KEPT_MARGIN_S

    @property
    def held(self) -> int:
        """How much audio the writer holds, in bytes."""
        return len(self.step.audio) if isinstance(self.step, Send) else 0

    @property
    def left(self) -> int:
        """How much is to be written of the first utterance, in bytes."""
        queue = self._backlog.queue
        return queue[0].left if queue else 0

    @property
    def is_idle(self) -> bool:
        """Whether the service holds nothing open and nothing is due."""
        return (
            self.step is None and not self.interrupt_due and not self.in_request
        )

    def may_be_playing(self, now: float) -> bool:
        return (
            self.in_request
            or isinstance(self.step, Send)
            or self.playout.may_be_audible(now)
        )

    def interrupt(self) -> None:
        """Have an interrupt be the next step."""
        self.interrupt_due = not isinstance(self.step, Interrupt)

    def next(self) -> Optional[Step]:
        """Return the writer's next step, None if there is none now."""
        assert self.step is None, "the step before is not settled"
        if self.interrupt_due:
            self.interrupt_due = False
            self.step = Interrupt()
            return self.step
        queue = self._backlog.queue
        while queue:
            utterance = queue[0]
            if utterance.output == "voice" or self._other.requests:
                return None  # one output at a time
            if utterance.left:
                if not self.in_request and self._is_too_short(utterance):
                    return None
                audio = utterance.take(utterance.message_size)
                self.step = Send(audio, utterance.ended and not utterance.left)
            elif not utterance.ended:
                return None
            elif self.in_request:
                self.step = Send(b"", True)
            else:
                # Its audio went out on a connection that is gone: an end of
                # its own would make an empty request.
                queue.popleft()
                self._backlog.close(utterance)
                continue
            utterance.output = "avatar"
            self.owner = utterance
            return self.step
        return None

    def written(
        self, now: float, req_id: str = "", connection_id: str = ""
    ) -> bool:
        """Settle the step: it is on the wire, as a part of `req_id`.

        Return whether there may be another.
        """
        step, utterance = self._settle()
        if isinstance(step, Interrupt):
            self.in_request = False
            self.playout.take_all(now)
            return True
        assert utterance is not None
        backlog = self._backlog
        if not self.in_request:
            backlog.stale_at = None  # what was lost is being said again
            self._room_kept = 0
            utterance.req_id = req_id
            utterance.connection_id = connection_id
            if utterance.first_sent_at is None:
                utterance.first_sent_at = now
        if utterance.kept_bytes >= self._room_kept:
            # There may be more by now: what is heard is not kept.
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
            return True
        if not utterance.started:
            backlog.update(self.playout, now)
        if step.end:
            backlog.queue.popleft()
            return True
        return self.interrupt_due or utterance.ended or utterance.left > 0

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

    def connection_lost(self, now: float) -> None:
        """Nothing plays any more. What was written and not heard goes first
        on the next session, rewound, or is lost (rules of playout 3).

        To be called between steps.
        """
        backlog = self._backlog
        limits = backlog.limits
        backlog.update(self.playout, now)
        self.in_request = False
        self.interrupt_due = False
        requests = [
            request
            for request in self.playout.take_all(now)
            if not request.utterance.flushed
        ]
        backlog.queue.extendleft(
            request.utterance
            for request in reversed(requests)
            if request.is_complete
        )
        for request in requests:
            utterance = request.utterance
            utterance.output = None
            # The rewind covers what the estimate is ahead of the truth, right
            # after the end, too.
            position = request.position(now - limits.resume_rewind_s)
            backlog.lose(utterance, utterance.rewind(position))
            if not limits.resume_within_s or not utterance.again:
                backlog.discard_lost(utterance)
            elif backlog.stale_at is None:
                backlog.stale_at = now + limits.resume_within_s

    def release_heard(self, now: float) -> None:
        """Discard what has surely been heard: it is not said again."""
        for request in self.playout.requests:
            utterance = request.utterance
            margin = self._margin_s * utterance.bytes_per_s
            utterance.release(request.position(now) - margin)

    def _settle(self) -> tuple[Step, Optional[Utterance]]:
        step, utterance = self.step, self.owner
        assert step is not None, "there is no step to settle"
        self.step = self.owner = None
        return step, utterance

    def _is_too_short(self, utterance: Utterance) -> bool:
        """Return whether the encoder needs more to begin a request with."""
        least_ms = self._backlog.limits.first_message_ms
        return (
            least_ms > 0
            and not utterance.ended
            and utterance.ms(utterance.left) < least_ms
        )
