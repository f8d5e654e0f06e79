"""One conditional, resumable GET: what a track's origin answers becomes `NotModified` or a whole `Body`.

downloader   the download of one track, by this process or another one
outcome      what becomes of it
transfer     its attempts: status, body, resume
question     what is asked for: conditions and ranges
gate         whether a body is whole, right and audio
digests      what servers promise of their bytes
"""

from __future__ import annotations

from cachestore.download.downloader import Downloader, Elsewhere
from cachestore.download.outcome import Body, NotModified, Postponed, Watch

__all__ = ["Body", "Downloader", "Elsewhere", "NotModified", "Postponed", "Watch"]
