"""Reads from an agent's source to which nodes it sends flush by name."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .model import RTC_ADDON, Graph
from .packages import folder_of

STOCK_AGENTS = (
    "main_python",
    "main_cascade_python",
    "main_realtime_python",
    "main_nodejs",
)
"""TEN's own agents, which send flush to agora_rtc by name."""

_NAMES = ("main", "main_control")
"""The usual names of the agent's node in TEN's graphs."""

_SUFFIXES = (".py", ".ts", ".mts", ".js", ".mjs", ".go", ".cc", ".cpp", ".rs")
_FOREIGN = {"node_modules", "tests", "test", "build", "dist", "__pycache__"}
_MAX_CHARACTERS = 300_000

_TEXT = (
    r"""(?:"(?:\\.|[^"\\\n]){0,300}"|'(?:\\.|[^'\\\n]){0,300}'"""
    r"""|`(?:\\.|[^`\\]){0,300}`)"""
)
"""Of bounded length: one that never ends must not be searched for at each
character."""

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
_INLINE = re.compile(
    rf"[sS]end_?[cC]md\w*\(\s*[\w.:]*[cC]reate\(\s*{_FLUSH}\s*\)"
)
_CONSTANT = re.compile(
    r"""\b(?!(?:const|let|var|auto)\b)([A-Za-z_]\w+)\b"""
    r"""(?::\s*\w+)?(?:\s+\w+)?\s+=\s*["']([\w.:-]+)["']"""
)
"""The space before the sign tells it from a keyword argument."""
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
    addon = graph.named(name).addon
    folder = folder_of(addon, graph.app_dir)
    source = "\n".join(_sources(folder)) if folder else ""
    names = {RTC_ADDON, *(node.name for node in graph.extensions)}
    receivers, is_wired = _flush_in(source, names)
    if receivers or is_wired:
        where = f"{addon}, as its source beside the graph says,"
        return Flush(receivers, is_wired, where)
    if addon in STOCK_AGENTS:
        return Flush(frozenset({RTC_ADDON}), False, f"TEN's stock {addon}")
    return Flush(frozenset(), False, "")


def agents_of(graph: Graph) -> list[str]:
    """Return the nodes that are agents by their name or their addon."""
    return [
        node.name
        for node in graph.extensions
        if node.addon in STOCK_AGENTS or node.name in _NAMES
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


def _flush_in(source: str, names: set[str]) -> tuple[frozenset[str], bool]:
    """Return the receivers among the nodes of these names, and whether flush
    is sent without one, too."""
    constants = {
        name: value
        for name, value in _CONSTANT.findall(source)
        if value in ("flush", *names)
    }
    if constants:
        used = re.compile(
            rf"(?:\b\w+\.)?\b({'|'.join(constants)})\b"
            r"(?!\s*[:=])(?!\s+\w+\s*=)"
        )
        source = used.sub(lambda match: f'"{constants[match[1]]}"', source)
    receivers = {
        found for pattern in _NAMED for found in pattern.findall(source)
    }
    is_wired = bool(_UNNAMED.search(source) or _INLINE.search(source))
    for between in _CREATED.findall(source):
        destinations = _DESTINATIONS.search(between)
        named = destinations and re.findall(_NODE, destinations[1])
        receivers.update(named or [])
        is_wired = is_wired or not destinations
    # A list of messages looks like a message and its receiver.
    return frozenset(receivers & names), is_wired


def _sources(folder: Path) -> Iterator[str]:
    """Yield the text of each source file without its comments."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _FOREIGN)
        for path in (Path(here, name) for name in sorted(names)):
            if path.suffix not in _SUFFIXES:
                continue
            try:
                with path.open(encoding="utf-8", errors="replace") as file:
                    text = file.read(_MAX_CHARACTERS)
            except OSError:
                continue
            is_python = path.suffix == ".py"
            comment = _HASH_COMMENT if is_python else _SLASH_COMMENT
            yield comment.sub(lambda match: match[1] or " ", text)
