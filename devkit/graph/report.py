"""Examines one node without opening a connection."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .. import package
from . import product
from .findings import Findings
from .json_file import read_json
from .model import Node
from .neighbors import check_neighbors
from .product import config, params, properties, redact, token
from .resolve import (
    Resolved,
    configure,
    paths_of,
    resolve,
    with_source,
)
from .values import check_dump_folder, check_values
from .wiring import check_wiring, presence

SEE_BELOW = "see below"

_OTHER_CHANNEL = "for another channel"

SESSION_CHANNEL = "channel-of-the-session"
"""Stands for a channel that TEN's agent server fills in."""

_IDS = ("agora_appid", "spatius_app_id", "spatius_avatar_id")
_HEAD, _TAIL = 8, 4
"""How much of an id is shown: enough to compare it, but not all of it, as a
key may stand in its place."""


_UID = re.compile("-?[0-9]{1,20}")  # digits alone are no secret


@dataclass(frozen=True)
class PropertyRow:
    """One property: its value, and the source of the value."""

    name: str
    value: str
    source: str


@dataclass
class NodeReport:
    """The findings about one node."""

    node: Node
    resolved: Resolved
    config: Any = None
    """None where there are problems."""
    rows: list[PropertyRow] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


def examine(
    node: Node,
    errors: list[str],
    environ: Mapping[str, str],
    now_s: float,
) -> NodeReport:
    """Return the findings about `node`, without opening a connection.

    `errors` are known before; `now_s` is in seconds since the epoch.
    """
    resolved = resolve(node, environ)
    report = NodeReport(node, resolved)
    found = report.findings
    found.errors += errors
    if resolved.is_channel_open:
        found.notes.append(
            "channel: empty; TEN's agent server fills in the channel of each "
            "session. Without it set params.agora_channel; --channel NAME "
            "checks with one"
        )
    try:
        report.config = configure(
            resolved, now_s, SESSION_CHANNEL if resolved.is_channel_open else ""
        )
    except config.ConfigError as error:
        for problem in _own_words(error.problems):
            if resolved.is_channel_open and problem.endswith(_OTHER_CHANNEL):
                found.warnings.append(
                    f"{paths_of(problem)[0]}: made for one channel, and TEN's "
                    "agent server names one for each session; --channel NAME "
                    "checks with one"
                )
            else:
                found.errors.append(with_source(problem, resolved))
    else:
        found.warnings += _own_words(report.config.warnings)
        if report.config.dump:
            found.warnings += check_dump_folder(report.config.dump_path)
        report.facts = _facts(report, now_s)
        loaded = report.config.params
        is_opus = loaded.audio_format == "ogg_opus"
        if problem := product.sdk.problem(is_opus, bool(loaded.extra_params)):
            found.errors.append(problem)
    _add_values(report, now_s)
    if node.graph is not None:
        manifest = read_json(package.ROOT / "manifest.json")
        found.add(check_wiring(node.graph, node.name, manifest.get("api")))
        if report.facts:
            joining = presence(node.graph, node.name)
            report.facts.append(("joining the channel", joining))
        found.add(check_neighbors(resolved, _rates_hz(report)))
    report.rows = _rows(report)
    return report


def _own_words(sentences: Iterable[str]) -> list[str]:
    """Leave out the package's sentences about names that it does not know:
    `check_values` has one for each, as a warning."""
    return [
        text
        for text in sentences
        if not text.startswith("unknown params")
        and ": unknown property" not in text
    ]


def _add_values(report: NodeReport, now_s: float) -> None:
    """Add the findings of `check_values` that config.load does not have."""
    found, known = check_values(report.resolved, now_s), report.findings
    said = {path for text in known.errors for path in paths_of(text)}
    known.errors += [
        text for text in found.errors if said.isdisjoint(paths_of(text))
    ]
    known.warnings = [
        text for text in known.warnings if text not in found.errors
    ]
    said_of = "\n".join((*known.warnings, *known.errors))
    known.warnings += [
        text for text in found.warnings if paths_of(text)[0] not in said_of
    ]


def _rates_hz(report: NodeReport) -> tuple[int, ...]:
    """Return the rates that frames may have; none is an unusable value."""
    if report.config is not None:
        return report.config.params.rates_hz
    given = report.resolved.given.params
    default = params.Params.model_fields["sample_rate"].default
    rate = str(given.get("sample_rate", default)).strip().lower()
    if rate == params.AUTO:
        return params.RATES_HZ.get(str(given.get("audio_format")), ())
    return (int(rate),) if re.fullmatch("[0-9]{4,6}", rate) else ()


