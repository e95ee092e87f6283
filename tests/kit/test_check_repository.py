"""bin/check on an app in the layout of TEN's repository."""

import json
from pathlib import Path
from typing import Any

import pytest
from checking import Editor, Tree, check

PATH = "../../../ten_packages/extension"


class Repository:
    """A folder with an app, and the packages that it shares with others."""

    def __init__(self, root: Path) -> None:
        self.root = root / "ai_agents"
        self.agents = self.root / "agents"
        self.app = self.agents / "examples/voice-assistant/tenapp"
        self.app.mkdir(parents=True)
        self.editor = Editor(self.app)
        self.manifest: Tree = {
            "type": "app",
            "name": "agent_demo",
            "dependencies": [
                {"type": "extension", "name": "agora_rtc", "version": "0.23"},
                {"path": f"{PATH}/spatius_avatar_python"},
            ],
        }

    def write(self, path: str, content: Any) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        is_text = isinstance(content, str)
        file.write_text(content if is_text else json.dumps(content))
        return file

    def check(
        self, *arguments: str, **environment: str | None
    ) -> tuple[int, str]:
        path = "agents/examples/voice-assistant/tenapp"
        self.write(f"{path}/manifest.json", self.manifest)
        file = self.write(f"{path}/property.json", self.editor.tree)
        return check(file, *arguments, COLUMNS="1000", **environment)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_app_as_ten_lays_it_out_is_fine(repository):
    """The channel is left empty, as the agent server likes it."""
    repository.editor.avatar["channel"] = ""
    repository.editor.rtc.update(channel="", stream_id=0)
    code, words = repository.check(AGORA_CHANNEL=None)
    assert code == 0
    assert words.strip().endswith("0 errors, 0 warnings, 1 note")
    code, words = repository.check("--channel", "room", AGORA_CHANNEL=None)
    assert words.strip().endswith("No problems.")


# The app's manifest


@pytest.mark.parametrize(
    "dependency",
    [
        {"type": "extension", "name": "spatius_avatar_python", "version": "0"},
        {"path": f"{PATH}/spatius_avatar_python"},
        {"path": f"{PATH}/spatius_avatar_python/"},
        {"path": "../../avatar"},
    ],
    ids=["by name", "by path", "with a slash", "in a folder of another name"],
)
def test_dependency_is_found(dependency, repository):
    """However the manifest writes it."""
    manifest = {"type": "extension", "name": "spatius_avatar_python"}
    repository.write("agents/examples/avatar/manifest.json", manifest)
    repository.manifest["dependencies"][1] = dependency
    words = repository.check()[1]
    assert words.strip().endswith("No problems."), words


@pytest.mark.parametrize(
    "dependencies",
    [
        [],
        "all",
        [5, {"path": 7}, {"path": ""}],
        [{"path": f"{PATH}/spatius_avatar"}],
        [{"name": "heygen_avatar_python", "type": "extension"}],
    ],
)
def test_app_that_does_not_depend_on_the_package_is_an_error(
    dependencies, repository
):
    """TEN would not find the addon; the line that is missing is shown."""
    repository.manifest["dependencies"] = dependencies
    code, words = repository.check()
    assert code == 1
    assert "manifest.json: the app does not depend on spatius_avatar" in words
    assert f'{{"path": "{PATH}/spatius_avatar_python"}}' in words
    assert words.strip().endswith("1 error, 0 warnings")


def test_manifest_of_an_extension_is_not_the_apps(repository):
    """A graph may lie in a package's folder."""
    repository.manifest.update(type="extension", dependencies=[])
    assert repository.check()[0] == 0


def test_manifest_that_is_no_json_is_an_error(repository):
    """With the place of the mistake; TEN cannot read it either."""
    path = "agents/examples/voice-assistant/tenapp"
    file = repository.write(f"{path}/property.json", repository.editor.tree)
    repository.write(f"{path}/manifest.json", '{"type": "app",}')
    code, words = check(file, COLUMNS="1000")
    assert code == 1
    assert "manifest.json, line 1, column 15: an extra comma" in words


# The rate of a TTS that stands in its package only


@pytest.mark.parametrize(
    "shipped",
    [
        {"params": {"sample_rate": 16000}},
        {"params": {"sample_rate": "16000"}},
        {"params": {"output_format": "pcm_16000"}},
        {"params": {"output_format": {"sample_rate": 16000}}},
        {"params": {"audio_setting": {"sample_rate": 16000}}},
        {"params": {"samplingRate": 16000}},
        {"params": {"AudioConfig": {"sample_rate_hertz": 16000}}},
        {"speech_synthesis_output_format": "Raw16Khz16BitMonoPcm"},
        {"sample_rate": "${env:TTS_RATE|16000}"},
        {"rate": 16000},
    ],
)
@pytest.mark.parametrize("place", ["app", "agents"])
def test_rate_of_a_tts_package_is_compared(shipped, place, repository):
    """Its property.json counts where the node names no rate."""
    base = "" if place == "agents" else "examples/voice-assistant/tenapp/"
    path = f"agents/{base}ten_packages/extension/cartesia_tts"
    repository.write(f"{path}/property.json", shipped)
    repository.editor.node("tts")["property"] = {"params": {"voice": "a"}}
    code, words = repository.check(TTS_RATE=None)
    assert code == 1
    assert "params.sample_rate: 24000 Hz, and tts sends 16000 Hz " in words
    assert "(cartesia_tts/property.json: " in words
    assert words.strip().endswith("1 error, 0 warnings")


