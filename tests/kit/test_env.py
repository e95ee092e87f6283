"""bin/env.sh makes the virtual environment, in spite of interruptions.

The Python that it is given here makes a folder and installs nothing, and its
pip waits at a gate: no test needs the network.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "awk bash cat chmod cksum cp dirname grep id ln ls mkdir mv readlink rm "
    "sleep"
).split()

FAKE_PYTHON = """#!/usr/bin/env bash
case "$*" in
  *"-m venv "*)
    venv="${@: -1}"
    mkdir -p "$venv/bin" && cp "$0" "$venv/bin/python"
    echo "#!$venv/bin/python" >"$venv/bin/tool"
    echo "command = $venv" >"$venv/pyvenv.cfg" ;;
  *"-m pip install"*)
    echo "$*" >>"$FAKE_LOG"
    trap : INT # as the real one, which ends in words of its own
    if [ -n "${FAKE_GATE:-}" ] && ! cat "$FAKE_GATE"; then
      echo "ERROR: Operation cancelled by user" >&2
      exit 1
    fi
    if [ -n "${FAKE_PIP_EXIT:-}" ]; then echo "ERROR: no network" >&2; fi
    exit "${FAKE_PIP_EXIT:-0}" ;;
  *"import ensurepip"*) exit "${FAKE_ENSUREPIP_EXIT:-0}" ;;
