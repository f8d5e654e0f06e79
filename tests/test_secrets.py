"""Secrets of every kind, on one journey through every command: nothing of them is ever written or shown.

Each secret has a core that no encoding of a URL changes, and that is looked for in every byte, also as base64 and hex.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from tests.raw_servers import Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.library import Sample
    from tests.servers import RawServer
    from tests.stranger import Row, Stranger

_KINDS = (
    "token", "user", "password", "login", "signature", "apikey", "command", "stderr", "subsonicpassword", "subsonickey",
    "cookie", "location", "document", "mixsignature", "mixuser", "mixpassword",
)  # fmt: skip
CORES = {kind: f"{kind}HUSH{hashlib.sha256(kind.encode()).hexdigest()[:10]}" for kind in _KINDS}
SECRETS = {kind: f"{core}/+ &é" for kind, core in CORES.items()}  # what each encoding writes in its own way
IN_URLS = {kind: quote(secret, safe="") for kind, secret in SECRETS.items()}
_COMMAND = """
import json, os, sys
print(os.environ["ERRORS"], file=sys.stderr)
print(json.dumps({"X-Service-Token": os.environ["VAULT"]}))
sys.exit(len(sys.argv) > 1)
"""
_SOURCES = """
[sources.mirror]
kind = "http"
url = "{mirror}/{{id}}?api_key=${{APIKEY}}&sig=${{SIGNATURE}}"
headers = {{ Authorization = "Bearer ${{TOKEN}}", Cookie = "login=${{LOGIN}}" }}
[sources.basic]
kind = "http"
url = "{mirror_with_login}/{{id}}"
[sources.vault]
kind = "http"
url = "{mirror}/{{id}}"
credential_command = {command}
[sources.broken-vault]
kind = "http"
url = "{mirror}/{{id}}"
credential_command = {failing_command}
[sources.signed]
kind = "http"
resolve_url = "{mirror}/document/{{id}}"
stream_pointer = "/url"
version_pointer = "/version"
headers = {{ Authorization = "Bearer ${{TOKEN}}" }}
[sources.lost]
kind = "http"
resolve_url = "{mirror}/document/{{id}}"
stream_pointer = "/url/deeper"
headers = {{ Authorization = "Bearer ${{TOKEN}}" }}
[sources.unsendable]
kind = "http"
url = "{mirror}/{{id}}"
headers = {{ Authorization = "Bearer ${{UNSENDABLE}}" }}
[sources.tls]
kind = "http"
url = "{tls}/plain/{{id}}?sig=${{SIGNATURE}}"
headers = {{ Authorization = "Bearer ${{TOKEN}}" }}
[sources.closed]
kind = "http"
url = "{closed}/{{id}}?sig=${{SIGNATURE}}"
headers = {{ Authorization = "Bearer ${{TOKEN}}" }}
[sources.home]
kind = "subsonic"
url = "{mirror}/home"
user = "dj"
password = "${{SUBSONIC_PASSWORD}}"
[sources.old]
kind = "subsonic"
url = "{mirror}/old"
user = "dj"
password = "${{SUBSONIC_PASSWORD}}"
[sources.keyed]
kind = "subsonic"
url = "{mirror}/keyed"
api_key = "${{SUBSONIC_KEY}}"
[sources.locked]
kind = "subsonic"
url = "{mirror}/locked"
user = "dj"
password = "${{SUBSONIC_PASSWORD}}"
"""


_CODES = {"bad_response", "bad_status", "not_audio", "not_found", "source", "tls", "truncated", "unauthorized"}
_CODES |= {"unreachable"}


# --- servers


class Mirror:
    """Shows every request to whoever asks, in headers and body, and sets a cookie with every answer."""

    def __init__(self, audio: bytes, elsewhere: Callable[[], str]) -> None:
        self._audio = audio
        self._elsewhere = elsewhere
        login = f"://u:{IN_URLS['location']}@"
        self._targets: dict[str, Callable[[], str]] = {
            "loop": lambda: "/loop",
            "ftp": lambda: f"ftp{login}x/",
            "away": lambda: elsewhere().replace("://", login) + "/audio",
        }

    def __call__(self, head: bytes) -> bytes | Stall:
        path = urlsplit(head.split()[1].decode("latin-1")).path
        place = path.rsplit("/", 1)[-1]
        if "/rest/" in path:
            return self._subsonic(path, place, head)
        if path.startswith("/document/"):
            url = f"{self._elsewhere()}/{place}?X-Amz-Signature={IN_URLS['document']}"
            return self._answer(json.dumps({"url": url, "version": "7"}).encode())
        return self._answered(place, head)

    def _answered(self, place: str, head: bytes) -> bytes | Stall:
        if place.isdecimal():
            return self._answer(_page(head), f"WWW-Authenticate: Bearer {_line(head)}", status=int(place))
        if place in self._targets:
            target = f"{self._targets[place]()}?at={IN_URLS['location']}"
            return self._answer(_page(head), f"Location: {target}", status=302)
        if place in {"cut", "stall"}:
            cut = self._answer(self._audio[:20_000], f'ETag: "{place}"', length=len(self._audio))
            return cut if place == "cut" else Stall(cut)
        bodies = {"page": _page(head), "error": json.dumps({"error": {"message": _line(head)}}).encode()}
        return b"NONSENSE " + head if place == "nonsense" else self._answer(bodies.get(place, self._audio))

    def _subsonic(self, path: str, method: str, head: bytes) -> bytes | Stall:
        refused = {"/locked/": 40, "/old/": 41 if b"&t=" in head else 0}.get(path[: path.index("rest")], 0)
        if refused:
            error = {"code": refused, "message": f"Wrong: {head.decode('latin-1')}"}
            return self._answer(json.dumps({"subsonic-response": {"status": "failed", "error": error}}).encode())
        if method == "download.view":
            asked = re.search(rb"[?&]id=(\w+)", head)
            return self._answered(asked[1].decode() if asked else "", head)
        song = {"id": "s1", "title": "Opus", "artist": "E.P.", "size": len(self._audio)}
        content = {"song": song, "playlists": {"playlist": [{"id": "p", "name": "Friday"}]}}
        return self._answer(json.dumps({"subsonic-response": {"status": "ok", **content}}).encode())

    def _answer(self, body: bytes, *rows: str, status: int = 200, length: int | None = None) -> bytes:
        cookie = f"Set-Cookie: session={IN_URLS['cookie']}; Path=/"
        size = f"Content-Length: {len(body) if length is None else length}"
        head = [f"HTTP/1.1 {status} Something", size, cookie, "Connection: close", *rows]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def _page(head: bytes) -> bytes:
    return b"<html>" + head + b"</html>"


def _line(head: bytes) -> str:
    return head.decode("latin-1").replace("\r\n", " ")


# --- somebody who writes down all that is shown


class Scribe:
    """A stranger with secrets."""

    def __init__(self, stranger: Stranger) -> None:
        self.stranger = stranger
        self.seen: list[str] = []

    def run(self, *arguments: str, stdin: str = "") -> None:
        """Run a command, whatever comes of it, unless it does not know what it was asked."""
        done = subprocess.run(
            [sys.executable, "-m", "cachestore", *arguments],
            cwd=self.stranger.home,
            env=os.environ | self.stranger.environment,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
        told = f"{done.stdout}{done.stderr}"
        assert not any(word in told for word in ("Traceback", "Usage: ")), told
        self.seen.append(f"$ {arguments[0]}: exit {done.returncode}\n{told}")

    def kill_when_downloading(self, *arguments: str) -> None:
        """Run a command until bytes have come, and kill it."""
        with self.stranger.start(*arguments, "--events", "ndjson") as process:
            assert process.stdout
            for line in iter(process.stdout.readline, ""):
                self.seen.append(line)
                if json.loads(line).get("bytes"):
                    break
            process.kill()
            self.seen += process.communicate()

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that was shown, and every file below the home folder but the configuration."""
        for shown in self.seen:
            yield shown[:60], shown.encode("utf-8", "surrogateescape")
        for path in self.stranger.home.rglob("*"):
            yield str(path), os.fsencode(path.name)
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def needles(core: str) -> Iterator[bytes]:
    """Yield what a text with `core` in it has in it, however it is encoded."""
    raw = core.encode()
    yield raw.lower()
    yield core.encode("utf-16-le").lower()
    yield raw.hex().encode()
    for padding in range(3):  # base64 of a longer text, wherever the core starts in it; the ends depend on the rest
        encoded = base64.b64encode(b"x" * padding + raw)
        yield encoded[4:-4].lower()


