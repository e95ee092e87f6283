"""A pytest plugin: holds mutants to rules, all in one process.

For runtimes that raise where an extension would end the process, as the
stand-in does. `--matrix` names a JSON file: mutant -> rules.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..collector import mutant_of


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", type=Path, help="JSON: mutant -> rules.")


@pytest.fixture(autouse=True)
def mutant(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have the honest avatar's addon make this mutant."""
    monkeypatch.setenv("AVATAR_MUTANT", request.param)
    yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("rule")
    assert marker is not None
    plan: Any = metafunc.config.getoption("--matrix")
    matrix = json.loads(plan.read_text())
    mutants = [name for name in matrix if marker.args[0] in matrix[name]]
    metafunc.parametrize("mutant", mutants, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A rule that is asked of no mutant makes one test without a mutant.
    items[:] = [item for item in items if mutant_of(item)]
    items.sort(key=mutant_of)
