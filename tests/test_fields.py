"""Header fields: what they say, and that what breaks their grammar says nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.version import Version, VersionKind
from cachestore.web import fields
from tests.downloads import dated, provided, strong, weak

NOON, LATER = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 13:00:00 GMT"
MULTIPART = '"d41d8cd98f00b204e9800998ecf8427e-2"'
NEVER_SENT = [provided("rev-7"), Version(VersionKind.DESCRIBED, "5 2026"), Version(VersionKind.DIGEST, "xxh3-128:0")]
# What a header may hold: httpx gives it as Latin-1.
HEADER = st.text(st.characters(max_codepoint=255), max_size=60)


# Versions


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"a"'}, strong('"a"')),
        ({"ETag": "a"}, strong("a")),
        ({"ETag": '"a-gzip"'}, strong('"a-gzip"')),
        ({"ETag": MULTIPART}, strong(MULTIPART)),
        ({"ETag": 'W/"a"'}, weak('W/"a"')),
        ({"ETag": 'w/"a"'}, weak('w/"a"')),
        ({"ETag": '""'}, None),
        ({"ETag": 'W/""'}, None),
        ({"ETag": '" "'}, None),
        ({"ETag": '"v "'}, strong('"v "')),
        ({"ETag": '"a, b"'}, strong('"a, b"')),
        ({"ETag": '"*"'}, strong('"*"')),
        ({"ETag": "*"}, None),
        ({"ETag": "W/*"}, None),
        ({"ETag": "W/"}, None),
        ({"ETag": 'W/ "a"'}, None),
        ({"ETag": '"b", W/"a"'}, None),
        ({"ETag": 'W/"b", "a"'}, None),
        ({"ETag": "a, b"}, None),
        ({"ETag": '"a", '}, None),
        ({"ETag": "*", "Last-Modified": NOON, "Content-Length": "5"}, dated(NOON, 5)),
        ({"ETag": '"a"', "Last-Modified": NOON, "Content-Length": "5"}, strong('"a"')),
        ({"ETag": "", "Last-Modified": NOON, "Content-Length": "5"}, dated(NOON, 5)),
        ({"Last-Modified": NOON}, None),
        ({"Last-Modified": NOON, "Content-Length": "5", "Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "5"}, None),
    ],
)
def test_the_strongest_word_of_the_headers_is_the_version(headers: dict[str, str], version: Version | None) -> None:
    assert fields.version_of(httpx.Headers(headers)) == version


@settings(deadline=None)
@given(tag=HEADER, modified=HEADER, length=HEADER)
def test_a_version_is_verbatim_but_for_spaces_around_it_whatever_the_fields_hold(
    tag: str, modified: str, length: str
) -> None:
    version = fields.version_of({"etag": tag, "last-modified": modified, "content-length": length})
    if version is not None and version.kind is VersionKind.MODIFIED:
        assert fields.date_of(version) == modified.strip()
    elif version is not None:
        assert version.value == tag.strip()


def test_two_tags_in_two_fields_are_none() -> None:
    assert fields.version_of(httpx.Headers([("ETag", '"a"'), ("ETag", '"a"')])) is None


@pytest.mark.parametrize("tag", ['"' * 60_000, '"' + "a" * 60_000, '"' + " " * 60_000, "W/" * 30_000, "a," * 30_000])
def test_an_endless_tag_is_read_at_once(tag: str) -> None:
    started = time.process_time()
    fields.version_of({"etag": tag})
    assert time.process_time() - started < 1


# Conditions


def test_all_tags_are_asked_for_once_each_and_verbatim() -> None:
    known = [strong('"a"'), weak('W/"b"'), strong("c"), strong(MULTIPART), Version(VersionKind.STRONG, '"a"', "digest")]
    assert fields.conditions(known) == {"If-None-Match": f'"a", W/"b", c, {MULTIPART}'}


def test_of_more_tags_than_a_server_takes_the_current_ones_are_asked_for() -> None:
    known = [strong(f'"{number:0100}"') for number in range(100)]
    asked_for = fields.conditions(known)["If-None-Match"]
    assert asked_for == ", ".join(version.value for version in known[: asked_for.count(",") + 1])
    assert 3800 < len(asked_for) <= 4000


def test_a_date_is_asked_for_only_where_no_tag_is_known() -> None:
    assert fields.conditions([dated(NOON, 5), strong('"a"')]) == {"If-None-Match": '"a"'}


def test_of_several_dates_none_is_asked_for() -> None:
    """A server compares dates with "not later than": after a rollback its 304 to the current date means the other."""
    assert fields.conditions([dated(LATER, 5), dated(NOON, 9)]) == {}
    assert fields.conditions([dated(NOON, 5), dated(NOON, 9)]) == {}
    one_date = [dated(NOON, 5), Version(VersionKind.MODIFIED, f"{NOON} 5", "digest")]
    assert fields.conditions(one_date) == {"If-Modified-Since": NOON}


def test_no_older_date_is_asked_for_where_the_current_tag_is_too_long() -> None:
    known = [strong(f'"{"e" * 4100}"'), dated(NOON, 5)]
    assert fields.conditions(known) == {}
    assert fields.confirmed(known, {"last-modified": NOON}) is None


@pytest.mark.parametrize("value", ["*", '"b", W/"a"'])
def test_a_value_that_is_no_tag_is_never_asked_for(value: str) -> None:
    assert fields.conditions([strong(value)]) == {}
    assert fields.conditions([strong('"a"'), strong(value)]) == {"If-None-Match": '"a"'}
    assert fields.confirmed([strong(value)], {"etag": value}) is None


@pytest.mark.parametrize("version", NEVER_SENT)
def test_what_a_server_does_not_know_is_never_sent_nor_confirmed(version: Version) -> None:
    assert fields.conditions([version]) == {}
    assert fields.confirmed([version], {}) is None
    assert fields.confirmed([version], {"etag": version.value}) is None
    assert fields.conditions([version, strong('"a"')]) == {"If-None-Match": '"a"'}
    assert fields.conditions([version, dated(NOON, 5)]) == {"If-Modified-Since": NOON}


# What a 304 confirms


@pytest.mark.parametrize(
    ("known", "tag"),
    [
        (strong('"a"'), '"a"'),
        (strong('"a"'), 'W/"a"'),
        (weak('W/"a"'), '"a"'),
        (strong('"a"'), "a"),
        (strong("a"), '"a"'),
        (strong('"a"'), '"a-gzip"'),
        (strong('"a-gzip"'), '"a"'),
        (strong(MULTIPART), MULTIPART),
    ],
)
def test_a_304_confirms_a_tag_whatever_its_dress(known: Version, tag: str) -> None:
    assert fields.confirmed([strong('"x"'), known], {"etag": tag}) == known


DRESSES = ['"v"', 'W/"v"', "v", "W/v", '"v-gzip"', 'W/"v-gzip"']


@pytest.mark.parametrize("current", DRESSES)
@pytest.mark.parametrize("older", DRESSES)
def test_of_tags_that_differ_in_their_dress_a_304_confirms_the_very_one(current: str, older: str) -> None:
    known = [version for tag in (current, older) if (version := fields.version_of({"etag": tag}))]
    assert [fields.confirmed(known, {"etag": version.value}) for version in known] == known


def test_of_tags_that_differ_in_their_dress_a_304_in_yet_another_one_confirms_none() -> None:
    known = [strong('"v"'), weak('W/"v"')]
    assert fields.confirmed(known, {"etag": '"v-gzip"'}) is None
    assert fields.confirmed([strong('"-gzip"')], {"etag": "*"}) is None
    assert fields.confirmed([*known, strong('"w"')], {"etag": 'W/"w"'}) == strong('"w"')
    twice = [strong('"v"'), Version(VersionKind.STRONG, '"v"', "digest")]
    assert fields.confirmed(twice, {"etag": 'W/"v"'}) == twice[0]


def test_a_304_confirms_only_a_tag_that_was_sent() -> None:
    known = [strong('"a"'), strong(f'"{"e" * 4100}"'), strong('"b"')]
    assert fields.conditions(known) == {"If-None-Match": '"a"'}
    assert [fields.confirmed(known, {"etag": version.value}) for version in known] == [known[0], None, None]
    assert fields.confirmed(known, {}) == known[0]


@pytest.mark.parametrize("tag", ['"ab"', '"A"', '"a-2"', '"a-br"', "", '""', '"a", "b"', "*", '"a "', '" a"'])
def test_a_304_confirms_no_other_tag(tag: str) -> None:
    assert fields.confirmed([strong('"a"')], {"etag": tag}) is None


def test_a_304_without_a_tag_confirms_only_what_it_can_mean() -> None:
    assert fields.confirmed([strong('"a"')], {}) == strong('"a"')
    assert fields.confirmed([strong('"a"'), Version(VersionKind.STRONG, '"a"', "digest")], {}) == strong('"a"')
    assert fields.confirmed([strong('"a"'), strong('"b"')], {}) is None
    assert fields.confirmed([strong('"a"'), weak('W/"a"')], {}) is None


def test_a_304_confirms_the_date_that_was_asked_for_and_no_other() -> None:
    known = [dated(LATER, 5)]
    assert fields.confirmed(known, {}) == known[0]
    assert fields.confirmed(known, {"last-modified": LATER}) == known[0]
    assert fields.confirmed(known, {"last-modified": NOON}) is None
    assert fields.confirmed(known, {"etag": '"a"', "last-modified": LATER}) is None
    assert fields.confirmed([*known, dated(NOON, 9)], {"last-modified": LATER}) is None


def test_a_304_to_nothing_confirms_nothing() -> None:
    assert fields.confirmed([], {"etag": '"a"', "last-modified": NOON}) is None


@settings(deadline=None)
@given(values=st.lists(st.text(alphabet="abW/", min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
def test_a_304_confirms_a_version_only_if_it_names_one_of_those_asked_for(values: list[str]) -> None:
    known = [strong(f'"{value}"') for value in values]
    for version in known:
        assert fields.confirmed(known, {"etag": version.value}) == version
        assert fields.confirmed(known, {"etag": f"W/{version.value}"}) == version
    assert fields.confirmed(known, {"etag": '"c"'}) is None
    assert (fields.confirmed(known, {}) is None) == (len(known) > 1)


# Strength


@pytest.mark.parametrize(
    ("version", "is_strong"),
    [(strong('"a"'), True), (strong("a"), True), (weak('W/"a"'), False), *((version, False) for version in NEVER_SENT)],
)
def test_only_a_strong_tag_is_strong_by_itself(version: Version, is_strong: bool) -> None:
    assert fields.is_strong(version, {"date": LATER}) is is_strong


@pytest.mark.parametrize(
    ("date", "is_strong"),
    [
        ("Sun, 22 Nov 2026 12:01:00 GMT", True),
        ("Sun, 22 Nov 2026 12:00:59 GMT", False),
        (NOON, False),
        ("Sun, 22 Nov 2026 11:00:00 GMT", False),
        ("Sun, 22 Nov 2026 13:00:30 +0100", False),
        ("Sun, 22 Nov 2026 12:00:30 -0100", False),
        ("Sun, 22 Nov 2026 13:00:00", False),
        ("Sun, 22 Nov 2026 13:00:00 UTC", False),
        (f"{LATER}, {NOON}", False),
        ("Sunday, 22-Nov-26 12:01:00 GMT", True),
        ("Sun Nov 22 12:01:00 2026", True),
        ("noon", False),
        ("", False),
    ],
)
def test_a_date_is_strong_when_it_is_a_minute_older_than_the_answer(date: str, is_strong: bool) -> None:
    assert fields.is_strong(dated(NOON, 5), {"date": date}) is is_strong
    assert not fields.is_strong(dated(NOON, 5), {})
    assert not fields.is_strong(dated("long ago", 5), {"date": date})


@pytest.mark.parametrize(
    ("version", "headers", "is_of"),
    [
        (strong('"a"'), {"etag": '"a"'}, True),
        (strong('"a"'), {"etag": 'W/"a"'}, False),
        (strong('"a"'), {"etag": "a"}, False),
        (strong('"a"'), {"etag": '"a-gzip"'}, False),
        (strong('"a"'), {}, False),
        (strong(MULTIPART), {"etag": MULTIPART}, True),
        (weak('W/"a"'), {"etag": 'W/"a"'}, True),
        (dated(NOON, 5), {"last-modified": NOON}, True),
        (dated(NOON, 5), {"last-modified": LATER}, False),
        (dated(NOON, 5), {"last-modified": NOON, "etag": '"new"'}, False),
        (dated(NOON, 5), {"last-modified": NOON, "etag": "*"}, True),
        (dated(NOON, 5), {}, False),
        (provided("rev-7"), {}, False),
        (Version(VersionKind.DESCRIBED, "5"), {}, False),
    ],
)
def test_a_part_belongs_to_the_very_version_only(version: Version, headers: dict[str, str], is_of: bool) -> None:
    assert fields.is_of(version, headers) is is_of


@pytest.mark.parametrize(
    ("value", "is_encoded"),
    [("gzip", True), ("br", True), ("gzip, identity", True), ("identity", False), (" Identity ", False), ("", False)],
)
def test_an_encoding_is_any_but_identity(value: str, is_encoded: bool) -> None:
    assert fields.is_encoded({"content-encoding": value}) is is_encoded
    assert not fields.is_encoded({})


# Lengths and ranges


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"content-length": "0"}, 0),
        ({"content-length": "5"}, 5),
        ({"content-length": "5", "transfer-encoding": "chunked"}, None),
        ({"content-length": "-5"}, None),
        ({"content-length": "+5"}, None),
        ({"content-length": "5, 5"}, None),
        ({"content-length": "\u0665"}, None),
        ({"content-length": "9" * 16}, None),
        ({}, None),
    ],
)
def test_a_length_is_digits(headers: dict[str, str], length: int | None) -> None:
    assert fields.content_length(headers) == length


@settings(deadline=None)
@given(start=st.integers(0, 10**12), length=st.integers(1, 10**12), more=st.integers(0, 10**12))
def test_a_content_range_is_read_back(start: int, length: int, more: int) -> None:
    end, total = start + length - 1, start + length + more
    assert fields.content_range(f"bytes {start}-{end}/{total}") == (start, end, total)
    assert fields.content_range(f" Bytes {start}-{end}/{total} ") == (start, end, total)
    assert fields.content_range(f"bytes {end + 1}-{start}/{total}") is None
    assert fields.content_range(f"bytes {start}-{total}/{total}") is None
    assert fields.content_range(f"bytes {start}-{end}/*") == (start, end, None)
    assert fields.content_range(f"bytes {end + 1}-{start}/*") is None
    assert fields.content_range(f"items {start}-{end}/{total}") is None
    assert fields.content_range(f"bytes */{total}") is None


@settings(deadline=None)
@given(text=HEADER, now=st.floats(0, 4e9))
def test_fields_that_say_nothing_harm_nobody(text: str, now: float) -> None:
    found = fields.content_range(text)
    assert found is None or found.start <= found.end < (found.total or float("inf"))
    assert (fields.content_length({"content-length": text}) or 0) >= 0
    assert (fields.retry_after(text, now, "") or 0) >= 0
    assert fields.is_strong(dated(text, 5), {"date": text}) is False


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 15, float("9" * 15)),
        ("9" * 16, float("9" * 15)),
        ("9" * 5000, float("9" * 15)),
        ("0" * 20 + "7", 7.0),
        ("Sun, 22 Nov 2026 12:00:20 GMT", 20.0),
        ("Sun, 22 Nov 2026 13:00:20 +0100", 20.0),
        ("Sunday, 22-Nov-26 12:00:20 GMT", 20.0),
        ("Sun Nov 22 12:00:20 2026", 20.0),
        ("Sun, 22 Nov 2026 11:59:00 GMT", 0.0),
        ("-7", None),
        ("7.5", None),
        ("soon", None),
        ("", None),
        ("Sun, 99 Nov 2026 12:00:20 GMT", None),
        ("Sun, 22 Nov 999999 12:00:20 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert fields.retry_after(text, datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp(), "") == seconds


@settings(deadline=None)
@given(now=st.integers(0, 4 * 10**9), ahead=st.integers(-1000, 10**6))
def test_a_date_to_retry_after_is_seen_from_now(now: int, ahead: int) -> None:
    date = format_datetime(datetime.fromtimestamp(now + ahead, UTC), usegmt=True)
    assert fields.retry_after(date, now, "") == max(0, ahead)


@pytest.mark.parametrize("clock", [NOON, "Sun, 22 Nov 2026 13:00:00 +0100"])
def test_a_date_to_retry_after_is_seen_from_the_date_of_the_answer(clock: str) -> None:
    """Whether our own clock is late or early."""
    for now in (0.0, 4e9):
        assert fields.retry_after("Sun, 22 Nov 2026 12:00:20 GMT", now, clock) == 20.0
        assert fields.retry_after("7", now, clock) == 7.0
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
    assert fields.retry_after("Sun, 22 Nov 2026 12:00:20 GMT", noon, "noon") == 20.0


# Names


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="Opus.flac"', "Opus.flac"),
        ("attachment; filename=Opus.flac", "Opus.flac"),
        ('ATTACHMENT; FileName="Opus.flac"', "Opus.flac"),
        ('inline; filename="a; b.flac"', "a; b.flac"),
        ('attachment; filename="say \\"hi\\".flac"', 'say "hi".flac'),
        ("attachment; filename*=UTF-8''Caf%C3%A9%20del%20Mar.flac", "Café del Mar.flac"),
        ("attachment; filename*=iso-8859-1'en'%A3%20rates.flac", "£ rates.flac"),
        ("attachment; filename=\"ascii.flac\"; filename*=UTF-8''Caf%C3%A9.flac", "Café.flac"),
        ("attachment; filename*=UTF-8''Caf%C3%A9.flac; filename=\"ascii.flac\"", "Café.flac"),
        ("attachment; filename*=nonsense''Caf%C3%A9.flac; filename=\"ascii.flac\"", "ascii.flac"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\music\\\\Opus.flac"', "Opus.flac"),
        ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("attachment; filename*=UTF-8''music%5COpus.flac", "Opus.flac"),
        ('attachment; filename="music/"', ""),
        ('attachment; filename="Opus.flac?sig=s3cret/x"', "Opus.flac"),
        ("attachment; filename*=UTF-8''Opus.flac%3Fsig%3Ds3cret", "Opus.flac"),
        ('attachment; filename="?sig=s3cret"', ""),
        ("attachment", ""),
        ("", ""),
        ("attachment; filename=", ""),
        ('attachment; filename=""', ""),
        ("filename=Opus.flac", "Opus.flac"),
        ('attachment; filename="Caf\xe9.flac"', "Café.flac"),
        ('attachment; filename="Caf\xc3\xa9.flac"', "Café.flac"),
    ],
)
def test_a_name_is_the_last_part_of_what_is_offered(disposition: str, name: str) -> None:
    assert fields.file_name(disposition) == name


@pytest.mark.parametrize(
    "disposition",
    [
        "attachment; filename==?UTF-8?B?Li4vLi4vT3B1cw==?=",
        'attachment; filename="=?nonsense?Q?=2F=2F?="',
        "attachment; filename*=''",
        "attachment; filename*=%",
        "attachment; filename*=UTF-8''%FF%FE",
        "attachment; filename*=\0''x",
        "attachment; filename*0*=UTF-8''a; filename*1=/b; filename*x=c",
        "attachment; filename*0=a; filename*=b; filename*1=c; filename*=d",
        'attachment; filename="unended',
        "attachment; filename*99999999999999999999=x",
        "; ; = ; filename",
        "attachment; filename=a\r\n b",
    ],
)
def test_a_disposition_that_no_parser_expects_names_no_folder(disposition: str) -> None:
    assert not {"/", "\\"} & set(fields.file_name(disposition))


def test_a_disposition_that_is_endless_names_nothing_at_once() -> None:
    assert fields.file_name("attachment; filename=a" + ';"' * 50_000) == ""


_WORDS = ["attachment", "filename", "filename*", "*0", "*1*", "UTF-8''", "%2F", "%5c", "=?utf-8?q?", "?="]
_PIECES = st.sampled_from([*_WORDS, *';="\\/'])


@settings(deadline=None, max_examples=300)
@given(disposition=st.lists(_PIECES | HEADER, max_size=12).map("".join))
def test_whatever_a_disposition_is_its_name_has_no_slash(disposition: str) -> None:
    assert not {"/", "\\"} & set(fields.file_name(disposition))


@pytest.mark.parametrize(
    ("said", "is_whole"),
    [
        ({}, True),
        ({"content-range": "bytes 0-8/9", "content-length": "9"}, True),
        ({"content-range": "bytes 0-8/9", "content-length": "5"}, False),
        ({"content-range": "bytes 0-8/9", "transfer-encoding": "chunked"}, False),
        ({"content-range": "bytes 5-8/9", "content-length": "9"}, False),
        ({"content-range": "bytes 0-4/9", "content-length": "5"}, False),
        ({"content-range": "all of it", "content-length": "9"}, False),
    ],
)
def test_a_200_with_a_part_is_no_whole(said: dict[str, str], is_whole: bool) -> None:
    assert fields.is_whole(said) is is_whole


def test_a_304_of_another_length_confirms_no_date() -> None:
    known = [dated(LATER, 5)]
    assert [fields.confirmed(known, {"content-length": length}) for length in ("5", "0", "7")] == [*known, *known, None]
