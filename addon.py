"""Registers the extension under its addon name."""

from ten_runtime import Addon, TenEnv, register_addon_as_extension

from .extension import SpatiusAvatarExtension


@register_addon_as_extension("spatius_avatar_python")
class SpatiusAvatarAddon(Addon):
    """Makes one extension per graph node."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.log_info(f"creating {name}")
        ten_env.on_create_instance_done(SpatiusAvatarExtension(name), context)
