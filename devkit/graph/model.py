"""Graphs: nodes, and the ways of messages between them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from .tree import Tree, as_list, as_object, joined, objects

KINDS = ("cmd", "data", "audio_frame", "video_frame")

RTC_ADDON = "agora_rtc"
"""TEN's graphs call its node so, too."""

_INDIRECT = ("subgraph", "selector")
_JOINT = "_"
_OTHER = {"in": "out", "out": "in"}
_NAME_RULES = ("ten.name", "_ten.name")


class Wire(NamedTuple):
    """One message's way from one node to another."""

    kind: str
    """`cmd`, `data`, `audio_frame` or `video_frame`."""
    message: str
    """Its name where it arrives; `*` stands for each name."""
    source: str
    dest: str
    path: str = ""
    """Where it stands in the graph's file."""

    def carries(self, kind: str, *messages: str) -> bool:
        """Return whether one of the messages goes this way."""
        return self.kind == kind and self.message in (*messages, "*")


class Flow(NamedTuple):
    """One entry of a connection: which messages it passes on."""

    kind: str
    connection: Tree
    entry: Tree
    path: str
    """Where it stands in the graph's file."""

    @property
    def names(self) -> list[str]:
        names = self.entry.get("names")
        if not isinstance(names, list):
            names = [self.entry.get("name", "")]
        return [str(name) for name in names]

    def ends(self) -> Iterator[tuple[Tree, str]]:
        """Yield each end with its side, `out` for the sender."""
        dests = objects(self.entry.get("dest"))
        sources = objects(self.entry.get("source"))
        if dests:
            yield self.connection, "out"
        if sources:
            yield self.connection, "in"
        for end in dests:
            yield end, "in"
        for end in sources:
            yield end, "out"


@dataclass(frozen=True)
class Node:
    """One node of a file."""

    name: str
    """"" for an extension's own property.json."""
    property: Tree
    graph: "Graph | None" = None
    addon: str = ""

    def __str__(self) -> str:
        if self.graph is None:
            return "the extension's own properties"
        graph = f"graph {self.graph.name}, " if self.graph.name else ""
        return f"{graph}node {self.name or 'without a name'}"


