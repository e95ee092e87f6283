"""The Motion Server, in a process of its own, so that it costs ours nothing.

Its record's times are those of CLOCK_MONOTONIC, which all processes of a
machine share: they can be compared with `time.monotonic()` here.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from devkit.package import ROOT


@dataclass
class Service:
    """A running Motion Server. Its methods block, for milliseconds."""

    console_url: str
    ingress_url: str
    control_url: str

    def record(self, events: bool = False) -> dict[str, Any]:
        """Return the server's record, as its JSON; times in seconds."""
        url = f"{self.control_url}/record?events={int(events)}"
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)

    def connections(self, uid: int) -> list[dict[str, Any]]:
        """Return the connections of one avatar in the record, in order."""
        return [
            one
            for one in self.record()["connections"]
            if one["config"] and one["config"]["uid"] == uid
        ]

    def received(self) -> int:
        """Return how many bytes of PCM it has read in all."""
        return sum(
            one["audio_bytes"]
            for one in self.record()["connections"]
            if one["config"] and one["config"]["audio_format"] == "pcm_s16le"
        )

    def received_all(self, sent_bytes: int, limit_s: float = 30.0) -> int:
        """Wait until that much has been read; return how much it was."""
        until = time.monotonic() + limit_s
        while (received := self.received()) < sent_bytes:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        return received

    def now(self, name: str, **where: Any) -> None:
        """Have a fault, such as "stall" or "resume", act on all sessions, or
        on one `connection`."""
        self._post("fault", {"at": "now", "fault": {"name": name}, **where})

    def reset(self) -> None:
        """Forget the record and the faults of an earlier measurement."""
        self._post("reset", {})

    def slow_console(self, delay_s: float) -> None:
        """Have the console answer later from here on."""
        fault = {"name": "slow", "delay_s": delay_s}
        body = {"at": "console", "fault": fault, "times": None}
        self._post("fault", body)

    def _post(self, action: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.control_url}/{action}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def motion_server() -> Iterator[Service]:
    """Run a Motion Server, which records the time of each message.

    `devkit.lifeline` ends it with its standard input, which is closed when
    this process ends, however it does.
    """
    command = [sys.executable, "-m", "devkit.lifeline"]
    command += ["devkit.commands.motion_server"]
    command += ["--json", "--quiet", "--no-window"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        start_new_session=True,  # Ctrl-C is this process's to handle
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        urls = json.loads(process.stdout.readline())
        yield Service(
            urls["console_url"], urls["ingress_url"], urls["control_url"]
        )
    finally:
        process.terminate()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()
