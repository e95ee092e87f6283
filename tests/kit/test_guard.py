"""avatar_guarder holds avatars to rules; its mutants hold it to its word."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avatar_guarder import environment, report, runner
from avatar_guarder.mutants import check
from avatar_guarder.rules import RULES
from devkit import package
from devkit.commands.guard import app

SUITE = package.ROOT / "avatar_guarder"
HONEST = check.HONEST
BROKEN, UNUSABLE = 1, 2


def guard(*arguments: str | Path) -> tuple[int, str]:
    """Run bin/guard's command; return its exit code and its words."""
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], env={"COLUMNS": "200"}
    )
    if result.exception is not None:
        assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def write_extension(folder: Path, init: str = "", **manifest: object) -> Path:
    """Write an extension's folder and return it."""
    manifest = {"type": "extension", "name": "other_avatar", **manifest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "__init__.py").write_text(init)
    return folder


# The honest avatar and its mutants


@pytest.mark.takes_s(30)
def test_honest_avatar_keeps_every_rule() -> None:
    """None is broken, and none is without an avatar that can keep it."""
    verdicts = runner.run(HONEST, jobs=8)
    assert {v.rule: (v.outcome, v.how) for v in verdicts} == {
        rule: (runner.KEPT, "") for rule in RULES
    }


@pytest.mark.takes_s(40)
def test_each_mutant_breaks_its_rule_and_no_other() -> None:
    """Each rule has a mutant, which it and no other rule catches.

    The others are two for each; all of them with GUARD_MATRIX=full.
    """
    plan = check.plan(full=os.environ.get("GUARD_MATRIX") == "full")
    assert check.wrong(check.hold(plan)) == {}


def test_rules_that_need_a_configuration_do_not_apply_without(
    tmp_path: Path,
) -> None:
    """What an avatar cannot do without one is not broken."""
    folder = tmp_path / "other_avatar"
    shutil.copytree(HONEST.folder, folder)
    for name in ("manifest.json", "addon.py"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(HONEST.addon, "other_avatar"))
    rules = [
        "reports_outages_sparingly",
        "shapes_connection_status",
        "dumps_received_audio",
    ]
    verdicts = tmp_path / "verdicts.json"
    arguments = [f"--rule={rule}" for rule in rules]
    code, text = guard(folder, *arguments, "--json", verdicts)
    assert code == 0 and "ran without a configuration" in text
    assert [
        (rule["outcome"], rule["how"])
        for rule in json.loads(verdicts.read_text())["rules"]
    ] == [(runner.NOT_APPLICABLE, "needs a configuration: --config DIR")] * 3


# The runner


@pytest.fixture
def ending(tmp_path: Path) -> runner.Subject:
    """An avatar that ends its process at the first flush."""
    return runner.Subject(
        write_extension(
            tmp_path,
            """
import os
from ten_runtime import (
    Addon, AsyncExtension, CmdResult, StatusCode, register_addon_as_extension
)

class Ending(AsyncExtension):
    async def on_cmd(self, ten_env, cmd):
        if cmd.get_name() == "flush":
            os.abort()
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

@register_addon_as_extension("other_avatar", __file__)
class EndingAddon(Addon):
    def on_create_instance(self, ten_env, name, context):
        ten_env.on_create_instance_done(Ending(name), context)
""",
        ),
        "other_avatar",
    )


def outcomes(verdicts: list[runner.Verdict]) -> dict[str, str]:
    """Return the outcome of each rule."""
    return {verdict.rule: verdict.outcome for verdict in verdicts}


def test_an_end_of_the_process_breaks_one_rule(
    ending: runner.Subject,
) -> None:
    """Rules that need it are not testable; others are tested."""
    rules = ["answers_flush_while_connecting", "answers_unknown_commands"]
    verdicts = runner.run(ending, rules)
    assert outcomes(verdicts) == {
        "answers_flush_while_connecting": runner.NOT_TESTABLE,
        "answers_unknown_commands": runner.KEPT,
        "answers_flush": runner.BROKEN,
    }
    said = "the worker ended (SIGABRT) (__init__.py:10)"
    assert [v.how for v in verdicts] == [
        f"{said} (see answers_flush)",
        "",
        said,
    ]


