"""bin/check finds mistakes before any agent is started."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from agent import APP_ID, CERTIFICATE
from agora_token_builder import RtcTokenBuilder
from checking import ALL_WIRED, ENVIRONMENT, ROOT, Tree, check, graph, write

from devkit.graph.product import sdk
from devkit.motion_server import Close, MotionServer, OnEnd, Refuse

# Valid files


def test_own_property_file_is_fine_with_the_documented_variables():
    """The package's property.json needs only environment variables."""
    code, words = check(ROOT / "property.json")
    assert code == 0
    assert "No problems." in words


@pytest.mark.parametrize(
    "wrap",
    [
        lambda g: {"ten": {"predefined_graphs": [{"name": "g", "graph": g}]}},
        lambda g: {"ten": {"predefined_graphs": [{"name": "g", **g}]}},
        lambda g: {"predefined_graphs": [{"name": "g", "graph": g}]},
        lambda g: {"graph": g},
        lambda g: g,
    ],
    ids=["app", "app, flat", "no ten", "graph file", "bare graph"],
)
def test_every_form_of_a_graph_is_read(tmp_path, wrap):
    """The node is found by its addon, however the graph is wrapped."""
    path = write(tmp_path, wrap(graph({"channel": "studio"}, [ALL_WIRED])))
    code, words = check(path)
    assert code == 0
    assert "node avatar" in words
    assert "channel studio graph node" in words
    assert "warning" not in words


@pytest.mark.parametrize(
    ("wrap", "advice"),
    [
        (lambda inner: {"_ten": inner}, "rename it"),
        (lambda inner: {"_ten": inner, "ten": {"log": {}}}, "move it there"),
        (lambda inner: {"_ten": {}, "ten": inner}, "move it there"),
        (
            lambda inner: {"_ten": {"predefined_graphs": []}, "ten": inner},
            "move it there",
        ),
    ],
    ids=["alone", "beside an empty ten", "beside ten", "with another graph"],
)
def test_section_of_older_runtimes_is_an_error(wrap, advice, tmp_path):
    """TEN 0.11 would find no graph in _ten; its content is checked."""
    entry = {"name": "g", "graph": graph({"channel": "studio"})}
    code, words = check(write(tmp_path, wrap({"predefined_graphs": [entry]})))
    assert code == 1
    assert f"under the name ten only; {advice}" in words
    assert "channel studio graph node" in words
    assert "1 error, 0 warnings" in words


def test_graph_in_a_file_of_its_own_is_followed(tmp_path):
    """An app may import its graph from a file beside its property.json."""
    (tmp_path / "g.json").write_text(json.dumps(graph({"channel": "studio"})))
    entry = {"name": "g", "graph": {"import_uri": "g.json"}}
    path = write(tmp_path, {"ten": {"predefined_graphs": [entry]}})
    code, words = check(path)
    assert code == 0
    assert "channel studio graph node" in words


def test_each_of_several_avatars_is_checked(tmp_path):
    """One broken node of two makes the exit code 1, and both are shown."""
    tree = graph({})
    tree["nodes"].append(
        {
            "type": "extension",
            "name": "second",
            "addon": "spatius_avatar_python",
            "property": {"channel": "", "params": {"agora_uid": -1}},
        }
    )
    code, words = check(write(tmp_path, tree))
    assert code == 1
    assert "node avatar" in words and "node second" in words


def test_one_of_several_avatars_is_chosen_by_name(tmp_path):
    """With --node the broken other one does not matter."""
    tree = graph({})
    tree["nodes"].append(
        {
            "type": "extension",
            "name": "second",
            "addon": "spatius_avatar_python",
            "property": {"params": {"agora_uid": -1}},
        }
    )
    code, words = check(write(tmp_path, tree), "--node", "avatar")
    assert code == 0
    assert "second" not in words


# Unusable files


def test_missing_file_is_said(tmp_path):
    """A file that is not there ends with exit code 2."""
    code, words = check(tmp_path / "nowhere.json")
    assert code == 2
    assert "does not exist" in words


def test_graph_without_the_avatar_is_said_with_its_addons(tmp_path):
    """Who looks for a node sees which addons there are."""
    path = write(tmp_path, {"nodes": [{"name": "x", "addon": "some_tts"}]})
    code, words = check(path)
    assert code == 2
    assert "addons in it: some_tts" in words


