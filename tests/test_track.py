"""Addresses, and the identity of URLs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.errors import AddressError, ConfigError, MixError, NotInBundle
from cachestore.text import redacted
from cachestore.track import RESERVED_SOURCES, Track, alike, is_source_name, parse_address, redact_url, url_track

FORMS = "expected source:id, source:id@version or an http(s) URL"


def test_an_address_is_split_at_the_first_colon() -> None:
    assert parse_address("studio:a:b/c d") == Track("studio", "a:b/c d")


def test_an_address_may_name_one_version() -> None:
    assert parse_address("studio:t42@0123456789abcdef") == Track("studio", "t42", "0123456789abcdef")


def test_percent_and_at_are_the_only_escapes() -> None:
    assert parse_address("studio:50%25 %40home").id == "50% @home"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no source name before a colon"),
        ("t42", "it has no source name before a colon"),
        ("Studio:t42", "it has no source name before a colon"),
        ("file:t42", "it has no source name before a colon"),
        ("cachestore:t42", "it has no source name before a colon"),
        ("studio:", "the id is empty"),
        ("studio:@0123456789abcdef", "the id is empty"),
        ("studio:50%", "a % in an id is written %25 and an @ is written %40"),
        ("studio:a%20b", "a % in an id is written %25 and an @ is written %40"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value) == f"{text!r} is no track address: {problem}; {FORMS}"


def test_what_has_an_at_sign_and_no_version_may_be_a_password_and_is_not_repeated() -> None:
    with pytest.raises(AddressError, match=r"^'studio:…' is no track address: the version after @ is not"):
        parse_address("studio:dj@home")


@pytest.mark.parametrize("url", ["http://", "https:///a.flac", "http://[::1/a", "http://host:port/a"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="the URL does not parse"):
        parse_address(url)


def test_a_refused_url_is_shown_without_its_secrets() -> None:
    with pytest.raises(AddressError) as caught:
        parse_address("https://dj:hunter2@host:port/a?token=s3cret")
    assert "hunter2" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_sources = st.from_regex(r"[a-z0-9_-]+", fullmatch=True).filter(is_source_name)


@given(_sources, _ids, st.none() | st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_every_address_can_be_pasted_back(source: str, track_id: str, version: str | None) -> None:
    track = Track(source, track_id, version)
    pasted = f"{track.address}@{version}" if version else track.address
    assert parse_address(pasted) == track


@given(st.text())
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    with suppress(AddressError):
        parse_address(text)


@pytest.mark.parametrize("name", ["", "Studio", "my studio", "a:b", "a/b", "ü", *sorted(RESERVED_SOURCES)])
def test_a_source_name_is_plain_and_not_reserved(name: str) -> None:
    assert not is_source_name(name)


def test_a_url_is_its_own_id() -> None:
    track = parse_address("https://Example.org:8080/Music/a.flac")
    assert (track.source, track.id) == ("url", "https://example.org:8080/Music/a.flac")
    assert track.url == "https://Example.org:8080/Music/a.flac"


def test_a_query_that_names_the_track_tells_tracks_apart() -> None:
    first, second = (url_track(f"https://host/stream?id={n}").id for n in (1, 2))
    assert first != second
    assert first.startswith("https://host/stream#")


@pytest.mark.parametrize(
    "credentials",
    [
        "token=abc",
        "access_token=abc",
        "X-Amz-Signature=abc&X-Amz-Expires=3600&X-Amz-Date=20260101",
        "Expires=1&Signature=abc&Key-Pair-Id=K",
        "Policy=p&Signature=abc&Key-Pair-Id=K",
        "sv=2024&se=2026&sr=b&sp=r&sig=abc",
        "expires=1&md5=abc",
        "jwt=abc",
    ],
)
def test_a_signature_does_not_change_the_track(credentials: str) -> None:
    assert url_track(f"https://host/a?id=1&{credentials}").id == url_track("https://host/a?id=1").id


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/a.wav;token=s3cret", "/a.wav"),
        ("/a.wav;TOKEN=s3cret;x=1", "/a.wav;x=1"),
        ("/a.wav;t%6fken=s3cret", "/a.wav"),
        ("/box;sig=s3cret/a.wav;jsessionid=s3cret", "/box/a.wav"),
        ("/a.wav;expires=1;signature=s3cret", "/a.wav"),
        ("/a;b=1;c/d;", "/a;b=1;c/d;"),
        ("/;token=s3cret", "/"),
        ("/a.wav%3Btoken=s3cret", "/a.wav"),
        ("/a.wav%3bTOKEN%3ds3cret%3Bx=1", "/a.wav%3Bx=1"),
        ("/a.wav%253Btoken=s3cret", "/a.wav"),
        ("/a.wav%25253bt%256Fken%253Ds3cret/b", "/a.wav/b"),
        ("/a.wav&token=s3cret&x=1", "/a.wav&x=1"),
        ("/a.wav%26token=s3cret", "/a.wav"),
        ("/a.wav%3Ftoken=s3cret", "/a.wav"),
        ("/a.wav%3Fid=1&sig=ab/s3cret==&x=1", "/a.wav%3Fid=1&x=1"),
        ("/a.wav%3fexpires=1%26signature=s3cret", "/a.wav"),
        ("/box/token=s3cret/a.wav", "/box/a.wav"),
        ("/token/sig/a.wav%3B", "/token/sig/a.wav%3B"),
        ("/exp=1~acl=*~hmac=s3cret/a", "/a"),
        ("/a,token=s3cret,x=1", "/a,x=1"),
        ("/(token=s3cret)/a", "//a"),
        ("/a;token=ab~s3cret==;x=1", "/a;x=1"),
        ("/x/http://u:s3cret@h/a", "/x/http://h/a"),
        ("/x/http%3A%2F%2Fs3cret%40h/a", "/x/http%3A%2F%2Fh/a"),
    ],
)
def test_a_credential_in_the_path_is_no_part_of_the_track_and_never_shown(path: str, kept: str) -> None:
    url = f"https://host{path}"
    assert url_track(url).id == f"https://host{kept}"
    assert url_track(url).url == url
    assert "s3cret" not in redact_url(url)
    assert "s3cret" not in url_track(url).address


@given(
    st.lists(st.sampled_from([*"/;=&ab%", "token", "sig", "%3b", "%3F", "%25", "25", "3D"]), max_size=12).map("".join)
)
def test_what_a_url_is_without_its_credentials_stays_so(path: str) -> None:
    kept = url_track(f"https://host/{path}").id
    assert url_track(kept).id == kept


def test_a_subsonic_query_is_the_track_without_who_asks() -> None:
    asked = "https://host/rest/stream.view?id=7&u=dj&t={}&s={}&v=1.16.1&c=cachestore"
    assert url_track(asked.format("aa", "11")).id == url_track(asked.format("bb", "22")).id


@pytest.mark.parametrize("query", ["p=1", "t=1", "s=1", "key=1", "u=1", "expires=1", "policy=1", "v=1"])
def test_a_name_that_is_a_credential_only_in_company_tells_tracks_apart(query: str) -> None:
    assert url_track(f"https://host/a?{query}").id != url_track("https://host/a").id


@pytest.mark.parametrize("name", ["monkey", "keyboard", "design", "compass", "sort_key", "token_type", "sidechain"])
def test_a_name_with_the_name_of_a_credential_in_it_tells_tracks_apart(name: str) -> None:
    assert len({url_track(f"https://host/a{mark}{name}={n}").id for n in (1, 2) for mark in "?;"}) == 4


def test_the_order_of_a_query_says_nothing() -> None:
    assert url_track("https://h/a?x=1&y=2").id == url_track("https://h/a?y=2&x=1").id


def test_userinfo_and_fragment_are_no_part_of_a_url_track() -> None:
    assert url_track("https://dj:pw@host/a#t=5").id == url_track("https://host/a").id == "https://host/a"


def test_a_url_track_may_have_an_id_of_its_own() -> None:
    assert url_track("https://host/a?sig=1", "song-1").address == "url:host#song-1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://host/dl?token=AAA", "https://host/dl?token=BBB"),
        ("https://host/dl?token=AAA", "https://host/dl"),
        ("https://host/dl;token=AAA", "https://host/dl;token=BBB"),
        ("https://AAA@host/dl", "https://BBB@host/dl"),
    ],
)
def test_urls_that_are_one_track_but_for_a_credential_are_told_from_equal_ones(one: str, other: str) -> None:
    first, second, third = url_track(one), url_track("https://host/x"), url_track(other)
    assert first == third
    assert alike([first, second, third]) == (0, 2)
    assert alike([first, second, url_track(one + "#t=5"), Track("studio", "t42"), Track("studio", "t42")]) is None
    assert alike([url_track(one, "a"), url_track(other, "a")]) is None  # whoever gave the id has said so
    assert alike([first, replace(third, version="0123456789abcdef")]) is None


def test_the_order_of_a_query_makes_no_other_url() -> None:
    assert alike([url_track("https://h/a?x=1&sig=s"), url_track("https://h/a?sig=s&x=1")]) is None
    assert alike([url_track(f"https://h/a?X-Amz-Signature={each}") for each in "ab"]) is None
    assert alike([url_track("https://H:80/a"), url_track("https://h:80/a")]) is None


def test_equal_ids_of_two_servers_never_meet() -> None:
    assert url_track("https://one.example/a", "7") != url_track("https://two.example/a", "7")
    assert url_track("https://one.example/a", "7") == url_track("https://dj:pw@ONE.example/b?sig=2", "7")


def test_a_pasted_url_address_can_be_fetched_unless_its_query_is_lost() -> None:
    assert parse_address("url:https://host/a.flac").url == "https://host/a.flac"
    assert parse_address(url_track("https://host/a?id=1").address).url is None


@pytest.mark.parametrize(
    "track_id",
    [
        "http://h/a.wav?token=hunter22",
        "http://dj:hunter22%40h/b.wav",
        "http://h/box;token=hunter22/a",
        "http://h/a#hunter22",
        "http://h:hunter22/a",
        "http:///a",
        "HTTP://h/?token=hunter22",
        "dj:hunter22%40h#7",
        "h/a?token=hunter22#7",
        "opus",
        "h#",
    ],
)
def test_what_is_behind_url_is_the_identity_of_a_url_or_refused_without_its_secrets(track_id: str) -> None:
    with pytest.raises(AddressError, match="give the URL itself") as caught:
        parse_address(f"url:{track_id}")
    assert "hunter22" not in str(caught.value)


@given(
    st.sampled_from(["http://h", "https://dj:pw@H:80", "HTTP://[::1]"]),
    st.lists(st.sampled_from([*"/;=&ab%@#?:ü", "token", "sig", "%3b", "%40"]), max_size=12).map("".join),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_the_address_of_every_url_can_be_pasted_back(server: str, rest: str, track_id: str | None) -> None:
    track = url_track(f"{server}/{rest}", track_id)
    assert parse_address(track.address) == track


def test_neither_a_track_nor_its_url_shows_a_secret() -> None:
    track = parse_address("https://dj:hunter2@host/a?token=s3cret")
    assert "hunter2" not in repr(track)
    assert "s3cret" not in repr(track)
    assert redact_url("https://dj:hunter2@host/a?token=s3cret#x") == "https://host/a"
    assert "hunter2" not in redact_url("https:/dj:hunter2@host/a")
    assert "hunter2" not in redact_url("https://dj:hunter2/x@host/a")


PASSWORD = "hunter22pw"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("https:/dj:{}@nas/x.mp3", "https:/…@nas/x.mp3"),
        ("https:dj:{}@nas/x.mp3", "https:…@nas/x.mp3"),
        ("https//dj:{}@nas/x", "https//…@nas/x"),
        ("//dj:{}@nas/x", "//…@nas/x"),
        ("htps://dj:{}@nas/x", "htps://…@nas/x"),
        ("FTP://dj:{}@nas/x?token={}", "FTP://…@nas/x?…"),
        ("https:///dj:{}@nas/x#{}", "https:///…@nas/x#…"),
        ("https://nas:{}/x", "https://nas:…/x"),
        ("https://dj:a/{}@nas:80/x", "https://…@nas:80/x"),
        ("https://dj:a?{}@nas/x", "https://…"),
        ("https://dj:a@b?{}@nas/x", "https://…"),
        ("https://nas/x?to={}@nas", "https://…"),
        ("https://nas/a;token={}/b", "https://nas/a;…/b"),
        ("url:http://dj:{}%40h/b.wav", "url:http://…@h/b.wav"),
        ("/home/dj/https:/dj:{}@nas/x.json?token={}", "/home/dj/https:/…@nas/x.json?…"),
    ],
)
def test_an_error_shows_nothing_of_a_mistyped_url_that_may_be_secret(typed: str, shown: str) -> None:
    text = typed.replace("{}", PASSWORD)
    assert redacted(text) == shown
    told = (AddressError(text, "x"), MixError(text, "", "x"), ConfigError(text, "x"), NotInBundle(Path(text)))
    assert not any(PASSWORD in str(error) for error in told)


@pytest.mark.parametrize("text", ["studio:dj@home", "C:/a@b/c?.json", "/home/dj@nas/a.json", "a;b", "https://h:80/a b"])
def test_what_is_no_url_with_a_secret_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_label_says_as_much_as_is_known() -> None:
    assert Track("s", "1", title="Opus", artist="E.P.").label == "E.P. - Opus"
    assert Track("s", "1", title="Opus").label == "Opus"
    assert Track("s", "1").label == "s:1"


@pytest.mark.parametrize(
    ("one", "other"),
    [("https://h/a?f=%E9", "https://h/a?f=%E8"), ("https://h/a?id=1&id=2", "https://h/a?id=2&id=1")],
)
def test_whatever_a_server_may_tell_apart_is_two_tracks(one: str, other: str) -> None:
    assert url_track(one) != url_track(other)


def test_a_long_word_is_looked_through_once() -> None:
    word = "a" * 1_000_000
    assert redacted(word) == word
    assert redacted(f"{word}://host/?secret") == f"{word}://host/?…"
