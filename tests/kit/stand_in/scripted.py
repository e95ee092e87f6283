"""Extensions, testers and processes that a test scripts.

Where the real runtime is installed, the tests that need no more than it has
run with it; the others are skipped. Only this file and conftest.py import
modules that the stand-in alone has.
"""

# ruff: noqa: E402 - the path and the runtime in use are settled first

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

DEVKIT = Path(__file__).resolve().parents[3] / "devkit"

try:
    import ten_runtime
except ImportError:
    sys.path.insert(0, str(DEVKIT))
    import ten_runtime

IS_STAND_IN = getattr(ten_runtime, "IS_STAND_IN", False)
WHY_SKIPPED = "the real ten_runtime is installed, and its stand-in not in use"
stand_in_only = pytest.mark.skipif(not IS_STAND_IN, reason=WHY_SKIPPED)

if IS_STAND_IN:
    from ten_runtime._process import HandlerFailed, ProcessAborted
    from ten_runtime._properties import merge, resolve_placeholders
else:
    HandlerFailed: Any = None
    ProcessAborted: Any = None
    merge: Any = None
    resolve_placeholders: Any = None

from ten_runtime import (
    Addon,
    AsyncExtension,
    AsyncExtensionTester,
    Data,
    SendOptions,
    register_addon_as_extension,
)

CLEAN = {"PATH": "/usr/bin:/bin"}
WAIT_S = 30.0
WAITING = SendOptions(wait_for_result=True)
TWICE_AT_THE_ROOT = '{"turn_id": 1, "turn_id": 2}'
HOSTILE = [
    f'{{"metadata": {{"turn_id": {2**63}}}}}',
    f'{{"turn_id": 1, "unrelated": {2**64 - 1}}}',
    f'{{"list": [0, {{"deep": {2**63}}}]}}',
    TWICE_AT_THE_ROOT,
    '{"metadata": {"turn_id": 1, "turn_id": 1}}',
]


def register(name, base_dir=None, **methods):
    """Register an addon whose extension has these methods."""
    scripted = type("Scripted", (AsyncExtension,), methods)

    @register_addon_as_extension(
        name, str(base_dir / "addon.py") if base_dir else None
    )
    class ScriptedAddon(Addon):
        def on_create_instance(self, ten_env, name, context):
            ten_env.on_create_instance_done(scripted(name), context)


class ScriptedTester(AsyncExtensionTester):
    """Runs `script(ten_env)` as its on_start and ends when that returns."""

    def __init__(self, script=None):
        super().__init__()
        self.script = script
        self.received = []

    async def on_start(self, ten_env):
        if self.script is not None:
            await self.script(ten_env)
            ten_env.stop_test()

    async def on_data(self, ten_env, data):
        self.received.append(data.get_name())


def run_tester(name, script=None, *, property_json=None, tester=None):
    """Run a tester against the addon `name` and give (tester, error)."""
    tester = tester or ScriptedTester(script)
    tester.set_test_mode_single(name, property_json)
    tester.set_timeout(int(WAIT_S * 1_000_000))
    return tester, tester.run()


def run_script(code, **environ):
    """Run code in a process of its own, with the runtime imported."""
    if not IS_STAND_IN and "register(" in code:
        pytest.skip(WHY_SKIPPED)
    prologue = """
        import asyncio, sys
        if {is_stand_in}:
            sys.path.insert(0, {devkit!r})
            from ten_runtime._host import ExtensionHost
        from ten_runtime import *

        def register(name, base_dir=None, **methods):
            scripted = type("Scripted", (AsyncExtension,), methods)

            @register_addon_as_extension(name, base_dir)
            class ScriptedAddon(Addon):
                def on_create_instance(self, ten_env, name, context):
                    ten_env.on_create_instance_done(scripted(name), context)
    """
    text = textwrap.dedent(prologue).format(
        is_stand_in=IS_STAND_IN, devkit=str(DEVKIT)
    )
    return subprocess.run(
        [sys.executable, "-c", text + textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=str(DEVKIT),
        env={**(CLEAN if IS_STAND_IN else os.environ), **environ},
    )


def aborted(done):
    return done.returncode == -signal.SIGABRT


def data_of(text, name="x"):
    """Data with these properties."""
    data = Data.create(name)
    assert data.set_property_from_json(None, text) is None
    return data


def code_of(outcome):
    """The value that a getter gave, and its error's code."""
    value, error = outcome
    return value, error.error_code()


def read_properties(seen):
    async def on_init(self, ten_env):
        seen.put(await ten_env.get_property_to_json(""))

    return on_init