def _rows(report: NodeReport) -> list[PropertyRow]:
    resolved, given = report.resolved, report.resolved.given
    broken = {
        path for text in report.findings.errors for path in paths_of(text)
    }
    loaded = report.config.summary() if report.config else {"params": {}}
    rows = []
    fields = {**params.Params.model_fields, **config.Config.model_fields}
    for name, model_field in fields.items():
        if name in ("params", "warnings"):
            continue
        path, values, value = name, loaded, resolved.tree.get(name)
        if name in params.Params.model_fields:
            path, values = given.path(name), loaded["params"]
            value = given.params.get(name)
        missing = properties.is_missing(value)
        default = None if model_field.is_required() else model_field.default
        source = _source(resolved, path, missing, default)
        if name == "agora_channel" and resolved.is_channel_open:
            path, shown, source = name, "of each session", "TEN's agent server"
        elif path in broken:
            shown = "missing" if missing else _recognizable(name, str(value))
            shown += f", {SEE_BELOW}"
        elif name in params.SECRETS:
            shown = "not set" if missing else "set"
        elif missing and default is not None:
            shown = _safe_text(default)
        elif name in _IDS:
            shown = _safe_text(_short(value))
        else:
            shown = _safe_text(values.get(name, value))
        rows.append(PropertyRow(path.removeprefix("params."), shown, source))
    return rows


def _recognizable(name: str, value: str) -> str:
    """Return the part of an invalid value that can be shown."""
    if name in _IDS and "${" not in value:
        return _short(value)
    is_uid = name == "agora_uid" and _UID.fullmatch(value.strip())
    return value if is_uid else "invalid"


def _source(resolved: Resolved, path: str, missing: bool, default: Any) -> str:
    origin = resolved.origins.get(path)
    if missing and default is not None:
        return "default"
    if origin is None:
        return ""
    if not origin.variable:
        return "" if missing else origin.layer
    if origin.is_set:
        return f"${origin.variable}" + (", empty" if missing else "")
    if missing:
        return f"${origin.variable}, not set"
    return f"default of ${origin.variable}"


def _short(value: Any) -> Any:
    """Return enough of an id to compare it."""
    if not isinstance(value, str) or len(value) <= _HEAD + _TAIL:
        return value
    return f"{value[:_HEAD]}...{value[-_TAIL:]}"


def _safe_text(value: Any) -> str:
    if properties.is_missing(value):
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (Mapping, list, tuple)):
        # Names only: a value may be a secret.
        return ", ".join(map(str, value)) or "not set"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if "${" in text:
        return f"a placeholder, {SEE_BELOW}"  # its default may be a secret
    if "://" in text:
        return redact.bare_url(text)
    return text


def _facts(report: NodeReport, now_s: float) -> list[tuple[str, str]]:
    loaded = report.config.params
    nearest = "of the region that Spatius chooses (auto)"
    console, ingress = product.sdk.endpoints(loaded) or (nearest, nearest)
    idle_s = loaded.idle_disconnect_s
    idle = (
        f"are closed after {idle_s:g} s of silence, which saves 10 credits a "
        "minute and costs one handshake before the next answer"
        if idle_s
        else "stay open (idle_disconnect_s 0): silence is billed, 10 credits a "
        "minute"
    )
    return [
        ("SDK package", product.sdk.package() or "none"),
        ("console", _safe_text(console)),
        ("ingress", _safe_text(ingress)),
        ("Agora token", _agora_token(loaded, now_s)),
        ("idle sessions", idle),
    ]


def _agora_token(loaded: Any, now_s: float) -> str:
    if loaded.agora_token is None:
        minutes = loaded.session_expire_minutes
        expires_at = _clock_time(now_s + minutes * 60)
        return (
            f"signed for each session, for {minutes} min; one signed now "
            f"would expire at {expires_at}"
        )
    facts = token.read(loaded.agora_token.get_secret_value())
    if facts is None or facts.is_damaged:
        return "given; its expiry cannot be read"
    if facts.expires_at_s is None:
        return "given; it names no expiry"
    left_min = (facts.expires_at_s - now_s) / 60
    return (
        f"given; expires at {_clock_time(facts.expires_at_s)}, in "
        f"{left_min:.0f} min"
    )


def _clock_time(epoch_s: float) -> str:
    moment = datetime.fromtimestamp(epoch_s, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
