"""The servers of the tests answer as their manuals say, and as the music services that they stand for do."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.music_servers import music_folder, presigned
from tests.raw_servers import Answer, Drip, Gate, RawServer, Stall
from tests.servers import replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer, StartRclone, StartSubsonic
    from tests.library import Sample
    from tests.music_servers import Subsonic
    from tests.servers import Nginx


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: Message
    body: bytes


def get(url: str, **headers: str) -> Got:
    """GET `url` without any proxy; underscores in header names are dashes."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return Got(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Got(error.code, error.headers, error.read())


def connect(server: RawServer) -> socket.socket:
    """Return a connection that has asked for something."""
    client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return client


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def api(server: Subsonic, method: str, **query: str) -> Got:
    login = {"u": server.user, "p": server.password, "c": "tests", "v": "1.12.0", "f": "json"}
    return get(f"{server.url}/rest/{method}?{urlencode(login | query)}")


def error_code(answer: Got) -> int:
    said: dict[str, Any] = json.loads(answer.body)["subsonic-response"]
    assert (answer.status, said["status"]) == (200, "failed")
    code: int = said["error"]["code"]
    return code


def song(server: Subsonic, title: str) -> dict[str, Any]:
    answer = json.loads(api(server, "getSong", id=server.ids()[title]).body)["subsonic-response"]
    found: dict[str, Any] = answer["song"]
    return found


@pytest.fixture
def own(subsonic: StartSubsonic, library: Mapping[str, Sample], tmp_path: Path) -> Subsonic:
    """A supysonic whose folder may be changed."""
    return subsonic(music_folder(library, tmp_path / "music"))


@pytest.fixture
def served(tmp_path: Path, library: Mapping[str, Sample]) -> Path:
    """A folder with ``a b.flac``."""
    library["flac"].copy_to(tmp_path / "served", "a b.flac")
    return tmp_path / "served"


def test_supysonic_gives_the_files_of_the_library_by_their_titles(
    subsonic: StartSubsonic, library: Mapping[str, Sample]
) -> None:
    server = subsonic()
    titles = {sample.title: sample for ext, sample in library.items() if ext != "wav"}
    titles["Four to the Floor.wav"] = library["wav"]
    ids = server.ids()
    assert ids.keys() == titles.keys()
    for title, sample in titles.items():
        assert api(server, "download", id=ids[title]).body == sample.data


def test_supysonic_says_what_it_refuses_with_200_and_a_code(subsonic: StartSubsonic) -> None:
    server = subsonic()
    some_id = server.ids()["Stab."]
    assert error_code(api(server, "ping", p="wrong")) == 40
    assert error_code(api(server, "ping", p="", t="0" * 32, s="salt")) in {10, 40}
    assert error_code(api(server, "download", id="00000000-0000-0000-0000-000000000000")) == 70
    assert error_code(api(server, "download", id="nonsense")) == 0
    assert error_code(api(server, "download", id=some_id, p="wrong")) == 40
    assert api(server, "ping", p="wrong", f="xml").body.lstrip().startswith(b"<")


def test_supysonic_knows_no_token(subsonic: StartSubsonic) -> None:
    server = subsonic()
    token = hashlib.md5(f"{server.password}salt".encode()).hexdigest()
    query = urlencode({"u": server.user, "t": token, "s": "salt", "c": "tests", "v": "1.13.0", "f": "json"})
    assert error_code(get(f"{server.url}/rest/ping?{query}")) == 10


def test_supysonic_takes_a_hex_password_and_basic_auth(subsonic: StartSubsonic) -> None:
    server = subsonic()
    assert b'"ok"' in api(server, "ping", p=f"enc:{server.password.encode().hex()}").body
    login = basic(server.user, server.password)
    assert b'"ok"' in get(f"{server.url}/rest/ping?f=json&c=tests&v=1.12.0", authorization=login).body


