"""The source of docs/sources.md, as a package of somebody else: built, installed, configured and asked for a track."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.sources.base import Describing, Listing, Renewing
from tests.packages import blocks, build_wheel, install, section
from tests.servers import TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import StartNginx
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Stranger

_HEADING = "A source of your own"
_PAGE = Path(__file__).parent.parent / "docs" / "sources.md"
# The page has a table of what else a source may have, and no example.
_MORE = """

from cachestore import Description, Playlist, PlaylistTrack


class FullSource(MySource):
    def __init__(self, config, environ, web):
        super().__init__(config, environ, web)
        self._web = web

    def renew(self, track, refused, error):
        token = self._web.json(track, f"{self._base}/login")["token"]
        self._headers = {"Authorization": f"Bearer {token}"}
        return True

    def describe(self, track):
        return Description(title="Opus", artist="E.P.")

    def playlists(self):
        return [Playlist("p1", "Friday", 1)]

    def playlist(self, playlist_id):
        return [PlaylistTrack(Track("full", "42"))] if playlist_id == "p1" else []
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    [module], [points, _] = shown("python"), shown("toml")
    more = {"cachestore.sources": {"fullkind": "my_package:FullSource"}}
    folder = tmp_path_factory.mktemp("wheel")
    return install(build_wheel(folder, {"my_package.py": module + _MORE}, points, more), folder / "installed")


def shown(language: str) -> list[str]:
    """Return the code of a language in what the page says of a source of one's own."""
    return blocks(_PAGE, _HEADING, language)


@pytest.fixture
def service(nginx: StartNginx, music: Path, stranger: Stranger, installed: Path) -> Nginx:
    """A service as the page imagines it, configured as the page says."""
    guard = f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}'
    body = f"""
      location = /login {{ return 200 '{{"token": "{TOKEN}"}}'; }}
      location = /audio/42 {{ {guard} alias "{music}/t-flac"; }}"""
    server = nginx(music, body=body)
    mine = shown("toml")[1].replace("https://mine.example", server.url)
    stranger.configure(server.url, sources=mine + mine.replace("mine]", "full]").replace("mykind", "fullkind"))
    stranger.environment |= {"PYTHONPATH": str(installed), "MY_TOKEN": TOKEN}
    return server


def test_the_page_shows_a_class_of_about_fifteen_lines_and_names_all_that_it_may_have() -> None:
    [module] = shown("python")
    [found] = [node for node in ast.parse(module).body if isinstance(node, ast.ClassDef)]
    assert found.end_lineno is not None
    assert found.end_lineno - found.lineno < 20
    told = {
        name
        for row in re.findall(r"(?m)^\| (`.*?) \|", section(_PAGE, _HEADING))
        for name in re.findall(r"`(\w+)\(", row)
    }
    having = {name for kind in (Renewing, Describing, Listing) for name in vars(kind) if not name.startswith("_")}
    assert told == having


def test_an_installed_source_downloads_a_track(
    stranger: Stranger, service: Nginx, library: Mapping[str, Sample]
) -> None:
    assert stranger.run("fetch", "mine:42").out == "1 track: 1 downloaded\n"
    assert stranger.blobs()[0].read_bytes() == library["flac"].data
    assert stranger.run("fetch", "mine:42").out == "1 track: 1 cached\n"
    assert [(request.path, request.status) for request in service.requests()] == [
        ("/audio/42", 200),
        ("/audio/42", 304),
    ]


def test_what_an_installed_source_cannot_do_is_one_sentence(stranger: Stranger, service: Nginx) -> None:
    assert last_line(stranger.run("fetch", "mine:x", code=1).err) == "cachestore: mine:x: its id is no number"
    assert "404" in last_line(stranger.run("fetch", "mine:43", code=1).err)
    stranger.environment["MY_TOKEN"] = "wrong"
    assert "401" in last_line(stranger.run("fetch", "mine:42", code=77).err)
    del stranger.environment["MY_TOKEN"]
    assert "MY_TOKEN is not set" in stranger.run("fetch", "mine:42", code=2).sentence


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def test_an_installed_source_may_renew_describe_and_list(stranger: Stranger, service: Nginx) -> None:
    stranger.environment["MY_TOKEN"] = "expired"
    assert [each["name"] for each in stranger.run("playlists", "full", "--json").facts] == ["Friday"]
    stranger.run("export", "full:playlist/Friday", "DEST")
    assert [path.name for path in stranger.media()] == ["01 - E.P. - Opus.flac"]
    assert [request.status for request in service.requests("/audio/")] == [401, 200]


def test_without_the_package_its_kind_is_unknown(stranger: Stranger, service: Nginx) -> None:
    del stranger.environment["PYTHONPATH"]
    assert "there is no kind mykind" in stranger.run("fetch", "mine:42", code=2).sentence
