"""The web client fits the declarations, and does what its README says."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devkit.commands.client_token import sign
from devkit.graph import read

CLIENT = Path(__file__).resolve().parents[2] / "examples/web-client"

FAKE_AVATARKIT = """
export const calls = [];
export const DrivingServiceMode = { host: "host" };
export const AvatarSDK = {
  async initialize(...given) { calls.push(["initialize", ...given]); },
};
export const AvatarManager = { shared: {
  async load(id, onProgress) {
    onProgress({ type: "downloading", progress: 0.5 });
    calls.push(["load", id]);
    return { id };
  },
} };
export class AvatarView { dispose() { calls.push(["dispose"]); } }
"""

FAKE_AVATARKIT_RTC = """
import { calls } from "@spatius/avatarkit";
export const listeners = {};
export const failures = [];  // what the next calls throw
async function call(...given) {
  calls.push(given);
  await null;
  if (failures.length) throw new Error(failures.shift());
}
export class AgoraProvider {}
export class AvatarPlayer {
  on(name, listener) { listeners[name] = listener; }
  connect(config) { return call("connect", config); }
  reconnect() { return call("reconnect"); }
  disconnect() { return call("disconnect"); }
  startPublishing() { return call("startPublishing"); }
  stopPublishing() { return call("stopPublishing"); }
}
"""

BEGIN = """
import { calls } from "@spatius/avatarkit";
import { failures, listeners } from "@spatius/avatarkit-rtc";
import { join, parseToken } from "./client.js";
globalThis.setTimeout = (callback) => queueMicrotask(callback);
const statuses = [];
const settings = {
  spatiusAppId: "app",
  spatiusAvatarId: "avatar",
  token: { appId: "id", channel: "room", token: "t", uid: 1001 },
};
const enter = () => join(settings, {}, (status) => statuses.push(status));
const settled = () => new Promise((resolve) => setImmediate(resolve));
"""

END = """
console.log(JSON.stringify({ calls, statuses }));
"""


def find_tsc() -> str:
    local = CLIENT / "node_modules/.bin/tsc"
    tsc = str(local) if local.exists() else shutil.which("tsc")
    if tsc is None or shutil.which("node") is None:
        pytest.skip(
            "there is no TypeScript compiler: run npm install in "
            "examples/web-client"
        )
    return tsc


def compile_client(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_tsc(), "--project", str(CLIENT), *options],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """The client as JavaScript, beside a fake of AvatarKit."""
    folder = tmp_path_factory.mktemp("web-client")
    done = compile_client("--noEmit", "false", "--outDir", str(folder))
    assert done.returncode == 0, done.stdout
    (folder / "package.json").write_text('{"type": "module"}')
    for name, text in (
        ("avatarkit", FAKE_AVATARKIT),
        ("avatarkit-rtc", FAKE_AVATARKIT_RTC),
    ):
        package = folder / "node_modules/@spatius" / name
        package.mkdir(parents=True)
        (package / "index.js").write_text(text)
        (package / "package.json").write_text(
            '{"type": "module", "exports": "./index.js"}'
        )
    for module in folder.glob("*.js"):
        # Node.js wants the suffix that a bundler does without.
        module.write_text(module.read_text().replace('/client"', '/client.js"'))
    return folder


def run(compiled: Path, script: str) -> dict[str, Any]:
    """Return the calls that AvatarKit got, and what the page showed."""
    (compiled / "test.js").write_text(BEGIN + script + END)
    done = subprocess.run(
        ["node", "test.js"],
        cwd=compiled,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names(result: dict[str, Any]) -> list[str]:
    return [name for name, *_ in result["calls"]]


def test_client_fits_the_declarations():
    """The compiler reports nothing, in strict mode."""
    done = compile_client()
    assert done.returncode == 0, done.stdout


def test_client_joins_and_publishes_the_microphone(compiled):
    """With the token's four fields, and nothing else of it."""
    result = run(
        compiled,
        """
        const client = await enter();
        listeners.connected();
        await client.setMicrophone(true);
        await client.setMicrophone(false);
        await client.leave();
        """,
    )
    assert result["calls"] == [
        ["initialize", "app", {"drivingServiceMode": "host"}],
        ["load", "avatar"],
        [
            "connect",
            {"appId": "id", "channel": "room", "token": "t", "uid": 1001},
        ],
        ["startPublishing"],
        ["stopPublishing"],
        ["disconnect"],
        ["dispose"],
    ]
    assert result["statuses"] == [
        "loading the avatar",
        "loading the avatar: 50 %",
        "joining room as 1001",
        "connected",
    ]


def test_client_reconnects_when_the_stream_stalls(compiled):
    """One attempt at a time, until one succeeds."""
    result = run(
        compiled,
        """
        await enter();
        failures.push("no network");
        listeners.stalled();
        listeners.stalled();
        await settled();
        """,
    )
    assert names(result)[3:] == ["reconnect", "reconnect"]
    assert "reconnecting failed: no network" in result["statuses"]


def test_client_that_has_left_does_not_return(compiled):
    """A stall reported late changes nothing."""
    result = run(
        compiled,
        """
        const client = await enter();
        await client.leave();
        listeners.stalled();
        await settled();
        """,
    )
    assert "reconnect" not in names(result)


def test_client_that_cannot_join_leaves_nothing_behind(compiled):
    """The reason is what connect said, and the view is gone."""
    result = run(
        compiled,
        """
        failures.push("bad token");
        await enter().catch((error) => statuses.push(error.message));
        """,
    )
    assert names(result)[-2:] == ["disconnect", "dispose"]
    assert result["statuses"][-1] == "bad token"


def test_client_takes_what_client_token_prints(compiled):
    """It reads that very JSON, and refuses one that has expired."""
    (node,) = read(CLIENT.parent / "wav-player/property.json").nodes(
        "spatius_avatar_python"
    )
    printed = sign(node, uid=1001, minutes=1, now_s=1000.0)
    result = run(
        compiled,
        f"""
        const text = {json.dumps(json.dumps(printed))};
        const token = parseToken(text, 1001 * 1000);
        statuses.push(token.appId, token.uid);
        for (const wrong of ["{{}}", text.replace("1001", "0")]) {{
          try {{ parseToken(wrong, 0); }}
          catch (error) {{ statuses.push(error.message.split(" ")[0]); }}
        }}
        try {{ parseToken(text, 1061 * 1000); }}
        catch (error) {{ statuses.push(error.message.split(" at ")[0]); }}
        """,
    )
    assert result["statuses"] == [
        printed["appId"],
        1001,
        "appId",
        "uid",
        "the token expired",
    ]


def test_page_has_what_its_script_looks_for():
    """Each id in page.ts is one of index.html."""
    asked = set(
        re.findall(r'element\("([\w-]+)"', (CLIENT / "page.ts").read_text())
    )
    there = set(
        re.findall(r'id="([\w-]+)"', (CLIENT / "index.html").read_text())
    )
    assert asked == there