def test_supysonic_revalidates_and_gives_ranges(subsonic: StartSubsonic, library: Mapping[str, Sample]) -> None:
    server = subsonic()
    data = library["ogg"].data
    query = {"u": server.user, "p": server.password, "c": "tests", "v": "1.12.0", "id": server.ids()["AC/DC: Live?"]}
    url = f"{server.url}/rest/download?{urlencode(query)}"
    whole = get(url)
    etag = whole.headers["ETag"]
    assert etag.startswith('"')
    assert whole.headers["Last-Modified"]
    assert int(whole.headers["Content-Length"]) == len(data)
    assert get(url, if_none_match=etag).status == 304
    part = get(url, range="bytes=100-", if_range=etag)
    assert (part.status, part.body) == (206, data[100:])
    assert part.headers["Content-Range"] == f"bytes 100-{len(data) - 1}/{len(data)}"


def test_supysonic_keeps_the_id_of_a_song_whose_bytes_change(own: Subsonic, library: Mapping[str, Sample]) -> None:
    before = song(own, "Stab.")
    path = own.folder / "Dee Wave" / "Stab..m4a"
    replace(path, path.read_bytes() + bytes(100))
    own.rescan()
    after = song(own, "Stab.")
    assert (after["id"], after["created"]) == (before["id"], before["created"])
    assert after["size"] == before["size"] + 100


def test_supysonic_sees_what_is_gone_after_a_scan(own: Subsonic) -> None:
    (own.folder / "Eve Pulse" / "Four to the Floor.wav").unlink()
    assert "Four to the Floor.wav" in own.ids()
    own.rescan()
    assert "Four to the Floor.wav" not in own.ids()


def test_a_playlist_of_supysonic_keeps_its_order_and_is_ones_own(subsonic: StartSubsonic) -> None:
    server, other = subsonic(), subsonic()
    titles = ["Stab.", "AC/DC: Live?", "Stab."]
    playlist = server.create_playlist("Friday", titles)
    answer = json.loads(api(server, "getPlaylist", id=playlist).body)["subsonic-response"]
    assert [entry["title"] for entry in answer["playlist"]["entry"]] == titles
    assert b"Friday" not in api(other, "getPlaylists").body


def test_supysonic_transcodes_without_a_length_or_validator(subsonic: StartSubsonic) -> None:
    server = subsonic()
    answer = api(server, "stream", id=server.ids()["Café Ünïcode ♫"], format="mp3")
    assert answer.headers["Content-Type"] == "audio/mpeg"
    assert answer.headers["Content-Length"] is answer.headers["ETag"] is None
    assert len(answer.body) > 1000


def test_supysonic_logs_what_was_asked_of_it_and_not_what_the_test_asks(subsonic: StartSubsonic) -> None:
    server, other = subsonic(), subsonic()
    server.ids()
    api(server, "ping")
    api(server, "download", id="nonsense")
    asked = server.requests()
    assert [(request.method, request.path, request.status) for request in asked] == [
        ("GET", "/rest/ping", 200),
        ("GET", "/rest/download", 200),
    ]
    assert server.password in asked[0].query
    assert other.requests() == []


def test_a_stopped_supysonic_refuses(subsonic: StartSubsonic) -> None:
    server, other = subsonic(), subsonic()
    server.stop()
    with pytest.raises(urllib.error.URLError):
        api(server, "ping")
    assert api(other, "ping").status == 200


def test_rclone_http_has_no_etag(rclone: StartRclone, served: Path, library: Mapping[str, Sample]) -> None:
    server = rclone("http", served)
    answer = get(f"{server.url}/a%20b.flac")
    assert (answer.status, answer.body) == (200, library["flac"].data)
    assert answer.headers["ETag"] is None
    assert get(f"{server.url}/a%20b.flac", if_modified_since=answer.headers["Last-Modified"]).status == 304
    assert get(f"{server.url}/a%20b.flac", range="bytes=0-9").status == 206
    assert [request.status for request in server.requests()] == [200, 304, 206]


def test_rclone_asks_for_a_password(rclone: StartRclone, served: Path) -> None:
    server = rclone("webdav", served, login=("dj", "p:w"))
    assert get(f"{server.url}/a%20b.flac").status == 401
    assert get(f"{server.url}/a%20b.flac", authorization=basic("dj", "wrong")).status == 401
    assert get(f"{server.url}/a%20b.flac", authorization=basic("dj", "p:w")).status == 200


