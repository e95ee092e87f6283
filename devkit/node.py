"""Reads what a TEN app or a graph says about one extension's nodes.

It does what the runtime does before an extension starts: property.json, the
graph node's `property` merged over it, placeholders, manifest types. Where
the runtime would end its process, a problem is noted here, with all others.
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from . import package

# The stand-in's rules under the name devkit.ten_runtime: the name ten_runtime
# itself may belong to the real runtime, which has no such modules.
from .ten_runtime._properties import _PLACEHOLDER as PLACEHOLDER
from .ten_runtime._properties import merge
from .ten_runtime._schema import Schemas, mismatch

package.load()
config: Any = importlib.import_module(".config", package.NAME)

Tree = dict[str, Any]

_OWN_PROPERTIES = ("params", "channel", "dump", "dump_path")
_KINDS = ("cmd", "data", "audio_frame", "video_frame")


class FileError(ValueError):
    """The file cannot be used; the text says why and what was expected."""


class Wire(NamedTuple):
    """One message's way from one node to another."""

    kind: str
    """`cmd`, `data`, `audio_frame` or `video_frame`."""
    message: str
    """Its name; `*` stands for every name."""
    source: str
    dest: str


@dataclass(frozen=True)
class Graph:
    """One graph of a file."""

    name: str
    path: str
    """Where it stands in the file, "" for the whole of it."""
    nodes: list[Tree]
    connections: list[Tree]

    def wires(self) -> list[Wire]:
        """Return every message's way, however the connections write it."""
        return [
            wire
            for connection in self.connections
            for wire in _wires_of(connection)
        ]

    def property_of(self, name: str) -> Tree:
        """Return a node's own properties, {} where it has none."""
        for node in self.nodes:
            if node.get("name") == name:
                return _object(node.get("property"))
        return {}


@dataclass(frozen=True)
class Node:
    """What a file says about one node."""

    name: str
    """"" for an extension's own property.json."""
    property: Tree
    graph: Graph | None = None

    def __str__(self) -> str:
        if self.graph is None:
            return "the extension's own properties"
        graph = f"graph {self.graph.name}, " if self.graph.name else ""
        return f"{graph}node {self.name}"


@dataclass(frozen=True)
class Contents:
    """What a file holds: an extension's own properties, or graphs."""

    path: Path
    own: Tree | None
    graphs: list[Graph]
    nulls: list[str]
    """Paths of each null; one is enough for TEN to ignore the file."""

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
                str(node.get("name", "")), _object(node.get("property")), graph
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


class Origin(NamedTuple):
    """Where a value comes from."""

    layer: str
    """`graph node` or `property.json`."""
    variable: str = ""
    """The environment variable of its placeholder, "" without one."""
    is_set: bool = False
    """Whether that variable exists."""


@dataclass
class Resolved:
    """The tree that the extension would start with."""

    tree: Tree
    origins: dict[str, Origin] = field(default_factory=dict)
    """By dotted path, for each value that is no object."""
    problems: dict[str, str] = field(default_factory=dict)
    """By dotted path: what would end the process in TEN."""


def read(path: Path) -> Contents:
    """Return what the file holds. Raises `FileError`."""
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise FileError(f"{path} holds {_kind(tree)}; expected a JSON object")
    nulls = [found for found, value in _leaves(tree) if value is None]
    graphs = list(_graphs_of(tree, path))
    if graphs:
        return Contents(path, None, graphs, nulls)
    if not any(name in tree for name in _OWN_PROPERTIES):
        raise FileError(
            f"{path} is neither of these: an extension's property.json (with "
            "params), a TEN app's property.json (with "
            "ten.predefined_graphs), a graph file (with nodes)"
        )
    return Contents(path, tree, [], nulls)


