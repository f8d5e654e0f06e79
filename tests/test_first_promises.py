"""What the project promised first, each under its name: whole commands, and what a person sees and finds on the disk.

valid cloud export · expired or unauthorized URL · network interruption and retry · duplicate track ids and filename
collisions · cancellation during download
"""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import time
import unicodedata
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.downloads import answer, rest
from tests.library import make_wave
from tests.music_servers import presigned
from tests.neighbours import ETAG, Street, is_downloading
from tests.raw_servers import Stall
from tests.servers import TOKEN
from tests.stranger import manifest, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer, StartRclone, StartSubsonic
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Ran, Row, Stranger

_LONG = 400_000  # bytes: six seconds at the pace of /slow/
_SIGNED = """
  location {place} {{
    secure_link $arg_md5,$arg_expires;
    secure_link_md5 "$secure_link_expires$uri hush";
    if ($secure_link = "") {{ return 403; }}
    if ($secure_link = "0") {{ return 410; }}
    alias "{folder}/"; {more}
  }}"""


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def source(name: str, **options: object) -> str:
    """Return the configuration of a source; texts, lists and tables of texts are written the same in JSON and TOML."""
    tables = {key: value for key, value in options.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in ({"kind": "http"} | tables).items()]
    headers = options.get("headers", {})
    assert isinstance(headers, dict)
    inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in headers.items())
    return "\n".join([f"[sources.{name}]", *lines, f"headers = {{ {inner} }}", ""])


def signed(url: str, *, expires: int, secret: str = "hush") -> str:
    """Return a URL with the signature that nginx's secure_link asks for, valid until `expires` (Unix seconds)."""
    path = "/" + url.split("/", 3)[3]
    digest = hashlib.md5(f"{expires}{path} {secret}".encode()).digest()
    return f"{url}?md5={urlsafe_b64encode(digest).decode().rstrip('=')}&expires={expires}"


def in_an_hour() -> int:
    return int(time.time()) + 3600


@pytest.fixture
def signing(nginx: StartNginx, music: Path) -> Nginx:
    """A cloud whose URLs are signed and expire; below /slow-signed/ it sends slowly."""
    quick = _SIGNED.format(place="/signed/", folder=music, more="")
    return nginx(music, body=quick + _SIGNED.format(place="/slow-signed/", folder=music, more="limit_rate 64k;"))


@pytest.fixture
def long_track(music: Path) -> bytes:
    """A track ``long`` that takes its time."""
    data = make_wave(_LONG, "long")
    (music / "long").write_bytes(data)
    return data


@pytest.fixture
def street(stranger: Stranger) -> Iterator[Street]:
    """Commands that tell what happens."""
    with Street(stranger) as running:
        yield running


def partials(stranger: Stranger) -> list[str]:
    """Return the kinds of files among the unfinished downloads."""
    return sorted(path.suffix for path in (stranger.root / "partials-v1").iterdir())


# --- valid cloud export


def is_valid(stranger: Stranger, done: Ran, library: Mapping[str, Sample]) -> None:
    """Fail unless the bundle DEST has every sample of the library, and the person was told so."""
    assert sorted(path.read_bytes() for path in stranger.media()) == sorted(each.data for each in library.values())
    dest = stranger.home / "DEST"
    [playlist] = dest.glob("*.m3u8")
    files = [line for line in playlist.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert sorted(files) == [f"media/{path.name}" for path in stranger.media()]
    tracks = manifest(dest)["tracks"]
    assert {(track["status"], track["link_mode"]) for track in tracks} == {("done", "hardlink")}
    assert {stranger.home / "DEST" / track["file"] for track in tracks} == {*stranger.media()}
    assert f"downloaded  {len(library)}\n" in done.out
    assert not partials(stranger)
    assert len(stranger.blobs()) == len(library)


def test_valid_cloud_export(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row], library: Mapping[str, Sample]
) -> None:
    is_valid(stranger, stranger.export(*cloud_rows), library)
    again = stranger.export(*cloud_rows, dest="AGAIN")
    assert f"from cache  {len(library)}\n" in again.out
    asked = [request.status for request in cloud.requests()]
    assert asked == [200] * len(library) + [304] * len(library)
    assert {path.stat().st_ino for path in stranger.media()} == {path.stat().st_ino for path in stranger.media("AGAIN")}


