"""tests/bin/start runs its arguments, with TEN's runtime if it is there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(tmp_path):
    """Runs the script in a package of its own with a Python that prints."""
    (tmp_path / "tests" / "bin").mkdir(parents=True)
    (tmp_path / ".ten" / "app").mkdir(parents=True)
    script = shutil.copy(
        ROOT / "tests" / "bin" / "start", tmp_path / "tests/bin"
    )
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH"\necho "$@"\npwd\n')
    python.chmod(0o755)

    def run(*arguments: str) -> list[str]:
        done = subprocess.run(
            [script, *arguments],
            cwd="/",
            env={**os.environ, "PYTHON": str(python)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.splitlines()

    return run


def test_arguments_go_to_pytest_alone(start):
    """A named file is run, and nothing beside it."""
    _, arguments, _ = start("tests/unit/test_speech.py", "-k", "flush")
    assert arguments == "-m pytest tests/unit/test_speech.py -k flush"


def test_everything_is_run_from_the_root(start, tmp_path):
    """Without arguments pytest's testpaths count, which name tests/."""
    _, arguments, folder = start()
    assert arguments == "-m pytest"
    assert Path(folder).resolve() == tmp_path.resolve()
    assert 'testpaths = ["tests"]' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("has_ten_ai_base", [False, True])
def test_the_runtime_of_the_app_comes_first(start, tmp_path, has_ten_ai_base):
    """And TEN's base classes, where the app has them."""
    system = ".ten/app/ten_packages/system"
    wanted = [f"{system}/ten_runtime_python/{s}" for s in ("lib", "interface")]
    if has_ten_ai_base:
        (tmp_path / system / "ten_ai_base").mkdir(parents=True)
        wanted.append(f"{system}/ten_ai_base/interface")
    path, _, _ = start()
    assert path.split(":")[: len(wanted) + 1] == [*wanted, ".ten/app"]


def test_both_runtimes_need_the_same_packages():
    """CONTRIBUTING installs the extra that bin/test needs."""
    extra = re.search(
        r"^need (\w+)", (ROOT / "bin/test").read_text(), re.MULTILINE
    )
    assert extra is not None
    text = (ROOT / "CONTRIBUTING.md").read_text()
    chapter = text.partition("## Under the real TEN runtime")[2]
    installed = re.findall(r"pip install (.+)", chapter.partition("\n## ")[0])
    assert len(installed) == 1
    assert installed[0].startswith(f'--editable ".[{extra[1]}]"')
