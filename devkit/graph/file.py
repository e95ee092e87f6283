"""The three kinds of files that hold an avatar's configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .json_file import FileError, defects, read_json
from .model import Graph, Node
from .tree import Tree, as_object, joined, kind, objects

_OWN_PROPERTIES = ("params", "channel", "dump", "dump_path")


@dataclass(frozen=True)
class Contents:
    """What a file holds: an extension's own properties, or graphs."""

    path: Path
    own: Tree | None
    graphs: list[Graph]
    defects: list[str]
    """What JSON allows and TEN does not, each with its path."""

    def nodes(self, addon: str, name: str | None = None) -> list[Node]:
        """Return the nodes that `addon` makes, of that name if one is given.

        Raises `FileError` where there is none.
        """
        if self.own is not None:
            if name is not None:
                raise FileError(
                    f"{self.path} holds an extension's own properties and no "
                    f"graph, so there is no node {name}"
                )
            return [Node("", self.own)]
        found = [
            Node(
                str(node.get("name", "")),
                as_object(node.get("property")),
                graph,
            )
            for graph in self.graphs
            for node in graph.nodes
            if node.get("addon") == addon
        ]
        wanted = [node for node in found if name in (None, node.name)]
        if not wanted:
            raise FileError(self._no_such_node(addon, name, found))
        return wanted

    def _no_such_node(
        self, addon: str, name: str | None, found: list[Node]
    ) -> str:
        if found:
            names = ", ".join(node.name for node in found)
            return (
                f"{self.path} has no node {name} with the addon {addon}; "
                f"its nodes with that addon: {names}"
            )
        addons = sorted(
            {
                str(node["addon"])
                for graph in self.graphs
                for node in graph.nodes
                if "addon" in node
            }
        )
        return (
            f"{self.path} has no node with the addon {addon}; the addons in "
            f"it: {', '.join(addons) or 'none'}"
        )


def read(path: Path) -> Contents:
    """Return what the file holds. Raises `FileError`."""
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise FileError(f"{path} holds {kind(tree)}; expected a JSON object")
    graphs = list(_graphs_of(tree, path))
    if graphs:
        found = defects(tree)
        for file in {graph.file for graph in graphs} - {path}:
            found += [f"{file}: {text}" for text in defects(read_json(file))]
        return Contents(path, None, graphs, found)
    if not any(name in tree for name in _OWN_PROPERTIES):
        raise FileError(
            f"{path} is neither of these: an extension's property.json (with "
            "params), a TEN app's property.json (with "
            "ten.predefined_graphs), a graph file (with nodes)"
        )
    return Contents(path, tree, [], defects(tree))


def _graphs_of(tree: Tree, file: Path) -> Iterator[Graph]:
    for key in ("ten", "_ten"):
        inner = as_object(tree.get(key))
        if "predefined_graphs" in inner:
            yield from _predefined(inner, f"{key}.", file)
            return
    if "predefined_graphs" in tree:
        yield from _predefined(tree, "", file)
    elif "nodes" in tree or "graph" in tree:
        yield _graph_of(tree, str(tree.get("name", "")), "", file)


def _predefined(inner: Tree, prefix: str, file: Path) -> Iterator[Graph]:
    entries = inner["predefined_graphs"]
    if not isinstance(entries, list):
        raise FileError(
            f"{file}: {prefix}predefined_graphs holds {kind(entries)}; "
            "expected a list"
        )
    for index, entry in enumerate(entries):
        path = f"{prefix}predefined_graphs[{index}]"
        entry = as_object(entry)
        yield _graph_of(entry, str(entry.get("name", index)), path, file)


def _graph_of(tree: Tree, name: str, path: str, file: Path) -> Graph:
    inner = tree
    if isinstance(tree.get("graph"), dict):
        inner, path = tree["graph"], joined(path, "graph")
    imported = inner.get("import_uri") or tree.get("import_uri")
    if isinstance(imported, str) and "nodes" not in inner:
        file, path = _imported(imported, file), ""
        inner = as_object(read_json(file))
        inner = as_object(inner.get("graph")) or inner
    lists: dict[str, list[Tree]] = {}
    for key in ("nodes", "connections"):
        value = inner.get(key, [])
        if not isinstance(value, list):
            raise FileError(
                f"{file}: {joined(path, key)} holds {kind(value)}; expected "
                "a list"
            )
        lists[key] = objects(value)
    return Graph(name, path, lists["nodes"], lists["connections"], file)


def _imported(uri: str, file: Path) -> Path:
    if "://" in uri and not uri.startswith("file://"):
        raise FileError(f"{file} imports {uri}; check the graph's own file")
    return file.parent / uri.removeprefix("file://")
