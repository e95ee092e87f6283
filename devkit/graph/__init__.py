"""Configuration files and graphs, read and resolved as TEN does it."""

from .file import Contents, read
from .json_file import FileError, read_json
from .model import RTC_ADDON, Graph, Node, Wire
from .resolve import (
    Resolved,
    configure,
    expand,
    paths_of,
    resolve,
    with_source,
)

__all__ = [
    "RTC_ADDON",
    "Contents",
    "FileError",
    "Graph",
    "Node",
    "Resolved",
    "Wire",
    "configure",
    "expand",
    "paths_of",
    "read",
    "read_json",
    "resolve",
    "with_source",
]
