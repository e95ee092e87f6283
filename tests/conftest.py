"""Puts the package and, where TEN is absent, its stand-in within reach.

The repository's root is the package, and its folder may have any name: it is
loaded here under its own, `spatius_avatar_python`.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "spatius_avatar_python"

sys.path.insert(0, str(ROOT))
if importlib.util.find_spec("ten_runtime") is None:
    sys.path.insert(0, str(ROOT / "devkit"))


def _load_package() -> None:
    if NAME in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    # pytest imports the root's __init__.py under the folder's name, or as
    # __init__ where the folder's name is no identifier.
    for alias in (NAME, ROOT.name, "__init__"):
        sys.modules[alias] = package
    spec.loader.exec_module(package)


_load_package()
