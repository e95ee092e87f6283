"""Loads the package whose repository this is.

The repository's root is the package, and its folder may have any name; here
it is loaded under its own.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .loopback import bypass_proxies

ROOT = Path(__file__).resolve().parent.parent
NAME = "spatius_avatar_python"


def use_ten_runtime() -> None:
    """Put the stand-in for ten_runtime on the path if there is no real one."""
    if importlib.util.find_spec("ten_runtime") is None:
        sys.path.insert(0, str(ROOT / "devkit"))


def find() -> ModuleType:
    """Return the package, whose modules can be imported then.

    Its addon is not: that takes an SDK, and most of a command's start.
    """
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
    return sys.modules[NAME]


def load() -> ModuleType:
    """Return the package, which registers its addon when it is loaded.

    A session of it reaches a local service past any proxy.
    """
    package = find()
    if not hasattr(package, "addon"):
        bypass_proxies()
        use_ten_runtime()
        assert package.__spec__ is not None and package.__spec__.loader
        package.__spec__.loader.exec_module(package)
    return package
