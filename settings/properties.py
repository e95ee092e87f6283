"""The merged property tree of a graph node, with the paths of its params."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from .fields import problem_of
from .names import EXAMPLE_NAMES, TOP_LEVEL, did_you_mean
from .params import SECRETS, Params, Settings, secrets_in

PLACEHOLDER = re.compile(r"\$\{env:([^|}]+)(?:\|(.*))?\}", re.DOTALL)
"""A placeholder in the form that TEN expands, if it is the whole value: the
name of a variable, and the default for one that is unset."""

_PLACEHOLDER_BEGIN = "${env:"
_VARIABLE = re.compile(
    r"\$[A-Z][A-Z0-9_]*|\$\{[A-Za-z_]\w*\}|%[A-Za-z_]\w*%", re.ASCII
)
"""A variable in the notation of a shell."""
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
"""No credential, id, channel or URL begins or ends with one of these."""
_COMMENT = re.compile(r"\s#")
_EXAMPLE = re.compile(
    r"<.*>|\[.*\]|\{.*\}|\.+|.*(\.{3}|\u2026)|[x*]{3}|.*[x*]{4,}"
    r"|your[-_ ].*|(your|my|example|dummy)[-_ ]?.*(key|id|token|cert\w*|secret)"
    r"|.*[-_ ]here|replace[-_ ].*|(change|replace|fill)[-_ ]?(me|this|it|in)"
    r"|(insert|enter|paste|put|add)[-_ ].*"
    r"|placeholder|todo|tbd|none|null|nil|undefined",
    re.DOTALL | re.IGNORECASE,
)
"""Placeholders for credentials, as documents and templates have them."""
EXAMPLE = "an example from a document; replace it with your own value"
_CREDENTIALS = (
    *SECRETS,
    "spatius_app_id",
    "spatius_avatar_id",
    "agora_appid",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]{0,2}")
_TOP = tuple(name for name in Settings.model_fields if name != "params")
_AGORA = tuple(name for name in Params.model_fields if name[:6] == "agora_")
"""Params that TEN's bundled extension also takes at the top level."""


class Given(NamedTuple):
    """The properties that a tree holds; a missing one is left out."""

    params: dict[str, Any]
    paths: dict[str, str]
    """The path of each param that is not under `params`."""
    ignored: list[str]
    """Names at the top level with another value than under `params`."""
    top: dict[str, Any]
    unknown: list[str]
    """Names under `params` that are no params."""
    unknown_top: list[str]
    """Names at the top level that are no properties there."""

    def path(self, name: str) -> str:
        return self.paths.get(name, f"params.{name}")

    def malformed(self) -> Iterator[tuple[str, str]]:
        """Yield path and problem of each value that was not filled in, or
        that has quotes or a comment around it."""
        paths = {name: self.path(name) for name in self.params}
        paths |= {name: name for name in self.top}
        for name, value in (*self.params.items(), *self.top.items()):
            if problem := _placeholder_problem(value) or _paste_problem(
                name, value
            ):
                yield paths[name], problem
        extra = self.params.get("extra_params")
        if isinstance(extra, Mapping):
            for name, value in extra.items():
                if problem := _placeholder_problem(value):
                    yield f"{self.path('extra_params')}.{name}", problem

    def secrets(self) -> list[str]:
        """Return the texts that no message may show, for a `Redactor`."""
        return secrets_in(
            {
                name: value
                for name, value in self.params.items()
                if not _placeholder_problem(value)
            }
        )

    def problems(
        self,
        error: ValidationError,
        schema: dict[str, Any],
        hide: Callable[[str], str],
    ) -> dict[str, str]:
        """Return a problem for each path of pydantic's errors; `schema` is
        that of all properties."""
        described: dict[str, str] = {}
        for item in error.errors(include_url=False):
            place, fields = item["loc"], schema["properties"]
            path = name = str(place[0])
            if name == "params":
                name = str(place[1])
                fields = schema["$defs"]["Params"]["properties"]
                path = self.path(name)
            if item["type"] == "missing":
                problem = "required, but missing or empty"
                if name == "agora_channel":
                    problem += " (and so is the top-level channel)"
            else:
                problem = problem_of(name, fields[name], item, hide)
            # A union has one error for each of its types.
            described.setdefault(path, problem)
        return described

    def misplaced(self, hide: Callable[[str], str]) -> list[str]:
        """Return the sentences about names that are unknown or misplaced."""
        sentences = [
            f"params.{name}: not used under params; it belongs to the top level"
            for name in self.unknown
            if name in TOP_LEVEL
        ]
        sentences += [
            f"{name}: at the top level; it belongs under params"
            for name in self.unknown_top
            if name in Params.model_fields
        ]
        unknown = [name for name in self.unknown if name not in TOP_LEVEL]
        if unknown:
            # Names only: the value of one that was mistyped may be a secret.
            names = ", ".join(_shown_name(name, hide) for name in unknown)
            sentences.append(
                f"unknown params, not used: {names}; check the spelling"
                + _hints(unknown, hide)
            )
        # Others may be meant for TEN, or for another extension.
        sentences += [
            f"{hide(name)}: unknown property, not used; {hint}"
            for name in self.unknown_top
            if name not in Params.model_fields and (hint := did_you_mean(name))
        ]
        return sentences


