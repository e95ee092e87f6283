"""One session with Spatius: its state, the SDK, its errors and retries."""

from .errors import Failure
from .session import Session

__all__ = ["Failure", "Session"]
