"""Who joins an avatar's channel, and with which uid."""

from collections.abc import Iterator, Mapping
from typing import Any

from .model import RTC_ADDON, Node
from .resolve import Resolved, expand, resolve
from .tree import Tree


def uid_of(value: Any) -> str:
    """Return a uid in one form, whether the file has 2000, "02000" or 2000.0.

    "" stands for none and for 0, in whose place Agora chooses one. A text
    that is no number is returned as it is.
    """
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number) or "") if number.is_integer() else text


def channel_of(resolved: Resolved) -> Any:
    """Return the channel that an avatar joins, None without one."""
    return resolved.given.params.get("agora_channel")


def is_filled_in(node: Node, resolved: Resolved) -> bool:
    """Return whether the channel is left to TEN's agent server, which puts
    each session's into the nodes that have a top-level `channel`."""
    return (
        node.graph is not None
        and "channel" in node.property
        and "channel" not in resolved.problems
        and channel_of(resolved) is None
    )


def avatars_beside(
    node: Node,
    resolved: Resolved,
    environ: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """Yield name and uid of each other avatar in the channel of `node`."""
    graph = node.graph
    assert graph is not None
    addon = str(graph.named(node.name).get("addon"))
    for other in graph.made_by(addon):
        if other == node.name:
            continue
        theirs = resolve(Node(other, graph.property_of(other), graph), environ)
        if channel_of(theirs) == channel_of(resolved):
            yield other, uid_of(theirs.given.params.get("agora_uid", ""))


def rtc_nodes_beside(node: Node, environ: Mapping[str, str]) -> dict[str, Tree]:
    """Return the properties of the RTC nodes by name, filled in."""
    graph = node.graph
    if graph is None:
        return {}
    return {
        name: expand(graph.property_of(name), environ, {})
        for name in graph.made_by(RTC_ADDON)
    }


def rtc_nodes_in(channel: Any, rtc_nodes: Mapping[str, Tree]) -> list[str]:
    """Return the RTC nodes that join `channel`, or else those that may.

    `rtc_nodes` are those of `rtc_nodes_beside`. Without a channel an RTC
    node, or the avatar, gets one when a session starts.
    """
    if not channel:
        return list(rtc_nodes)
    joined = {name: node.get("channel") for name, node in rtc_nodes.items()}
    return [name for name in joined if joined[name] == channel] or [
        name for name in joined if not joined[name]
    ]
