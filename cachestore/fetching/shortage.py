"""Why there is no room: whether waiting helps, and what to say where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachestore.errors import NoRoom
from cachestore.partials import files_of, may_come_free
from cachestore.quantities import format_size
from cachestore.store.costs import cost_of
from cachestore.store.leases import IN_USE

if TYPE_CHECKING:
    from cachestore.prune import Plan
    from cachestore.root import Root
    from cachestore.store.reservations import Bounds, Room
    from cachestore.track import Track


def waited_for(root: Root, plan: Plan, room: Room, track: Track, kept: int, *, lives: bool) -> int:
    """Return how many bytes of disk will come free, or can be evicted, when those are done who need them.

    What is `kept` of `track` itself is no such thing; what there is besides, another run has made of it. `lives` is
    whether another run may have partials.
    """
    partials = sum(map(cost_of, may_come_free(root.partials, but=track.address, lives=lives)))
    partials += max(0, sum(map(cost_of, files_of(root.partials, track.address))) - kept)
    return plan.stayed[IN_USE] + room.reserved + room.announced + partials


def refusal(track: Track, need: int, bounds: Bounds, room: Room, quarantined: int) -> NoRoom:
    """Return the failure of a track that there can be no room for; `quarantined` bytes of disk could be freed."""
    size = format_size(need)
    if need > bounds.max_size:
        reason = f"it takes {size}, and max_size allows {format_size(bounds.max_size)} for the whole store; raise it"
    elif room.bounded + room.reserved + room.announced + need > bounds.max_size:
        reason = (
            f"there is no room for its {size}: max_size allows {format_size(bounds.max_size)}, and what is pinned, "
            f"locked, in quarantine, unfinished or in use stays; unpin tracks or raise max_size{_besides(quarantined)}"
        )
    else:
        reason = (
            f"there is no room for its {size}: min_free keeps {format_size(bounds.min_free)} of the store's disk free, "
            f"and {format_size(max(0, room.free))} are; free space there or lower min_free{_besides(quarantined)}"
        )
    return NoRoom(track.address, track.label, reason, need=need)


def _besides(quarantined: int) -> str:
    """Return what to do about quarantine: what is left there may be somebody's edit."""
    if not quarantined:
        return ""
    size, look, remove = format_size(quarantined), "cachestore ls --quarantined", "cachestore rm --quarantined"
    return f", or look whether you need anything of the {size} in quarantine ({look}) and empty it: {remove}"
