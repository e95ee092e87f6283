"""The commands that show the extension at work."""

import importlib
import inspect
import io
import os
import random
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from spatius_avatar_python import token
from typer.testing import CliRunner

if not getattr(pytest.importorskip("ten_runtime"), "IS_STAND_IN", False):
    pytest.skip(
        "the demo hosts the extension in the stand-in for ten_runtime, and "
        "the real one is installed",
        allow_module_level=True,
    )

from devkit.commands import demo
from devkit.commands.acts import Check, Played, resumed
from devkit.commands.output import print_columns, print_whole
from devkit.commands.timeline import TimelinePrinter
from devkit.credentials import CREDENTIALS
from devkit.harness.speech_file import SpeechFileError, read_speech
from devkit.motion_server import Record
from devkit.motion_server.listener import Audible
from devkit.motion_server.views import write_wav as write_audio
from devkit.package import ROOT
from devkit.web import BuildError, variables

SENTENCE = ROOT / "devkit" / "assets" / "sentence_24k.wav"
LIMIT_S = 120


COMMANDS = sorted(
    path.name.replace("-", "_")
    for path in (ROOT / "bin").iterdir()
    if path.name not in ("env.sh", "test")
)


def command(name: str) -> ModuleType:
    if name == "bench":
        pytest.importorskip("matplotlib")
    return importlib.import_module(f"devkit.commands.{name}")


PCM = 1
FLOAT = 3
MU_LAW = 7
EXTENSIBLE = 0xFFFE


def write_wav(
    path: Path,
    rate: int = 24000,
    channels: int = 1,
    bits: int = 16,
    encoding: int = PCM,
    audio: bytes = bytes(4800),
) -> Path:
    """Write a WAV file as its header says, by hand: `wave` knows PCM only."""
    size = channels * bits // 8
    tag = encoding if bits <= 16 or encoding != PCM else EXTENSIBLE
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * size, size, bits)
    if tag == EXTENSIBLE:
        form += struct.pack("<HHIH", 22, bits, 0, encoding) + bytes(14)
    chunks = b"WAVE"
    for name, chunk in ((b"fmt ", form), (b"data", audio)):
        chunks += name + struct.pack("<I", len(chunk)) + chunk
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """The first two seconds of the sentence."""
    pcm = read_speech(SENTENCE)[: 2 * 2 * 24000]
    return write_wav(tmp_path / "short.wav", audio=pcm)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"rate": 16000}, "16000 Hz, 1 channel, 16 bit PCM"),
        ({"channels": 2}, "24000 Hz, 2 channels, 16 bit PCM"),
        ({"bits": 8}, "24000 Hz, 1 channel, 8 bit PCM"),
        ({"bits": 24}, "24000 Hz, 1 channel, 24 bit PCM"),
        ({"bits": 32, "encoding": FLOAT}, "24000 Hz, 1 channel, 32 bit float"),
        ({"bits": 8, "encoding": MU_LAW}, "24000 Hz, 1 channel, 8 bit mu-law"),
        ({"encoding": 0x55}, "format 85"),
    ],
)
def test_a_wav_of_another_kind_is_explained(
    tmp_path: Path, header: dict[str, Any], said: str
) -> None:
    """Its format, the expected one, and how to convert it, in one line."""
    path = write_wav(tmp_path / "my speech's.wav", **header)
    with pytest.raises(SpeechFileError) as caught:
        read_speech(path)
    words = str(caught.value)
    assert said in words
    assert "expected 24000 Hz, 1 channel, 16 bit PCM" in words
    assert "\n" not in words
    command = shlex.split(words.partition("Convert it with: ")[2])
    assert command[:2] == ["sox", str(path)]
    assert command[-1] == "my speech's-24000.wav"