def test_unknown_node_name_is_said_with_the_known_ones(tmp_path):
    """A name that no node has ends with exit code 2."""
    code, words = check(write(tmp_path, graph({})), "--node", "face")
    assert code == 2
    assert "its nodes with that addon: avatar" in words


def test_file_of_another_kind_is_reported_with_the_expected_one(tmp_path):
    """A manifest is no configuration."""
    code, words = check(ROOT / "manifest.json")
    assert code == 2
    assert "ten.predefined_graphs" in words


# Mistakes


def test_everything_wrong_is_said_at_once(tmp_path):
    """One run is enough to learn of all mistakes."""
    params = {"agora_uid": "two", "sample_rate": 11025, "telemetry": "maybe"}
    code, words = check(
        write(tmp_path, graph({"params": params})), SPATIUS_API_KEY=None
    )
    assert code == 1
    assert words.strip().endswith("4 errors, 0 warnings")
    for name in (*params, "spatius_api_key"):
        assert f"params.{name}: " in words


@pytest.mark.parametrize(("value", "state"), [(None, "not set"), ("", "empty")])
def test_missing_value_names_its_variable(value, state):
    """The variables to set, and whether each is set already."""
    code, words = check(ROOT / "property.json", SPATIUS_API_KEY=value)
    assert code == 1
    assert (
        "params.spatius_api_key: required, but missing or empty (from the "
        f"environment variable SPATIUS_API_KEY, which is {state})" in words
    )


def test_value_of_another_type_than_declared_is_said_to_abort(tmp_path):
    """A value that would abort TEN is reported with its path."""
    tree = graph({"dump_path": 7, "params": {"spatius_app_id": 5}})
    code, words = check(write(tmp_path, tree))
    assert code == 1
    assert (
        "params.spatius_app_id: the value is an integer, declared string in "
        "manifest.json: TEN aborts the whole process" in words
    )
    assert "dump_path: the value is an integer, declared string" in words
    assert "2 errors" in words


def test_unset_variable_without_default_is_said_to_end_the_process(tmp_path):
    """TEN ends where a placeholder without default has no variable."""
    tree = graph({"params": {"spatius_api_key": "${env:MY_KEY}"}})
    code, words = check(write(tmp_path, tree), MY_KEY=None)
    assert code == 1
    assert "the environment variable MY_KEY is not set" in words
    assert "1 error," in words


# Where values come from


def test_origin_of_each_value_is_shown(tmp_path):
    """Graph node, property.json, variable and default differ."""
    tree = graph({"params": {"sample_rate": 16000, "region": "us-west"}})
    _, words = check(write(tmp_path, tree))
    assert "sample_rate 16000 graph node" in words
    assert "session_expire_minutes 30 property.json" in words
    assert "spatius_app_id good-app $SPATIUS_APP_ID" in words
    assert "agora_token not set $AGORA_TOKEN, not set" in words


def test_omitted_value_is_shown_as_default(tmp_path):
    """A missing value has config.py's default, beside broken ones, too."""
    params: Tree = {
        "spatius_api_key": "k",
        "spatius_app_id": "a",
        "spatius_avatar_id": "b",
        "agora_appid": APP_ID,
        "agora_appcert": CERTIFICATE,
        "agora_channel": "c",
    }
    for uid, expected in ((1, 0), ("x", 1)):
        params["agora_uid"] = uid
        code, words = check(write(tmp_path, {"params": params}))
        assert code == expected
        assert "sample_rate 24000 default" in words


@pytest.mark.parametrize(
    "variable", ["SPATIUS_API_KEY", "AGORA_APP_CERTIFICATE", "AGORA_TOKEN"]
)
def test_no_secret_is_printed(variable, tmp_path):
    """Secrets show as set, in a good configuration and in a broken one."""
    secret = "5ec2e7" * 6
    tree = graph({"params": {"sample_rate": 24000}})
    for rate in ("24000", "1"):
        tree["nodes"][0]["property"]["params"]["sample_rate"] = rate
        _, words = check(write(tmp_path, tree), **{variable: secret})
        assert "5ec2e7" not in words.replace(" ", "")