def test_valid_cloud_export_from_a_music_api_that_names_its_streams_in_documents(
    stranger: Stranger, nginx: StartNginx, music: Path, library: Mapping[str, Sample]
) -> None:
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}'
    document = '{"stream": {"url": "/files/$track?client=x"}, "revision": 7}'
    server = nginx(
        music,
        body=f"""
          location ~ ^/api/(?<track>.+)$ {{ {guard} default_type application/json; return 200 '{document}'; }}
          location /files/ {{ {guard} alias "{music}/"; }}""",
    )
    pointers = {"stream_pointer": "/stream/url", "version_pointer": "/revision"}
    api = source(
        "api", resolve_url=f"{server.url}/api/{{id}}", **pointers, headers={"Authorization": "Bearer ${STUDIO_TOKEN}"}
    )
    stranger.configure(server.url, sources=api)
    rows = [row(f"t-{ext}", "api") for ext in library]
    is_valid(stranger, stranger.export(*rows), library)
    before = len(server.requests("/files/"))
    stranger.export(*rows, dest="AGAIN")
    assert len(server.requests("/files/")) == before  # the documents say that nothing has changed


def test_valid_cloud_export_of_a_subsonic_playlist(
    stranger: Stranger, subsonic: StartSubsonic, library: Mapping[str, Sample]
) -> None:
    server = subsonic()
    server.create_playlist("Friday", server.ids())
    home = source("home", kind="subsonic", url=server.url, user=server.user, password="${PASSWORD}")
    stranger.configure(server.url, sources=home.replace("headers = {  }", ""))
    stranger.environment["PASSWORD"] = server.password
    done = stranger.run("export", "home:playlist/Friday", "DEST")
    is_valid(stranger, done, library)
    assert any("Café Ünïcode ♫" in path.name for path in stranger.media())


def test_valid_cloud_export_of_presigned_urls(
    stranger: Stranger, rclone: StartRclone, music: Path, library: Mapping[str, Sample]
) -> None:
    server = rclone("s3", music)
    stranger.configure(server.url)
    now = datetime.now(UTC)
    rows = [{"url": presigned(f"{server.url}/t-{ext}", expires=600, now=now), "title": ext} for ext in library]
    is_valid(stranger, stranger.export(*rows), library)


def test_valid_cloud_export_behind_a_password(
    stranger: Stranger, rclone: StartRclone, music: Path, library: Mapping[str, Sample]
) -> None:
    server = rclone("webdav", music, login=("dj", "p@ss"))
    dav = source("dav", url=server.url.replace("://", "://dj:${DAV_PASSWORD}@") + "/{id}")
    stranger.configure(server.url, sources=dav)
    stranger.environment["DAV_PASSWORD"] = "p@ss"
    is_valid(stranger, stranger.export(*(row(f"t-{ext}", "dav") for ext in library)), library)


# --- expired or unauthorized URL


def is_refused(stranger: Stranger, told: Ran, *words: str) -> None:
    """Fail unless the person was told `words`, and nothing was published or kept."""
    assert all(word in told.err for word in words), told.err
    assert "run again: cachestore export" in last_line(told.err)
    assert stranger.has_no_bundle()
    assert stranger.blobs() == []
    assert not partials(stranger)


@pytest.mark.parametrize(("age", "secret", "code", "status"), [(-60, "hush", 1, "410"), (60, "wrong", 77, "403")])
def test_expired_or_unauthorized_url(
    stranger: Stranger, signing: Nginx, age: int, secret: str, code: int, status: str
) -> None:
    stranger.configure(signing.url)
    url = signed(f"{signing.url}/signed/t-flac", expires=int(time.time()) + age, secret=secret)
    told = stranger.export({"url": url, "title": "Opus"}, code=code)
    is_refused(stranger, told, "Opus: ", status, "if its URL was signed, it has expired: take a new one")
    assert "md5=" not in told.err
    stranger.export({"url": signed(f"{signing.url}/signed/t-flac", expires=in_an_hour()), "title": "Opus"})
    assert [request.status for request in signing.requests()] == [int(status), 200]


