"""What a server says back of what only it and we know is not kept, nor shown."""

from __future__ import annotations

import json

import httpx
import pytest

from cachestore.sources.pointer import Pointer
from cachestore.sources.stream import StreamPlace
from cachestore.sources.subsonic.answers import read_answer
from cachestore.text import is_echo
from cachestore.track import Track, url_secrets
from cachestore.web.echoes import drop_echoes, sent_secrets

SECRET = "s3cret-4f1d"
TRACK = Track("studio", "t1")


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        (f"https://dj:{SECRET}@host/a", {SECRET}),
        (f"https://{SECRET}@host/a", {SECRET}),
        (f"https://host/a?id=7&token={SECRET}", {SECRET}),
        (f"https://host/a?t%6Fken={SECRET}", {SECRET}),
        ("https://host/a?sig=ab%2Bcd%3D%3D", {"ab%2Bcd%3D%3D", "ab+cd=="}),
        (f"https://host/box;token={SECRET}/a;x=1", {SECRET}),
        (f"https://host/a?u=dj&t={SECRET}&s=salt&v=1&c=x&id=7", {SECRET, "salt"}),
        ("https://host/a?id=7&t=5#token", set()),
        ("https://host:port/[", set()),
    ],
)
def test_a_url_hides_its_credentials_but_no_name_of_a_user(url: str, hidden: set[str]) -> None:
    assert url_secrets(url) == hidden


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {SECRET}"},
        {"X-Api-Key": SECRET},
        {"Cookie": f"theme=dark; session={SECRET}"},
        {"Authorization": f'MediaBrowser Client="cachestore", Token="{SECRET}"'},
    ],
)
def test_a_header_is_known_again_whole_and_in_parts(headers: dict[str, str]) -> None:
    secrets = sent_secrets("https://host/a", headers)
    assert is_echo(f"song {SECRET}.wav", secrets)
    assert all(is_echo(f'"{value}"', secrets) for value in headers.values())
    assert not any(is_echo(title, secrets) for title in ("Bearer of Songs", "A Dark Theme", "Session", "Token"))


def test_what_is_said_to_everybody_is_no_secret() -> None:
    headers = {"Host": "host.example", "If-None-Match": '"abcdefgh"', "Range": "bytes=500000-", "User-Agent": "python"}
    assert not is_echo(
        '"abcdefgh" host.example bytes=500000- python', sent_secrets("https://host.example/abcdefgh", headers)
    )


def test_what_is_so_short_that_a_title_may_hold_it_is_no_echo() -> None:
    assert not is_echo("Abba", {"Abba", ""})
    assert is_echo("hunter2", {"hunter2"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ETag", f'"{SECRET}"'),
        ("Last-Modified", f"Bearer {SECRET}"),
        ("Content-Disposition", f'attachment; filename="song {SECRET}.wav"'),
        ("Content-Disposition", "attachment; filename*=UTF-8''song%20s%33cret-4f1d.wav"),
    ],
)
def test_a_field_that_says_a_secret_is_as_if_it_were_not_there(name: str, value: str) -> None:
    headers = httpx.Headers({name: value, "Content-Length": "5", "Date": "now"})
    drop_echoes(headers, {SECRET})
    assert dict(headers) == {"content-length": "5", "date": "now"}
    kept = httpx.Headers({"ETag": '"a"', "Last-Modified": "noon", "Content-Disposition": "attachment; filename=a.wav"})
    drop_echoes(before := kept.copy(), {SECRET})
    assert before == kept


def test_a_version_that_says_a_secret_is_none() -> None:
    place = StreamPlace(Pointer("", "/url"), Pointer("", "/v"))
    asked, headers = "https://host/t1?api_key=another-secret", {"Authorization": f"Bearer {SECRET}"}
    for version in (SECRET, f"v1-{SECRET}", "another-secret"):
        assert place.origin(TRACK, asked, headers, {"url": "/a", "v": version}).version is None
    assert place.origin(TRACK, asked, headers, {"url": "/a", "v": "v1"}).version is not None


def test_a_title_that_says_a_secret_is_none() -> None:
    song = {"title": f"Song {SECRET}", "artist": "E.P.", "id": "t1"}
    content = json.dumps({"subsonic-response": {"status": "ok", "song": song, "list": [song]}}).encode()
    answer = read_answer(TRACK, content, {SECRET})
    for record in (answer.record("song"), *answer.records("list")):
        assert (record.text("title"), record.text("artist")) == ("", "E.P.")
