"""The modules of the real binding, such as `ten_runtime.async_ten_env`.

Extensions import names from them as often as from the package itself.
"""

import sys
from types import ModuleType

from ._env import ErrorHandler, ResultHandler
from ._log import TenEnvBase
from ._messages import Msg
from ._tester import TenEnvTesterBase
from ._values import _TenError

_NAMES = {
    "addon": "Addon",
    "addon_manager": "_AddonManager register_addon_as_extension",
    "app": "App",
    "async_extension": "AsyncExtension",
    "async_ten_env": "AsyncTenEnv",
    "async_test": "AsyncExtensionTester AsyncTenEnvTester",
    "audio_frame": "AudioFrame AudioFrameDataFmt",
    "cmd": "Cmd",
    "cmd_result": "CmdResult StatusCode",
    "data": "Data",
    "error": "TenError TenErrorCode",
    "extension": "Extension",
    "loc": "Loc",
    "log_level": "LogLevel",
    "log_option": "DefaultLogOption LogOption",
    "send_options": "SendOptions",
    "start_graph_cmd": "StartGraphCmd",
    "stop_graph_cmd": "StopGraphCmd",
    "ten_env": "TenEnv",
    "test": "ExtensionTester TenEnvTester",
    "trigger_life_cycle_cmd": "TriggerLifeCycleCmd",
    "value": "Value ValueType",
    "video_frame": "PixelFmt VideoFrame",
}
"""The exports of the package itself, by module."""

_OTHERS: dict[str, dict[str, object]] = {
    "msg": {"Msg": Msg},
    "ten_env": {"ErrorHandler": ErrorHandler, "ResultHandler": ResultHandler},
    "ten_env_base": {"TenEnvBase": TenEnvBase},
    "test_base": {"TenEnvTesterBase": TenEnvTesterBase},
}

_NATIVE = "libten_runtime_python"


def install(package: ModuleType) -> None:
    """Make the package's modules and the native one importable."""
    for name in _NAMES | _OTHERS:
        module = ModuleType(f"{package.__name__}.{name}")
        for exported in _NAMES.get(name, "").split():
            setattr(module, exported, getattr(package, exported))
        vars(module).update(_OTHERS.get(name, {}))
        setattr(package, name, module)
        sys.modules[module.__name__] = module
    native = ModuleType(_NATIVE)
    vars(native)["_TenError"] = _TenError
    sys.modules.setdefault(_NATIVE, native)
