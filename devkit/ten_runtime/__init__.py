"""A stand-in for the Python binding of the TEN runtime.

`import ten_runtime` finds it where `devkit` is on the path and the real
binding is not installed: for tests, the demo and benchmarks on any machine.
It is written from the observed behaviour of runtime 0.11; the same tests run
unchanged under the real one.

Offered, with the real names and signatures: addons and their decorator,
AsyncExtension, AsyncTenEnv, messages with their properties, properties with
placeholders and manifest types, message schemas, AsyncExtensionTester with a
running App, logging. Where the real runtime ends its process, so does this
one; only while a tester runs does its `run()` raise instead: HandlerFailed
for an exception that escapes a handler, ProcessAborted for a call that aborts
(both in `ten_runtime._failures`).

Not offered: graphs (predefined ones, start and stop commands, destinations
set on messages), loading addons from `ten_packages`, video frames, buffers
in a tree that is written as JSON, a `Value` other than a log call's fields,
the skip of a LogOption, results that are not final (`send_cmd_ex`),
synchronous extensions and testers, `TEN_PYTHON_THREAD_MODE`, schemas imported
through a manifest's `interface`, the limit of 3 minutes on a command (one
that arrives from on_deinit on fails at once), signal handling.

Not in the real runtime: `ten_runtime._host.ExtensionHost`, which runs an
extension without a tester, `ten_runtime._log.observers`, and the environment
variables `TEN_STAND_IN_LOOP` and `TEN_STAND_IN_LOG`.
"""

from ._addon import Addon, register_addon_as_extension
from ._app import App
from ._env import AsyncTenEnv, TenEnv
from ._errors import TenError, TenErrorCode
from ._extension import AsyncExtension
from ._messages import (
    AudioFrame,
    AudioFrameDataFmt,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)
from ._options import DefaultLogOption, Loc, LogLevel, LogOption, SendOptions
from ._tester import AsyncExtensionTester, AsyncTenEnvTester
from ._value import Value, ValueType

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
    "Loc",
    "LogLevel",
    "LogOption",
    "SendOptions",
    "StatusCode",
    "TenEnv",
    "TenError",
    "TenErrorCode",
    "Value",
    "ValueType",
    "register_addon_as_extension",
]
