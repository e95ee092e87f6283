#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Registers the honest avatar, or the mutant that AVATAR_MUTANT names."""

import os

from ten_runtime import Addon, TenEnv, register_addon_as_extension

from .extension import HonestExtension

if os.environ.get("AVATAR_MUTANT") == "loads":
    raise ImportError("this mutant does not load")


def extension_class() -> type[HonestExtension]:
    """Return the class to register: the honest one unless a mutant is named."""
    name = os.environ.get("AVATAR_MUTANT", "")
    if not name:
        return HonestExtension
    from . import shapes, tier_1, tier_2  # noqa: F401 (they enter themselves)
    from .registry import MUTANTS

    return MUTANTS[name]


@register_addon_as_extension("honest_avatar_python", __file__)
class HonestAddon(Addon):
    """Makes one extension per graph node."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(extension_class()(name), context)
