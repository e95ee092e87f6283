"""bin/check on TEN's stock agent, whose file it reads beside the graph."""

import json
import os
from pathlib import Path

import pytest
from checking import Editor, check, write

NAMES_THE_AVATAR = 'await _send_cmd(self.ten_env, "flush", "avatar")\n'
SAID = "0 errors, 1 warning"


BY_NAME = 'await _send_cmd(self.ten_env, "flush", "agora_rtc")\n'
STOCK = (
    "main_python",
    "main_cascade_python",
    "main_realtime_python",
    "main_nodejs",
)


def with_agent(folder: Path, addon: str, name: str, text: str) -> Editor:
    """Return a graph with this agent, whose source is beside it."""
    source = folder / "ten_packages/extension" / addon / name
    source.parent.mkdir(parents=True)
    source.write_text(text)
    editor = Editor(folder)
    editor.node("main_control").update(addon=addon)
    return editor


@pytest.mark.parametrize(
    "text",
    [
        f"# {NAMES_THE_AVATAR}",
        f"    #{NAMES_THE_AVATAR}",
        f"await stop()  # {NAMES_THE_AVATAR}",
    ],
)
def test_line_in_a_comment_sends_no_flush(text, tmp_path):
    """The agent's code is read."""
    editor = with_agent(tmp_path, "main_python", "extension.py", text)
    assert SAID in editor.check()[1]


@pytest.mark.parametrize(
    "text",
    [
        f"# was: agora_rtc\n        {NAMES_THE_AVATAR}",
        'send(\n    "flush",\n    "avatar",\n)\n',
        f"{NAMES_THE_AVATAR.rstrip()}  # the avatar, too\n",
    ],
)
def test_line_beside_a_comment_sends_it(text, tmp_path):
    """Only the text behind the sign is a comment."""
    editor = with_agent(tmp_path, "main_python", "extension.py", text)
    assert editor.is_fine()


@pytest.mark.parametrize("addon", STOCK)
@pytest.mark.parametrize("is_wired", [True, False])
def test_stock_agents_send_flush_by_name(addon, is_wired, editor):
    """TEN's own ones are known where their source is not at hand."""
    editor.node("main_control").update(addon=addon)
    if not is_wired:
        editor.to_avatar.pop("cmd")
    code, words = editor.check()
    assert code == 0
    assert (
        f"TEN's stock {addon} sends flush to agora_rtc by name, bypassing"
        in words
    )
    call = "sendCmd(this.tenEnv" if "nodejs" in addon else "_send_cmd(self."
    assert call in words and '"flush", "avatar")' in words
    assert SAID in words


SOURCES = {
    "Python": ("extension.py", 'await _send_cmd(env, "flush", "{}")'),
    "Python, keywords": (
        "flow.py",
        "await send_cmd(\n    env,\n    'flush',\n    dest='{}',\n)",
    ),
    "Python, keywords first": (
        "flow.py",
        'await send_cmd(env, dest="{}", cmd_name="flush")',
    ),
    "Python, a location": (
        "agent/tts.py",
        'cmd = Cmd.create("flush")\n'
        'cmd.set_dests([Loc("", "", "{}")])\n'
        "await env.send_cmd(cmd)",
    ),
    "Python, constants": (
        "flow.py",
        "class Names:\n    FLUSH: str = 'flush'\nRTC = \"{}\"\n"
        "await _send_cmd(env, Names.FLUSH, RTC)",
    ),
    "TypeScript": (
        "src/index.ts",
        'await sendCmd(this.tenEnv, "flush", "{}"); // interrupt',
    ),
    "TypeScript, a location": (
        "src/agent/agent.ts",
        "const cmd = Cmd.Create('flush');\n"
        "cmd.setDests([{{ appUri: '', graphId: '', extensionName: '{}' }}]);\n"
        "await tenEnv.sendCmd(cmd);",
    ),
    "JavaScript": ("lib/main.js", "sendCmd(env, `flush`, `{}`)"),
    "Go": (
        "extension.go",
        'cmd, _ := ten.NewCmd("flush")\n'
        'cmd.SetDests(ten.Loc{{ExtensionName: "{}"}})\n'
        "tenEnv.SendCmd(cmd, nil)",
    ),
    "Go, constants": (
        "extension.go",
        'const (\n\tcmdFlush string = "flush"\n\trtcNode = "{}"\n)\n'
        "cmd, _ := ten.NewCmd(cmdFlush)\n"
        "cmd.SetDests(ten.Loc{{ExtensionName: rtcNode}})\n"
        "tenEnv.SendCmd(cmd, nil)",
    ),
    "TypeScript, constants": (
        "src/index.ts",
        'const FLUSH = "flush";\nconst rtcNode: string = "{}";\n'
        "await sendCmd(this.tenEnv, FLUSH, rtcNode);",
    ),
    "C++": (
        "src/main.cc",
        'auto cmd = ten::cmd_t::create("flush");\n'
        'cmd->set_dests({{{{"", "", "{}"}}}});\n'
        "ten_env.send_cmd(std::move(cmd));",
    ),
}


