"""What the package adds to the start of a worker."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time

from spatius_avatar_python.session import sdk

from devkit.harness.messages import audio_frame
from devkit.package import ROOT

from .apart import apart
from .figures import Outcome, Row, Settings, median, middle_half
from .service import motion_server
from .sides import BYTES_PER_S, Bare, Ours, on_shared_loop

IMPORT_GOAL_MS = 20.0
COLD_GOAL_MS = 20.0

_IMPORTS = """
import time
began = time.perf_counter()
from devkit import package
package.use_ten_runtime()
import asyncio, pydantic, ten_runtime
import {sdk}
class Model(pydantic.BaseModel):  # imports what pydantic puts off
    text: pydantic.SecretStr
at = time.perf_counter()
package.load()
print((at - began) * 1000, (time.perf_counter() - at) * 1000)
"""


def run(settings: Settings) -> Outcome:
    """Measure imports, and the first frame after a cold start."""
    outcome = Outcome()
    outcome.rows.append(_import_row(settings))
    colds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(settings.choose(7, 1)):
        for side, values in colds.items():
            ms, sent, heard = apart(cold_start, side)
            values.append(ms)
            outcome.sent_bytes += sent
            outcome.received_bytes += heard
    ours, bare = median(colds["ours"]), median(colds["bare"])
    outcome.rows.append(
        Row(
            "cold start to first frame at the service",
            "ms",
            ours,
            bare,
            ours / bare,
            middle_half([one / other for one, other in zip(*colds.values())]),
            f"<= bare + {COLD_GOAL_MS:.0f} ms",
            ours - bare <= COLD_GOAL_MS,
            "a local service",
        )
    )
    return outcome


def _import_row(settings: Settings) -> Row:
    code = _IMPORTS.format(sdk=sdk.package().split()[0])
    before_ms: list[float] = []
    package_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if not settings.short:
            # Compiled once, in the first run, whatever the machine's custom.
            environment["PYTHONDONTWRITEBYTECODE"] = ""
            environment["PYTHONPYCACHEPREFIX"] = folder
        for _ in range(settings.choose(11, 1) + 1):
            output = subprocess.run(
                [sys.executable, "-c", code],
                cwd="/",
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            before, package = map(float, output.split())
            before_ms.append(before)
            package_ms.append(package)
    ours = median(package_ms[1:])  # the first compiles
    return Row(
        "import of the package",
        "ms",
        ours,
        spread=middle_half(package_ms[1:]),
        goal=f"<= {IMPORT_GOAL_MS:.0f} ms",
        met=ours <= IMPORT_GOAL_MS,
        note="beyond the imports of the SDK, pydantic and ten_runtime, "
        f"which take {median(before_ms[1:]):.0f} ms",
    )


def cold_start(side: str) -> tuple[float, int, int]:
    """Start and speak at once; for a process that does nothing else.

    Return ms until the service had the first frame, bytes sent, bytes heard.
    """
    with motion_server(keep_audio=True) as service:

        async def measure() -> tuple[float, int, int]:
            pcm = bytes(BYTES_PER_S // 50)
            began = time.monotonic()
            if side == "ours":
                avatar = Ours(service)
                await avatar.begin()
                avatar.send(audio_frame(pcm, 1))
                await avatar.ready()
                await avatar.silent()
            else:
                avatar = Bare(service)
                await avatar.__aenter__()
                await avatar.session.send_audio(pcm)
            heard = await asyncio.to_thread(service.received_all, len(pcm))
            events = service.record(events=True)["events"]
            (first,) = (e["time_s"] for e in events if e["kind"] == "audio")
            await avatar.__aexit__(None, None, None)
            return (first - began) * 1000, len(pcm), heard

        return on_shared_loop(measure())
