"""Checks that a graph's nodes and connections have the form that TEN reads.

Anything else connects nothing, and TEN reports some of it nowhere.
"""

from collections import Counter
from collections.abc import Iterator

from .findings import Findings, nearest
from .model import KINDS, Flow, Graph
from .tree import Tree, as_list, kind, objects

_ENDS = ("extension", "subgraph", "selector", "addon")
_TYPES = ("extension", "subgraph", "selector")
_CONNECTION_KEYS = (*_ENDS, *KINDS, "app")
_NODE_KEYS = (
    *("type", "name", "addon", "app", "extension_group"),
    *("property", "graph", "filter"),
)
_PROPERTIES = ("params", "channel")
"""These belong under `property`, and are easily written beside it."""
_FLOW_KEYS = ("name", "names", "dest", "source")


def check_shape(graph: Graph) -> Findings:
    """Return the parts of `graph` that TEN would not read or follow."""
    found = Findings()
    errors = found.errors
    names = Counter(str(node.get("name")) for node in graph.own_nodes)
    for path, node in _listed(graph.tree, "nodes", graph.nodes_path, errors):
        errors += _node(path, node, names)
    sections: dict[tuple[str, ...], str] = {}
    for path, connection in _listed(
        graph.tree, "connections", graph.connections_path, errors
    ):
        errors += _misspelled(path, connection, _CONNECTION_KEYS)
        end = tuple(str(connection.get(key, "")) for key in (*_ENDS, "app"))
        first = sections.setdefault(end, path)
        if first != path and any(end):
            errors.append(
                f"{path}: {' '.join(filter(None, end))} has a section already, "
                f"{first}; TEN's check of graphs refuses two: merge them"
            )
        for key in KINDS:
            for at, entry in _listed(connection, key, f"{path}.{key}", errors):
                flow = Flow(key, connection, entry, at)
                errors += _flow(flow)
                found.add(_ends(graph, flow))
    for subgraph in graph.subgraphs.values():
        found.add(check_shape(subgraph))
    return found


def _listed(
    holder: Tree, key: str, path: str, errors: list[str]
) -> Iterator[tuple[str, Tree]]:
    """Yield path and object of each entry of a list; all else is an error."""
    entries = holder.get(key, [])
    if not isinstance(entries, list):
        errors.append(f"{path}: expected a list, got {kind(entries)}")
    for number, entry in enumerate(as_list(entries)):
        at = f"{path}[{number}]"
        if isinstance(entry, dict):
            yield at, entry
        else:
            errors.append(f"{at}: expected an object, got {kind(entry)}")


def _node(path: str, node: Tree, names: Counter[str]) -> Iterator[str]:
    if node.get("type") not in _TYPES:
        yield f"{path}: expected a type, one of {', '.join(_TYPES)}"
    is_extension = node.get("type") not in _TYPES[1:]
    for key in ("name", "addon") if is_extension else ("name",):
        if not _is_name(node.get(key)):
            yield f"{path}: the node has no {key}"
    name = str(node.get("name"))
    if names[name] > 1 and "name" in node:
        names[name] = 0
        yield (
            f"{path}: another node has the name {name}, too; each needs one of "
            "its own"
        )
    yield from _misspelled(path, node, _NODE_KEYS)
    for key in _PROPERTIES:
        if key in node:
            yield (
                f"{path}.{key}: TEN does not read it there; it belongs under "
                f"{path}.property"
            )
    given = node.get("property", {})
    if not isinstance(given, dict):
        yield f"{path}.property: expected an object, got {kind(given)}"


def _flow(flow: Flow) -> Iterator[str]:
    path, entry = flow.path, flow.entry
    misspelled = list(_misspelled(path, entry, _FLOW_KEYS))
    yield from misspelled
    if ("name" in entry) == ("names" in entry) and not misspelled:
        yield f"{path}: expected either a name or names"
    if not _is_name(entry.get("name", "*")):
        yield f"{path}.name: expected the name of a message"
    names = entry.get("names", ["*"])
    if not as_list(names) or not all(map(_is_name, names)):
        yield f"{path}.names: expected a list of message names"
    errors: list[str] = []
    for key in ("dest", "source"):
        for at, end in _listed(entry, key, f"{path}.{key}", errors):
            errors += _misspelled(at, end, _CONNECTION_KEYS)
    yield from errors
    if not misspelled and not entry.keys() & {"dest", "source"}:
        yield f"{path}: neither dest nor source, so it connects nothing"


def _ends(graph: Graph, flow: Flow) -> Findings:
    """Check the subgraphs and selectors that a connection names."""
    found = Findings()
    for end, side in flow.ends():
        for key in sorted(end.keys() & {"subgraph", "selector"}):
            name = str(end[key])
            node = graph.indirect(key, name)
            if node is None:
                names = [str(node.get("name")) for node in graph.own_nodes]
                found.errors.append(
                    f"{flow.path}: {name} is no {key} of this graph"
                    + nearest(name, names)
                )
            elif key == "selector" and not graph.selected_by(node):
                found.warnings.append(
                    f"{flow.path}: the selector {name} matches no node"
                )
            elif key == "subgraph":
                found.errors += [
                    f"{flow.path}: the subgraph {name} exposes no "
                    f"{flow.kind}_{side} {message}"
                    for message in flow.names
                    if graph.ends(end, flow.kind, message, side) is None
                ]
    return found


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _misspelled(path: str, tree: Tree, known: tuple[str, ...]) -> Iterator[str]:
    for key in (key for key in tree if key not in known):
        # A list of objects is there for TEN to read, a comment is not.
        is_read = bool(objects(tree[key]))
        free = set(known) - set(tree)
        near = nearest(key, free, cutoff=0.75)
        if is_read and not near:
            near = nearest(key, {name for name in free if name[0] == key[:1]})
        if near or is_read:
            yield f"{path}: {key} is not read{near}"
