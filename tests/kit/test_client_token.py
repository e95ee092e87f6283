"""bin/client-token signs a token for a client of the channel."""

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from agent import APP_ID, CERTIFICATE, VARIABLES
from agora_token_builder import RtcTokenBuilder
from typer.testing import CliRunner, Result

from devkit.commands.client_token import app
from devkit.motion_server.agora import check_token, parse_token

ROOT = Path(__file__).resolve().parents[2]
VOICE_ASSISTANT = ROOT / "examples" / "voice-assistant" / "property.json"

ENVIRONMENT: dict[str, str | None] = {**VARIABLES, "AGORA_TOKEN": None}


def client_token(*arguments: str | Path, **environment: str | None) -> Result:
    """Run the command."""
    return CliRunner().invoke(
        app,
        [str(argument) for argument in arguments],
        env={**ENVIRONMENT, **environment},
    )


def test_answer_is_accepted_by_player_connect():
    """App ID, channel, token and uid come as JSON on stdout, alone."""
    result = client_token("--uid", "1001")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["appId"] == APP_ID
    assert answer["channel"] == "room"
    assert answer["uid"] == 1001
    check_token(
        parse_token(answer["token"]),
        channel="room",
        uid=1001,
        now_s=time.time(),
        certificate=CERTIFICATE,
    )


def test_variables_may_stand_in_a_file(tmp_path, monkeypatch):
    """As bin/check takes them; one that is not there is named."""
    path = tmp_path / ".env"
    path.write_text("AGORA_CHANNEL=another\n")
    for name, value in ENVIRONMENT.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    result = client_token("--uid", "1001", "--env-file", path)
    assert json.loads(result.stdout)["channel"] == "another"
    missing = client_token("--uid", "1001", "--env-file", tmp_path / "no.env")
    assert missing.exit_code == 2
    assert "no.env does not exist" in missing.stderr


def test_expiry_is_shown_twice_and_is_the_tokens_own():
    """ISO time and epoch agree, and lie as far ahead as was asked."""
    answer = json.loads(client_token("--uid", "1", "--minutes", "5").stdout)
    end_s = answer["tokenEndsAtEpochS"]
    assert datetime.fromisoformat(answer["tokenEndsAt"]).timestamp() == end_s
    assert 290 < end_s - time.time() <= 300
    assert parse_token(answer["token"]).end_s == end_s


def test_token_lasts_as_long_as_the_session_by_default():
    """Without --minutes session_expire_minutes counts."""
    answer = json.loads(client_token("--uid", "1").stdout)
    left_s = answer["tokenEndsAtEpochS"] - time.time()
    assert 1790 < left_s <= 1800


def test_development_is_said_on_stderr():
    """Who redirects stdout still reads that this is not for production."""
    result = client_token("--uid", "1001")
    assert "For development only" in result.stderr
    assert "development" not in result.stdout


@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("2000", "the avatar's own"),
        ("0", "let anybody in as anybody"),
        ("4294967296", "from 1 to 4294967295"),
    ],
)
def test_uid_that_cannot_be_a_clients_is_refused(uid, reason):
    """The avatar's uid, the uid for all, and a text that is no uid."""
    result = client_token("--uid", uid)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not result.stdout


def test_agents_own_uid_is_refused():
    """In a graph the agent has a uid as well."""
    result = client_token("--uid", "1234", VOICE_ASSISTANT)
    assert result.exit_code == 1
    assert "stream_id of agora_rtc" in result.stderr


def graph_file(folder: Path, *nodes: dict) -> Path:
    """Write a graph with an avatar in the channel room and these nodes."""
    path = folder / "graph.json"
    path.write_text(json.dumps({"nodes": [avatar("avatar"), *nodes]}))
    return path


def avatar(name: str, channel: str = "room", uid: object = 2000) -> dict:
    """Return an avatar's node."""
    return {
        "type": "extension",
        "name": name,
        "addon": "spatius_avatar_python",
        "property": {"channel": channel, "params": {"agora_uid": uid}},
    }


def rtc(name: str, channel: str, stream_id: object) -> dict:
    """Return an RTC node."""
    return {
        "type": "extension",
        "name": name,
        "addon": "agora_rtc",
        "property": {"channel": channel, "stream_id": stream_id},
    }


def test_uid_of_another_avatar_of_the_channel_is_refused(tmp_path):
    """However the file writes it; in another channel it is free."""
    path = graph_file(
        tmp_path,
        avatar("second", uid="02001"),
        avatar("third", "room2", uid=2002),
    )
    result = client_token("--uid", "2001", "--node", "avatar", path)
    assert result.exit_code == 1
    assert "--uid 2001 is that of the avatar second" in result.stderr
    result = client_token("--uid", "2002", "--node", "avatar", path)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("stream_id", ["01234", 1234.0, "${env:BOT|1234}"])
def test_agents_uid_is_compared_as_a_number(stream_id, tmp_path):
    """TEN converts the file's values."""
    path = graph_file(tmp_path, rtc("agora_rtc", "room", stream_id))
    result = client_token("--uid", "1234", path, BOT=None)
    assert result.exit_code == 1
    assert "stream_id of agora_rtc" in result.stderr


