"""How soon a lost connection speaks again, and what the listener misses.

A sentence is handed over at once, as by a fast TTS; while it is heard, the
service resets the connection. *Recovered* is when the first audio of the next
connection has reached the service. A bare loop does what an extension must:
close, new session, init, start, send the sentence again.

Each drop is a new extension's first, with its spare session token: within
minutes there is one spare only. The listener is a model, in the service's
process.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from devkit.harness.messages import audio_frame, tts_data
from devkit.motion_server.judge import unique_pcm

from .figures import Outcome, Row, Settings, median, middle_half, percentile
from .service import Service, lanes
from .sides import BYTES_PER_S, RATE, Bare, Ours, on_shared_loop

SPEECH_MS = 3000
FRAME_MS = 100
DROP_AFTER_S = (0.8, 1.2)
REWIND_MS = 500
"""The default of `resume_rewind_ms`."""

FIRST_ATTEMPT_MS = 200.0
START_GOAL = 1.1
REPEATED_GOAL_MS = REWIND_MS + 300.0

LANES = 6
LIMIT_S = 30.0
_POLL_S = 0.005
_FRAME_BYTES = BYTES_PER_S * FRAME_MS // 1000


@dataclass(frozen=True)
class Network:
    """Between client and service."""

    name: str
    delay_ms: float
    """To either side."""
    console_delay_s: float


NETWORKS = (
    Network("loopback", 0, 0),
    Network("100 ms away", 50, 0.3),
)


@dataclass
class _Samples:
    ours_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    start_ms: list[float] = field(default_factory=list)
    missing_ms: list[float] = field(default_factory=list)
    repeated_ms: list[float] = field(default_factory=list)
    said_ms: float = 0.0
    problems: list[str] = field(default_factory=list)


def run(settings: Settings) -> Outcome:
    """Measure over loopback, and over a network with a slow console."""
    outcome = Outcome()
    count = 1 if settings.short else LANES
    for network in NETWORKS:
        with lanes(count, network.delay_ms, network.console_delay_s) as served:
            samples = on_shared_loop(_run(served, settings))
        outcome.rows += _rows(network, samples)
        said = samples.said_ms - sum(samples.missing_ms)
        outcome.sent_bytes += int(samples.said_ms * BYTES_PER_S / 1000)
        outcome.received_bytes += int(said * BYTES_PER_S / 1000)
    return outcome


async def _run(served: list[Service], settings: Settings) -> _Samples:
    samples = _Samples()
    runs = settings.choose(34, 1)
    await asyncio.gather(*(_lane(one, runs, samples) for one in served))
    return samples


async def _lane(service: Service, runs: int, samples: _Samples) -> None:
    for _ in range(runs):
        seed = random.randrange(1 << 30)
        for drop in random.sample((_drop_ours, _drop_bare), 2):
            await drop(service, seed, samples)


async def _drop_ours(service: Service, seed: int, samples: _Samples) -> None:
    known = await _connections(service)
    async with Ours(service) as ours:
        while not ours.has_spare:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        for piece in _pieces(seed):
            ours.send(audio_frame(piece, 1))
        ours.tell(tts_data("tts_audio_end", 1, reason=1))
        await ours.delivered()
        await _reset(service)
        lost, found = await _two(service, len(known))
        # All of the sentence was written before: the rest of it is written
        # for the second time.
        until = time.monotonic() + LIMIT_S
        while found["audio_bytes"] < 2 * ours.totals.resent or (
            ours.totals.waiting
        ):
            if time.monotonic() > until:
                break
            lost, found = await _two(service, len(known))
        verdict = await asyncio.to_thread(
            service.get, f"/bench/verdict?speech_ms={SPEECH_MS}&seed={seed}"
        )
    samples.ours_ms.append(_recovered_ms(lost, found))
    samples.said_ms += SPEECH_MS
    samples.missing_ms.append(verdict["missing_ms"])
    samples.repeated_ms.append(verdict["repeated_ms"])
    samples.problems += verdict["others"]


async def _drop_bare(service: Service, seed: int, samples: _Samples) -> None:
    known = await _connections(service)
    lost = asyncio.Event()
    first = Bare(service, on_close=lost.set)
    await first.session.init()
    await _start(first, samples)
    for piece in _pieces(seed):
        await first.session.send_audio(piece)
    await _reset(service)
    await lost.wait()
    await first.session.close()
    second = Bare(service)
    await second.session.init()
    await _start(second, samples)
    for piece in _pieces(seed):
        await second.session.send_audio(piece)
    before, after = await _two(service, len(known))
    samples.bare_ms.append(_recovered_ms(before, after))
    await second.session.close()
    # What was heard of the bare loop is not judged.
    await asyncio.to_thread(service.get, "/bench/verdict?speech_ms=10&seed=0")


async def _start(bare: Bare, samples: _Samples) -> None:
    began = time.monotonic()
    await bare.session.start()
    samples.start_ms.append((time.monotonic() - began) * 1000)


async def _reset(service: Service) -> None:
    """Reset the connection while the sentence is heard."""
    await asyncio.sleep(random.uniform(*DROP_AFTER_S))
    await asyncio.to_thread(service.now, "reset")


async def _connections(service: Service) -> list[Any]:
    record = await asyncio.to_thread(service.record)
    return record["connections"]


async def _two(service: Service, known: int) -> tuple[Any, Any]:
    """Return the connections after the `known` ones, once the second has
    audio. TimeoutError."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        connections = (await _connections(service))[known:]
        if len(connections) > 1 and connections[1]["requests"]:
            return connections[0], connections[1]
        await asyncio.sleep(_POLL_S)
    raise TimeoutError("the voice did not come back")


