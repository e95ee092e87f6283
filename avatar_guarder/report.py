"""What a run of the suite comes to: as a table, JSON, a page, a document."""

import html
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .rules import RULES
from .runner import BROKEN, KEPT, NOT_APPLICABLE, Subject, Verdict

OUTCOMES = (KEPT, BROKEN, NOT_APPLICABLE)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the numbers: `40 kept, 1 broken, 3 not applicable`."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)


def as_json(subject: Subject, verdicts: Sequence[Verdict]) -> str:
    """Return all that is known of a run, as JSON text."""
    rules: list[dict[str, Any]] = [
        {
            "name": verdict.rule,
            "tier": RULES[verdict.rule].tier,
            "sentence": RULES[verdict.rule].sentence,
            "outcome": verdict.outcome,
            "how": verdict.how,
            "took_s": verdict.took_s,
        }
        for verdict in verdicts
    ]
    tree = {
        "extension": subject.addon,
        "vendor": subject.vendor,
        "summary": summary(verdicts),
        "rules": rules,
    }
    return json.dumps(tree, indent=2) + "\n"


def as_html(subject: Subject, verdicts: Sequence[Verdict]) -> str:
    """Return one self-contained page."""
    rows = "\n".join(_html_row(verdict) for verdict in verdicts)
    title = html.escape(f"{subject.addon}: {summary(verdicts)}")
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
    max-width: 70rem; padding: 0 1rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem;
    border-bottom: 1px solid #8884; }}
  code {{ font-size: .93em; }}
  small {{ opacity: .75; }}
  .kept {{ color: #18794e; }} .broken {{ color: #cd2b31; }}
</style>
<h1>{html.escape(subject.addon)}</h1>
<p>{html.escape(summary(verdicts))}; vendor:
{html.escape(subject.vendor)}.</p>
<table>
<tr><th>Rule<th>Tier<th>Verdict<th>What it asks
{rows}
</table>
</html>
"""


def _html_row(verdict: Verdict) -> str:
    rule = RULES[verdict.rule]
    outcome = verdict.outcome
    how = (
        f"<br><small>{html.escape(verdict.how)}</small>" if verdict.how else ""
    )
    style = outcome if outcome != NOT_APPLICABLE else ""
    return (
        f"<tr><td><code>{html.escape(rule.name)}</code><td>{rule.tier}"
        f'<td class="{style}">{html.escape(outcome)}{how}'
        f"<td>{html.escape(rule.sentence)}"
        f"<br><small>{html.escape(rule.why)}</small>"
    )


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
            "| rule | what it asks | why | applies |\n|---|---|---|---|\n"
            + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def _applies(rule: Any) -> str:
    conditions = []
    if rule.declares:
        names = ", ".join(f"`{message}`" for message in rule.declares)
        conditions.append(f"declares {names}")
    if rule.configured:
        conditions.append("has `property_basic.json`")
    if rule.case not in ("basic", "empty"):
        conditions.append(f"has `property_{rule.case}.json`")
    return ", ".join(conditions) or "always"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
