"""The listener misses no audio that is not accounted for.

A machine drives `Speech`, its writers, the service and the model of a listener
at random.
"""

from math import inf

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from listening import FRAME_SAMPLES, RATE, Walk
from spatius_avatar_python.speech import Limits, Turn
from speech_steps import check_sum

EXAMPLES = 250


class ListenerMachine(Walk, RuleBasedStateMachine):
    """The possible events, in any order."""

    @initialize(
        limits=st.sampled_from(
            [
                Limits(5.0, 0.0, resume_rewind_s=0.5, resume_within_s=15),
                Limits(5.0, 0.0, resume_rewind_s=0.5, resume_within_s=2),
                Limits(5.0, 0.0, resume_rewind_s=0.5, resume_within_s=0),
                Limits(5.0, 0.0, resume_rewind_s=0.0, resume_within_s=15),
                Limits(0.5, 0.0, resume_rewind_s=0.5, resume_within_s=15),
            ]
        ),
        delay_s=st.sampled_from([0.0, 0.25]),
        signal_delay_s=st.sampled_from([None, 0.0, 0.2]),
        doubled=st.booleans(),
        answer_delay_s=st.sampled_from([0.0, 0.3, 0.9]),
        count=st.sampled_from([60, 120, 300]),
    )
    def begin(
        self, limits, delay_s, signal_delay_s, doubled, answer_delay_s, count
    ):
        self.set_out(limits, delay_s, signal_delay_s, doubled, answer_delay_s)
        self.request_id = "late"
        self.speak(count, True, False)

    # Events

    @rule(
        count=st.sampled_from([1, 5, 25, 60, 120, 300]),
        has_start=st.booleans(),
        has_end=st.booleans(),
    )
    def speak(self, count, has_start, has_end):
        """A frame, or seconds of a TTS that is faster than speech."""
        if has_start:
            self.turn = Turn("session", next(self.turns))
            self.request_id = f"tts-{self.turn.id}"
            self.speech.start(self.now, self.turn, self.request_id)
            self.open = None
        for at in range(0, count, FRAME_SAMPLES):
            self.frame(min(FRAME_SAMPLES, count - at))
        if has_end:
            self.end()
        self.pump()

    @rule()
    def end(self):
        self.speech.end(self.now, self.turn, request_id=self.request_id)
        self.open = None
        self.pump()

    @rule(
        during_call=st.booleans(),
        arrives=st.booleans(),
        count=st.sampled_from([0, 5]),
    )
    def flush(self, during_call, arrives, count):
        if count:
            self.frame(count)
        if during_call:
            self.begin_call()
        self.speech.flush(self.now)
        self.open = None
        self.first_number = next(self.numbers)
        self.cut(self.voice)
        self.end_call(arrives)
        self.pump()

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.6, 1.2, 2.5, 10.0]))
    def wait(self, seconds):
        self.sleep_until(self.now + seconds)
        self.pump()

    @precondition(lambda self: self.connected)
    @rule(
        during_call=st.booleans(),
        arrives=st.booleans(),
        count=st.sampled_from([0, 5, 25]),
        outage_s=st.sampled_from([None, 0.0, 0.4, 3.0]),
    )
    def lose(self, during_call, arrives, count, outage_s):
        """The connection breaks, and a call in progress with it; after an
        outage there is another one, which takes a part of the speech."""
        if during_call:
            self.frame(count)
            self.begin_call()
        self.end_call(arrives)
        self.lose_connection()
        if outage_s is not None:
            self.sleep_until(self.now + outage_s)
            self.connected = True
            self.write_all(count)

    @precondition(lambda self: self.connected and self.signal_delay_s is None)
    @rule(seconds=st.sampled_from([1.5, 5.0, 21.0]), vanishes=st.booleans())
    def service_is_silent(self, seconds, vanishes):
        """Both directions: nothing tells whether it still plays."""
        self.black_hole(seconds, vanishes)
        self.pump()

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self):
        self.connected = True
        self.pump()

    @rule(
        count=st.sampled_from([1, 30, 1000]),
        during_call=st.booleans(),
        arrives=st.booleans(),
    )
    def fall_back(self, count, during_call, arrives):
        """The voice speaks where it may, until there is none any more."""
        self.say_all(count)
        if during_call:
            self.take_voice()
            self.frame(1)
            self.end_call(arrives)

    @rule(req_id=st.sampled_from(["", "foreign", "request-0", "request-1"]))
    def signal_out_of_place(self, req_id):
        """Of another request, or of one that is long over."""
        if not self.is_playing(req_id):
            for state in ["playing", "ended"]:
                self.speech.playback(req_id, state, None, "", self.now)
            self.speech.playback(req_id, "playing", 123.0, "", self.now)

    @precondition(lambda self: self.avatar.chunks and self.request)
    @rule()
    def played(self):
        """The service says how much has been heard."""
        heard = sum(
            chunk.heard(self.now)
            for chunk in self.avatar.chunks
            if chunk.said is self.request
        )
        self.speech.playback(
            self.req_id, "playing", heard * 1000 / RATE, "", self.now
        )

    def teardown(self):
        if not hasattr(self, "speech"):
            return
        self.end()
        self.connected = True
        for _ in range(20):
            self.pump()
            self.sleep_until(self.now + 5.0)
        assert self.speech.due_at == inf
        assert self.speech.is_idle(self.now)
        assert self.speech.totals.waiting == 0
        self.listen(self.avatar.stop(self.now) + self.voice.stop(self.now))
        self.collect()
        assert self.audible is None, "an end is missing"
        self.judge()

    # Invariants

    @invariant()
    def the_sum_is_right(self):
        assert self.speech.totals.received == self.received
        check_sum(self.speech)

    @invariant()
    def reports_are_in_order(self):
        self.collect()


TestListener = ListenerMachine.TestCase
TestListener.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