def _recovered_ms(lost: Any, found: Any) -> float:
    return (found["requests"][0]["opened_s"] - lost["closed_s"]) * 1000


def _pieces(seed: int) -> list[bytes]:
    pcm = unique_pcm(SPEECH_MS, RATE, seed)
    return [
        pcm[at : at + _FRAME_BYTES] for at in range(0, len(pcm), _FRAME_BYTES)
    ]


def _rows(network: Network, samples: _Samples) -> list[Row]:
    start_ms = percentile(samples.start_ms, 99)
    goal_ms = START_GOAL * start_ms + FIRST_ATTEMPT_MS
    rows = []
    for what, percent in (("p50", 50), ("p99", 99)):
        ours = percentile(samples.ours_ms, percent)
        bare = percentile(samples.bare_ms, percent)
        is_judged = percent == 99
        rows.append(
            Row(
                f"{network.name}: drop to voice again, {what}",
                "ms",
                ours,
                bare,
                ours / bare,
                goal=f"<= {goal_ms:.0f} ms" if is_judged else "",
                met=ours <= goal_ms if is_judged else None,
                note=f"start() alone {percentile(samples.start_ms, percent):.1f}"
                f" ms; {len(samples.ours_ms)} drops; of ours, a random wait of"
                " up to 100 ms",
            )
        )
    missing_ms = max(samples.missing_ms)
    repeated_ms = max(samples.repeated_ms)
    rows += [
        Row(
            f"{network.name}: speech missing, most",
            "ms",
            missing_ms,
            goal="0 ms",
            met=missing_ms == 0 and not samples.problems,
            note="; ".join(samples.problems[:3]),
        ),
        Row(
            f"{network.name}: speech twice, most",
            "ms",
            repeated_ms,
            spread=middle_half(samples.repeated_ms),
            goal=f"<= {REPEATED_GOAL_MS:.0f} ms",
            met=repeated_ms <= REPEATED_GOAL_MS,
            note=f"median {median(samples.repeated_ms):.0f} ms",
        ),
    ]
    return rows
