"""Marks the tests that drive a browser; an environment for the commands."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, needs_chromium
from checking import Editor

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "driver" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(needs_chromium)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium for all tests of pages."""
    yield from chromium(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    """A correct graph, to put one mistake into."""
    return Editor(tmp_path)


@pytest.fixture
def ready_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let bin/ find all it needs, in the Python of these tests.

    It would make an environment in the checkout, or change the one that the
    caller names.
    """
    venv = tmp_path / "ready venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    # A symlink would not find the packages of the environment it leads to.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    with (ROOT / "pyproject.toml").open("rb") as wanted:
        stamp = subprocess.check_output(["cksum"], stdin=wanted)
    (venv / "installed-dev").write_bytes(stamp)
    monkeypatch.setenv("SPATIUS_AVATAR_VENV", str(venv))
    return venv
