"""Addons: found by the name under which a decorator registered them.

The real App imports `ten_packages/extension/*`; here importing a package is
left to the caller, and what it registers is what exists.
"""

import os
import sys
from collections.abc import Callable
from typing import TypeVar

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


_registered: dict[str, RegisteredAddon] = {}


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
        _registered[name] = RegisteredAddon(name, cls, folder)
        return cls

    return decorate


def find_addon(name: str) -> RegisteredAddon:
    """Return the addon of that name; without one the process ends."""
    addon = _registered.get(name)
    if addon is None:
        known = ", ".join(sorted(_registered)) or "none"
        _abort(
            f"no addon '{name}' is registered (registered: {known}); import "
            "the package whose addon.py registers it"
        )
    return addon
