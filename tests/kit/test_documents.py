"""The documents lead where they say, and their examples are right."""

import json
import re
import time
from pathlib import Path

import pytest

from devkit.credentials import APP_ID, CERTIFICATE
from devkit.graph import read
from devkit.graph.report import examine

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/**/*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
"""A link to a file of the repository; it may go over two lines."""

ENVIRONMENT = {
    "SPATIUS_API_KEY": "some-key",
    "SPATIUS_APP_ID": "good-app",
    "SPATIUS_AVATAR_ID": "good-avatar",
    "AGORA_APP_ID": APP_ID,
    "AGORA_APP_CERTIFICATE": CERTIFICATE,
    "AGORA_CHANNEL": "my_room",
    "AGORA_AVATAR_UID": "2000",
}

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


def test_graph_in_the_readme_is_right(tmp_path):
    """Its node and connections are what bin/check asks for."""
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
    findings = examine(found, [], ENVIRONMENT, time.time()).findings
    assert findings.errors == [] and findings.notes == []
    # The one line that TEN's stock agent needs stands below the graph.
    (warning,) = findings.warnings
    (line,) = re.findall(r"_send_cmd\(.*?\)", README.read_text())
    assert '"flush", "avatar"' in line and '"flush", "avatar"' in warning
