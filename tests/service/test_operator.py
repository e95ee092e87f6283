"""The sentences for the operator, as errors of the whole extension."""

import asyncio
import importlib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import APP_ID, properties
from spatius_avatar_python.clock import SystemClock
from spatius_avatar_python.session import sdk
from ten_runtime import AudioFrame
from test_surroundings import Server, answer, no_proxy  # noqa: F401

from devkit.harness.messages import audio_frame
from devkit.harness.rig import Rig
from devkit.motion_server import MotionServer, ServerError

pytestmark = [pytest.mark.wire, pytest.mark.asyncio]

MakeRig = Callable[..., Rig]


async def first_error(
    rig: Rig, frame: AudioFrame | None = None
) -> dict[str, Any]:
    """Start, and return the first error, which stands in the log, too."""
    await rig.start()
    if frame is not None:
        await rig.send_frame(frame)
    for _ in range(500):
        if rig.errors:
            break
        await asyncio.sleep(0.02)
    error = rig.errors[0]
    assert error["message"] in [line.text for line in rig.env.lines]
    return error


# Proxies


@pytest.mark.parametrize(
    ("proxy", "code", "words"),
    [
        ("", -1000, ("variable HTTP_PROXY", "407")),
        ("http://127.0.0.1:9", 1000, ("HTTP_PROXY",)),
        (
            "socks5h://127.0.0.1:9",
            -1012,
            ("HTTP_PROXY", "pip install python-socks"),
        ),
    ],
    ids=["refuses", "is down", "SOCKS"],
)
async def test_error_of_a_proxy_names_its_variable(
    motion_server: MotionServer,
    make_rig: MakeRig,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
    code: int,
    words: tuple[str, ...],
) -> None:
    """It is not ascribed to Spatius."""
    refusing = Server(answer("407 Proxy Authentication Required"))
    async with refusing.running() as url:
        monkeypatch.setenv("HTTP_PROXY", proxy or url)
        error = await first_error(make_rig(properties(motion_server)))
    assert error["code"] == code
    for word in words:
        assert word in error["message"]
    assert "Spatius says" not in error["message"]


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that signs itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 1"
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        f"{command} {names}".split()
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_untrusted_certificate_names_its_variable(
    motion_server: MotionServer, make_rig: MakeRig, untrusted: ssl.SSLContext
) -> None:
    """It may be that of a proxy which reads TLS."""
    server = await asyncio.start_server(
        lambda reader, writer: None, "127.0.0.1", 0, ssl=untrusted
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        tree = properties(
            motion_server, console_endpoint_url=f"https://127.0.0.1:{port}"
        )
        error = await first_error(make_rig(tree))
    assert error["code"] == 1000
    assert "SSL_CERT_FILE" in error["message"]


# Clocks


async def test_clock_that_is_behind(
    motion_server: MotionServer, make_rig: MakeRig
) -> None:
    """By how much, where the console's answer has the time."""
    formatdate = importlib.import_module("email.utils").formatdate
    date = formatdate(SystemClock.epoch() + 1800, usegmt=True)
    refusal = {"errors": [{"detail": "expireAt is in the past"}]}
    server = Server(answer("400 Bad Request", refusal, f"Date: {date}"))
    async with server.running() as url:
        tree = properties(motion_server, console_endpoint_url=url)
        error = await first_error(make_rig(tree))
    assert error["code"] == 1000
    assert error["vendor_info"]["code"] == "clockBehind"
    assert "check this machine's clock" in error["message"]
    assert "30 min" in error["message"]


async def test_agora_token_that_is_called_expired_is_signed_anew(
    motion_server: MotionServer, make_rig: MakeRig
) -> None:
    """The clock may have been corrected: the next attempt has a new token."""
    fault = ServerError(16, "agora_egress: token is expired")
    motion_server.faults.handshake(fault)
    rig = make_rig(properties(motion_server))
    error = await first_error(rig)
    assert error["code"] == 1000
    assert "check this machine's clock" in error["message"]
    await rig.state("ready")
    first, second = motion_server.record.connections
    assert first.config is not None and second.config is not None
    assert first.config.agora_token != second.config.agora_token


async def test_given_agora_token_that_is_called_expired_is_final(
    motion_server: MotionServer, make_rig: MakeRig
) -> None:
    """The extension cannot sign another."""
    fault = ServerError(16, "agora_egress: token is expired")
    motion_server.faults.handshake(fault, times=None)
    tree = properties(
        motion_server, agora_token="made by hand", agora_appcert=None
    )
    error = await first_error(make_rig(tree))
    assert error["code"] == -1000
    assert "agora_token" in error["message"]


# Advice


@pytest.mark.parametrize(
    ("layout", "expected", "never"),
    [
        (
            {"sample_rate": 48000, "channels": 2},
            "Have the TTS send signed 16-bit mono PCM",
            "one of these rates",
        ),
        (
            {"sample_rate": 11025},
            "Set the TTS to one of these rates",
            "Have the TTS send",
        ),
    ],
    ids=["stereo", "11025 Hz"],
)
async def test_advice_for_frames_fits_auto(
    motion_server: MotionServer,
    make_rig: MakeRig,
    layout: dict[str, Any],
    expected: str,
    never: str,
) -> None:
    """It is configured already."""
    rig = make_rig(properties(motion_server, sample_rate="auto"))
    error = await first_error(rig, audio_frame(bytes(960), 1, **layout))
    assert error["code"] == 1000
    assert expected in error["message"]
    assert never not in error["message"]
    assert "auto" not in error["message"]


async def test_two_sdk_packages_in_one_worker(
    motion_server: MotionServer,
    make_rig: MakeRig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No version of protobuf helps; an error names the way out."""

    def collide(name: str) -> Any:
        raise TypeError("duplicate file name message.proto")

    with monkeypatch.context() as patch:
        patch.setattr(sdk.importlib, "import_module", collide)
        module, problem = sdk._import_package()
    assert module is None
    monkeypatch.setattr(sdk, "_sdk", module)
    monkeypatch.setattr(sdk, "_import_problem", problem)
    error = await first_error(make_rig(properties(motion_server)))
    assert error["code"] == -1012
    assert "SPATIUS_SDK" in error["message"]
    assert "avatarkit and spatius" in error["message"]
    assert "protobuf >=" not in error["message"]


async def test_key_with_a_comment_behind_it_eats_no_words(
    motion_server: MotionServer, make_rig: MakeRig
) -> None:
    """A comment is no secret: its words stay in the sentences."""
    tree = properties(
        motion_server,
        spatius_api_key="Zq7mXw4Lp9Vt2Rk8 # check params",
        agora_appid=APP_ID,
    )
    error = await first_error(make_rig(tree))
    assert error["code"] == -1012
    assert "params.spatius_api_key" in error["message"]
    assert "Zq7mXw4L" not in error["message"]
    assert "***" not in error["message"]
