"""The commands that show the extension at work."""

import subprocess
import sys
import wave
from pathlib import Path

import pytest

from devkit.package import ROOT

SENTENCE = ROOT / "devkit" / "assets" / "sentence_24k.wav"


def run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"devkit.commands.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_wav(path: Path, rate: int, channels: int, width: int) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setframerate(rate)
        wav.setnchannels(channels)
        wav.setsampwidth(width)
        wav.writeframes(bytes(rate * channels * width // 10))
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "width", "said"),
    [
        (16000, 1, 2, "16000 Hz"),
        (24000, 2, 2, "2 channel"),
        (24000, 1, 1, "8 bit"),
    ],
)
def test_a_wav_of_another_kind_is_explained(
    tmp_path: Path, rate: int, channels: int, width: int, said: str
) -> None:
    """What it is, what was expected, and how to convert it."""
    result = run("demo", str(write_wav(tmp_path / "w", rate, channels, width)))
    assert result.returncode == 2
    assert said in result.stdout
    assert "expected 24000 Hz, 1 channel, 16 bit" in result.stdout
    assert "sox" in result.stdout


def test_a_file_that_is_no_wav_is_explained(tmp_path: Path) -> None:
    """No traceback, whatever the file holds, or where there is none."""
    (tmp_path / "text").write_text("no sound")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        result = run("demo", str(path))
        assert result.returncode == 2
        assert "cannot be read" in result.stdout
        assert "Traceback" not in result.stdout + result.stderr


def test_the_demo_holds_what_it_shows(tmp_path: Path) -> None:
    """A short file is spoken; every check is ok, and what was heard is it."""
    with wave.open(str(SENTENCE)) as wav:
        pcm = wav.readframes(24000 * 2)
    short = tmp_path / "short.wav"
    with wave.open(str(short), "wb") as wav:
        wav.setframerate(24000)
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.writeframes(pcm)
    heard = tmp_path / "heard.wav"
    result = run("demo", str(short), "--heard", str(heard))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
    with wave.open(str(heard)) as wav:
        assert wav.readframes(wav.getnframes()).startswith(pcm)


def test_the_soak_accounts_for_every_sample() -> None:
    """Five minutes of it, with whatever went wrong in them."""
    result = run("soak", "--minutes", "5", "--speed", "40")
    assert result.returncode == 0, result.stdout + result.stderr
    words = " ".join(result.stdout.split())
    assert "unaccounted for 0 samples" in words
    assert "tasks left after the stop: 0" in words
