"""Requests: what sources and downloads have in common when they ask a server.

web        one GET, or a whole document, with everything below
retries    when a failure is worth another attempt, and when to stop
pace       whether the bytes of a body come fast enough
hops       redirects, followed by hand
authority  which server a URL names
flights    requests under way, and how another thread ends them
parser     what came behind an answer, and its trailer fields
watchdog   ending those that take too long
client     the HTTP client that all requests of a run share
fields     what header fields say
failures   what a failure is called
"""

from __future__ import annotations

from cachestore.web.web import Document, Web, open_web

__all__ = ["Document", "Web", "open_web"]
