"""What a stranger gets for every mistake and for every answer of a server: one sentence, the right exit code."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.servers import Stall
from tests.stranger import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartNginx, StartRawServer
    from tests.servers import Nginx
    from tests.stranger import Row, Stranger


def url_row(url: str) -> Row:
    return {"url": url, "title": "Song"}


# --- the mix


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"tracks": [\n  {"id": }]}', "line 2, column 10"),
        ("", "mix.json"),
        ("[1, 2]", "a list"),
        ('{"name": "x"}', '"tracks" is missing'),
        ('{"tracks": {}}', '"tracks" is an object'),
        ('{"tracks": []}', '"tracks" is empty'),
        ('{"tracks": ["studio:t1"]}', "track 1"),
        ('{"tracks": [{"title": "Opus"}]}', "track 1: it has neither source and id nor url nor path"),
        ('{"tracks": [{"source": "studio"}]}', "track 1"),
        ('{"tracks": [{"source": "studio", "id": 42}]}', 'track 1: "id" is a number'),
        ('{"tracks": [{"path": "a.wav"}, {"path": "b.wav", "duration": "soon"}]}', 'track 2: "duration" is text'),
        ('{"tracks": [{"url": "ftp://example.org/a.flac"}]}', "track 1"),
        ('{"tracks": [{"url": "http://[::1/a.flac"}]}', "track 1"),
        ('{"tracks": [{"source": "url", "id": "x"}]}', "reserved"),
    ],
)
def test_a_mix_that_cannot_be_read_is_named_with_the_place_in_it(text: str, said: str, stranger: Stranger) -> None:
    (stranger.home / "mix.json").write_text(text)
    sentence = stranger.run("export", "mix.json", "DEST", code=2).sentence
    assert sentence.startswith("cachestore: ")
    assert "mix.json" in sentence
    assert said in sentence
    assert stranger.has_no_bundle()


def test_a_mix_that_is_not_there(stranger: Stranger) -> None:
    assert "nowhere.json" in stranger.run("export", "nowhere.json", "DEST", code=2).sentence


def test_a_mix_that_is_a_folder_or_no_text(stranger: Stranger) -> None:
    (stranger.home / "mix.json").write_bytes(b"\xff\xfe\x00\x01" * 100)
    assert "mix.json" in stranger.run("export", "mix.json", "DEST", code=2).sentence
    (stranger.home / "folder.json").mkdir()
    assert "folder.json" in stranger.run("export", "folder.json", "DEST", code=2).sentence


def test_an_unknown_source_is_answered_with_the_known_ones_and_the_nearest(stranger: Stranger, cloud: Nginx) -> None:
    sentence = stranger.export(row("t-flac"), row("t-mp3", "studoi"), code=2).sentence
    assert "studoi" in sentence
    assert "studio" in sentence
    assert cloud.requests() == []
    assert stranger.has_no_bundle()


def test_a_local_file_that_is_not_there_fails_its_row(stranger: Stranger, cloud: Nginx) -> None:
    failed = stranger.export(row("t-flac"), {"path": "Local/gone.wav", "title": "Intro"}, code=1)
    assert "Local/gone.wav" in failed.err
    assert stranger.has_no_bundle()


# --- configuration and options


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_sise = '1 GB'", "max_size"),
        ("max_size = 'lots'", "max_size"),
        ("min_age = '1 fortnight'", "min_age"),
        ("jobs = 0", "jobs"),
        ("link_mode = 'symlink'", "link_mode"),
        ("on_error = true", "on_error"),
        ("= 3", "line 1"),
        ("[sources.url]\nkind = 'http'", "reserved"),
        ("[sources.x]\nurl = 'http://h/{id}'", "kind"),
    ],
)
def test_a_configuration_that_is_wrong_is_named_with_file_and_key(setting: str, said: str, stranger: Stranger) -> None:
    (stranger.home / "config.toml").write_text(setting)
    sentence = stranger.run("ls", code=2).sentence
    assert "config.toml" in sentence
    assert said in sentence


@pytest.mark.parametrize(
    "source",
    [
        'kind = "htpp"\nurl = "http://127.0.0.1:9/{id}"',
        'kind = "http"',
        'kind = "http"\nurl = "http://127.0.0.1:9/{id}"\nheader = {}',
        'kind = "http"\nurl = "127.0.0.1:9/{id}"',
        'kind = "http"\nurl = "http://127.0.0.1:9/stream"',
        'kind = "http"\nurl = "http://127.0.0.1:9/{id}"\nheaders = "none"',
    ],
)
def test_a_source_that_is_wrong_is_named_when_it_is_used(source: str, stranger: Stranger) -> None:
    stranger.configure("http://127.0.0.1:9", sources=f"[sources.mine]\n{source}\n")
    assert "mine" in stranger.export(row("t1", "mine"), code=2).sentence
    assert stranger.has_no_bundle()


def test_a_variable_that_is_not_set_matters_only_to_its_source(stranger: Stranger, cloud: Nginx) -> None:
    del stranger.environment["STUDIO_TOKEN"]
    sentence = stranger.export(row("t-flac", "studio"), code=2).sentence
    assert "studio" in sentence
    assert "STUDIO_TOKEN" in sentence
    stranger.export(row("t-flac"))


@pytest.mark.parametrize(
    "command",
    [
        "prune --max-size lots",
        "prune --max-age yesterday",
        "prune --min-free -1",
        "export mix.json DEST --jobs 0",
        "export mix.json DEST --on-error shrug",
        "export mix.json DEST --offline --refresh",
        "export mix.json",
        "fetch nonsense",
        "fetch studio:",
        "show studio:t1@xyz",
        "pin http://[::1/",
        "nonsense",
        "ls --nonsense",
        "--root",
    ],
)
def test_wrong_usage_is_exit_code_2(command: str, stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"), dest="GOOD")
    assert stranger.run(*command.split(), code=2).err.strip()


# --- the server


@pytest.mark.parametrize(
    ("status", "code"), [(401, 77), (403, 77), (404, 1), (410, 1), (416, 1), (429, 75), (500, 75), (503, 75)]
)
def test_a_status_that_is_no_success(status: int, code: int, stranger: Stranger, cloud: Nginx) -> None:
    failed = stranger.export(url_row(f"{cloud.url}/status/{status}/song?token=hush"), code=code)
    assert str(status) in failed.err
    assert "hush" not in failed.err
    assert stranger.has_no_bundle()


def test_a_wrong_token_is_an_authorization_failure(stranger: Stranger, cloud: Nginx) -> None:
    stranger.environment["STUDIO_TOKEN"] = "wrong-token"
    failed = stranger.export(row("t-flac", "studio"), code=77)
    assert "wrong-token" not in failed.err


def test_a_refused_connection(stranger: Stranger, closed_port: int) -> None:
    stranger.configure("http://127.0.0.1:9")
    failed = stranger.export(url_row(f"http://127.0.0.1:{closed_port}/a"), code=75)
    assert f"127.0.0.1:{closed_port}" in failed.err


def test_a_name_that_does_not_resolve(stranger: Stranger) -> None:
    stranger.configure("http://127.0.0.1:9", connect_timeout=5)
    assert "music.invalid" in stranger.export(url_row("http://music.invalid/a"), code=75).err


def test_a_certificate_that_nobody_trusts(stranger: Stranger, nginx: StartNginx, music: Path) -> None:
    server = nginx(music, tls=True)
    stranger.configure(server.url)
    assert "certificate" in stranger.export(url_row(f"{server.url}/plain/t-flac"), code=1).err


def test_no_tls_where_tls_is_expected(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(url_row(f"https://127.0.0.1:{cloud.port}/plain/t-flac"), code=1)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nfLaC"]
)
def test_a_server_that_stalls_is_given_up(answer: bytes, stranger: Stranger, raw_server: StartRawServer) -> None:
    url = raw_server(Stall(answer)).url
    stranger.configure(url, stall_timeout=0.5)
    stranger.export(url_row(f"{url}/a"), code=75)
    assert stranger.has_no_bundle()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", 75),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nfLaC", 75),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 36\r\n\r\n{"status": "failed", "error": "none"}', 1),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 1),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-8/9\r\nContent-Length: 4\r\n\r\nfLaC", 1),
    ],
)
def test_an_answer_that_is_no_track(answer: bytes, code: int, stranger: Stranger, raw_server: StartRawServer) -> None:
    url = raw_server(answer).url
    stranger.configure(url)
    stranger.export(url_row(f"{url}/a"), code=code)
    assert stranger.has_no_bundle()
    assert stranger.run("ls", "--json").facts == []


def test_a_login_page_with_status_200_is_no_track(stranger: Stranger, cloud: Nginx) -> None:
    assert "HTML" in stranger.export(url_row(f"{cloud.url}/html/a.flac"), code=1).err
    assert stranger.has_no_bundle()


def test_a_port_that_speaks_no_http_does_not_hang(stranger: Stranger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        stranger.configure("http://127.0.0.1:9", connect_timeout=0.5, stall_timeout=0.5)
        stranger.export(url_row(url), code=75)
