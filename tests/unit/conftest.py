"""How hypothesis runs (tests elsewhere say so themselves), the event loop, and
the beginning and end of tests."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from avatar_stage import AvatarStage, made, ready
from fakes import UnitLoop
from hypothesis import HealthCheck, settings
from spatius_avatar_python.speech import Speech
from speaking import Speaking
from speech_steps import make

# How long an example takes depends on the machine's other work.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    """No unit test depends on the kind of loop that the extensions get."""
    return {"asyncio": UnitLoop}


@pytest.fixture
async def finished_stages() -> AsyncIterator[None]:
    """Stop the avatars of a test; assert that nothing is left of them."""
    made.clear()
    yield
    for stage in made:
        await stage.finish()


@pytest.fixture
async def stage(finished_stages: None) -> AvatarStage:
    """An avatar that is ready."""
    return await ready()


@pytest.fixture
def speech() -> Speech:
    """One without resumption."""
    return make()


@pytest.fixture
def speaking() -> Speaking:
    return Speaking()
