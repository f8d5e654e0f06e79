"""Requests: what sources and downloads have in common when they ask a server.

web        one GET, or a whole document, with everything below
retries    when a failure is worth another attempt, and when to stop
pace       whether the bytes of a body come fast enough
hops       redirects, followed by hand
authority  which server a URL names
flights    requests under way, and how another thread ends them
client     the HTTP client that all requests of a run share, and its connections
dialing    how a connection is made
proxies    through which proxy
layers     TLS within TLS
connection what is sent and read on one
heads      heads of requests and answers
bodies     bodies, by what their heads say
fields     what header fields say
failures   what a failure is called

In a process that has not imported httpx before, ``httpx.main`` is the stand-in that httpx has where its command line is
not installed; ``httpx._main.main`` is the command line, and ``python -m httpx`` runs it as ever.
"""

from __future__ import annotations

import sys

if "httpx" not in sys.modules:
    # Wherever click and rich are, httpx imports its own command line with them: half of its time, and 6 MB.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # which is how an import is made to fail
    import httpx  # noqa: F401

    del sys.modules["httpx._main"]

from cachestore.web.web import Document, Web, open_web

__all__ = ["Document", "Web", "open_web"]
