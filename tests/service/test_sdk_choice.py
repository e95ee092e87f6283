"""The right SDK package is chosen in each environment.

Each test loads the extension in a process of its own and sets the facts that
decide.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spatius_avatar_python.session import sdk

ROOT = Path(__file__).resolve().parents[2]


def loaded(script: str, **environment: str) -> "dict[str, Any]":
    """Load the package in a process of its own; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", script + REPORT],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


REPORT = """
import json, sys
from devkit import package
package.load()
from spatius_avatar_python import clock
from spatius_avatar_python.settings import params
from spatius_avatar_python.session import errors, sdk
report = {"package": sdk.package(), "problem": sdk.problem()}
report["opus_problem"] = sdk.problem(True)
report["loaded"] = [name for name in sdk.PACKAGES if name in sys.modules]
made_by = sdk.Sdk(
    params.Params(
        spatius_api_key="key",
        spatius_app_id="app",
        spatius_avatar_id="avatar",
        agora_token="token",
        agora_appid="agora",
        agora_channel="room",
        agora_uid=1,
    ),
    clock.SystemClock(),
    lambda secrets: None,
)
try:
    made_by.new_session(24000)
except errors.SessionError as error:
    report["fatal"] = error.failure.fatal
    report["failure"] = error.failure.message
print(json.dumps(report))
"""

HIDE = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            return None
        return self.finder.find_spec(name, path, target)
    def invalidate_caches(self):
        pass

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


PRELOAD = """
import asyncio, sys
from devkit import package
package.load()
from spatius_avatar_python.session import sdk

def is_loaded():
    module = sys.modules.get("websockets.asyncio.client")
    return hasattr(module, "connect")

async def main():
    assert not is_loaded()
    cancelled = asyncio.ensure_future(sdk._preload())
    await asyncio.sleep(0)
    cancelled.cancel()
    for _ in range(2):
        await sdk._preload()
        assert is_loaded()

asyncio.run(main())
"""


def test_each_of_two_avatars_waits_for_the_loading():
    """Or the second would load it itself, on the event loop."""
    loaded(PRELOAD, SPATIUS_SDK="avatarkit")


@pytest.mark.parametrize(
    ("name", "binding", "missing"),
    [
        ("spatius", "opuslib_next", ("spatius[opus]", "libopus")),
        ("avatarkit", "opuslib", ("avatarkit[opus]", "libopus")),
        ("spatialreal", "", ("does not encode", "params.audio_format")),
    ],
)
def test_variable_chooses_the_package(name, binding, missing):
    """SPATIUS_SDK decides where several are installed, however it is typed;
    ogg_opus without its library is a sentence that names it."""
    report = loaded(
        HIDE.format(hidden=(binding,)), SPATIUS_SDK=f" {name.capitalize()} "
    )
    assert report["package"].startswith(f"{name} ")
    assert report["loaded"] == [name]
    assert report["problem"] == ""
    assert "failure" not in report
    for words in (binding, *missing):
        assert words in report["opus_problem"]


def test_package_that_is_there_will_do():
    """Where spatius is missing, avatarkit is taken."""
    report = loaded(HIDE.format(hidden=("spatius",)), SPATIUS_SDK="")
    assert report["loaded"] == ["avatarkit"]
    assert report["problem"] == ""


def test_third_package_is_taken_alone():
    """spatialreal is another service's: it is taken where no other is."""
    report = loaded(
        HIDE.format(hidden=("spatius", "avatarkit")), SPATIUS_SDK=""
    )
    assert report["loaded"] == ["spatialreal"]
    assert report["problem"] == ""


def test_successor_goes_first():
    """Where all are installed; that another extension has loaded spatialreal
    decides nothing."""
    script = "import importlib; importlib.import_module('spatialreal')\n"
    report = loaded(script, SPATIUS_SDK="")
    assert report["package"].startswith("spatius ")


def test_package_that_is_loaded_already_is_taken():
    """Two of them fit into no process: another extension's choice holds."""
    script = "import importlib; importlib.import_module('avatarkit')\n"
    report = loaded(script, SPATIUS_SDK="")
    assert report["package"].startswith("avatarkit ")
    assert report["loaded"] == ["avatarkit"]
    assert report["problem"] == ""


def test_no_package_is_installed():
    """Without any SDK the package loads, and names the one to install."""
    report = loaded(HIDE.format(hidden=sdk.PACKAGES), SPATIUS_SDK="")
    assert report["package"] == ""
    assert "no Spatius SDK is installed" in report["problem"]
    assert "pip install" in report["problem"]
    assert report["failure"] == report["problem"]
    assert report["fatal"]


def test_package_that_was_asked_for_is_missing():
    """An SDK that is asked for and missing is named; no other is used."""
    name = "spatius"
    report = loaded(HIDE.format(hidden=(name,)), SPATIUS_SDK=name)
    assert report["package"] == ""
    assert report["loaded"] == []
    assert f"the Spatius SDK {name} cannot be imported" in report["problem"]
    assert report["fatal"]


def test_variable_names_no_package():
    """A variable that names neither is a problem that names both."""
    report = loaded("", SPATIUS_SDK="avatarkitt")
    assert report["package"] == ""
    assert "SPATIUS_SDK" in report["problem"]
    assert "spatius, avatarkit" in report["problem"]
    assert report["fatal"]


@pytest.mark.parametrize(
    "source",
    [
        "raise TypeError('Descriptors cannot be created directly')",
        "this is no Python",
    ],
)
def test_package_is_broken(tmp_path, source):
    """An SDK whose import fails, as with an old protobuf, is a sentence."""
    (tmp_path / "avatarkit").mkdir()
    (tmp_path / "avatarkit" / "__init__.py").write_text(source)
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    report = loaded(script, SPATIUS_SDK="avatarkit")
    assert report["package"] == ""
    assert "avatarkit cannot be imported" in report["problem"]
    assert "protobuf" in report["problem"]
    assert report["fatal"]
