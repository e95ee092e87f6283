"""Checks an avatar against those of the other graphs of its app."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from .channel import channel_of, uid_of
from .findings import Findings
from .model import Node
from .resolve import Resolved, resolve


def check_app(
    node: Node,
    resolved: Resolved,
    avatars: Iterable[Node],
    package_dir: Path,
    environ: Mapping[str, str],
) -> Findings:
    """Return the uids that graphs which start together use twice.

    `avatars` are all those of the file; `package_dir` is as in `resolve`.
    """
    found = Findings()
    place = _place(resolved)
    if place is None or not _starts_with_app(node):
        return found
    for other in avatars:
        if other.graph is node.graph or not _starts_with_app(other):
            continue
        if _place(resolve(other, package_dir, environ)) == place:
            found.errors.append(
                f"{resolved.given.path('agora_uid')}: {place[1]} is also that "
                f"of {other}, in the same channel, and the app starts both "
                "graphs (auto_start); every participant needs its own uid"
            )
    return found


def _starts_with_app(node: Node) -> bool:
    return node.graph is not None and node.graph.auto_start


def _place(resolved: Resolved) -> tuple[str, str] | None:
    """Return channel and uid, None where they cannot collide."""
    channel = channel_of(resolved)
    uid = uid_of(resolved.given.params.get("agora_uid", ""))
    return (str(channel), uid) if channel and uid else None
