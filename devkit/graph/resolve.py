"""Resolves a node's properties as TEN does it before an extension starts.

property.json, the graph node's `property` merged over it, placeholders,
manifest types. Where the runtime would end its process, a problem is noted
here, with all others.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

from .. import package

# The stand-in's rules under the name devkit.ten_runtime: the name ten_runtime
# itself may belong to the real runtime, which has no such modules.
from ..ten_runtime._properties import Schemas, merge, mismatch
from .json_file import read_json
from .model import Node
from .product import config, properties
from .tree import Tree, as_object, joined, leaves

_SHELL_VARIABLE = re.compile(
    r"\s*\$(?:(?:env:)?([A-Z][A-Z0-9_]*)"
    r"|\{(?!env:)(?:(?i:env)[:.])?([A-Za-z_][A-Za-z0-9_]*)"
    r"(?:[:|][^}]*)?\})\s*"
)


class Origin(NamedTuple):
    """Where a value comes from."""

    layer: str
    """`graph node` or `property.json`."""
    variable: str = ""
    """The environment variable of its placeholder, "" without one."""
    is_set: bool = False
    """Whether that variable exists."""


@dataclass
class Resolved:
    """The tree that the extension of a node would start with."""

    node: Node
    environ: Mapping[str, str]
    tree: Tree = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    """By dotted path, for each value that is no object."""
    problems: dict[str, str] = field(default_factory=dict)
    """By dotted path: the values that end TEN's process, or are taken
    literally."""

    @cached_property
    def given(self) -> Any:
        """The package's own reading of the tree, a `properties.Given`."""
        return properties.read(self.tree, [])

    @property
    def channel(self) -> Any:
        """The channel that the avatar joins, None without one."""
        return self.given.params.get("agora_channel")

    @property
    def uid(self) -> str:
        """The avatar's uid, as `uid_of` writes it."""
        return uid_of(self.given.params.get("agora_uid", ""))

    @property
    def is_channel_open(self) -> bool:
        """Whether the channel is left to TEN's agent server, which puts each
        session's into the nodes that have a top-level `channel`."""
        return (
            self.node.graph is not None
            and "channel" in self.node.property
            and "channel" not in self.problems
            and self.channel is None
        )

    def is_broken(self, path: str) -> bool:
        """Return whether TEN rejects `path`, or the object that holds it."""
        return path in self.problems or path.split(".")[0] in self.problems

    def at(self, path: str) -> Any:
        """Return the value at a dotted path, None without one."""
        value: Any = self.tree
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value


def resolve(node: Node, environ: Mapping[str, str]) -> Resolved:
    """Return the tree that `node` would start with, in TEN's own order:
    the package's property.json, the node's properties over it, placeholders,
    the types of the package's manifest.json."""
    own = node.property
    base = _base_properties()
    merged = own if node.graph is None else merge(base, own)
    resolved = Resolved(node, environ)
    given = {path for path, _ in leaves(own)}
    for path, value in leaves(merged):
        is_own = node.graph is not None and path in given
        variable = variable_of(value)
        resolved.origins[path] = Origin(
            "graph node" if is_own else "property.json",
            variable,
            bool(variable) and variable in environ,
        )
        if literal := shell_variable_of(value):
            resolved.problems[path] = taken_literally(value, literal)
    unset: dict[str, str] = {}
    resolved.tree = expand(merged, environ, unset)
    for path, variable in unset.items():
        resolved.problems[path] = (
            f"the environment variable {variable} is not set, and the "
            "placeholder has no default: TEN ends the whole process before "
            f"the agent starts; set it, or write ${{env:{variable}|}}"
        )
    for path, reason in _mismatches(_schema(), resolved.tree):
        resolved.problems.setdefault(
            path,
            f"the value {reason} in manifest.json: TEN aborts the whole "
            "process when it loads it",
        )
    return resolved


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


def configure(resolved: Resolved, now_s: float, channel: str = "") -> Any:
    """Return the `config.Config` of the resolved properties.

    `now_s` is in seconds since the epoch; `channel` is put in place of one
    that is to be filled in. Raises the package's `ConfigError`, with TEN's
    problems before its own.
    """
    problems = [f"{path}: {text}" for path, text in resolved.problems.items()]
    try:
        tree = resolved.tree
        loaded = config.load(
            {**tree, "channel": channel} if channel else tree, now_s
        )
    except config.ConfigError as error:
        # A value that is wrong for TEN already needs no second sentence.
        problems += [
            problem
            for problem in error.problems
            if not any(map(resolved.is_broken, paths_of(problem)))
        ]
        raise config.ConfigError(problems) from None
    if problems:
        raise config.ConfigError(problems)
    return loaded


