"""Registers the extension under its addon name."""

from ten_runtime import Addon, TenEnv, register_addon_as_extension

from .extension import WavPlayerExtension


@register_addon_as_extension("wav_player_python")
class WavPlayerAddon(Addon):
    """Makes one player per graph node."""

    def on_create_instance(
        self, ten_env: TenEnv, name: str, context: object
    ) -> None:
        ten_env.on_create_instance_done(WavPlayerExtension(name), context)
