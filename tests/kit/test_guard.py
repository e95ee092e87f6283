"""avatar_guarder holds avatars to rules; its mutants hold it to its word."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avatar_guarder import environment, report, runner
from avatar_guarder.rules import RULES
from devkit import package
from devkit.commands.guard import app

SUITE = package.ROOT / "avatar_guarder"
HONEST = runner.Subject(
    SUITE / "mutants" / "honest",
    "honest_avatar_python",
    SUITE / "configs" / "toy",
    "toy",
)
BROKEN, UNUSABLE = 1, 2

PROCESSES = 8
NEIGHBORS = 2
"""Other rules that each mutant is held to; all with GUARD_MATRIX=full."""

MORE_ATTEMPTS = 4
"""Rules have time limits, and the machine is busy here: whatever is not as
expected is tried as often again, with nothing of ours beside it."""

Tree = dict[str, object]


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


@pytest.mark.takes_s(10)
def test_honest_avatar_keeps_every_rule() -> None:
    """None is broken, and none is without an avatar that can keep it."""
    verdicts = {verdict.rule: verdict for verdict in runner.run(HONEST, jobs=4)}
    for _ in range(MORE_ATTEMPTS):
        broken = [
            rule for rule in RULES if verdicts[rule].outcome == runner.BROKEN
        ]
        for verdict in runner.run(HONEST, broken, jobs=1):
            verdicts[verdict.rule] = verdict
    assert {v.rule: (v.outcome, v.how) for v in verdicts.values()} == {
        rule: (runner.KEPT, "") for rule in RULES
    }


def matrix() -> dict[str, list[str]]:
    """Return the rules that each mutant is held to, its own among them."""
    rules = list(RULES)
    if os.environ.get("GUARD_MATRIX") == "full":
        return {name: rules for name in rules}
    return {
        name: (rules * 2)[at : at + 1 + NEIGHBORS]
        for at, name in enumerate(rules)
    }


def hold_mutants(part: dict[str, list[str]], folder: Path) -> dict[str, set]:
    """Return the rules that each mutant breaks. Blocks."""
    results, stream, plan = (folder / n for n in ("results", "stream", "plan"))
    plan.write_text(json.dumps(part))
    with open(stream, "wb") as out:
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "--capture=no"),
                *("-c", SUITE / "tests" / "pytest.ini"),
                *("-p", "no:terminal", "-p", "avatar_guarder.mutants.matrix"),
                *(SUITE / "tests", "--matrix", plan),
                *("--extension_name", HONEST.addon),
                *("--folder", HONEST.folder, "--vendor", HONEST.vendor),
                *("--config_dir", str(HONEST.config_dir)),
                *("--results", results, "--stream", stream),
            ],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(package.ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "TEN_STAND_IN_LOG": "debug",
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    broken: dict[str, set] = {name: set() for name in part}
    done: dict[str, set] = defaultdict(set)
    for text in results.read_text().splitlines():
        line = json.loads(text)
        if line["event"] == "done":
            continue
        done[line["mutant"]].add(line["rule"])
        if line["event"] in (runner.BROKEN, runner.NOT_APPLICABLE):
            broken[line["mutant"]].add(line["rule"])
    assert done == {name: set(rules) for name, rules in part.items()}
    return broken


@pytest.mark.takes_s(30)
def test_each_mutant_breaks_its_rule_and_no_other(tmp_path: Path) -> None:
    """Each rule has a mutant, which it and no other rule catches."""
    pytest.importorskip(
        "ten_runtime._host",
        reason="the mutants share one process, which the real runtime ends",
    )
    plans = matrix()
    parts = [
        {name: plans[name] for name in list(plans)[at::PROCESSES]}
        for at in range(PROCESSES)
    ]
    folders = [tmp_path / str(at) for at in range(PROCESSES)]
    for folder in folders:
        folder.mkdir()
    broken: dict[str, set] = {}
    with ThreadPoolExecutor(PROCESSES) as pool:
        for part in pool.map(hold_mutants, parts, folders):
            broken.update(part)
    for attempt in range(MORE_ATTEMPTS):
        again = {name: plans[name] for name in plans if broken[name] != {name}}
        if again:
            folder = tmp_path / f"again-{attempt}"
            folder.mkdir()
            broken.update(hold_mutants(again, folder))
    assert broken == {rule: {rule} for rule in RULES}


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
def ending(tmp_path: Path) -> Iterator[runner.Subject]:
    """An avatar that ends its process at the first flush."""
    yield runner.Subject(
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


def test_an_end_of_the_process_breaks_one_rule(
    ending: runner.Subject,
) -> None:
    """The rules behind it are tested in a new process."""
    rules = ["answers_flush_while_connecting", "answers_unknown_commands"]
    verdicts = runner.run(ending, rules, jobs=1)
    assert [verdict.outcome for verdict in verdicts] == [
        runner.BROKEN,
        runner.KEPT,
    ]
    assert verdicts[0].how.startswith("the worker ended (SIGABRT)")


def test_a_rule_that_hangs_is_broken(
    ending: runner.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that does not end its rule is killed."""
    init = ending.folder / "__init__.py"
    text = init.read_text().replace(
        "os.abort()", "__import__('time').sleep(99)"
    )
    init.write_text(text)
    monkeypatch.setattr(runner, "RULE_LIMIT_S", 1.0)
    (verdict,) = runner.run(ending, ["answers_flush_while_connecting"])
    assert (verdict.outcome, verdict.how[:11]) == (runner.BROKEN, "did not end")


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
    """It imports itself, and the Motion Server where Spatius is the vendor."""
    for path in SUITE.rglob("*.py"):
        names = re.findall(
            r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.M
        )
        assert not any(name.startswith(package.NAME) for name in names), path
        if path != SUITE / "vendors" / "spatius.py":
            assert not any(n.startswith("devkit") for n in names), path


def test_toy_vendor_is_short() -> None:
    """The document promises a fake in under 100 lines."""
    text = (SUITE / "vendors" / "toy.py").read_text()
    assert len(text.splitlines()) < 100
