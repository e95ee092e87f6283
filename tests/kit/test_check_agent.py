"""bin/check on TEN's stock agent, whose file it reads beside the graph."""

import json
import os
from pathlib import Path

import pytest
from test_check_graphs import Editor, judge

NAMES_THE_AVATAR = 'await _send_cmd(self.ten_env, "flush", "avatar")\n'
SAID = "0 errors, 1 warning"


def stock() -> Editor:
    """Return a graph whose agent is the stock one."""
    editor = Editor()
    editor.node("main_control").update(addon="main_python")
    return editor


def write_agent(folder: Path, text: str) -> Path:
    """Write the stock agent's file into an app's folder."""
    agent = folder / "ten_packages/extension/main_python/extension.py"
    agent.parent.mkdir(parents=True)
    agent.write_text(text)
    return agent


@pytest.mark.parametrize(
    "text",
    [
        f"# {NAMES_THE_AVATAR}",
        f"    #{NAMES_THE_AVATAR}",
        f"await stop()  # {NAMES_THE_AVATAR}",
    ],
)
def test_line_in_a_comment_sends_no_flush(text, tmp_path):
    """The agent does what its code says."""
    write_agent(tmp_path, text)
    assert SAID in judge(tmp_path, stock().tree)[1]


@pytest.mark.parametrize(
    "text",
    [
        f"# was: agora_rtc\n        {NAMES_THE_AVATAR}",
        'send(\n    "flush",\n    "avatar",\n)\n',
        f"{NAMES_THE_AVATAR.rstrip()}  # the avatar, too\n",
    ],
)
def test_line_beside_a_comment_sends_it(text, tmp_path):
    """Only what follows the sign is a comment."""
    write_agent(tmp_path, text)
    assert "No problems." in judge(tmp_path, stock().tree)[1]


@pytest.mark.parametrize("at", ["file", "folder"])
def test_agent_that_cannot_be_read_is_taken_as_it_is_shipped(at, tmp_path):
    """The warning says what to check."""
    agent = write_agent(tmp_path, NAMES_THE_AVATAR)
    locked = agent if at == "file" else agent.parent
    locked.chmod(0)
    try:
        if os.geteuid() == 0:
            pytest.skip("root reads what it may not")
        code, words = judge(tmp_path, stock().tree)
    finally:
        locked.chmod(0o700)
    assert code == 0, words
    assert SAID in words


def test_agent_of_a_graph_in_a_subfolder_is_the_apps(tmp_path):
    """Extensions are in the app's folder, wherever its graphs are."""
    write_agent(tmp_path, NAMES_THE_AVATAR)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs/g.json").write_text(json.dumps(stock().graph))
    entry = {"name": "g", "graph": {"import_uri": "graphs/g.json"}}
    code, words = judge(tmp_path, {"ten": {"predefined_graphs": [entry]}})
    assert code == 0, words
    assert words.strip().endswith("No problems."), words
