"""The modules of the real binding, such as `ten_runtime.async_ten_env`.

Extensions import names from them as often as from the package itself.
"""

import sys
from types import ModuleType

from . import (
    _addon,
    _app,
    _env,
    _errors,
    _extension,
    _log,
    _messages,
    _options,
    _tester,
    _value,
)

_MODULES: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "addon": (_addon, ("Addon",)),
    "addon_manager": (_addon, ("register_addon_as_extension",)),
    "app": (_app, ("App",)),
    "async_extension": (_extension, ("AsyncExtension",)),
    "async_ten_env": (_env, ("AsyncTenEnv",)),
    "async_test": (_tester, ("AsyncExtensionTester", "AsyncTenEnvTester")),
    "audio_frame": (_messages, ("AudioFrame", "AudioFrameDataFmt")),
    "cmd": (_messages, ("Cmd",)),
    "cmd_result": (_messages, ("CmdResult", "StatusCode")),
    "data": (_messages, ("Data",)),
    "error": (_errors, ("TenError", "TenErrorCode")),
    "extension": (_extension, ("Extension",)),
    "loc": (_options, ("Loc",)),
    "log_level": (_options, ("LogLevel",)),
    "log_option": (_options, ("DefaultLogOption", "LogOption")),
    "msg": (_messages, ("Msg",)),
    "send_options": (_options, ("SendOptions",)),
    "start_graph_cmd": (_messages, ("StartGraphCmd",)),
    "stop_graph_cmd": (_messages, ("StopGraphCmd",)),
    "ten_env": (_env, ("ErrorHandler", "ResultHandler", "TenEnv")),
    "ten_env_base": (_log, ("TenEnvBase",)),
    "test": (_tester, ("ExtensionTester", "TenEnvTester")),
    "test_base": (_tester, ("TenEnvTesterBase",)),
    "trigger_life_cycle_cmd": (_messages, ("TriggerLifeCycleCmd",)),
    "value": (_value, ("Value", "ValueType")),
    "video_frame": (_messages, ("PixelFmt", "VideoFrame")),
}
_NATIVE = "libten_runtime_python"


def install(package: str) -> None:
    """Make `package.<module>` and the native module importable."""
    for name, (source, names) in _MODULES.items():
        module = _module(f"{package}.{name}", source, names)
        sys.modules[module.__name__] = module
        setattr(sys.modules[package], name, module)
    sys.modules.setdefault(_NATIVE, _module(_NATIVE, _errors, ("_TenError",)))


def _module(
    full_name: str, source: ModuleType, names: tuple[str, ...]
) -> ModuleType:
    module = ModuleType(full_name)
    for name in names:
        setattr(module, name, getattr(source, name))
    return module
