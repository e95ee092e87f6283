"""A stand-in for the Python binding of the TEN runtime.

`import ten_runtime` finds it where `devkit` is on the path and the real
binding is not installed: for tests, the demo and benchmarks on any machine.
It is written from the observed behaviour of runtime 0.11; the same tests run
unchanged under the real one.

Offered, with the real names, modules and signatures: addons and their
decorator, extensions and testers with coroutines and without, messages with
their properties, properties with placeholders and manifest types, message
schemas, logging, an App for testers. Where the real runtime ends its process,
so does this one; only while a tester runs does its `run()` raise instead:
HandlerFailed for an exception that escapes a handler, ProcessAborted for a call
that aborts (both in `ten_runtime._process`).

Not offered: graphs (predefined ones; the commands that start and stop one,
and the destinations set on messages, are accepted and lead nowhere), loading
addons from `ten_packages`, buffers in a tree that is written as JSON, the
skip of a LogOption, results that are not final, `TEN_PYTHON_THREAD_MODE`,
schemas imported through a manifest's `interface`, the limit of 3 minutes on a
command (one that arrives from on_deinit on fails at once), signal handling.

Not in the real runtime: `ten_runtime._host.ExtensionHost`, which runs an
extension without a tester, `ten_runtime._log.observers`, and the environment
variables `TEN_STAND_IN_LOOP` and `TEN_STAND_IN_LOG`.
"""

import sys

from . import _submodules
from ._app import Addon, App, _AddonManager, register_addon_as_extension
from ._env import AsyncTenEnv, TenEnv
from ._extension import AsyncExtension, Extension
from ._messages import (
    AudioFrame,
    AudioFrameDataFmt,
    Cmd,
    CmdResult,
    Data,
    PixelFmt,
    StartGraphCmd,
    StatusCode,
    StopGraphCmd,
    TriggerLifeCycleCmd,
    VideoFrame,
)
from ._tester import (
    AsyncExtensionTester,
    AsyncTenEnvTester,
    ExtensionTester,
    TenEnvTester,
)
from ._values import (
    DefaultLogOption,
    Loc,
    LogLevel,
    LogOption,
    SendOptions,
    TenError,
    TenErrorCode,
    Value,
    ValueType,
)

IS_STAND_IN = True
"""Tells this package from the real binding, which has no such name."""

__all__ = [
    "Addon",
    "App",
    "AsyncExtension",
    "AsyncExtensionTester",
    "AsyncTenEnv",
    "AsyncTenEnvTester",
    "AudioFrame",
    "AudioFrameDataFmt",
    "Cmd",
    "CmdResult",
    "Data",
    "DefaultLogOption",
    "Extension",
    "ExtensionTester",
    "Loc",
    "LogLevel",
    "LogOption",
    "PixelFmt",
    "SendOptions",
    "StartGraphCmd",
    "StatusCode",
    "StopGraphCmd",
    "TenEnv",
    "TenEnvTester",
    "TenError",
    "TenErrorCode",
    "TriggerLifeCycleCmd",
    "Value",
    "ValueType",
    "VideoFrame",
    "_AddonManager",
    "register_addon_as_extension",
]

_submodules.install(sys.modules[__name__])