def found(scribe: Scribe, cores: Mapping[str, str]) -> set[str]:
    """Return which of the cores can be found where."""
    leaks = set()
    for place, content in scribe.written():
        lowered = content.lower()
        leaks |= {f"{kind} in {place}" for kind, core in cores.items() for it in needles(core) if it in lowered}
    return leaks


# --- the journey


@pytest.fixture
def mirror(raw_server: StartRawServer, library: Mapping[str, Sample]) -> tuple[RawServer, RawServer]:
    """Servers of two origins."""
    there: list[str] = []
    audio = library["flac"].data
    second = raw_server(Mirror(audio, lambda: there[0]))
    there.append(second.url)
    return raw_server(Mirror(audio, lambda: there[0])), second


@pytest.fixture
def scribe(
    stranger: Stranger, mirror: tuple[RawServer, RawServer], nginx: StartNginx, music: Path, closed_port: int
) -> Scribe:
    """Somebody with a source for every kind of secret, and every one in the environment."""
    url, command = mirror[0].url, [sys.executable, "-c", _COMMAND]
    places = {
        "mirror": url,
        "mirror_with_login": url.replace("://", "://${USER_PART}:${PASSWORD_PART}@"),
        "tls": nginx(music, tls=True).url,
        "closed": f"http://127.0.0.1:{closed_port}",
        "command": json.dumps(command),
        "failing_command": json.dumps([*command, "fail"]),
    }
    stranger.configure(url, sources=_SOURCES.format(**places), stall_timeout=5)
    (stranger.home / "tmp").mkdir()
    stranger.environment |= {
        "HOME": str(stranger.home),
        "TMPDIR": str(stranger.home / "tmp"),
        "PYTHONDEVMODE": "",
        "USER_PART": IN_URLS["user"],
        "PASSWORD_PART": IN_URLS["password"],
        "APIKEY": IN_URLS["apikey"],
        "SIGNATURE": IN_URLS["signature"],
        "TOKEN": CORES["token"] + "/+=",
        "LOGIN": CORES["login"],
        "VAULT": CORES["command"] + "/+=",
        "ERRORS": SECRETS["stderr"],
        "SUBSONIC_PASSWORD": SECRETS["subsonicpassword"],
        "SUBSONIC_KEY": SECRETS["subsonickey"],
        "UNSENDABLE": f"{CORES['token']}\n{CORES['login']}",
    }
    return Scribe(stranger)


