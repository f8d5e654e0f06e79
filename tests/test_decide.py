"""Deciding: when a server is asked, with what, and what stands in when it does not answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cachestore.entry import Entry
from cachestore.errors import (
    BadStatus,
    NotAudio,
    NotCached,
    NotFound,
    TimedOut,
    TrackError,
    Truncated,
    Unauthorized,
    Unreachable,
)
from cachestore.fetching.decide import Ask, Hit, Policy, candidates, check_pin, decide, fallback
from cachestore.track import Track
from tests.stores import etag

NOW = 1_000_000.0
TRACK = Track("s", "t")
ALWAYS_ASK = Policy(offline=False, refresh=False, fresh_for=0.0, stale_if_error=100.0)
NEW = Entry("s", "t", etag("2"), "d2", 1, "audio/wav", "wav", "", NOW, NOW - 10, NOW, place="place")
OLD = replace(NEW, version=etag("1"), digest="d1")
ERROR = ("s:t", "", "reason")


def test_nothing_kept_is_asked_for_without_a_condition() -> None:
    assert decide(TRACK, [], ALWAYS_ASK, NOW) == Ask({})


def test_what_is_kept_is_confirmed_naming_every_version() -> None:
    assert decide(TRACK, [NEW, OLD], ALWAYS_ASK, NOW) == Ask({etag("2"): "place", etag("1"): "place"})


def test_within_fresh_for_nobody_is_asked_and_a_clock_set_back_confirms_nothing() -> None:
    policy = replace(ALWAYS_ASK, fresh_for=11.0)
    assert decide(TRACK, [NEW], policy, NOW) == Hit(NEW)
    assert decide(TRACK, [NEW], policy, NOW + 2) == Ask({etag("2"): "place"})
    assert decide(TRACK, [NEW], policy, NOW - 20) == Ask({etag("2"): "place"})


def test_refresh_asks_without_a_condition_whatever_is_kept() -> None:
    policy = replace(ALWAYS_ASK, refresh=True, fresh_for=1000.0)
    assert decide(TRACK, [NEW], policy, NOW) == Ask({})


def test_offline_uses_what_is_kept_or_fails() -> None:
    policy = replace(ALWAYS_ASK, offline=True)
    assert decide(TRACK, [NEW], policy, NOW) == Hit(NEW, stale=True)
    assert isinstance(decide(TRACK, [], policy, NOW), NotCached)


def test_a_pinned_version_that_is_kept_needs_no_server() -> None:
    pinned = replace(TRACK, version='"1"')
    assert candidates(pinned, [NEW, OLD]) == [OLD]
    assert decide(pinned, [OLD], ALWAYS_ASK, NOW) == Hit(OLD)
    assert decide(pinned, [], ALWAYS_ASK, NOW) == Ask({})


@pytest.mark.parametrize("pin", ['"1"', "1", etag("1").hex])
def test_a_pin_names_the_validator_or_the_keys_hex(pin: str) -> None:
    check_pin(replace(TRACK, version=pin), etag("1"))
    for other in (etag("2"), None):
        with pytest.raises(NotFound, match="neither in the cache nor on the server"):
            check_pin(replace(TRACK, version=pin), other)


@pytest.mark.parametrize(
    "error", [Unreachable(*ERROR), TimedOut(*ERROR), BadStatus(*ERROR, status=500), BadStatus(*ERROR, status=503)]
)
def test_a_server_that_is_down_does_not_stop_a_cached_export(error: TrackError) -> None:
    assert fallback([NEW, OLD], error, ALWAYS_ASK, NOW) == Hit(NEW, stale=True)
    assert fallback([], error, ALWAYS_ASK, NOW) is None
    assert fallback([NEW], error, ALWAYS_ASK, NOW + 91) is None
    assert fallback([NEW], error, replace(ALWAYS_ASK, stale_if_error=0.0), NOW) is None


@pytest.mark.parametrize(
    "error",
    [Unauthorized(*ERROR), NotFound(*ERROR), BadStatus(*ERROR, status=418), NotAudio(*ERROR), Truncated(*ERROR)],
)
def test_a_server_that_says_no_is_believed(error: TrackError) -> None:
    assert fallback([NEW], error, ALWAYS_ASK, NOW) is None