@dataclass(frozen=True)
class Graph:
    """One graph of a file."""

    name: str
    path: str
    """Where it stands in the file, "" for the whole of it."""
    tree: Tree
    file: Path
    app_dir: Path
    """The folder of the file that was given, which leads to this one."""
    subgraphs: Mapping[str, "Graph"]
    """By the name of their node; without those that are not on this disk."""
    origin: str = ""
    """The beginning of each path, if another file imports this one."""
    auto_start: bool = False
    """Whether the app starts it when the app itself starts."""

    @cached_property
    def own_nodes(self) -> list[Tree]:
        """The nodes of the file: subgraphs and selectors, too."""
        return objects(self.tree.get("nodes"))

    @cached_property
    def nodes(self) -> list[Tree]:
        """The extensions, those of subgraphs under the names TEN gives them."""
        found = []
        for node in self.own_nodes:
            if node.get("type") not in _INDIRECT:
                found.append(node)
            elif subgraph := self.subgraphs.get(str(node.get("name"))):
                found += subgraph.nodes_within(node)
        return found

    @cached_property
    def extensions(self) -> list[Node]:
        """The same as `nodes`, whatever their text has in place of names."""
        return [
            Node(
                str(node.get("name", "")),
                as_object(node.get("property")),
                self,
                str(node.get("addon", "")),
            )
            for node in self.nodes
        ]

    def nodes_within(self, parent: Tree) -> list[Tree]:
        """Return the nodes as those of a subgraph, which `parent` names."""
        given = as_object(parent.get("property"))
        found = []
        for node in self.nodes:
            name = str(node.get("name"))
            own = {
                key: value
                for key, value in given.items()
                if self._exposing("exposed_properties", "", key) == [name]
            }
            merged = {**as_object(node.get("property")), **own}
            found.append(
                {
                    **node,
                    "name": _within(str(parent.get("name")), name),
                    "property": merged,
                }
            )
        return found

    def flows(self) -> Iterator[Flow]:
        """Yield each entry of the file's own connections."""
        for number, connection in enumerate(
            as_list(self.tree.get("connections"))
        ):
            for kind in KINDS:
                for index, entry in enumerate(
                    as_list(as_object(connection).get(kind))
                ):
                    path = f"{self.connections_path}[{number}].{kind}[{index}]"
                    if isinstance(entry, dict):
                        yield Flow(kind, connection, entry, path)

    def wires(self) -> list[Wire]:
        """Return every message's way, however the connections write it."""
        found = []
        for flow in self.flows():
            for message in flow.names:
                found += self._wires_of(flow, message)
        for name, subgraph in self.subgraphs.items():
            for wire in subgraph.wires():
                found.append(
                    wire._replace(
                        source=_within(name, wire.source),
                        dest=_within(name, wire.dest),
                    )
                )
        return found

    def named(self, name: str) -> Node:
        """Return the extension of that name; without one it has no addon."""
        found = (node for node in self.extensions if node.name == name)
        return next(found, Node("", {}, self))

    def property_of(self, name: str) -> Tree:
        """Return a node's own properties, {} where it has none."""
        return self.named(name).property

    def made_by(self, *addons: str) -> list[str]:
        """Return the names of the nodes that these addons make."""
        return [node.name for node in self.extensions if node.addon in addons]

    def has_node(self, name: str) -> bool:
        """Return whether a message can come from or go to `name`.

        A node of a subgraph elsewhere can: its names are not known.
        """
        return any(name == node.name for node in self.extensions) or any(
            name == other or name.startswith(_within(other, ""))
            for other in self.elsewhere
        )

    @property
    def elsewhere(self) -> list[str]:
        """The subgraphs, at any depth, that are not on this disk."""
        found = [
            str(node.get("name"))
            for node in self.own_nodes
            if node.get("type") == "subgraph"
            and str(node.get("name")) not in self.subgraphs
        ]
        for name, subgraph in self.subgraphs.items():
            found += [_within(name, other) for other in subgraph.elsewhere]
        return found

    @property
    def connections_path(self) -> str:
        """Where the connections stand, as messages name it."""
        return self.origin + joined(self.path, "connections")

    @property
    def nodes_path(self) -> str:
        """Where the nodes stand, as messages name it."""
        return self.origin + joined(self.path, "nodes")

    def ends(
        self, end: Tree, kind: str, message: str, side: str
    ) -> list[str] | None:
        """Return the nodes that one end of a connection stands for.

        None where it names a subgraph or a selector that does not exist, or
        a message that the subgraph does not expose.
        """
        if "selector" in end:
            return self._selected(str(end["selector"]), kind, message, side)
        if "subgraph" in end:
            return self._entered(str(end["subgraph"]), kind, message, side)
        if "extension" in end:
            # An older way to write a node in a subgraph.
            return [str(end["extension"]).replace(":", _JOINT)]
        addon = str(end.get("addon", ""))
        return self.made_by(addon) or [addon]

    def indirect(self, type_: str, name: str) -> Tree | None:
        """Return the subgraph or selector of that name, None without one."""
        for node in self.own_nodes:
            if (node.get("type"), node.get("name")) == (type_, name):
                return node
        return None

    def selected_by(self, selector: Tree) -> list[Tree]:
        """Return the nodes that a selector's filter matches."""
        wanted = as_object(selector.get("filter"))
        return [
            node
            for node in self.own_nodes
            if node.get("type") != "selector" and _matches(wanted, node)
        ]

    def _wires_of(self, flow: Flow, message: str) -> Iterator[Wire]:
        kind, entry = flow.kind, flow.entry
        for key, side in (("dest", "out"), ("source", "in")):
            here = self.ends(flow.connection, kind, message, side) or []
            for end in objects(entry.get(key)):
                arrives_as = _converted(end) or message
                there = self.ends(end, kind, message, _OTHER[side]) or []
                for one in here:
                    for other in there:
                        ends = (one, other) if side == "out" else (other, one)
                        yield Wire(kind, arrives_as, *ends, flow.path)

    def _selected(
        self, name: str, kind: str, message: str, side: str
    ) -> list[str] | None:
        selector = self.indirect("selector", name)
        if selector is None:
            return None
        found: list[str] = []
        for node in self.selected_by(selector):
            own = str(node.get("name"))
            if node.get("type") != "subgraph":
                found.append(own)
            elif inner := self._entered(own, kind, message, side):
                found += inner
        return found

    def _entered(
        self, name: str, kind: str, message: str, side: str
    ) -> list[str] | None:
        """Return the nodes of a subgraph that a message comes from or goes
        to."""
        if name in self.elsewhere:
            return [name]
        subgraph = self.subgraphs.get(name)
        if subgraph is None:
            return None
        found = subgraph._exposing(
            "exposed_messages", f"{kind}_{side}", message
        )
        return [_within(name, inner) for inner in found] or None

    def _exposing(self, key: str, kind: str, name: str) -> list[str]:
        """Return the node behind a name that this graph exposes."""
        for entry in objects(self.tree.get(key)):
            if entry.get("name") != name or entry.get("type", "") != kind:
                continue
            if "extension" in entry:
                return [str(entry["extension"])]
            inner = str(entry.get("subgraph"))
            if inner in self.subgraphs:
                found = self.subgraphs[inner]._exposing(key, kind, name)
                return [_within(inner, one) for one in found]
        return []


def _within(subgraph: str, name: str) -> str:
    """Return the name that TEN gives to a node in a subgraph."""
    return f"{subgraph}{_JOINT}{name}"


def _matches(wanted: Tree, node: Tree) -> bool:
    """Return whether a selector's filter takes this node."""
    for key, judge in (("and", all), ("or", any)):
        if key in wanted:
            return judge(_matches(one, node) for one in objects(wanted[key]))
    value = node.get(str(wanted.get("field")))
    pattern = str(wanted.get("value"))
    if not isinstance(value, str):
        return False
    if wanted.get("operator") != "regex":
        return value == pattern
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False


def _converted(end: Tree) -> str:
    """Return the name that a msg_conversion gives to the message, or ""."""
    conversion = as_object(end.get("msg_conversion"))
    for rule in objects(conversion.get("rules")):
        if rule.get("path") in _NAME_RULES:
            return str(rule.get("value", ""))
    return ""
