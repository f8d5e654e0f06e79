"""``cachestore doctor``: is everything fit, and how to mend what is not."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli import probes
from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.output import plain
from cachestore.config import default_config_path
from cachestore.errors import ConfigError, IndexDamaged, PreconditionError, RootMissing
from cachestore.quantities import format_size
from cachestore.root import refuse_foreign_content
from cachestore.store.reader import StoreReader
from cachestore.text import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachestore.config import Config, SourceConfig
    from cachestore.sources.registry import Sources

_SOURCE_BLOCKS = """\
[sources.studio]
kind = "http"
url = "https://music.example/api/tracks/{id}/stream"
headers = { Authorization = "Bearer ${STUDIO_TOKEN}" }

[sources.home]
kind = "subsonic"
url = "https://music.home.example"
user = "dj"
password = "${SUBSONIC_PASSWORD}"
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one place; `mend` says what to do about a problem, and is empty where all is well."""

    place: str
    fact: str
    mend: str = ""


@click.command(epilog=epilog(["cachestore doctor", "cachestore doctor /media/usb/Friday"], {1: "problems were found"}))
@click.argument("dest", required=False, type=click.Path(readable=False, path_type=Path))
@pass_settings
def doctor(settings: Settings, dest: Path | None) -> int:
    """Check this machine, the store, the configuration and, if given, the folder DEST of a bundle."""
    findings = [_python(), _sqlite()]
    try:
        config = settings.config()
    except ConfigError as error:
        findings.append(Finding("config", str(error), "mend that line of the file"))
    else:
        findings += [*_config(config), *_root(config), *([] if dest is None else _dest(config, dest))]
    for finding in findings:
        click.echo(plain(f"{'PROBLEM' if finding.mend else 'ok':<8} {finding.place:<8} {finding.fact}"))
        if finding.mend:
            click.echo(plain(f"{'':<17} -> {finding.mend}"))
    if not settings.quiet:
        _print_advice(settings)
    return 1 if any(finding.mend for finding in findings) else 0


def _python() -> Finding:
    mend = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return Finding("python", f"{platform.python_version()} at {sys.executable}", mend)


def _sqlite() -> Finding:
    # Before 3.22 a store on a read-only mount cannot be read.
    mend = "" if sqlite3.sqlite_version_info >= (3, 22) else "install a Python with SQLite 3.22 or newer"
    return Finding("sqlite", sqlite3.sqlite_version, mend)


def _config(config: Config) -> Iterator[Finding]:
    yield Finding("config", str(config.path) if config.path else "no file, the defaults hold")
    if config.sources:
        yield from _sources(config)


def _sources(config: Config) -> Iterator[Finding]:
    """Make all sources, without asking anything."""
    from threading import Event

    from cachestore.sources.registry import Sources
    from cachestore.web import open_web

    try:
        web = open_web(config, jobs=1, cancel=Event())
    except ConfigError as error:
        yield Finding("network", str(error), "correct or unset that variable")
        return
    with closing(web):
        sources = Sources(config, web)
        for source in config.sources.values():
            yield _source(source, sources)


def _source(source: SourceConfig, sources: Sources) -> Finding:
    fact = f"{source.name} ({source.kind})"
    missing = [name for name in source.variables() if name not in os.environ]
    if missing:
        return Finding("source", fact, f"set {', '.join(missing)} in the environment of export, fetch and playlists")
    try:
        sources.account(source.name)
    except ConfigError as error:
        return Finding("source", str(error), "mend that in the configuration")
    return Finding("source", fact)


def _root(config: Config) -> Iterator[Finding]:
    finding = _store(config.root)
    yield finding
    if finding.mend:
        return
    folder = probes.nearest_folder(config.root)
    kind = probes.network_filesystem(folder)
    if kind:
        yield Finding(
            "root", f"{folder} is on a network filesystem ({kind})", "put the store on a local disk with --root"
        )
    yield _space("root", folder, config.min_free)
    yield _links("root", folder, folder, config)


def _store(root: Path) -> Finding:
    """Return whether there is a store at `root` that can be used, or could be made; nothing is made."""
    try:
        refuse_foreign_content(root)
        with StoreReader.open_readonly(root):
            is_private = not stat.S_IMODE(root.stat().st_mode) & 0o077
            return Finding(
                "root", str(root) if is_private else f"{root}, which others may read: chmod 700 prevents that"
            )
    except RootMissing:
        return Finding("root", f"{root} is not there yet, the first fetch or export creates it")
    except IndexDamaged as error:
        return Finding("root", f"{error.where}: {error.problem}", "run: cachestore repair")
    except (PreconditionError, OSError) as error:
        return Finding("root", str(error), getattr(error, "remedy", "follow that advice"))


def _dest(config: Config, dest: Path) -> Iterator[Finding]:
    if is_url(str(dest)):
        yield Finding("dest", "DEST is a URL", "name a folder on this machine")
        return
    dest = dest.absolute()
    if dest.exists() and not dest.is_dir():
        yield Finding("dest", f"{dest} is a file", "name a folder")
        return
    if dest.resolve().is_relative_to(config.root.resolve()):
        yield Finding("dest", f"{dest} lies in the store {config.root}", "name a folder outside of it")
        return
    folder = probes.nearest_folder(dest)
    root = probes.nearest_folder(config.root)
    same = folder.stat().st_dev == root.stat().st_dev
    yield Finding("dest", f"{dest} is on {'the same volume as' if same else 'another volume than'} the store")
    yield _space("dest", folder, 0)
    yield _links("dest", root, folder, config)


def _space(place: str, folder: Path, least: int) -> Finding:
    free = probes.free_bytes(folder)
    mend = "" if free > least else f"free some space there, or lower min_free ({format_size(least)})"
    return Finding(place, f"{format_size(free)} free", mend)


def _links(place: str, source: Path, folder: Path, config: Config) -> Finding:
    try:
        links = probes.probe_links(source, folder)
    except OSError as error:
        return Finding(
            place, f"{error.filename} cannot be written ({error.strerror})", "mend its permissions or name another"
        )
    able = {"hardlink": links.hard, "reflink": links.reflink}
    fact = ", ".join(f"{mode}s {'work' if works else 'do not work'}" for mode, works in able.items())
    if not able.get(config.link_mode, True):
        return Finding(place, fact, f'set link_mode = "auto", or choose a volume with {config.link_mode}s')
    return Finding(place, fact if links.hard else f"{fact}: bundles there are copies and take their full size")


def _print_advice(settings: Settings) -> None:
    click.echo(f"\nThe configuration is read from {_config_path(settings)}.")
    click.echo(f"A source in it looks like one of these:\n\n{_SOURCE_BLOCKS}")
    click.echo(f"To keep the store within its bounds, add this line with crontab -e:\n\n{_cron_line(settings)}")


def _config_path(settings: Settings) -> Path:
    named = settings.config_file or os.environ.get("CACHESTORE_CONFIG")
    return Path(named) if named else default_config_path()


def _cron_line(settings: Settings) -> str:
    """Return a crontab line that prunes the same store every night, where no variable of this shell is set."""
    named = (
        ("--root", settings.root or os.environ.get("CACHESTORE_ROOT")),
        ("--config", settings.config_file or os.environ.get("CACHESTORE_CONFIG")),
    )
    options = [word for option, path in named if path for word in (option, str(Path(path).expanduser().absolute()))]
    command = shlex.join([*_executable(), *options, "prune", "--quiet"])
    return "17 4 * * * " + command.replace("%", r"\%")  # crontab(5): a bare % ends the command


def _executable() -> list[str]:
    started = shutil.which(sys.argv[0])
    if started and Path(started).stem == "cachestore":
        return [str(Path(started).absolute())]
    return [sys.executable, "-m", "cachestore"]
