"""The packages that a graph's app consists of, as far as they lie beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

from .json_file import FileError, read_json
from .tree import Tree, as_object, objects

_LEVELS_ABOVE = 4
"""How far above an app TEN's repository keeps the packages of all its apps."""

_EXTENSIONS = Path("ten_packages/extension")


def folder_of(addon: str, app_dir: Path) -> Path | None:
    """Return the folder of the package that makes `addon`, None without one.

    In the app, where its manifest.json says, or in a ten_packages above.
    """
    if not addon or addon != Path(addon).name or "\0" in addon:
        return None
    return next(
        (path for path in _candidates(addon, app_dir) if os.path.isdir(path)),
        None,
    )


def own_properties(addon: str, app_dir: Path) -> Tree:
    """Return the package's property.json, {} if TEN would not read it."""
    folder = folder_of(addon, app_dir)
    try:
        return as_object(read_json(folder / "property.json")) if folder else {}
    except FileError:
        return {}


def check_dependencies(name: str, app_dir: Path) -> list[str]:
    """Return the error about an app that does not depend on the package."""
    path = app_dir / "manifest.json"
    if not os.path.isfile(path):
        return []
    try:
        manifest = as_object(read_json(path))
    except FileError as error:
        return [str(error)]
    if manifest.get("type") != "app":
        return []
    for dependency in objects(manifest.get("dependencies")):
        if dependency.get("name") == name:
            return []
        given = dependency.get("path")
        if isinstance(given, str) and _leads_to(app_dir / given, name):
            return []
    return [
        f"{path}: the app does not depend on {name}, so TEN would not find the "
        "addon; add to its dependencies: "
        f'{{"path": "../../../{_EXTENSIONS}/{name}"}}, or the path at which '
        "the package is"
    ]


def _candidates(addon: str, app_dir: Path) -> Iterator[Path]:
    yield app_dir / _EXTENSIONS / addon
    try:
        manifest = as_object(read_json(app_dir / "manifest.json"))
    except FileError:
        manifest = {}
    for dependency in objects(manifest.get("dependencies")):
        given = dependency.get("path")
        if isinstance(given, str) and Path(given).name == addon:
            yield app_dir / given
    above = Path(os.path.abspath(app_dir)).parents
    for parent in above[:_LEVELS_ABOVE]:
        yield parent / _EXTENSIONS / addon


def _leads_to(folder: Path, name: str) -> bool:
    """Return whether `folder` is the package, under any name of its own."""
    if Path(os.path.normpath(folder)).name == name:
        return True
    try:
        manifest = as_object(read_json(folder / "manifest.json"))
    except FileError:
        return False
    return manifest.get("name") == name
