"""Imports an extension from a folder, as the runtime does from an app's."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = "ten_packages.extension"


class Unusable(ValueError):
    """The folder, or a file in it, cannot be used; the text is one line."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises `Unusable`."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unusable(f"{path} does not exist") from None
    except json.JSONDecodeError as error:
        # Not the line itself: a secret may stand in it.
        raise Unusable(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: "
            f"{error.msg}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from None
    if not isinstance(tree, dict):
        raise Unusable(f"{path} holds no JSON object")
    return tree


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an extension's folder. Raises `Unusable`."""
    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder")
    manifest = read_object(folder / "manifest.json")
    if manifest.get("type") != "extension":
        raise Unusable(f"{folder / 'manifest.json'} is of no extension")
    name = manifest.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise Unusable(
            f"{folder / 'manifest.json'} has no name that can be imported"
        )
    return manifest


def check_configs(config_dir: Path) -> None:
    """Read each case. Raises `Unusable`."""
    if not config_dir.is_dir():
        raise Unusable(f"{config_dir} is no folder")
    for path in sorted(config_dir.glob("property_*.json")):
        tree = read_object(path)
        if not isinstance(tree.get("params", {}), dict):
            raise Unusable(f"{path}: params is no JSON object")


def load_addon(folder: Path, name: str) -> None:
    """Import the package, which registers its addon. Raises `Unusable`."""
    full_name = f"{PACKAGES}.{name}"
    parent = ""
    for part in PACKAGES.split("."):
        parent = f"{parent}.{part}" if parent else part
        if parent not in sys.modules:
            module = ModuleType(parent)
            module.__path__ = []
            sys.modules[parent] = module
    spec = importlib.util.spec_from_file_location(
        full_name,
        folder / "__init__.py",
        submodule_search_locations=[str(folder)],
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = package
    try:
        spec.loader.exec_module(package)
        if (folder / "addon.py").is_file():
            importlib.import_module(f"{full_name}.addon")
    except BaseException as error:  # SystemExit too: the code is foreign
        raise Unusable(
            f"the addon in {folder} does not load: "
            f"{type(error).__name__}: {error}"
        ) from error
