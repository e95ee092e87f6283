#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Imports an extension from a folder, as the runtime does from an app's."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = "ten_packages.extension"
AI_BASE = "ten_ai_base"


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


def read_api(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's api, with the interfaces that it imports."""
    api = manifest.get("api")
    merged: dict[str, Any] = dict(api) if isinstance(api, dict) else {}
    imports = merged.get("interface")
    for entry in imports if isinstance(imports, list) else []:
        path = folder / str(entry.get("import_uri", ""))
        try:
            other = read_object(path)
        except Unusable:
            continue  # TEN resolves it when the app is installed
        for direction, messages in other.items():
            if isinstance(messages, list):
                merged[direction] = [*(merged.get(direction) or []), *messages]
    return merged


def find_ten_packages(folder: Path) -> Path | None:
    """Return the `ten_packages` that an extension's folder belongs to."""
    candidates = [
        *(parent for parent in folder.parents if parent.name == "ten_packages"),
        folder / ".ten" / "app" / "ten_packages",
    ]
    return next((path for path in candidates if path.is_dir()), None)


def interfaces(ten_packages: Path | None) -> list[Path]:
    """Return the folders that a TEN app adds to Python's path, without the
    runtime's."""
    if ten_packages is None:
        return []
    return sorted(
        path
        for path in (ten_packages / "system").glob("*/interface")
        if path.parent.name != "ten_runtime_python"
    )


def load_addon(folder: Path, name: str) -> ModuleType:
    """Import the package, which registers its addon, and return it.

    A folder without `__init__.py` is a namespace package. An exception of
    the import is passed on.
    """
    full_name = f"{PACKAGES}.{name}"
    parent = ""
    for part in PACKAGES.split("."):
        parent = f"{parent}.{part}" if parent else part
        if parent not in sys.modules:
            module = ModuleType(parent)
            module.__path__ = []
            sys.modules[parent] = module
    init = folder / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(
            full_name, init, submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = package
        spec.loader.exec_module(package)
    else:
        package = ModuleType(full_name)
        package.__path__ = [str(folder)]
        sys.modules[full_name] = package
    if (folder / "addon.py").is_file():
        importlib.import_module(f"{full_name}.addon")
    return package


def hint(error: BaseException) -> str:
    """Return a hint about an import error, "" if there is none."""
    missing = getattr(error, "name", None) or ""
    if isinstance(error, ImportError) and missing.split(".")[0] == AI_BASE:
        return (
            "; it needs ten_ai_base: name a TEN app's ten_packages with "
            "--ten-packages DIR"
        )
    return ""
