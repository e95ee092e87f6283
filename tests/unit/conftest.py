"""How hypothesis runs; tests elsewhere say so themselves."""

from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine's other work.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
