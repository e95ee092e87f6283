"""Puts the package and, where TEN is absent, its stand-in within reach."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from devkit import package  # noqa: E402

# pytest imports the root's __init__.py under the folder's name, or as
# __init__ where that is no identifier: it must find the same package there.
for _alias in (ROOT.name, "__init__"):
    sys.modules[_alias] = package.load()