def test_uid_of_an_agent_in_another_channel_is_free(tmp_path):
    """The client does not meet it."""
    path = graph_file(
        tmp_path, rtc("agora_rtc", "room", 1234), rtc("rtc2", "room2", 1235)
    )
    result = client_token("--uid", "1235", path)
    assert result.exit_code == 0, result.stderr
    assert client_token("--uid", "1234", path).exit_code == 1


def listening_to(folder: Path, remote_stream_id: object) -> Path:
    """Write a graph whose agent hears the client with this uid only."""
    node = rtc("agora_rtc", "room", 1234)
    node["property"]["remote_stream_id"] = remote_stream_id
    return graph_file(folder, node)


@pytest.mark.parametrize("wanted", [1001, "1001", 1001.0, "${env:USER|1001}"])
def test_client_that_the_agent_would_not_hear_is_warned_of(wanted, tmp_path):
    """The token is signed all the same: the agent server may change it."""
    path = listening_to(tmp_path, wanted)
    result = client_token("--uid", "1002", path, USER=None)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["uid"] == 1002
    assert (
        "agora_rtc subscribes to the uid 1001 only (remote_stream_id)"
        in result.stderr
    )
    assert "--uid 1001" in result.stderr
    result = client_token("--uid", "1001", path, USER=None)
    assert "remote_stream_id" not in result.stderr


@pytest.mark.parametrize("wanted", [0, "", "0"])
def test_agent_that_hears_every_client_needs_no_warning(wanted, tmp_path):
    """No uid, or 0, stands for all."""
    result = client_token("--uid", "1002", listening_to(tmp_path, wanted))
    assert result.exit_code == 0
    assert "remote_stream_id" not in result.stderr


def test_channel_of_a_session_is_named(tmp_path):
    """Where the graph leaves it to TEN's agent server."""
    path = graph_file(tmp_path, rtc("agora_rtc", "", 1234))
    text = path.read_text().replace('"channel": "room"', '"channel": ""')
    path.write_text(text)
    result = client_token("--uid", "1001", path, AGORA_CHANNEL=None)
    assert result.exit_code == 1
    assert "--channel NAME" in result.stderr
    result = client_token(
        "--uid", "1001", "--channel", "s7", path, AGORA_CHANNEL=None
    )
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["channel"] == "s7"
    check_token(
        parse_token(answer["token"]),
        channel="s7",
        uid=1001,
        now_s=time.time(),
        certificate=CERTIFICATE,
    )


def test_channel_of_a_graphs_node_is_used():
    """A graph is read as bin/check reads it."""
    result = client_token("--uid", "1001", VOICE_ASSISTANT)
    assert json.loads(result.stdout)["channel"] == "avatar_room"


def test_given_token_is_not_handed_to_a_client():
    """Without a certificate nothing can be signed, and that is explained."""
    given = RtcTokenBuilder.buildTokenWithUid(
        APP_ID, CERTIFICATE, "room", 2000, 1, int(time.time()) + 7200
    )
    result = client_token(
        "--uid", "1001", AGORA_TOKEN=given, AGORA_APP_CERTIFICATE=None
    )
    assert result.exit_code == 1
    assert "params.agora_appcert: needed to sign" in result.stderr
    assert given not in result.output


def test_certificate_beside_a_given_token_is_still_checked():
    """A given token hides a broken certificate from config.load."""
    result = client_token(
        "--uid", "1", AGORA_TOKEN="opaque", AGORA_APP_CERTIFICATE="short-one"
    )
    assert result.exit_code == 1
    assert "params.agora_appcert: expected 32 hex" in result.stderr
    assert "short-one" not in result.output


def test_wrong_configuration_is_reported_as_everywhere():
    """The problems are config.load's, with the variables to check."""
    result = client_token("--uid", "1001", AGORA_APP_ID=None)
    assert result.exit_code == 1
    assert "params.agora_appid: required" in result.stderr
    assert "environment variable AGORA_APP_ID, which is not set" in (
        result.stderr
    )


def test_token_needs_no_spatius_param():
    """Agora's values are enough."""
    spatius = ("SPATIUS_API_KEY", "SPATIUS_APP_ID", "SPATIUS_AVATAR_ID")
    result = client_token("--uid", "1001", **dict.fromkeys(spatius))
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"agora_uid": 2000', '"agora_uid": 7, "agora_uid": 2000', "twice"),
        ('"channel": "room"', '"channel": "room", "x": null', "x: null"),
        ("2000", '2000, "x": 1e999', "x: not a number"),
    ],
)
def test_file_that_ten_does_not_read_is_refused(old, new, said, tmp_path):
    """No agent would join with the values that this command reads."""
    path = graph_file(tmp_path)
    assert client_token("--uid", "1001", path).exit_code == 0
    path.write_text(path.read_text().replace(old, new))
    result = client_token("--uid", "1001", path)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not result.stdout


def test_file_that_cannot_be_used_is_said(tmp_path):
    """A missing file ends with exit code 2."""
    result = client_token("--uid", "1001", tmp_path / "nowhere.json")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.usefixtures("ready_environment")
def test_command_knows_its_name():
    """bin/client-token --help names the command."""
    done = subprocess.run(
        [ROOT / "bin" / "client-token", "--help"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: bin/client-token" in done.stdout
    assert "For development only" in " ".join(done.stdout.split())
