#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Reports on a run of the suite: text, JSON, a page, a document."""

import html
import importlib.util
import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from .cases import FILES
from .loader import read_manifest
from .rules import RULES
from .runner import (
    BROKEN,
    KEPT,
    NOT_APPLICABLE,
    NOT_TESTABLE,
    OUTCOMES,
    Subject,
    Verdict,
)


@dataclass(frozen=True)
class About:
    """The extension that was tested, its setup, and the date."""

    extension: str
    version: str
    """The extension's, from its manifest."""
    runtime: str
    configuration: str
    vendor: str
    date: str
    """UTC, to the second, as ISO 8601 has it."""

    @classmethod
    def of(cls, subject: Subject) -> "About":
        manifest = read_manifest(subject.folder)
        return cls(
            subject.addon,
            str(manifest.get("version", "without a version")),
            runtime_of(subject.python),
            str(subject.config_dir or "none"),
            subject.vendor,
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )


def runtime_of(python: str) -> str:
    """Return which runtime an interpreter has."""
    code = (
        "import ten_runtime, sys;"
        "print(getattr(ten_runtime, 'IS_STAND_IN', False))"
    )
    if importlib.util.find_spec("ten_runtime") is None:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or done.stdout.strip() == "True":
            return "stand-in for the TEN runtime"
        return "TEN runtime"
    import ten_runtime

    is_stand_in = getattr(ten_runtime, "IS_STAND_IN", False)
    return "stand-in for the TEN runtime" if is_stand_in else "TEN runtime"


def ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts, the broken rules first."""
    return sorted(verdicts, key=lambda found: OUTCOMES.index(found.outcome))


def grouped(
    verdicts: Sequence[Verdict],
) -> dict[tuple[str, str], list[str]]:
    """Return the rules without a verdict, by the outcome and its reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for verdict in ordered(verdicts):
        if verdict.outcome in (NOT_TESTABLE, NOT_APPLICABLE):
            key = verdict.outcome, verdict.how
            groups.setdefault(key, []).append(verdict.rule)
    return groups


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the numbers: `40 kept, 1 broken, 3 not applicable`."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    shown = [KEPT, BROKEN, NOT_APPLICABLE]
    if counts[NOT_TESTABLE]:
        shown.insert(2, NOT_TESTABLE)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in shown)


def as_json(about: About, verdicts: Sequence[Verdict]) -> str:
    """Return all that is known of a run, as JSON text."""
    rules: list[dict[str, Any]] = [
        {
            "name": verdict.rule,
            "tier": RULES[verdict.rule].tier,
            "sentence": RULES[verdict.rule].sentence,
            "outcome": verdict.outcome,
            "how": verdict.how,
            "detail": verdict.detail,
            "took_s": verdict.took_s,
        }
        for verdict in ordered(verdicts)
    ]
    tree = {**asdict(about), "summary": summary(verdicts), "rules": rules}
    return json.dumps(tree, indent=2) + "\n"


def as_html(about: About, verdicts: Sequence[Verdict]) -> str:
    """Return one self-contained page."""
    rows = "\n".join(_html_row(verdict) for verdict in ordered(verdicts))
    title = html.escape(f"{about.extension}: {summary(verdicts)}")
    facts = "\n".join(
        f"<dt>{html.escape(name)}<dd>{html.escape(value)}"
        for name, value in asdict(about).items()
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.45 system-ui, sans-serif; margin: 1.5rem auto;
    max-width: 60rem; padding: 0 1rem; overflow-wrap: anywhere; }}
  dl {{ display: grid; grid-template-columns: max-content 1fr;
    gap: .1rem 1rem; }}
  dt {{ opacity: .75; }} dd {{ margin: 0; }}
  article {{ border-top: 1px solid #8884; padding: .6rem 0; }}
  h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1rem; margin: 0; }}
  p {{ margin: .2rem 0; }}
  pre {{ font-size: .8rem; overflow-x: auto; white-space: pre; }}
  small {{ opacity: .75; }}
  .kept {{ color: #18794e; }} .broken {{ color: #cd2b31; }}
</style>
<h1>{html.escape(about.extension)}</h1>
<p>{html.escape(summary(verdicts))}</p>
<dl>
{facts}
</dl>
{rows}
</html>
"""


def _html_row(verdict: Verdict) -> str:
    rule = RULES[verdict.rule]
    how = f"<p>{html.escape(verdict.how)}</p>" if verdict.how else ""
    detail = (
        f"<details><summary>Traceback</summary><pre>"
        f"{html.escape(verdict.detail)}</pre></details>"
        if verdict.detail
        else ""
    )
    return (
        f'<article><h2><span class="{verdict.outcome.replace(" ", "-")}">'
        f"{html.escape(verdict.outcome)}</span> "
        f"<code>{html.escape(rule.name)}</code></h2>{how}{detail}"
        f"<p>{_html_text(rule.sentence)}</p>"
        f"<p><small>Tier {rule.tier}. {_html_text(rule.why)}</small></p>"
        "</article>"
    )


def _html_text(text: str) -> str:
    """Return a sentence of a rule, its names as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def rules_table() -> str:
    """Return the rules as tables of Markdown, one for each tier."""
    parts = []
    for tier, title in (
        (1, "Tier 1: TEN's messages alone"),
        (2, "Tier 2: with a recording vendor"),
    ):
        rows = [
            f"| `{rule.name}` | {_cell(rule.sentence)} | {_cell(rule.why)} | "
            f"{_applies(rule)} |"
            for rule in RULES.values()
            if rule.tier == tier
        ]
        parts.append(
            f"### {title}\n\n"
            "| rule | requirement | reason | applies |\n|---|---|---|---|\n"
            + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def _applies(rule: Any) -> str:
    conditions = []
    if rule.declares:
        names = ", ".join(f"`{message}`" for message in rule.declares)
        conditions.append(f"declares {names}")
    if rule.configured:
        conditions.append(f"has `{FILES['basic'][0]}`")
    if rule.case not in ("basic", "missing"):
        conditions.append(f"has `{FILES[rule.case][0]}`")
    return ", ".join(conditions) or "always"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
