"""The truth about the store: `verify` says what is wrong and changes nothing, `repair` acts on it; `adoption` recovers.

A pass looks at the folders of blobs first, where it finds what no row knows of, then at the rows of the index in the
order they were first written. So what stands in the way of blobs is out of it before they are missed, and a pass that
was cut short goes on from the number of a row.
"""

from __future__ import annotations

from cachestore.verify.cursor import Position, load_position, save_position
from cachestore.verify.problems import Problem, ProblemKind
from cachestore.verify.repairs import Repair, repair
from cachestore.verify.verification import Verification

__all__ = [
    "Position",
    "Problem",
    "ProblemKind",
    "Repair",
    "Verification",
    "load_position",
    "repair",
    "save_position",
]
