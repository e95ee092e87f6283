"""What `tman package` and pip take of the repository: the product, no more."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = json.loads((ROOT / "manifest.json").read_text())
PYPROJECT = (ROOT / "pyproject.toml").read_text()

MAX_FILES = 60
MAX_KIB = 400

NOT_PYTHON = {
    "manifest.json",
    "property.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "requirements.txt",
    "requirements-spatialreal.txt",
    "requirements-spatius.txt",
}


def included() -> list[PurePosixPath]:
    """Return the files that package.include matches: as tman reads them, `*`
    crosses no folder, and hidden files are left out."""
    patterns = MANIFEST["package"]["include"]
    assert not [pattern for pattern in patterns if "**" in pattern]
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(
        PurePosixPath(path.relative_to(ROOT).as_posix()) for path in found
    )


def modules() -> list[PurePosixPath]:
    return [path for path in included() if path.suffix == ".py"]


def test_package_holds_the_product_only():
    """Neither tools nor tests nor documents of the repository ship."""
    others = {str(path) for path in included() if path.suffix != ".py"}
    assert others == NOT_PYTHON
    assert {str(path.parent) for path in modules()} == {
        ".",
        "avatar",
        "messages",
        "session",
        "settings",
        "speech",
    }


def test_package_is_small():
    """A folder that slips in shows."""
    size_kib = sum((ROOT / path).stat().st_size for path in included()) / 1024
    print(f"{len(included())} files, {size_kib:.0f} KiB")
    assert len(included()) <= MAX_FILES
    assert size_kib <= MAX_KIB


def imported(path: PurePosixPath) -> list[PurePosixPath]:
    """Return the modules that a module of the package imports from it."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        if node.module:
            folder = folder.joinpath(*node.module.split("."))
        module = PurePosixPath(f"{folder}.py")
        if (ROOT / module).exists():
            found.append(module)
        else:
            found.append(folder / "__init__.py")
            found += [folder / f"{alias.name}.py" for alias in node.names]
    # The others are names that a folder's __init__ defines.
    return [module for module in found if (ROOT / module).exists()]


def test_every_imported_module_is_included():
    """Also those that are imported within a function."""
    packed = set(modules())
    missing = {
        f"{path} imports {module}"
        for path in packed
        for module in imported(path)
        if module not in packed
    }
    assert missing == set()


def test_package_imports_where_nothing_else_is(tmp_path):
    """In a TEN app the package is a part of ten_packages.extension."""
    pytest.importorskip("ten_runtime")
    folder = tmp_path / "ten_packages/extension/spatius_avatar_python"
    for path in included():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((ROOT / path).read_bytes())
    name = "ten_packages.extension.spatius_avatar_python"
    names = [
        ".".join([name, *path.with_suffix("").parts]) for path in modules()
    ]
    runtime = Path(sys.modules["ten_runtime"].__file__ or "").parents[1]
    code = (
        f"import importlib, sys; sys.path[:0] = [{str(tmp_path)!r}]; "
        f"sys.path.append({str(runtime)!r})\n"
        f"for name in {names!r}: importlib.import_module(name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["ten_runtime", "agora_token_builder"])
def test_import_outside_ten_is_explained(tmp_path, missing):
    """TEN is missing; another module is named by Python itself."""
    code = (
        "import importlib.util as u, sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {missing!r}:\n"
        "            raise ModuleNotFoundError('No module', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        f"sys.path.append({str(ROOT / 'devkit')!r})\n"
        "s = u.spec_from_file_location('spatius_avatar_python', "
        f"{str(ROOT / '__init__.py')!r},"
        f" submodule_search_locations=[{str(ROOT)!r}])\n"
        "m = sys.modules[s.name] = u.module_from_spec(s)\n"
        "s.loader.exec_module(m)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    is_ten = missing == "ten_runtime"
    assert ("is a TEN extension" in done.stderr) is is_ten
    assert done.returncode == (1 if is_ten else done.returncode)


def test_package_is_typed():
    """A type checker of an installed package reads its annotations."""
    assert (ROOT / "py.typed").is_file()
    assert "py.typed" in PYPROJECT


def test_pip_installs_the_same_modules():
    """pyproject.toml names the folders that hold them."""
    (listed,) = re.findall(r"^packages = \[(.*?)\]", PYPROJECT, re.M | re.S)
    folders = {path.parent for path in modules()}
    name = MANIFEST["name"]
    expected = {".".join([name, *folder.parts]) for folder in folders}
    assert set(re.findall(r'"(.+?)"', listed)) == expected


def test_version_is_the_same_everywhere():
    """In manifest.json, pyproject.toml and at the top of CHANGELOG.md."""
    changes = (ROOT / "CHANGELOG.md").read_text()
    versions = {
        MANIFEST["version"],
        re.findall(r'^version = "(.+)"', PYPROJECT, re.M)[0],
        re.findall(r"^## ([0-9.]+)", changes, re.M)[0],
    }
    assert len(versions) == 1


def test_texts_of_the_manifest_are_in_the_package():
    """The store's page is read from the package."""
    for field in ("display_name", "description", "readme"):
        for text in MANIFEST[field]["locales"].values():
            assert text.get("content") or (
                PurePosixPath(text["import_uri"]) in included()
            )
