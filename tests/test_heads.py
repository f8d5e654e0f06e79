"""Heads of requests and answers, and how bodies end: what is no HTTP is refused, and nothing is read in two ways."""

from __future__ import annotations

import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.web.heads import (
    LONGEST_HEAD,
    Framing,
    framing_of,
    is_ambiguous,
    parse_fields,
    parse_head,
    request_head,
)

NAMES = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1).map(str.encode)
VALUES = st.binary().map(lambda value: bytes(set(value) - set(b"\0\n\x0b\x0c\r\x7f")).strip(b" \t"))


def framed(*fields: bytes, status: int = 200) -> Framing:
    return framing_of(parse_head(b"\r\n".join([b"HTTP/1.1 %d OK" % status, *fields])))


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_what_is_sent_is_what_is_read(fields: list[tuple[bytes, bytes]]) -> None:
    head = request_head(b"GET", b"/x", [(b"Host", b"h"), *fields])
    first, _, rest = head.removesuffix(b"\r\n\r\n").partition(b"\r\n")
    assert first == b"GET /x HTTP/1.1"
    assert parse_fields(rest) == [(b"Host", b"h"), *fields]


@pytest.mark.parametrize("target", [b"", b"/a b", b"/a\r\nX: y", b"/\xe9", b"/\0"])
def test_a_target_that_would_be_another_request_is_not_sent(target: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        request_head(b"GET", target, [(b"Host", b"h")])


@pytest.mark.parametrize(
    "field", [(b"", b"x"), (b"a b", b"x"), (b"a:", b"x"), (b"a\r\nb", b"x"), (b"a", b"x\r\nb: y"), (b"a", b"\n"),
              (b"a", b"\0"), (b"a", b"x\r")],
)  # fmt: skip
def test_a_field_that_would_be_another_one_is_not_sent(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        request_head(b"GET", b"/", [(b"Host", b"h"), field])


@pytest.mark.parametrize(
    ("text", "status", "is_last"),
    [
        (b"HTTP/1.1 200 OK", 200, False),
        (b"HTTP/1.1 200 ", 200, False),
        (b"HTTP/1.1 299", 299, False),
        (b"HTTP/1.1 407 Who are y\xf6u?\r\nA: b", 407, False),
        (b"HTTP/1.0 200 OK", 200, True),
        (b"HTTP/1.1 200 OK\nconnection: Keep-Alive,\tCLOSE", 200, True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close", 200, True),
    ],
)
def test_a_head_says_its_status_and_whether_its_connection_goes_on(text: bytes, status: int, is_last: bool) -> None:
    head = parse_head(text)
    assert (head.status, head.is_last) == (status, is_last)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\nHTTP/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r\n goes on",
        b"HTTP/1.1 200 OK\r\nA",
        b"HTTP/1.1 200 OK\r\n: b",
        b"HTTP/1.1 200 OK\r\nA : b",
        b"HTTP/1.1 200 OK\r\nA\xe9: b",
        b"HTTP/1.1 200 OK\r\nA: b\rc",
        b"HTTP/1.1 200 OK\r\nA: b\0",
        b"HTTP/1.1 200 OK\r\nA: b\r\n\r",
    ],
)
def test_what_is_no_head_is_refused(text: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        parse_head(text)


@given(st.binary())
def test_whatever_comes_is_a_head_or_is_refused(text: bytes) -> None:
    for said in (text, b"HTTP/1.1 200 OK\r\n" + text):
        try:
            framing_of(parse_head(said))
        except httpx.RemoteProtocolError:
            continue


def test_a_field_on_several_lines_is_put_together() -> None:
    assert parse_fields(b"A: b\r\n  c\r\n\td\r\nE:\r\n f") == [(b"A", b"b c d"), (b"E", b"f")]


@pytest.mark.parametrize("text", [b"A:" + b" " * LONGEST_HEAD + b"b\r\n c", b"A: b" + b"\r\n " * (LONGEST_HEAD // 3)])
def test_the_longest_head_takes_no_time(text: bytes) -> None:
    began = time.process_time()
    parse_fields(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ([], Framing(None, is_chunked=False)),
        ([b"Content-Length: 5"], Framing(5, is_chunked=False)),
        ([b"Content-Length: 5", b"content-length: 5 , 5"], Framing(5, is_chunked=False)),
        ([b"Transfer-Encoding: Chunked"], Framing(None, is_chunked=True)),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], Framing(None, is_chunked=True)),
    ],
)
def test_a_body_ends_as_its_head_says(fields: list[bytes], framing: Framing) -> None:
    assert framed(*fields) == framing
    assert framed(*fields, status=304) == framed(*fields, status=204) == Framing(0, is_chunked=False)


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5, 6"],
        [b"Content-Length:"],
        [b"Content-Length: 5,"],
        [b"Content-Length: -5"],
        [b"Content-Length: +5"],
        [b"Content-Length: 5_0"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: 6"],
        [b"Content-Length: 9999999999999999999"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: \x0bchunked"],
    ],
)
def test_a_body_of_which_nobody_knows_the_end_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        framed(*fields)


def test_a_length_that_is_said_twice_is_left_once() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\nContent-Length: 5")
    framing_of(head)
    assert head.fields == [(b"A", b"b"), (b"Content-Length", b"5")]


def test_an_answer_with_two_ends_is_the_last_one_of_its_connection() -> None:
    assert is_ambiguous(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5"))
    assert not is_ambiguous(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"))