def test_password_in_a_url_is_not_printed(tmp_path):
    """Of an endpoint only its host is shown."""
    params = {
        "console_endpoint_url": "https://me:hush-hush@console.test/v1?k=hush",
        "ingress_endpoint_url": "wss://ingress.test/v2",
    }
    code, words = check(write(tmp_path, graph({"params": params})))
    assert code == 0
    assert "https://console.test/v1" in words
    assert "hush" not in words


def test_region_is_shown_as_endpoints(tmp_path):
    """A region stands for two hosts."""
    tree = graph({"params": {"region": "ap-northeast"}})
    _, words = check(write(tmp_path, tree))
    assert "https://console.ap-northeast.spatius.ai/v1/console" in words


def test_end_of_a_given_token_is_read():
    """When a given Agora token ends is read out of it."""
    ends_at_s = int(time.time()) + 7200
    given = RtcTokenBuilder.buildTokenWithUid(
        APP_ID, CERTIFICATE, "room", 2000, 1, ends_at_s
    )
    code, words = check(ROOT / "property.json", AGORA_TOKEN=given)
    expected = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ends_at_s))
    assert code == 0
    assert f"given; expires at {expected} UTC, in 120 min" in words


# The graph around the node


def test_wires_written_from_the_avatar_are_seen(tmp_path):
    """A connection may name the source in place of the destination."""
    source = [{"extension": "tts"}]
    wiring = {
        "extension": "avatar",
        "cmd": [{"name": "flush", "source": source}],
        "data": [{"name": "finalize", "source": source}],
        "audio_frame": [{"name": "pcm_frame", "source": source}],
    }
    _, words = check(write(tmp_path, graph({}, [wiring])))
    assert "warning" not in words


def test_malformed_connections_are_errors_each(tmp_path):
    """An unread part is reported with its place, and in no traceback."""
    odd = {"extension": 5, "cmd": "flush", "data": [7, {"dest": ["x"]}]}
    code, words = check(write(tmp_path, graph({}, [odd, "none"])))
    assert code == 1
    assert "connections[0].cmd: expected a list, got text" in words
    assert "connections[0].data[0]: expected an object, got a number" in words
    assert "connections[0].data[1].dest[0]: expected an object" in words
    assert "connections[1]: expected an object, got text" in words


# A real session


def connect(
    tmp_path: Path, server: MotionServer, **environment: str | None
) -> tuple[int, str]:
    """Run the check with --connect against a local Motion Server."""
    params = {
        "console_endpoint_url": server.console_url,
        "ingress_endpoint_url": server.ingress_url,
    }
    path = write(tmp_path, graph({"params": params}))
    return check(path, "--connect", **environment)


@pytest.mark.wire
def test_connect_sends_one_second_of_silence(tmp_path, motion_server):
    """The session is opened, used, ended and closed."""
    code, words = connect(tmp_path, motion_server)
    record = motion_server.record
    assert code == 0, words
    assert "it works" in words
    assert record.requests[0].audio == bytes(48000)
    assert record.requests[0].ended_at_s is not None
    assert record.connections[0].closed_by == "client"
    assert not record.violations


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nothing listens, and nothing will."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@pytest.mark.wire
@pytest.mark.parametrize("missing", ["console", "ingress"])
def test_connect_names_who_does_not_answer(
    tmp_path, motion_server, missing, closed_port
):
    """The closed endpoint, and the command that would serve it."""
    nowhere = f"http://127.0.0.1:{closed_port}"
    params = {
        "console_endpoint_url": motion_server.console_url,
        "ingress_endpoint_url": motion_server.ingress_url,
        f"{missing}_endpoint_url": nowhere,
    }
    path = write(tmp_path, graph({"params": params}))
    code, words = check(path, "--connect")
    assert code == 3
    assert f"Nothing answers at {nowhere}" in words
    assert "The SDK says: " in words
    is_console = missing == "console"
    assert ("bin/motion-server --port" in words) == is_console
    assert ("The console has answered" in words) != is_console


