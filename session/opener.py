"""Makes the sessions of a configured node."""

from collections.abc import Callable

from ..clock import Clock
from ..settings import Params
from .sdk import Sdk
from .session import OpenSession, Session


def opener(
    params: Params, clock: Clock, add_secrets: Callable[[list[str]], None]
) -> OpenSession:
    """Return a function that makes sessions, each with tokens of its own.

    All their secrets are handed to `add_secrets` before they can be logged. A
    session that cannot be made is lost when it is prepared or opened.
    """
    sdk = Sdk(params, clock, add_secrets)

    def open_session(wake: Callable[[], None], sample_rate_hz: int) -> Session:
        return Session(
            sdk,
            wake=wake,
            sample_rate=sample_rate_hz,
            clock=clock,
            add_secrets=add_secrets,
        )

    return open_session
