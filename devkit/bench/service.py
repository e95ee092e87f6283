"""The Motion Server, in a process of its own, so that it costs ours nothing.

Its record's times are those of CLOCK_MONOTONIC, which all processes of a
machine share: they can be compared with `time.monotonic()` here.
"""

import json
import os
import subprocess
import sys
import time
import urllib.parse
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

    @classmethod
    def of(cls, urls: dict[str, str], pid: int) -> "Service":
        """Return the service that a child with this pid has announced."""
        return cls(
            urls["console_url"], urls["ingress_url"], urls["control_url"], pid
        )

    def record(self, events: bool = False) -> dict[str, Any]:
        """Return what the server saw, as its JSON; times in seconds."""
        return self.get(f"/control/record?events={int(events)}")

    def get(self, path: str) -> Any:
        """Return the JSON that the service serves at `path`."""
        url = urllib.parse.urljoin(self.control_url, path)
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)

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
    arguments = ["devkit.lifeline", "devkit.commands.motion_server"]
    arguments += ["--json", "--quiet", "--no-window"]
    if not keep_audio:
        arguments.append("--no-audio")
    with child(*arguments) as process:
        yield Service.of(line(process), process.pid)


@contextmanager
def lanes(
    count: int, delay_ms: float, console_delay_s: float
) -> Iterator[list[Service]]:
    """Run Motion Servers behind a network; see lanes.py."""
    arguments = map(str, (count, delay_ms, console_delay_s))
    with child("devkit.lifeline", "devkit.bench.lanes", *arguments) as process:
        yield [Service.of(urls, process.pid) for urls in line(process)]


@contextmanager
def child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a module with these arguments in a process of its own.

    It is to end with its standard input, as `devkit.lifeline` does: that is
    closed when this process ends, however it does.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()


def line(process: "subprocess.Popen[str]") -> Any:
    """Return the next line that a child prints, which is JSON."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())