class Bootstrap(BaseHTTPRequestHandler):
    """Answers as the service that knows the nearest region, after 0.3 s."""

    body = b""

    def do_POST(self) -> None:
        time.sleep(0.3)
        self.send_response(200 if self.body else 503)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bootstrap]]:
    """Serve the nearest region from this machine."""
    module = pytest.importorskip("spatius.bootstrap")
    if os.environ.get("SPATIUS_SDK", "spatius") != "spatius":
        pytest.skip("the other SDKs ask for no region")
    with HTTPServer(("127.0.0.1", 0), Bootstrap) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/bootstrap"
        monkeypatch.setattr(module, "BOOTSTRAP_URL", url)
        # No test may reach the real service, now or by a kept region.
        monkeypatch.setattr(module, "DEFAULT_REGION", "nowhere-1")
        monkeypatch.setattr(module, "_cached_region", None)
        monkeypatch.setattr(sdk, "DEFAULT_REGION", "nowhere")
        monkeypatch.setattr(sdk, "_nearest_region", sdk._NearestRegion())
        yield Bootstrap
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"region": {"current": "nowhere-1"}}',
            "The nearest region, nowhere-1, was found in T s. With "
            '"region": "nowhere-1" in params no agent waits for that.',
        ),
        (b"", "No region after T s, which each agent waits before its first"),
        (b"{}", "nowhere is used. Set params.region (us-west, ap-northeast, "),
    ],
    ids=["found", "refused", "nothing said"],
)
def test_connect_says_how_long_the_nearest_region_took(
    bootstrap, body, said, tmp_path, monkeypatch
):
    """And that params.region saves that time."""
    monkeypatch.setattr(bootstrap, "body", body)
    code, words = check(write(tmp_path, graph({})), "--connect")
    assert code == 3
    took_s = re.findall(r"region.*? (\d+\.\d) s", words)
    assert float(took_s[-1]) >= 0.3
    assert said in re.sub(r"\d+\.\d s", "T s", words)


def test_connect_asks_for_no_region_where_one_is_set(
    bootstrap, tmp_path, motion_server
):
    """Nor where both URLs are."""
    _, words = connect(tmp_path, motion_server)
    assert "region" not in words.partition("Connecting as")[2]


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NO_PROXIES: dict[str, str | None] = {
    variable: None
    for name in (*PROXIES, "NO_PROXY")
    for variable in (name, name.lower())
}


@pytest.mark.wire
@pytest.mark.parametrize("lower", [False, True])
def test_connect_reaches_this_machine_past_any_proxy(
    tmp_path, motion_server, closed_port, lower
):
    """A proxy is for other machines, for any variables."""
    proxies = {
        name.lower() if lower else name: f"http://127.0.0.1:{closed_port}"
        for name in PROXIES
    }
    code, words = connect(tmp_path, motion_server, **NO_PROXIES | proxies)
    assert code == 0, words


@pytest.mark.wire
@pytest.mark.parametrize(
    ("variable", "scheme"),
    [("HTTP_PROXY", "http://"), ("http_proxy", ""), ("ALL_PROXY", "http://")],
)
def test_connect_names_the_variable_of_a_proxy(
    tmp_path, closed_port, variable, scheme
):
    """With the proxy's address, and without its password."""
    params = {
        "console_endpoint_url": "http://console.invalid/v1",
        "ingress_endpoint_url": "ws://ingress.invalid/v2",
    }
    path = write(tmp_path, graph({"params": params}))
    proxy = f"{scheme}me:hush-hush@127.0.0.1:{closed_port}"
    code, words = check(path, "--connect", **NO_PROXIES | {variable: proxy})
    assert code == 3
    assert variable in words
    assert f"http://127.0.0.1:{closed_port}" in words
    assert "NO_PROXY=console.invalid" in words
    assert "hush" not in words
    _, words = check(path, "--connect", **NO_PROXIES)
    assert "proxy" not in words.lower()


@pytest.mark.wire
def test_connect_explains_a_bad_key(tmp_path, motion_server):
    """Which param is wrong, and where its value came from."""
    code, words = connect(
        tmp_path, motion_server, SPATIUS_API_KEY="bad-key-123456"
    )
    assert code == 3
    assert "refused the API key: check params.spatius_api_key" in words
    assert "comes from $SPATIUS_API_KEY" in words
    assert "bad-key" not in words


