"""The documents lead where they say, and their examples are right."""

import json
import re
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agent import VARIABLES
from ten_runtime import Data

from devkit.graph import read
from devkit.graph.report import examine

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
VOICE_ASSISTANT = ROOT / "examples/voice-assistant/README.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
"""A link to a file of the repository; it may go over two lines."""

MAX_README_LINES = 200
MAX_LISTENER_LINES = 30


def targets(page: Path) -> set[Path]:
    found = LINK.findall(page.read_text())
    return {(page.parent / target).resolve() for target in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    """No page has moved away from under a link."""
    assert {str(path) for path in targets(page) if not path.exists()} == set()


def test_readme_leads_to_every_page():
    """Each is one click away."""
    pages = {ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"}
    pages.add(ROOT / "SECURITY.md")
    pages |= set(ROOT.glob("docs/*.md"))
    assert pages - targets(README) == set()


def test_readme_is_short():
    """It is read by someone who decides in two minutes."""
    text = README.read_text()
    assert len(text.splitlines()) <= MAX_README_LINES
    (chapter,) = re.findall(
        r"^## What the listener.*?(?=^## )", text, re.M | re.S
    )
    assert len(chapter.splitlines()) <= MAX_LISTENER_LINES


def test_status_names_the_version_that_is_here():
    """The status is about a version, and this one is named."""
    version = json.loads((ROOT / "manifest.json").read_text())["version"]
    (status,) = re.findall(r"\*\*Status\.\*\*.*?\n\n", README.read_text(), re.S)
    assert f"This version, {version}," in " ".join(status.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_repository_url_of_their_own(page):
    """A placeholder that the page explains, and no made-up address."""
    text = page.read_text()
    assert set(re.findall(r"git clone (\S+)", text)) <= {"REPOSITORY_URL"}
    if "REPOSITORY_URL" in text:
        assert "`git remote get-url origin`" in " ".join(text.split())


def test_graph_in_the_readme_is_right(tmp_path):
    """Its node and connections are those that bin/check asks for."""
    blocks = [
        json.loads(block)
        for block in re.findall(r"```json\n(.*?)```", README.read_text(), re.S)
    ]
    node, connections = blocks[-2:]
    others = [
        {
            "type": "extension",
            "name": name,
            "addon": addon,
            "extension_group": "default",
        }
        for name, addon in (
            ("tts", "some_tts_python"),
            ("main_control", "main_python"),
            ("agora_rtc", "agora_rtc"),
        )
    ]
    graph = {"nodes": [node, *others], "connections": connections}
    path = tmp_path / "property.json"
    ten = {"predefined_graphs": [{"name": "default", "graph": graph}]}
    path.write_text(json.dumps({"ten": ten}))
    (found,) = read(path).nodes("spatius_avatar_python")
    findings = examine(found, [], VARIABLES, time.time()).findings
    assert findings.errors == [] and findings.notes == []
    # The one line that TEN's stock agent needs stands below the graph.
    (warning,) = findings.warnings
    (line,) = re.findall(r"_send_cmd\(.*?\)", README.read_text())
    assert '"flush", "avatar"' in line and '"flush", "avatar"' in warning


# The agent that cuts the LLM's context


def agent_of_the_example(*contexts: SimpleNamespace) -> Any:
    """Return a node that has the methods of the example's README."""
    (code,) = re.findall(
        r"```python\n(spoken = .*?)```", VOICE_ASSISTANT.read_text(), re.S
    )
    names: dict[str, Any] = {}
    exec("class Main:\n" + textwrap.indent(code, "    "), names)
    node = names["Main"]()
    node.passed_on = []

    async def pass_on(data: Data) -> None:
        node.passed_on.append(data.get_name())

    node.agent = SimpleNamespace(
        llm_exec=SimpleNamespace(contexts=list(contexts)), on_data=pass_on
    )
    return node


def message(name: str, **values: int) -> Data:
    data = Data.create(name)
    for key, value in values.items():
        data.set_property_int(key, value)
    return data


def audio_end(reason: int, heard_ms: int, total_ms: int) -> Data:
    return message(
        "avatar_audio_end",
        reason=reason,
        playback_position_ms=heard_ms,
        request_total_audio_duration_ms=total_ms,
    )


def said(role: str, content: str) -> SimpleNamespace:
    return SimpleNamespace(role=role, content=content)


@pytest.mark.parametrize(
    ("reason", "heard_ms", "left"),
    [
        (1, 1000, "one two three four"),
        (2, 500, "one two ..."),
        (2, 0, " ..."),
        (3, 500, "one two ..."),
    ],
)
async def test_agent_keeps_the_text_heard(reason, heard_ms, left):
    """Also where the user's next words are in the context already."""
    answer = said("assistant", "one two three four")
    node = agent_of_the_example(said("user", "count"), answer)
    await node.on_data(None, message("avatar_audio_start"))
    node.agent.llm_exec.contexts.append(said("user", "stop"))
    await node.on_data(None, audio_end(reason, heard_ms, 1000))
    assert answer.content == left
    assert [one.content for one in node.agent.llm_exec.contexts] == [
        "count",
        left,
        "stop",
    ]


async def test_agent_leaves_a_greeting_and_other_data_alone():
    """A greeting is not in the context; other data goes where it went."""
    question = said("user", "one two three four")
    for contexts in ((), (question,)):
        node = agent_of_the_example(*contexts)
        await node.on_data(None, message("avatar_audio_start"))
        await node.on_data(None, audio_end(2, 500, 1000))
        await node.on_data(None, message("asr_result"))
        assert node.passed_on == ["asr_result"]
    assert question.content == "one two three four"


def test_agent_of_the_example_receives_the_messages_it_reads():
    """The example's graph connects these messages, and no other, from the
    avatar to the agent; manifest.json declares them."""
    (node,) = read(VOICE_ASSISTANT.parent / "property.json").nodes(
        "spatius_avatar_python"
    )
    assert node.graph is not None
    wired = {
        (wire.kind, wire.message)
        for wire in node.graph.wires()
        if (wire.source, wire.dest) == (node.name, "main_control")
    }
    (code,) = re.findall(
        r"```python\n(spoken = .*?)```", VOICE_ASSISTANT.read_text(), re.S
    )
    names = re.findall(r'get_name\(\) == "(\w+)"', code)
    assert wired == {("data", name) for name in names}
    manifest = json.loads((ROOT / "manifest.json").read_text())
    declared = {entry["name"] for entry in manifest["api"]["data_out"]}
    assert set(names) <= declared