_PLACES = (
    "audio", "403", "404", "410", "500", "503", "page", "error", "loop", "ftp", "away", "cut", "nonsense",
)  # fmt: skip
_ADDRESSES = (
    "basic:audio", "basic:403", "vault:audio", "vault:401", "vault:404", "broken-vault:audio", "signed:audio",
    "signed:403", "signed:page", "lost:x", "tls:t-flac", "closed:x", "home:audio", "home:404", "home:page", "old:audio",
    "keyed:audio", "keyed:403", "locked:audio",
)  # fmt: skip


def _urls(server: RawServer) -> list[str]:
    signed = f"X-Amz-Signature={IN_URLS['mixsignature']}&token={IN_URLS['mixsignature']}#{IN_URLS['mixsignature']}"
    login = f"://{IN_URLS['mixuser']}:{IN_URLS['mixpassword']}@"
    return [f"{server.url.replace('://', login)}/{place}?{signed}" for place in _PLACES]


def _travel(scribe: Scribe, server: RawServer, away: RawServer) -> None:
    """Meet every kind of answer with every kind of secret, by every command."""
    everything = [*(f"mirror:{place}" for place in _PLACES), *_ADDRESSES, *_urls(server), *_urls(away)]
    for how in (("-vv",), ("--json",), ("--events", "ndjson"), ("--refresh", "-v")):
        scribe.run("fetch", *everything, *how)
        scribe.run("fetch", "mirror:401", *how)  # alone, since a refusal ends the requests to its source
        scribe.run("fetch", "unsendable:x", *how)  # alone, since a wrong configuration ends the run
    scribe.kill_when_downloading("fetch", "mirror:stall")
    scribe.kill_when_downloading("fetch", _urls(server)[0].replace("/audio", "/stall"))
    rows: list[Row] = [{"url": url, "title": f"Song {n}"} for n, url in enumerate(_urls(server))]
    rows += [{"source": source, "id": "audio", "title": source} for source in ("mirror", "signed", "home", "keyed")]
    mix = json.dumps({"name": "Friday", "tracks": rows})
    _mistype(scribe, _urls(server)[0])
    for how in (("-vv",), ("--json",), ("--events", "ndjson")):
        scribe.run("export", "-", f"DEST{how[0]}", "--on-error", "skip", *how, stdin=mix)
    scribe.run("export", "-", "NONE", "-v", stdin=mix)
    scribe.run("export", "-", "BROKEN", stdin=mix[:-40])
    scribe.run("export", "-", "LIST", "-v", "--on-error", "skip", stdin="#EXTM3U\n" + "\n".join(_urls(server)))
    _look_at_everything(scribe)