def test_rate_of_the_node_overrides_that_of_the_package(repository):
    """TEN merges the node's properties over the package's."""
    path = "agents/ten_packages/extension/cartesia_tts/property.json"
    repository.write(path, {"params": {"sample_rate": 16000}})
    code, words = repository.check()
    assert code == 0, words


@pytest.mark.parametrize("content", ["{", "[]", '{"params": null}', "\0"])
def test_package_that_cannot_be_read_gives_no_rate(content, repository):
    """TEN would not use it either."""
    path = "agents/ten_packages/extension/cartesia_tts/property.json"
    repository.write(path, content)
    repository.editor.node("tts")["property"] = {}
    code, words = repository.check()
    assert code == 0, words


# The environment file


ENV = """# Agora
AGORA_APP_ID=0a1b2c3d4e5f60718293a4b5c6d7e8f9
export AGORA_APP_CERTIFICATE=E7d1c9B3a5f08264917D5ce3b0A8f642

SPATIUS_API_KEY=sk-from-the-file # a key
SPATIUS_APP_ID=
"""
UNSET = dict.fromkeys(
    (
        "AGORA_APP_ID",
        "AGORA_APP_CERTIFICATE",
        "SPATIUS_API_KEY",
    )
)


def test_variables_are_read_from_an_environment_file(repository):
    """They count for all nodes; the shell's are taken for the rest."""
    file = repository.write(".env", ENV + "SPATIUS_APP_ID=app-of-the-file\n")
    code, words = repository.check("--env-file", str(file), **UNSET)
    assert code == 0, words
    assert "spatius_app_id app-of-t...file $SPATIUS_APP_ID" in words
    assert "spatius_avatar_id good-avatar" in words
    assert "sk-from" not in words
    assert words.strip().endswith("No problems.")


def test_environment_file_wins_over_the_shell(repository):
    """Also with an empty value, as in a container."""
    file = repository.write(".env", ENV)
    code, words = repository.check("--env-file", str(file))
    assert code == 1
    assert "environment variable SPATIUS_APP_ID, which is empty" in words
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_in_an_environment_file_are_a_warning(quote, repository):
    """Some readers remove them, docker run --env-file does not."""
    quoted = f"SPATIUS_APP_ID={quote}good-app{quote}\nOTHER='x'\n"
    file = repository.write(".env", ENV + quoted)
    code, words = repository.check("--env-file", str(file))
    assert code == 0
    assert f"{file}: SPATIUS_APP_ID in quotes, which TEN's Taskfile" in words
    assert "spatius_app_id good-app" in words
    assert words.strip().endswith("0 errors, 1 warning")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nSPATIUS_API_KEY\n", "line 2: expected NAME=value"),
        ('A=1\nB=2\nC="open\n', "line 3: expected NAME=value"),
        ("two words\n", "line 1: expected NAME=value"),
        (b"A=\xff", "line 1, column 3: not UTF-8"),
    ],
)
def test_environment_file_that_cannot_be_used_is_said(text, said, repository):
    """With its line; exit code 2."""
    file = repository.write(".env", "")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, words = repository.check("--env-file", str(file))
    assert code == 2
    assert f"{file}, {said}" in words


def test_environment_file_that_is_missing_is_said(repository):
    """It is not taken for an empty one."""
    code, words = repository.check("--env-file", str(repository.root / ".env"))
    assert code == 2
    assert ".env does not exist" in words


def test_environment_file_above_the_app_is_hinted_at(repository):
    """Where variables are not set, and only there."""
    file = repository.write(".env", ENV)
    code, words = repository.check(SPATIUS_API_KEY=None)
    assert code == 1
    assert f"--env-file {file} takes the variables from there" in words
    assert words.strip().endswith("1 error, 0 warnings, 1 note")
    assert "--env-file" not in repository.check()[1]


def test_environment_file_is_hinted_at_for_other_nodes(repository):
    """Their variables stand there, too."""
    repository.write(".env", ENV)
    llm = repository.editor.node("llm")["property"]
    llm["api_key"] = "${env:OPENAI_API_KEY}"
    code, words = repository.check(OPENAI_API_KEY=None)
    assert code == 1
    assert "--env-file" in words
