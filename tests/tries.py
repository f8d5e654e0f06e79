"""How much hypothesis tries where each try is a store of its own: little in CI, much in full."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.crashes import IN_FULL


def tries(in_ci: int, in_full: int, *, steps: int = 50) -> settings:
    """Return settings for so many examples, of a state machine with up to `steps` each; none is too slow."""
    return settings(
        max_examples=in_full if IN_FULL else in_ci,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[*HealthCheck],
    )
