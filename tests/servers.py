"""Real web servers on loopback. Tests take them as fixtures (tests/conftest.py); helpers and types come from here.

`nginx(folder)` starts an nginx that serves the files of `folder` and returns it once it answers; it is stopped when the
test ends. ``server.url`` is ``http://127.0.0.1:PORT``; below it:

    /plain/FILE      strong ETag, ranges, 304 (ETag = mtime in seconds + size: see `replace`)
    /auth/FILE       the same behind ``Authorization: Bearer`` + `TOKEN` (else 401)
    /api/tracks/FILE/stream    the same behind the same header: a music API, no extension in the URL, any query
    /modified/FILE   Last-Modified only, no ETag (what Navidrome answers)
    /noetag/FILE     no validator at all, no ranges
    /slow/FILE       64 kB a second
    /redir/FILE      302 to /plain/FILE
    /html/anything   200 with an HTML login page
    /status/CODE/anything      that status: 401 403 404 410 416 429 500 503 (429, 503 with ``Retry-After: 1``)

`nginx(folder, body="location / {...}")` serves only what `body` says. ``tls=True`` serves https as 127.0.0.1 and
localhost with a certificate of a CA that nobody knows: ``server.ca`` is the bundle to trust it by (SSL_CERT_FILE).
``server.requests()`` is the access log: one `Request` each, in the order in which they ended, complete for every answer
that a client has read to its end. ``server.stop()`` cuts open connections and refuses new ones.

`forward_proxy` is an nginx that passes on what it is asked to get from ``http://ADDRESS:PORT`` (an address: it looks up
no names; http only). Set HTTP_PROXY to its ``url``; ``host`` in its log says for whom a request was.

`closed_port` is a loopback port where nobody listens. `replace(path, data)` changes a served file so that nginx's ETag
changes too. Servers that answer with given bytes are in tests/raw_servers.py, music servers in tests/music_servers.py.

A missing program skips the test with "NOT RUN: ..."; with CACHESTORE_REQUIRE_SERVERS=1, as CI sets it, the test fails.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sysconfig
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.raw_servers import RawServer, Stall

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FORWARD_PROXY",
    "TOKEN",
    "Nginx",
    "RawServer",
    "Request",
    "Stall",
    "most_at_once",
    "not_run",
    "program",
    "replace",
]
TOKEN = "tok-7c1d"
FORWARD_PROXY = "location / { proxy_pass http://$http_host$request_uri; proxy_set_header Host $http_host; }"
_LOGIN_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
_STATUSES = (401, 403, 404, 410, 416, 429, 500, 503)
_RETRY = dict.fromkeys((429, 503), "add_header Retry-After 1 always;")
_PATIENCE = 20.0


def not_run(reason: str) -> NoReturn:
    """Skip the test loudly, or fail it where nothing may be missing."""
    if os.environ.get("CACHESTORE_REQUIRE_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"NOT RUN: {reason}")


def program(name: str) -> str:
    """Return the path of a program that a test needs, or end the test."""
    places = (sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
    return shutil.which(name, path=os.pathsep.join(places)) or not_run(f"{name} is missing; sh .ci/test installs it")


def replace(path: Path, data: bytes) -> None:
    """Give `path` other bytes and a later mtime: nginx's ETag is made of the mtime's seconds and the size."""
    later = path.stat().st_mtime + 10
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data)
    os.utime(fresh, (later, later))
    fresh.replace(path)


@dataclass(frozen=True, slots=True)
class Request:
    """One row of the access log; `ended` in Unix seconds, `took` in seconds, `sent` in bytes of body."""

    method: str
    host: str
    path: str
    query: str
    status: int
    sent: int
    if_none_match: str
    range: str
    authorization: str
    ended: float
    took: float


def most_at_once(requests: list[Request]) -> int:
    """Return how many of `requests` were open at the same time, at most."""
    edges = [(request.ended - request.took, 1) for request in requests]
    edges += [(request.ended, -1) for request in requests]
    return max(itertools.accumulate(change for _, change in sorted(edges)), default=0)


class Nginx:
    """A running nginx that serves `folder`; its files and logs are in `scratch`.

    `port` is that of one that was stopped, for one that comes back; any free one by default.
    """

    def __init__(self, folder: Path, scratch: Path, body: str | None, *, tls: bool, port: int = 0) -> None:
        self._scratch = scratch
        self._marks = itertools.count()
        self._tls = tls
        self.ca = scratch / "tls.crt"
        with socket.create_server(("127.0.0.1", port)) as listener:
            self.port: int = listener.getsockname()[1]
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
            self._process = self._start(listener, _locations(folder) if body is None else body)
        self._wait_ready()

    def requests(self, below: str = "/") -> list[Request]:
        """Return the logged requests whose path starts with `below`.

        nginx logs a request after its last byte has left, so a marked request is sent behind the others: once its row
        is there, the rows of all answers that ended before it are.
        """
        mark = f"/_mark/{next(self._marks)}"
        self._ask(mark)
        rows = self._log_up_to(mark)
        return [row for row in rows if row.path.startswith(below) and not row.path.startswith("/_mark/")]

    def stop(self) -> None:
        """Stop at once; more than once does no harm."""
        self._process.terminate()  # the fast way down for nginx; a kill would leave its worker behind
        self._process.wait()

    def _start(self, listener: socket.socket, body: str) -> subprocess.Popen[bytes]:
        """Start nginx on a socket that already listens, as it takes one over on an upgrade: no port can be lost."""
        config = self._scratch / "nginx.conf"
        if self._tls:
            body = f"{_certificate(self._scratch, self.ca)}\n{body}"
        config.write_text(_configuration(self._scratch, f"{self.port}{' ssl' if self._tls else ''}", body))
        return subprocess.Popen(
            [program("nginx"), "-p", str(self._scratch), "-c", str(config), "-e", str(self._scratch / "error.log")],
            env=os.environ | {"NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _wait_ready(self) -> None:
        try:
            self._ask("/_mark/ready")
        except (OSError, http.client.HTTPException) as error:
            self.stop()
            pytest.fail(f"nginx does not answer ({error}): {(self._scratch / 'error.log').read_text()}")

    def _ask(self, path: str) -> None:
        with closing(self._connection()) as connection:
            connection.request("GET", path)
            connection.getresponse().read()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_PATIENCE, context=context)

    def _log_up_to(self, mark: str) -> list[Request]:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            rows = [_request(line) for line in (self._scratch / "access.log").read_text().splitlines(keepends=True)]
            if any(row.path == mark for row in rows if row is not None):
                return [row for row in rows if row is not None]
        pytest.fail(f"nginx never logged {mark}")


_LOG_FIELDS = {
    "method": "$request_method",
    "host": "$http_host",
    "path": "$uri",
    "query": "$args",
    "status": "$status",
    "sent": "$body_bytes_sent",
    "if_none_match": "$http_if_none_match",
    "range": "$http_range",
    "authorization": "$http_authorization",
    "ended": "$msec",
    "took": "$request_time",
}


def _request(line: str) -> Request | None:
    """Return a row of the log, or None for one that is still being written."""
    if not line.endswith("\n"):
        return None
    row = json.loads(line)
    numbers = {"status": int(row["status"]), "sent": int(row["sent"]), "ended": float(row["ended"])}
    return Request(**(row | numbers | {"took": float(row["took"])}))


def _configuration(scratch: Path, listen: str, body: str) -> str:
    temporary = "\n".join(
        f"{kind}_temp_path {scratch}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    log_format = ",".join(f'"{name}":"{variable}"' for name, variable in _LOG_FIELDS.items())
    return f"""
        daemon off; worker_processes 1; {"user root;" if os.geteuid() == 0 else ""} pid {scratch}/nginx.pid;
        events {{ worker_connections 256; }}
        http {{
          {temporary}
          log_format rows escape=json '{{{log_format}}}';
          access_log {scratch}/access.log rows;
          default_type application/octet-stream;
          server {{
            listen 127.0.0.1:{listen};
            location /_mark/ {{ return 204; }}
            {body}
          }}
        }}"""


def _locations(folder: Path) -> str:
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}'
    statuses = "\n".join(f"location /status/{code}/ {{ {_RETRY.get(code, '')} return {code}; }}" for code in _STATUSES)
    return f"""
        location /plain/ {{ alias "{folder}/"; }}
        location /auth/ {{ {guard} alias "{folder}/"; }}
        location ~ "^/api/tracks/(?<file>[^/]+)/stream$" {{ {guard} alias "{folder}/$file"; }}
        location /modified/ {{ alias "{folder}/"; etag off; }}
        location /noetag/ {{ alias "{folder}/"; etag off; max_ranges 0; add_header Last-Modified ""; }}
        location /slow/ {{ alias "{folder}/"; limit_rate 64k; }}
        location ~ ^/redir/(?<file>.+)$ {{ return 302 /plain/$file; }}
        location /html/ {{ default_type text/html; return 200 "{_LOGIN_PAGE}"; }}
        {statuses}"""


def _certificate(scratch: Path, ca_bundle: Path) -> str:
    """Make a CA and a certificate of it; return the directives that use it."""
    try:
        import trustme
    except ImportError:
        not_run("trustme is missing; sh .ci/test installs it")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_bundle)
    pem = scratch / "tls.pem"
    ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    ca.cert_pem.write_to_path(pem, append=True)  # as many a server is set up: a client must not trust what it is sent
    return f"ssl_certificate {pem}; ssl_certificate_key {pem};"
