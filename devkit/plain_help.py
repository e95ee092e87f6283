"""Prints a command's help with nothing but Python: `plain_help.py bin/NAME`.

For a checkout whose environment has not been made yet: bin/NAME --help shows
this in place of installing packages first. Not imported by anything.
"""

import ast
import sys
import textwrap
from pathlib import Path

WIDTH = 80
COLUMN = 22


def main() -> None:
    script = Path(sys.argv[1])
    module = Path(__file__).parent / "commands" / script.name.replace("-", "_")
    print(help_of(script, module.with_suffix(".py")), end="")


def help_of(script: Path, module: Path) -> str:
    """Return the help of a command; of its script alone if it has no module."""
    if not module.is_file():
        lines = script.read_text(encoding="utf-8").splitlines()[1:]
        header = [line for line in lines if line.startswith("#")]
        return "\n".join(line[2:] for line in header) + "\n"
    tree = ast.parse(module.read_text(encoding="utf-8"))
    (function,) = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    arguments, options = [], []
    for parameter in function.args.args:
        call = _declaration(parameter.annotation)
        if call is None:
            continue
        text = _keyword(call, "help")
        if call.func.attr == "Argument":  # type: ignore[attr-defined]
            name = _keyword(call, "metavar") or parameter.arg.upper()
            arguments.append((name, text))
        else:
            given = [ast.literal_eval(one) for one in call.args]
            name = given[0] if given else "--" + parameter.arg.replace("_", "-")
            metavar = _keyword(call, "metavar")
            options.append((f"{name} {metavar}".strip(), text))
    options.append(("--help", "Show this message and exit."))
    usage = " ".join(f"[{name}]" for name, _ in arguments)
    parts = [
        f"Usage: bin/{script.name} [OPTIONS] {usage}".rstrip(),
        ast.get_docstring(function) or "",
    ]
    for title, rows in (("Arguments", arguments), ("Options", options)):
        if rows:
            parts.append("\n".join([f"{title}:", *map(_row, rows)]))
    return "\n\n".join(parts) + "\n"


def _declaration(annotation: "ast.expr | None") -> "ast.Call | None":
    """Return the call of typer in `Annotated[type, typer.Option(...)]`."""
    for node in ast.walk(annotation) if annotation else ():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("Argument", "Option")
        ):
            return node
    return None


def _keyword(call: ast.Call, name: str) -> str:
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


def _row(row: "tuple[str, str]") -> str:
    name, text = row
    lead = f"  {name}".ljust(COLUMN)
    if not lead.endswith(" "):
        lead += "\n" + " " * COLUMN
    lines = textwrap.wrap(text, WIDTH - COLUMN) or [""]
    return (lead + ("\n" + " " * COLUMN).join(lines)).rstrip()


if __name__ == "__main__":
    main()
