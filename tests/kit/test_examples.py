"""The examples fit manifest.json and config.py, and the small one runs."""

import json
import os
import re
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest
import ten_runtime
from typer.testing import CliRunner, Result

from devkit.credentials import APP_ID, CERTIFICATE
from devkit.graph import Graph, Node, configure, read, resolve
from devkit.graph.report import examine

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
VOICE_ASSISTANT = EXAMPLES / "voice-assistant" / "property.json"
WAV_PLAYER = EXAMPLES / "wav-player" / "property.json"
ADDON = "spatius_avatar_python"

ENVIRONMENT = {
    "SPATIUS_API_KEY": "some-key",
    "SPATIUS_APP_ID": "good-app",
    "SPATIUS_AVATAR_ID": "good-avatar",
    "AGORA_APP_ID": APP_ID,
    "AGORA_APP_CERTIFICATE": CERTIFICATE,
}

examples = pytest.mark.parametrize(
    "path", [VOICE_ASSISTANT, WAV_PLAYER], ids=["voice-assistant", "wav-player"]
)


def avatar_of(path: Path) -> tuple[Node, Graph]:
    """Return the example's one avatar and its graph."""
    (node,) = read(path).nodes(ADDON)
    assert node.graph is not None
    return node, node.graph


def declared(manifest: Path, direction: str) -> set[tuple[str, str]]:
    """Return (kind, name) of the messages that a manifest declares."""
    api = json.loads(manifest.read_text())["api"]
    return {
        (key.removesuffix(direction), entry["name"])
        for key, entries in api.items()
        if key.endswith(direction)
        for entry in entries
    }


@examples
def test_every_message_wired_to_the_avatar_is_declared(path):
    """manifest.json declares the messages of the graphs."""
    node, graph = avatar_of(path)
    wired = {(w.kind, w.message) for w in graph.wires() if w.dest == node.name}
    assert wired <= declared(ROOT / "manifest.json", "_in")


@examples
def test_everything_that_an_agent_needs_is_wired(path):
    """Audio, its start, its end and flush reach the avatar."""
    node, graph = avatar_of(path)
    wired = {(w.kind, w.message) for w in graph.wires() if w.dest == node.name}
    assert wired == {
        ("audio_frame", "pcm_frame"),
        ("data", "tts_audio_start"),
        ("data", "tts_audio_end"),
        ("cmd", "flush"),
    }


@examples
def test_connections_name_only_nodes_that_exist(path):
    """No wire leads to a node with a mistyped name."""
    _, graph = avatar_of(path)
    names = {node["name"] for node in graph.nodes}
    ends = {end for wire in graph.wires() for end in (wire.source, wire.dest)}
    assert ends <= names


@pytest.mark.parametrize(
    ("path", "environment"),
    [(VOICE_ASSISTANT, ENVIRONMENT), (WAV_PLAYER, {})],
    ids=["voice-assistant", "wav-player"],
)
def test_configuration_is_accepted(path, environment):
    """With the documented variables set nothing is wrong or doubtful."""
    node, _ = avatar_of(path)
    config = configure(resolve(node, environment), time.time())
    assert config.warnings == ()


def test_check_finds_no_error_in_the_voice_assistant():
    """Its one warning is the line that TEN's stock agent needs."""
    others = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "ELEVENLABS_TTS_KEY")
    environment = {**ENVIRONMENT, **dict.fromkeys(others, "some-key")}
    node, _ = avatar_of(VOICE_ASSISTANT)
    found = examine(node, [], environment, time.time()).findings
    assert not found.errors and not found.notes
    assert ['"flush", "avatar"' in text for text in found.warnings] == [True]


def test_every_variable_of_the_voice_assistant_is_documented():
    """A reader of the README has set all variables of the graph."""
    asked = set(re.findall(r"\$\{env:(\w+)", VOICE_ASSISTANT.read_text()))
    documented = (VOICE_ASSISTANT.parent / "README.md").read_text()
    missing = {name for name in asked if f"`{name}`" not in documented}
    assert missing == set()