def test_expired_or_unauthorized_url_of_a_source_whose_token_is_wrong(stranger: Stranger, cloud: Nginx) -> None:
    stranger.environment["STUDIO_TOKEN"] = "stale"
    told = stranger.export(row("t-flac", "studio"), row("t-mp3", "studio"), code=77)
    is_refused(stranger, told, "t-flac: ", "t-mp3: ", "401", "[sources.studio]")
    assert {request.status for request in cloud.requests()} == {401}


def test_expired_or_unauthorized_url_is_asked_again_with_fresh_credentials(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]
) -> None:
    tokens = stranger.home / "tokens"
    tokens.write_text(f"expired {TOKEN} never")
    take = f'cut -d " " -f 1 {tokens}; sed -i "s/^[^ ]* //" {tokens}'
    script = f'printf "{{\\"Authorization\\": \\"Bearer %s\\"}}" "$({take})"'
    vault = source("vault", url=f"{cloud.url}/api/tracks/{{id}}/stream", credential_command=["sh", "-c", script])
    stranger.configure(cloud.url, sources=vault)
    stranger.run("export", stranger.mix(*({**each, "source": "vault"} for each in cloud_rows)), "DEST", "--jobs", "2")
    statuses = [request.status for request in cloud.requests()]
    assert sorted(statuses)[:5] == [200] * 5
    assert 1 <= statuses.count(401) <= 2  # both workers may have begun with the expired one
    assert tokens.read_text() == "never"


