"""Inbound audio is written to WAV files, even if the process crashes."""

import re
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from spatius_avatar_python.messages import dump
from spatius_avatar_python.messages.dump import Dump

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 24000
FRAME = bytes(range(240)) * 2  # 10 ms
DEADLINE_S = 20.0

Make = Callable[..., Dump]


class Problems(list[str]):
    """Takes the reports of a dump, and says when one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def __call__(self, problem: str) -> None:
        self.append(problem)
        self.came.set()


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest.fixture
def make(tmp_path: Path, problems: Problems) -> Iterator[Make]:
    """Make dumps into tmp_path; close those that a test leaves open."""
    made: list[Dump] = []

    def make(
        folder: object = tmp_path, name: str = "avatar", rate_hz: int = RATE_HZ
    ) -> Dump:
        made.append(Dump(str(folder), name, rate_hz, problems))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.join(DEADLINE_S)


def finish(writing: Dump) -> None:
    writing.close()
    writing.join(DEADLINE_S)


def wavs(folder: Path) -> list[Path]:
    """Return the files in the order in which they were begun."""
    return sorted(folder.iterdir())


def the_wav(folder: Path) -> Path:
    (path,) = wavs(folder)
    return path


def read(path: Path) -> tuple[tuple[int, int, int], bytes]:
    """Return (rate, channels, bytes per sample) and audio of a WAV."""
    with wave.open(str(path), "rb") as wav:
        form = wav.getframerate(), wav.getnchannels(), wav.getsampwidth()
        return form, wav.readframes(wav.getnframes())


def run(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for the writing thread's effect on the file system."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@pytest.mark.parametrize("rate_hz", [8000, 24000, 48000])
def test_writes_the_inbound_audio(make, tmp_path, problems, rate_hz):
    """The file holds the audio byte for byte, with the right header."""
    writing = make(rate_hz=rate_hz)
    frames = [bytes([i, 255 - i]) * (1 + i % 7) for i in range(200)]
    for frame in frames:
        writing.write(frame)
    finish(writing)
    assert read(the_wav(tmp_path)) == ((rate_hz, 1, 2), b"".join(frames))
    assert problems == []


def test_name_tells_extension_and_time(make, tmp_path):
    """The file is `<extension name>_in_<UTC time>.wav`."""
    before = datetime.now(timezone.utc)
    finish(make(name="avatar_1"))
    after = datetime.now(timezone.utc)
    match = re.fullmatch(
        r"avatar_1_in_(\d{8}T\d{6}\.\d{6})Z\.wav", the_wav(tmp_path).name
    )
    assert match is not None
    begun = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f").replace(
        tzinfo=timezone.utc
    )
    assert before - timedelta(microseconds=1) <= begun <= after


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("../../etc/avatar", ".._.._etc_avatar_in_"),
        ("my avatar:1", "my_avatar_1_in_"),
        ("a\0b\\c", "a_b_c_in_"),
        ("Ävatar", "_vatar_in_"),
        ("", "_in_"),
    ],
)
def test_name_is_made_a_file_name(make, tmp_path, problems, name, start):
    """An extension may have any name; its files stay in their folder."""
    finish(make(tmp_path / "dump", name=name))
    assert the_wav(tmp_path / "dump").name.startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]
    assert problems == []


def test_folder_is_made(make, tmp_path):
    """A folder that is not there yet is made, with those above it."""
    writing = make(tmp_path / "a" / "b")
    writing.write(FRAME)
    finish(writing)
    assert read(the_wav(tmp_path / "a" / "b"))[1] == FRAME


def test_empty_folder_is_the_current_one(make, tmp_path, monkeypatch):
    """Without a folder the file goes where the process is."""
    monkeypatch.chdir(tmp_path)
    finish(make(""))
    assert the_wav(tmp_path).name.startswith("avatar_in_")


def test_silence_is_a_wav_too(make, tmp_path):
    """If nothing was said, the file is a WAV that holds nothing."""
    finish(make())
    assert read(the_wav(tmp_path)) == ((RATE_HZ, 1, 2), b"")


def test_each_run_has_its_file(make, tmp_path):
    """A second run does not touch the files of the first."""
    for number in range(2):
        writing = make()
        writing.write(bytes([number]) * 4)
        finish(writing)
    assert [read(path)[1] for path in wavs(tmp_path)] == [
        b"\0\0\0\0",
        b"\1\1\1\1",
    ]


def test_is_readable_while_open(make, tmp_path):
    """The audio written can be read while more is to come."""
    writing = make()
    # The header comes first; before it there is nothing to read.
    wait_for(lambda: any(path.stat().st_size for path in wavs(tmp_path)))
    for number in range(1, 4):
        writing.write(FRAME)
        wait_for(
            lambda audio=FRAME * number: read(the_wav(tmp_path))[1] == audio
        )


def test_is_readable_after_a_crash(tmp_path):
    """A process that ends at once leaves a WAV as far as it got."""
    script = """
import os, sys, time, wave
from pathlib import Path
from devkit import package
package.load()
from spatius_avatar_python.messages.dump import Dump

def seconds(path):
    try:
        with wave.open(str(path)) as wav:
            return wav.getnframes() / 24000
    except (EOFError, wave.Error):
        return 0