def read_json(path: Path) -> Any:
    """Return the parsed file. Raises `FileError`, with line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise FileError(
            f"{path} is a folder; name the property.json or graph file in it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read: {error}") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # Not the line itself: a secret may stand in it.
        raise FileError(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: "
            f"{error.msg}"
        ) from error


def resolve(
    node: Node, package_dir: Path, environ: Mapping[str, str]
) -> Resolved:
    """Return the tree that `node` would start with, in TEN's own order.

    `package_dir` is the extension's folder, with its manifest.json and the
    property.json that lies under a graph node's properties.
    """
    own = node.property
    base: Tree = {}
    if node.graph is not None:
        base = base_properties(package_dir)
    merged = merge(base, own)
    resolved = Resolved({})
    for path, value in _leaves(merged):
        layer = "property.json"
        if node.graph is not None and _has(own, path):
            layer = "graph node"
        variable = variable_of(value)
        resolved.origins[path] = Origin(
            layer, variable, bool(variable) and variable in environ
        )
    unset: dict[str, str] = {}
    resolved.tree = expand(merged, environ, unset)
    for path, variable in unset.items():
        resolved.problems[path] = (
            f"the environment variable {variable} is not set, and the "
            "placeholder has no default: TEN ends the whole process before "
            f"the agent starts; set it, or write ${{env:{variable}|}}"
        )
    manifest = read_json(package_dir / "manifest.json")
    schema = Schemas(manifest.get("api")).properties
    for path, reason in _mismatches(schema, resolved.tree):
        resolved.problems.setdefault(
            path,
            f"the value {reason} in manifest.json: TEN aborts the whole "
            "process when it loads that",
        )
    return resolved


def configure(resolved: Resolved, now_s: float) -> Any:
    """Return the `config.Config` of what was resolved.

    Raises the package's `ConfigError`, with TEN's problems before its own.
    """
    problems = [f"{path}: {text}" for path, text in resolved.problems.items()]
    try:
        loaded = config.load(resolved.tree, now_s)
    except config.ConfigError as error:
        # A value that is wrong for TEN already needs no second sentence.
        problems += [
            problem
            for problem in error.problems
            if resolved.problems.keys().isdisjoint(paths_of(problem))
        ]
        raise config.ConfigError(problems) from None
    if problems:
        raise config.ConfigError(problems)
    return loaded


def paths_of(problem: str) -> list[str]:
    """Return the paths that a sentence of a `ConfigError` begins with."""
    return problem.partition(":")[0].split(" or ")


def base_properties(package_dir: Path) -> Tree:
    """Return a package's property.json, {} where TEN would ignore it."""
    path = package_dir / "property.json"
    if not path.is_file():
        return {}
    tree = read_json(path)
    if not isinstance(tree, dict):
        return {}
    if any(value is None for _, value in _leaves(tree)):
        return {}
    return tree


def variable_of(value: Any) -> str:
    """Return the environment variable that a placeholder names, or ""."""
    found = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found.group(1) if found else ""


def expand(
    value: Any,
    environ: Mapping[str, str],
    unset: dict[str, str],
    path: str = "",
) -> Any:
    """Return `value` with its placeholders filled in.

    `unset` gets path and name of each variable that is neither set nor has a
    default; "" stands in its place.
    """
    if isinstance(value, dict):
        return {
            key: expand(item, environ, unset, _joined(path, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            expand(item, environ, unset, f"{path}[{index}]")
            for index, item in enumerate(value)
        ]
    found = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    variable, default = found.groups()
    text = environ.get(variable, default)
    if text is None:
        unset[path] = variable
        return ""
    return text


def _graphs_of(tree: Tree, file: Path) -> Iterator[Graph]:
    for key in ("ten", "_ten"):
        inner = _object(tree.get(key))
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
            f"{file}: {prefix}predefined_graphs holds {_kind(entries)}; "
            "expected a list"
        )
    for index, entry in enumerate(entries):
        path = f"{prefix}predefined_graphs[{index}]"
        entry = _object(entry)
        yield _graph_of(entry, str(entry.get("name", index)), path, file)


def _graph_of(tree: Tree, name: str, path: str, file: Path) -> Graph:
    inner = tree
    if isinstance(tree.get("graph"), dict):
        inner, path = tree["graph"], _joined(path, "graph")
    imported = inner.get("import_uri") or tree.get("import_uri")
    if isinstance(imported, str) and "nodes" not in inner:
        inner = _object(_imported(imported, file))
        inner = _object(inner.get("graph")) or inner
    lists: dict[str, list[Tree]] = {}
    for key in ("nodes", "connections"):
        value = inner.get(key, [])
        if not isinstance(value, list):
            raise FileError(
                f"{file}: {_joined(path, key)} holds {_kind(value)}; expected "
                "a list"
            )
        lists[key] = _objects(value)
    return Graph(name, path, lists["nodes"], lists["connections"])


def _imported(uri: str, file: Path) -> Any:
    if "://" in uri and not uri.startswith("file://"):
        raise FileError(f"{file} imports {uri}; check the graph's own file")
    return read_json(file.parent / uri.removeprefix("file://"))


def _wires_of(connection: Tree) -> Iterator[Wire]:
    here = str(connection.get("extension", ""))
    for kind in _KINDS:
        for flow in _objects(connection.get(kind)):
            names = flow.get("names")
            if not isinstance(names, list):
                names = [flow.get("name", "")]
            for name in map(str, names):
                for end in _objects(flow.get("dest")):
                    yield Wire(kind, name, here, str(end.get("extension")))
                for end in _objects(flow.get("source")):
                    yield Wire(kind, name, str(end.get("extension")), here)


def _mismatches(
    schema: Tree, value: Any, path: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield path and reason of each value of another type than declared."""
    declared = schema.get("properties")
    if isinstance(declared, dict) and isinstance(value, dict):
        for name, inner in declared.items():
            if name in value:
                yield from _mismatches(inner, value[name], _joined(path, name))
        return
    if value is None:
        return  # told once, with all nulls of the file
    reason = mismatch(schema, value, path)
    if reason is not None:
        yield path, reason.removeprefix(f"'{path}' ")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, _joined(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _has(tree: Tree, path: str) -> bool:
    return any(found == path for found, _ in _leaves(tree))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _object(value: Any) -> Tree:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Tree]:
    """Return the objects in a list; what else a file may hold is passed by."""
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean"}
    if value is None:
        return "null"
    return kinds.get(type(value), "a number")