def test_user_agent_and_avatar_have_uids_of_their_own():
    """Nobody throws anybody else out of the channel."""
    node, graph = avatar_of(VOICE_ASSISTANT)
    rtc = graph.property_of("agora_rtc")
    uids = [
        rtc["stream_id"],
        rtc["remote_stream_id"],
        node.property["params"]["agora_uid"],
    ]
    assert len(set(uids)) == 3


def test_avatar_and_agent_meet_in_one_channel():
    """And the node has a channel that the agent server can fill in."""
    node, graph = avatar_of(VOICE_ASSISTANT)
    assert node.property["channel"] == graph.property_of("agora_rtc")["channel"]


def test_rates_of_tts_and_avatar_agree():
    """Nothing is resampled on the way."""
    node, graph = avatar_of(VOICE_ASSISTANT)
    output_format = graph.property_of("tts")["params"]["output_format"]
    assert output_format == f"pcm_{node.property['params']['sample_rate']}"


def test_speech_is_not_played_twice():
    """The TTS's audio goes to the avatar and nowhere else."""
    _, graph = avatar_of(VOICE_ASSISTANT)
    dests = [
        wire.dest
        for wire in graph.wires()
        if wire.kind == "audio_frame" and wire.source == "tts"
    ]
    assert dests == ["avatar"]


def test_everything_that_the_player_sends_is_declared_by_it():
    """The player's manifest declares its messages in the graph."""
    _, graph = avatar_of(WAV_PLAYER)
    sent = {(w.kind, w.message) for w in graph.wires() if w.source == "player"}
    manifest = WAV_PLAYER.parent / "wav_player_python" / "manifest.json"
    assert sent <= declared(manifest, "_out")


def test_the_player_asks_for_no_voice():
    """None is wired: on a slow machine there would be a warning of it."""
    avatar, graph = avatar_of(WAV_PLAYER)
    assert not [w for w in graph.wires() if w.source == avatar.name]
    assert avatar.property["params"]["fallback_after_ms"] == 0


def run(*arguments: str | Path, **environment: str) -> Result:
    """Run `bin/run-graph` in this process."""
    if not getattr(ten_runtime, "IS_STAND_IN", False):
        pytest.skip("the graph runs on the stand-in; the real one is installed")
    from devkit.commands import run_graph

    return CliRunner().invoke(
        run_graph.app, list(map(str, arguments)), env=environment
    )


def written(folder: Path, pcm: bytes) -> str:
    """Write a WAV file of 24 kHz, and return its name."""
    speech = folder / "speech.wav"
    with wave.open(str(speech), "wb") as wav:
        wav.setparams((1, 2, 24000, 0, "NONE", ""))
        wav.writeframes(pcm)
    return str(speech)


def copied(folder: Path, before: str, after: str) -> Path:
    """Copy the WAV player's graph, with `after` in the place of `before`."""
    original = WAV_PLAYER.read_text()
    assert original.count(before) == 1
    graph = folder / "property.json"
    graph.write_text(original.replace(before, after))
    player = "wav_player_python"
    (folder / player).symlink_to(WAV_PLAYER.parent / player)
    return graph


@pytest.mark.wire
def test_wav_player_is_received_byte_for_byte(tmp_path):
    """The Motion Server receives the WAV, in one utterance."""
    # An odd number of samples: the last frame is a short one.
    pcm = bytes(range(251)) * 98
    received = tmp_path / "received.wav"
    speech = written(tmp_path, pcm)
    done = run(WAV_PLAYER, "--heard", received, WAV_FILE=speech)
    assert done.exit_code == 0, done.output
    with wave.open(str(received), "rb") as wav:
        assert wav.getframerate() == 24000
        assert wav.readframes(wav.getnframes()) == pcm
    assert "received 1 utterance," in done.stdout
    assert "VIOLATION" not in done.stdout.upper()
    assert not done.stderr


