"""Holds an avatar extension to the rules of avatar_guarder."""

from pathlib import Path

import typer

from avatar_guarder import command, runner

from .output import run

HERE = Path(__file__).resolve().parents[2]
OWN = runner.Subject(HERE, "", vendor="spatius")
"""The folder that is tested by default: this package."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def main(context: typer.Context) -> None:
    """Test a TEN avatar extension against the conformance suite."""
    code = command.main(context.args, program="bin/guard", own=OWN)
    raise typer.Exit(code)


if __name__ == "__main__":
    run(app, "bin/guard")
