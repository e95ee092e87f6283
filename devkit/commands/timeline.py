"""A timeline on a terminal."""

import textwrap
import threading
import time

from rich.console import Console
from rich.text import Text

MAX_COLUMNS = 100


class TimelinePrinter:
    """Prints events, from several threads, in the order of time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = self._latest_s = time.monotonic()
        self._lock = threading.Lock()

    def say(
        self, who: str, what: str, at: float | None = None, style: str = ""
    ) -> None:
        """Print one event; `at` is in monotonic seconds, now without it."""
        with self._lock:
            # A late event is not put before printed ones.
            self._latest_s = max(self._latest_s, at or time.monotonic())
            at_s = self._latest_s - self._began_s
            start = Text.assemble(
                (f"{at_s:7.3f} s", "dim"), "  ", (f"{who:<13}", "bold"), " "
            )
            room = MAX_COLUMNS - start.cell_len
            for line in textwrap.wrap(what, room) or [""]:
                self._console.print(
                    start + Text(line, style=style), soft_wrap=True
                )
                start = Text(" " * start.cell_len)
