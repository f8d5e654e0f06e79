"""``cachestore demo``: the main job from start to end, with a music cloud that needs no account."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.helptext import epilog
from cachestore.cli.progress import is_drawable, reporter
from cachestore.cli.signals import cancel_on_signals

if TYPE_CHECKING:
    import threading
    from collections import Counter
    from collections.abc import Iterator

    from cachestore.config import Config
    from exporter_plugin.demo.origin import MusicOrigin
    from exporter_plugin.demo.workspace import Workspace

_VISIBLE_RATE = 150_000  # bytes a second of each download, slow enough for a person to see the bars
_EXITS = {1: "an export failed", 4: "DEST is not empty or cannot be written, or the disk is full"}


@click.command(
    short_help="Show the main job, with a music cloud of its own.",
    epilog=epilog(["cachestore demo", "cachestore demo ~/Desktop/demo"], _EXITS),
)
@click.argument("dest", required=False, type=click.Path(readable=False, path_type=Path))
@pass_settings
def demo(settings: Settings, dest: Path | None) -> None:
    """Export a mix twice from a music cloud that runs on this machine, and show what happens.

    The demo has a store of its own and touches neither yours nor your configuration. Without DEST it leaves nothing
    behind; in DEST, a new or empty folder, it keeps both bundles, the mix and the store whose files they share.
    """
    from exporter_plugin.demo.story import tell_end
    from exporter_plugin.demo.workspace import workspace

    if settings.root or settings.config_file:
        raise click.UsageError("the demo has a store and a configuration of its own; leave out --root and --config")
    with cancel_on_signals() as cancel, workspace(dest) as place:
        _play(settings, place, cancel)
    tell_end(place if dest else None)


def _play(settings: Settings, place: Workspace, cancel: threading.Event) -> None:
    """Export twice into `place`, and tell what happens. Raise what an export raises."""
    from cachestore.cache import Cache
    from exporter_plugin.demo import story
    from exporter_plugin.demo.mix import write_mix
    from exporter_plugin.export import export_mix
    from exporter_plugin.mix import read_mix

    write_mix(place.mix, place.local)
    mix = read_mix(place.mix)
    rate = _VISIBLE_RATE if is_drawable() and not settings.quiet else None
    with _music_cloud(place.store, rate) as (origin, config), Cache.open(config) as cache:

        def export(bundle: Path) -> Counter[int]:
            before = origin.answers.copy()
            with reporter(settings, cancel, rows=len(mix.rows)) as tell:
                export_mix(mix, bundle, cache=cache, on_event=tell, cancel=cancel)
            return origin.answers - before

        first, second = place.bundles
        story.tell_beginning(mix)
        story.tell_first(first, export)
        story.tell_second(second, export)
        story.tell_shared(first, second)
        story.tell_store(cache.store, config)


@contextmanager
def _music_cloud(root: Path, rate: int | None) -> Iterator[tuple[MusicOrigin, Config]]:
    """Run the origin; give it with a configuration for a store at `root` that has it as its only source."""
    from cachestore.config import Config, SourceConfig
    from exporter_plugin.demo.audio import CLOUD, render
    from exporter_plugin.demo.mix import SOURCE
    from exporter_plugin.demo.origin import MusicOrigin
    from exporter_plugin.demo.workspace import direct_loopback

    token = secrets.token_urlsafe()
    audio = {piece.id: render(piece) for piece in CLOUD}
    with direct_loopback(), MusicOrigin(audio, token=token, rate=rate) as origin:
        options = {"url": origin.url, "headers": {"Authorization": f"Bearer {token}"}}
        yield origin, Config(root=root, min_free=0, sources={SOURCE: SourceConfig(SOURCE, "http", options)})
