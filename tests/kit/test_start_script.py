"""tests/bin/start runs what it is given, with TEN's runtime where it is."""

import os
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


def test_the_runtime_of_the_app_comes_first(start):
    """Both of its folders, before anything else on the path."""
    path, _, _ = start()
    runtime = ".ten/app/ten_packages/system/ten_runtime_python"
    assert path.split(":")[:3] == [
        f"{runtime}/lib",
        f"{runtime}/interface",
        ".ten/app",
    ]