@pytest.mark.wire
def test_connect_explains_an_unknown_avatar(tmp_path, motion_server):
    """Which param is wrong, and that an agent would stop."""
    code, words = connect(tmp_path, motion_server, SPATIUS_AVATAR_ID="nobody")
    assert code == 3
    assert "check params.spatius_avatar_id" in words
    assert "(nobody) comes from $SPATIUS_AVATAR_ID" in words
    assert "An agent would stop here" in words


@pytest.mark.wire
def test_connect_explains_a_network_that_leads_nowhere(tmp_path, motion_server):
    """A closed port is reported with advice."""
    motion_server.pause_listening()
    code, words = connect(tmp_path, motion_server)
    assert code == 3
    assert "cannot be reached" in words
    assert "bin/motion-server --port" in words


@pytest.mark.wire
def test_connect_explains_an_outage_of_the_service(tmp_path, motion_server):
    """A temporary problem is reported as such."""
    motion_server.faults.console(Refuse(503), times=None)
    code, words = connect(tmp_path, motion_server)
    assert code == 3
    assert "would retry by itself" in words
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.wire
def test_connect_reports_an_end_during_the_silence(tmp_path, motion_server):
    """A session that does not last has not worked."""
    motion_server.faults.runtime(Close(4001, "no credits"), after=OnEnd())
    code, words = connect(tmp_path, motion_server)
    assert code == 3
    assert "credits are exhausted" in words


def test_connect_shows_our_words_only():
    """The SDK logs, for example, that it did not find the nearest region."""
    speak = (
        "logging.getLogger('spatius.bootstrap').warning('no region')\n"
        "warnings.warn('old option')\n"
    )
    script = (
        f"import logging, sys, warnings\n{speak}"
        "from devkit.commands.output import keep_logs_out\nkeep_logs_out()\n"
        f"print('kept out:', file=sys.stderr)\n{speak}"
    )
    errors = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    ).stderr
    before, _, after = errors.partition("kept out:\n")
    assert "no region" in before and "old option" in before
    assert (after, errors[-10:]) == ("", "kept out:\n")


def test_connect_is_not_tried_with_problems(tmp_path, motion_server):
    """A known mistake needs no session."""
    code, words = connect(tmp_path, motion_server, AGORA_AVATAR_UID="x")
    assert code == 1
    assert "correct the errors first" in words
    assert not motion_server.record.token_requests


class Refusing(BaseHTTPRequestHandler):
    """A proxy that wants a user's name and password."""

    def do_POST(self) -> None:
        self.send_response(407)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_CONNECT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.wire
def test_connect_ascribes_a_407_to_the_proxy(tmp_path):
    """It is none of Spatius' answers."""
    params = {
        "console_endpoint_url": "http://console.invalid/v1",
        "ingress_endpoint_url": "ws://ingress.invalid/v2",
    }
    path = write(tmp_path, graph({"params": params}))
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_port}"
        code, words = check(
            path, "--connect", **NO_PROXIES | {"HTTP_PROXY": proxy}
        )
        server.shutdown()
    assert code == 3
    assert "asks for a user name and a password" in words
    assert "HTTP_PROXY" in words and proxy in words
    assert "Spatius says" not in words
    assert "curl" not in words


@pytest.mark.usefixtures("ready_environment")
def test_command_knows_its_name():
    """bin/check --help names the command and its exit codes."""
    done = subprocess.run(
        [ROOT / "bin" / "check", "--help"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: bin/check" in done.stdout
    assert "Exit code: 0" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_text_that_cannot_be_printed_is_escaped(tmp_path, encoding):
    """A byte of another encoding, a terminal of another encoding."""
    path = write(tmp_path, graph({"params": {"spatius_app_id": "caf\u00e9"}}))
    environment = {
        name: value
        for name, value in {**os.environ, **ENVIRONMENT}.items()
        if value is not None
    }
    done = subprocess.run(
        [sys.executable, "-m", "devkit.commands.check", path],
        env={
            **{os.fsencode(k): os.fsencode(v) for k, v in environment.items()},
            b"SPATIUS_AVATAR_ID": b"caf\xe9",
            b"PYTHONIOENCODING": encoding.encode(),
            b"PYTHONPATH": os.fsencode(ROOT),
        },
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    assert rb"caf\udce9" in done.stdout
