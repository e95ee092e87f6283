"""Python started in the package's folder works, though token.py stands there.

Each command runs in the repository's root, where Python finds the package's
token.py in place of the standard library's.
"""

import ensurepip
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The imports of a .pth file of the environment come before the root is
# searched, and may hide that the root's token.py is found: -S has none.
MODES = pytest.mark.parametrize("mode", [(), ("-S",)], ids=["", "-S"])


def run(
    *command: "str | Path", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command in the root, as a shell that sets nothing does."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON")
    }
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,  # making an environment takes its time
    )


def python(
    *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, *arguments, **environment)


def in_venv(folder: Path) -> Path:
    """Return the Python of the environment in `folder`."""
    if sys.platform == "win32":
        return folder / "Scripts" / "python.exe"
    return folder / "bin" / "python"


def test_root_comes_before_the_standard_library():
    """Python finds the root's token.py first: the guard is needed."""
    done = python(
        "-S",
        "-c",
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "assert 'token' not in sys.modules\n"
        "print(PathFinder.find_spec('token').origin)",
    )
    assert Path(done.stdout.strip()).resolve() == ROOT / "token.py"


@MODES
@pytest.mark.parametrize("tool", ["pip", "pytest"])
def test_tool_runs(mode, tool):
    """`python -m` of a tool works as elsewhere."""
    packages = {"PYTHONPATH": sysconfig.get_path("purelib")} if mode else {}
    done = python(*mode, "-m", tool, "--version", **packages)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).startswith(f"{tool} ")


@MODES
def test_venv_is_made(tmp_path, mode):
    """`python -m venv` makes an environment whose Python runs here too."""
    folder = tmp_path / "venv"
    done = python(*mode, "-m", "venv", "--without-pip", str(folder))
    assert done.returncode == 0, done.stderr
    done = run(in_venv(folder), "-c", "import inspect")
    assert done.returncode == 0, done.stderr


def test_pip_of_a_new_environment_runs():
    """As `python -m venv` starts it: from its wheel, in a script of -c."""
    places = [Path(ensurepip.__file__).parent / "_bundled"]
    if packaged := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        places.append(Path(packaged))
    wheels = [file for place in places for file in place.glob("pip-*.whl")]
    if not wheels:
        pytest.skip("needs the wheel of ensurepip")
    done = python(
        "-c",
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(wheels[0])!r})\n"
        "sys.argv[1:] = ['--version']\n"
        "runpy.run_module('pip', run_name='__main__', alter_sys=True)",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pip ")


USERS_OF_TOKEN = (
    "inspect",
    "tokenize",
    "token",
    "dataclasses",
    "linecache",
    "traceback",
    "asyncio",
    "pdb",
    "unittest",
    "logging",
    "ensurepip",
    "venv",
)


@MODES
def test_modules_are_imported(mode):
    """Each of the standard library's users of token, as if it were the first
    import."""
    done = python(
        *mode,
        "-c",
        "import sys, importlib\n"
        "begin = set(sys.modules)\n"
        f"for name in {USERS_OF_TOKEN}:\n"
        "    importlib.import_module(name)\n"
        "    for loaded in set(sys.modules) - begin:\n"
        "        del sys.modules[loaded]\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@MODES
def test_token_is_the_standard_librarys(mode):
    """`import token` gives the standard library's module, in full."""
    done = python(
        *mode,
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


@MODES
def test_source_is_tokenised(mode):
    """The standard library's users of its token work."""
    done = python(*mode, "-m", "tokenize", "addon.py")
    assert done.returncode == 0, done.stderr
    assert "NAME" in done.stdout


def test_both_tokens_live_in_one_process():
    """The package's own token.py is still the package's."""
    done = python(
        "-c",
        "import inspect, token\n"
        "from devkit import package\n"
        "package.find()\n"
        "from spatius_avatar_python import token as ours\n"
        "assert callable(ours.sign) and token is not ours\n"
        "assert token.tok_name",
    )
    assert done.returncode == 0, done.stderr
