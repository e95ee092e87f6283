"""How hypothesis runs (tests elsewhere say so themselves), and the end of
tests of an avatar."""

from collections.abc import AsyncIterator

import pytest
from avatar_stage import made
from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine's other work.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture
async def finished_stages() -> AsyncIterator[None]:
    """Stop the avatars of a test; assert that nothing is left of them."""
    made.clear()
    yield
    for stage in made:
        await stage.finish()
