#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""A pytest plugin: holds mutants to rules, each pair in its own process.

`--matrix` names a JSON file: mutant -> rules.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ..isolation import key_of


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", type=Path, help="JSON: mutant -> rules.")


@pytest.fixture(autouse=True)
def mutant(request: pytest.FixtureRequest) -> str:
    """The mutant that the process of this test has."""
    return request.param


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("rule")
    assert marker is not None
    plan: Any = metafunc.config.getoption("--matrix")
    matrix = json.loads(plan.read_text())
    mutants = [name for name in matrix if marker.args[0] in matrix[name]]
    metafunc.parametrize("mutant", mutants, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A rule that is asked of no mutant makes one test without a mutant.
    items[:] = [item for item in items if key_of(item)[0]]
