"""bin/check on files: those that cannot be read, and those they import."""

import json

import pytest
from checking import Editor, check, write


def importing(uri: str) -> dict:
    """Return an app's property.json that imports its graph."""
    entry = {"name": "g", "graph": {"import_uri": uri}}
    return {"ten": {"predefined_graphs": [entry]}}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nowhere.json", "nowhere.json does not exist"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: embedded null byte"),
        (".", "is a folder"),
    ],
    ids=["missing", "too long", "NUL", "folder"],
)
def test_import_that_cannot_be_read_names_both_files(uri, said, tmp_path):
    """The file that is imported, and the one that imports it."""
    code, words = check(write(tmp_path, importing(uri)), COLUMNS="1000")
    assert code == 2
    assert said in words
    assert f"(imported by {tmp_path / 'property.json'})" in words


def test_mistake_in_an_imported_files_json_names_both_files(tmp_path):
    """Line and column are those of the imported file."""
    (tmp_path / "g.json").write_text('{"nodes": [],}')
    code, words = check(write(tmp_path, importing("g.json")), COLUMNS="1000")
    assert code == 2
    assert f"{tmp_path / 'g.json'}, line 1, column 13: an extra comma" in words
    assert "(imported by " in words


def test_graph_on_another_machine_is_a_warning(tmp_path):
    """The others of its file are checked."""
    tree = Editor(tmp_path).tree
    remote = importing("https://graphs.test/voice.json")
    tree["ten"]["predefined_graphs"] += remote["ten"]["predefined_graphs"]
    code, words = check(write(tmp_path, tree))
    assert code == 0
    assert "imports https://graphs.test/voice.json, which is not on" in words
    assert words.strip().endswith("0 errors, 1 warning")
    code, words = check(write(tmp_path, remote), COLUMNS="1000")
    assert code == 2
    assert "imports https://graphs.test/voice.json" in words


@pytest.mark.parametrize("entry", ["graph.json", 5, None, [], True])
def test_graph_that_is_no_object_is_an_error(entry, tmp_path):
    """It is not passed over."""
    tree = Editor(tmp_path).tree
    tree["ten"]["predefined_graphs"].append(entry)
    code, words = check(write(tmp_path, tree))
    assert code == 1
    assert "predefined_graphs[1]: expected an object, got" in words


@pytest.mark.parametrize(
    "tree",
    [{"ten": {"predefined_graphs": []}}, {"nodes": []}, {"graph": {}}],
)
def test_file_without_a_graphs_nodes_is_said(tree, tmp_path):
    """It is of the right kind, and empty."""
    code, words = check(write(tmp_path, tree))
    assert code == 2
    assert "has no node with the addon spatius_avatar_python" in words
    assert "the addons in it: none" in words


@pytest.mark.parametrize("value", ["true", 1, None, []])
def test_auto_start_that_is_no_truth_value_is_a_warning(value, editor):
    """It is not passed over."""
    editor.graph["auto_start"] = value
    _, words = editor.check()
    assert "predefined_graphs[0].auto_start: expected true or false" in words


@pytest.mark.parametrize("levels", [200, 2000])
@pytest.mark.parametrize("begin, end", [("[", "]"), ('{"a":', "}")])
def test_json_that_is_nested_too_deep_is_said(levels, begin, end, tmp_path):
    """Python's parser reads more levels than its stack can follow."""
    nested = begin * levels + "1" + end * levels
    text = json.dumps(Editor(tmp_path).tree).replace('"Hello."', nested)
    code, words = check(write(tmp_path, text))
    assert code == 2
    assert "is nested too deeply" in words


def test_depth_that_a_configuration_may_have_is_read(editor):
    """Some extension's own settings may have levels of their own."""
    nested = "[" * 50 + "1" + "]" * 50
    editor.node("llm")["property"]["tools"] = json.loads(nested)
    code, words = editor.check()
    assert code == 0, words


@pytest.mark.parametrize("rest", [",", " ,\n", ",,"])
def test_comma_after_the_document_is_named(rest, tmp_path):
    """The file does not end in the middle."""
    code, words = check(write(tmp_path, '{"params": {}}' + rest))
    assert code == 2
    column = 16 if rest.startswith(" ") else 15
    assert f"line 1, column {column}: a comma after the end" in words


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"params":\n {"region": "\0"}}', "line 2, column 14"),
        ('{"params": {}}'.encode("utf-16-be"), "line 1, column 1"),
    ],
    ids=["one NUL", "UTF-16"],
)
def test_nul_is_located(data, place, tmp_path):
    """At the first of them."""
    path = tmp_path / "property.json"
    path.write_bytes(data)
    code, words = check(path)
    assert code == 2
    assert f"{place}: not UTF-8 (NUL bytes" in words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"ten": {"predefined_graphs": [%s]}, "ten": {}}', "is neither of"),
        ('{"graph": %s, "graph": {"nodes": []}}', "has no node with the addon"),
        (
            '{"predefined_graphs": [%s], "predefined_graphs": {}}',
            "expected a list",
        ),
    ],
)
def test_repeated_key_is_named_where_the_file_cannot_be_used(
    text, said, tmp_path, editor
):
    """It may be why: the last one counts."""
    code, words = check(write(tmp_path, text % json.dumps(editor.graph)))
    assert code == 2
    assert said in words
    assert "this key appears twice in one object" in words


def test_repeated_key_of_an_imported_file_is_named_with_its_file(tmp_path):
    """Where the avatar's node is missing because of it, too."""
    graph = json.dumps(Editor(tmp_path).graph)
    (tmp_path / "g.json").write_text(f'{graph[:-1]}, "nodes": []}}')
    code, words = check(write(tmp_path, importing("g.json")), COLUMNS="1000")
    assert code == 2
    assert "has no node with the addon" in words
    assert f"{tmp_path / 'g.json'}: nodes: this key appears twice" in words
