"""bin/check on apps with several graphs."""

import json
from typing import Any

import pytest
from checking import Tree, check, graph, write

SAME_UID = "all have the uid 2000 in the channel room"


def app(*entries: Tree) -> Tree:
    """Return an app's property.json with the graphs a, b, and so on."""
    graphs = [
        {"name": name, "auto_start": True, "graph": graph({}), **entry}
        for name, entry in zip("abc", entries, strict=False)
    ]
    return {"ten": {"predefined_graphs": graphs}}


def with_params(**params: Any) -> Tree:
    return {"graph": graph({"params": params})}


def test_graphs_that_start_together_are_one_warning(tmp_path):
    """TEN's agent server keeps the one that is asked for."""
    code, words = check(write(tmp_path, app({}, {})))
    assert code == 0
    assert (
        f"auto_start: graph a, node avatar; graph b, node avatar: {SAME_UID}"
        in words
    )
    assert words.strip().endswith("0 errors, 1 warning")


def test_graphs_of_files_of_their_own_are_compared(tmp_path):
    """Two files, or twice the same."""
    (tmp_path / "a.json").write_text(json.dumps(graph({})))
    imported = {"graph": {"import_uri": "a.json"}}
    code, words = check(write(tmp_path, app(imported, imported)))
    assert code == 0
    assert SAME_UID in words
    assert words.strip().endswith("0 errors, 1 warning")


def test_many_graphs_that_start_together_are_one_warning(tmp_path):
    """TEN's demos have up to 19 of them."""
    graphs = [
        {"name": f"g{number}", "auto_start": True, "graph": graph({})}
        for number in range(19)
    ]
    tree = {"ten": {"predefined_graphs": graphs}}
    code, words = check(write(tmp_path, tree))
    assert code == 0
    assert words.count("auto_start:") == 1
    assert f"; and 15 more: {SAME_UID}" in words
    assert words.strip().endswith("0 errors, 1 warning")


def test_chosen_node_is_compared_with_all(tmp_path):
    """With --node the avatars that are not reported count, too."""
    tree = app({}, {})
    nodes = tree["ten"]["predefined_graphs"][1]["graph"]
    nodes["nodes"][0]["name"] = "face"
    nodes["connections"] = []
    code, words = check(write(tmp_path, tree), "--node", "avatar")
    assert code == 0
    assert f"graph b, node face: {SAME_UID}" in words


@pytest.mark.parametrize(
    "second",
    [
        {"auto_start": False},
        {"auto_start": "true"},
        with_params(agora_uid=2001),
        {"graph": graph({"channel": "lobby"})},
    ],
    ids=["not started", "no truth value", "another uid", "another channel"],
)
def test_graphs_that_do_not_meet_are_fine(tmp_path, second):
    """One of them is not started, or the two use no uid twice."""
    code, words = check(write(tmp_path, app({}, second)))
    assert code == 0, words
    assert SAME_UID not in words


def test_uid_that_agora_assigns_is_never_the_same(tmp_path):
    """Any number of participants may ask for uid 0."""
    zero = with_params(agora_uid=0)
    code, words = check(write(tmp_path, app(zero, zero)))
    assert code == 0, words
