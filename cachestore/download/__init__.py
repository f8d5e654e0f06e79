"""One conditional, resumable GET: what a track's origin answers becomes `NotModified` or a whole `Body`.

downloader   the retries of one download
transfer     one attempt: conditions, status, body, resume
hops         redirects, followed by hand
flights      requests under way, and how another thread ends them
client       the HTTP client that all of them share
fields       what header fields say
failures     what a failure is called
"""

from __future__ import annotations

from cachestore.download.client import open_client
from cachestore.download.downloader import Downloader
from cachestore.download.transfer import Body, NotModified

__all__ = ["Body", "Downloader", "NotModified", "open_client"]
