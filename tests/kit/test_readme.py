"""README's steps, tried in a folder that is laid out as TEN's repository."""

import json
import os
import re
import shutil
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from devkit.commands import check
from devkit.credentials import APP_ID, CERTIFICATE
from devkit.graph import read
from devkit.graph.report import examine

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MIGRATION = (ROOT / "docs" / "migration.md").read_text()
NAME = "spatius_avatar_python"

VALUES = {
    "SPATIUS_API_KEY": "some-key",
    "SPATIUS_APP_ID": "good-app",
    "SPATIUS_AVATAR_ID": "good-avatar",
    "AGORA_APP_ID": APP_ID,
    "AGORA_APP_CERTIFICATE": CERTIFICATE,
}

GRAPH: dict[str, Any] = {
    "nodes": [
        {
            "type": "extension",
            "name": "agora_rtc",
            "addon": "agora_rtc",
            "extension_group": "default",
            "property": {
                "channel": "test_room",
                "stream_id": 1234,
                "remote_stream_id": 123,
            },
        },
        *(
            {
                "type": "extension",
                "name": name,
                "addon": addon,
                "extension_group": "default",
                "property": {},
            }
            for name, addon in (
                ("stt", "some_asr_python"),
                ("tts", "some_tts_python"),
                ("main_control", "main_python"),
            )
        ),
    ],
    "connections": [
        {
            "extension": "main_control",
            "data": [
                {"name": "asr_result", "source": [{"extension": "stt"}]},
            ],
        },
        {
            "extension": "agora_rtc",
            "audio_frame": [
                {"name": "pcm_frame", "dest": [{"extension": "stt"}]},
                {"name": "pcm_frame", "source": [{"extension": "tts"}]},
            ],
        },
    ],
}
"""Two sections and a connection from the receiver's side, as TEN writes it."""

MAIN = """
class Main:
    async def _interrupt(self):
        await _send_cmd(self.ten_env, "flush", "agora_rtc")
"""


def blocks(text: str, language: str = "json") -> list[Any]:
    found = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    return [json.loads(block) for block in found]


def indented(text: str, first_word: str) -> str:
    """Return the indented block that begins with `first_word`."""
    (found,) = re.findall(
        rf"\n\n((?:    .*\n)*?    {first_word} .*\n(?:    .*\n)*)", text
    )
    return textwrap.dedent(found)


class Agents:
    """TEN's `ai_agents`, as far as the README names it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "ai_agents"
        self.agents = self.root / "agents"
        self.app = self.agents / "examples" / "voice-assistant" / "tenapp"
        self.extension = self.agents / "ten_packages" / "extension" / NAME
        self.main = self.app / "ten_packages/extension/main_python/extension.py"
        for path, text in (
            (self.extension / "extension.py", "# TEN's own\n"),
            (self.app / "manifest.json", '{"type": "app", "dependencies": []}'),
            (self.main, MAIN),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        self.graph = json.loads(json.dumps(GRAPH))

    def write(self) -> Path:
        path = self.app / "property.json"
        graph = {"name": "voice_assistant", "graph": self.graph}
        tree = {"ten": {"predefined_graphs": [{**graph, "auto_start": True}]}}
        path.write_text(json.dumps(tree))
        return path

    # The steps.

    def replace_the_extension(self) -> None:
        """Run docs/migration.md's commands; they clone this checkout."""
        if shutil.which("git") is None or not (ROOT / ".git").exists():
            pytest.skip("needs git, and a checkout")
        commands = indented(MIGRATION, "mv")
        commands = commands.replace("REPOSITORY_URL", str(ROOT))
        # In a container the checkout may be another user's.
        home = self.root.parent
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        subprocess.run(
            ["bash", "-euc", commands],
            cwd=self.agents,
            env={**os.environ, "HOME": str(home)},
            check=True,
            capture_output=True,
        )

    def add_the_dependency(self) -> None:
        (path,) = set(re.findall(r"`(\.\./\.\./\.\./[^`]+)`", README))
        manifest = self.app / "manifest.json"
        tree = json.loads(manifest.read_text())
        tree["dependencies"].append({"path": path})
        manifest.write_text(json.dumps(tree))

    def add_the_node(self) -> None:
        node, _ = blocks(README)
        self.graph["nodes"].append(node)

    def merge_the_connections(self) -> None:
        _, connections = blocks(README)
        sections = {one["extension"]: one for one in self.graph["connections"]}
        for added in connections:
            section = sections.get(added["extension"])
            if section is None:
                self.graph["connections"].append(added)
                continue
            for kind, wires in added.items():
                if kind != "extension":
                    section.setdefault(kind, []).extend(wires)

    def delete_the_reversed_line(self) -> None:
        (line,) = re.findall(r'^    (\{ "name": .*"source".*\})$', README, re.M)
        for section in self.graph["connections"]:
            if section["extension"] == "agora_rtc":
                section["audio_frame"].remove(json.loads(line))

    def name_the_avatar(self) -> None:
        (line,) = re.findall(r"await _send_cmd\(.*?\)", README)
        text, count = re.subn(
            r"await _send_cmd\(.*?\)", line, self.main.read_text()
        )
        assert count == 1
        self.main.write_text(text)

    def start(self) -> dict[str, Any]:
        """Do as the agent server at README's POST to /start."""
        flat = " ".join(README.replace("\n>", "\n").split())
        (text,) = re.findall(r'`(\{"graph_name".*?\})`', flat)
        request = json.loads(text)
        for node in self.graph["nodes"]:
            values = request["properties"].get(node["name"], {})
            for name, value in values.items():
                old = node["property"].get(name)
                if isinstance(old, dict):
                    value = {**old, **value}
                node["property"][name] = value
            if "channel" in node["property"]:
                node["property"]["channel"] = request["channel_name"]
            if node["name"] == "agora_rtc":
                node["property"]["remote_stream_id"] = request["user_uid"]
        return request