folder = Path(sys.argv[1])
writing = Dump(str(folder), "avatar", 24000, print)
frame = bytes(range(240)) * 2
for _ in range(50):
    writing.write(frame)
while sum(map(seconds, folder.iterdir())) < 0.5:
    time.sleep(0.01)
for _ in range(5000):
    writing.write(frame)
os._exit(7)
"""
    done = run(script, str(tmp_path))
    assert done.returncode == 7, done.stderr
    form, audio = read(the_wav(tmp_path))
    assert form == (RATE_HZ, 1, 2)
    assert len(audio) >= 50 * len(FRAME)
    assert audio == (FRAME * 5050)[: len(audio)]


def test_folder_that_is_a_file(make, tmp_path, problems):
    """A folder that cannot be written is reported once, in words."""
    in_the_way = tmp_path / "dump"
    in_the_way.write_text("not a folder")
    writing = make(in_the_way)
    assert problems.came.wait(DEADLINE_S)
    for _ in range(100):
        writing.write(FRAME)
    finish(writing)
    assert len(problems) == 1
    assert str(in_the_way) in problems[0]
    assert "dump_path" in problems[0]
    assert in_the_way.read_text() == "not a folder"


@pytest.mark.parametrize("folder", ["a\0b", "a\ud800b", "x" * 300])
def test_folder_that_no_file_system_takes(make, problems, folder):
    """Nor may a folder's name end the writing thread without a word."""
    writing = make(folder)
    assert problems.came.wait(DEADLINE_S)
    finish(writing)
    assert len(problems) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_disk_that_takes_no_more(tmp_path):
    """A disk that fills up is reported once; the audio written can be read."""
    script = """
import resource, sys, threading
from devkit import package
package.load()
from spatius_avatar_python.messages.dump import Dump

reported = threading.Event()

def report(problem):
    print("PROBLEM", problem)
    reported.set()

writing = Dump(sys.argv[1], "avatar", 24000, report)
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
for _ in range(100):
    writing.write(bytes(range(240)) * 2)
assert reported.wait(20)
writing.write(b"more")
writing.close()
writing.join(20)
"""
    done = run(script, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PROBLEM the dump cannot be written") == 1
    assert "Traceback" not in done.stderr
    form, audio = read(the_wav(tmp_path))
    assert form == (RATE_HZ, 1, 2)
    assert audio == (FRAME * 100)[: len(audio)]


def test_problem_comes_before_anything_is_written(make, tmp_path, problems):
    """A problem is reported even if no audio ever comes."""
    in_the_way = tmp_path / "dump"
    in_the_way.write_text("")
    make(in_the_way)
    assert problems.came.wait(DEADLINE_S)


class NoThread(threading.Thread):
    """A thread that the process has no room for."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_process_without_another_thread(make, problems, monkeypatch):
    """It is a problem like any other, and the file is not waited for."""
    monkeypatch.setattr(dump.threading, "Thread", NoThread)
    writing = make()
    writing.write(FRAME)
    closed = threading.Event()
    writing.close(closed.set)
    assert closed.is_set()
    (problem,) = problems
    assert "can't start new thread" in problem


def test_write_after_close_is_left_out(make, tmp_path):
    """Audio after the end has no effect."""
    writing = make()
    writing.write(FRAME)
    finish(writing)
    writing.write(FRAME)
    writing.close()
    writing.join(DEADLINE_S)
    assert read(the_wav(tmp_path))[1] == FRAME


def test_close_writes_all_that_waits(make, tmp_path):
    """Audio handed in before the end is in the file, at once."""
    writing = make()
    count = dump.MAX_WAITING_BYTES // len(FRAME)
    for _ in range(count):
        writing.write(FRAME)
    finish(writing)
    audio = read(the_wav(tmp_path))[1]
    assert audio == FRAME * count


def test_neither_write_nor_close_waits_for_the_disk(make, problems):
    """A disk that stalls holds up neither speech nor the end."""
    stalled = threading.Event()
    go_on = threading.Event()
    waited = []

    def stall(problem: str) -> None:
        problems(problem)
        stalled.set()
        waited.append(go_on.wait(DEADLINE_S))

    writing = Dump("/dev/null/no", "avatar", RATE_HZ, stall)
    try:
        assert stalled.wait(DEADLINE_S)
        writing.write(FRAME)
        writing.close()
        assert waited == []  # it stalls yet
    finally:
        go_on.set()
        writing.join(DEADLINE_S)


def test_next_file_begins_where_one_is_full(make, tmp_path, monkeypatch):
    """A WAV ends before its header's numbers do; no audio is lost."""
    monkeypatch.setattr(dump, "ROLL_OVER_BYTES", 2 * len(FRAME))
    writing = make()
    for number in range(1, 4):
        for _ in range(2):
            writing.write(FRAME)
        wait_for(lambda least=number: len(wavs(tmp_path)) > least)
    writing.write(FRAME)
    finish(writing)
    files = [read(path)[1] for path in wavs(tmp_path)]
    assert b"".join(files) == FRAME * 7
    assert files == [FRAME * 2] * 3 + [FRAME]


def test_thread_bears_the_extensions_name(make):
    """A list of the process's threads shows whose it is."""
    make(name="avatar_7")
    assert "avatar_7-dump" in {t.name for t in threading.enumerate()}
