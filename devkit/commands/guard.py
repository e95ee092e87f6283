"""Holds an avatar extension to the rules of avatar_guarder."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_guarder import environment, loader, report, runner, vendor
from avatar_guarder.rules import RULES

from .output import try_to_write, why_not_written

HERE = Path(__file__).resolve().parents[2]
CONFIGS = HERE / "avatar_guarder" / "configs"

BROKEN, UNUSABLE = 1, 2

VENDORS = {"spatius_avatar_python": "spatius", "honest_avatar_python": "toy"}
"""The fake that comes with the suite for an extension, by its name."""

STYLES = {
    runner.KEPT: "green",
    runner.BROKEN: "red",
    runner.NOT_APPLICABLE: "dim",
}


def main(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The extension's folder."),
    ] = HERE,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder with one property_<case>.json for each case; "
            "otherwise the extension's tests/configs, or the vendor's own.",
        ),
    ] = None,
    vendor_name: Annotated[
        str | None,
        typer.Option(
            "--vendor",
            metavar="NAME",
            help="The fake for tier 2: spatius, toy, a .py file, or none.",
            show_default="the one that belongs to the extension",
        ),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", metavar="NAME", help="Only this rule; repeatable."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="How many processes share the rules.")
    ] = 2,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the verdicts."),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write them as a page."),
    ] = None,
    rules_table: Annotated[
        bool,
        typer.Option(
            "--rules-table", help="Print docs/conformance.md's table and end."
        ),
    ] = False,
) -> None:
    """Test a TEN avatar extension against the conformance suite.

    Exit code: 0 all rules are kept, 1 some are broken, 2 the extension
    cannot be tested.
    """
    console = Console(highlight=False)
    if rules_table:
        typer.echo(report.rules_table(), nl=False)
        return
    try:
        for name in rules or ():
            if name not in RULES:
                raise loader.Unusable(f"there is no rule {name}")
        for path in (json_file, html_file):
            if path is not None:
                _check_writable(path)
        subject = subject_of(folder.resolve(), config, vendor_name)
        with console.status("Testing ...") as status:
            done: list[runner.Verdict] = []

            def note(verdict: runner.Verdict) -> None:
                done.append(verdict)
                status.update(f"{len(done)} rules done ...")

            verdicts = runner.run(
                subject, rules or tuple(RULES), jobs=jobs, on_verdict=note
            )
        if json_file is not None:
            json_file.write_text(report.as_json(subject, verdicts))
        if html_file is not None:
            html_file.write_text(report.as_html(subject, verdicts))
    except (loader.Unusable, OSError) as error:
        Console(stderr=True, highlight=False).print(
            str(error), style="red", markup=False, soft_wrap=True
        )
        raise typer.Exit(UNUSABLE) from None
    console.print(table(subject, verdicts))
    console.print(report.summary(verdicts))
    if subject.config_dir is None:
        console.print(
            "The extension ran without a configuration. Give one with "
            "--config to test the rules that need it.",
            soft_wrap=True,
        )
    if any(verdict.outcome == runner.BROKEN for verdict in verdicts):
        raise typer.Exit(BROKEN)


def _check_writable(path: Path) -> None:
    try:
        try_to_write(path)
    except (OSError, ValueError) as error:
        raise loader.Unusable(why_not_written(error, path)) from error


def subject_of(
    folder: Path, config: Path | None, vendor_name: str | None
) -> runner.Subject:
    """Return what to test. Raises `Unusable`."""
    manifest = loader.read_manifest(folder)
    name = manifest["name"]
    chosen = vendor_name or VENDORS.get(name, "none")
    if chosen != "none":
        vendor.check_vendor(chosen)
        if chosen not in vendor.BUILT_IN:
            chosen = str(Path(chosen).resolve())
    config = config or next(
        (
            candidate
            for candidate in (
                CONFIGS / VENDORS.get(name, "none"),
                folder / "tests" / "configs",
            )
            if candidate.is_dir()
        ),
        None,
    )
    if config is not None:
        loader.check_configs(config)
    subject = runner.Subject(folder, name, config and config.resolve(), chosen)
    return dataclasses.replace(
        subject, python=environment.python_for(name, folder, chosen)
    )


def table(subject: runner.Subject, verdicts: list[runner.Verdict]) -> Table:
    """Return the verdicts as a table, one row for each rule."""
    made = Table(title=subject.addon, title_justify="left")
    made.add_column("rule", no_wrap=True)
    made.add_column("tier")
    made.add_column("verdict", no_wrap=True)
    made.add_column("how")
    for verdict in verdicts:
        made.add_row(
            verdict.rule,
            str(RULES[verdict.rule].tier),
            Text(verdict.outcome, STYLES[verdict.outcome]),
            Text(verdict.how),
        )
    return made


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="bin/guard")
