"""Proxies, certificates and the name we give, as the environment says: whole commands, real servers."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx
import pytest

from cachestore.web.proxies import Proxies
from tests.downloads import answer
from tests.raw_servers import Reset
from tests.servers import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Stranger

HUSH = "pr0xy-hush"
_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Tunnel:
    """A proxy for https: every name is this machine for it, and it passes bytes both ways.

    With `tls` it is asked by https itself.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close the port, and wait until all connections are closed."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
        with client, suppress(OSError):
            head = client.recv(65536)
            self.asked.append(head)
            port = head.split()[1].decode().rpartition(":")[2]
            with socket.create_connection(("127.0.0.1", int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(client, server)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side has no more."""
    while True:
        kept = [side for side in (one, other) if isinstance(side, ssl.SSLSocket) and side.pending()]
        ready = kept or select.select([one, other], [], [], 20)[0]
        for side in ready:
            data = side.recv(65536)
            if not data:
                return
            (other if side is one else one).sendall(data)


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    running = Tunnel()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _no_bundle_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


# --- proxies


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    stranger: Stranger, cloud: Nginx, forward_proxy: Nginx, name: str, library: Mapping[str, Sample]
) -> None:
    stranger.environment[name] = forward_proxy.url
    stranger.run("fetch", "open:t-flac")
    [passed] = forward_proxy.requests("/plain/")
    assert f"http://{passed.host}" == cloud.url
    assert [request.status for request in cloud.requests()] == [200]
    assert stranger.blobs()[0].read_bytes() == library["flac"].data
    stranger.run("fetch", "open:t-flac")
    assert [request.status for request in cloud.requests()] == [200, 304]


@pytest.mark.parametrize("exception", ["127.0.0.1", "*", "example.com, *"])
def test_no_proxy_is_an_exception(stranger: Stranger, cloud: Nginx, forward_proxy: Nginx, exception: str) -> None:
    stranger.environment |= {"HTTP_PROXY": forward_proxy.url, "NO_PROXY": exception}
    stranger.run("fetch", "open:t-flac")
    assert forward_proxy.requests("/plain/") == []
    assert len(cloud.requests()) == 1


@pytest.mark.parametrize("exception", ["::1", "localhost,::1", "[::1]", "[::1]:8080"])
def test_no_proxy_may_be_an_ipv6_address(monkeypatch: pytest.MonkeyPatch, exception: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid")
    monkeypatch.setenv("no_proxy", exception)
    asked = [Proxies().of(httpx.URL(url)) is not None for url in ("http://[::1]:8080/", "http://[::2]:8080/")]
    assert asked == [False, True]


def test_https_goes_through_a_tunnel_that_sees_nothing(
    stranger: Stranger, nginx: StartNginx, music: Path, tunnel: Tunnel, library: Mapping[str, Sample]
) -> None:
    server = nginx(music, tls=True)
    stranger.configure(server.url)
    stranger.environment |= {"HTTPS_PROXY": tunnel.url, "SSL_CERT_FILE": str(server.ca)}
    stranger.run("fetch", "studio:t-flac")
    assert stranger.blobs()[0].read_bytes() == library["flac"].data
    assert tunnel.asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} ".encode())
    assert not any(b"uthorization" in head for head in tunnel.asked)


@pytest.fixture
def secret_tunnel(certified: tuple[ssl.SSLContext, Path]) -> Iterator[Tunnel]:
    running = Tunnel(certified[0])
    yield running
    running.stop()


def test_https_goes_through_a_tunnel_that_is_asked_by_https(
    stranger: Stranger, nginx: StartNginx, music: Path, tmp_path: Path, secret_tunnel: Tunnel,
    certified: tuple[ssl.SSLContext, Path], library: Mapping[str, Sample],
) -> None:  # fmt: skip
    server = nginx(music, tls=True)
    bundles = tmp_path / "bundles.pem"
    bundles.write_bytes(server.ca.read_bytes() + certified[1].read_bytes())
    stranger.configure(server.url)
    stranger.environment |= {"HTTPS_PROXY": secret_tunnel.url, "SSL_CERT_FILE": str(bundles)}
    tracks = ("studio:t-flac", "studio:t-mp3", "studio:t-wav")
    stranger.run("fetch", *tracks, "--jobs", "1")
    assert {path.read_bytes() for path in stranger.blobs()} == {library[name].data for name in ("flac", "mp3", "wav")}
    assert stranger.run("fetch", *tracks, "--jobs", "1").out == "3 tracks: 3 cached\n"
    assert [request.status for request in server.requests()] == [200] * 3 + [304] * 3
    assert len(secret_tunnel.asked) == 2  # its connection is kept alive


def test_http_goes_through_a_proxy_that_is_asked_by_https(
    stranger: Stranger, raw_server: StartRawServer, certified: tuple[ssl.SSLContext, Path],
    library: Mapping[str, Sample],
) -> None:  # fmt: skip
    proxy = raw_server(answer(library["flac"].data), tls=certified[0])
    stranger.configure("http://music.invalid")
    stranger.environment |= {"HTTP_PROXY": proxy.url, "SSL_CERT_FILE": str(certified[1])}
    stranger.run("fetch", "open:t-flac")
    assert stranger.blobs()[0].read_bytes() == library["flac"].data
    assert proxy.received[0].startswith(b"GET http://music.invalid/")


def test_a_proxy_is_told_its_password_and_nobody_else_is(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    proxy = raw_server(answer(library["flac"].data), answer(HUSH.encode(), status="407 Proxy Authentication Required"))
    stranger.configure("http://music.invalid")
    stranger.environment["HTTP_PROXY"] = proxy.url.replace("://", f"://dj:{HUSH}@")
    stranger.run("fetch", "open:t-flac")
    assert b"proxy-authorization: basic" in proxy.received[0].lower()
    told = stranger.run("fetch", "open:t-mp3", "-vv", code=77)
    assert "a proxy refused its credentials (407 Proxy Authentication Required); check user and password" in told.err
    assert HUSH not in told.out + told.err
    assert not [path for path in stranger.home.rglob("*") if path.is_file() and HUSH.encode() in path.read_bytes()]


def test_what_a_proxy_says_of_its_own_password_is_not_kept(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    basic = b64encode(f"dj:{HUSH}".encode()).decode()
    name = f'Content-Disposition: attachment; filename="{basic}.flac"'
    proxy = raw_server(answer(library["flac"].data, f'ETag: "{HUSH}"', name))
    stranger.configure("http://music.invalid")
    stranger.environment["HTTP_PROXY"] = proxy.url.removeprefix("http://").replace("127", f"dj:{HUSH}@127", 1)
    stranger.run("fetch", "open:t-flac")
    files = [path.read_bytes() for path in stranger.root.rglob("*") if path.is_file()]
    assert len(stranger.blobs()) == 1
    assert not any(secret.encode() in content for secret in (HUSH, basic) for content in files)


def test_a_proxy_that_does_not_connect_is_told(
    stranger: Stranger, raw_server: StartRawServer, closed_port: int
) -> None:
    proxy = raw_server(answer(status="502 Bad Gateway"))
    stranger.configure("https://music.invalid")
    stranger.environment["HTTPS_PROXY"] = proxy.url
    assert "the proxy did not connect to music.invalid" in stranger.run("fetch", "open:t", code=75).err
    stranger.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{closed_port}"
    told = stranger.run("fetch", "open:t", code=75).err
    assert f"no connection to the proxy 127.0.0.1:{closed_port}: connection refused" in told
    stranger.environment["HTTPS_PROXY"] = "proxy.invalid:3128"
    assert "the name of the proxy proxy.invalid:3128 does not resolve" in stranger.run("fetch", "open:t", code=75).err


@pytest.mark.parametrize("reply", [_CONNECTED, Reset(_CONNECTED)], ids=["close", "reset"])
def test_a_proxy_that_closes_what_it_has_connected_is_told(
    stranger: Stranger, raw_server: StartRawServer, reply: bytes | Reset
) -> None:
    proxy = raw_server(reply)
    stranger.configure("https://music.invalid")
    stranger.environment["HTTPS_PROXY"] = proxy.url
    place = f"the proxy {proxy.url.removeprefix('http://')}"
    told = stranger.run("fetch", "open:t", code=75).err
    assert f"{place} closed the connection to music.invalid before TLS was agreed on" in told


def test_a_proxy_that_does_not_answer_is_told(stranger: Stranger, raw_server: StartRawServer) -> None:
    proxy = raw_server(b"", b"SSH-2.0\r\n\r\n")
    stranger.configure("http://music.invalid")
    stranger.environment["HTTP_PROXY"] = proxy.url
    place = f"the proxy {proxy.url.removeprefix('http://')}"
    told = stranger.run("fetch", "open:t", code=75).err
    assert f"{place} closed the connection to music.invalid without an answer" in told
    assert f"the answer of {place} is no HTTP" in stranger.run("fetch", "open:t", code=1).err


def test_a_proxy_that_refuses_its_password_is_asked_once_a_track_and_named_without_it(
    stranger: Stranger, raw_server: StartRawServer
) -> None:
    proxy = raw_server(answer(status="407 Proxy Authentication Required"))
    stranger.configure("https://music.invalid", retries=5)
    stranger.environment["HTTPS_PROXY"] = proxy.url.replace("://", f"://dj:{HUSH}@")
    told = stranger.run("fetch", "open:t", "open:u", code=77).err
    place = proxy.url.removeprefix("http://")
    assert told.count(f"the proxy {place} refused its credentials (407 Proxy Authentication Required); check") == 2
    assert HUSH not in told
    assert len(proxy.received) == 2


# --- certificates


def test_a_private_ca_is_trusted_by_its_bundle_and_by_nothing_else(
    stranger: Stranger, nginx: StartNginx, music: Path
) -> None:
    server = nginx(music, tls=True)
    stranger.configure(server.url, retries=5)
    [row] = stranger.run("fetch", "open:t-flac", "--json", code=1).facts
    assert (row["error"]["code"], row["error"]["retryable"]) == ("tls", False)
    assert "self-signed certificate" in row["error"]["message"]
    assert server.requests() == []
    stranger.environment["SSL_CERT_FILE"] = str(server.ca)
    assert stranger.run("fetch", "open:t-flac").out == "1 track: 1 downloaded\n"


def test_a_private_ca_is_trusted_by_a_folder_of_certificates(
    stranger: Stranger, nginx: StartNginx, music: Path, tmp_path: Path
) -> None:
    server = nginx(music, tls=True)
    folder = tmp_path / "certificates"
    folder.mkdir()
    hashed = [program("openssl"), "x509", "-noout", "-subject_hash", "-in", str(server.ca)]
    name = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(server.ca, folder / f"{name}.0")
    stranger.configure(server.url)
    stranger.environment["SSL_CERT_DIR"] = str(folder)
    assert stranger.run("fetch", "open:t-flac").out == "1 track: 1 downloaded\n"


def test_a_certificate_for_another_name_is_refused(
    stranger: Stranger, nginx: StartNginx, music: Path, tunnel: Tunnel
) -> None:
    server = nginx(music, tls=True)
    stranger.configure(f"https://music.invalid:{server.port}")
    stranger.environment |= {"HTTPS_PROXY": tunnel.url, "SSL_CERT_FILE": str(server.ca)}
    [row] = stranger.run("fetch", "open:t-flac", "--json", code=1).facts
    assert (row["error"]["code"], "music.invalid" in row["error"]["message"]) == ("tls", True)
    assert row["error"]["message"].endswith("was not accepted: it is for another name")


@pytest.mark.parametrize("there", [f"{HUSH}.example", "127.0.0.2"])
def test_a_certificate_for_another_name_does_not_tell_the_one_that_a_redirect_made_of_a_secret(
    stranger: Stranger, nginx: StartNginx, music: Path, tunnel: Tunnel, raw_server: StartRawServer, there: str
) -> None:
    server = nginx(music, tls=True)
    hop = raw_server(answer(b"", f"Location: https://{there}:{server.port}/x", status="302 Found"))
    secret = f'headers = {{ X-Key = "{there.removesuffix(".example")}" }}'
    stranger.configure(hop.url, sources=f'[sources.mine]\nkind = "http"\nurl = "{hop.url}/{{id}}"\n{secret}\n')
    stranger.environment |= {"HTTPS_PROXY": tunnel.url, "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(server.ca)}
    told = stranger.run("fetch", "mine:t", "--events", "ndjson", code=1)
    assert "the certificate of a host that it names was not accepted: it is for another name" in told.out
    assert there not in f"{told}"


# --- mistakes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", f"nonsense://dj:{HUSH}@proxy"),
        ("HTTPS_PROXY", f"http://dj:{HUSH}@proxy:port"),
        ("ALL_PROXY", f"socks5://dj:{HUSH}@127.0.0.1:1080"),
        ("http_proxy", f"http://dj:{HUSH}@[::1"),
        ("SSL_CERT_FILE", "missing.pem"),
        ("SSL_CERT_FILE", "mix.json"),
    ],
)
def test_an_environment_that_cannot_be_used_is_one_sentence(
    stranger: Stranger, cloud: Nginx, name: str, value: str
) -> None:
    stranger.mix()
    stranger.environment[name] = value
    told = stranger.run("fetch", "open:t-flac", code=2)
    assert told.sentence.startswith("cachestore: the environment: ")
    assert name.upper() in told.sentence
    assert HUSH not in told.sentence
    assert cloud.requests() == []


def test_what_asks_no_server_does_not_mind_an_environment_that_cannot_be_used(stranger: Stranger, cloud: Nginx) -> None:
    stranger.run("fetch", "open:t-flac")
    stranger.environment |= {"HTTP_PROXY": "nonsense://proxy", "SSL_CERT_FILE": "missing.pem"}
    for command in (["ls"], ["info"], ["verify"], ["prune"]):
        stranger.run(*command)
    stranger.run("export", stranger.mix({"source": "open", "id": "t-flac", "title": "Opus"}), "DEST", "--offline")


# --- who asks


def test_we_say_who_we_are(stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]) -> None:
    server = raw_server(answer(library["flac"].data))
    stranger.configure(server.url)
    stranger.run("fetch", "open:t-flac")
    assert f"\r\nUser-Agent: cachestore/{version('cachestore')}\r\n".encode() in server.received[0]
    assert version("cachestore") in stranger.run("--version").out
