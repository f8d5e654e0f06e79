"""Failures that come as a document with status 200: those of Subsonic servers, and of S3 and what imitates it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cachestore.errors import Forbidden, NotAudio, NotFound, Unauthorized

if TYPE_CHECKING:
    from cachestore.errors import TrackError
    from cachestore.track import Track

_SUBSONIC = "subsonic-response"
_GENERIC = "0"
# What the codes of Subsonic and OpenSubsonic mean (opensubsonic.netlify.app/docs/responses/error).
_MEANINGS = {
    "10": "a parameter is missing",
    "20": "the server wants a newer client",
    "30": "the server is too old",
    "40": "wrong user or password",
    "41": "the server does not support token authentication for this user",
    "42": "the server does not support this way to authenticate",
    "43": "two ways to authenticate were used at once",
    "44": "the API key is not valid",
    "50": "this user may not do this",
    "60": "the server's trial period is over",
    "70": "it was not found",
}
_UNAUTHORIZED = {"40", "41", "42", "43", "44", "InvalidAccessKeyId", "InvalidToken", "NotSignedUp"}
_FORBIDDEN = {
    "50",
    "60",
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "ExpiredToken",
    "InvalidSecurity",
    "MissingSecurityHeader",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_NOT_FOUND = {"70", "NoSuchBucket", "NoSuchKey", "NoSuchVersion"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A failure in a document: whose, and its code there, digits or a word."""

    kind: Literal["subsonic", "s3"]
    code: str


def envelope(head: bytes) -> Envelope | None:
    """Return the failure that a document tells whose first bytes these are; None if it is none, or tells of success."""
    return _from_json(head) or _from_xml(head)


def failure(found: Envelope, track: Track, *, otherwise: type[TrackError] = NotAudio) -> TrackError:
    """Return the error that an envelope stands for: Unauthorized, Forbidden, NotFound, or else `otherwise`.

    The server's own message is never quoted: it may hold a secret.
    """
    service = {"subsonic": "Subsonic", "s3": "S3"}[found.kind]
    meaning = f": {_MEANINGS[found.code]}" if found.kind == "subsonic" and found.code in _MEANINGS else ""
    kind, reason = _kind(found.code, otherwise)
    hint = "; check the id" if kind is otherwise and not meaning else ""
    told = f"{reason}{hint} ({service} error {found.code}{meaning})"
    return kind(track.address, track.label, told, provider_code=found.code)


def _kind(code: str, otherwise: type[TrackError]) -> tuple[type[TrackError], str]:
    """Return the class of error of a code, Subsonic's or S3's: digits or words, so that they never meet."""
    if code in _UNAUTHORIZED:
        return Unauthorized, "the server refused the credentials"
    if code in _FORBIDDEN:
        return Forbidden, "the server does not allow it"
    if code in _NOT_FOUND:
        return NotFound, "the server has nothing of that id"
    return otherwise, "the server answered with an error"


def _from_json(head: bytes) -> Envelope | None:
    try:
        document = json.loads(head)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"subsonic-response": {"status": "failed", "error": {"code": code}}}:
            return _subsonic(code)
        case {"subsonic-response": {"status": "failed"}}:
            return _subsonic(None)
    return None


def _from_xml(head: bytes) -> Envelope | None:
    from xml.parsers import expat

    reader = _XmlReader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.stop
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    # A document that does not parse to its end, such as the first part of one, has told what it told until there.
    with suppress(_Enough, expat.ExpatError, ValueError, LookupError):  # the last two: an encoding nobody knows
        parser.Parse(head.lstrip(), True)  # noqa: FBT003 - expat takes it by place only
    return reader.found


class _Enough(Exception):
    """The rest of a document is of no interest."""


class _XmlReader:
    """What expat calls. A document type ends the reading: without one there are no entities that could blow up."""

    def __init__(self) -> None:
        self.found: Envelope | None = None
        self._path: list[str] = []
        self._code = ""

    def stop(self, *_: object) -> None:
        raise _Enough

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if self._path == [_SUBSONIC, "error"]:
            self.found = _subsonic(attributes.get("code"))
        elif self._path == [_SUBSONIC] and attributes.get("status") == "failed":
            self.found = _subsonic(None)
        elif len(self._path) == 1 and name != "Error":
            raise _Enough

    def text(self, data: str) -> None:
        if self._path == ["Error", "Code"]:
            self._code += data

    def end(self, _: str) -> None:
        if self._path == ["Error", "Code"] and re.fullmatch(r"[A-Za-z0-9.]{1,64}", self._code.strip()):
            self.found = Envelope("s3", self._code.strip())
            raise _Enough
        self._path.pop()


def _subsonic(code: object) -> Envelope:
    known = re.fullmatch(r"[0-9]{1,5}", str(code))
    return Envelope("subsonic", known[0] if known else _GENERIC)
