"""Secrets in URLs of every shape that people paste: none is stored, shown or told, and none names a track.

Nor are those that are typed where something else is expected.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cachestore.authorizing import url_secrets
from cachestore.errors import AddressError
from cachestore.text import redacted
from cachestore.track import escape_id, parse_address, redact_url, url_track
from tests.downloads import SMALL, answer
from tests.stranger import row
from tests.test_secrets import Scribe, found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

CORE = "hunterHUSH4711"
NAMES: tuple[str, ...] = (
    "token",
    "Access_Token",
    "sig",
    "X-Amz-Signature",
    "jwt",
    "apikey",
    "PASSWORD",
    "t%6fken",
    "%74oken",
)
NAMES += ("X-Plex-Token", "X-Emby-Token", "auth_token", "id_token", "access-token", "refresh_token", "client_secret")
NAMES += ("pwd", "api-key", "hmac", "authToken", "accessKeyId", "token[]", "PHPSESSID")


MARKS = [spelling for mark in "?;&" for spelling in (mark, *(f"%{'25' * n}{ord(mark):X}" for n in range(3)))]
MARKS += [spelling for mark in ",~|(/#\\" for spelling in (f"%{ord(mark):X}", f"%25{ord(mark):X}")] + [*",~|(\\"]
EQUALS = ["=", "%3D", "%253d"]
FRONTS = ["/a.wav", "/box;x=1/a.wav", "/a%2Cb.wav", "/a%3Bx=1", "/%C3%A9&y", "/a.wav%3Fid=7", "/"]
BEHIND = ["", "&x=1", ";x=1", "%26x=1", "/b.wav", "%253Bx=1", "?id=1", "#t=5"]
VALUES = [CORE, f"{CORE}%3D%3D", f"ab%2F{CORE}", f"{CORE}.e30.x"]
LOGINS = ["", "dj:", "dj:a%2F"]


def planted(server: str, choose: Callable[[Sequence[str]], str]) -> str:
    """Return a URL with a credential in its userinfo, path or query."""
    if choose(["parameter", "parameter", "parameter", "login"]) == "login":
        return server.replace("://", f"://{choose(LOGINS)}{CORE}@") + "/a.wav"
    mark = choose([*MARKS, "/"])
    if choose(["upper", "lower"]) == "lower":
        mark = mark.lower()
    equals = choose(EQUALS) if mark.startswith("%") else "="
    return f"{server}{choose(FRONTS)}{mark}{choose(NAMES)}{equals}{choose(VALUES)}{choose(BEHIND)}"


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Return any of these."""
    return planted("https://host", lambda several: draw(st.sampled_from(several)))


@given(urls())
def test_no_secret_is_in_what_is_kept_or_shown_of_a_url(url: str) -> None:
    track = url_track(url)
    told = [track.address, track.label, repr(track), redact_url(url), redacted(url), redacted(f"url:{escape_id(url)}")]
    for text in (f"url:{escape_id(url)}", f"url:{escape_id(escape_id(url))}", url.replace("://", ":/")):
        try:
            told.append(parse_address(text).address)
        except AddressError as error:
            told += [str(error), repr(error)]
    assert [text for text in told if CORE in text] == []


@given(urls())
@example(f"https://host/a.wav?token=ab%2F{CORE}?id=1")
def test_what_authorizes_is_known_again_where_a_server_says_it(url: str) -> None:
    assert any(CORE in secret for secret in url_secrets(url))


@given(urls())
def test_who_asks_makes_no_other_track(url: str) -> None:
    assert url_track(url) == url_track(url.replace(CORE, "another"))


def test_no_planted_secret_is_written_or_printed(stranger: Stranger, raw_server: StartRawServer) -> None:
    server = raw_server(lambda head: answer(SMALL, f'Content-Disposition: filename="{head.split()[1].decode()}"'))
    choose = random.Random(CORE).choice
    several = [planted(f"{server.url}/{number}", choose) for number in range(60)]
    stranger.configure(server.url)
    scribe = Scribe(stranger)
    addresses = [f"url:{escape_id(url)}" for url in several]
    for command in (["fetch", *several, "--events", "ndjson"], ["fetch", *several, "-vv"], ["ls", "--json"], ["ls"]):
        scribe.run(*command)
    for address in addresses[:4]:
        scribe.run("fetch", address)
    assert found(scribe, {"planted": CORE}) == set()
    assert sum(CORE.encode() in head for head in server.received) > 60  # twice all but the logins


def test_no_secret_is_in_what_is_made_of_a_title_that_is_a_url(stranger: Stranger, raw_server: StartRawServer) -> None:
    server = raw_server(answer(SMALL))
    stranger.configure(server.url)
    stream = f"{server.url}/api/t1?token={CORE}"
    playlist = stranger.home.with_name("friday.m3u")
    playlist.write_text(f"#EXTM3U\n#EXTINF:-1,{stream}\n{stream}\n#EXTINF:-1,t1?token={CORE}\n{stream}\n")
    scribe = Scribe(stranger)
    for command in (["export", str(playlist), "DEST", "--events", "ndjson"], ["ls", "--json"], ["ls"]):
        scribe.run(*command)
    assert found(scribe, {"planted": CORE}) == set()
    assert [path.name for path in stranger.media()] == ["01 - t1.wav"]


@pytest.mark.parametrize("command", ["fetch", "show", "rm", "pin"])
@pytest.mark.parametrize("typed", [f"url:{CORE}#x", f"url:x#{CORE}", f"open:a@{CORE}", f"open:{CORE}@home"])
def test_an_address_that_may_be_a_password_is_not_repeated(
    stranger: Stranger, raw_server: StartRawServer, command: str, typed: str
) -> None:
    server = raw_server(answer(SMALL))
    stranger.configure(server.url)
    stranger.run("fetch", "open:a")
    scribe = Scribe(stranger)
    scribe.run(command, typed)
    assert found(scribe, {"typed": CORE}) == set()
    assert len(scribe.seen[0].splitlines()) == 2  # with the exit code
    assert len(server.received) == 1


@pytest.mark.parametrize("url", [f"https://dj:{CORE}@nas/x", f"dav://nas/x?token={CORE}", f"HTTP:dj:{CORE}@nas"])
def test_a_url_in_the_place_of_a_folder_is_refused_and_nothing_is_made_of_it(stranger: Stranger, url: str) -> None:
    stranger.configure("http://127.0.0.1:9", retries=0)
    mix = stranger.mix(row("t1"))
    scribe = Scribe(stranger)
    commands = (["export", mix, url], ["export", mix, url, "--dry-run"], ["doctor", url], ["repair", "--adopt", url])
    for command in (*commands, ["--root", url, "fetch", "open:t1"], ["--root", url, "ls"]):
        scribe.run(*command)
    assert found(scribe, {"typed": CORE}) == set()
    assert "exit 0" not in "".join(scribe.seen)
    assert [path.name for path in stranger.home.iterdir() if ":" in path.name] == []