def test_rclone_webdav_has_an_etag_of_the_bytes(rclone: StartRclone, served: Path) -> None:
    server = rclone("webdav", served)
    path = served / "a b.flac"
    for data in (path.read_bytes(), b"other bytes"):
        replace(path, data)
        answer = get(f"{server.url}/a%20b.flac")
        assert (answer.body, answer.headers["ETag"]) == (data, f'"{hashlib.md5(data).hexdigest()}"')


def test_rclone_s3_checks_signatures_and_their_time(
    rclone: StartRclone, served: Path, library: Mapping[str, Sample]
) -> None:
    server = rclone("s3", served)
    url, now = f"{server.url}/a%20b.flac", datetime.now(UTC)
    answer = get(presigned(url, expires=600, now=now))
    assert (answer.status, answer.body) == (200, library["flac"].data)
    assert answer.headers["ETag"] == f'"{hashlib.md5(answer.body).hexdigest()}"'
    earlier = now - timedelta(minutes=5)
    assert get(presigned(url, expires=600, now=earlier)).status == 200
    assert get(presigned(url, expires=60, now=earlier)).status == 400
    assert get(presigned(url, expires=600, now=now, secret="wrong")).status == 403
    assert get(url).status == 400


def test_a_forward_proxy_logs_for_whom_a_request_was(
    forward_proxy: Nginx, nginx: StartNginx, served: Path, library: Mapping[str, Sample]
) -> None:
    origin = nginx(served)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": forward_proxy.url}))
    with opener.open(f"{origin.url}/plain/a%20b.flac?x=1", timeout=10) as answer:
        assert answer.read() == library["flac"].data
    [request] = forward_proxy.requests()
    assert (f"http://{request.host}", request.path, request.query) == (origin.url, "/plain/a b.flac", "x=1")
    assert [request.path for request in origin.requests()] == ["/plain/a b.flac"]


def test_the_ca_bundle_is_all_it_takes_to_trust_a_server(nginx: StartNginx, served: Path) -> None:
    server = nginx(served, tls=True)
    trusting = ssl.create_default_context(cafile=server.ca)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    for host in ("127.0.0.1", "localhost"):
        connection = http.client.HTTPSConnection(host, server.port, timeout=10, context=trusting)
        connection.request("GET", "/plain/a%20b.flac")
        assert connection.getresponse().read()
        connection.close()
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{server.url}/plain/a%20b.flac")


def test_an_answer_may_depend_on_the_request(raw_server: StartRawServer) -> None:
    def by_range(head: bytes) -> Answer:
        return b"HTTP/1.1 206 Part\r\n\r\nlf" if b"Range: bytes=2-" in head else b"HTTP/1.1 200 OK\r\n\r\nhalf"

    server = raw_server(b"HTTP/1.1 503 Busy\r\n\r\n", by_range)
    assert [get(server.url).status for _ in range(3)] == [503, 200, 200]
    assert get(server.url, range="bytes=2-").body == b"lf"
    assert len(server.received) == 4


def test_a_drip_takes_its_time(raw_server: StartRawServer) -> None:
    server = raw_server(Drip(b"HTTP/1.1 200 OK\r\n\r\nslow", seconds_between=0.05, chunk=8))
    started = time.monotonic()
    assert get(server.url).body == b"slow"
    assert time.monotonic() - started >= 2 * 0.05


def test_a_gate_holds_the_rest_back_until_it_is_opened(raw_server: StartRawServer) -> None:
    gate = Gate(b"HTTP/1.1 200 OK\r\n\r\nha", b"lf")
    server = raw_server(gate)
    with connect(server) as client:
        gate.wait()
        assert client.recv(100).endswith(b"ha")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(100)
        gate.open()
        client.settimeout(10)
        assert client.recv(100) == b"lf"
    assert get(server.url).body == b"half"


@pytest.mark.parametrize("answer", [Stall(), Gate(b"", b"x"), Drip(b"HTTP/1.1", 60, 4)])
def test_no_answer_outlives_the_server(raw_server: StartRawServer, answer: Answer) -> None:
    server = raw_server(answer)
    with connect(server) as client:
        while not server.received:
            pass
        server.stop()
        while client.recv(100):
            pass