def _mistype(scribe: Scribe, url: str) -> None:
    """Write a URL wrongly, and where none is expected."""
    escaped = url.partition("#")[0].replace("@", "%40")
    wrong = [url.replace("http://", instead) for instead in ("http:/", "htps://")]
    for text in (*wrong, f"url:{escaped}", f"mirror:{url}@zz"):
        scribe.run("fetch", text)
    for how in ([], ["--events", "ndjson"]):
        scribe.run("export", url, "MISTYPED", *how)
        scribe.run("fetch", "--mix", url, *how)
    for command in (["playlists", url], ["why", url], ["--config", url, "info"]):
        scribe.run(*command)
    rows = [{"source": url, "id": "1"}, {"path": url}, *({name: text} for name in ("url", "path") for text in wrong)]
    texts = [json.dumps({"tracks": [{"source": "mirror", "id": "audio"}, row]}) for row in rows]
    for text in (*texts, *(f"#EXTM3U\n{text}\n" for text in wrong)):
        scribe.run("export", "-", "MISTYPED", "--on-error", "skip", stdin=text)


def _look_at_everything(scribe: Scribe) -> None:
    [bundled, *_] = (scribe.stranger.home / "DEST-vv" / "media").iterdir()
    for how in ("-vv", "--json"):
        for command in (["ls"], ["show", "signed:audio"], ["info"], ["why", str(bundled)], ["verify"], ["repair"]):
            scribe.run(*command, how)
        for command in (["prune", "--dry-run"], ["playlists", "home"], ["playlists", "locked"]):
            scribe.run(*command, how)
    for command in (["doctor"], ["doctor", "DEST-vv"], ["pin", "signed:audio"], ["rm", "signed:audio"]):
        scribe.run(*command, "-vv")


@pytest.mark.long
def test_no_secret_is_written_or_shown_anywhere(scribe: Scribe, mirror: tuple[RawServer, RawServer]) -> None:
    server, away = mirror
    _travel(scribe, server, away)
    heads = b"".join([*server.received, *away.received]).decode("latin-1")
    made = {f"{name} {value}": value for name, value in re.findall(r"[?&]([ts])=([0-9a-f]{8,})", heads)}
    assert found(scribe, CORES | made) == set()
    scribe.run("prune", "--max-size", "0")
    assert found(scribe, CORES | made) == set()
    # All this proves something only if every secret was in use, and something was stored.
    assert [kind for kind in CORES if not _is_in(heads, kind)] == ["stderr", "cookie"]
    assert len(made) >= 2
    assert set(re.findall(r'"code": "(\w+)"', "".join(scribe.seen))) >= _CODES


def _is_in(heads: str, kind: str) -> bool:
    """Return whether a server was told the secret, as it is, in hex (``enc:``) or as Basic authorization."""
    basic = [base64.b64decode(text).decode() for text in re.findall(r"Basic (\S+)", heads)]
    return any(form in "".join([heads, *basic]) for form in (CORES[kind], CORES[kind].encode().hex()))


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: quote(quote(text)).encode(),
        lambda text: base64.b64encode(f"dj:{text}".encode()),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: json.dumps(text).encode("utf-16"),
    ],
    ids=["plain", "percent", "base64", "hex", "utf-16"],
)
def test_a_planted_secret_is_found(stranger: Stranger, encode: Callable[[str], bytes]) -> None:
    (stranger.home / "planted").write_bytes(b"before " + encode(SECRETS["token"]) + b" after")
    assert {leak.partition(" in ")[0] for leak in found(Scribe(stranger), CORES)} == {"token"}