def test_a_rule_that_hangs_is_broken(
    ending: runner.Subject,
) -> None:
    """A process that does not end its rule is killed, and says where."""
    init = ending.folder / "__init__.py"
    text = init.read_text().replace(
        "os.abort()", "__import__('time').sleep(99)"
    )
    init.write_text(text)
    (verdict,) = runner.run(ending, ["answers_flush"], limit_s=10)
    assert (verdict.outcome, verdict.how) == (
        runner.BROKEN,
        "did not end within 10 s: it hangs at __init__.py:10",
    )


def test_requirements_that_are_met_need_no_environment(tmp_path: Path) -> None:
    """Another one is made only where something is missing."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\npytest>=1\nno-such-package>=1\n")
    assert environment.unmet(requirements) == ["no-such-package>=1"]
    requirements.write_text("pytest>=1\nwheel; python_version < '3'\n")
    assert environment.python_for("x", tmp_path, "none") == sys.executable


# The command


def test_verdicts_are_written(tmp_path: Path) -> None:
    """One rule: in the table, as JSON, as a page."""
    code, text = guard(
        *(HONEST.folder, "--rule", "answers_unknown_commands"),
        *("--json", tmp_path / "v.json", "--html", tmp_path / "v.html"),
    )
    assert (code, text.splitlines()[-1]) == (
        0,
        "1 kept, 0 broken, 0 not applicable",
    )
    (rule,) = json.loads((tmp_path / "v.json").read_text())["rules"]
    assert (rule["name"], rule["outcome"]) == (
        "answers_unknown_commands",
        "kept",
    )
    page = (tmp_path / "v.html").read_text()
    assert "answers_unknown_commands" in page and "http" not in page


def test_a_broken_rule_is_an_error(ending: runner.Subject) -> None:
    """Exit code 1, and how it is broken in the table."""
    code, text = guard(
        ending.folder, "--rule", "answers_flush_while_connecting"
    )
    assert code == BROKEN and "the worker ended (SIGABRT)" in text


def test_rules_that_do_not_apply_are_no_error(ending: runner.Subject) -> None:
    """Without a vendor there is no tier 2."""
    code, text = guard(ending.folder, "--rule", "interrupts_once")
    assert code == 0 and "needs a recording vendor" in text


@pytest.mark.parametrize(
    ("prepare", "arguments", "expected"),
    [
        (lambda f: None, [], "manifest.json does not exist"),
        (
            lambda f: (f / "manifest.json").write_text("{"),
            [],
            "is not JSON: line 1, column 2",
        ),
        (
            lambda f: write_extension(f, type="app"),
            [],
            "is of no extension",
        ),
        (
            lambda f: write_extension(f, "import no_such_module"),
            [],
            "does not load: ModuleNotFoundError: No module named "
            "'no_such_module'",
        ),
        (
            lambda f: write_extension(f, "raise SystemExit"),
            [],
            "does not load: SystemExit",
        ),
        (write_extension, [], "registers no addon other_avatar"),
        (
            lambda f: (
                write_extension(f),
                (f / "property_basic.json").write_text("[]"),
            ),
            ["--config", "."],
            "holds no JSON object",
        ),
        (write_extension, ["--config", "none/such"], "is no folder"),
        (write_extension, ["--vendor", "none_such"], "no vendor none_such"),
        (write_extension, ["--rule", "none_such"], "no rule none_such"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path, prepare, arguments: list[str], expected: str
) -> None:
    """Exit code 2, and no traceback."""
    prepare(tmp_path)
    arguments = [str(tmp_path) if a == "." else a for a in arguments]
    code, text = guard(tmp_path, *arguments)
    assert code == UNUSABLE
    assert expected in text
    assert len(text.strip().splitlines()) == 1


# What is written about it


def test_document_shows_the_rules() -> None:
    """docs/conformance.md holds the registry as it is."""
    document = (package.ROOT / "docs" / "conformance.md").read_text()
    assert report.rules_table() in document


def test_suite_depends_on_no_package_under_test() -> None:
    """It imports itself: the folder stands alone."""
    for path in SUITE.rglob("*.py"):
        names = re.findall(
            r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.M
        )
        assert not any(name.startswith(package.NAME) for name in names), path
        assert not any(n.startswith("devkit") for n in names), path


def test_toy_vendor_is_short() -> None:
    """The document promises a fake in about 100 lines, but for blank ones."""
    text = (SUITE / "vendors" / "toy.py").read_text()
    assert len([line for line in text.splitlines() if line]) <= 100
