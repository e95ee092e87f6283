"""The model of a listener, and the judge of it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devkit.motion_server.judge import Judge, Repeat, unique_pcm
from devkit.motion_server.listener import Listener
from devkit.motion_server.model import SessionConfig
from devkit.motion_server.playback import Player
from devkit.motion_server.record import Record

RATE = 8000
BYTES_PER_MS = RATE * 2 // 1000

# How long an example takes depends on the machine's other work.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pcm(duration_ms: int, seed: int = 1) -> bytes:
    return unique_pcm(duration_ms, RATE, seed)


def ms(*bounds: float) -> slice:
    """The bytes from one millisecond to another."""
    return slice(*(round(one * BYTES_PER_MS) for one in bounds))


def listener_and_judge(**turns: bytes) -> tuple[Listener, Judge]:
    judge = Judge(RATE)
    for name, audio in turns.items():
        judge.said(name, audio)
    return Listener(RATE), judge


# Speech.


def test_no_two_blocks_of_unique_pcm_are_alike():
    """Nor are those of another seed; the same seed gives the same speech."""
    audio = pcm(5000, 1) + pcm(5000, 2)
    size = 10 * BYTES_PER_MS
    blocks = [audio[at : at + size] for at in range(0, len(audio), size)]
    assert len(blocks) == len(set(blocks)) == 1000
    assert pcm(50, 3) == pcm(50, 3)


# Playing.


def test_audio_plays_in_real_time_from_its_first_byte():
    """One request behind the other; a pause where nothing has come."""
    player = Player(RATE)
    player.write("a", 100 * BYTES_PER_MS, 1.0)
    player.write("a", 100 * BYTES_PER_MS, 1.05)
    player.write("b", 50 * BYTES_PER_MS, 1.1)
    player.write("b", 50 * BYTES_PER_MS, 2.0)
    spans = [(s.req_id, s.start_s, s.end_s) for s in player.take()]
    assert spans == [
        ("a", 1.0, pytest.approx(1.2)),
        ("b", pytest.approx(1.2), pytest.approx(1.25)),
        ("b", 2.0, pytest.approx(2.05)),
    ]


def test_cut_audio_was_not_played():
    """A cut ends playing audio and discards waiting audio, in whole samples."""
    player = Player(RATE)
    player.write("a", 100 * BYTES_PER_MS, 0.0)
    player.write("b", 100 * BYTES_PER_MS, 0.0)
    player.cut(0.0301)
    (span,) = player.take()
    assert (span.end_byte, span.end_s) == (30 * BYTES_PER_MS, 0.0301)
    player.write("c", 10, 0.05)
    assert player.take()[0].start_s == 0.05


@UNTIMED
@given(
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=20),
    cut_ms=st.integers(0, 3000),
)
def test_a_player_never_plays_two_things_at_once(sizes: list[int], cut_ms: int):
    """Nor more than it was given, whenever it is cut."""
    player = Player(RATE)
    for at, size in enumerate(sizes):
        player.write(str(at % 3), 2 * size, at * 0.02)
    player.cut(cut_ms / 1000)
    spans = player.take()
    for one, other in zip(spans, spans[1:]):
        assert one.end_s <= other.start_s + 1e-9
    assert sum(s.end_byte - s.begin_byte for s in spans) <= 2 * sum(sizes)
    assert all(s.end_s <= cut_ms / 1000 for s in spans)


# The listener.


def test_an_interrupt_discards_unplayed_audio():
    """And the audio behind it plays at once."""
    listener, _ = listener_and_judge()
    listener.avatar_audio(1, "a", pcm(1000), 0.0)
    listener.avatar_interrupted(1, 0.25)
    listener.avatar_audio(1, "b", pcm(100, 2), 0.3)
    first, second = listener.audible()
    assert first.audio == pcm(1000)[ms(0, 250)]
    assert (second.req_id, second.start_s) == ("b", 0.3)


def test_a_lost_connection_takes_its_audio_along():
    """Nothing that comes later on it is audible either."""
    listener, _ = listener_and_judge()
    listener.avatar_audio(1, "a", pcm(1000), 0.0)
    listener.avatar_closed(1, 0.1)
    listener.avatar_audio(1, "a", pcm(1000), 0.2)
    (heard,) = listener.audible()
    assert (heard.begin_byte, heard.end_byte) == (0, 100 * BYTES_PER_MS)


def test_a_newer_publisher_kicks_the_older_one_out():
    """A stalled connection that still plays is silent from then on."""
    listener, _ = listener_and_judge()
    listener.avatar_audio(1, "a", pcm(1000), 0.0)
    listener.avatar_started(2, 0.5)
    listener.avatar_audio(2, "b", pcm(100, 2), 0.6)
    assert [one.end_s for one in listener.audible()] == [
        0.5,
        pytest.approx(0.7),
    ]


def test_audio_of_an_older_publisher_comes_too_late():
    """As after a black hole, even where it is the first of its connection."""
    listener, _ = listener_and_judge()
    listener.avatar_started(1, 0.0)
    listener.avatar_started(2, 0.5)
    listener.avatar_audio(1, "a", pcm(1000), 0.6)
    assert listener.audible() == []


def test_audio_that_the_service_cuts_is_not_heard():
    """Nor the rest of that request; the next one is heard at once."""
    listener, _ = listener_and_judge()
    listener.avatar_audio(1, "a", pcm(1000), 0.0)
    listener.avatar_cut(1, "a", 0.25)
    listener.avatar_audio(1, "a", pcm(1000), 0.3)
    listener.avatar_audio(1, "b", pcm(100, 2), 0.4)
    first, second = listener.audible()
    assert first.audio == pcm(1000)[ms(0, 250)]
    assert (second.req_id, second.start_s) == ("b", 0.4)


def test_the_voice_plays_until_it_is_flushed():
    """Frames are joined to the playing audio in one go."""
    listener, _ = listener_and_judge()
    audio = pcm(100)
    for at in range(0, 100, 10):
        listener.voice_audio(audio[ms(at, at + 10)], 0.0, "turn")
    listener.voice_flushed(0.04)
    audible = listener.audible()
    assert [one.source for one in audible] == ["voice"]
    assert audible[0].audio == audio[ms(0, 40)]


def test_taking_forgets_and_later_audio_keeps_its_place():
    """A long run takes the played audio and goes on."""
    listener, _ = listener_and_judge()
    audio = pcm(200)
    listener.avatar_audio(1, "a", audio[ms(0, 100)], 0.0)
    assert [one.audio for one in listener.take(1.0)] == [audio[ms(0, 100)]]
    listener.avatar_audio(1, "a", audio[ms(100, 200)], 2.0)
    (rest,) = listener.take(3.0)
    assert (rest.begin_byte, rest.audio) == (
        100 * BYTES_PER_MS,
        audio[ms(100, 200)],
    )


def test_following_and_replaying_a_record_say_the_same():
    """Live without kept audio, or afterwards from the kept audio."""
    now_s = [0.0]
    record = Record(lambda: now_s[0])
    live, afterwards = Listener(RATE), Listener(RATE)
    live.follow(record)
    config = SessionConfig(RATE, "pcm_s16le", 0, "room", 1, "1", "token")

    def session() -> None:
        one = record.opened(app_id="a", avatar_id="b", session_token=1)
        record.configured(one, config)
        record.confirmed(one, "id")
        record.audio(one, "x", pcm(1000), False)
        now_s[0] += 0.2
        record.interrupt(one, "x")
        record.audio(one, "y", pcm(1000, 2), True)
        now_s[0] += 0.3
        record.closed(one, "client", 1000)

    session()
    session()
    afterwards.replay(record)
    audible = live.audible()
    assert afterwards.audible() == audible
    assert [(one.connection, one.req_id) for one in audible] == [
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]
    assert audible[-1].end_s == pytest.approx(1.0)


# The judge.


def test_speech_that_was_heard_in_full_is_well():
    """Across requests, connections and sources."""
    one, two = pcm(500, 1), pcm(500, 2)
    listener, judge = listener_and_judge(one=one, two=two)
    listener.avatar_audio(1, "a", one, 0.0)
    listener.voice_audio(two, 1.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.violations() == []
    assert verdict.heard_ms == 1000


def test_lost_audio_is_missing():
    """With the place of it, unless it is excused."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio, 0.0)
    listener.avatar_closed(1, 0.3)
    listener.avatar_audio(2, "b", audio[ms(450, 1000)], 1.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.missing_ms == pytest.approx(150)
    (hole,) = verdict.holes
    assert (hole.turn, hole.begin_ms, hole.end_ms) == ("turn", 300, 450)
    judge.excuse(100)
    assert judge.verdict(listener.audible()).missing_ms == pytest.approx(50)


def test_each_resumption_has_its_own_repeat():
    """However many messages it comes in."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio, 0.0)
    listener.avatar_closed(1, 0.3)
    for at in range(200, 1000, 20):
        listener.avatar_audio(2, "b", audio[ms(at, at + 20)], 1.0)
    listener.avatar_closed(2, 1.5)
    listener.voice_audio(audio[ms(650, 1000)], 2.0)
    verdict = judge.verdict(listener.audible())
    first, second = verdict.repeats
    assert first == Repeat("turn", 1.0, 200, first.repeated_ms)
    assert second == Repeat("turn", 2.0, 650, second.repeated_ms)
    assert first.repeated_ms == pytest.approx(100)
    assert second.repeated_ms == pytest.approx(50)
    assert verdict.longest_repeat_ms == pytest.approx(100)
    assert verdict.violations(max_repeat_ms=100) == []
    assert len(verdict.violations(max_repeat_ms=60)) == 1


def test_two_sources_at_once_overlap():
    """The voice must not begin before the avatar has ended."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio[ms(0, 500)], 0.0)
    listener.voice_audio(audio[ms(500, 1000)], 0.4)
    verdict = judge.verdict(listener.audible())
    assert verdict.overlap_ms == pytest.approx(100)
    assert len(verdict.violations()) == 1


def test_the_wrong_order_is_found():
    """Of turns, and within one."""
    one, two = pcm(500, 1), pcm(500, 2)
    listener, judge = listener_and_judge(one=one, two=two)
    listener.avatar_audio(1, "a", two[ms(200, 500)], 0.0)
    listener.avatar_audio(1, "b", two[ms(0, 200)], 0.0)
    listener.avatar_audio(1, "c", one, 0.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.missing_ms == 0
    assert len(verdict.order) == 2
    assert "two: what begins at 0 ms" in verdict.order[0]
    assert "one was audible at 0.500 s, after two" in verdict.order[1]


def test_flushed_audio_need_not_be_heard_and_must_not():
    """Up to the flush nothing is missing, behind it all is stale."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio, 0.0)
    judge.flushed("turn", 0.3)
    listener.avatar_interrupted(1, 0.35)
    verdict = judge.verdict(listener.audible())
    assert verdict.missing_ms == 0
    assert verdict.stale_ms == pytest.approx(50)
    late = judge.verdict(listener.audible(), flush_grace_ms=50)
    assert late.violations(tolerance_ms=0.01) == []
    with pytest.raises(KeyError):
        judge.flushed("another", 1.0)


@pytest.mark.parametrize("late_s", [1e-6, 0.6 / RATE])
def test_the_sample_that_plays_at_a_cut_may_end(late_s: float):
    """It is neither stale nor audible beside the next source."""
    one, two = pcm(1000, 1), pcm(500, 2)
    listener, judge = listener_and_judge(one=one, two=two)
    listener.avatar_audio(1, "a", one, 0.0)
    flushed_s = 0.3 + 0.5 / RATE
    judge.flushed("one", flushed_s)
    listener.avatar_interrupted(1, flushed_s + late_s)
    listener.voice_audio(two, flushed_s)
    verdict = judge.verdict(listener.audible())
    assert (verdict.stale_ms, verdict.overlap_ms) == (0, 0)


def test_a_gap_before_the_flush_is_missing():
    """A flush excuses only audio that had not been reached."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio[ms(0, 100)], 0.0)
    listener.avatar_audio(1, "a", audio[ms(300, 500)], 0.1)
    judge.flushed("turn", 0.3)
    assert judge.verdict(listener.audible()).missing_ms == pytest.approx(200)


def test_audio_that_was_not_said_is_unknown():
    """Such as samples that are out of step by a byte."""
    audio = pcm(1000)
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", audio[ms(0, 500)] + b"\0", 0.0)
    listener.avatar_audio(1, "a", audio[ms(500, 1000)], 0.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.unknown_ms == pytest.approx(500, abs=1)
    assert verdict.missing_ms == pytest.approx(500, abs=1)


def test_a_sample_is_known_as_a_whole():
    """One that is right by half is unknown."""
    audio = pcm(100)
    listener, judge = listener_and_judge(turn=audio)
    damaged = bytearray(audio)
    damaged[101] ^= 0xFF
    listener.avatar_audio(1, "a", bytes(damaged), 0.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.unknown_ms == 2 / BYTES_PER_MS
    assert verdict.missing_ms == pytest.approx(2 / BYTES_PER_MS)


def test_a_turn_may_be_said_in_parts():
    """As a TTS hands it over; the turns come one after the other."""
    audio = pcm(333)
    judge = Judge(RATE)
    for at in range(0, len(audio), 334):
        judge.said("turn", audio[at : at + 334])
    listener = Listener(RATE)
    listener.avatar_audio(1, "a", audio[ms(100, 333)], 0.0)
    assert judge.verdict(listener.audible()).missing_ms == pytest.approx(100)
    judge.said("next", pcm(10, 2))
    with pytest.raises(ValueError, match="latest"):
        judge.said("turn", b"")


def test_the_shortest_fragment_is_found_next_to_where_speech_was():
    """Two samples may stand in many places."""
    audio = pcm(20)
    twice = audio + pcm(100, 2) + audio[-4:]
    listener, judge = listener_and_judge(turn=twice)
    listener.avatar_audio(1, "a", twice[:-4], 0.0)
    listener.avatar_started(2, 1.0)
    listener.avatar_audio(2, "b", twice[-4:], 1.0)
    verdict = judge.verdict(listener.audible())
    assert (verdict.missing_ms, verdict.repeats) == (0, [])


def test_a_fragment_that_stands_in_many_places_says_nothing_about_the_order():
    """A new connection plays one sample of a rewind before it ends; the same
    sample stands right where speech had come to."""
    audio = bytearray(pcm(1000))
    audio[600 * BYTES_PER_MS : 600 * BYTES_PER_MS + 2] = audio[
        500 * BYTES_PER_MS : 500 * BYTES_PER_MS + 2
    ]
    listener, judge = listener_and_judge(turn=bytes(audio))
    listener.avatar_audio(1, "a", bytes(audio[ms(0, 590)]), 0.0)
    listener.avatar_started(2, 1.0)
    at = 500 * BYTES_PER_MS
    listener.avatar_audio(2, "b", bytes(audio[at : at + 2]), 1.0)
    listener.avatar_started(3, 2.0)
    listener.avatar_audio(3, "c", bytes(audio[ms(500, 1000)]), 2.0)
    verdict = judge.verdict(listener.audible())
    assert (verdict.order, verdict.missing_ms) == ([], 0)
    assert verdict.longest_repeat_ms == pytest.approx(90)


def test_a_fragment_that_touches_nothing_leaves_no_hole():
    """Of a turn that was flushed, one sample in an unknown place."""
    sample = pcm(1, 3)[:2]
    audio = pcm(500, 1) + sample + pcm(500, 2) + sample
    listener, judge = listener_and_judge(turn=audio)
    listener.avatar_audio(1, "a", sample, 0.0)
    judge.flushed("turn", 0.5)
    verdict = judge.verdict(listener.audible())
    assert (verdict.missing_ms, verdict.unknown_ms) == (0, 0)


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param([(0, 20), (95, 100), (100, 150)], id="next turn"),
        pytest.param([(0, 20), (45, 50), (65, 69), (100, 150)], id="several"),
        pytest.param([(0, 20), (45, 49), (65, 69)], id="the last ones"),
    ],
)
def test_less_than_a_block_is_found_between_refused_parts(
    heard: list[tuple[int, int]],
):
    """One voice plays all that found room, without a pause."""
    audio = pcm(150)
    listener, judge = listener_and_judge(
        turn=audio[ms(0, 100)], next=audio[ms(100, 150)]
    )
    played = b"".join(audio[ms(*one)] for one in heard)
    listener.voice_audio(played, 0.0, "voice")
    verdict = judge.verdict(listener.audible())
    assert verdict.unknown_ms == 0
    assert verdict.missing_ms == 150 - len(played) / BYTES_PER_MS
    assert (verdict.order, verdict.repeats) == ([], [])


def test_a_few_samples_that_go_on_are_known_before_a_gap():
    """After a pause, the rest of the accepted audio and the next one."""
    audio = pcm(100)
    listener, judge = listener_and_judge(turn=audio)
    end = 20 * BYTES_PER_MS
    listener.voice_audio(audio[:end], 0.0, "voice")
    rest = audio[end : end + 4] + audio[ms(55, 100)]
    listener.voice_audio(rest, 1.0, "voice")
    verdict = judge.verdict(listener.audible())
    assert (verdict.unknown_ms, verdict.order) == (0, [])
    assert verdict.missing_ms == 35 - 4 / BYTES_PER_MS


def test_a_wrong_sample_is_unknown_even_if_it_was_said_elsewhere():
    audio = pcm(100)
    listener, judge = listener_and_judge(turn=audio)
    wrong = audio[:66] + audio[200:202] + audio[68:]
    listener.avatar_audio(1, "a", wrong, 0.0)
    verdict = judge.verdict(listener.audible())
    assert verdict.unknown_ms == 2 / BYTES_PER_MS


@settings(UNTIMED, max_examples=60)
@given(st.data())
def test_fragments_are_found_wherever_they_were_cut(data: st.DataObject):
    """Resumed at any sample, each loss is a hole, each rewind a repeat."""
    audio = pcm(600)
    listener, judge = listener_and_judge(before=pcm(300, 2), turn=audio)
    listener.avatar_audio(1, "first", pcm(300, 2), 0.0)
    now_s, at, connection = 1.0, 0, 1
    missing, repeats = 0, []
    while at < len(audio):
        samples = data.draw(st.integers(100, 2500), label="samples")
        end = min(len(audio), at + 2 * samples)
        listener.avatar_audio(connection, "turn", audio[at:end], now_s)
        now_s += 10
        if end == len(audio):
            break
        # Resumed elsewhere: by the voice or on the next connection.
        connection += 1
        listener.avatar_started(connection, now_s)
        jump = 2 * data.draw(st.integers(-90, 90), label="jump")
        at = end + jump
        if jump > 0:
            missing += min(at, len(audio)) - end
        elif jump < 0:
            repeats.append(-jump / BYTES_PER_MS)
    verdict = judge.verdict(listener.audible())
    assert verdict.missing_ms == pytest.approx(missing / BYTES_PER_MS)
    assert [one.repeated_ms for one in verdict.repeats] == pytest.approx(
        repeats
    )
    assert (verdict.unknown_ms, verdict.order) == (0, [])


def test_audio_behind_a_cut_under_the_same_name():
    """It begins at the cut, without the cut audio."""
    listener = Listener(RATE)
    audio = unique_pcm(100)
    listener.voice_audio(audio[ms(0, 50)], 0.0, "voice")
    listener.voice_flushed(0.02)
    listener.voice_audio(audio[ms(50, 100)], 0.02, "voice")
    heard = b"".join(one.audio for one in listener.audible())
    assert heard == audio[ms(0, 20)] + audio[ms(50, 100)]
