"""WAV files with speech: read, or refused with the way to convert them."""

import shlex
import struct
from pathlib import Path
from typing import NamedTuple

_PCM, _EXTENSIBLE = 1, 0xFFFE
_AUDIO_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"ID3"),
    *(b"OggS", b"fLaC", b"wvpk", b"MAC ", b"#!AMR", b"\x1a\x45\xdf\xa3"),
    b"\x30\x26\xb2\x75",
)
"""How audio files begin: WAV and its kin, AIFF, AU, CAF, MP3, Ogg, FLAC,
WavPack, Monkey's Audio, AMR, Matroska, WMA."""

_FORMATS = {_PCM: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law"}


class SpeechFileError(ValueError):
    """The file cannot be played; the text says why, in one line."""


class _Wav(NamedTuple):
    encoding: int
    channels: int
    sample_rate: int
    bits: int
    samples: bytes

    def __str__(self) -> str:
        plural = "" if self.channels == 1 else "s"
        name = _FORMATS.get(self.encoding, f"format {self.encoding}")
        return (
            f"{self.sample_rate} Hz, {self.channels} channel{plural}, "
            f"{self.bits} bit {name}"
        )


def read_speech(path: Path, sample_rate: int = 24000) -> bytes:
    """Return a WAV's samples: signed 16-bit mono at `sample_rate` Hz.

    Raises `SpeechFileError`.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpeechFileError(f"{path} cannot be read: {reason}") from error
    if not data:
        raise SpeechFileError(f"{path} is empty")
    advice = f"Convert it with: {_command(path, sample_rate)}"
    try:
        wav = _parsed(data)
    except (ValueError, struct.error):
        text = f"{path} is not a WAV file"
        if _is_audio(data):
            text += f". {advice}"
        raise SpeechFileError(text) from None
    expected = _Wav(_PCM, 1, sample_rate, 16, b"")
    if wav[:4] != expected[:4]:
        raise SpeechFileError(f"{path} is {wav}; expected {expected}. {advice}")
    if len(wav.samples) < 2:
        raise SpeechFileError(f"{path} holds no audio")
    return wav.samples[: len(wav.samples) // 2 * 2]


def _is_audio(data: bytes) -> bool:
    """Return whether the file begins as one that a converter reads."""
    is_mpeg_frame = data[:1] == b"\xff" and data[1:2] >= b"\xe0"
    return (
        is_mpeg_frame or data.startswith(_AUDIO_MAGIC) or data[4:8] == b"ftyp"
    )


def _parsed(data: bytes) -> _Wav:
    """Return the audio of a RIFF file; ValueError, struct.error if it is
    none."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError
    form, samples, at = b"", b"", 12
    while at + 8 <= len(data):
        name, size = (
            data[at : at + 4],
            int.from_bytes(data[at + 4 : at + 8], "little"),
        )
        # A recorder that streams leaves a size beyond the file's end.
        chunk = data[at + 8 : at + 8 + size]
        if name == b"fmt ":
            form = chunk
        elif name == b"data":
            samples = chunk
        at += 8 + size + size % 2
    encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if encoding == _EXTENSIBLE:
        (encoding,) = struct.unpack_from("<H", form, 24)
    return _Wav(encoding, channels, rate, bits, samples)


def _command(path: Path, sample_rate: int) -> str:
    # Another name than the file's own, which sox would overwrite.
    target = f"{path.stem}-{sample_rate}.wav"
    return shlex.join(
        ["sox", str(path), "-r", str(sample_rate), "-c", "1"]
        + ["-b", "16", "-e", "signed-integer", target]
    )
