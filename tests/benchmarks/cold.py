"""Downloads into an empty cache, and conditional requests for a full one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tests.benchmarks.case import Contender, Row
from tests.benchmarks.measure import Command, run
from tests.benchmarks.workplace import Songs, Workplace, lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.scale import Lot

_JOBS = "4"
_NO_HASH = "does not hash"
_NO_FILE = "keeps a body in SQLite, no file; one request at a time"


@dataclass(frozen=True)
class Downloads:
    """What each contender does to download `songs`."""

    work: Workplace
    songs: Songs

    @cached_property
    def urls(self) -> Path:
        """A file with all URLs."""
        return lines(self.work.folder / f"{self.songs.source}.urls", self.songs.urls)

    @cached_property
    def digests(self) -> Path:
        """A file as sha256sum writes it."""
        rows = [
            f"{hashlib.sha256((self.songs.folder / name).read_bytes()).hexdigest()}  {name}"
            for name in self.songs.names
        ]
        return lines(self.work.folder / f"{self.songs.source}.sha256", rows)

    def ours(self, place: Path) -> Command:
        """`cachestore fetch`."""
        options = self.work.config(place, self.songs.source)
        fetch = self.work.ours.command(*options, "fetch", "--jobs", _JOBS, *self.songs.tracks)
        return Command(fetch, partial(self.songs.arrived, place))

    def ours_in_python(self, place: Path) -> Command:
        """The same from Python."""
        config = self.work.config(place, self.songs.source)[1]
        tracks = lines(place / "tracks", self.songs.tracks)
        fetch = self.work.ours.program("cachestore_fetch.py", config, tracks, _JOBS)
        return Command(fetch, partial(self.songs.arrived, place / "store"))

    def curl(self, place: Path, *options: str) -> Command:
        """One curl for all."""
        rows = [row for url in self.songs.urls for row in (f'url = "{url}"', "remote-name")]
        config = lines(place / "curl.config", rows)
        argv = ("curl", "--silent", "--fail", "--output-dir", str(place), *options, "--config", str(config))
        return Command(argv, partial(self.songs.arrived, place))

    def curl_parallel(self, place: Path) -> Command:
        """`curl -Z`."""
        return self.curl(place, "--parallel", "--parallel-max", _JOBS)

    def aria2(self, place: Path) -> Command:
        """One connection a file, as for all others."""
        options = (f"--max-concurrent-downloads={_JOBS}", "--split=1", "--file-allocation=none", "--quiet=true")
        argv = ("aria2c", *options, "--no-conf=true", f"--dir={place}", f"--input-file={self.urls}")
        return Command(argv, partial(self.songs.arrived, place))

    def hub(self, place: Path) -> Command:
        """`snapshot_download`."""
        repository = f"bench/{self.songs.source}"
        hub = self.work.package("huggingface_hub")
        argv = hub.program("hub_fetch.py", self.work.server.url, repository, place, _JOBS)
        return Command(
            argv, partial(self.songs.arrived, place), env={"HF_HOME": str(place), "HF_HUB_DISABLE_TELEMETRY": "1"}
        )

    def pooch(self, place: Path) -> Command:
        """Threads that fetch."""
        argv = self.work.package("pooch").program("pooch_fetch.py", self.songs.url, self.digests, place, _JOBS)
        return Command(argv, partial(self.songs.arrived, place))

    def cached_path(self, place: Path) -> Command:
        """Threads that fetch."""
        argv = self.work.package("cached_path").program("cached_path_fetch.py", self.urls, place, _JOBS)
        return Command(argv, partial(self.songs.arrived, place))

    def hishel(self, place: Path) -> Command:
        """One request after the other."""
        argv = self.work.package("hishel").program("hishel_fetch.py", self.urls, place)
        return Command(argv, partial(self.songs.arrived, place))

    def make_fetch_happen(self, place: Path) -> Command:
        """The client of npm."""
        argv = self.work.node("make-fetch-happen").program("fetch.mjs", self.urls, place, _JOBS)
        return Command(argv, partial(self.songs.arrived, place))


def _contenders(work: Workplace, songs: Songs) -> tuple[Contender, ...]:
    do = Downloads(work, songs)
    return (
        Contender("cachestore", work.ours, do.ours, kind="ours"),
        Contender("cachestore in Python", work.ours, do.ours_in_python, kind="ours"),
        Contender("curl -Z", work.program("curl"), do.curl_parallel, _NO_HASH, kind="bare"),
        Contender("curl", work.program("curl"), do.curl, f"{_NO_HASH}; one request at a time", kind="bare"),
        Contender("aria2", work.program("aria2c", "aria2"), do.aria2, _NO_HASH, kind="bare"),
        Contender("huggingface_hub", work.package("huggingface_hub"), do.hub, f"{_NO_HASH}; asks HEAD before GET"),
        Contender("pooch", work.package("pooch"), do.pooch, "is told all digests before"),
        Contender("cached_path", work.package("cached_path"), do.cached_path, f"{_NO_HASH}; asks HEAD before GET"),
        Contender("hishel", work.package("hishel"), do.hishel, f"{_NO_HASH}; {_NO_FILE}"),
        Contender("make-fetch-happen", work.node("make-fetch-happen"), do.make_fetch_happen),
    )


def _row(work: Workplace, name: str, lot: Lot, base: str, limit: float) -> Row:
    return Row(
        title=f"Cold download, {lot}",
        limit=limit,
        base=base,
        contenders=_contenders(work, work.songs(name, lot)),
        files=lot.files,
        size=lot.bytes,
    )


def cold_large(work: Workplace) -> Row:
    """Few large files: bytes count."""
    return _row(work, "large", work.scale.large, "curl -Z", 1.0)


def cold_medium(work: Workplace) -> Row:
    """Songs as streaming services have them."""
    return _row(work, "medium", work.scale.medium, "curl -Z", 1.3)


def cold_tiny(work: Workplace) -> Row:
    """Many tiny files: what each costs counts."""
    return _row(work, "tiny", work.scale.tiny, "curl", 2.0)


class Revalidation:
    """The same downloads a second time: every answer should be a 304."""

    def __init__(self, work: Workplace, songs: Songs) -> None:
        self._work = work
        self._songs = songs
        self._do = Downloads(work, songs)
        self._full: dict[str, Command] = {}

    def _again(self, name: str, command: Command) -> Command:
        """Fill a cache the first time, and return the command that asks about it."""
        if name not in self._full:
            run(command, self._work.folder)
            self._full[name] = command
        return self._full[name]

    def _place(self, name: str) -> Path:
        place = self._work.folder / f"full-{name}"
        place.mkdir(exist_ok=True)
        return place

    def ours(self, _: Path) -> Command:
        """`cachestore fetch` of what it has."""
        return self._again("ours", self._do.ours(self._place("ours")))

    def ours_in_python(self, _: Path) -> Command:
        """The same from Python."""
        return self._again("python", self._do.ours_in_python(self._place("python")))

    def curl(self, place: Path) -> Command:
        """`curl -Z` with the ETag of each."""
        rows = [
            row
            for name, url in zip(self._songs.names, self._songs.urls, strict=True)
            for row in (
                "next",
                "silent",
                "fail",
                f'url = "{url}"',
                f"header = {_quoted(self._songs.etag(name))}",
                'output = "/dev/null"',
            )
        ][1:]
        argv = ("curl", "--parallel", "--parallel-max", _JOBS, "--config", str(lines(place / "curl.config", rows)))
        return Command(argv)

    def hishel(self, _: Path) -> Command:
        """Conditional requests, and the bodies out of SQLite."""
        return self._again("hishel", self._do.hishel(self._place("hishel")))

    def make_fetch_happen(self, _: Path) -> Command:
        """Conditional requests, and the bodies out of cacache."""
        return self._again("mfh", self._do.make_fetch_happen(self._place("mfh")))


def _quoted(etag: str) -> str:
    value = etag.replace('"', '\\"')
    return f'"If-None-Match: {value}"'


def revalidation(work: Workplace) -> Row:
    """What an export does most of its life."""
    lot = type(work.scale.tiny)(work.scale.asked, 16 * 1024)
    do = Revalidation(work, work.songs("asked", lot))
    return Row(
        title=f"304s for {lot.files:,} tracks",
        limit=1.5,
        base="curl -Z",
        contenders=(
            Contender("cachestore", work.ours, do.ours, kind="ours"),
            Contender("cachestore in Python", work.ours, do.ours_in_python, kind="ours"),
            Contender("curl -Z", work.program("curl"), do.curl, "is told all ETags; looks at no file", kind="bare"),
            Contender("hishel", work.package("hishel"), do.hishel, f"reads every body; {_NO_FILE}"),
            Contender("make-fetch-happen", work.node("make-fetch-happen"), do.make_fetch_happen, "reads every body"),
        ),
        files=lot.files,
    )


ROWS = {"cold-large": cold_large, "cold-medium": cold_medium, "cold-tiny": cold_tiny, "revalidation": revalidation}