def test_expired_or_unauthorized_url_is_resolved_again(
    stranger: Stranger, signing: Nginx, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    expiries = itertools.chain([int(time.time()) - 60], itertools.repeat(in_an_hour()))

    def document(_: bytes) -> bytes:
        return answer(json.dumps({"url": signed(f"{signing.url}/signed/t-flac", expires=next(expiries))}).encode())

    service = raw_server(document)
    stranger.configure(signing.url, sources=source("api", resolve_url=f"{service.url}/{{id}}", stream_pointer="/url"))
    stranger.export(row("opus", "api"))
    assert [request.status for request in signing.requests()] == [410, 200]
    assert stranger.media()[0].read_bytes() == library["flac"].data


@pytest.mark.long
def test_expired_or_unauthorized_url_in_the_middle_of_a_download_goes_on_with_a_new_one(
    stranger: Stranger, signing: Nginx, raw_server: StartRawServer, street: Street, long_track: bytes
) -> None:
    """A run is cut, and its URL is not valid any more when the next one goes on."""
    valid = [in_an_hour(), int(time.time()) - 60, in_an_hour() + 60]

    def document(_: bytes) -> bytes:
        return answer(json.dumps({"url": signed(f"{signing.url}/slow-signed/long", expires=valid.pop(0))}).encode())

    service = raw_server(document)
    stranger.configure(signing.url, sources=source("api", resolve_url=f"{service.url}/{{id}}", stream_pointer="/url"))
    running = street.start("export", stranger.mix(row("opus", "api")), "DEST")
    running.until(is_downloading)
    running.send(signal.SIGTERM)
    assert running.end() == 143
    stranger.export(row("opus", "api"))
    first, expired, last = signing.requests()
    assert (first.status, expired.status, last.status) == (200, 410, 206)
    assert expired.range == last.range != ""
    assert stranger.media()[0].read_bytes() == long_track


def test_expired_or_unauthorized_url_in_the_middle_of_a_run_goes_on_with_a_new_one(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    audio, signatures, seen = library["wav"].data, itertools.count(1), []

    def cloud(head: bytes) -> bytes:
        asked = head.decode("latin-1").split()[1]
        if asked.startswith("/document"):
            return answer(json.dumps({"url": f"/stream?signature=s{next(signatures)}"}).encode())
        seen.append(asked.rpartition("=")[2])
        if len(seen) == 1:
            return answer(audio[:50_000], ETAG, length=len(audio))
        return answer(status="403 Forbidden") if seen[-1] == "s1" else rest(audio, 50_000, ETAG)

    server = raw_server(cloud)
    api = source("api", resolve_url=f"{server.url}/document/{{id}}", stream_pointer="/url")
    stranger.configure(server.url, sources=api, retries=2)
    stranger.export(row("opus", "api"))
    assert seen == ["s1", "s1", "s2"]
    assert stranger.media()[0].read_bytes() == audio


# --- network interruption and retry


@pytest.mark.long
def test_network_interruption_and_retry(
    stranger: Stranger, nginx: StartNginx, street: Street, music: Path, long_track: bytes
) -> None:
    server = nginx(music)
    stranger.configure(server.url)
    mix = stranger.mix(row("t-flac"), row("long", "slow"))
    running = street.start("export", mix, "DEST", "--jobs", "1")
    running.until(lambda event: is_downloading(event) and event["index"] == 1 and event["bytes"] > 0)
    server.stop()
    assert running.end() == 75
    [failed] = [event for event in running.events if event.get("state") == "failed"]
    assert (failed["code"], failed["retryable"]) == ("truncated", True)
    assert (running.events[-1]["result"], running.events[-1]["exit_code"]) == ("failed", 75)
    assert stranger.has_no_bundle()
    assert partials(stranger) == [".json", ".part"]
    assert stranger.run("info", "--json").facts["partial_bytes"] > 0
    back = nginx(music, port=server.port)
    done = stranger.run("export", mix, "DEST")
    assert "downloaded  1\n" in done.out
    [resumed] = back.requests("/slow/")
    assert (resumed.status, resumed.range[:6]) == (206, "bytes=")
    assert resumed.sent < len(long_track)
    assert stranger.media()[1].read_bytes() == long_track
    assert partials(stranger) == []


def test_network_interruption_and_retry_within_a_run(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample]
) -> None:
    audio = library["wav"].data
    server = raw_server(
        b"",
        answer(b"busy", "Retry-After: 0", status="503 Service Unavailable"),
        answer(audio[:50_000], ETAG, length=len(audio)),
        rest(audio[:90_000], 50_000, ETAG, total=len(audio)),
        rest(audio, 90_000, ETAG),
    )
    stranger.configure(server.url, retries=5)
    done = stranger.export(row("opus"))
    assert "downloaded  1\n" in done.out
    assert done.err.count("failed") == 0
    assert len(server.received) == 5
    assert stranger.media()[0].read_bytes() == audio


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refused", "connection refused"),
        ("stalled", "stopped sending after 1000 of"),
        ("silent", "did not answer in time"),
        ("cut", "ended after 1000 of"),
    ],
)
def test_network_interruption_and_retry_that_does_not_help_is_temporary(
    stranger: Stranger,
    raw_server: StartRawServer,
    closed_port: int,
    library: Mapping[str, Sample],
    fault: str,
    words: str,
) -> None:
    begun = answer(library["wav"].data[:1000], ETAG, length=len(library["wav"].data))
    answers: dict[str, bytes | Stall] = {"stalled": Stall(begun), "silent": Stall(), "cut": begun}
    url = raw_server(answers[fault]).url if fault in answers else f"http://127.0.0.1:{closed_port}"
    stranger.configure(url, stall_timeout=0.5)
    told = stranger.export(row("opus"), code=75)
    assert words in told.err
    assert "0 of 1 are cached; run again: cachestore export" in last_line(told.err)
    assert stranger.has_no_bundle()


# --- duplicate track ids and filename collisions


def test_duplicate_track_ids_and_filename_collisions(
    stranger: Stranger, cloud: Nginx, nginx: StartNginx, tmp_path: Path, library: Mapping[str, Sample]
) -> None:
    """One id of two sources, and one title, spelled in ways that some filesystem takes for the same."""
    other = tmp_path / "other"
    library["ogg"].copy_to(other, "t-flac")
    library["m4a"].copy_to(other, "t-mp3")
    stranger.configure(cloud.url, sources=source("other", url=f"{nginx(other).url}/plain/{{id}}"))
    title = "Café: Live?"
    rows = [
        {"source": "open", "id": "t-flac", "artist": "DJ", "title": title},
        {"source": "other", "id": "t-flac", "artist": "DJ", "title": unicodedata.normalize("NFD", title)},
        {"source": "open", "id": "t-mp3", "artist": "dj", "title": title.upper()},
        {"source": "other", "id": "t-mp3", "artist": "DJ", "title": title},
    ]
    stranger.run("export", stranger.mix(*rows), "DEST")
    found = [path.read_bytes() for path in sorted(stranger.media(), key=lambda path: path.name[:2])]
    assert found == [library[ext].data for ext in ("flac", "ogg", "mp3", "m4a")]
    names = {unicodedata.normalize("NFC", path.stem).casefold() for path in stranger.media()}
    assert len(names) == 4
    assert not any(set(path.name) & set('<>:"/\\|?*') for path in stranger.media())
    assert len({entry["key"] for entry in stranger.run("ls", "--json").facts}) == 4


