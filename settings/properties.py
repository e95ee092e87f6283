"""What the merged property tree of a graph node holds, and where."""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from .params import SECRETS, Params

PLACEHOLDER = re.compile(r"\$\{env:([^|}]+)(?:\|(.*))?\}", re.DOTALL)
"""A placeholder as TEN expands it where it is a whole value: the variable's
name, and what stands in where it is unset."""

_PLACEHOLDER_BEGIN = "${env:"
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
"""No credential, id, channel or URL begins or ends with one of these."""
_AGORA = tuple(name for name in Params.model_fields if name[:6] == "agora_")
"""What TEN's bundled extension of this name takes beside `params`, too."""


class Given(NamedTuple):
    """What a property tree holds; what is missing in it is left out."""

    params: dict[str, Any]
    paths: dict[str, str]
    """Where a param stands that is not under `params`."""
    ignored: list[str]
    """Names that stand beside `params` and hold another value there."""
    top: dict[str, Any]
    unknown: list[str]
    """Names under `params` that mean nothing."""

    def path(self, name: str) -> str:
        return self.paths.get(name, f"params.{name}")

    def malformed(self) -> list[str]:
        """Return the problems of values that an environment was to fill in:
        placeholders still, or in the quotes of an environment file."""
        values = {self.path(name): self.params[name] for name in self.params}
        quoted = {
            path: problem
            for path, value in values.items()
            if (problem := _quotes_problem(path, value))
        }
        values.update(self.top)
        extra = self.params.get("extra_params")
        if isinstance(extra, Mapping):
            path = self.path("extra_params")
            values.update({f"{path}.{name}": extra[name] for name in extra})
        return [
            problem
            for path, value in values.items()
            for problem in _placeholder_problem(path, value)
            or quoted.get(path, [])
        ]

    def secrets(self) -> list[str]:
        return [
            str(self.params[name])
            for name in SECRETS
            if name in self.params
            and not _placeholder_problem("", self.params[name])
        ]


def is_missing(value: Any) -> bool:
    """Return whether a property counts as not given."""
    return value is None or (isinstance(value, str) and not value.strip())


def read(tree: Any, top_level: Collection[str], problems: list[str]) -> Given:
    """Return what `tree` holds of `params` and of these top-level properties.

    What keeps it from being read is added to `problems`.
    """
    if not isinstance(tree, Mapping):
        tree = {}
    raw_params = tree.get("params")
    if not isinstance(raw_params, Mapping):
        if raw_params is not None:
            problems.append(
                f"params: expected an object, got {type(raw_params).__name__}"
            )
        raw_params = {}
    params = {
        name: _stripped(name, value)
        for name, value in raw_params.items()
        if name in Params.model_fields and not is_missing(value)
    }
    top = {
        name: tree[name] for name in top_level if not is_missing(tree.get(name))
    }
    paths, ignored = {}, []
    for name in _AGORA:
        if is_missing(tree.get(name)):
            continue
        value = _stripped(name, tree[name])
        if name not in params:
            params[name] = value
            paths[name] = name
        elif str(params[name]) != str(value):
            ignored.append(name)
    if not is_missing(tree.get("channel")):
        params["agora_channel"] = tree["channel"]
        paths["agora_channel"] = "channel"
    unknown = sorted(set(raw_params) - set(Params.model_fields))
    return Given(params, paths, ignored, top, unknown)


def _stripped(name: str, value: Any) -> Any:
    """Return a param without the space that an environment file may add."""
    if isinstance(value, str) and name != "agora_channel":
        return value.strip()
    return value


def _placeholder_problem(path: str, value: Any) -> list[str]:
    if not isinstance(value, str) or _PLACEHOLDER_BEGIN not in value:
        return []
    # No more than the variable's name is shown, where it looks like one: what
    # follows it is a default value, and what stands there may be one, too.
    found = PLACEHOLDER.match(value, value.index(_PLACEHOLDER_BEGIN))
    name = ""
    if found is not None and re.fullmatch("[A-Z][A-Z0-9_]*", found[1]):
        name = f" {_PLACEHOLDER_BEGIN}{found[1]}}}"
    return [
        f"{path}: expected a value, got an unexpanded placeholder{name}; TEN "
        "expands a placeholder only where it is the whole value"
    ]


def _quotes_problem(path: str, value: Any) -> list[str]:
    text = value.strip() if isinstance(value, str) else ""
    if not text or (text[0] not in _QUOTES and text[-1] not in _QUOTES):
        return []
    return [
        f"{path}: expected a value without quotes, got text that begins or "
        "ends with a quotation mark; docker --env-file keeps the quotes of a "
        "file: write the value there without them"
    ]