def test_command_takes_the_stand_in_beside_the_real_runtime(tmp_path):
    """A terminal that is set up for TEN has the real one on its path."""
    real = tmp_path / "ten_runtime"
    real.mkdir()
    (real / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "devkit.commands.run_graph", "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_voice_that_is_not_connected_is_silent(tmp_path):
    """The speech waits for the avatar, whose session comes too late."""
    graph = copied(tmp_path, '"fallback_after_ms": 0', '"fallback_after_ms": 1')
    done = run(graph, WAV_FILE=written(tmp_path, bytes(9600)))
    assert done.exit_code == 0, done.output
    assert "message 'pcm_frame' is not connected" in done.output
    assert "sent_ms 200, voice_ms 0," in done.stdout


def test_graph_ends_when_its_player_cannot_play(tmp_path):
    """The player explains, and nothing waits for the limit."""
    limit = ("--limit-s", "1000000")
    done = run(WAV_PLAYER, *limit, WAV_FILE=str(tmp_path / "none.wav"))
    assert done.exit_code == 1
    assert "none.wav' cannot be played: No such file" in done.stdout


def test_graph_ends_when_its_player_fails(tmp_path):
    """Also by a mistake that it did not expect."""
    speech = tmp_path / "slow.wav"
    with wave.open(str(speech), "wb") as wav:
        wav.setparams((1, 2, 1, 0, "NONE", ""))  # frames of no sample
        wav.writeframes(bytes(20))
    done = run(WAV_PLAYER, "--limit-s", "1000000", WAV_FILE=str(speech))
    assert done.exit_code == 1
    assert "player: playing has failed: ValueError" in done.stdout


def test_graph_that_is_stopped_by_the_limit_says_so(tmp_path):
    """A long WAV has not been spoken to its end."""
    speech = written(tmp_path, bytes(48000 * 30))
    done = run(WAV_PLAYER, "--limit-s", "1", WAV_FILE=speech)
    assert "Stopped after 1 s (--limit-s)." in done.stdout


@pytest.mark.parametrize("name", ["property.json", "speech.wav"])
def test_file_that_the_graph_reads_is_not_overwritten(tmp_path, name):
    """Neither the graph nor its WAV, under another spelling of the path."""
    graph = copied(tmp_path, '"frame_ms"', '"x": "./speech.wav", "frame_ms"')
    speech = written(tmp_path, bytes(9600))
    before = (tmp_path / name).read_bytes()
    done = run(graph, "--heard", f"{tmp_path}/./{name}", WAV_FILE=speech)
    assert done.exit_code == 2
    assert "is a file that the graph reads" in done.stdout
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.takes_s(6)
def test_graph_ends_when_no_speech_is_accepted(tmp_path):
    """A WAV of another rate: the avatar explains, then nothing follows."""
    speech = tmp_path / "speech.wav"
    with wave.open(str(speech), "wb") as wav:
        wav.setparams((1, 2, 16000, 0, "NONE", ""))
        wav.writeframes(bytes(3200))
    done = run(WAV_PLAYER, WAV_FILE=str(speech))
    assert done.exit_code == 1
    assert "16000 Hz" in done.stdout


def test_node_that_ends_the_process_fails_the_run(tmp_path):
    """An unset variable would end a worker: it is said in one line."""
    graph = copied(
        tmp_path, '"file":', '"else": "${env:NO_SUCH_VARIABLE}", "file":'
    )
    done = run(graph)
    assert done.exit_code == 1
    assert "NO_SUCH_VARIABLE is not set" in done.stdout
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("/no/such/graph.json",),
        (ROOT,),
        (ROOT / "README.md",),
        (WAV_PLAYER, "--limit-s", "soon"),
        (WAV_PLAYER, "--limit-s", "-1"),
        (WAV_PLAYER, "--heard", "/proc/no/such.wav"),
        (WAV_PLAYER, "--no-such-option"),
    ],
    ids=str,
)
def test_wrong_argument_is_explained(arguments):
    """Exit code 2 and a sentence, no traceback."""
    done = run(*arguments)
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 2
    assert done.output


def test_graph_of_unknown_addons_is_not_run():
    """The voice assistant needs TEN; that is said and not tried."""
    done = run(VOICE_ASSISTANT)
    assert done.exit_code == 2
    assert "the addon agora_rtc is neither in" in done.stdout
