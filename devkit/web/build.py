"""Builds examples/web-client with npm."""

import shutil
import subprocess
from pathlib import Path

from .. import package

CLIENT = package.ROOT / "examples" / "web-client"
VENDOR_PACKAGES = (
    "@spatius/avatarkit",
    "@spatius/avatarkit-rtc",
    "agora-rtc-sdk-ng",
)
"""Packages that the client imports, and package.json does not list: not every
npm registry has them."""


class BuildError(RuntimeError):
    """The client cannot be built; the text is one sentence."""


def build(client: Path, to: Path) -> None:
    """Write the client as a website to the folder `to`.

    Installs missing packages into `client`/node_modules. Raises `BuildError`.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError(
            "The web client needs Node.js 20 or later with npm, and npm was "
            "not found on PATH."
        )
    modules = client / "node_modules"
    if not (modules / "vite").is_dir():
        _install(npm, client, "what its package.json lists")
    missing = [
        name for name in VENDOR_PACKAGES if not (modules / name).is_dir()
    ]
    if missing:
        _install(npm, client, ", ".join(missing), *missing)
    done = _npm(npm, client, "run", "build", "--", "--outDir", str(to))
    if done.returncode:
        raise BuildError(f"The web client cannot be built: {_problem(done)}")


def _install(npm: str, client: Path, what: str, *names: str) -> None:
    done = _npm(
        npm, client, "install", "--no-save", "--no-package-lock", "--no-audit",
        "--no-fund", *names,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(
            f"The web client needs {what}, which npm cannot install from its "
            f"registry here: {_problem(done)}"
        )


def _npm(
    npm: str, client: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [npm, *arguments],
        cwd=client,
        capture_output=True,
        text=True,
        errors="replace",
    )


def _problem(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the first line of npm's output that tells something."""
    lines = [
        line.removeprefix("npm error").removeprefix("npm ERR!").strip()
        for line in (done.stderr + done.stdout).splitlines()
    ]
    told = [one for one in lines if one and not one.startswith(("code", ">"))]
    return told[0].rstrip(".") if told else f"exit code {done.returncode}"
