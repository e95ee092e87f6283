"""The feed of the window's pages: lines, figures, sound."""

import asyncio
import json
import re
from typing import Any, Literal

import pytest

from devkit.motion_server import (
    BlackHole,
    Close,
    Hang,
    Malformed,
    Record,
    Refuse,
    Reset,
    Resume,
    ServerError,
    SessionConfig,
    Silence,
    Slow,
    SlowReader,
    Stall,
    Unreachable,
)
from devkit.window.board import MAX_ENTRIES
from devkit.window.feed import Feed
from devkit.window.utterance import LEAD_S, Utterance
from devkit.window.viewers import MAX_WAITING_BYTES, Viewer
from devkit.window.words import fault as fault_in_words


class Listener:
    """A page that takes everything at once."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def put(self, message: Any) -> None:
        self.got.append(message)

    def titles(self) -> list[str]:
        """The titles of the timeline's entries, in order."""
        return [
            message["entry"]["title"]
            for message in self.got
            if isinstance(message, dict) and message["type"] == "entry"
        ]


def test_sessions_have_a_price() -> None:
    """Of those that have ended, and since when the latest is billed."""
    now = [0.0]
    record = Record(lambda: now[0])
    feed = Feed(clock=lambda: now[0], now=lambda: 5000 + now[0])
    config = SessionConfig(24000, "pcm_s16le", 0, "c", 7, "7", "secret-token")
    for lasts_s in (0.0, 61.0):
        connection = record.opened(app_id="a", avatar_id="b", session_token=1)
        record.configured(connection, config)
        record.confirmed(connection, "id")
        now[0] += lasts_s
        record.closed(connection, "client", 1000)
    refused = record.opened(app_id="a", avatar_id="b", session_token=1)
    record.closed(refused, "server", 1008)
    latest = record.opened(app_id="a", avatar_id="b", session_token=1)
    record.configured(latest, config)
    record.confirmed(latest, "id")
    now[0] += 30.0
    feed.attach(record)
    page: Any = Listener()
    feed.subscribe(page, {})
    session = page.got[0]["session"]
    assert session["endedCredits"] == 1 + 11
    assert session["liveSince"] == 5061.0
    record.closed(latest, "client", 1000)
    session = [one for one in page.got if "session" in one][-1]["session"]
    assert session["endedCredits"] == 1 + 11 + 5
    assert session["liveSince"] is None


def test_renewal_is_not_taken_for_a_recovery() -> None:
    """A session that the client closed was renewed, all others recovered."""
    now = [0.0]
    record = Record(lambda: now[0])
    feed = Feed(clock=lambda: now[0])
    feed.attach(record)
    page: Any = Listener()
    feed.subscribe(page, {})
    config = SessionConfig(24000, "pcm_s16le", 0, "c", 7, "7", "secret-token")
    ends: list[tuple[Literal["client", "server"], int]] = [
        ("client", 1000),
        ("server", 1011),
        ("server", 4002),
    ]
    for by, code in ends:
        connection = record.opened(app_id="a", avatar_id="b", session_token=1)
        record.configured(connection, config)
        record.confirmed(connection, "id")
        now[0] += 60
        record.closed(connection, by, code)
        now[0] += 0.5
    assert page.titles() == [
        "Connection 1 is live",
        "Connection 1 is closed",
        "Connection 2: renewed, 0.50 s after the last one",
        "Connection 2 is lost",
        "Connection 3: recovered, 0.50 s after the last one",
        "Connection 3 is lost",
    ]
    assert "secret-token" not in json.dumps(page.got)


def test_late_page_is_given_the_latest_past() -> None:
    """The past is bounded, and waveforms come with it."""
    record = Record(lambda: 1.0)
    feed = Feed(clock=lambda: 1.0)
    feed.attach(record)
    connection = record.opened(app_id="a", avatar_id="b", session_token=1)
    config = SessionConfig(24000, "pcm_s16le", 0, "c", 7, "7", "secret-token")
    record.configured(connection, config)
    for at in range(MAX_ENTRIES + 5):
        record.audio(connection, f"req-{at}", bytes(960), True)
    page: Any = Listener()
    feed.subscribe(page, {})
    (hello,) = page.got
    assert len(hello["entries"]) == MAX_ENTRIES
    assert hello["entries"][0]["title"] == "Utterance 6"
    assert hello["entries"][0]["utterance"]["peaks"] == "AA=="


