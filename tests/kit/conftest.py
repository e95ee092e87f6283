"""Marks the tests that drive a browser, and begins with the longest."""

import pytest

LONGEST = ("test_guard.py", "test_benchmarks.py", "test_demo.py")
"""Begun last, they would run alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "driver" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: item.path.name not in LONGEST)
