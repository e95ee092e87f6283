#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The command line: hold an avatar extension to the rules."""

import argparse
import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cases, environment, loader, report, runner, vendor
from .rules import RULES

KEPT, BROKEN, UNUSABLE = 0, 1, 2
"""Exit codes."""

CONFIGS = Path(__file__).resolve().parent / "configs"
COLORS = {runner.BROKEN: "31", runner.KEPT: "32"}
LEAST_COLUMNS = 60
INDENT: Any = {"initial_indent": " " * 8, "subsequent_indent": " " * 8}


def parser(
    program: str, *, has_default: bool = False
) -> argparse.ArgumentParser:
    """Return the parser of the command `program`."""
    made = argparse.ArgumentParser(
        prog=program,
        description="Hold a TEN avatar extension to the rules of the "
        "conformance suite. Exit code: 0 no rule is broken, 1 some are, 2 the "
        "extension cannot be tested.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?" if has_default else None,
        help="the extension's folder",
    )
    add(
        "--config",
        metavar="DIR",
        type=Path,
        help="a folder with one property_<case>.json for each case; otherwise "
        "the extension's tests/configs, or that of the chosen vendor",
    )
    add(
        "--vendor",
        metavar="NAME",
        help="the fake for tier 2: spatius, heygen, toy, or a .py file",
    )
    add(
        "--ten-packages",
        metavar="DIR",
        type=Path,
        help="the ten_packages of a TEN app, for an extension that needs "
        "ten_ai_base; one that the extension lies in is found",
    )
    add(
        "--rule",
        metavar="NAME",
        action="append",
        dest="rules",
        help="only this rule; repeatable",
    )
    add(
        "--jobs",
        metavar="N",
        type=_positive,
        default=runner.JOBS,
        help="how many tests run at a time (default: %(default)s)",
    )
    add(
        "--limit",
        metavar="S",
        type=_positive,
        default=runner.LIMIT_S,
        help="seconds after which a test is ended (default: %(default)s; the "
        "slow ones have three times as long)",
    )
    add("--json", metavar="FILE", type=Path, help="write the verdicts")
    add("--html", metavar="FILE", type=Path, help="write them as a page")
    add(
        "--rules-table",
        action="store_true",
        help="print the rules as tables of Markdown and end",
    )
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: str = "python -m avatar_guarder",
    own: runner.Subject | None = None,
) -> int:
    """Run the command and return its exit code.

    `own` is tested where no folder is given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--rules-table" in given:
        sys.stdout.write(report.rules_table())
        return KEPT
    try:
        options = parser(program, has_default=own is not None).parse_args(given)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        return _test(options, own)
    except (loader.Unusable, OSError) as error:
        print(_line(str(error), sys.stderr, "31"), file=sys.stderr)
        return UNUSABLE


def _test(options: argparse.Namespace, own: runner.Subject | None) -> int:
    rules = list(dict.fromkeys(options.rules or RULES))
    for name in rules:
        if name not in RULES:
            raise loader.Unusable(f"there is no rule {name}")
    for path in (options.json, options.html):
        if path is not None:
            try_to_write(path)
    subject = subject_of(options, own)
    done: list[str] = []

    def note(name: str) -> None:
        done.append(name)
        if sys.stderr.isatty():
            text = f"{len(done)} of {len(rules)} rules: {name}"
            print(f"\r\x1b[K{text[:79]}", end="", file=sys.stderr, flush=True)

    try:
        verdicts = runner.run(
            subject,
            rules,
            jobs=options.jobs,
            limit_s=options.limit,
            on_done=note,
        )
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    about = report.About.of(subject)
    if options.json is not None:
        options.json.write_text(report.as_json(about, verdicts))
    if options.html is not None:
        options.html.write_text(report.as_html(about, verdicts))
    for verdict in verdicts:
        if verdict.rule == "loads" and verdict.outcome == runner.BROKEN:
            hangs = verdict.how.startswith("did not end")
            raise loader.Unusable(
                f"the import of {subject.folder} {verdict.how}"
                if hangs
                else verdict.how
            )
    print_table(about, verdicts, subject)
    broken = any(verdict.outcome == runner.BROKEN for verdict in verdicts)
    return BROKEN if broken else KEPT


def subject_of(
    options: argparse.Namespace, own: runner.Subject | None
) -> runner.Subject:
    """Return the subject of the test. Raises `Unusable`."""
    folder = options.folder.resolve() if options.folder else None
    if folder is None:
        assert own is not None
        folder = own.folder
    manifest = loader.read_manifest(folder)
    chosen = options.vendor
    if chosen is None:
        is_own = own is not None and folder == own.folder
        chosen = own.vendor if is_own and own is not None else "none"
    if chosen != "none":
        vendor.check_vendor(chosen)
        if chosen not in vendor.BUILT_IN:
            chosen = str(Path(chosen).resolve())
    config = options.config
    if config is None:
        usual = (folder / "tests" / "configs", CONFIGS / Path(chosen).stem)
        config = next((path for path in usual if path.is_dir()), None)
    if config is not None:
        cases.check_folder(config)
        config = config.resolve()
    packages = options.ten_packages
    if packages is not None and not packages.is_dir():
        raise loader.Unusable(f"{packages} is no folder")
    packages = packages or loader.find_ten_packages(folder)
    subject = runner.Subject(
        folder,
        manifest["name"],
        config,
        chosen,
        ten_packages=packages and packages.resolve(),
    )
    python = environment.python_for(
        subject.addon, folder, chosen, subject.ten_packages
    )
    return dataclasses.replace(subject, python=python)


def try_to_write(path: Path) -> None:
    """Raise `Unusable` where `path` cannot become a file."""
    is_new = not path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise loader.Unusable(
            f"{path} cannot be written: {error.strerror}"
        ) from error
    if is_new:
        path.unlink()


def print_table(
    about: report.About,
    verdicts: Sequence[runner.Verdict],
    subject: runner.Subject,
) -> None:
    """Print one line for each rule, the broken ones first."""
    columns = shutil.get_terminal_size((80, 24)).columns
    columns = max(LEAST_COLUMNS, columns)
    print(f"{about.extension} {about.version}, {about.runtime}, {about.date}")
    print(f"configuration: {about.configuration}; vendor: {about.vendor}\n")
    for verdict in report.ordered(verdicts):
        if verdict.outcome not in COLORS:
            continue
        start = f"{verdict.outcome:<7} {verdict.rule}"
        text = f"{start}: {verdict.how}" if verdict.how else start
        if len(text) > columns:
            # The cause has a line of its own, as much of it as fits.
            print(_line(start, sys.stdout, COLORS[verdict.outcome]))
            print(_cut(f"        {verdict.how}", columns))
        else:
            print(_line(text, sys.stdout, COLORS[verdict.outcome]))
    for (outcome, how), rules in report.grouped(verdicts).items():
        print(_line(_cut(f"\n{outcome}: {how}", columns), sys.stdout, "2"))
        print(textwrap.fill(", ".join(rules), columns, **INDENT))
    print()
    unused = (
        cases.unused_files(subject.config_dir) if subject.config_dir else []
    )
    if names := ", ".join(path.name for path in unused):
        print(f"Files of no case, which were not used: {names}.")
    if subject.config_dir is None:
        print("The extension ran without a configuration: see --config.")
    if subject.vendor == "none":
        print("Tier 2 needs a recording vendor: see --vendor.")
    print(report.summary(verdicts))


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else text[: columns - 3] + "..."


def _line(text: str, stream: object, color: str) -> str:
    is_terminal = getattr(stream, "isatty", lambda: False)()
    return f"\x1b[{color}m{text}\x1b[0m" if is_terminal else text
