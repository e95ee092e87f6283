"""Runs bin/check on files that a test has written."""

import copy
import json
import re
from pathlib import Path
from typing import Any

from agent import VARIABLES
from typer.testing import CliRunner, Result

from devkit.commands.check import app

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = Path(__file__).parent / "graphs"
OTHER_ID = "f" * 32
X_TO_LLM = {"name": "x", "dest": [{"extension": "llm"}]}
"""An entry that wires the message x to the LLM node."""

# Nothing of the caller's own environment may decide.
ENVIRONMENT: dict[str, str | None] = {
    **VARIABLES,
    "AGORA_TOKEN": None,
    "COLUMNS": "80",
}

Tree = dict[str, Any]


def check(
    path: Path, *arguments: str, **environment: str | None
) -> tuple[int, str]:
    """Run the command; return its exit code and its words."""
    result: Result = CliRunner().invoke(
        app, [str(path), *arguments], env={**ENVIRONMENT, **environment}
    )
    if result.exception is not None:
        assert isinstance(result.exception, SystemExit), result.exception
    # Lines are broken to fit the terminal.
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def write(folder: Path, tree: Any) -> Path:
    """Write a property.json and return its path."""
    path = folder / "property.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


def graph(node_property: Tree, connections: Any = None, *others: Tree) -> Tree:
    """Return a graph with a TTS, the avatar and `others` as its nodes."""
    if connections is None:
        connections = [ALL_WIRED]
    avatar = {
        "type": "extension",
        "name": "avatar",
        "addon": "spatius_avatar_python",
        "property": {"channel": "", **node_property},
    }
    tts = {"type": "extension", "name": "tts", "addon": "some_tts_python"}
    return {"nodes": [avatar, tts, *others], "connections": list(connections)}


def wired_from(source: str, **names: list[str]) -> Tree:
    """Return a connection that sends the messages of each kind to avatar."""
    return {
        "extension": source,
        **{
            kind: [{"names": wanted, "dest": [{"extension": "avatar"}]}]
            for kind, wanted in names.items()
        },
    }


ALL_WIRED = wired_from(
    "tts",
    cmd=["flush"],
    data=["tts_audio_start", "tts_audio_end"],
    audio_frame=["pcm_frame"],
)


class Editor:
    """A correct graph, to put one mistake into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree: Tree = json.loads((GRAPHS / "flat.json").read_text())
        (self.graph,) = self.tree["ten"]["predefined_graphs"]

    def node(self, name: str) -> Tree:
        (found,) = [n for n in self.graph["nodes"] if n["name"] == name]
        return found

    @property
    def avatar(self) -> Tree:
        return self.node("avatar")["property"]

    @property
    def params(self) -> Tree:
        return self.avatar["params"]

    @property
    def rtc(self) -> Tree:
        return self.node("agora_rtc")["property"]

    @property
    def to_avatar(self) -> Tree:
        """The connection that wires everything to the avatar."""
        return self.graph["connections"][-1]

    def connect(self, source: str, kind: str, message: str, dest: str) -> None:
        flow = {"name": message, "dest": [{"extension": dest}]}
        for section in self.graph["connections"]:
            if section["extension"] == source:
                section.setdefault(kind, []).append(flow)
                return
        self.graph["connections"].append({"extension": source, kind: [flow]})

    def section(self, **connection: Any) -> None:
        """Add an entry to the graph's connections."""
        self.graph["connections"].append(connection)

    def flow(self, **entry: Any) -> None:
        """Add a connection from the TTS to the LLM node with this entry."""
        entry = {"dest": X_TO_LLM["dest"], **entry}
        self.section(extension="tts", data=[entry])

    def take_from(self, kind: str, message: str, source: str) -> None:
        """Let the avatar have `message` from another node."""
        for flow in self.to_avatar[kind]:
            if flow["name"] == message:
                flow["source"] = [{"extension": source}]

    def rename(self, kind: str, message: str, name: str) -> None:
        for flow in self.to_avatar[kind]:
            if flow["name"] == message:
                flow["name"] = name

    def add_avatar(self, **properties: Any) -> None:
        twin = copy.deepcopy(self.node("avatar"))
        twin["name"] = "second"
        twin["property"].update(properties)
        self.graph["nodes"].append(twin)
        for source, kind, message in (
            ("tts", "audio_frame", "pcm_frame"),
            ("tts", "data", "tts_audio_end"),
            ("main_control", "cmd", "flush"),
        ):
            self.connect(source, kind, message, "second")

    def check(
        self, *arguments: str, **environment: str | None
    ) -> tuple[int, str]:
        """Run the command on the graph."""
        return check(write(self.folder, self.tree), *arguments, **environment)

    def is_fine(self, **environment: str | None) -> bool:
        """Return whether the command finds nothing at all."""
        code, words = self.check(**environment)
        assert (code, words.strip()[-12:]) == (0, "No problems."), words
        return True
