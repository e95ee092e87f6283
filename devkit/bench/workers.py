"""What a host carries: many worker processes with one avatar each.

The interpreter, the SDK and the stand-in for the runtime are counted; the
other extensions of a graph are not there.
"""

import time
from contextlib import ExitStack
from typing import Any

import psutil

from .figures import Outcome, Row, Settings, median, middle_half
from .service import Service, child, line, motion_server
from .worker import FRAME_MS

WORKERS = 20
SHORT_WORKERS = 2
MIB = 2**20


def run(settings: Settings) -> Outcome:
    """Let the workers be idle, then speak all at once, in real time."""
    count = SHORT_WORKERS if settings.short else WORKERS
    seconds = 1.0 if settings.short else 20.0
    with motion_server() as service, ExitStack() as stack:
        workers = [
            stack.enter_context(_worker(service, number))
            for number in range(count)
        ]
        for worker in workers:
            worker.stdout.readline()  # it is ready
        processes = [psutil.Process(worker.pid) for worker in workers]
        time.sleep(seconds / 10)  # what follows a start
        began = _cpu_s(processes)
        time.sleep(seconds)
        idle = _percents(began, _cpu_s(processes), seconds)
        began = _cpu_s(processes)
        for worker in workers:
            worker.stdin.write(f"{seconds}\n")
            worker.stdin.flush()
        sent_bytes = sum(line(worker) for worker in workers)
        speaking = _percents(began, _cpu_s(processes), seconds)
        memory = [process.memory_full_info() for process in processes]
        received_bytes = service.received_all(sent_bytes)
    shared_mib = [getattr(one, "pss", one.uss) / MIB for one in memory]
    own_mib = [one.uss / MIB for one in memory]
    return Outcome(
        _rows(count, idle, speaking, shared_mib, own_mib),
        sent_bytes,
        received_bytes,
    )


def _worker(service: Service, number: int) -> Any:
    return child(
        "devkit.bench.worker",
        service.console_url,
        service.ingress_url,
        str(number),
    )


def _cpu_s(processes: list[psutil.Process]) -> list[float]:
    """Return the CPU time of each so far, in seconds."""
    times = [process.cpu_times() for process in processes]
    return [one.user + one.system for one in times]


def _percents(
    before: list[float], after: list[float], seconds: float
) -> list[float]:
    """Return what each took of one core."""
    return [(end - begin) * 100 / seconds for begin, end in zip(before, after)]


def _rows(
    count: int,
    idle: list[float],
    speaking: list[float],
    shared_mib: list[float],
    own_mib: list[float],
) -> list[Row]:
    who = f"{count} workers"
    figures = (
        ("CPU of each, idle", "% core", idle),
        (f"CPU of each, speaking, {FRAME_MS} ms frames", "% core", speaking),
        ("memory of each, its part of what is shared", "MiB", shared_mib),
        ("memory of each, its own only", "MiB", own_mib),
    )
    rows = [
        Row(
            f"{who}: {what}",
            unit,
            median(values),
            spread=middle_half(values),
        )
        for what, unit, values in figures
    ]
    cpu = max(sum(speaking) / count, 0.01)
    return [
        *rows,
        Row(f"{who}: per core, while all speak", "", 100 / cpu),
        Row(f"{who}: per GiB", "", 1024 / (sum(shared_mib) / count)),
    ]
