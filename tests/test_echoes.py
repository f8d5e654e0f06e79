"""What a server says back of what only it and we know is not kept, nor shown."""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

import httpx
import pytest

from cachestore.authorizing import url_secrets
from cachestore.download.digests import promises
from cachestore.errors import BadResponse
from cachestore.sources.pointer import Pointer
from cachestore.sources.stream import StreamPlace
from cachestore.sources.subsonic.answers import read_answer
from cachestore.text import is_echo
from cachestore.track import Track
from cachestore.web.echoes import drop_echoes, sent_secrets
from cachestore.web.failures import body_failure, network_failure
from cachestore.web.fields import file_name
from cachestore.web.hops import _without_userinfo
from tests.downloads import answer
from tests.library import make_wave

if TYPE_CHECKING:
    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

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
    ("login", "hidden", "said"),
    [
        (f"florence:{SECRET}", SECRET, "Florence by florence"),
        (f"{SECRET}:x-oauth-basic", SECRET, "x of oauth"),
        (f"{SECRET}:", SECRET, "x"),
        ("florence:s\xe9cret-pw", "s\xe9cret-pw", "florence"),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_a_login_hides_its_password_or_the_token_in_place_of_a_user(
    login: str, hidden: str, said: str, charset: str
) -> None:
    basic = {"Authorization": f"Basic {b64encode(login.encode(charset)).decode()}"}
    for secrets in (sent_secrets("https://host/a", basic), sent_secrets(f"https://{quote(login, ':')}@host/a", {})):
        assert is_echo(f"song {hidden}.wav", secrets)
        assert not is_echo(said, secrets)


def test_what_is_no_login_is_known_again_as_it_is() -> None:
    assert is_echo(SECRET, sent_secrets("https://[a", {"Authorization": f"Basic {SECRET}"}))


@pytest.mark.parametrize(
    "said", ["s3cr\x01et-4f1d", "Opus s3cret\x7f-4f1d", " " + "x" * 1000 + SECRET[:5] + "\x00" + SECRET[5:]]
)
def test_what_is_shown_is_no_echo_either(said: str) -> None:
    assert is_echo(said, {SECRET})


@pytest.mark.parametrize("token", [f"xyz/{SECRET}", f"{SECRET}?q1", f"a\\b/{SECRET}?q1", f"{SECRET}/x-and-more"])
def test_no_part_of_a_secret_is_left_in_the_name_of_a_file(token: str) -> None:
    headers = httpx.Headers({"Content-Disposition": f"attachment; filename*=UTF-8''x%20{quote(token, '')}.wav"})
    drop_echoes(headers, {token})
    assert SECRET not in file_name(headers.get("Content-Disposition", ""))


def test_a_secret_with_a_slash_is_known_again_however_often_it_is_encoded() -> None:
    token = f"{SECRET}/x=="
    for times in range(1, 4):
        said = token
        for _ in range(times):
            said = quote(said, "")
        headers = httpx.Headers({"Content-Disposition": f"attachment; filename*=UTF-8''{said}.wav"})
        drop_echoes(headers, {token})
        assert not headers


@pytest.mark.parametrize("url", [f"http://{SECRET}.invalid/x", f"http://{SECRET.upper()}.invalid:81/x"])
def test_a_host_that_says_a_secret_is_not_shown(url: str) -> None:
    request, asked = httpx.Request("GET", url), httpx.URL("https://host/a")
    failures = (
        network_failure(TRACK, httpx.ConnectError("", request=request), asked, {SECRET.upper()}),
        body_failure(TRACK, httpx.ReadError("", request=request), 1, 2, {SECRET}),
    )
    for failure in failures:
        assert SECRET not in str(failure).lower()
        assert "a host that it names" in str(failure)


@pytest.mark.parametrize("login", ["u:p%E9w", "%E9:p:w", "u:"])
def test_userinfo_goes_out_byte_by_byte(login: str) -> None:
    _, headers = _without_userinfo(httpx.URL(f"https://{login}@host/a"), httpx.Headers())
    assert b64decode(headers["Authorization"].removeprefix("Basic ")) == unquote_to_bytes(login)


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


def test_an_etag_that_says_a_secret_is_told_from_others_without_it() -> None:
    tags = []
    for tag in (f'"{SECRET}-1"', f'"{SECRET}-2"', f'"{SECRET}-1"', f'W/"{SECRET}-1"'):
        headers = httpx.Headers({"ETag": tag})
        drop_echoes(headers, {SECRET})
        tags.append(headers["etag"])
    assert tags[0] == tags[2] != tags[1]
    assert tags[3].startswith('W/"')
    assert not any(SECRET in tag for tag in tags)


@pytest.mark.parametrize(
    ("name", "value"),
    [
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
    signed = {"url": f"https://cdn.example/a?X-Amz-Signature={SECRET}", "v": f"rev-{SECRET}"}
    assert place.origin(TRACK, "https://host/t1", {}, signed).version is None


@pytest.mark.parametrize("asked", ["https://host/s3cret-4f1d/t1", "https://host/t1?key=s3cret-4f1d"])
def test_a_version_that_says_what_a_variable_brought_is_none(asked: str) -> None:
    place = StreamPlace(Pointer("", "/url"), Pointer("", "/v"))
    said = {"url": "/a", "v": f"v-{SECRET}"}
    assert place.origin(TRACK, asked, {}, said, {SECRET}).version is None


def test_an_id_that_says_a_secret_does_not_fit() -> None:
    song = {"title": f"Song {SECRET[:6]}\x01{SECRET[6:]}", "id": f"x-{SECRET}"}
    content = json.dumps({"subsonic-response": {"status": "ok", "song": song, "other": {"id": 4711471147}}}).encode()
    answer = read_answer(TRACK, content, {SECRET, "47114711"})
    assert answer.record("song").text("title") == ""
    for name in ("song", "other"):
        with pytest.raises(BadResponse, match=r'"id" is missing or wrong'):
            answer.record(name).id()


def test_a_number_that_counts_nothing_is_none() -> None:
    for huge in ("1e308", "1" + "0" * 4000):
        content = f'{{"subsonic-response": {{"status": "ok", "songCount": {huge}}}}}'.encode()
        assert read_answer(TRACK, content, ()).number("songCount") is None


def test_a_title_that_says_a_secret_is_none() -> None:
    song = {"title": f"Song {SECRET}", "artist": "E.P.", "id": "t1"}
    content = json.dumps({"subsonic-response": {"status": "ok", "song": song, "list": [song]}}).encode()
    answer = read_answer(TRACK, content, {SECRET})
    for record in (answer.record("song"), *answer.records("list")):
        assert (record.text("title"), record.text("artist")) == ("", "E.P.")


def _answer(status: str, *lines: str, body: bytes = b"") -> bytes:
    head = (f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *lines, "", "")
    return "\r\n".join(head).encode() + body


_PRINT = f"""credential_command = [{json.dumps(sys.executable)}, "-c", "import os; print(os.environ['PRINTED'])"]"""
_OPTIONS = {
    "folder": 'url = "URL/${TOK}/{id}"',
    "parameter": 'url = "URL/{id}?key=${TOK}"',
    "parameters": 'url = "URL/{id}?${PAIR}"',
    "userinfo": 'url = "http://${TOK}:x-oauth-basic@HOST/{id}"',
    "document": 'resolve_url = "URL/doc/{id}?key=${TOK}"\nstream_pointer = "/url"\nversion_pointer = "/v"',
    "command": f'resolve_url = "URL/doc/{{id}}"\nstream_pointer = "/url"\nversion_pointer = "/v"\n{_PRINT}',
    "redirect": 'url = "URL/hop/{id}"',
    "unheard of": f'url = "URL/{{id}}?whatever={SECRET}&id={{id}}"',
}


def _configure(stranger: Stranger, url: str, options: str) -> None:
    written = options.replace("URL", url).replace("HOST", url.removeprefix("http://"))
    stranger.configure(url, sources=f'[sources.mine]\nkind = "http"\n{written}\n')
    printed = json.dumps({"Authorization": f"Bearer {SECRET}"})
    stranger.environment |= {"TOK": SECRET, "PAIR": f"key={SECRET}&b=1", "PRINTED": printed}


@pytest.mark.parametrize("options", _OPTIONS.values(), ids=_OPTIONS)
def test_what_an_answer_says_of_a_secret_is_not_kept(
    stranger: Stranger, raw_server: StartRawServer, options: str
) -> None:
    name = f'Content-Disposition: attachment; filename="song {SECRET}.wav"'
    audio = _answer("200 OK", f'ETag: "{SECRET}"', name, body=make_wave(1000))
    document = json.dumps({"url": f"{raw_server(audio).url}/a", "v": f"v{SECRET}"}).encode()
    answers = {
        b"/hop": _answer("302 Found", f"Location: /mid?token={SECRET}"),
        b"/mid": _answer("302 Found", "Location: /end"),
        b"/doc": _answer("200 OK", body=document),
    }
    server = raw_server(lambda head: answers.get(head.split()[1][:4], audio))
    _configure(stranger, server.url, options)
    told = stranger.run("fetch", "mine:t1")
    told_later = stranger.run("ls", "--json")
    assert SECRET not in f"{told}{told_later}"
    files = [path for path in stranger.root.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert "mine:t1" in told_later.out


_TOKEN = b64encode(bytes(range(200, 232))).decode()
_RAW = "0123456789-hush-hush-of-32-bytes"


@pytest.mark.parametrize(
    ("token", "digest"),
    [(_TOKEN, b64decode(_TOKEN)), (b64decode(_TOKEN).hex().upper(), b64decode(_TOKEN)), (_RAW, _RAW.encode())],
)
@pytest.mark.parametrize("field", ["Repr-Digest", "Content-Digest", "Digest", "x-amz-checksum-sha256"])
def test_a_digest_that_says_a_secret_is_not_kept_with_a_partial(
    stranger: Stranger, raw_server: StartRawServer, token: str, digest: bytes, field: str
) -> None:
    value = b64encode(digest).decode()
    said = f"{field}: {value if 'amz' in field else f'sha-256={value}' if field == 'Digest' else f'sha-256=:{value}:'}"
    server = raw_server(answer(make_wave(100_000), said, 'ETag: "1"', length=200_000))
    stranger.environment["TOK"] = token
    sources = f'[sources.mine]\nkind = "http"\nurl = "{server.url}/{{id}}"\nheaders = {{ X-Key = "${{TOK}}" }}\n'
    stranger.configure(server.url, sources=sources)
    stranger.run("fetch", "mine:t1", code=75)
    [sidecar] = (stranger.root / "partials-v1").glob("*.json")
    assert value not in sidecar.read_text()


@pytest.mark.parametrize("said", [_TOKEN, b64encode(_RAW.encode()).decode()])
def test_a_digest_in_a_trailer_that_says_a_secret_promises_nothing(said: str) -> None:
    headers = {"repr-digest": f"sha-256=:{said}:"}
    assert promises(headers, partial=False)
    assert promises(headers, partial=False, secrets={_TOKEN, _RAW, "short"}) == []
    assert promises(headers, partial=False, secrets={"another-secret"})


@pytest.mark.parametrize("said", ["ab%2B%2Fcd-3%3D%3D", "ab-_cd-3==", "ab-_cd-3", "ab+/cd-3", "x%2520ab%252B%252Fcd-3"])
def test_a_token_in_another_spelling_is_an_echo(said: str) -> None:
    assert is_echo(said, {"ab+/cd-3=="})
    assert not is_echo(said.replace("cd", "dc"), {"ab+/cd-3==", "======"})


_NAMED = {
    "redirect": 'url = "URL/hop/{id}"\nheaders = { Authorization = "Bearer ${TOK}" }',
    "document": 'resolve_url = "URL/doc/{id}"\nstream_pointer = "/url"\nheaders = { Authorization = "Bearer ${TOK}" }',
    "command": f'resolve_url = "URL/doc/{{id}}"\nstream_pointer = "/url"\n{_PRINT}',
}


@pytest.mark.parametrize("options", _NAMED.values(), ids=_NAMED)
def test_a_host_that_an_answer_names_by_a_secret_is_not_shown(
    stranger: Stranger, raw_server: StartRawServer, options: str
) -> None:
    there = f"http://{SECRET}.invalid/x"
    hop = _answer("302 Found", f"Location: {there}")
    document = _answer("200 OK", body=json.dumps({"url": there}).encode())
    server = raw_server(lambda head: hop if b"/hop" in head else document)
    _configure(stranger, server.url, options)
    told = stranger.run("fetch", "mine:t1", code=75)
    assert SECRET not in f"{told}"
    assert "the name a host that it names does not resolve" in told.err