def test_answers_are_counted_as_the_extension_reports_them() -> None:
    """Heard, cut, resumed, and lost; metrics tell of the same loss."""
    feed = Feed(clock=lambda: 0.0)
    for reason, heard_ms in ((1, 1000), (2, 400), (3, 300)):
        feed.take_report(0.0, "avatar_audio_start", {"request_id": "a"})
        assert feed.session.is_heard
        end: dict[str, Any] = {"reason": reason}
        end["playback_position_ms"] = heard_ms
        end["request_total_audio_duration_ms"] = 1000
        end["metadata"] = {"turn_id": reason}
        feed.take_report(0.0, "avatar_audio_end", end)
        assert not feed.session.is_heard
    metrics = {"resent_ms": 20, "voice_ms": 30, "lost_ms": 650}
    metadata = {"turn_id": 3}
    feed.take_report(0.0, "metrics", {"metrics": metrics, "metadata": metadata})
    # Of a turn that was never heard only the metrics tell.
    metrics, metadata = {"lost_ms": 40}, {"turn_id": 4}
    feed.take_report(0.0, "metrics", {"metrics": metrics, "metadata": metadata})
    page: Any = Listener()
    feed.subscribe(page, {})
    (hello,) = page.got
    assert hello["session"]["speech"] == {
        "heardMs": 1700,
        "cutMs": 600,
        "resumedMs": 20,
        "voiceMs": 0,
        "lostMs": 740,
    }


def test_voice_is_an_utterance_of_its_own() -> None:
    """One per turn, with its sound, until the answer ends."""
    feed = Feed(clock=lambda: 0.0)
    page: Any = Listener()
    feed.subscribe(page, {})
    for turn in ("1", "1", "2"):
        feed.take_voice(0.0, turn, bytes(480), 24000)
    feed.take_report(0.0, "avatar_audio_end", {"reason": 2})
    assert sum(one["type"] == "sound" for one in page.got) == 3
    assert page.titles()[0] == "Utterance 1"
    outcomes = {}
    for message in page.got:
        if isinstance(message, dict) and "utterance" in message.get(
            "entry", ""
        ):
            utterance = message["entry"]["utterance"]
            assert utterance["connection"] == 0
            outcomes[utterance["number"]] = utterance["outcome"]
    assert outcomes == {1: "ended", 2: "interrupted"}
    assert {"type": "silence"} in page.got


@pytest.mark.parametrize(
    ("reason", "after_s", "heard_ms"), [(1, 2.0, 1000), (2, 0.3, 300)]
)
def test_voice_counts_as_far_as_it_was_heard(
    reason: int, after_s: float, heard_ms: int
) -> None:
    """Not audio that was handed out, and cut by a barge-in."""
    feed = Feed(clock=lambda: 0.0)
    feed.take_voice(5.0, "1", bytes(48000), 24000)
    feed.take_report(5.0 + after_s, "avatar_audio_end", {"reason": reason})
    page: Any = Listener()
    feed.subscribe(page, {})
    assert page.got[0]["session"]["speech"]["voiceMs"] == heard_ms


def test_audio_of_a_connection_that_has_ended_is_no_utterance() -> None:
    """Audio still read from it has no listener, and the next utterance is
    the rest of the one that was cut off."""
    record = Record(lambda: 1.0)
    feed = Feed(clock=lambda: 1.0)
    feed.attach(record)
    page: Any = Listener()
    feed.subscribe(page, {})
    config = SessionConfig(24000, "pcm_s16le", 0, "c", 7, "7", "secret-token")
    first, second = (
        record.opened(app_id="a", avatar_id="b", session_token=1)
        for _ in range(2)
    )
    for connection in (first, second):
        record.configured(connection, config)
    record.audio(first, "one", bytes(960), False)
    record.closed(first, "server", 1006)
    record.audio(first, "one", bytes(960), False)
    record.audio(first, "other", bytes(960), False)
    record.audio(second, "two", bytes(960), False)
    utterances = [one for one in page.titles() if one.startswith("Utterance")]
    assert set(utterances) == {"Utterance 1", "Utterance 2, the rest of 1"}