def paths_of(problem: str) -> list[str]:
    """Return the paths that a sentence of a `ConfigError` begins with."""
    return problem.partition(":")[0].split(" or ")


def with_source(problem: str, resolved: Resolved) -> str:
    """Return the sentence with the places that its values come from."""
    sources = [
        source
        for path in paths_of(problem)
        if path not in resolved.problems and (source := _source(path, resolved))
    ]
    return f"{problem} ({'; '.join(sources)})" if sources else problem


def variable_of(value: Any) -> str:
    """Return the environment variable that a placeholder names, or ""."""
    found = _placeholder(value)
    return found[1] if found else ""


def _placeholder(value: Any) -> re.Match[str] | None:
    is_text = isinstance(value, str)
    return properties.PLACEHOLDER.fullmatch(value) if is_text else None


def shell_variable_of(value: Any) -> str:
    """Return the name in a text that only resembles a placeholder, or "".

    `$NAME`, `$env:NAME`, `${NAME}`, `${NAME|default}`, `${ENV:NAME}`,
    `${env.NAME}`, each with space around it or without: TEN fills in none.
    """
    found = _SHELL_VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return (found.group(1) or found.group(2)) if found else ""


def taken_literally(value: str, variable: str) -> str:
    """Return the sentence about a value that is a `shell_variable_of`.

    A default after the name is not shown: it may be a secret.
    """
    rest = value.partition(variable)[2].strip()
    shown = value if rest in ("", "}") else f"${{{variable}...}}"
    return (
        f'"{shown}" is taken literally: TEN fills in ${{env:{variable}}} only'
    )


def expand(
    value: Any,
    environ: Mapping[str, str],
    unset: dict[str, str],
    path: str = "",
) -> Any:
    """Return `value` with its placeholders filled in.

    `unset` gets path and name of each variable that is neither set nor has a
    default; "" stands in its place.
    """
    if isinstance(value, dict):
        return {
            key: expand(item, environ, unset, joined(path, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            expand(item, environ, unset, f"{path}[{index}]")
            for index, item in enumerate(value)
        ]
    found = _placeholder(value)
    if found is None:
        return value
    variable, default = found.groups()
    text = environ.get(variable, default)
    if text is None:
        unset[path] = variable
        return ""
    return text


@cache
def _schema() -> Tree:
    """Return the types of the properties in the package's manifest.json."""
    manifest = read_json(package.ROOT / "manifest.json")
    return Schemas(manifest.get("api")).properties


@cache
def _base_properties() -> Tree:
    """Return the package's property.json, {} where TEN would ignore it."""
    tree = as_object(read_json(package.ROOT / "property.json"))
    return {} if any(value is None for _, value in leaves(tree)) else tree


def _source(path: str, resolved: Resolved) -> str:
    """Return where the value at `path` comes from, or would come from."""
    origin = resolved.origins.get(path)
    usual = variable_of(dict(leaves(_base_properties())).get(path))
    value = resolved.at(path)
    if origin is not None and origin.variable:
        if not origin.is_set and not properties.is_missing(value):
            return (
                f"the default in the placeholder of {origin.variable}, which "
                "is not set"
            )
        state = ""
        if properties.is_missing(value):
            state = f", which is {'empty' if origin.is_set else 'not set'}"
        return f"from the environment variable {origin.variable}{state}"
    if not properties.is_missing(value) or not usual:
        return ""
    name = path.removeprefix("params.")
    where = "leaves it out" if origin is None else "leaves it empty"
    return (
        f"the {origin.layer if origin else 'file'} {where}; "
        f'"{name}": "${{env:{usual}}}" takes it from the environment variable '
        f"{usual}"
    )


def _mismatches(
    schema: Tree, value: Any, path: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield path and reason of each value of another type than declared."""
    declared = schema.get("properties")
    if isinstance(declared, dict) and isinstance(value, dict):
        for name, inner in declared.items():
            if name in value:
                yield from _mismatches(inner, value[name], joined(path, name))
        return
    if value is None:
        return  # reported once, with all nulls of the file
    reason = mismatch(schema, value, path)
    if reason is not None:
        yield path, reason.removeprefix(f"'{path}' ")
