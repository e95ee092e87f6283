"""The cost of a frame, beside the thinnest extension and the bare SDK."""

from .frames import Scene, measure
from .runner import Goal, Outcome, Settings, compare, p
from .service import Service

SCENES = (
    (Scene("1x", 1, audio_s=3), 24, 1.25),
    (Scene("5x", 5, audio_s=20), 16, 0.7),
    (Scene("20x", 20, audio_s=60), 8, 0.7),
    (Scene("20x, 100 ms frames", 20, audio_s=20, frame_ms=100), 8, None),
    (Scene("at once", float("inf"), audio_s=30), 8, None),
)
"""Each with its rounds, more where the loop sleeps between frames and a round
varies more, and the goal of its ratio. A TTS is 5 to 20 times as fast as
speech. The first second of an utterance is never joined, which weighs more in a
short one."""

SHORT_AUDIO_S = 0.1
MESSAGES_GOAL = 12.0
"""Per second of audio, from 20x on."""


def run(settings: Settings, service: Service) -> Outcome:
    """Measure frames at the pace of speech, and faster."""
    outcome = Outcome()
    for scene, rounds, goal in SCENES[::4] if settings.short else SCENES:
        if settings.short:
            scene = Scene(scene.name, scene.pace, SHORT_AUDIO_S, scene.frame_ms)
        measured = measure(service, scene, settings.rounds(rounds))
        cpu = compare(
            f"{scene.name}: CPU per frame",
            "us",
            measured.cpu_us,
            reference="thinnest",
            goal=None if goal is None else Goal(goal, "ratio"),
        )
        is_fast = scene.pace >= 20
        outcome.rows += [
            cpu,
            compare(
                f"{scene.name}: messages per second of audio",
                "",
                measured.messages,
                goal=Goal(MESSAGES_GOAL) if is_fast else None,
            ),
        ]
        outcome.rows += [
            compare(
                f"{scene.name}: frame in to service, p{percent}",
                "ms",
                measured.latency_ms,
                statistic=p(percent),
            )
            for percent in (50, 99)
        ]
        outcome.sent_bytes += measured.sent_bytes
        outcome.received_bytes += measured.received_bytes
        outcome.curves[f"cpu {scene.name}"] = [
            value
            for value in (cpu.ours, cpu.thinnest, cpu.bare)
            if value is not None
        ]
    return outcome
