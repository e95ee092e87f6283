"""Checks a file as a whole: its app, and the graphs that start together."""

from collections.abc import Iterable, Mapping

from .. import package
from .file import Contents
from .findings import Findings
from .model import Node
from .packages import check_dependencies
from .resolve import resolve

_MAX_NAMES = 4


def check_file(
    contents: Contents, checked: Iterable[Node], environ: Mapping[str, str]
) -> Findings:
    """Return the findings about the file whose nodes are `checked`."""
    found = Findings(list(contents.defects), list(contents.unread))
    if contents.graphs:
        found.errors += check_dependencies(package.NAME, contents.path.parent)
        avatars = contents.nodes(package.NAME)
        found.warnings += _check_starts(avatars, checked, environ)
    return found


def _check_starts(
    avatars: Iterable[Node], checked: Iterable[Node], environ: Mapping[str, str]
) -> list[str]:
    """Return one warning about graphs whose avatars have one uid.

    TEN's agent server keeps the graph that is asked for, so most apps never
    start two of them.
    """
    by_place: dict[tuple[str, str], list[Node]] = {}
    for node in avatars:
        if node.graph is not None and node.graph.auto_start:
            if place := _place(node, environ):
                nodes = by_place.setdefault(place, [])
                if all(other.graph is not node.graph for other in nodes):
                    nodes.append(node)
    graphs = {id(node.graph) for node in checked}
    for (channel, uid), nodes in by_place.items():
        if len(nodes) > 1 and any(id(node.graph) in graphs for node in nodes):
            names = [str(node) for node in nodes]
            more = len(names) - _MAX_NAMES
            return [
                f"auto_start: {'; '.join(names[:_MAX_NAMES])}"
                + (f"; and {more} more" if more > 0 else "")
                + f": all have the uid {uid} in the channel {channel}, and an "
                "app that is started without TEN's agent server starts these "
                "graphs together; the server keeps the one that is asked for"
            ]
    return []


def _place(node: Node, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return channel and uid, None where they cannot collide."""
    resolved = resolve(node, environ)
    if not resolved.channel or not resolved.uid:
        return None
    return str(resolved.channel), resolved.uid
