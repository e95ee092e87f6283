#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Registers the extension that does nothing but answer commands."""

from ten_runtime import (
    Addon,
    AsyncExtension,
    AsyncTenEnv,
    Cmd,
    CmdResult,
    StatusCode,
    TenEnv,
    register_addon_as_extension,
)


class EmptyExtension(AsyncExtension):
    """Answers commands."""

    async def on_cmd(self, ten_env: AsyncTenEnv, cmd: Cmd) -> None:
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))


@register_addon_as_extension("guard_empty", __file__)
class EmptyAddon(Addon):
    """Makes one extension per graph node."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(EmptyExtension(name), context)
