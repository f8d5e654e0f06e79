"""Fixtures that every test may take.

tests/servers.py, tests/raw_servers.py and tests/music_servers.py say how the servers are used.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.downloads import Desk, open_desk
from tests.library import Sample, make_library
from tests.music_servers import Rclone, Subsonic, Supysonic, music_folder
from tests.raw_servers import RawServer
from tests.servers import FORWARD_PROXY, Nginx, not_run, program
from tests.stranger import Stranger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.music_servers import Protocol as RcloneProtocol
    from tests.raw_servers import Answers
    from tests.stranger import Row


@pytest.fixture(scope="session", autouse=True)
def _away_from_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the person's own store, configuration, proxies and way to run Python out of every test."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        kept = {"CACHESTORE_REQUIRE_SERVERS"}
        for name in sorted(set(os.environ) - kept):
            if name.startswith(("CACHESTORE_", "PYTHON", "XDG_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sample]:
    """Real audio files by extension."""
    return make_library(tmp_path_factory.mktemp("library"))


class StartNginx(Protocol):
    """The type of the `nginx` fixture."""

    def __call__(self, folder: Path, *, body: str | None = None, tls: bool = False, port: int = 0) -> Nginx: ...


@pytest.fixture
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNginx]:
    """Start real nginx servers."""
    program("nginx")
    with ExitStack() as running:

        def start(folder: Path, *, body: str | None = None, tls: bool = False, port: int = 0) -> Nginx:
            server = Nginx(folder, tmp_path_factory.mktemp("nginx"), body, tls=tls, port=port)
            running.callback(server.stop)
            return server

        yield start


class StartRawServer(Protocol):
    """The type of the `raw_server` fixture."""

    def __call__(self, *answers: Answers, tls: ssl.SSLContext | None = None) -> RawServer: ...


@pytest.fixture
def raw_server() -> Iterator[StartRawServer]:
    """Start servers that answer with given bytes."""
    with ExitStack() as running:

        def start(*answers: Answers, tls: ssl.SSLContext | None = None) -> RawServer:
            server = RawServer(*answers, tls=tls)
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """Give what a server of 127.0.0.1 speaks TLS with, and the bundle to trust it by."""
    try:
        import trustme
    except ImportError:
        not_run("trustme is missing; sh .ci/test installs it")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, tmp_path / "ca.pem"


@pytest.fixture
def forward_proxy(nginx: StartNginx, tmp_path: Path) -> Nginx:
    """A proxy for http."""
    return nginx(tmp_path, body=FORWARD_PROXY)


@pytest.fixture(scope="session")
def _shared_supysonic(tmp_path_factory: pytest.TempPathFactory, library: Mapping[str, Sample]) -> Iterator[Supysonic]:
    folder = music_folder(library, tmp_path_factory.mktemp("shared-music"))
    server = Supysonic(folder, tmp_path_factory.mktemp("shared-supysonic"))
    yield server
    server.stop()


class StartSubsonic(Protocol):
    """The type of the `subsonic` fixture."""

    def __call__(self, folder: Path | None = None) -> Subsonic: ...


@pytest.fixture
def subsonic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSubsonic]:
    """Start real Subsonic servers; without a folder, take the one that all tests share."""
    program("nginx")
    with ExitStack() as running:

        def start(folder: Path | None = None) -> Subsonic:
            if folder is None:
                server: Supysonic = request.getfixturevalue("_shared_supysonic")
            else:
                server = Supysonic(folder, tmp_path_factory.mktemp("supysonic"))
                running.callback(server.stop)
            started = Subsonic(server, tmp_path_factory.mktemp("subsonic"))
            running.callback(started.stop)
            return started

        yield start


class StartRclone(Protocol):
    """The type of the `rclone` fixture."""

    def __call__(self, protocol: RcloneProtocol, folder: Path, *, login: tuple[str, str] | None = None) -> Rclone: ...


@pytest.fixture
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRclone]:
    """Start real rclone servers."""
    program("nginx")
    with ExitStack() as running:

        def start(protocol: RcloneProtocol, folder: Path, *, login: tuple[str, str] | None = None) -> Rclone:
            server = Rclone(protocol, folder, tmp_path_factory.mktemp("rclone"), login=login)
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Reserve a loopback port where every connection is refused."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    """Return somebody with an empty home folder."""
    home = tmp_path / "home"
    home.mkdir()
    return Stranger(home)


@pytest.fixture
def another_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another filesystem than that of `tmp_path`: in memory, as Linux has it."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("NOT RUN: this machine has one disk only")
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def music(tmp_path: Path, library: Mapping[str, Sample]) -> Path:
    """The folder that is served: each sample as ``t-<ext>``, names without an extension."""
    for ext, sample in library.items():
        sample.copy_to(tmp_path / "music", f"t-{ext}")
    return tmp_path / "music"


@pytest.fixture
def cloud(nginx: StartNginx, music: Path, stranger: Stranger) -> Nginx:
    """A music cloud that the stranger has configured."""
    server = nginx(music)
    stranger.configure(server.url)
    return server


@pytest.fixture
def cloud_rows(library: Mapping[str, Sample]) -> list[Row]:
    """A row for each sample in the cloud."""
    return [
        {"source": "studio", "id": f"t-{ext}", "artist": sample.artist, "title": sample.title}
        for ext, sample in library.items()
    ]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a desk whose partials are in a folder of its own."""
    made = open_desk(tmp_path / "partials")
    with made.client:
        yield made