esac
"""

CHECK = (ROOT / "bin" / "check").read_text().splitlines()
COMMAND = "\n".join([*CHECK[:-1], 'echo "ran with $python"', ""])
"""A command of this folder, with another program."""


class Checkout:
    """A folder with one command, and its effects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.venv = self.folder / ".venv"
        self.log = folder / "pip.log"
        self.log.touch()
        self.log.chmod(0o666)
        self.gate = folder / "gate"
        os.mkfifo(self.gate, 0o666)
        self.python = self._script(folder / "python", FAKE_PYTHON)
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "pyproject.toml").write_text("[project]\n")
        shutil.copy(ROOT / "bin" / "env.sh", self.folder / "bin")
        self.command = self._script(self.folder / "bin" / "command", COMMAND)

    @staticmethod
    def _script(path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o755)
        return path

    @property
    def installations(self) -> list[str]:
        return self.log.read_text().splitlines()

    def start(
        self, *arguments: str, user: str | None = None, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start the command, in a process group of its own."""
        return subprocess.Popen(
            [self.command, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHON": str(self.python),
                "FAKE_LOG": str(self.log),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
        )

    def run(
        self, *arguments: str, user: str | None = None, **environment: str
    ) -> tuple[int, str, str]:
        """Run the command; its exit code, output and error output."""
        done = self.start(*arguments, user=user, **environment)
        output, errors = done.communicate(timeout=120)
        return done.returncode, output, errors

    def open_gate(self) -> int:
        """Wait until a pip is at the gate; it goes on when this is closed."""
        return os.open(self.gate, os.O_WRONLY)

    def leftovers(self) -> list[str]:
        """The files in the folder that did not come with it."""
        names = {path.name for path in self.folder.iterdir()}
        return sorted(names - {"bin", "pyproject.toml", ".venv", ".venv.lock"})


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def public_checkout() -> Iterator[Checkout]:
    """One that another user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Checkout(Path(folder))


@pytest.fixture
def few_tools(tmp_path: Path) -> str:
    """PATH without flock, as on macOS."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return str(tools)


@pytest.fixture(params=["flock", "link"])
def path(request: pytest.FixtureRequest, few_tools: str) -> str:
    """PATH with flock, and without."""
    if request.param == "link":
        return few_tools
    if shutil.which("flock") is None:
        pytest.skip("needs flock")
    return os.environ["PATH"]


def other_user(*folders: Path) -> str | None:
    """Return a user who may not write there; None: the own one may not."""
    if os.geteuid() == 0:
        return "nobody"
    for folder in folders:
        folder.chmod(0o555)
    return None


def test_environment_is_made_once(checkout, path):
    """The second run has nothing to do and says nothing."""
    code, output, errors = checkout.run(PATH=path)
    assert code == 0, errors
    assert output == f"ran with {checkout.venv}/bin/python\n"
    assert f"Making {checkout.venv}" in errors
    assert checkout.run(PATH=path) == (0, output, "")
    assert len(checkout.installations) == 1
    assert not checkout.leftovers()


@pytest.mark.parametrize(
    "name",
    sorted({path.name for path in (ROOT / "bin").iterdir()} - {"env.sh"}),
)
def test_help_installs_no_package(tmp_path, few_tools, name):
    """It is printed by any Python, with each option of the command."""
    place = tmp_path / "venv"
    done = subprocess.run(
        [ROOT / "bin" / name, "--help"],
        env={"PATH": few_tools, "SPATIUS_AVATAR_VENV": str(place)}
        | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not place.exists()
    module = ROOT / "devkit" / "commands" / f"{name.replace('-', '_')}.py"
    options = re.findall(
        r'typer\.Option\(\s*"(--[\w-]+)"',
        (module.read_text() if module.exists() else ""),
    )
    assert {option for option in options if option not in done.stdout} == set()
    assert f"bin/{name}" in done.stdout or name == "test"
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_environment_knows_the_place_it_was_moved_to(checkout):
    """Its scripts and its configuration name no folder that is gone."""
    checkout.run()
    for name in ("bin/tool", "pyvenv.cfg"):
        text = (checkout.venv / name).read_text()
        assert str(checkout.venv) in text
        assert ".new" not in text


def test_symlink_from_elsewhere_finds_the_folder(checkout, path, tmp_path):
    """Absolute or relative, through another one, with spaces in the path."""
    place = tmp_path / "my tools"
    (place / "more").mkdir(parents=True)
    links = [place / "first", place / "second", place / "more" / "third"]
    links[0].symlink_to(checkout.command)
    links[1].symlink_to("first")
    links[2].symlink_to("../../checkout/bin/command")
    expected = f"ran with {checkout.venv}/bin/python\n"
    for link in links:
        checkout.command = link
        code, output, errors = checkout.run(PATH=path)
        assert (code, output) == (0, expected), errors


def test_every_command_finds_the_folder_in_the_same_way():
    """Each is a script of its own, and all do the same."""
    finding = "\n".join(CHECK[3:6])
    assert "env.sh" in finding
    for file in (ROOT / "bin").iterdir():
        if file.name != "env.sh":
            assert finding in file.read_text(), file.name


def test_command_works_again_after_ctrl_c(checkout, path):
    """In the middle of an installation; only its own files are removed."""
    (checkout.folder / ".venv.new.1").mkdir()
    stopped = checkout.start(PATH=path, FAKE_GATE=str(checkout.gate))
    gate = checkout.open_gate()
    os.killpg(stopped.pid, signal.SIGINT)
    output, errors = stopped.communicate(timeout=120)
    os.close(gate)
    assert stopped.returncode == 130
    assert errors.splitlines()[2:] == ["stopped"]
    assert output == ""
    assert not checkout.venv.exists()
    assert checkout.leftovers() == [".venv.new.1"]
    assert checkout.run(PATH=path)[0] == 0


def test_run_that_was_killed_is_no_obstacle(checkout, path):
    """Nothing could be put in order; the next run works all the same."""
    killed = checkout.start(PATH=path, FAKE_GATE=str(checkout.gate))
    gate = checkout.open_gate()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=120)
    os.close(gate)
    assert not checkout.venv.exists()
    code, _, errors = checkout.run(PATH=path)
    assert code == 0, errors


def test_two_commands_at_once_work(checkout, path):
    """One installs, the other one waits and says so."""
    first = checkout.start(PATH=path, FAKE_GATE=str(checkout.gate))
    gate = checkout.open_gate()
    second = checkout.start(PATH=path, FAKE_GATE=str(checkout.gate))
    assert second.stderr is not None
    assert "Waiting for another command" in second.stderr.readline()
    os.close(gate)
    for process in (first, second):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert output.startswith("ran with")
    assert len(checkout.installations) == 1
    assert not checkout.leftovers()


def test_failed_installation_is_tried_again(checkout):
    """The reason is pip's; nothing is left of the attempt."""
    code, _, errors = checkout.run(FAKE_PIP_EXIT="1")
    assert code == 1
    assert "ERROR: no network" in errors
    assert "pip could not install what this command needs" in errors
    assert not checkout.venv.exists()
    assert checkout.run()[0] == 0


def test_changed_requirements_are_installed_into_the_environment(checkout):
    """And a failure there removes nothing."""
    checkout.run()
    (checkout.folder / "pyproject.toml").write_text("[project] # changed\n")
    assert checkout.run(FAKE_PIP_EXIT="1")[0] == 1
    assert checkout.venv.is_dir()
    assert checkout.run()[0] == 0
    assert len(checkout.installations) == 3


def test_python_without_venv_is_named_with_the_missing_package(checkout):
    """Debian has it in a package of its own."""
    code, _, errors = checkout.run(FAKE_ENSUREPIP_EXIT="1")
    assert code == 1
    assert "apt-get install python3-venv" in errors
    assert not checkout.leftovers()


def test_folder_that_is_no_environment_is_left_alone(checkout):
    """The command removes no files of others."""
    checkout.venv.mkdir()
    (checkout.venv / "notes").write_text("mine")
    code, _, errors = checkout.run()
    assert code == 1
    assert "Move it out of the way" in errors
    assert (checkout.venv / "notes").read_text() == "mine"


def test_place_can_be_named(checkout, tmp_path):
    """SPATIUS_AVATAR_VENV, with spaces in it."""
    place = tmp_path / "my environments" / "avatar"
    code, output, errors = checkout.run(SPATIUS_AVATAR_VENV=str(place))
    assert code == 0, errors
    assert output == f"ran with {place}/bin/python\n"
    assert not checkout.venv.exists()


def test_place_that_cannot_be_is_named(checkout):
    """The reason, and how to name another place."""
    place = checkout.log / "venv"
    code, _, errors = checkout.run(SPATIUS_AVATAR_VENV=str(place))
    assert code == 1
    assert str(checkout.log) in errors
    assert "SPATIUS_AVATAR_VENV=" in errors
    assert "python3-venv" not in errors


def test_read_only_checkout_is_named_and_another_place_works(public_checkout):
    """Not python3-venv is missing there, but the right to write."""
    user = other_user(public_checkout.folder)
    code, _, errors = public_checkout.run(user=user)
    assert code == 1
    assert f"{public_checkout.folder} is not writable for" in errors
    assert "SPATIUS_AVATAR_VENV=" in errors
    assert "python3-venv" not in errors
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        code, output, errors = public_checkout.run(
            user=user, SPATIUS_AVATAR_VENV=f"{place}/venv"
        )
        assert code == 0, errors
        assert output == f"ran with {place}/venv/bin/python\n"
        # An editable installation would write into the checkout.
        assert "--editable" not in public_checkout.installations[0]


def test_environment_of_another_user_is_named(public_checkout):
    """It is used where it is complete, and never changed or removed."""
    assert public_checkout.run()[0] == 0
    user = other_user(public_checkout.venv, public_checkout.folder)
    assert public_checkout.run(user=user)[0] == 0
    for stamp in public_checkout.venv.glob("installed-*"):
        public_checkout.venv.chmod(0o755)
        stamp.unlink()
    user = other_user(public_checkout.venv, public_checkout.folder)
    code, _, errors = public_checkout.run(user=user)
    assert code == 1
    assert f"{public_checkout.venv} belongs to" in errors
    assert "SPATIUS_AVATAR_VENV=" in errors
    assert public_checkout.venv.is_dir()
