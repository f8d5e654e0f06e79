"""Which server a URL names: the answer is that of the client that connects to it."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachestore.web.authority import Authority, authority_of

PIECES = ["http:", "HTTPS:", "//", "/", "@", ":", "443", "80", "0", "h", "H.example", "[::1]", "[", "ü", "ß", "%", "?"]


@pytest.mark.parametrize(
    "url",
    [
        "https://music.example",
        "https://music.example/api?x#y",
        "HTTPS://MUSIC.example:443/",
        "https://music.example:/",
        "https://dj:p%40ss@music.example",
        "https://evil.example:80@music.example",
    ],
)
def test_the_same_server_may_be_written_in_many_ways(url: str) -> None:
    assert authority_of(url) == Authority("https", "music.example", 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://music.example",
        "http://music.example:443",
        "https://music.example:80",
        "https://music.example.",
        "https://music.example@evil.example",
        "https://music.example\\@evil.example",
    ],
)
def test_another_scheme_host_or_port_is_another_server(url: str) -> None:
    assert authority_of(url) != Authority("https", "music.example", 443)


def test_an_international_name_is_the_one_that_is_looked_up() -> None:
    assert authority_of("https://MÜSIC.example") == authority_of("https://xn--msic-0ra.example")
    assert authority_of("https://straße.example") != authority_of("https://strasse.example")


@pytest.mark.parametrize(
    "url",
    [
        *("", "music.example", "//music.example/a", "ftp://music.example", "https:///a", "https://dj@/a"),
        *("https://h:port", "https://h:0", "https://h:65536", "https://[::1", "https://\N{SNOWMAN}.example"),
        "https://\N{FULLWIDTH LATIN SMALL LETTER M}usic.example",
    ],
)
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of urllib or ours, its words are nobody's business
        authority_of(url)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text().map(lambda text: f"https://{text}"))
@example("https://dj:x@H.example:443@h:80/")
def test_it_is_the_server_that_the_client_connects_to(url: str) -> None:
    try:
        named, asked = authority_of(url), httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return
    again = httpx.URL(scheme=named.scheme, host=named.host, port=named.port)
    assert (again.scheme, again.raw_host, again.port) == (asked.scheme, asked.raw_host, asked.port)
