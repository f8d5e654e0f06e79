from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cachestore.config import SourceConfig
from cachestore.errors import ConfigError
from cachestore.sources.secret_urls import carries, credentials_of, expand_url, secrets_of
from cachestore.sources.subsonic.settings import read_settings
from cachestore.sources.template import Template
from cachestore.track import Track
from cachestore.web.authority import authority_of
from tests.stranger import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartNginx
    from tests.stranger import Stranger

PASSWORDS = ["4711/topsecret", "a/b", "a?b", "a#b", "a%41", "a@b", "a:b", "{id}", "ö ß+&="]
SECRETS = st.text(st.characters(codec="utf-8"), min_size=1)
HIDDEN = "sources.dav.url"


@given(user=SECRETS, password=SECRETS, folder=SECRETS, token=SECRETS)
def test_no_value_leaves_its_place(user: str, password: str, folder: str, token: str) -> None:
    environ = {"USER": user, "PW": password, "IN": folder, "TK": token}
    url = expand_url("https://${USER}:${PW}@music.example:81/${IN}/x?token=${TK}&id=1#end", "", environ)
    parts = urlsplit(url)
    assert (parts.hostname, parts.port, parts.fragment) == ("music.example", 81, "end")
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert unquote(parts.path) == f"/{folder}/x"
    assert parse_qs(parts.query) == {"token": [token], "id": ["1"]}
    assert all(carries(url, {secret}) for secret in (user, password, token))
    assert (httpx.URL(url).username, httpx.URL(url).password) == (user, password)


@given(password=SECRETS)
def test_user_and_password_may_be_one_variable(password: str) -> None:
    assume(not password.startswith(":"))
    url = httpx.URL(expand_url("https://${LOGIN}@music.example/", "", {"LOGIN": f"dj:{password}"}))
    assert (url.username, url.password, url.host) == ("dj", password, "music.example")


@pytest.mark.parametrize(
    ("raw", "value", "expanded"),
    [
        ("${VAR}/{id}", "https://music.example:81/api?x", "https://music.example:81/api?x/{id}"),
        ("https://${VAR}/{id}", "music.example:81", "https://music.example:81/{id}"),
        ("${VAR}://music.example/{id}", "https", "https://music.example/{id}"),
        ("https://music.example/${VAR}/{id}", "api/v1", "https://music.example/api/v1/{id}"),
        ("https://music.example/{id}?${VAR}", "se=1&sig=a%2Fb", "https://music.example/{id}?se=1&sig=a%2Fb"),
        ("https://music.example/{id}?a=b&${VAR}", "se=1&sig=a%2Fb", "https://music.example/{id}?a=b&se=1&sig=a%2Fb"),
    ],
)
def test_a_variable_for_a_whole_part_of_a_url_is_put_in_as_it_is(raw: str, value: str, expanded: str) -> None:
    assert expand_url(raw, "", {"VAR": value}) == expanded


@pytest.mark.parametrize("raw", ["https://dj:${NONE}@a/{id}", "https://a/${NONE}/{id}?${NONE}=${NONE}", "https://${"])
def test_a_variable_that_is_not_set_is_an_error_in_any_place(raw: str) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.dav\.url: .*(NONE is not set|expected \$\{NAME\})"):
        expand_url(raw, HIDDEN, {})


@pytest.mark.parametrize("password", PASSWORDS)
def test_any_password_in_a_template_leads_to_its_server(password: str) -> None:
    template = Template.parse(HIDDEN, "http://dj:${PW}@music.example/{id}", {"PW": password})
    url = template.fill(Track("dav", "t1"))
    assert authority_of(url) == authority_of("http://music.example")
    assert httpx.URL(url).password == password


@pytest.mark.parametrize("password", PASSWORDS)
def test_any_password_in_the_url_of_a_music_server_leads_to_it(password: str) -> None:
    options = {"url": "https://dj:${PW}@music.example/navidrome/", "user": "dj", "password": "x"}
    base = read_settings(SourceConfig("home", "subsonic", options), {"PW": password}).base
    assert (authority_of(base).host, httpx.URL(base).password) == ("music.example", password)


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_part_of_a_password_is_shown_or_names_a_server(stranger: Stranger, closed_port: int, password: str) -> None:
    place = f"127.0.0.1:{closed_port}"
    dav = f'[sources.dav]\nkind = "http"\nurl = "http://dj:${{PW}}@{place}/{{id}}"\n'
    stranger.configure("http://127.0.0.1:1", sources=dav)
    stranger.environment["PW"] = password
    told = stranger.run("fetch", "dav:t1", code=75).err
    assert f"dav:t1: no connection to {place}: connection refused" in told
    assert password not in told
    assert "4711" not in told.replace(place, "")


