"""The policy: which blobs go so that the store stays in its bounds. Planned purely, applied carefully.

A plan is walked, not kept: candidates come in the order of their last use, victims leave it one by one, and are evicted
in batches while the rest is still to be planned.

plan         what goes, in which order, and why
applying     plans for a store, and what is made of them
"""

from __future__ import annotations

from cachestore.prune.applying import apply, apply_further, foreseen, holds, plan_for, plan_without_partials, prune
from cachestore.prune.plan import Candidate, Limits, Outcome, Plan, Victim

__all__ = [
    "Candidate",
    "Limits",
    "Outcome",
    "Plan",
    "Victim",
    "apply",
    "apply_further",
    "foreseen",
    "holds",
    "plan_for",
    "plan_without_partials",
    "prune",
]
