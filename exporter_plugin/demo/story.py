"""What the demo tells a person on stdout, the same at every run: no times, ports or inode numbers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from cachestore.cli.info import print_person
from cachestore.cli.output import count
from cachestore.usage import usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.config import Config
    from cachestore.store.reader import StoreReader
    from exporter_plugin.demo.workspace import Workspace
    from exporter_plugin.row import Mix

    Export = Callable[[Path], Counter[int]]  # exports to a bundle, returns the statuses that the cloud answered with

_LINK_WORDS = {"hardlink": "hard link", "reflink": "reflink", "copy": "copy"}


def tell_beginning(mix: Mix) -> None:
    """Introduce the cloud and the mix."""
    cloud = [row.track for row in mix.rows if row.path is None]
    local = len(mix.rows) - len(cloud)
    click.echo(
        f"A music cloud runs on this machine: {len(set(cloud))} tracks behind a token, under URLs without extensions.\n"
        f'The mix "{mix.name}" has {len(mix.rows)} rows, {len(cloud)} from the cloud and {local} local files.\n'
        "One track comes twice, and two tracks have one title."
    )


def tell_first(bundle: Path, export: Export) -> None:
    """Export, tell what was downloaded, and show the bundle."""
    click.echo(f'\nExport to "{bundle.name}"')
    answers = export(bundle)
    click.echo(f"  {answers[200]} downloaded\n")
    click.echo("".join(f"  {line}\n" for line in tree(bundle)), nl=False)


def tell_second(bundle: Path, export: Export) -> None:
    """Export once more and tell what was downloaded."""
    click.echo(f'\nExport the same mix to "{bundle.name}"')
    answers = export(bundle)
    click.echo(
        f"  {answers[200]} downloaded, {answers[304]} from the cache: "
        f'{answers.total()} conditional requests, {answers[304]} times "304 Not Modified"'
    )


def tell_shared(first: Path, second: Path) -> None:
    """Tell which files are one file in both bundles."""
    one, other = first / "media", second / "media"
    names = [path.name for path in one.iterdir()]
    links = Counter((one / name).stat().st_nlink for name in names if (one / name).samefile(other / name))
    click.echo("\nFiles that share an inode")
    click.echo(f"  {links.total()} of {len(names)} files in media/ are one file in both bundles")
    if not links:
        click.echo("  there are no hard links on this filesystem, so each bundle has copies of its own")
    for number, files in sorted(links.items()):
        click.echo(f"  {count(files, 'file')} with {number} names each: one in the store, one in each bundle")


def tell_store(store: StoreReader, config: Config) -> None:
    """Show what ``cachestore info`` says of the store."""
    click.echo("\ncachestore info")
    print_person(replace(config, root=Path(config.root.name)), usage(store))


def tell_end(kept: Workspace | None) -> None:
    """Tell what is left, and how to look at it."""
    if kept is None:
        click.echo("\nNothing of this is left behind; cachestore demo DEST keeps it.")
    else:
        click.echo(f"\nAll of it is in {kept.folder}. To look around: cachestore --root {quote(str(kept.store))} ls")


def tree(bundle: Path) -> list[str]:
    """Return the files of a bundle, one a line, the media with how they came there."""
    files = json.loads((bundle / "bundle.json").read_bytes())["files"]
    media = {file["file"].removeprefix("media/"): file["link_mode"] for file in files if file["link_mode"]}
    width = max(map(len, media))
    lines = [f"    {name:<{width}}  {_LINK_WORDS[mode]}" for name, mode in sorted(media.items())]
    rest = sorted(f"  {path.name}" for path in bundle.iterdir() if path.is_file())
    return [f"{bundle.name}/", "  media/", *lines, *rest]
