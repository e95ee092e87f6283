"""Who joins an avatar's channel beside it."""

from collections.abc import Iterator
from typing import Any

from .model import RTC_ADDON
from .resolve import Resolved, expand, resolve
from .tree import Tree


def avatars_beside(resolved: Resolved) -> Iterator[Resolved]:
    """Yield each other avatar in the channel of a node's avatar."""
    node, graph = resolved.node, resolved.node.graph
    assert graph is not None
    for other in graph.extensions:
        if other.addon == node.addon and other.name != node.name:
            theirs = resolve(other, resolved.environ)
            if theirs.channel == resolved.channel:
                yield theirs


def rtc_nodes_beside(resolved: Resolved) -> dict[str, Tree]:
    """Return the properties of the graph's RTC nodes by name, filled in."""
    graph = resolved.node.graph
    if graph is None:
        return {}
    return {
        node.name: expand(node.property, resolved.environ, {})
        for node in graph.extensions
        if node.addon == RTC_ADDON
    }


def rtc_nodes_in(channel: Any, rtc_nodes: dict[str, Tree]) -> list[str]:
    """Return the RTC nodes that join `channel`, or else those that may.

    Without a channel an RTC node, or the avatar, gets one when a session
    starts.
    """
    if not channel:
        return list(rtc_nodes)
    joined = {name: node.get("channel") for name, node in rtc_nodes.items()}
    return [name for name in joined if joined[name] == channel] or [
        name for name in joined if not joined[name]
    ]