def test_duplicate_track_ids_and_filename_collisions_of_one_track(
    stranger: Stranger, cloud: Nginx, library: Mapping[str, Sample]
) -> None:
    rows = [row("t-flac", title=title) for title in ("Opus", "Opus", "Opus (Reprise)")]
    stranger.export(*rows)
    assert [request.path for request in cloud.requests()] == ["/plain/t-flac"]
    assert {path.read_bytes() for path in stranger.media()} == {library["flac"].data}
    assert len(stranger.blobs()) == 1
    playlist = (stranger.home / "DEST" / "Friday Warm-up.m3u8").read_text(encoding="utf-8").splitlines()
    listed = [line for line in playlist if not line.startswith("#")]
    assert len(listed) == 3
    assert all((stranger.home / "DEST" / line).is_file() for line in listed)


@pytest.mark.parametrize(
    "title", ["../../../escape", "CON", "nul.wav", " . ", "a/b\\c", "x" * 400, "-rf *", "\n\t", "\u202egpj"]
)
def test_duplicate_track_ids_and_filename_collisions_of_hostile_titles(
    stranger: Stranger, cloud: Nginx, title: str
) -> None:
    stranger.export(row("t-flac", title=title), row("t-mp3", title=title))
    first, second = stranger.media()
    assert (first.suffix, second.suffix) == (".flac", ".mp3")
    assert first.stem.casefold() != second.stem.casefold()
    assert {path.name for path in stranger.home.iterdir()} == {"config.toml", "mix.json", "store", "DEST"}


# --- cancellation during download


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_cancellation_during_download(
    stranger: Stranger, cloud: Nginx, street: Street, long_track: bytes, number: signal.Signals
) -> None:
    mix = stranger.mix(row("t-flac"), row("long", "slow"))
    running = street.start("export", mix, "DEST")
    wanted = {(0, "done"), (1, "downloading")}
    running.until(lambda _: wanted <= {(event.get("index"), event.get("state")) for event in running.events})
    sent = time.monotonic()
    running.send(number)
    assert running.end() == 128 + number
    assert time.monotonic() - sent < 3
    assert [event["state"] for event in running.events if event.get("index") == 1][-1] == "cancelled"
    assert (running.events[-1]["result"], running.events[-1]["exit_code"]) == ("cancelled", 128 + number)
    assert stranger.has_no_bundle()
    assert partials(stranger) == [".json", ".part"]  # to go on with
    assert stranger.run("verify", "--json").facts["problems"] == []
    assert [entry["id"] for entry in stranger.run("ls", "--json").facts] == ["t-flac"]


@pytest.mark.parametrize("place", ["before the headers", "in the body", "in the wait for a retry", "in a document"])
def test_cancellation_during_download_wherever_the_server_stalls(
    stranger: Stranger, raw_server: StartRawServer, library: Mapping[str, Sample], place: str
) -> None:
    audio = library["wav"].data
    answers: dict[str, bytes | Stall] = {
        "before the headers": Stall(),
        "in the body": Stall(answer(audio[:1000], ETAG, length=len(audio))),
        "in the wait for a retry": answer(b"later", "Retry-After: 50", status="503 Service Unavailable"),
        "in a document": Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    }
    server = raw_server(answers[place])
    api = source("api", resolve_url=f"{server.url}/{{id}}", stream_pointer="/url")
    stranger.configure(server.url, sources=api, retries=3)
    mix = stranger.mix(row("opus", "api" if place == "in a document" else "open"))
    with stranger.start("export", mix, "DEST") as process:
        wait_until(lambda: bool(server.received))
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
        assert time.monotonic() - sent < 3
    assert process.returncode == 130
    assert "cancelled" in last_line(told)
    assert "Traceback" not in told
    assert stranger.has_no_bundle()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
