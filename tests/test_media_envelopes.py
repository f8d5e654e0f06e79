"""cachestore.media.envelopes: a service's error document that comes with status 200."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachestore.errors import Forbidden, NotAudio, NotFound, TrackError, Unauthorized
from cachestore.media import identify
from cachestore.media.envelopes import Envelope, envelope, failure
from cachestore.track import Track

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACK = Track("home", "t1", title="Opus")
SECRET = "tok-7c1d"


def subsonic_json(code: object, status: str = "failed") -> bytes:
    error = {"code": code, "message": f"Wrong token {SECRET}"}
    return json.dumps({"subsonic-response": {"status": status, "version": "1.16.1", "error": error}}).encode()


def subsonic_xml(code: object) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- by a server -->\n'
        '<subsonic-response xmlns="http://subsonic.org/restapi" version="1.16.1" status="failed">\n'
        f"  <error message='Wrong token {SECRET}' code='{code}'/>\n</subsonic-response>"
    ).encode()


def s3(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>'.encode()


def refusal(folder: Path, data: bytes) -> TrackError:
    path = folder / "body"
    path.write_bytes(data)
    with pytest.raises(TrackError) as caught:
        identify(path, TRACK)
    return caught.value


@pytest.mark.parametrize("document", [subsonic_json, subsonic_xml])
@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (40, Unauthorized, "Opus: the server refused the credentials (Subsonic error 40: wrong user or password)"),
        (41, Unauthorized, "does not support token authentication"),
        (42, Unauthorized, "does not support this way to authenticate"),
        (43, Unauthorized, "two ways to authenticate"),
        (44, Unauthorized, "the API key is not valid"),
        (50, Forbidden, "this user may not do this"),
        (70, NotFound, "Opus: the server has nothing of that id (Subsonic error 70: it was not found)"),
        (0, NotAudio, "Opus: the server answered with an error; check the id (Subsonic error 0)"),
        (10, NotAudio, "a parameter is missing"),
        (12345, NotAudio, "(Subsonic error 12345)"),
    ],
)
def test_a_subsonic_failure_becomes_a_typed_error_in_our_own_words(
    tmp_path: Path, document: Callable[[object], bytes], code: int, error: type[TrackError], sentence: str
) -> None:
    found = refusal(tmp_path, document(code))
    assert type(found) is error
    assert found.provider_code == str(code)
    assert sentence in str(found)
    assert SECRET not in str(found) + repr(found)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, Forbidden) for code in ("AccessDenied", "ExpiredToken", "SignatureDoesNotMatch")),
        *((code, Unauthorized) for code in ("InvalidAccessKeyId", "InvalidToken")),
        *((code, NotFound) for code in ("NoSuchKey", "NoSuchBucket")),
        *((code, NotAudio) for code in ("SlowDown", "InternalError")),
    ],
)
def test_an_s3_failure_becomes_a_typed_error(tmp_path: Path, code: str, error: type[TrackError]) -> None:
    found = refusal(tmp_path, s3(code))
    assert type(found) is error
    assert found.provider_code == code
    assert f"(S3 error {code})" in str(found)
    assert SECRET not in str(found) + repr(found)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (b"\xef\xbb\xbf" + subsonic_json("40"), Envelope("subsonic", "40")),
        (subsonic_json(40).decode().encode("utf-16"), Envelope("subsonic", "40")),
        (b'{"subsonic-response":{"status":"failed"}}', Envelope("subsonic", "0")),
        (subsonic_json(None), Envelope("subsonic", "0")),
        (subsonic_json(f"40 {SECRET}"), Envelope("subsonic", "0")),
        (b'<subsonic-response status="failed"/>', Envelope("subsonic", "0")),
        (b"\r\n " + subsonic_xml(70), Envelope("subsonic", "70")),
        (subsonic_xml(70).replace(b"\n</subsonic-response>", b"<cut"), Envelope("subsonic", "70")),
        (subsonic_xml(70).decode().replace("UTF-8", "UTF-16").encode("utf-16"), Envelope("subsonic", "70")),
        (s3(" NoSuchKey\n"), Envelope("s3", "NoSuchKey")),
        (b'<Error xmlns="http://doc.s3.amazonaws.com/2006-03-01"><Code>SlowDown</Code>', Envelope("s3", "SlowDown")),
        (subsonic_json(40, status="ok"), None),
        (b'<subsonic-response status="ok"><error code="40"/></subsonic-response>', None),
        (b'<a><subsonic-response status="failed"/></a>', None),
        (s3(f"no code at all: {SECRET}"), None),
        (s3("A" * 65), None),
        (b"<Error><Message><Code>AccessDenied</Code></Message></Error>", None),
        (b'{"subsonic-response":[]}', None),
        (b'{"subsonic-response":{"status":"failed","error":7}}', Envelope("subsonic", "0")),
        (b"[1]", None),
        (b"1" * 5000, None),
        (b"[" * 60_000, None),
        (b'{"subsonic-response":' * 3000, None),
        (b"<?xml version='1.0' encoding='nobody-knows'?><Error/>", None),
        (b"<?xml version='1.0' encoding='utf-7'?><Error/>", None),
        (b"", None),
    ],
)
def test_an_envelope_is_read_as_parsers_read_it(document: bytes, found: Envelope | None) -> None:
    assert envelope(document) == found


def test_a_document_type_is_not_read_so_no_entity_can_blow_up() -> None:
    nested = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    bomb = f'<!DOCTYPE Error [<!ENTITY e0 "AccessDenied">{nested}]><Error><Code>&e29;</Code></Error>'
    assert envelope(bomb.encode()) is None
    assert envelope(b'<!DOCTYPE Error [<!ENTITY e "AccessDenied">]><Error><Code>&e;</Code></Error>') is None
    assert envelope(b'<!DOCTYPE Error SYSTEM "file:///etc/passwd"><Error><Code>AccessDenied</Code></Error>') is None


PIECES = [b"<Error>", b"<Code>", b"AccessDenied", b"</Code>", b"<subsonic-response status='failed'>", b"<error code='"]
PIECES += [
    b"40",
    b"'/>",
    b"<?xml version='1.0' encoding='",
    b"'?>",
    b"\xff",
    b"&lt;",
    b"<![CDATA[",
    b"]]>",
    b"\0",
    b'{"',
]
PIECES += [b"subsonic-response", b'":', b"}", b'"status":"failed"', b',"error":', b'{"code":40}', b"idna", b"utf-16"]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=12).map(b"".join))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    found = envelope(data)
    assert found is None or (found.code.isascii() and found.code.isalnum() and found.kind in {"subsonic", "s3"})


@given(st.sampled_from(["subsonic", "s3"]), st.text(st.characters(codec="ascii", categories=["Nd", "L"]), min_size=1))
def test_every_code_becomes_an_error_that_carries_it(kind: str, code: str) -> None:
    found = failure(Envelope("s3" if kind == "s3" else "subsonic", code), TRACK)
    assert found.provider_code == code
    assert f"error {code}" in str(found)