@pytest.mark.parametrize(
    "fault",
    [
        BlackHole(),
        Close(1011, "why"),
        Hang(),
        Malformed(),
        Refuse(503, detail="x, y='z'"),
        Reset(),
        Resume(),
        ServerError(4001, "no (more) credits", then_silent=True),
        Silence(),
        Slow(0.5),
        SlowReader(1000),
        Stall(),
        Stall(2),
        Unreachable(),
    ],
)
def test_faults_are_in_words(fault: Any) -> None:
    """No name of a class or of a field comes to the page."""
    for detail in (str(fault), f"console: {fault}"):
        words = " ".join(fault_in_words(detail))
        assert "on demand" not in words
        assert not re.search(r"[a-z]_[a-z]|True|False|None|=", words)


def _utterance() -> Utterance:
    return Utterance(1, 1, 24000)


def test_audio_in_time_has_no_gap() -> None:
    """Delays within the lead are not heard."""
    utterance = _utterance()
    for at in range(50):
        late_s = LEAD_S * 0.9 * (at % 3 == 0)
        heard = utterance.hear(bytes(960), 10 + at * 0.02 + late_s)
        assert heard.gap is None


def test_late_audio_is_a_gap() -> None:
    """The listener's wait is the gap's length."""
    utterance = _utterance()
    utterance.hear(bytes(48000), 0.0)
    gap = utterance.hear(bytes(48000), 1.0 + LEAD_S + 0.5).gap
    assert gap is not None
    assert gap.at_ms == 1000
    assert gap.length_s == pytest.approx(0.5 + LEAD_S)
    assert utterance.gaps == [gap]


def test_waveform_does_not_depend_on_the_messages() -> None:
    """Peaks are the same however the audio is cut, odd bytes included."""
    pcm = bytes(range(256)) * 60
    whole, pieces = _utterance(), _utterance()
    heard = whole.hear(pcm, 0.0)
    parts = [pieces.hear(pcm[at : at + 77], 0.0) for at in range(0, 15360, 77)]
    assert heard.pcm == pcm == b"".join(part.pcm for part in parts)
    assert heard.peaks == b"".join(part.peaks for part in parts)
    assert len(heard.peaks) == 15360 // 960


class SlowSocket:
    """A page that takes nothing until it is let."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.got: list[str] = []
        self.closed = False

    async def send_str(self, data: str) -> None:
        await self.may_read.wait()
        self.got.append(data)

    async def close(self, *, message: bytes) -> None:
        self.closed = True


async def _slow(messages: int) -> SlowSocket:
    socket: Any = SlowSocket()
    viewer = Viewer(socket, asyncio.get_running_loop())
    serving = asyncio.create_task(viewer.serve())
    for _ in range(messages):
        viewer.put({"type": "sound", "pcm": "A" * 10_000})
    viewer.put({"type": "silence"})
    await asyncio.sleep(0)
    socket.may_read.set()
    for _ in range(100):  # turns of the loop: nothing waits for time
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return socket


async def test_slow_page_gets_everything_in_order() -> None:
    """Up to a bound."""
    count = MAX_WAITING_BYTES // 11_000
    socket = await _slow(count)
    *sounds, last = socket.got
    assert last == '{"type": "silence"}'
    assert len(sounds) == count
    assert not socket.closed


async def test_page_that_reads_too_slowly_is_disconnected() -> None:
    """The data that waits for a page is bounded in any case."""
    socket = await _slow(MAX_WAITING_BYTES // 5_000)
    assert socket.closed
    assert '{"type": "silence"}' not in socket.got