@pytest.mark.parametrize(("name", "text"), SOURCES.values(), ids=SOURCES.keys())
def test_source_of_any_language_says_where_flush_goes(
    name, text, tmp_path, request
):
    """It is read if it lies beside the graph, for any addon."""
    editor = with_agent(tmp_path, "my_main", name, text.format("agora_rtc"))
    code, words = check(write(tmp_path, editor.tree))
    assert code == 0
    assert (
        "my_main, as its source beside the graph says, sends flush to "
        "agora_rtc by name" in words
    )
    assert SAID in words
    both = f"{text.format('agora_rtc')}\n{text.format('avatar')}"
    if "onstants" in request.node.name:
        both = text.format("avatar")
    assert with_agent(tmp_path / "both", "my_main", name, both).is_fine()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("extension.py", 'await self.send_cmd(env, "flush")'),
        ("extension.py", 'await _send_cmd(env, "flush", None)'),
        ("extension.py", 'cmd = Cmd.create("flush")\nawait env.send_cmd(cmd)'),
        ("index.ts", "await tenEnv.sendCmd(Cmd.Create('flush'));"),
        (
            "extension.py",
            'await env.send_cmd(Cmd.create("flush"))\n'
            'cmd = Cmd.create("publish")\n'
            'cmd.set_dests([Loc("", "", "agora_rtm")])\n'
            "await env.send_cmd(cmd)",
        ),
        ("main.go", 'cmd, _ := ten.NewCmd("flush")\nenv.SendCmd(cmd, nil)'),
    ],
)
@pytest.mark.parametrize("more", ["", BY_NAME])
def test_flush_without_a_receiver_follows_the_wires(name, text, more, tmp_path):
    """Beside one that names its receiver, too."""
    text = f"{text}\n{more if name.endswith('py') else ''}"
    editor = with_agent(tmp_path, "main_python", name, text)
    words = check(write(tmp_path, editor.tree))[1]
    assert words.strip().endswith("No problems."), words


def test_list_of_messages_names_no_receiver(tmp_path):
    """It only looks like one."""
    text = 'if name in ("flush", "on_user_joined"):\n    pass\n'
    editor = with_agent(tmp_path, "my_main", "extension.py", text)
    words = check(write(tmp_path, editor.tree))[1]
    assert words.strip().endswith("No problems."), words


def test_agent_that_names_the_avatar_needs_no_wire(tmp_path):
    """As that of TEN's voice-assistant-advanced does."""
    text = BY_NAME + NAMES_THE_AVATAR
    editor = with_agent(tmp_path, "main_python", "extension.py", text)
    editor.to_avatar.pop("cmd")
    words = check(write(tmp_path, editor.tree))[1]
    assert words.strip().endswith("No problems."), words


@pytest.mark.parametrize(
    "name", ["tests/test_it.py", "node_modules/x/index.js", "build/index.js"]
)
def test_code_that_is_not_the_agents_own_is_not_read(name, tmp_path):
    """Its tests may send messages that it never sends."""
    text = 'sendCmd(env, "flush", "avatar")'
    editor = with_agent(tmp_path, "main_python", name, text)
    assert SAID in check(write(tmp_path, editor.tree))[1]


@pytest.mark.parametrize("layout", ["manifest", "repository"])
def test_agent_in_a_folder_of_the_repository_is_found(layout, tmp_path):
    """Where the app's manifest says, or in a ten_packages above the app."""
    editor = with_agent(tmp_path, "my_main", "extension.py", BY_NAME)
    app = tmp_path / "examples/voice/tenapp"
    app.mkdir(parents=True)
    if layout == "manifest":
        folder = tmp_path / "ten_packages"
        folder.rename(tmp_path / "elsewhere")
        packages = "../../../elsewhere/extension"
        dependencies = [
            {"path": f"{packages}/{name}"}
            for name in ("my_main", "spatius_avatar_python")
        ]
        manifest = {"type": "app", "dependencies": dependencies}
        (app / "manifest.json").write_text(json.dumps(manifest))
    assert "my_main, as its source" in check(write(app, editor.tree))[1]


@pytest.mark.parametrize("at", ["file", "folder"])
def test_agent_that_cannot_be_read_is_taken_as_it_is_shipped(at, tmp_path):
    """The warning has advice."""
    addon, name = "main_python", "extension.py"
    editor = with_agent(tmp_path, addon, name, NAMES_THE_AVATAR)
    agent = tmp_path / "ten_packages/extension" / addon / name
    locked = agent if at == "file" else agent.parent
    locked.chmod(0)
    try:
        if os.geteuid() == 0:
            pytest.skip("root reads what it may not")
        code, words = editor.check()
    finally:
        locked.chmod(0o700)
    assert code == 0, words
    assert SAID in words


def test_agent_of_a_graph_in_a_subfolder_is_the_apps(tmp_path):
    """Extensions are in the app's folder, wherever its graphs are."""
    text = NAMES_THE_AVATAR
    editor = with_agent(tmp_path, "main_python", "extension.py", text)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs/g.json").write_text(json.dumps(editor.graph))
    entry = {"name": "g", "graph": {"import_uri": "graphs/g.json"}}
    editor.tree = {"ten": {"predefined_graphs": [entry]}}
    assert editor.is_fine()