WRONG = {
    "user and password": "http://dj:${SECRET}@127.0.0.1:PORT/locked/{id}",
    "one variable": "http://${SECRET}@127.0.0.1:PORT/locked/{id}",
    "a token": "http://127.0.0.1:PORT/locked/{id}?token=${SECRET}",
    "a folder": "http://127.0.0.1:PORT/locked/${SECRET}/{id}",
    "a part of a folder": "http://127.0.0.1:PORT/locked/api-${LONG}/{id}",
    "a parameter of any name": "http://127.0.0.1:PORT/locked/{id}?key=${SECRET}",
    "a token in the file": "http://127.0.0.1:PORT/locked/{id}?token=wrong",
    "whole parameters": "http://127.0.0.1:PORT/locked/{id}?${PAIR}",
}


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
def test_refused_credentials_in_a_url_are_not_used_on(
    stranger: Stranger, nginx: StartNginx, tmp_path: Path, url: str
) -> None:
    server = nginx(tmp_path, body="location /locked/ { return 401; }")
    table = f'[sources.dav]\nkind = "http"\nurl = "{url}"\n'.replace("PORT", str(server.port))
    stranger.configure(server.url, sources=table)
    stranger.environment |= {"SECRET": "p_w", "LONG": "s3cret-4f1d", "PAIR": "se=1&sig=a%2Fb"}
    told = stranger.run("fetch", "--jobs", "1", *(f"dav:t{number}" for number in range(12)), code=77).err
    assert len(server.requests()) == 1
    assert told.count("check the credentials of [sources.dav]") == 1
    assert told.count("the source dav is not asked again in this run") == 11


@pytest.mark.parametrize(
    ("parameter", "headers"),
    [("", ""), ("&format=raw", ""), ("&dl=", ""), ("&token=", ""), ("", 'headers = { Accept = "audio/*" }\n')],
)
def test_tracks_that_a_server_refuses_without_credentials_are_each_asked_for(
    stranger: Stranger, nginx: StartNginx, tmp_path: Path, parameter: str, headers: str
) -> None:
    body = 'location /open { if ($arg_id = "t1") { return 200; } return 401; }'
    server = nginx(tmp_path, body=body)
    table = f'[sources.bare]\nkind = "http"\nurl = "{server.url}/open?id={{id}}{parameter}"\n{headers}'
    stranger.configure(server.url, sources=table)
    told = stranger.export(*(row(f"t{number}", "bare") for number in range(4)), code=1).err
    assert len(server.requests()) == 4
    assert "not asked again" not in told


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ({"url": "https://a/${TK}/{id}"}, {"s3cret/1", "s3cret%2F1"}),
        ({"url": "https://a/{id}?key=${TK}&format=raw"}, {"s3cret/1", "s3cret%2F1"}),
        ({"url": "https://a/{id}?${PAIR}"}, {"key=s3cret", "key%3Ds3cret", "s3cret"}),
        ({"url": "https://a/{id}?token=literal&dl="}, {"literal"}),
        ({"url": "https://${NAME}:literal@${HOST}/{id}"}, {"literal"}),
        ({"url": "https://literal:x-oauth-basic@a/{id}"}, {"literal", "x-oauth-basic"}),
        ({"headers": {"X-Key": "literal", "Accept": "audio/*"}}, {"literal"}),
        ({"user": "${NAME}", "password": "literal", "mode": "fast"}, {"literal"}),
        ({"url": "https://a/${NONE}/{id}"}, set()),
    ],
)
def test_options_hide_what_variables_bring_and_credentials_but_no_name_of_a_user(
    options: dict[str, object], hidden: set[str]
) -> None:
    environ = {"TK": "s3cret/1", "PAIR": "key=s3cret", "NAME": "florence", "HOST": "music.example"}
    assert secrets_of(SourceConfig("mine", "http", options), environ) == hidden


def test_a_url_with_the_user_of_a_source_carries_its_credentials() -> None:
    known = credentials_of(SourceConfig("home", "subsonic", {"user": "dj", "password": "x"}), {})
    assert carries("https://a/rest/download.view?u=dj&t=1f&s=2e", known)
    assert not carries("https://dj.example/djs?id=djs", known)
