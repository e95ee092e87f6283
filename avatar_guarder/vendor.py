"""What tier 2 asks of a vendor's fake, and where fakes come from.

A fake is a service on loopback that an extension takes for its vendor. It
records what the extension does, and fails on demand. README.md says how to
write one; vendors/toy.py is one in under 100 lines.
"""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from .loader import Unusable

FAULTS = {
    "reset": "break every open connection without a close",
    "close": "end every open session with an error of the service",
    "leave": "end every open session with a normal close",
    "refuse": "refuse the next two attempts to connect as overloaded",
    "hang": "never answer the attempts to connect from now on",
    "stall": "stop reading from every open connection",
    "credits": "say that the credits are exhausted and end every session, "
    "and refuse every later attempt in the same way",
}
"""The faults that `Vendor.fault` is asked for, by name."""


class Vendor(Protocol):
    """A recording fake: six calls, from any thread, none of which blocks.

    Utterances are numbered from 0 in the order in which their first byte
    arrived, over all sessions.
    """

    def listen(self) -> AbstractContextManager[dict[str, Any]]:
        """Serve on loopback while the context lasts.

        It yields the `params` that lead an extension here: endpoints,
        credentials, and so on. They are merged over those of the case.
        """
        ...

    def confirmed(self) -> int:
        """Return how many sessions have been confirmed so far."""
        ...

    def received(self) -> list[bytes]:
        """Return the audio of each utterance so far."""
        ...

    def ends(self) -> list[int]:
        """Return the utterance of each end of speech, in their order."""
        ...

    def interrupts(self) -> list[int]:
        """Return the utterance of each interrupt, -1 for one of none."""
        ...

    def fault(self, name: str) -> None:
        """Fail as `FAULTS` says. NotImplementedError: cannot, the rule does
        not apply."""
        ...


BUILT_IN = ("spatius", "toy")


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
    """Return what makes a fake: a built-in one, or `Vendor` of a .py file.

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
