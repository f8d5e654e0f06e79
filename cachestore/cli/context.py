"""The options that every command has, and what they say."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import threading

    from cachestore.config import Config
    from cachestore.store.reader import StoreReader
    from cachestore.store.writer import Store


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``--root``, ``--config``, ``-q`` and ``-v`` say, before or after COMMAND."""

    root: Path | None = None
    config_file: Path | None = None
    quiet: bool = False
    verbose: int = 0

    def config(self) -> Config:
        """Read the configuration. Raise ConfigError."""
        from cachestore.config import load_config

        return load_config(self.config_file, root=self.root)

    def reader(self) -> StoreReader:
        """Open the store without writing a byte. Raise ConfigError, or RootMissing where there is none."""
        from cachestore.store.reader import StoreReader

        return StoreReader.open_readonly(self.config().root)

    def store(self, cancel: threading.Event | None = None) -> Store:
        """Open the store for writing; `cancel` ends any wait. Raise RootMissing: only a fetch creates a store."""
        from cachestore.root import existing_root
        from cachestore.store.writer import Store

        path = existing_root(self.config().root).path
        return Store.open(path, cancel.is_set) if cancel else Store.open(path)


_PATH = click.Path(readable=False)  # checks nothing, but completes in the shell
pass_settings = click.make_pass_decorator(Settings, ensure=True)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with times in UTC and sizes in bytes.")


def with_global_options(command: click.Command) -> click.Command:
    """Return a copy of `command` that also takes the global options which it does not define itself."""
    taken = {name for param in command.params for name in (param.name, *param.opts)}
    extended = copy(command)
    extended.params = command.params + [o for o in global_options() if taken.isdisjoint((o.name, *o.opts))]
    return extended


def global_options() -> list[click.Option]:
    """Return the global options; their values go into the Settings of the context, not to the command."""
    return [
        _option("--root", "root", type=_PATH, metavar="DIR", help="The store; default: the user's cache folder."),
        _option("--config", "config_file", type=_PATH, metavar="FILE", help="The configuration file."),
        _option("-q", "--quiet", "quiet", is_flag=True, help="Say only what was asked for, and errors."),
        _option("-v", "--verbose", "verbose", count=True, help="Show versions and digests, too."),
    ]


def _option(*names: str, **attributes: Any) -> click.Option:  # noqa: ANN401 - handed on to click
    return click.Option(names, expose_value=False, callback=_remember, **attributes)


def _remember(context: click.Context, parameter: click.Parameter, value: str | int | None) -> None:
    """Put a given value into the Settings of `context`; what is not given must not undo what stood before COMMAND."""
    settings = context.obj if isinstance(context.obj, Settings) else Settings()
    if value == "":
        # An unset variable in --root "$MUSIC" would otherwise mean the current folder.
        raise click.BadParameter("expected a path, not an empty text", context, parameter)
    if value:
        given: dict[str, Any] = {str(parameter.name): Path(value) if isinstance(value, str) else value}
        settings = replace(settings, **given)
    if settings.quiet and settings.verbose:
        raise click.UsageError("--quiet and --verbose exclude each other", context)
    context.obj = settings
