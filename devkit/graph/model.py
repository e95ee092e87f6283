"""Graphs: nodes, and the ways of messages between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .tree import Tree, as_object, joined, objects

KINDS = ("cmd", "data", "audio_frame", "video_frame")

_EXTENSION_TYPES = ("extension", "extension_group")
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


@dataclass(frozen=True)
class Graph:
    """One graph of a file."""

    name: str
    path: str
    """Where it stands in the file, "" for the whole of it."""
    nodes: list[Tree]
    connections: list[Tree]
    file: Path = Path()

    def wires(self) -> list[Wire]:
        """Return every message's way, however the connections write it."""
        return [
            wire
            for index, connection in enumerate(self.connections)
            for wire in self._wires_of(
                connection, f"{self.connections_path}[{index}]"
            )
        ]

    def named(self, name: str) -> Tree:
        """Return the node of that name, {} if there is none."""
        for node in self.nodes:
            if node.get("name") == name:
                return node
        return {}

    def property_of(self, name: str) -> Tree:
        """Return a node's own properties, {} where it has none."""
        return as_object(self.named(name).get("property"))

    def made_by(self, *addons: str) -> list[str]:
        """Return the names of the nodes that these addons make."""
        return [
            str(node.get("name"))
            for node in self.nodes
            if node.get("addon") in addons
        ]

    def has_node(self, name: str) -> bool:
        """Return whether a connection may name `name`.

        What is in a subgraph is written `subgraph:node` and not looked up.
        """
        return bool(self.named(name) or self.named(name.partition(":")[0]))

    @property
    def connections_path(self) -> str:
        """Where the connections stand in the file."""
        return joined(self.path, "connections")

    @property
    def has_indirect_nodes(self) -> bool:
        """Whether messages go through subgraphs or selectors."""
        return any(
            node.get("type", "extension") not in _EXTENSION_TYPES
            for node in self.nodes
        )

    def _wires_of(self, connection: Tree, path: str) -> Iterator[Wire]:
        for kind in KINDS:
            for index, flow in enumerate(objects(connection.get(kind))):
                here = f"{path}.{kind}[{index}]"
                for message in _messages_of(flow):
                    for end in objects(flow.get("dest")):
                        yield from self._joining(
                            kind, message, connection, end, end, here
                        )
                    for end in objects(flow.get("source")):
                        yield from self._joining(
                            kind, message, end, connection, end, here
                        )

    def _joining(
        self,
        kind: str,
        message: str,
        source: Tree,
        dest: Tree,
        end: Tree,
        path: str,
    ) -> Iterator[Wire]:
        arrives_as = _converted(end) or message
        for from_name in self._names(source):
            for to_name in self._names(dest):
                yield Wire(kind, arrives_as, from_name, to_name, path)

    def _names(self, end: Tree) -> list[str]:
        """Return the nodes that one end of a connection names."""
        for key in ("extension", "subgraph", "selector"):
            if key in end:
                return [str(end[key])]
        addon = str(end.get("addon", ""))
        return self.made_by(addon) or [addon]


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


def _messages_of(flow: Tree) -> list[str]:
    names = flow.get("names")
    return list(
        map(str, names if isinstance(names, list) else [flow.get("name", "")])
    )


def _converted(end: Tree) -> str:
    """Return the name that a msg_conversion gives to the message, or ""."""
    conversion = as_object(end.get("msg_conversion"))
    for rule in objects(conversion.get("rules")):
        if rule.get("path") in _NAME_RULES:
            return str(rule.get("value", ""))
    return ""
