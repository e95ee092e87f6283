"""avatar_guarder holds avatars to rules, and is itself held to its mutants."""

from pathlib import Path

from avatar_guarder import report, runner
from avatar_guarder.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "avatar_guarder"
HONEST = runner.Subject(
    SUITE / "mutants" / "honest",
    "honest_avatar_python",
    SUITE / "configs" / "toy",
    "toy",
)


def test_document_holds_the_rules() -> None:
    """docs/conformance.md shows the registry as it is."""
    assert report.rules_table() in (ROOT / "docs/conformance.md").read_text()


def test_honest_avatar_keeps_every_rule() -> None:
    """None is broken, and none is without an avatar that can keep it."""
    verdicts = runner.run(HONEST)
    assert {v.rule: (v.outcome, v.how) for v in verdicts} == {
        rule: (runner.KEPT, "") for rule in RULES
    }
