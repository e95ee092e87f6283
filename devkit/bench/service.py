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
    pid: int

    def record(self, events: bool = False) -> dict[str, Any]:
        """Return what the server saw, as its JSON; times in seconds."""
        url = f"{self.control_url}/record?events={int(events)}"
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)

    def heard(self) -> int:
        """Return how many bytes of PCM it has read in all."""
        return sum(
            one["audio_bytes"]
            for one in self.record()["connections"]
            if one["config"] and one["config"]["audio_format"] == "pcm_s16le"
        )

    def heard_all(self, sent_bytes: int, limit_s: float = 30.0) -> int:
        """Wait until that much has been read; return how much it was."""
        until = time.monotonic() + limit_s
        while (heard := self.heard()) < sent_bytes:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        return heard

    def now(self, name: str, **values: Any) -> None:
        """Let a fault, such as "stall" or "resume", act on all sessions."""
        self._post("fault", {"at": "now", "fault": {"name": name, **values}})

    def _post(self, what: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.control_url}/{what}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def motion_server(*, keep_audio: bool = False) -> Iterator[Service]:
    """Run a Motion Server; `keep_audio` keeps each message's time too."""
    # It ends with this process, however that ends.
    command = [sys.executable, "-m", "devkit.lifeline"]
    command += ["devkit.commands.motion_server"]
    command += ["--json", "--quiet", "--no-window"]
    if not keep_audio:
        command.append("--no-audio")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        urls = json.loads(process.stdout.readline())
        yield Service(
            urls["console_url"],
            urls["ingress_url"],
            urls["control_url"],
            process.pid,
        )
    finally:
        process.terminate()
        process.wait(10)
        process.stdin.close()
        process.stdout.close()
