"""bin/check on apps with several graphs."""

from typing import Any

import pytest
from test_check import Tree, check, graph, write

SAME_UID = "params.agora_uid: 2000 is also that of graph {}, node avatar"


def app(*entries: Tree) -> Tree:
    """Return an app's property.json with the graphs a, b, and so on."""
    graphs = [
        {"name": name, "auto_start": True, "graph": graph({}), **entry}
        for name, entry in zip("abc", entries, strict=False)
    ]
    return {"ten": {"predefined_graphs": graphs}}


def with_params(**params: Any) -> Tree:
    return {"graph": graph({"params": params})}


def test_graphs_that_start_together_need_two_uids(tmp_path):
    """Each of the two avatars has the error, which names the other one."""
    code, words = check(write(tmp_path, app({}, {})))
    assert code == 1
    assert SAME_UID.format("a") in words and SAME_UID.format("b") in words
    assert "the app starts both graphs (auto_start)" in words
    assert words.strip().endswith("2 errors, 0 warnings")


def test_chosen_node_is_compared_with_all(tmp_path):
    """With --node the avatars that are not reported count, too."""
    tree = app({}, {})
    nodes = tree["ten"]["predefined_graphs"][1]["graph"]
    nodes["nodes"][0]["name"] = "face"
    nodes["connections"] = []
    code, words = check(write(tmp_path, tree), "--node", "avatar")
    assert code == 1
    assert "2000 is also that of graph b, node face" in words


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
    assert "2000 is also" not in words


def test_uid_that_agora_assigns_is_never_the_same(tmp_path):
    """Any number of participants may ask for uid 0."""
    zero = with_params(agora_uid=0)
    code, words = check(write(tmp_path, app(zero, zero)))
    assert code == 0, words