def environment() -> dict[str, str]:
    """Return README's variables as lines of .env give them."""
    lines = indented(README, "export").splitlines()
    found = {}
    for line in lines:
        name, _, value = line.removeprefix("export ").partition("=")
        value = value.split(" ")[0]
        found[name] = VALUES[name] if value == "..." else value
    return found


STEPS = (
    "replace_the_extension",
    "add_the_dependency",
    "add_the_node",
    "merge_the_connections",
    "delete_the_reversed_line",
    "name_the_avatar",
)


def checked(agents: Agents) -> Any:
    (node,) = read(agents.write()).nodes(NAME)
    return examine(node, [], environment(), time.time()).findings


def test_steps_lead_to_a_graph_without_problems(tmp_path: Path) -> None:
    """In TEN's layout, then as the agent server starts it."""
    agents = Agents(tmp_path)
    for step in STEPS:
        getattr(agents, step)()
    assert (agents.extension / "addon.py").is_file()
    assert (agents.agents / f"{NAME}.ten" / "extension.py").is_file()
    requirements = (agents.extension / "requirements.txt").read_text()
    assert "spatius" in requirements and "avatarkit" not in requirements
    manifest = json.loads((agents.app / "manifest.json").read_text())
    (dependency,) = manifest["dependencies"]
    assert (agents.app / dependency["path"]).resolve() == agents.extension

    request = agents.start()
    assert set(request) == {
        "graph_name",
        "channel_name",
        "user_uid",
        "properties",
    }
    found = checked(agents)
    assert found.errors == [] and found.notes == []
    # A line that was changed in a main's source need not be seen.
    assert all('"flush", "avatar"' in text for text in found.warnings)


def test_check_accepts_the_requests_of_the_agent_server(tmp_path: Path) -> None:
    """The variables of .env, and the channel of a session."""
    agents = Agents(tmp_path)
    for step in STEPS[1:]:
        getattr(agents, step)()
    agents.extension.rename(agents.agents / "away")
    shutil.copytree(
        ROOT,
        agents.extension,
        ignore=lambda _, names: {
            name for name in names if name[0] == "." or name == "node_modules"
        },
    )
    env_file = agents.root / ".env"
    lines = (f"{name}={value}" for name, value in environment().items())
    env_file.write_text("\n".join(lines))
    arguments = [str(agents.write()), "--env-file", str(env_file)]
    result = CliRunner().invoke(check.app, [*arguments, "--channel", "my_room"])
    assert result.exit_code == 0, result.output
    assert "my_room" in result.output


@pytest.mark.parametrize(
    ("left_out", "kind", "said"),
    [
        ("merge_the_connections", "errors", "pcm_frame"),
        ("delete_the_reversed_line", "errors", "twice"),
        ("name_the_avatar", "warnings", '"flush", "avatar"'),
    ],
)
def test_step_that_is_left_out_is_found(
    tmp_path: Path, left_out: str, kind: str, said: str
) -> None:
    """bin/check names the README's step."""
    agents = Agents(tmp_path)
    for step in STEPS[2:]:
        if step != left_out:
            getattr(agents, step)()
    agents.start()
    assert said in " ".join(getattr(checked(agents), kind))