def test_a_wav_of_the_right_kind_is_read(tmp_path: Path) -> None:
    """Also where a recorder left a size that the file does not have."""
    audio = bytes(range(200))
    path = write_wav(tmp_path / "w.wav", audio=audio)
    assert read_speech(path) == audio
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])
    assert read_speech(path) == audio


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        *(
            (
                begin + b" no sound at all",
                "is not a WAV file. Convert it with: ",
            )
            for begin in (b"ID3", b"\xff\xfb", b"OggS", b"fLaC", b"FORM")
        ),
        (b"\x00\x00\x00\x18ftypM4A ", "is not a WAV file. Convert it with: "),
        (b"RIFF\x00\x00\x00\x00WAVE", "is not a WAV file. Convert it with: "),
        (b"# A text\n", "is not a WAV file$"),
        (b"\x7fELF\x02\x01", "is not a WAV file$"),
        (b"\x89PNG\r\n", "is not a WAV file$"),
    ],
)
def test_a_file_without_speech_is_explained(
    tmp_path: Path, data: bytes, said: str
) -> None:
    """No traceback for any file."""
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(SpeechFileError, match=said):
        read_speech(tmp_path / "f")
    with pytest.raises(SpeechFileError, match="holds no audio"):
        read_speech(write_wav(tmp_path / "silent", audio=b""))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.wav"], "nothing.wav cannot be read: No such file"),
        (["README.md"], "README.md is not a WAV file"),
        (["--heard", "README.md/x.wav"], "README.md/x.wav cannot be written"),
        (["--heard", "docs"], "docs cannot be written: Is a directory"),
        (["--port", "70000", "--window"], "--port"),
        (["--port", "-1", "--window"], "--port"),
        (["--port", "8080"], "--port belongs to --window and --web"),
        (["--host", "127.0.0.1"], "--host belongs to --window"),
        (["--host", "127.0.0.1", "--web"], "--host belongs to --window"),
        (["--window", "--web"], "--window and --web exclude each other"),
        (["--env-file", ".env"], "--env-file belongs to --web"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_a_wrong_argument_is_explained(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is spoken, and without a traceback."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(demo.app, arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    words = " ".join(result.output.split())
    assert said in words
    assert "is connecting" not in words


class Web:
    """bin/demo --web without npm: the client counts as built."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CREDENTIALS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(demo, "build", lambda client, to: None)
        # The variables of a .env file go with the test.
        monkeypatch.setattr(os, "environ", dict(os.environ))

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(demo.app, ["--web", *arguments])
        assert isinstance(result.exception, SystemExit), result.output
        assert result.exit_code == 2
        return " ".join(result.output.split())


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    return Web(tmp_path, monkeypatch)


def test_the_face_needs_credentials(web: Web, tmp_path: Path) -> None:
    """All that is missing is named, whether a .env is there or not."""
    for text in ("", "SPATIUS_API_KEY=key\nAGORA_CHANNEL='room'\n"):
        (tmp_path / ".env").write_text(text)
        output = web.run()
        assert "SPATIUS_APP_ID" in output and "AGORA_AVATAR_UID" in output
        assert ("SPATIUS_API_KEY" in output) is not bool(text)
        assert ("AGORA_CHANNEL" in output) is not bool(text)
    assert web.run("--env-file", "no.env") == "no.env does not exist"


def test_the_face_needs_a_certificate_to_sign_with(
    web: Web, tmp_path: Path
) -> None:
    """A given token lets the avatar in, and no client."""
    given = dict(CREDENTIALS)
    given["AGORA_TOKEN"] = token.sign(
        given["AGORA_APP_ID"],
        given.pop("AGORA_APP_CERTIFICATE"),
        given["AGORA_CHANNEL"],
        int(given["AGORA_AVATAR_UID"]),
        int(time.time()) + 3600,
    )
    (tmp_path / "my.env").write_text(
        "# mine\n\n"
        + "\n".join(f'export {name}="{v}"  # x' for name, v in given.items())
    )
    assert "agora_appcert: needed to sign" in web.run("--env-file", "my.env")


def test_variables_of_a_file_that_was_named_count_more_than_set_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with bin/check; those of a .env that is just there count less."""
    path = tmp_path / ".env"
    path.write_text("ONE=file\nTWO=file # and a comment\nFOUR=\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONE", "shell")
    monkeypatch.setenv("TWO", "")
    monkeypatch.delenv("FOUR", raising=False)
    assert variables(None) == {"TWO": "file", "FOUR": ""}
    assert variables(path) == {"ONE": "file", "TWO": "file", "FOUR": ""}


def test_the_client_is_built_before_anything_else(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that no registry has are no surprise after the credentials."""

    def build(client: Path, to: Path) -> None:
        raise BuildError("It needs what nobody has.")

    monkeypatch.setattr(demo, "build", build)
    assert web.run("no.wav") == "It needs what nobody has."


def test_the_file_that_is_spoken_is_not_overwritten(
    short: Path, tmp_path: Path
) -> None:
    """Also under another name."""
    link = tmp_path / "link.wav"
    link.symlink_to(short)
    before = short.read_bytes()
    for heard in (short, link):
        result = CliRunner().invoke(
            demo.app, [str(short), "--heard", str(heard)]
        )
        assert result.exit_code == 2
        assert "cannot be written: it is the file that is spoken" in " ".join(
            result.output.split()
        )
    assert short.read_bytes() == before


@pytest.mark.parametrize(
    ("length_s", "said"),
    [
        (59, None),
        (61, "takes about 1 min"),
        (3660, "takes about 1 h 1 min"),
    ],
)
def test_a_long_file_is_announced_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    length_s: int,
    said: str | None,
) -> None:
    """An hour is no surprise after a minute."""

    def play(console: Console, pcm: bytes) -> None:
        raise AssertionError("nobody listens that long")

    monkeypatch.setattr(demo, "play", play)
    monkeypatch.setattr(
        demo, "read_speech", lambda path: bytes(48000 * length_s)
    )
    heard = str(tmp_path / "heard.wav")
    result = CliRunner().invoke(demo.app, ["--heard", heard])
    words = " ".join(result.output.split())
    assert (said or "nobody listens") in words
    assert ("takes about" in words) is (said is not None)


def test_a_table_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """No column is cut at any width of the output."""
    table = Table(box=None)
    for name in ("one", "two"):
        table.add_column(name, no_wrap=True)
    table.add_row("x" * 150, "y" * 90)
    print_whole(Console(width=80), table)
    assert f"{'x' * 150}  {'y' * 90}" in capsys.readouterr().out


def test_columns_are_wrapped_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The widest is, in its own place; a word longer than it is divided."""
    texts = ("one two three four", "z" * 25)
    rows = [[(name, ""), (text, "dim")] for name, text in zip("ab", texts)]
    print_columns(Console(width=20), rows)
    assert capsys.readouterr().out.splitlines() == [
        "a  one two three",
        "   four",
        f"b  {'z' * 17}",
        f"   {'z' * 8}",
    ]


def test_a_host_that_is_none_is_explained() -> None:
    """In one line, before the window is announced."""
    result = CliRunner().invoke(demo.app, ["--window", "--host", "no host"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("no host is not loopback")
    assert "Cannot listen at no host" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_shows_a_traceback_for_a_wrong_argument(name: str) -> None:
    """Every command names the option that it does not know, and itself as it
    is called."""
    module = command(name)
    result = CliRunner().invoke(module.app, ["--no-such-option"])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    assert "--no-such-option" in result.stderr
    called = name.replace("_", "-")
    assert f'"bin/{called}")' in inspect.getsource(module)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bench", ["flush", "--json", "README.md/x"]),
        ("bench", ["flush", "--pictures", "README.md"]),
        ("guard", ["--html", "docs"]),
        ("run_graph", ["--heard", "docs"]),
    ],
)
def test_output_is_tried_before_the_work(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that cannot be written is no surprise after minutes."""
    monkeypatch.chdir(ROOT)
    module = command(name)
    result = CliRunner().invoke(module.app, arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    words = " ".join(result.output.split())
    assert "cannot be written" in words
    assert "Errno" not in words


def test_ctrl_c_says_stopped_and_nothing_else() -> None:
    """In the middle of a sentence, with its threads at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "devkit.commands.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "speaks the first answer" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert errors == "stopped\n"


def test_the_output_that_fails_late_does_not_eat_the_verdict(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is reported after the verdict, and the demo has failed."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a file that is always full")

    class Heard(Record):
        def write_wav(self, path: Any, connection: int | None = None) -> None:
            write_audio(path, bytes(4800), 24000)

    checks = [Check("all of it received", True, "4800 bytes")]
    played = Played(Heard(time.monotonic), checks, [1.0])
    monkeypatch.setattr(demo, "play", lambda console, pcm: played)
    arguments = [str(short), "--heard", "/dev/full"]
    result = CliRunner().invoke(demo.app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    verdict, _, problem = result.output.partition("/dev/full cannot be written")
    assert "all of it received" in verdict
    assert "No space left" in problem


@pytest.mark.parametrize(
    ("before", "after", "failed"),
    [
        ((0, 100_000), (80_000, 200_000), []),
        ((0, 100_000), (100_000, 200_000), []),
        ((0, 100_000), (100_480, 200_000), ["nothing missing"]),
        ((0, 100_000), (60_000, 200_000), ["heard twice"]),
        ((0, 100_000), (90_000, 190_000), ["nothing missing"]),
        ((0, 100_000), (0, 0), ["nothing missing", "speech back"]),
    ],
)
def test_the_third_act_is_judged_by_the_sound(
    before: tuple[int, int], after: tuple[int, int], failed: list[str]
) -> None:
    """Speech that is missing, repeated too long, or different fails the
    demo."""
    said = random.Random(0).randbytes(200_000)
    parts = [
        Audible(
            "avatar", number, "", begin, end, at_s, at_s + 1, said[begin:end]
        )
        for number, (begin, end), at_s in ((1, before, 0), (2, after, 1.08))
        if end > begin
    ]
    checks = resumed(parts, said)
    failing = [check.what for check in checks if not check.ok]
    assert len(failing) == len(failed)
    for what, words in zip(failing, failed):
        assert words in what


def test_timeline_prints_late_events_in_order() -> None:
    """An event of the past gets the time of the latest line."""
    output = io.StringIO()
    timeline = TimelinePrinter(Console(file=output, width=80))
    now_s = time.monotonic()
    timeline.say("late", "x", now_s + 5)
    timeline.say("early", "word " * 40, now_s + 1)
    late, early, *rest = output.getvalue().splitlines()
    assert late.split()[0] == early.split()[0]
    assert rest and all(line.startswith(" " * 25) for line in rest)
    assert max(map(len, rest)) <= 100


@pytest.mark.takes_s(10)
def test_the_demo_keeps_its_claims(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check is ok, the output is the speech, and times of the
    timeline only grow."""
    heard = short.parent / "heard.wav"
    monkeypatch.setenv("TEN_STAND_IN_LOG", "error")
    arguments = [str(short), "--heard", str(heard)]
    shown = CliRunner().invoke(demo.app, arguments)
    failed = re.findall(r"FAILED\s+(.*)", shown.stdout)
    assert shown.exit_code == bool(failed), shown.output
    # How long an outage lasts depends on the machine's other work.
    assert all("the voice back within" in what for what in failed), failed
    assert " 0 ms missing" in shown.stdout
    assert re.search(r"\b[1-9]\d* ms twice", shown.stdout)
    assert re.search(r"after \d+ ms\b", shown.stdout)
    with wave.open(str(heard)) as wav:
        received = wav.readframes(wav.getnframes())
    assert received.startswith(read_speech(short))
    lines = shown.stdout.splitlines()
    times = [
        float(found.group(1))
        for line in lines
        if (found := re.match(r" *(\d+\.\d{3}) s ", line))
    ]
    assert len(times) > 8
    assert times == sorted(times)
    # The last line holds the path of pytest's own folder.
    assert max(map(len, lines[:-1])) <= 100


@pytest.mark.takes_s(5)
def test_the_soak_accounts_for_every_sample() -> None:
    """Three minutes of it, with all their faults."""
    result = CliRunner().invoke(command("soak").app, ["--minutes", "3"])
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "unaccounted for 0 samples" in words
    assert "missing, not counted 0.0 ms" in words
    assert "tasks left after the stop: 0" in words
