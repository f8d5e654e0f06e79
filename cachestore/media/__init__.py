"""What the bytes of a file are: the container, told from its first bytes, and never from what a server says; whole.

One canonical extension and media type for each container. The decisions among the doubtful:

- ISO media (``ftyp``) is ``m4a`` whatever its brand, also with a picture track beside the sound, except for brands
  that promise video (QuickTime, M4V, 3GP, F4V) or images (HEIF, AVIF).
- ASF is ``wma``: only its header objects, not its first bytes, would tell a video.
- MPEG audio is ``mp3`` in layer III only, and a frame must be followed by another of its kind, so that no accident of
  two bytes makes an mp3. Behind an ID3 tag, padding is skipped.
- Matroska is audio as WebM only.

Whole is what reaches the end that its own header tells; where a header tells none, as a stream's cannot, nothing is
missed. What programs append, tags and zeros, is no reason to refuse a file. Each container has a file here, which reads
a bounded number of bytes of it, and says what it cannot see.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cachestore.errors import NotAudio, Truncated
from cachestore.media.asf import check_asf
from cachestore.media.au import check_au
from cachestore.media.caf import check_caf
from cachestore.media.envelopes import envelope, failure
from cachestore.media.flac import check_flac
from cachestore.media.iff import check_aiff, check_wave
from cachestore.media.looks import looks_like
from cachestore.media.mp4 import check_mp4
from cachestore.media.mpeg import check_adts, check_mp3
from cachestore.media.ogg import check_ogg
from cachestore.media.sniff import HEAD, container
from cachestore.media.span import Broken, Cut, Span
from cachestore.media.w64 import check_w64
from cachestore.media.wavpack import check_wavpack
from cachestore.media.webm import check_webm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO, Literal

    from cachestore.errors import TrackError
    from cachestore.track import Track

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "w64": "audio/x-w64",
    "aiff": "audio/aiff",
    "au": "audio/basic",
    "caf": "audio/x-caf",
    "wma": "audio/x-ms-wma",
    "wv": "audio/x-wavpack",
    "webm": "audio/webm",
}
_CHECKS = {
    "mp3": check_mp3,
    "flac": check_flac,
    "m4a": check_mp4,
    "aac": check_adts,
    "ogg": check_ogg,
    "oga": check_ogg,
    "opus": check_ogg,
    "wav": check_wave,
    "w64": check_w64,
    "aiff": check_aiff,
    "au": check_au,
    "caf": check_caf,
    "wma": check_asf,
    "wv": check_wavpack,
    "webm": check_webm,
}


class Readable(Protocol):
    """What bytes can be read from: a path, or a body that is still in memory."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it, to be read and closed by the caller."""


class Media(NamedTuple):
    """A container: its canonical extension, without a dot, and its media type."""

    ext: str
    media_type: str


def identify(body: Readable, track: Track, check: Callable[[], None] = lambda: None) -> Media:
    """Return what a file or body is, if it is audio and whole; `check` is called now and then and raises to end it.

    Raise Truncated when it ends before the end that its header tells; Unauthorized, NotFound or NotAudio when it is a
    service's error document; NotAudio, saying what it looks like, for all else.
    """
    with body.open("rb") as file:
        found = container(file)
        if found is None:
            raise _refusal(file, track)
        try:
            _CHECKS[found.ext](Span(file, found.start, file.seek(0, os.SEEK_END), check))
        except Cut as cut:
            raise Truncated(track.address, track.label, str(cut)) from None
        except Broken as broken:
            raise NotAudio(track.address, track.label, str(broken)) from None
    return Media(found.ext, MEDIA_TYPES[found.ext])


def recognize(path: Path) -> Media | None:
    """Return what the file at `path` is, whole or not; None if it is no audio."""
    with path.open("rb") as file:
        found = container(file)
    return Media(found.ext, MEDIA_TYPES[found.ext]) if found else None


def _refusal(file: BinaryIO, track: Track) -> TrackError:
    file.seek(0)
    head = file.read(HEAD)
    found = envelope(head)
    if found is not None:
        return failure(found, track)
    return NotAudio(track.address, track.label, f"the server sent {looks_like(head)} instead of audio")
