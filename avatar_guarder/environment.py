#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""An interpreter with the requirements of an extension."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Collection, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from .loader import Unusable

SUITE_REQUIREMENTS = ("pytest>=8",)
VENDOR_REQUIREMENTS = {
    "spatius": ("aiohttp>=3.9",),
    "heygen": ("aiohttp>=3.9",),
}
COMPLETE = "complete"
"""A file in an environment whose installation has come to its end."""


def unmet(requirements: Path) -> list[str]:
    """Return the lines of requirements.txt that are not installed here."""
    if not requirements.is_file():
        return []
    text = requirements.read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not _is_met(line)]


def requirements_of(folder: Path, ten_packages: Path | None) -> list[Path]:
    """Return the requirements files of an extension and of ten_ai_base."""
    paths = [folder / "requirements.txt"]
    if ten_packages is not None:
        base = ten_packages / "system" / "ten_ai_base"
        paths += [base / "requirements.txt"]
    return [path for path in paths if path.is_file()]


def python_for(
    name: str, folder: Path, vendor: str, ten_packages: Path | None = None
) -> str:
    """Return the interpreter for an extension's folder.

    This one where it has all that is required; otherwise that of an
    environment of its own, made on first use. Raises `Unusable`.
    """
    files = requirements_of(folder, ten_packages)
    if not any(unmet(path) for path in files):
        return sys.executable
    own = (*SUITE_REQUIREMENTS, *VENDOR_REQUIREMENTS.get(vendor, ()))
    key = hashlib.sha256(repr((own, sys.version)).encode())
    for path in files:
        key.update(path.read_bytes())
    home = _cache() / f"{name}-{key.hexdigest()[:12]}"
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (home / COMPLETE).exists():
        return str(python)
    shutil.rmtree(home, ignore_errors=True)  # an installation that was cut
    try:
        venv.create(home, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unusable(f"no environment can be made in {home}: {error}") from (
            error
        )
    _install(python, files, own)
    (home / COMPLETE).touch()
    return str(python)


def _install(python: Path, files: Sequence[Path], own: Sequence[str]) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    named = [part for path in files for part in ("-r", str(path))]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", *named, *own],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        names = " and ".join(str(path) for path in files)
        raise Unusable(f"{names} cannot be installed: {lines[-1]}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "avatar_guarder")


def _is_met(line: str) -> bool:
    try:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return True
        version = importlib.metadata.version(wanted.name)
    except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
        return False
    return wanted.specifier.contains(version, prereleases=True) and all(
        _is_met(line.partition(";")[0])
        for line in importlib.metadata.requires(wanted.name) or []
        if _is_of_extras(line, wanted.extras)
    )


def _is_of_extras(line: str, extras: Collection[str]) -> bool:
    """Whether a line of a package's metadata is for one of these extras."""
    marker = Requirement(line).marker
    return marker is not None and any(
        marker.evaluate({"extra": extra}) and "extra" in str(marker)
        for extra in extras
    )
