"""Addons, and the App that testers need to be running.

Addons are found by the name under which a decorator registered them. The real
App imports `ten_packages/extension/*`; here importing a package is left to the
caller, and only the addons it registers exist.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import ClassVar, TypeVar

from ._env import TenEnv
from ._extension import AsyncExtension, Extension
from ._process import _abort

_A = TypeVar("_A", bound="type[Addon]")


class Addon:
    """Makes extensions; override on_create_instance."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        """Hand a new extension to `ten_env.on_create_instance_done`."""
        raise NotImplementedError


class RegisteredAddon:
    """An addon's class, its one instance once needed, and its folder."""

    def __init__(
        self, name: str, cls: type[Addon], base_dir: str | None
    ) -> None:
        self.name = name
        self.base_dir = base_dir
        """Folder of manifest.json and property.json; None if unknown."""
        self._cls = cls
        self._addon: Addon | None = None

    def create(self, name: str) -> AsyncExtension | Extension:
        """Return a new extension. Call it where no event loop runs."""
        if self._addon is None:
            self._addon = self._cls()
        ten_env = TenEnv(self.name)
        self._addon.on_create_instance(ten_env, name, object())
        ten_env._wait_until_done(
            "on_create_instance", f"addon '{self.name}' to create '{name}'"
        )
        if not isinstance(ten_env._instance, (AsyncExtension, Extension)):
            raise TypeError(
                f"addon '{self.name}' created {ten_env._instance!r}, which is "
                "no extension"
            )
        return ten_env._instance


class _AddonManager:
    """The addons that were registered in this process, by name."""

    _registry: ClassVar[dict[str, RegisteredAddon]] = {}


def register_addon_as_extension(
    name: str, base_dir: str | None = None
) -> Callable[[_A], _A]:
    """Class decorator: make an Addon known under `name`.

    `base_dir` is a path inside the package's folder, `__file__` as a rule
    (the real decorator takes its dirname). Without it the folder is that of
    the file in which the decorator is applied.
    """

    def decorate(cls: _A) -> _A:
        inside = base_dir or sys._getframe(1).f_code.co_filename
        folder = os.path.dirname(os.path.abspath(inside))
        _AddonManager._registry[name] = RegisteredAddon(name, cls, folder)
        return cls

    return decorate


def find_addon(name: str) -> RegisteredAddon:
    """Return the addon of that name; without one the process ends."""
    addon = _AddonManager._registry.get(name)
    if addon is None:
        known = ", ".join(sorted(_AddonManager._registry)) or "none"
        _abort(
            f"no addon '{name}' is registered (registered: {known}); import "
            "the package whose addon.py registers it"
        )
    return addon


# Seconds a tester grants an App that is still starting.
_START_LIMIT_S = 30.0

_lock = threading.Lock()
_running: "App | None" = None


class App:
    """Runs until close(). One at a time in a process.

    It loads no addons and runs no graphs; on_configure, on_init and on_deinit
    are called as in the real runtime, each followed by its `on_*_done`.
    """

    def __init__(self) -> None:
        self._made_on = threading.get_ident()
        self._ready = threading.Event()
        self._close_asked = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, run_in_background: bool) -> None:
        """Run until close(), or on a thread of its own.

        To be called on the thread that made the App: another one ends the
        process. RuntimeError where another App of the process is running.
        """
        global _running
        if threading.get_ident() != self._made_on:
            _abort("an App was made on one thread and run on another")
        with _lock:
            if _running is not None:
                raise RuntimeError("an App is running in this process already")
            _running = self
        if not run_in_background:
            self._serve()
            return
        self._thread = threading.Thread(target=self._serve, name="ten-app")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of an App that runs in the background."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Ask the App to end. Any thread."""
        self._close_asked.set()

    def on_configure(self, ten_env: TenEnv) -> None:
        ten_env.on_configure_done()

    def on_init(self, ten_env: TenEnv) -> None:
        ten_env.on_init_done()

    def on_deinit(self, ten_env: TenEnv) -> None:
        ten_env.on_deinit_done()

    def _serve(self) -> None:
        global _running
        ten_env = TenEnv()
        try:
            self._step("on_configure", ten_env)
            self._step("on_init", ten_env)
            self._ready.set()
            self._close_asked.wait()
            self._step("on_deinit", ten_env)
        finally:
            with _lock:
                _running = None

    def _step(self, step: str, ten_env: TenEnv) -> None:
        getattr(self, step)(ten_env)
        ten_env._wait_until_done(step, f"the App's ten_env.{step}_done()")


def running_app() -> App | None:
    """The App that runs in this process, if one does."""
    return _running


def require_app() -> None:
    """RuntimeError unless an App is running, as testers need one."""
    app = _running
    if app is None or not app._ready.wait(_START_LIMIT_S):
        raise RuntimeError(
            "AsyncExtensionTester.run() needs a running App: start one in "
            "another thread (App().run(False)), wait for its on_init, and "
            "close() it after the last test"
        )
