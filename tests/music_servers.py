"""Real music servers on loopback: take them as fixtures (tests/conftest.py).

All stand behind an nginx that logs and passes everything on as it is: ``server.url``, ``server.requests()`` and
``server.stop()`` are as in tests/servers.py.

`subsonic()` gives supysonic (Subsonic API 1.12.0) with the files of the `library` fixture in it:

    .url .user .password       a user of its own for each call, so that playlists are one's own, too
    .folder                    its music: ``Artist/Title.ext``
    .ids()                     title -> song id
    .create_playlist(name, titles)   makes a playlist, returns its id
    .rescan()                  reads `folder` again, after a test has changed it

All tests share the folder of `subsonic()`, and nobody may change it; a test that does brings one: `subsonic(folder)`
(`music_folder(library, folder)` fills one with the same files). What `ids`, `create_playlist` and `rescan` ask is not
in ``.requests()``. Passwords go in the query or as HTTP Basic: supysonic has no token auth. It reads no tags of the
WAV file, which is "Four to the Floor.wav" by "[unknown]". ``stream?format=mp3`` transcodes FLAC.

`rclone(protocol, folder)` serves a folder, with ``login=("user", "password")`` behind HTTP Basic:

    "http"      Last-Modified only, no ETag; ranges (what Navidrome answers for an original)
    "webdav"    ETag = the MD5 of the bytes
    "s3"        ``server.url`` ends in the bucket; ETag = MD5; only takes URLs of `presigned(url, expires=60, now=now)`:
                400 without a signature or after its time (by the machine's clock), 403 for a wrong one
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import importlib.util
import itertools
import json
import os
import select
import socket
import subprocess
import sys
from contextlib import closing
from datetime import UTC
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.servers import Nginx, not_run, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tests.library import Sample

S3_KEY = "AKID-TESTS"
S3_SECRET = "s3-secret-5b07"
_PATIENCE = 20.0
_ADMIN = ("admin", "adm1n")


def music_folder(library: Mapping[str, Sample], folder: Path) -> Path:
    """Fill `folder` with the samples, as ``Artist/Title.ext``."""
    for ext, sample in library.items():
        sample.copy_to(folder / sample.artist, f"{sample.title.replace('/', '_')}.{ext}")
    return folder


class Supysonic:
    """A running supysonic that has `folder` scanned; its database and logs are in `scratch`."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        if not all(map(importlib.util.find_spec, ("supysonic", "waitress"))):
            not_run("supysonic or waitress is missing; sh .ci/test installs them")
        self.folder = folder
        self._users = itertools.count(1)
        self._log = scratch / "supysonic.log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
            self._process = self._start(listener, scratch)
        self._wait_scanned()

    def add_user(self) -> tuple[str, str]:
        """Make a user; return the name and the password."""
        number = next(self._users)
        user, password = f"alice{number}", f"s3cret-{number}"
        self.ask(_ADMIN, "createUser", {"username": user, "password": password, "email": ""})
        return user, password

    def ask(self, login: tuple[str, str], method: str, query: Mapping[str, object]) -> dict[str, Any]:
        """Return what the API answers; the test fails if it refuses."""
        user, password = login
        common = {"u": user, "p": password, "c": "tests", "v": "1.12.0", "f": "json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)) as connection:
            connection.request("GET", f"/rest/{method}?{urlencode(common | dict(query), doseq=True)}")
            answer: dict[str, Any] = json.load(connection.getresponse())["subsonic-response"]
        assert answer["status"] == "ok", answer
        return answer

    def rescan(self) -> None:
        """Read the folder again."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self._wait_scanned()

    def stop(self) -> None:
        """Stop at once; more than once does no harm."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _start(self, listener: socket.socket, scratch: Path) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("supysonic_server.py")
        arguments = [str(scratch), str(self.folder), *_ADMIN, str(listener.fileno())]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-I", str(script), *arguments],
                env=_environment(scratch),
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def _wait_scanned(self) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        if not ready or self._process.stdout.readline() != b"scanned\n":
            self.stop()
            pytest.fail(f"supysonic does not scan: {self._log.read_text()}")


class Subsonic:
    """A supysonic behind a logging nginx, for one user of its own."""

    def __init__(self, server: Supysonic, scratch: Path) -> None:
        self._server = server
        self._front = _front(server.port, scratch)
        self.url = self._front.url
        self.folder = server.folder
        self.user, self.password = server.add_user()
        self.requests = self._front.requests
        self.rescan = server.rescan
        self.stop = self._front.stop

    def ids(self) -> dict[str, str]:
        """Return the song ids by title."""
        answer = self._ask("search3", query="", songCount=500)
        return {song["title"]: song["id"] for song in answer["searchResult3"]["song"]}

    def create_playlist(self, name: str, titles: Iterable[str]) -> str:
        """Make a playlist and return its id."""
        ids = self.ids()
        self._ask("createPlaylist", name=name, songId=[ids[title] for title in titles])
        playlists = self._ask("getPlaylists")["playlists"]["playlist"]
        made: str = next(playlist["id"] for playlist in playlists if playlist["name"] == name)
        return made

    def _ask(self, method: str, **query: object) -> dict[str, Any]:
        return self._server.ask((self.user, self.password), method, query)


Protocol = Literal["http", "webdav", "s3"]


class Rclone:
    """An ``rclone serve`` of `folder` behind a logging nginx."""

    def __init__(self, protocol: Protocol, folder: Path, scratch: Path, *, login: tuple[str, str] | None) -> None:
        self.folder = folder
        self._log = scratch / "rclone.log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
            self._process = self._start(listener, scratch, [protocol, *_options(protocol, folder, scratch, login)])
        self._wait_ready(port)
        self._front = _front(port, scratch)
        self.url = self._front.url + ("/music" if protocol == "s3" else "")
        self.requests = self._front.requests

    def stop(self) -> None:
        """Stop at once; more than once does no harm."""
        self._front.stop()
        self._process.kill()
        self._process.wait()

    def _start(self, listener: socket.socket, scratch: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start rclone on a socket that already listens, as systemd would: the first is file 3, for this process."""
        activate = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 </dev/null'
        rclone = [program("rclone"), "--config", "", "serve", *arguments]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", activate, "sh", *rclone],
                env=_environment(scratch),
                stdin=listener.fileno(),
                stdout=log,
                stderr=log,
            )

    def _wait_ready(self, port: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)) as connection:
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                self._process.kill()
                self._process.wait()
                pytest.fail(f"rclone does not answer ({error}): {self._log.read_text()}")


def _options(protocol: Protocol, folder: Path, scratch: Path, login: tuple[str, str] | None) -> list[str]:
    """Return the arguments behind ``rclone serve PROTOCOL``."""
    options = ["--dir-cache-time", "0s"]  # else a file that a test changes keeps its old size for five minutes
    if login is not None:
        options += ["--user", login[0], "--pass", login[1]]
    if protocol == "webdav":
        options += ["--etag-hash", "MD5"]
    if protocol != "s3":
        return [*options, str(folder)]
    buckets = scratch / "buckets"  # each folder in it is one
    buckets.mkdir()
    (buckets / "music").symlink_to(folder)
    return [*options, "--copy-links", "--auth-key", f"{S3_KEY},{S3_SECRET}", str(buckets)]


def presigned(url: str, *, expires: int, now: datetime, secret: str = S3_SECRET) -> str:
    """Return `url` signed for a GET until `expires` seconds after `now`.

    Source: Amazon S3 API Reference, "Authenticating requests: using query parameters (AWS Signature Version 4)".
    """
    now = now.astimezone(UTC)
    parts = urlsplit(url)
    scope = (f"{now:%Y%m%d}", "us-east-1", "s3", "aws4_request")
    signed = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "/".join((S3_KEY, *scope)),
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    }
    query = urlencode(signed, quote_via=quote, safe="")
    request = "\n".join(("GET", parts.path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(request.encode()).hexdigest()
    to_sign = "\n".join((signed["X-Amz-Algorithm"], signed["X-Amz-Date"], "/".join(scope), digest))
    signature = reduce(_hmac, (*scope, to_sign), f"AWS4{secret}".encode()).hex()
    return f"{url}?{query}&X-Amz-Signature={signature}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _environment(scratch: Path) -> dict[str, str]:
    """Return an environment in which nothing of this machine or its person is found or written."""
    return {"HOME": str(scratch), "TMPDIR": str(scratch), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def _front(port: int, scratch: Path) -> Nginx:
    """Start an nginx that passes every request on to `port` as it came, and the answer back."""
    body = f"""location / {{
      proxy_pass http://127.0.0.1:{port};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_pass_header Date;
      proxy_pass_header Server;
    }}"""
    return Nginx(scratch, scratch, body, tls=False)
