"""Python started in the package's folder works, though token.py stands there.

Each command runs in the repository's root, where Python finds the package's
token.py in place of the standard library's.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in the root, as a shell that knows no PYTHONPATH does."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONSTARTUP")
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_root_hides_the_standard_library():
    """The root's token.py is what Python finds first: the guard is needed."""
    shown = python("-c", "import sys; print(sys.path[0] == '')")
    assert shown.stdout == "True\n"
    assert (ROOT / "token.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-m", "pip", "--version"), "pip "),
        (("-m", "pytest", "--version"), "pytest "),
    ],
)
def test_module_runs(arguments, says):
    """`python -m` of a tool does what it does elsewhere."""
    done = python(*arguments)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).startswith(says)


def test_venv_is_made(tmp_path):
    """`python -m venv` makes an environment whose Python runs here too."""
    done = python("-m", "venv", "--without-pip", str(tmp_path / "venv"))
    assert done.returncode == 0, done.stderr
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    interpreter = tmp_path / "venv" / scripts / "python"
    subprocess.run(
        [interpreter, "-c", "import inspect"], cwd=ROOT, check=True, timeout=60
    )


@pytest.mark.parametrize(
    "module",
    [
        "inspect",
        "tokenize",
        "dataclasses",
        "linecache",
        "traceback",
        "asyncio",
        "pdb",
        "unittest",
        "logging",
    ],
)
def test_module_is_imported(module):
    """The standard library's users of token find all they need."""
    done = python("-c", f"import {module}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_token_is_the_standard_librarys():
    """`import token` gives the standard library's module, in full."""
    done = python(
        "-c",
        "import os, sys, token\n"
        "assert token is sys.modules['token']\n"
        "assert token.__name__ == token.__spec__.name == 'token'\n"
        "assert os.path.dirname(token.__file__) == os.path.dirname(os.__file__)"
        "\n"
        "assert token.tok_name[token.NUMBER] == 'NUMBER'\n"
        "assert not hasattr(token, 'sign')",
    )
    assert done.returncode == 0, done.stderr


def test_source_is_tokenised():
    """What the standard library makes of its token works."""
    done = python("-m", "tokenize", "addon.py")
    assert done.returncode == 0, done.stderr
    assert "NAME" in done.stdout


def test_both_tokens_live_in_one_process():
    """The package's own token.py is still the package's."""
    done = python(
        "-c",
        "import inspect, token\n"
        "from devkit import package\n"
        "package.load()\n"
        "from spatius_avatar_python import token as ours\n"
        "assert callable(ours.sign) and token is not ours\n"
        "assert token.tok_name",
    )
    assert done.returncode == 0, done.stderr
