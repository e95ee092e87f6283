"""Latency from a frame's arrival until the service has its bytes, at the pace
of speech: of one avatar, and of many in one process."""

from dataclasses import replace

from .frames import Scene, measure
from .runner import Goal, Outcome, Settings, compare, p
from .service import Service

ONE = Scene("1 avatar", 1, audio_s=5, sides=("ours", "bare"))
FLEET = Scene(
    "50 avatars", 1, audio_s=5, frame_ms=20, avatars=50, sides=("ours", "bare")
)
ROUNDS = {ONE.name: 6, FLEET.name: 4}

SHORT_AUDIO_S = 0.1
SHORT_FLEET = 2

P50_GOAL = Goal(0.05, "beyond")
P99_GOAL = Goal(1.0, "beyond")
FLEET_GOAL = Goal(20.0)


def run(settings: Settings, service: Service) -> Outcome:
    """Measure one avatar, and 50 in one process."""
    outcome = Outcome()
    for scene in (ONE, FLEET):
        is_fleet = scene is FLEET
        rounds = settings.rounds(ROUNDS[scene.name])
        if settings.short:
            scene = replace(
                scene,
                audio_s=SHORT_AUDIO_S,
                avatars=min(scene.avatars, SHORT_FLEET),
            )
        measured = measure(service, scene, rounds)
        for percent, goal in (
            (50, None if is_fleet else P50_GOAL),
            (99, FLEET_GOAL if is_fleet else P99_GOAL),
        ):
            outcome.rows.append(
                compare(
                    f"{scene.name}: frame in to service, p{percent}",
                    "ms",
                    measured.latency_ms,
                    statistic=p(percent),
                    reference="bare",
                    goal=goal,
                )
            )
        outcome.rows.append(
            compare(
                f"{scene.name}: CPU per frame",
                "us",
                measured.cpu_us,
                reference="bare",
            )
        )
        outcome.sent_bytes += measured.sent_bytes
        outcome.received_bytes += measured.received_bytes
        if not is_fleet:
            for side, rounds_ms in measured.latency_ms.items():
                outcome.curves[f"latency {side}"] = [
                    ms for one in rounds_ms for ms in one
                ]
    return outcome
