"""Which commands there are: our own by a table, the others by entry point; each is loaded when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from cachestore.cli.context import with_global_options

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "cachestore.commands"
# The summary stands here too, so that a listing loads none of them.
BUILT_IN = {
    "doctor": "Check this machine, the store and the configuration.",
    "fetch": "Download tracks into the cache.",
    "info": "Show how full the cache is.",
    "ls": "List what is in the cache.",
    "pin": "Keep tracks until they are unpinned.",
    "playlists": "List the playlists of a source.",
    "prune": "Remove what is over the bounds, least recently used first.",
    "repair": "Mend what verify finds.",
    "rm": "Remove tracks from the cache.",
    "show": "Show all that is known of one track.",
    "unpin": "Let pinned tracks be pruned again.",
    "verify": "Check every file of the cache against its digest.",
    "why": "Say which track a file of a bundle is.",
}


class CommandGroup(click.Group):
    """A group whose commands are imported one by one. Our own win over plugins of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted({*BUILT_IN, *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load one command; a plugin that does not load becomes a command that says so."""
        if cmd_name in BUILT_IN:
            return with_global_options(getattr(import_module(f"cachestore.cli.{cmd_name}"), cmd_name))
        plugin = _plugins().get(cmd_name)
        return with_global_options(_load(plugin)) if plugin else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and summaries of all commands, loading only plugins."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def _summary(self, context: click.Context, name: str) -> str:
        command = None if name in BUILT_IN else self.get_command(context, name)
        return command.get_short_help_str(80) if command else BUILT_IN[name]


def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {plugin.name: plugin for plugin in entry_points(group=ENTRY_POINTS)}


def _load(plugin: EntryPoint) -> click.Command:
    try:
        command = plugin.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may fail in any way and must not stop the others
        return _broken(plugin, f"{type(error).__name__}: {error}")
    return command if isinstance(command, click.Command) else _broken(plugin, "it is no click command")


def _broken(plugin: EntryPoint, reason: str) -> click.Command:
    def say_so() -> NoReturn:
        from cachestore.errors import PluginBroken

        raise PluginBroken(plugin.name, plugin.value, reason)

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(
        plugin.name, callback=say_so, short_help="[broken]", context_settings=anything, add_help_option=False
    )
