"""avatar_guarder holds avatars to rules; its mutants hold it to its word."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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

    The other is one for each; all of them with GUARD_MATRIX=full.
    """
    plan = check.plan(full=os.environ.get("GUARD_MATRIX") == "full")
    assert check.judged_wrong(plan) == {}


def test_rules_that_need_a_configuration_do_not_apply_without(
    tmp_path: Path,
) -> None:
    """A rule that needs one is not broken."""
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


ENDING = """
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
"""


@pytest.fixture
def ending(tmp_path: Path) -> runner.Subject:
    """An avatar that ends its process at the first flush."""
    return runner.Subject(
        write_extension(
            tmp_path,
            ENDING,
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


COUNTED = """
import os, pathlib, threading, time
with open(pathlib.Path(__file__).with_name("imports"), "a") as file:
    file.write("import\\n")
"""


@pytest.mark.parametrize(
    ("library", "imports"),
    [
        (COUNTED, 2),
        (COUNTED + "threading.Thread(target=time.sleep, args=(9,)).start()", 3),
    ],
    ids=["a library", "a library that starts a thread"],
)
def test_libraries_are_imported_once(
    tmp_path: Path, library: str, imports: int
) -> None:
    """By the first test, then by the process that forks the others.

    A process that has threads must not fork: each test imports such a one.
    """
    folder, packages = tmp_path / "extension", tmp_path / "site-packages"
    folder.mkdir()
    packages.mkdir()
    write_extension(folder, "import counted" + ENDING)
    (packages / "counted.py").write_text(library)
    subject = runner.Subject(
        folder, "other_avatar", environment={"PYTHONPATH": str(packages)}
    )
    runner.run(subject, ["answers_unknown_commands"])
    found = (packages / "imports").read_text().splitlines()
    assert len(found) == imports


def test_requirements_that_are_met_need_no_environment(tmp_path: Path) -> None:
    """Another one is made only where something is missing."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\npytest>=1\nno-such-package>=1\n")
    assert environment.unmet(requirements) == ["no-such-package>=1"]
    with_extra = "pytest[dev]>=1"  # its extra requires more than itself
    requirements.write_text(with_extra)
    assert environment.unmet(requirements) == [with_extra]
    requirements.write_text("pytest>=1\nwheel; python_version < '3'\n")
    assert environment.python_for("x", tmp_path, "none") == sys.executable


# The command


def test_a_command_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    """Also where it could not tell the others to end."""
    write_extension(tmp_path, "import time\ntime.sleep(99)")
    command = [sys.executable, "-m", "devkit.commands.guard", str(tmp_path)]
    process = subprocess.Popen(command, cwd=package.ROOT)

    def processes() -> list[str]:
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "args"],
            capture_output=True,
            text=True,
            check=True,
        )
        option = f"--folder={tmp_path}"
        return [line for line in listed.stdout.splitlines() if option in line]

    wait_until(lambda: len(processes()) == 2)  # pytest, and a test that hangs
    process.kill()
    process.wait()
    wait_until(lambda: not processes())


def wait_until(ready: Callable[[], bool]) -> None:
    """Fail where something is not so within 20 s."""
    deadline_s = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


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
    facts = json.loads((tmp_path / "v.json").read_text())
    assert facts["version"] == "0.1.0" and "TEN runtime" in facts["runtime"]
    page = (tmp_path / "v.html").read_text()
    assert "answers_unknown_commands" in page and "http" not in page


def test_a_rule_that_is_named_twice_counts_once() -> None:
    """The second name changes nothing."""
    rule = ("--rule", "answers_unknown_commands")
    _, text = guard(HONEST.folder, *rule, *rule)
    assert text.splitlines()[-1] == "1 kept, 0 broken, 0 not applicable"


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
        (
            lambda f: (
                write_extension(f),
                (f / "property_basci.json").write_text("{}"),
            ),
            ["--config", "."],
            "the file of no case; property_basic.json would be one",
        ),
        (
            lambda f: (
                write_extension(f),
                (f / "Property_Invalid.JSON").write_text("{}"),
            ),
            ["--config", "."],
            "the file of no case; property_invalid.json would be one",
        ),
        (
            write_extension,
            ["--ten-packages", "none/such"],
            "none/such is no folder",
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


# Extensions of other shapes


def shape_of(name: str, folder: Path) -> runner.Subject:
    """Return an honest avatar of a shape, in a folder of its own."""
    extension, configs = folder / "extension", folder / "configs"
    shutil.copytree(HONEST.folder, extension)
    shutil.copytree(HONEST.config_dir or folder, configs)
    manifest = json.loads((extension / "manifest.json").read_text())
    api = manifest["api"]
    vendor = HONEST.vendor
    if name == "finalize_only":
        api["data_in"].remove({"name": "tts_audio_end"})
    if name == "flat":
        # No params, other names, and no schema that says so.
        del api["property"]["properties"]["params"]
        for path in (extension / "property.json", *configs.glob("*.json")):
            tree = json.loads(path.read_text())
            flat = {**tree, **tree.pop("params")}
            flat["toy_port"] = flat.pop("port")
            flat["input_audio_sample_rate"] = flat.pop("sample_rate")
            del flat["params"]
            path.write_text(json.dumps(flat))
        vendor = str(folder / "flat_fake.py")
        Path(vendor).write_text(FLAT_FAKE)
    (extension / "manifest.json").write_text(json.dumps(manifest))
    return runner.Subject(
        extension,
        HONEST.addon,
        configs,
        vendor,
        environment={"AVATAR_MUTANT": name},
    )


FLAT_FAKE = """
import contextlib
from avatar_guarder.vendors import toy

class Vendor(toy.Vendor):
    @contextlib.contextmanager
    def listen(self):
        with super().listen() as found:
            yield {"api_key": found["api_key"], "toy_port": found["port"]}
"""

SPEECH_RULES = {
    "flat": [
        "reports_missing_params",
        "reports_wrong_credentials",
        "reports_wrong_rate",
        "sends_speech_unchanged",
    ],
    "resampling": [
        "survives_odd_frames",
        "sends_speech_unchanged",
        "joins_odd_frames",
        "reports_wrong_rate",
        "ends_behind_speech",
        "drops_stale_speech",
        "keeps_the_next_answer",
        "renews_without_losing_speech",
    ],
    "paced": [
        "sends_speech_unchanged",
        "ends_each_utterance",
        "ends_behind_speech",
        "interrupts_once",
        "drops_stale_speech",
        "keeps_the_next_answer",
        "reconnects_after_loss",
        "answers_flush_when_connected",
    ],
    "finalize_only": [
        "ends_each_utterance",
        "ends_behind_speech",
        "sends_no_empty_utterance",
    ],
}
"""The rules that could be judged wrong for a shape."""


@pytest.mark.takes_s(15)
@pytest.mark.parametrize("name", SPEECH_RULES)
def test_a_shape_is_judged_as_the_honest_one_is(
    name: str, tmp_path: Path
) -> None:
    """How speech is sent and where a value stands break no rule."""
    verdicts = runner.run(shape_of(name, tmp_path), SPEECH_RULES[name])
    assert {v.rule: v.how for v in verdicts if v.outcome != runner.KEPT} == {}


def test_encoded_speech_is_not_compared(tmp_path: Path) -> None:
    """The rules about it are not testable; the others are."""
    verdicts = runner.run(
        shape_of("encoded", tmp_path),
        ["sends_speech_unchanged", "ends_each_utterance", "drops_stale_speech"],
    )
    assert outcomes(verdicts) == {
        "sends_speech_unchanged": runner.NOT_TESTABLE,
        "ends_each_utterance": runner.KEPT,
        "drops_stale_speech": runner.NOT_TESTABLE,
    }
    assert "encoded speech" in verdicts[0].how


@pytest.mark.takes_s(10)
def test_one_defect_has_one_verdict(tmp_path: Path) -> None:
    """A raise in on_start breaks that one rule."""
    subject = shape_of("raises_on_start", tmp_path)
    verdicts = runner.run(subject)
    assert {v.rule for v in verdicts if v.outcome == runner.BROKEN} == {
        "starts"
    }
    assert {v.rule for v in verdicts if v.outcome == runner.KEPT} == {"loads"}
    causes = {v.how for v in verdicts if v.outcome == runner.NOT_TESTABLE}
    (cause,) = causes
    assert re.fullmatch(
        r"the worker ended: on_start \(shapes.py:\d+\) raised KeyError: "
        r"'session' \(see starts\)",
        cause,
    )


@pytest.mark.takes_s(30)
def test_an_avatar_of_the_field_is_judged() -> None:
    """Flat, a namespace package, an address in code: its faults are found."""
    pytest.importorskip("requests")
    pytest.importorskip("websockets")
    verdicts = runner.run(
        runner.Subject(
            SUITE / "mutants" / "streaming",
            "streaming_avatar_python",
            SUITE / "configs" / "heygen",
            "heygen",
        ),
        [
            "keeps_the_loop_free",
            "answers_flush_before_downstream",
            "survives_huge_integers",
            "keeps_secrets_out_of_logs",
            "logs_little_while_speaking",
            "sends_speech_unchanged",
            "reports_wrong_rate",
            "ends_behind_speech",
            "interrupts_after_the_end",
            "interrupts_nothing_when_idle",
            "drops_stale_speech",
            "keeps_the_next_answer",
            "workers_do_not_share",
            "answers_flush_when_connected",
        ],
    )
    assert {v.rule for v in verdicts if v.outcome == runner.KEPT} == {
        "sends_speech_unchanged",
        "interrupts_after_the_end",
        "keeps_the_next_answer",
        "answers_flush_when_connected",
    }
    assert {v.rule for v in verdicts if v.outcome == runner.NOT_TESTABLE} == {
        "logs_little_while_speaking"
    }


def test_an_import_that_hangs_is_told(tmp_path: Path) -> None:
    """Once, with the line that hangs."""
    write_extension(tmp_path, "import time\ntime.sleep(99)")
    code, text = guard(tmp_path, "--limit", "6")
    assert code == UNUSABLE
    assert "did not end within 3 s: it hangs at __init__.py:2" in text
    assert len(text.strip().splitlines()) == 1


def test_base_classes_are_found_beside_the_extension(tmp_path: Path) -> None:
    """An extension that needs ten_ai_base has it from the app, or an error."""
    packages = tmp_path / "app" / "ten_packages"
    base = packages / "system" / "ten_ai_base" / "interface" / "ten_ai_base"
    base.mkdir(parents=True)
    (base / "__init__.py").write_text("from ten_runtime import AsyncExtension")
    init = ENDING.replace(
        "from ten_runtime import (",
        "import ten_ai_base\nfrom ten_runtime import (",
    )
    inside = packages / "extension" / "other_avatar"
    outside = tmp_path / "other_avatar"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        write_extension(folder, init)
    (base.parents[1] / "requirements.txt").write_text("pytest>=1")
    assert environment.requirements_of(inside, packages) == [
        base.parents[1] / "requirements.txt"
    ]
    rule = ("--rule", "answers_unknown_commands")
    code, text = guard(outside, *rule)
    assert code == UNUSABLE
    assert "it needs ten_ai_base: name a TEN app's ten_packages" in text
    assert guard(inside, *rule)[0] == 0
    assert guard(outside, *rule, "--ten-packages", packages)[0] == 0


# Standing alone


def test_a_copy_of_the_folder_runs(tmp_path: Path) -> None:
    """By its own command, and as TEN calls a guarder."""
    shutil.copytree(SUITE, tmp_path / "avatar_guarder")
    configs = tmp_path / "of an app" / "configs"
    shutil.copytree(HONEST.config_dir or tmp_path, configs)
    (configs.parent / "conftest.py").write_text("raise RuntimeError")
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(package.ROOT / "devkit"),
    }
    honest = tmp_path / "avatar_guarder" / "mutants" / "honest"
    for command in (
        [
            *(sys.executable, "-m", "avatar_guarder", honest),
            *("--vendor", "toy", "--rule", "sends_speech_unchanged"),
        ],
        [
            tmp_path / "avatar_guarder" / "tests" / "bin" / "start",
            *("--extension_name", HONEST.addon, "--folder", honest),
            *("--config_dir", configs, "--rules", "shapes_errors"),
        ],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_pytest_survives_a_worker_that_dies(ending: runner.Subject) -> None:
    """Also where no command of the suite's own calls it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q"),
            *("-c", SUITE / "tests" / "pytest.ini", SUITE / "tests"),
            f"--extension_name={ending.addon}",
            f"--folder={ending.folder}",
            "--rules=answers_flush_while_connecting,answers_unknown_commands",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed, 1 skipped" in done.stdout, (
        done.stdout + done.stderr
    )


# Documents


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
    code = [x for x in text.splitlines() if x and not x.startswith("#")]
    assert len(code) <= 100