# --- who may see what


_FOR_ANYONE = {
    "accept", "accept-encoding", "connection", "host", "if-modified-since", "if-none-match", "if-range", "range",
    "user-agent", "want-repr-digest",
}  # fmt: skip
_OWN = ("Authorization", "Cookie", "Proxy-Authorization", "Referer", "X-Api-Key", "X-Emby-Token", "X-Made-Up")
_OWN_SOURCE = """
[sources.own]
kind = "http"
url = "{url}/{{id}}"
headers = {{ {headers} }}
"""


def names(head: bytes) -> set[str]:
    """Return the names of the fields of a request."""
    return {line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:] if line}


def own_source(url: str) -> str:
    """Return a source with headers of every kind."""
    return _OWN_SOURCE.format(url=url, headers=", ".join(f'{name} = "{CORES["token"]}"' for name in _OWN))


def moved(location: str) -> bytes:
    """Return a redirect that sets a cookie."""
    rows = f"Location: {location}\r\nSet-Cookie: session={CORES['cookie']}; Path=/\r\n"
    return f"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nConnection: close\r\n{rows}\r\n".encode()


def whole(audio: bytes) -> bytes:
    """Return an answer with a track."""
    return b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(audio) + audio


def test_another_origin_gets_only_what_is_for_anyone_and_what_was_taken_away_stays_away(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    back: list[str] = []
    other = raw_server(lambda _: moved(f"{back[0]}/end"))
    own = raw_server(moved("/again"), moved(f"{other.url}/x"), whole(library["flac"].data))
    back.append(own.url)
    stranger.configure(own.url, sources=own_source(own.url))
    stranger.run("fetch", "own:start")
    first, again, end = (names(head) for head in own.received)
    assert first == again
    assert first >= {name.lower() for name in _OWN}
    assert names(other.received[0]) <= _FOR_ANYONE
    assert end <= _FOR_ANYONE
    assert not any(CORES["cookie"].encode() in head for head in [*own.received, *other.received])


def test_a_cookie_that_a_server_sets_is_never_sent(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    server = raw_server(moved("/there"), whole(library["flac"].data))
    stranger.configure(server.url)
    stranger.run("fetch", f"{server.url}/1", f"{server.url}/2", "--jobs", "1")
    assert len(server.received) == 3
    assert not any("cookie" in names(head) for head in server.received)


def test_https_never_falls_to_http(
    stranger: Stranger, nginx: StartNginx, raw_server: StartRawServer, music: Path, library: Mapping[str, Sample]
) -> None:
    plain = raw_server(whole(library["flac"].data))
    body = f"""
      location /tracks/ {{ return 302 {plain.url}/x; }}
      location /documents/ {{ default_type application/json; return 200 '{{"url": "{plain.url}/x"}}'; }}"""
    server = nginx(music, body=body, tls=True)
    pointers = f'resolve_url = "{server.url}/documents/{{id}}"\nstream_pointer = "/url"\n'
    document = f'[sources.document]\nkind = "http"\n{pointers}'
    stranger.configure(server.url, sources=own_source(f"{server.url}/tracks") + document)
    stranger.environment["SSL_CERT_FILE"] = str(server.ca)
    assert "redirects from https to http" in stranger.run("fetch", "own:1", code=1).err
    assert "expected an https URL" in stranger.run("fetch", "document:1", code=1).err
    assert plain.received == []


def test_the_origin_that_a_document_names_gets_only_what_is_for_anyone(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    stream = raw_server(whole(library["flac"].data))
    body = json.dumps({"url": f"{stream.url}/x"}).encode()
    service = raw_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    source = own_source(service.url).replace("url =", "resolve_url =") + 'stream_pointer = "/url"\n'
    stranger.configure(service.url, sources=source)
    stranger.run("fetch", "own:1")
    assert names(service.received[0]) >= {name.lower() for name in _OWN}
    assert names(stream.received[0]) <= _FOR_ANYONE
