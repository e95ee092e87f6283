"""Finds out to which nodes an agent sends flush past the connections."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .model import Graph
from .packages import folder_of

STOCK_AGENTS = (
    "main_python",
    "main_cascade_python",
    "main_realtime_python",
    "main_nodejs",
)
"""TEN's own agents, which send flush to agora_rtc by name."""

_NAMES = ("main", "main_control")
"""What TEN's graphs call the agent's node."""

_SUFFIXES = (".py", ".ts", ".mts", ".js", ".mjs", ".go", ".cc", ".cpp", ".rs")
_FOREIGN = ("node_modules", "tests", "test", "build", "dist", "__pycache__")
_MAX_BYTES = 1_000_000

_TEXT = r"""(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)"""
_HASH_COMMENT = re.compile(rf"({_TEXT})|\#[^\n]*")
_SLASH_COMMENT = re.compile(rf"({_TEXT})|//[^\n]*|/\*.*?\*/", re.DOTALL)

_FLUSH = r"""["'`]flush["'`]"""
_NODE = r"""["'`]([\w.:-]+)["'`]"""
_KEYWORD = r"(?:\w+\s*[=:]\s*)?"
_NAMED = (
    re.compile(rf"{_FLUSH}\s*,\s*{_KEYWORD}{_NODE}"),
    re.compile(rf"{_NODE}\s*,\s*\w+\s*=\s*{_FLUSH}"),
)
_UNNAMED = re.compile(
    rf"""[sS]end_?[cC]md\w*\([^()"'`]*{_FLUSH}\s*"""
    rf"""(?:,\s*{_KEYWORD}(?:None|null|undefined|nil|""|''))?\s*,?\s*\)"""
)
_CREATED = re.compile(
    rf"(?:\bcreate|\bCreate|\bNewCmd|\bnew_cmd)\s*\(\s*{_FLUSH}"
    r"(.*?)(?:[sS]end_?[cC]md|\Z)",
    re.DOTALL,
)
_DESTINATIONS = re.compile(
    r"[sS]et_?[dD]ests?\s*\((.*?)\)\s*(?:;|\n|\Z)", re.DOTALL
)


class Flush(NamedTuple):
    """How an agent sends flush, as far as its source says."""

    receivers: frozenset[str]
    """The nodes that it names: no connection is followed to them."""
    is_wired: bool
    """It also sends flush without a receiver: along the connections."""
    where: str
    """The words for a message; "" if nothing is known."""

    @property
    def is_past_connections(self) -> bool:
        return bool(self.receivers) and not self.is_wired


def flush_of(graph: Graph, name: str) -> Flush:
    """Return how the node `name` sends flush: by its source, or as shipped."""
    addon = str(graph.named(name).get("addon"))
    folder = folder_of(addon, graph.app_dir)
    source = "\n".join(_sources(folder)) if folder else ""
    receivers, is_wired = _flush_in(source)
    if receivers or is_wired:
        where = f"{addon}, as its source beside the graph says,"
        return Flush(receivers, is_wired, where)
    if addon in STOCK_AGENTS:
        return Flush(frozenset({"agora_rtc"}), False, f"TEN's stock {addon}")
    return Flush(frozenset(), False, "")


def agents_of(graph: Graph) -> list[str]:
    """Return the nodes that are agents by their name or their addon."""
    return [
        str(node.get("name"))
        for node in graph.nodes
        if node.get("addon") in STOCK_AGENTS or node.get("name") in _NAMES
    ]


def line_for(addon: str, name: str) -> str:
    """Return how the agent's source is to name the avatar."""
    if addon.endswith("nodejs"):
        return (
            "Where its source sends flush write: "
            f'await sendCmd(this.tenEnv, "flush", "{name}")'
        )
    return (
        "In _interrupt of its extension.py write: "
        f'await _send_cmd(self.ten_env, "flush", "{name}")'
    )


def _flush_in(source: str) -> tuple[frozenset[str], bool]:
    receivers = {
        found for pattern in _NAMED for found in pattern.findall(source)
    }
    is_wired = _UNNAMED.search(source) is not None
    for between in _CREATED.findall(source):
        destinations = _DESTINATIONS.search(between)
        named = destinations and re.findall(_NODE, destinations[1])
        receivers.update(named or [])
        is_wired = is_wired or not destinations
    return frozenset(receivers), is_wired


def _sources(folder: Path) -> Iterator[str]:
    """Yield the text of each source file without its comments."""
    try:
        paths = sorted(folder.rglob("*"))
    except OSError:
        return
    for path in paths:
        inner = path.relative_to(folder).parts
        if path.suffix not in _SUFFIXES or not set(_FOREIGN).isdisjoint(inner):
            continue
        try:
            if path.stat().st_size > _MAX_BYTES:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        is_python = path.suffix == ".py"
        comment = _HASH_COMMENT if is_python else _SLASH_COMMENT
        yield comment.sub(lambda match: match[1] or " ", text)
