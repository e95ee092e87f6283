"""Examines one node without opening a connection."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .. import package
from . import product
from .channel import is_filled_in
from .dump_folder import check_dump_folder
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
from .values import check_values
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
    is_channel_open: bool = False
    """Its channel is named when a session starts."""
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
    report = NodeReport(node, resolved, is_filled_in(node, resolved))
    found = report.findings
    found.errors += errors
    if report.is_channel_open:
        found.notes.append(
            "channel: empty; TEN's agent server fills in the channel of each "
            "session. Without it set params.agora_channel; --channel NAME "
            "checks with one"
        )
    try:
        report.config = configure(
            resolved, now_s, SESSION_CHANNEL if report.is_channel_open else ""
        )
    except config.ConfigError as error:
        for problem in _own_words(error.problems):
            if report.is_channel_open and problem.endswith(_OTHER_CHANNEL):
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
        found.add(check_neighbors(node, resolved, _rates_hz(report), environ))
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
    known.warnings += [
        text
        for text in found.warnings
        if not any(
            paths_of(text)[0] in other
            for other in (*known.warnings, *known.errors)
        )
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
    tree, given_params = report.resolved.tree, report.resolved.given
    broken = {
        path for text in report.findings.errors for path in paths_of(text)
    }
    loaded = report.config.summary() if report.config else None
    rows = []
    for name, model_field in params.Params.model_fields.items():
        path, given = given_params.path(name), given_params.params.get(name)
        default = None if model_field.is_required() else model_field.default
        value = loaded["params"][name] if loaded else given
        if name in _IDS:
            value = _short(given)
        if name == "agora_channel" and report.is_channel_open:
            row = PropertyRow(name, "of each session", "TEN's agent server")
            rows.append(row)
            continue
        rows.append(_row(report.resolved, path, given, value, default, broken))
    for name, model_field in config.Config.model_fields.items():
        if name in ("params", "warnings"):
            continue
        given, default = tree.get(name), model_field.default
        value = loaded[name] if loaded else given
        rows.append(_row(report.resolved, name, given, value, default, broken))
    return rows


def _row(
    resolved: Resolved,
    path: str,
    given: Any,
    value: Any,
    default: Any,
    broken: set[str],
) -> PropertyRow:
    name = path.removeprefix("params.")
    missing = properties.is_missing(given)
    if name in params.SECRETS:
        shown = "not set" if missing else "set"
    else:
        if missing and default is not None:
            value = default
        shown = _safe_text(value)
    if path in broken:
        shown = f"missing, {SEE_BELOW}" if missing else f"invalid, {SEE_BELOW}"
        if name in _IDS and not missing and "${" not in str(given):
            shown = f"{_short(given)}, {SEE_BELOW}"
        if name == "agora_uid" and _UID.fullmatch(str(given).strip()):
            shown = f"{given}, {SEE_BELOW}"
    return PropertyRow(name, shown, _source(resolved, path, missing, default))


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
    console, ingress = _endpoints(loaded)
    return [
        ("SDK package", product.sdk.package() or "none"),
        ("console", console),
        ("ingress", ingress),
        ("Agora token", _agora_token(loaded, now_s)),
        ("idle sessions", _idle(loaded.idle_disconnect_s)),
    ]


def _idle(after_s: float) -> str:
    if not after_s:
        return (
            "stay open (idle_disconnect_s 0): silence is billed, 10 credits a "
            "minute"
        )
    return (
        f"are closed after {after_s:g} s of silence, which saves 10 credits a "
        "minute and costs one handshake before the next answer"
    )


def _endpoints(loaded: Any) -> tuple[str, str]:
    urls = product.sdk.endpoints(loaded)
    if urls is None:
        nearest = "of the region that Spatius chooses (auto)"
        return nearest, nearest
    return redact.bare_url(urls[0]), redact.bare_url(urls[1])


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
