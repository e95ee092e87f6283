"""The three kinds of files that hold an avatar's configuration."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .findings import nearest
from .json_file import FileError, defects, read_json
from .model import Graph, Node
from .tree import Tree, as_object, joined, kind, objects

_OWN_PROPERTIES = ("params", "channel", "dump", "dump_path")


@dataclass(frozen=True)
class Contents:
    """The content of a file: an extension's own properties, or graphs."""

    path: Path
    own: Tree | None
    graphs: list[Graph]
    defects: list[str]
    """Valid JSON that TEN does not take, each with its path."""
    unread: list[str]
    """Parts that were not read, such as graphs on another machine."""

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
        nodes = [node for graph in self.graphs for node in graph.extensions]
        found = [node for node in nodes if node.addon == addon]
        wanted = [node for node in found if name in (None, node.name)]
        if not wanted:
            text = self._no_such_node(addon, name, found, nodes)
            raise FileError("\n".join((text, *self.defects, *self.unread)))
        return wanted

    def start_in(self, channel: str) -> None:
        """Put `channel` where TEN's agent server puts a session's channel:
        into each node that has one at the top level."""
        if self.own is not None:
            self.own["channel"] = channel
        for graph in self.graphs:
            for node in graph.own_nodes:
                given = node.get("property")
                if isinstance(given, dict) and "channel" in given:
                    given["channel"] = channel

    def _no_such_node(
        self, addon: str, name: str | None, found: list[Node], nodes: list[Node]
    ) -> str:
        if found:
            names = ", ".join(node.name for node in found)
            return (
                f"{self.path} has no node {name} with the addon {addon}; "
                f"its nodes with that addon: {names}"
            )
        addons = sorted({node.addon for node in nodes if node.addon})
        alike = [one for one in addons if nearest(one, [addon], cutoff=0.8)]
        return (
            f"{self.path} has no node with the addon {addon}; the addons in "
            f"it: {', '.join(addons) or 'none'}"
            + (f"; is {alike[0]} a misspelling of it?" if alike else "")
        )


def read(path: Path) -> Contents:
    """Return the content of a file. Raises `FileError`."""
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise FileError(f"{path} holds {kind(tree)}; expected a JSON object")
    reader = _Reader(path, tree)
    try:
        return reader.contents()
    except FileError as error:
        # A key that appears twice may be the reason.
        raise FileError("\n".join((str(error), *reader.defects))) from None


class _Reader:
    """Reads a file that was given, and the graphs that it imports."""

    def __init__(self, path: Path, tree: Tree) -> None:
        self.path = path
        self.tree = tree
        self.defects = defects(tree)
        self.unread: list[str] = []

    def contents(self) -> Contents:
        graphs = self._graphs()
        if graphs is not None:
            for file in sorted(set(_files_of(graphs)) - {self.path}):
                found = defects(read_json(file))
                self.defects += [f"{file}: {text}" for text in found]
        elif not any(name in self.tree for name in _OWN_PROPERTIES):
            raise FileError(
                f"{self.path} is neither of these: an extension's "
                "property.json (with params), a TEN app's property.json (with "
                "ten.predefined_graphs), a graph file (with nodes)"
            )
        own = self.tree if graphs is None else None
        return Contents(self.path, own, graphs or [], self.defects, self.unread)

    def _graphs(self) -> list[Graph] | None:
        """Return the graphs, None if the file is there for none."""
        tree = self.tree
        if "_ten" in tree:
            self.defects.append(
                "_ten: TEN 0.11 reads this section under the name ten only; "
                + ("move it there" if "ten" in tree else "rename it")
            )
        for prefix in ("ten.", "_ten.", ""):
            inner = as_object(tree.get(prefix[:-1])) if prefix else tree
            if "predefined_graphs" in inner:
                return list(self._predefined(inner, prefix))
        if "nodes" in tree or "graph" in tree:
            return list(self._graph(tree, str(tree.get("name", "")), ""))
        return None

    def _predefined(self, inner: Tree, prefix: str) -> Iterator[Graph]:
        entries = inner["predefined_graphs"]
        if not isinstance(entries, list):
            raise FileError(
                f"{self.path}: {prefix}predefined_graphs holds "
                f"{kind(entries)}; expected a list"
            )
        for index, entry in enumerate(entries):
            path = f"{prefix}predefined_graphs[{index}]"
            if not isinstance(entry, dict):
                self.defects.append(
                    f"{path}: expected an object, got {kind(entry)}"
                )
                continue
            auto_start = entry.get("auto_start", False)
            if not isinstance(auto_start, bool):
                self.unread.append(
                    f"{path}.auto_start: expected true or false, got "
                    f"{kind(auto_start)}"
                )
            for graph in self._graph(
                entry, str(entry.get("name", index)), path
            ):
                yield replace(graph, auto_start=auto_start is True)

    def _graph(self, tree: Tree, name: str, path: str) -> Iterator[Graph]:
        inner, origin, files = tree, "", (self.path,)
        if isinstance(tree.get("graph"), dict):
            inner, path = tree["graph"], joined(path, "graph")
        imported = inner.get("import_uri") or tree.get("import_uri")
        if isinstance(imported, str) and "nodes" not in inner:
            if _is_elsewhere(imported):
                self.unread.append(
                    f"{self.path} imports {imported}, which is not on this "
                    "machine and was not checked; check the graph's own file"
                )
                return
            inner, file = _imported(imported, self.path)
            path, origin, files = "", f"{file.name}: ", (self.path, file)
        yield _loaded(inner, name, path, origin, files)


def _loaded(
    tree: Tree, name: str, path: str, origin: str, files: tuple[Path, ...]
) -> Graph:
    """Return the graph in `tree` with its subgraphs.

    `files` are the one that was given, those that lead from it to the graph,
    and the graph's own.
    """
    file = files[-1]
    for key in ("nodes", "connections"):
        value = tree.get(key, [])
        if not isinstance(value, list):
            raise FileError(
                f"{file}: {joined(path, key)} holds {kind(value)}; expected "
                "a list"
            )
    subgraphs = {}
    for node in objects(tree.get("nodes")):
        uri = as_object(node.get("graph")).get("import_uri")
        if node.get("type") != "subgraph" or not isinstance(uri, str):
            continue
        if _is_elsewhere(uri):
            continue
        inner, inner_file = _imported(uri, file)
        if inner_file in files:
            raise FileError(f"{inner_file} imports itself as a subgraph")
        own_name = str(node.get("name"))
        inner_origin, inner_files = f"{inner_file.name}: ", (*files, inner_file)
        subgraphs[own_name] = _loaded(
            inner, own_name, "", inner_origin, inner_files
        )
    return Graph(name, path, tree, file, files[0].parent, subgraphs, origin)


def _is_elsewhere(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def _imported(uri: str, importer: Path) -> tuple[Tree, Path]:
    """Return the graph that a file imports, and the graph's own file."""
    file = Path(os.path.normpath(importer.parent / uri.removeprefix("file://")))
    try:
        tree = as_object(read_json(file))
    except FileError as error:
        raise FileError(f"{error} (imported by {importer})") from None
    return as_object(tree.get("graph")) or tree, file


def _files_of(graphs: Iterable[Graph]) -> Iterator[Path]:
    for graph in graphs:
        yield graph.file
        yield from _files_of(graph.subgraphs.values())