def _hints(names: list[str], hide: Callable[[str], str]) -> str:
    hints = [
        f" {hide(name)}: {hint}"
        for name in names
        if (hint := did_you_mean(name))
    ]
    return "." + "".join(hints) if hints else ""


def _shown_name(name: str, hide: Callable[[str], str]) -> str:
    """Return a name for a message; a misplaced quote can turn a secret into
    one."""
    if _NAME.fullmatch(name):
        return hide(name)
    return f"a name of {len(name)} characters"


def is_example(value: Any) -> bool:
    """Return whether a value is a placeholder from a document."""
    return isinstance(value, str) and bool(_EXAMPLE.fullmatch(value.strip()))


def is_missing(value: Any) -> bool:
    """Return whether a property counts as not given."""
    return value is None or (isinstance(value, str) and not value.strip())


def read(tree: Any, problems: list[str]) -> Given:
    """Return the properties in `tree`.

    A tree that cannot be read adds to `problems`.
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
        name: _stripped(name, tree[name])
        for name in _TOP
        if not is_missing(tree.get(name))
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
    if not is_missing(raw_params.get("params")):
        problems.append(
            "params.params: not read; its values belong directly under params"
        )
    known = {*Params.model_fields, "params"}
    return Given(
        params,
        paths,
        ignored,
        top,
        unknown=sorted({*raw_params} - known),
        unknown_top=sorted(
            name
            for name in {*tree} - {*_TOP, *_AGORA, "channel", "params"}
            if not is_missing(tree[name])
        ),
    )


def _stripped(name: str, value: Any) -> Any:
    """Return a value without the space that an environment file may add."""
    if isinstance(value, str) and name not in ("agora_channel", "dump_path"):
        return value.strip()
    return value


def _placeholder_problem(value: Any) -> str:
    if not isinstance(value, str) or _PLACEHOLDER_BEGIN not in value:
        return ""
    # Only the variable's name is shown, and only if it looks like one: the
    # default behind it may be a secret, and so may text in the name's place.
    found = PLACEHOLDER.match(value, value.index(_PLACEHOLDER_BEGIN))
    name = ""
    if found is not None and re.fullmatch("[A-Z][A-Z0-9_]*", found[1]):
        name = f" {_PLACEHOLDER_BEGIN}{found[1]}}}"
    return (
        f"expected a value, got an unexpanded placeholder{name}; TEN "
        "expands a placeholder only where it is the whole value"
    )


def _paste_problem(name: str, value: Any) -> str:
    """Return the problem of a value that was pasted with quotes or a comment,
    or that is an example or a shell's variable; "" if there is none."""
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        return ""
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        return (
            "expected a value without quotes, got text that begins or ends "
            "with a quotation mark; docker --env-file keeps the quotes of its "
            "file: remove the quotes there"
        )
    if name in ("agora_channel", "dump_path"):
        return ""  # Agora and file systems take all that follows
    if _COMMENT.search(text):
        return (
            "expected a value alone, got one with a comment (#) behind it; "
            "docker --env-file takes the whole line: write the comment on a "
            "line of its own"
        )
    if _VARIABLE.fullmatch(text):
        return (
            "expected a value, got the name of a variable that is taken "
            "literally; TEN expands ${env:NAME} only"
        )
    if name in _CREDENTIALS and (
        is_example(text) or text.lower() in EXAMPLE_NAMES
    ):
        return EXAMPLE
    return ""
