#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The interface of a vendor's fake, and where fakes come from.

A fake is a service on loopback that an extension takes for its vendor. It
records what the extension does, and fails on demand. README.md says how to
write one.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from .loader import Unusable

FAULTS = {
    "reset": "break every open connection without a close",
    "close": "end every open session with an error of the service",
    "leave": "end every open session with a normal close",
    "refuse": "refuse the next two attempts to connect as overloaded",
    "down": "refuse every attempt to connect from now on as overloaded",
    "hang": "never answer the attempts to connect from now on",
    "stall": "stop reading from every open connection, at once",
    "credits": "say that the credits are exhausted and end every session, "
    "and refuse every later attempt in the same way",
}
"""The faults that `Vendor.fault` is asked for, by name."""


class Vendor(Protocol):
    """A recording fake: calls from any thread, none of which blocks.

    Utterances are numbered from 0 in the order in which their first byte
    arrived, over all sessions. Audio behind the end of its utterance counts
    as another one. A feature that the vendor lacks, such as a message for
    an end, raises NotImplementedError; the rules about it do not apply.
    """

    def listen(self) -> AbstractContextManager[Mapping[str, Any]]:
        """Serve on loopback while the context lasts.

        It yields the properties that lead an extension here: endpoints,
        credentials, and so on, by name. Each is set where the extension's
        configuration has that name: in `params`, or flat.
        """
        ...

    def confirmed(self) -> int:
        """Return how many sessions have been confirmed so far."""
        ...

    def received(self) -> list[bytes]:
        """Return the audio of each utterance so far, decoded to s16le.

        Half a sample at the end of a message is lost, as it is where each
        message is decoded by itself. Of encoded speech a fake that does not
        decode it returns the bytes: the rules that compare speech are not
        testable then.
        """
        ...

    def ends(self) -> list[int]:
        """Return the utterance of each end of speech, in their order."""
        ...

    def interrupts(self) -> list[int]:
        """Return the utterance of each interrupt, -1 for one of none."""
        ...

    def fault(self, name: str) -> None:
        """Fail as `FAULTS` says."""
        ...


# Calls that a fake may have besides; use `ask`.
#
# attempts() -> int     how many attempts to connect have come so far
# closed() -> int       how many confirmed sessions have ended so far
# secrets() -> list[str]    the tokens signed or issued in this run
# prepare(package)      called once the extension's package is imported: the
#                       place to patch an address that stands in code


def ask(vendor: Any, name: str, *arguments: Any) -> Any:
    """Call an optional method of a fake. Raises NotImplementedError."""
    method = getattr(vendor, name, None)
    if method is None:
        raise NotImplementedError(f"the vendor's fake has no {name}()")
    return method(*arguments)


def total(vendor: Vendor) -> int:
    """Return how many bytes of speech a fake has received."""
    return sum(map(len, vendor.received()))


def prepare(vendor: Vendor, package: ModuleType) -> None:
    """Let a fake patch the extension's package, if it does so."""
    method = getattr(vendor, "prepare", None)
    if method is not None:
        method(package)


BUILT_IN = ("spatius", "toy", "heygen")


def check_vendor(name: str) -> None:
    """Raise `Unusable` where `load_vendor` cannot find the fake."""
    if name not in BUILT_IN and not (
        name.endswith(".py") and Path(name).is_file()
    ):
        raise Unusable(
            f"there is no vendor {name}: expected none, "
            f"{', '.join(BUILT_IN)} or a .py file that holds a class Vendor"
        )


def load_vendor(name: str) -> Callable[[], Vendor]:
    """Return the class of a fake: a built-in one, or `Vendor` of a .py file.

    Raises `Unusable`.
    """
    check_vendor(name)
    try:
        if name in BUILT_IN:
            module = importlib.import_module(f"{__package__}.vendors.{name}")
        else:
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module.Vendor
    except Exception as error:
        raise Unusable(
            f"the vendor {name} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
